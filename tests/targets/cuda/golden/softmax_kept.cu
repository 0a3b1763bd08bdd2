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
facula_softmax(float* out_ptr,
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
    const Index row2 = top + (Index)threadIdx.y;
    const bool live3 = row2 < n0;
    const Index at4 = row2 * out_s0;
    const Index at5 = row2 * x_s0;
    float kept1[8][4];
    const Index chunks6 = over(n1 + 3, (Index)4);
    const Index end7 = live3 ? chunks6 : 0;
    #pragma unroll
    for (int j = 0; j < 8; ++j) if (const Index u = member + j * size; u < end7) {
      const Index i8 = u * 4;
      const int n = n1 - i8 < 4 ? (int)(n1 - i8) : 4;
      const Index at9 = at5 + i8;
      fetch<4>(kept1[j], x_ptr + at9, n);
    }
    State0 state10;
    start(state10);
    const Index chunks11 = over(n1 + 3, (Index)4);
    const Index end12 = live3 ? chunks11 : 0;
    #pragma unroll
    for (int j = 0; j < 8; ++j) if (const Index u = member + j * size; u < end12) {
      const Index i13 = u * 4;
      const int n = n1 - i13 < 4 ? (int)(n1 - i13) : 4;
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (k < n) {
          state10.s0 = state10.s0 > kept1[j][k] || state10.s0 != state10.s0 ? state10.s0 : kept1[j][k];
        }
      }
    }
    together(state10, size);
    State1 state14;
    start(state14);
    const Index chunks15 = over(n1 + 3, (Index)4);
    const Index end16 = live3 ? chunks15 : 0;
    {
      float part17 = -0.0f;
      #pragma unroll
      for (int j = 0; j < 8; ++j) if (const Index u = member + j * size; u < end16) {
        const Index i18 = u * 4;
        const int n = n1 - i18 < 4 ? (int)(n1 - i18) : 4;
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
          const float v19 = kept1[j][k] - state10.s0;
          const float v20 = expf(v19);
          if (k < n) {
            part17 += v20;
          }
        }
      }
      state14.s0 += (double)part17;
    }
    together(state14, size);
    const float v21 = n1 > 0 ? (float)state14.s0 : (float)0;
    const Index chunks22 = over(n1 + 3, (Index)4);
    const Index end23 = live3 ? chunks22 : 0;
    #pragma unroll
    for (int j = 0; j < 8; ++j) if (const Index u = member + j * size; u < end23) {
      const Index i24 = u * 4;
      const int n = n1 - i24 < 4 ? (int)(n1 - i24) : 4;
      const Index at25 = at4 + i24;
      float r26[4];
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float v27 = kept1[j][k] - state10.s0;
        const float v28 = expf(v27);
        const float v29 = v28 / v21;
        r26[k] = v29;
      }
      put<4>(out_ptr + at25, r26, n);
    }
  }
}
