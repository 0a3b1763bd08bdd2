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
  const float v2 = (float)(long long)n1;
  const int member = threadIdx.x;
  const int size = (int)blockDim.x;
  for (Index top = blockIdx.x * blockDim.y; top < n0; top += (Index)(gridDim.x * blockDim.y)) {
    const Index row3 = top + (Index)threadIdx.y;
    const bool live4 = row3 < n0;
    const Index at5 = row3 * out_s0;
    const Index at6 = row3 * x_s0;
    unsigned short kept1[4][8];
    const Index chunks7 = over(n1 + 7, (Index)8);
    const Index end8 = live4 ? chunks7 : 0;
    #pragma unroll
    for (int j = 0; j < 4; ++j) if (const Index u = member + j * size; u < end8) {
      const Index i9 = u * 8;
      const int n = n1 - i9 < 8 ? (int)(n1 - i9) : 8;
      const Index at10 = at6 + i9;
      fetch<8>(kept1[j], x_ptr + at10, n);
    }
    State0 state11;
    start(state11);
    const Index chunks12 = over(n1 + 7, (Index)8);
    const Index end13 = live4 ? chunks12 : 0;
    {
      float part14 = -0.0f;
      #pragma unroll
      for (int j = 0; j < 4; ++j) if (const Index u = member + j * size; u < end13) {
        const Index i15 = u * 8;
        const int n = n1 - i15 < 8 ? (int)(n1 - i15) : 8;
        #pragma unroll
        for (int k = 0; k < 8; ++k) {
          const float v16 = from_bfloat(kept1[j][k]);
          if (k < n) {
            part14 += v16;
          }
        }
      }
      state11.s0 += (double)part14;
    }
    together(state11, size);
    const float v17 = n1 > 0 ? (float)state11.s0 : (float)0;
    const float v18 = v17 / v2;
    State1 state19;
    start(state19);
    const Index chunks20 = over(n1 + 7, (Index)8);
    const Index end21 = live4 ? chunks20 : 0;
    {
      float part22 = -0.0f;
      #pragma unroll
      for (int j = 0; j < 4; ++j) if (const Index u = member + j * size; u < end21) {
        const Index i23 = u * 8;
        const int n = n1 - i23 < 8 ? (int)(n1 - i23) : 8;
        #pragma unroll
        for (int k = 0; k < 8; ++k) {
          const float v24 = from_bfloat(kept1[j][k]);
          const float v25 = v24 - v18;
          const float v26 = v25 * v25;
          if (k < n) {
            part22 += v26;
          }
        }
      }
      state19.s0 += (double)part22;
    }
    together(state19, size);
    const float v27 = n1 > 0 ? (float)state19.s0 : (float)0;
    const float v28 = v27 / v2;
    const float v29 = v28 + a_eps;
    const float v30 = rsqrtf(v29);
    const Index chunks31 = over(n1 + 7, (Index)8);
    const Index end32 = live4 ? chunks31 : 0;
    #pragma unroll
    for (int j = 0; j < 4; ++j) if (const Index u = member + j * size; u < end32) {
      const Index i33 = u * 8;
      const int n = n1 - i33 < 8 ? (int)(n1 - i33) : 8;
      unsigned short x34[8];
      fetch<8>(x34, w_ptr + i33, n);
      const Index at35 = at5 + i33;
      unsigned short r36[8];
      #pragma unroll
      for (int k = 0; k < 8; ++k) {
        const float v37 = from_bfloat(kept1[j][k]);
        const float v38 = v37 - v18;
        const float v39 = v38 * v30;
        const float v40 = from_bfloat(x34[k]);
        const float v41 = v39 * v40;
        r36[k] = to_bfloat(v41);
      }
      put<8>(out_ptr + at35, r36, n);
    }
    if (live4 && member == 0) {
      float r42;
      r42 = v30;
      rstd_ptr[row3] = r42;
    }
  }
}
