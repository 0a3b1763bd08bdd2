typedef int Index;

struct alignas(8) State0 {
  double s0;
  double s1;
  float s2;
  float i2;
};
__device__ __forceinline__ void start(State0& s) {
  s.s0 = (-0.0);
  s.s1 = (-0.0);
  s.s2 = 1.0f;
  s.i2 = 0.0f;
}
__device__ __forceinline__ void join(State0& a, const State0& b) {
  a.s0 = a.s0 + b.s0;
  a.s1 = a.s1 + b.s1;
  {
    const float re = a.s2 * b.s2 - a.i2 * b.i2;
    a.i2 = a.s2 * b.i2 + a.i2 * b.s2;
    a.s2 = re;
  }
}

extern "C" __global__ void __launch_bounds__(256)
facula_sums(Pair<float>* total_ptr,
    Pair<float>* product_ptr,
    const Pair<float>* z_ptr,
    long long n0_,
    long long n1_,
    long long n2_,
    long long z_s0_,
    long long z_s1_,
    void* scratch,
    int pieces,
    int mode) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index n2 = (Index)n2_;
  const Index z_s0 = (Index)z_s0_;
  const Index z_s1 = (Index)z_s1_;
  const int member = threadIdx.x;
  const int size = (int)blockDim.x;
  for (Index top = blockIdx.x * blockDim.y; top < n0; top += (Index)(gridDim.x * blockDim.y)) {
    const Index row1 = top + (Index)threadIdx.y;
    const bool live2 = row1 < n0;
    const Index at3 = row1 * z_s0;
    State0 state4;
    start(state4);
    if (mode != 2) {
      const Index chunks5 = over(n2 + 1, (Index)2);
      const Index share6 = over(n1 * chunks5 + pieces - 1, (Index)pieces);
      const Index first7 = (Index)blockIdx.y * share6;
      const Index end8 = n1 * chunks5 - first7 < share6 ? n1 * chunks5 : first7 + share6;
      const Index end9 = live2 ? end8 : 0;
      for (Index block = first7 + member; block < end9; block += (Index)32 * size) {
        float part10 = -0.0f;
        float part11 = -0.0f;
        const Index stop12 = end9 - block < (Index)32 * size ? end9 : block + (Index)32 * size;
        for (Index u = block; u < stop12; u += (Index)size) {
          const Index u13 = over(u, chunks5);
          const Index i14 = u - u13 * chunks5;
          const Index i15 = i14 * 2;
          const int n = n2 - i15 < 2 ? (int)(n2 - i15) : 2;
          Pair<float> x16[2];
          const Index at17 = at3 + i15 + u13 * z_s1;
          fetch<2>(x16, z_ptr + at17, n);
          #pragma unroll
          for (int k = 0; k < 2; ++k) {
            if (k < n) {
              part10 += x16[k].re;
              part11 += x16[k].im;
              { const float re = state4.s2 * x16[k].re - state4.i2 * x16[k].im; state4.i2 = state4.s2 * x16[k].im + state4.i2 * x16[k].re; state4.s2 = re; }
            }
          }
        }
        state4.s0 += (double)part10;
        state4.s1 += (double)part11;
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
    const float v18 = (n1 * n2) > 0 ? (float)state4.s0 : (float)0;
    const float v19 = (n1 * n2) > 0 ? (float)state4.s1 : (float)0;
    if (live2 && member == 0 && mode != 1) {
      Pair<float> r21;
      Pair<float> r22;
      r21.re = v18;
      r21.im = v19;
      r22.re = state4.s2;
      r22.im = state4.i2;
      total_ptr[row1] = r21;
      product_ptr[row1] = r22;
    }
  }
}
