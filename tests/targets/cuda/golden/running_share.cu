typedef int Index;

struct alignas(8) State0 {
  float s0;
};
__device__ __forceinline__ void start(State0& s) {
  s.s0 = -__int_as_float(0x7f800000);
}
__device__ __forceinline__ void join(State0& a, const State0& b) {
  a.s0 = a.s0 > b.s0 || a.s0 != a.s0 ? a.s0 : b.s0;
}

struct alignas(8) State1 {
  double s0;
};
__device__ __forceinline__ void start(State1& s) {
  s.s0 = (-0.0);
}
__device__ __forceinline__ void join(State1& a, const State1& b) {
  a.s0 = a.s0 + b.s0;
}

struct alignas(8) State2 {
  double s0;
};
__device__ __forceinline__ void start(State2& s) {
  s.s0 = (-0.0);
}
__device__ __forceinline__ void join(State2& a, const State2& b) {
  a.s0 = a.s0 + b.s0;
}

extern "C" __global__ void __launch_bounds__(256)
facula_share(float* out_ptr,
    const float* x_ptr,
    long long n0_,
    long long n1_,
    long long out_s0_,
    long long x_s0_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index x_s0 = (Index)x_s0_;
  const int member = threadIdx.x;
  const int size = (int)blockDim.x;
  for (Index top = blockIdx.x * blockDim.y; top < n0; top += (Index)(gridDim.x * blockDim.y)) {
    const Index row1 = top + (Index)threadIdx.y;
    const bool live2 = row1 < n0;
    const Index at3 = row1 * out_s0;
    const Index at4 = row1 * x_s0;
    State0 state5;
    start(state5);
    State1 carry6;
    start(carry6);
    const Index whole7 = n1;
    for (Index base = 0; base < whole7; base += (Index)size) {
      const Index u = base + (Index)member;
      const bool here = live2 && u < whole7;
      const Index at8 = at4 + u;
      const float v9 = here ? x_ptr[at8] : (float)0;
      State1 scan10;
      start(scan10);
      if (here) { scan10.s0 = (double)v9; }
      running(scan10, carry6, size);
      const float v11 = (float)scan10.s0;
      if (here) {
        state5.s0 = state5.s0 > v11 || state5.s0 != state5.s0 ? state5.s0 : v11;
      }
    }
    together(state5, size);
    State2 carry12;
    start(carry12);
    const Index whole13 = n1;
    for (Index base = 0; base < whole13; base += (Index)size) {
      const Index u = base + (Index)member;
      const bool here = live2 && u < whole13;
      const Index at14 = at4 + u;
      const float v15 = here ? x_ptr[at14] : (float)0;
      const Index at16 = at3 + u;
      float r17;
      State2 scan18;
      start(scan18);
      if (here) { scan18.s0 = (double)v15; }
      running(scan18, carry12, size);
      const float v19 = (float)scan18.s0;
      const float v20 = v19 / state5.s0;
      r17 = v20;
      if (here) out_ptr[at16] = r17;
    }
  }
}
