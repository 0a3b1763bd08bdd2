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
    long long x_s0_,
    void* scratch,
    int pieces,
    int mode) {
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
    if (mode == 1) {
      State0 state5;
      start(state5);
      const Index chunks6 = over(n1 + 3, (Index)4);
      const Index share7 = over(chunks6 + pieces - 1, (Index)pieces);
      const Index first8 = (Index)blockIdx.y * share7;
      const Index end9 = chunks6 - first8 < share7 ? chunks6 : first8 + share7;
      const Index end10 = live2 ? end9 : 0;
      for (Index u = first8 + member; u < end10; u += (Index)size) {
        const Index i11 = u * 4;
        const int n = n1 - i11 < 4 ? (int)(n1 - i11) : 4;
        float x12[4];
        const Index at13 = at4 + i11;
        fetch<4>(x12, x_ptr + at13, n);
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (k < n) {
            state5.s0 = state5.s0 + (double)x12[k];
          }
        }
      }
      together(state5, size);
      if (live2 && member == 0) ((State0*)((char*)scratch))[(size_t)blockIdx.y * n0 + row1] = state5;
    }
    if (mode == 0) {
      State0 carry14;
      start(carry14);
      if (pieces > 1) {
        for (int piece = member; piece < (int)blockIdx.y; piece += size) {
          if (live2) join(carry14, ((State0*)((char*)scratch))[(size_t)piece * n0 + row1]);
        }
        together(carry14, size);
      }
      const Index chunks15 = over(n1 + 3, (Index)4);
      const Index share16 = over(chunks15 + pieces - 1, (Index)pieces);
      const Index first17 = (Index)blockIdx.y * share16;
      const Index end18 = chunks15 - first17 < share16 ? chunks15 : first17 + share16;
      for (Index base = first17; base < end18; base += (Index)size) {
        const Index u = base + (Index)member;
        const bool here = live2 && u < end18;
        const Index i19 = u * 4;
        const int n = here ? (n1 - i19 < 4 ? (int)(n1 - i19) : 4) : 0;
        float x20[4];
        const Index at21 = at4 + i19;
        fetch<4>(x20, x_ptr + at21, n);
        const Index at22 = at3 + i19;
        float r23[4];
        State0 scan24[4];
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
          start(scan24[k]);
          if (k < n) { scan24[k].s0 = (double)x20[k]; }
          if (k > 0) after(scan24[k], scan24[k > 0 ? k - 1 : 0]);
        }
        const State0 before25 = preceding(scan24[3], carry14, size);
        #pragma unroll
        for (int k = 0; k < 4; ++k) after(scan24[k], before25);
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
          r23[k] = ((float)scan24[k].s0);
        }
        put<4>(out_ptr + at22, r23, n);
      }
    }
  }
}
