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
facula_layer_norm(unsigned short* out_ptr,
    float* rstd_ptr,
    const unsigned short* x_ptr,
    const unsigned short* w_ptr,
    float a_eps_,
    long long n0_,
    long long n1_,
    long long out_s0_,
    long long x_s0_) {
  const float a_eps = a_eps_;
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index x_s0 = (Index)x_s0_;
  const float v1 = (float)(long long)n1;
  const int member = threadIdx.x;
  const int size = (int)blockDim.x;
  for (Index top = blockIdx.x * blockDim.y; top < n0; top += (Index)(gridDim.x * blockDim.y)) {
    const Index row2 = top + (Index)threadIdx.y;
    const bool live3 = row2 < n0;
    const Index at4 = row2 * out_s0;
    const Index at5 = row2 * x_s0;
    State0 state6;
    start(state6);
    const Index chunks7 = over(n1 + 7, (Index)8);
    const Index end8 = live3 ? chunks7 : 0;
    for (Index block = 0 + member; block < end8; block += (Index)8 * size) {
      float part9 = -0.0f;
      const Index stop10 = end8 - block < (Index)8 * size ? end8 : block + (Index)8 * size;
      for (Index u = block; u < stop10; u += (Index)size) {
        const Index i11 = u * 8;
        const int n = n1 - i11 < 8 ? (int)(n1 - i11) : 8;
        unsigned short x12[8];
        const Index at13 = at5 + i11;
        fetch<8>(x12, x_ptr + at13, n);
        #pragma unroll
        for (int k = 0; k < 8; ++k) {
          const float v14 = from_bfloat(x12[k]);
          if (k < n) {
            part9 += v14;
          }
        }
      }
      state6.s0 += (double)part9;
    }
    together(state6, size);
    const float v15 = n1 > 0 ? (float)state6.s0 : (float)0;
    const float v16 = v15 / v1;
    State1 state17;
    start(state17);
    const Index chunks18 = over(n1 + 7, (Index)8);
    const Index end19 = live3 ? chunks18 : 0;
    for (Index block = 0 + member; block < end19; block += (Index)8 * size) {
      float part20 = -0.0f;
      const Index stop21 = end19 - block < (Index)8 * size ? end19 : block + (Index)8 * size;
      for (Index u = block; u < stop21; u += (Index)size) {
        const Index i22 = u * 8;
        const int n = n1 - i22 < 8 ? (int)(n1 - i22) : 8;
        unsigned short x23[8];
        const Index at24 = at5 + i22;
        fetch<8>(x23, x_ptr + at24, n);
        #pragma unroll
        for (int k = 0; k < 8; ++k) {
          const float v25 = from_bfloat(x23[k]);
          const float v26 = v25 - v16;
          const float v27 = v26 * v26;
          if (k < n) {
            part20 += v27;
          }
        }
      }
      state17.s0 += (double)part20;
    }
    together(state17, size);
    const float v28 = n1 > 0 ? (float)state17.s0 : (float)0;
    const float v29 = v28 / v1;
    const float v30 = v29 + a_eps;
    const float v31 = rsqrtf(v30);
    const Index chunks32 = over(n1 + 7, (Index)8);
    const Index end33 = live3 ? chunks32 : 0;
    for (Index u = 0 + member; u < end33; u += (Index)size) {
      const Index i34 = u * 8;
      const int n = n1 - i34 < 8 ? (int)(n1 - i34) : 8;
      unsigned short x35[8];
      fetch<8>(x35, w_ptr + i34, n);
      unsigned short x36[8];
      const Index at37 = at5 + i34;
      fetch<8>(x36, x_ptr + at37, n);
      const Index at38 = at4 + i34;
      unsigned short r39[8];
      #pragma unroll
      for (int k = 0; k < 8; ++k) {
        const float v40 = from_bfloat(x36[k]);
        const float v41 = v40 - v16;
        const float v42 = v41 * v31;
        const float v43 = from_bfloat(x35[k]);
        const float v44 = v42 * v43;
        r39[k] = to_bfloat(v44);
      }
      put<8>(out_ptr + at38, r39, n);
    }
    if (live3 && member == 0) {
      float r45;
      r45 = v31;
      rstd_ptr[row2] = r45;
    }
  }
}
