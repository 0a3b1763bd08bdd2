typedef int Index;

struct alignas(8) State0 {
  double s0;
};
__device__ __forceinline__ void start(State0& s) {
  s.s0 = (-0.0);
}
__device__ __forceinline__ void join(State0& a, const State0& b) {
  a.s0 = a.s0 + b.s0;
}

extern "C" __global__ void __launch_bounds__(256)
facula_cumsum(float* out_ptr,
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
    State0 carry5;
    start(carry5);
    const Index whole6 = n1;
    for (Index base = 0; base < whole6; base += (Index)size) {
      const Index u = base + (Index)member;
      const bool here = live2 && u < whole6;
      const Index at7 = at4 + u;
      const float v8 = here ? x_ptr[at7] : (float)0;
      const Index at9 = at3 + u;
      float r10;
      State0 scan11;
      start(scan11);
      if (here) { scan11.s0 = (double)v8; }
      running(scan11, carry5, size);
      const float v12 = (float)scan11.s0;
      r10 = v12;
      if (here) out_ptr[at9] = r10;
    }
  }
}
