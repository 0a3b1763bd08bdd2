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
    long long x_s0_,
    void* scratch,
    int pieces,
    int mode) {
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
    if (pieces == 1 || mode == 1) {
      const Index chunks7 = over(n1 + 7, (Index)8);
      const Index share8 = pieces == 1 ? chunks7 : over(chunks7 + pieces - 1, (Index)pieces);
      const Index first9 = (Index)blockIdx.y * share8;
      const Index end10 = chunks7 - first9 < share8 ? chunks7 : first9 + share8;
      const Index end11 = live3 ? end10 : 0;
      for (Index block = first9 + member; block < end11; block += (Index)8 * size) {
        float part12 = -0.0f;
        const Index stop13 = end11 - block < (Index)8 * size ? end11 : block + (Index)8 * size;
        for (Index u = block; u < stop13; u += (Index)size) {
          const Index i14 = u * 8;
          const int n = n1 - i14 < 8 ? (int)(n1 - i14) : 8;
          unsigned short x15[8];
          const Index at16 = at5 + i14;
          fetch<8>(x15, x_ptr + at16, n);
          #pragma unroll
          for (int k = 0; k < 8; ++k) {
            const float v17 = from_bfloat(x15[k]);
            if (k < n) {
              part12 += v17;
            }
          }
        }
        state6.s0 += (double)part12;
      }
    }
    else if (live3) {
      for (int piece = member; piece < pieces; piece += size) {
        join(state6, ((const State0*)scratch)[(size_t)piece * n0 + row2]);
      }
    }
    together(state6, size);
    if (mode == 1 && live3 && member == 0) {
      ((State0*)scratch)[(size_t)blockIdx.y * n0 + row2] = state6;
    }
    const float v18 = n1 > 0 ? (float)state6.s0 : (float)0;
    if (mode != 1) {
      const float v19 = v18 / v1;
      State1 state20;
      start(state20);
      if (pieces == 1 || mode == 2) {
        const Index chunks21 = over(n1 + 7, (Index)8);
        const Index share22 = pieces == 1 ? chunks21 : over(chunks21 + pieces - 1, (Index)pieces);
        const Index first23 = (Index)blockIdx.y * share22;
        const Index end24 = chunks21 - first23 < share22 ? chunks21 : first23 + share22;
        const Index end25 = live3 ? end24 : 0;
        for (Index block = first23 + member; block < end25; block += (Index)8 * size) {
          float part26 = -0.0f;
          const Index stop27 = end25 - block < (Index)8 * size ? end25 : block + (Index)8 * size;
          for (Index u = block; u < stop27; u += (Index)size) {
            const Index i28 = u * 8;
            const int n = n1 - i28 < 8 ? (int)(n1 - i28) : 8;
            unsigned short x29[8];
            const Index at30 = at5 + i28;
            fetch<8>(x29, x_ptr + at30, n);
            #pragma unroll
            for (int k = 0; k < 8; ++k) {
              const float v31 = from_bfloat(x29[k]);
              const float v32 = v31 - v19;
              const float v33 = v32 * v32;
              if (k < n) {
                part26 += v33;
              }
            }
          }
          state20.s0 += (double)part26;
        }
      }
      else if (live3) {
        for (int piece = member; piece < pieces; piece += size) {
          join(state20, ((const State1*)((char*)scratch + (size_t)pieces * n0 * 8))[(size_t)piece * n0 + row2]);
        }
      }
      together(state20, size);
      if (mode == 2 && live3 && member == 0) {
        ((State1*)((char*)scratch + (size_t)pieces * n0 * 8))[(size_t)blockIdx.y * n0 + row2] = state20;
      }
      const float v34 = n1 > 0 ? (float)state20.s0 : (float)0;
      if (mode != 2) {
        const float v35 = v34 / v1;
        const float v36 = v35 + a_eps;
        const float v37 = rsqrtf(v36);
        const Index chunks38 = over(n1 + 7, (Index)8);
        const Index share39 = pieces == 1 ? chunks38 : over(chunks38 + pieces - 1, (Index)pieces);
        const Index first40 = (Index)blockIdx.y * share39;
        const Index end41 = chunks38 - first40 < share39 ? chunks38 : first40 + share39;
        const Index end42 = live3 ? end41 : 0;
        for (Index u = first40 + member; u < end42; u += (Index)size) {
          const Index i43 = u * 8;
          const int n = n1 - i43 < 8 ? (int)(n1 - i43) : 8;
          unsigned short x44[8];
          fetch<8>(x44, w_ptr + i43, n);
          unsigned short x45[8];
          const Index at46 = at5 + i43;
          fetch<8>(x45, x_ptr + at46, n);
          const Index at47 = at4 + i43;
          unsigned short r48[8];
          #pragma unroll
          for (int k = 0; k < 8; ++k) {
            const float v49 = from_bfloat(x45[k]);
            const float v50 = v49 - v19;
            const float v51 = v50 * v37;
            const float v52 = from_bfloat(x44[k]);
            const float v53 = v51 * v52;
            r48[k] = to_bfloat(v53);
          }
          put<8>(out_ptr + at47, r48, n);
        }
        if (live3 && member == 0 && blockIdx.y == 0) {
          float r54;
          r54 = v37;
          rstd_ptr[row2] = r54;
        }
      }
    }
  }
}
