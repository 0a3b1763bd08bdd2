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
    long long out_s1_,
    long long x_s1_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s1 = (Index)out_s1_;
  const Index x_s1 = (Index)x_s1_;
  const int member = threadIdx.y;
  const int size = (int)blockDim.y;
  for (Index top = blockIdx.x * blockDim.x; top < n0; top += (Index)(gridDim.x * blockDim.x)) {
    const Index row1 = top + (Index)threadIdx.x;
    const bool live2 = row1 < n0;
    State0 state3;
    start(state3);
    const Index end4 = live2 ? n1 : 0;
    #pragma unroll 8
    for (Index u = 0 + member; u < end4; u += (Index)size) {
      const Index at5 = row1 + u * x_s1;
      const float v6 = x_ptr[at5];
      state3.s0 = state3.s0 > v6 || state3.s0 != state3.s0 ? state3.s0 : v6;
    }
    stacked(state3, size);
    State1 state7;
    start(state7);
    const Index end8 = live2 ? n1 : 0;
    for (Index block = 0 + member; block < end8; block += (Index)64 * size) {
      float part9 = -0.0f;
      const Index stop10 = end8 - block < (Index)64 * size ? end8 : block + (Index)64 * size;
      #pragma unroll 8
      for (Index u = block; u < stop10; u += (Index)size) {
        const Index at11 = row1 + u * x_s1;
        const float v12 = x_ptr[at11];
        const float v13 = v12 - state3.s0;
        const float v14 = expf(v13);
        part9 += v14;
      }
      state7.s0 += (double)part9;
    }
    stacked(state7, size);
    const float v15 = n1 > 0 ? (float)state7.s0 : (float)0;
    const Index end16 = live2 ? n1 : 0;
    for (Index base = 0 + member; base < end16; base += (Index)8 * size) {
      float x17[8];
      #pragma unroll
      for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < end16) {
        const Index at18 = row1 + u * x_s1;
        x17[j] = x_ptr[at18];
      }
      #pragma unroll
      for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < end16) {
        const float v19 = x17[j] - state3.s0;
        const float v20 = expf(v19);
        const float v21 = v20 / v15;
        const Index at22 = row1 + u * out_s1;
        float r23;
        r23 = v21;
        out_ptr[at22] = r23;
      }
    }
  }
}
