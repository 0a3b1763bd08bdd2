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
    const Index row1 = top + (Index)threadIdx.y;
    const bool live2 = row1 < n0;
    const Index at3 = row1 * out_s0;
    const Index at4 = row1 * x_s0;
    State0 state5;
    start(state5);
    const Index chunks6 = over(n1 + 3, (Index)4);
    const Index end7 = live2 ? chunks6 : 0;
    for (Index u = 0 + member; u < end7; u += (Index)size) {
      const Index i8 = u * 4;
      const int n = n1 - i8 < 4 ? (int)(n1 - i8) : 4;
      float x9[4];
      const Index at10 = at4 + i8;
      fetch<4>(x9, x_ptr + at10, n);
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (k < n) {
          state5.s0 = state5.s0 > x9[k] || state5.s0 != state5.s0 ? state5.s0 : x9[k];
        }
      }
    }
    together(state5, size);
    State1 state11;
    start(state11);
    const Index chunks12 = over(n1 + 3, (Index)4);
    const Index end13 = live2 ? chunks12 : 0;
    for (Index block = 0 + member; block < end13; block += (Index)16 * size) {
      float part14 = -0.0f;
      const Index stop15 = end13 - block < (Index)16 * size ? end13 : block + (Index)16 * size;
      for (Index u = block; u < stop15; u += (Index)size) {
        const Index i16 = u * 4;
        const int n = n1 - i16 < 4 ? (int)(n1 - i16) : 4;
        float x17[4];
        const Index at18 = at4 + i16;
        fetch<4>(x17, x_ptr + at18, n);
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
          const float v19 = x17[k] - state5.s0;
          const float v20 = expf(v19);
          if (k < n) {
            part14 += v20;
          }
        }
      }
      state11.s0 += (double)part14;
    }
    together(state11, size);
    const float v21 = n1 > 0 ? (float)state11.s0 : (float)0;
    const Index chunks22 = over(n1 + 3, (Index)4);
    const Index end23 = live2 ? chunks22 : 0;
    for (Index u = 0 + member; u < end23; u += (Index)size) {
      const Index i24 = u * 4;
      const int n = n1 - i24 < 4 ? (int)(n1 - i24) : 4;
      float x25[4];
      const Index at26 = at4 + i24;
      fetch<4>(x25, x_ptr + at26, n);
      const Index at27 = at3 + i24;
      float r28[4];
      #pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float v29 = x25[k] - state5.s0;
        const float v30 = expf(v29);
        const float v31 = v30 / v21;
        r28[k] = v31;
      }
      put<4>(out_ptr + at27, r28, n);
    }
  }
}
