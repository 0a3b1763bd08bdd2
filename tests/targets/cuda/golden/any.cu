typedef int Index;

struct alignas(8) State0 {
  bool s0;
};
__device__ __forceinline__ void start(State0& s) {
  s.s0 = false;
}
__device__ __forceinline__ void join(State0& a, const State0& b) {
  a.s0 = a.s0 | b.s0;
}

extern "C" __global__ void __launch_bounds__(256)
facula_any(unsigned char* out_ptr,
    const unsigned char* x_ptr,
    long long n0_,
    long long n1_,
    long long x_s0_,
    void* scratch,
    int pieces,
    int mode) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index x_s0 = (Index)x_s0_;
  const int member = threadIdx.x;
  const int size = (int)blockDim.x;
  for (Index top = blockIdx.x * blockDim.y; top < n0; top += (Index)(gridDim.x * blockDim.y)) {
    const Index row1 = top + (Index)threadIdx.y;
    const bool live2 = row1 < n0;
    const Index at3 = row1 * x_s0;
    State0 state4;
    start(state4);
    if (mode != 2) {
      const Index chunks5 = over(n1 + 15, (Index)16);
      const Index share6 = over(chunks5 + pieces - 1, (Index)pieces);
      const Index first7 = (Index)blockIdx.y * share6;
      const Index end8 = chunks5 - first7 < share6 ? chunks5 : first7 + share6;
      const Index end9 = live2 ? end8 : 0;
      for (Index u = first7 + member; u < end9; u += (Index)size) {
        const Index i10 = u * 16;
        const int n = n1 - i10 < 16 ? (int)(n1 - i10) : 16;
        unsigned char x11[16];
        const Index at12 = at3 + i10;
        fetch<16>(x11, x_ptr + at12, n);
        #pragma unroll
        for (int k = 0; k < 16; ++k) {
          if (k < n) {
            state4.s0 = state4.s0 | (x11[k] != 0);
          }
        }
      }
    }
    if (mode == 2 && live2) {
      for (int piece = member; piece < pieces; piece += size) {
        join(state4, ((const State0*)scratch)[(size_t)piece * n0 + row1]);
      }
    }
    together(state4, size);
    if (mode == 1 && live2 && member == 0) {
      ((State0*)scratch)[(size_t)blockIdx.y * n0 + row1] = state4;
    }
    if (live2 && member == 0 && mode != 1) {
      unsigned char r13;
      r13 = state4.s0;
      out_ptr[row1] = r13;
    }
  }
}
