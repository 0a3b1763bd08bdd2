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
facula_sum(float* out_ptr,
    const float* x_ptr,
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
      const Index chunks5 = over(n1 + 3, (Index)4);
      const Index share6 = over(chunks5 + pieces - 1, (Index)pieces);
      const Index first7 = (Index)blockIdx.y * share6;
      const Index end8 = chunks5 - first7 < share6 ? chunks5 : first7 + share6;
      const Index end9 = live2 ? end8 : 0;
      for (Index block = first7 + member; block < end9; block += (Index)16 * size) {
        float part10 = -0.0f;
        const Index stop11 = end9 - block < (Index)16 * size ? end9 : block + (Index)16 * size;
        for (Index u = block; u < stop11; u += (Index)size) {
          const Index i12 = u * 4;
          const int n = n1 - i12 < 4 ? (int)(n1 - i12) : 4;
          float x13[4];
          const Index at14 = at3 + i12;
          fetch<4>(x13, x_ptr + at14, n);
          #pragma unroll
          for (int k = 0; k < 4; ++k) {
            if (k < n) {
              part10 += x13[k];
            }
          }
        }
        state4.s0 += (double)part10;
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
    const float v15 = n1 > 0 ? (float)state4.s0 : (float)0;
    if (live2 && member == 0 && mode != 1) {
      float r16;
      r16 = v15;
      out_ptr[row1] = r16;
    }
  }
}
