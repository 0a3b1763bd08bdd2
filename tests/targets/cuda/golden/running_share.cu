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
    const Index chunks7 = over(n1 + 3, (Index)4);
    const Index whole8 = chunks7;
    for (Index base = 0; base < whole8; base += (Index)size) {
      const Index u = base + (Index)member;
      const bool here = live2 && u < whole8;
      const Index i9 = u * 4;
      const int n = here ? (n1 - i9 < 4 ? (int)(n1 - i9) : 4) : 0;
      float x10[4];
      const Index at11 = at4 + i9;
      fetch<4>(x10, x_ptr + at11, n);
      State1 scan12[4];
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        start(scan12[k]);
        if (k < n) { scan12[k].s0 = (double)x10[k]; }
        if (k > 0) after(scan12[k], scan12[k > 0 ? k - 1 : 0]);
      }
      const State1 before13 = preceding(scan12[3], carry6, size);
      #pragma unroll
      for (int k = 0; k < 4; ++k) after(scan12[k], before13);
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (k < n) {
          state5.s0 = state5.s0 > ((float)scan12[k].s0) || state5.s0 != state5.s0 ? state5.s0 : ((float)scan12[k].s0);
        }
      }
    }
    together(state5, size);
    State1 carry14;
    start(carry14);
    const Index chunks15 = over(n1 + 3, (Index)4);
    const Index whole16 = chunks15;
    for (Index base = 0; base < whole16; base += (Index)size) {
      const Index u = base + (Index)member;
      const bool here = live2 && u < whole16;
      const Index i17 = u * 4;
      const int n = here ? (n1 - i17 < 4 ? (int)(n1 - i17) : 4) : 0;
      float x18[4];
      const Index at19 = at4 + i17;
      fetch<4>(x18, x_ptr + at19, n);
      const Index at20 = at3 + i17;
      float r21[4];
      State1 scan22[4];
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        start(scan22[k]);
        if (k < n) { scan22[k].s0 = (double)x18[k]; }
        if (k > 0) after(scan22[k], scan22[k > 0 ? k - 1 : 0]);
      }
      const State1 before23 = preceding(scan22[3], carry14, size);
      #pragma unroll
      for (int k = 0; k < 4; ++k) after(scan22[k], before23);
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float v24 = ((float)scan22[k].s0) / state5.s0;
        r21[k] = v24;
      }
      put<4>(out_ptr + at20, r21, n);
    }
  }
}
