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
    State0 state5;
    start(state5);
    if (pieces == 1 || mode == 1) {
      const Index chunks6 = over(n1 + 3, (Index)4);
      const Index share7 = pieces == 1 ? chunks6 : over(chunks6 + pieces - 1, (Index)pieces);
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
            state5.s0 = state5.s0 > x12[k] || state5.s0 != state5.s0 ? state5.s0 : x12[k];
          }
        }
      }
    }
    else if (live2) {
      for (int piece = member; piece < pieces; piece += size) {
        join(state5, ((const State0*)scratch)[(size_t)piece * n0 + row1]);
      }
    }
    together(state5, size);
    if (mode == 1 && live2 && member == 0) {
      ((State0*)scratch)[(size_t)blockIdx.y * n0 + row1] = state5;
    }
    if (mode != 1) {
      State1 state14;
      start(state14);
      if (pieces == 1 || mode == 2) {
        const Index chunks15 = over(n1 + 3, (Index)4);
        const Index share16 = pieces == 1 ? chunks15 : over(chunks15 + pieces - 1, (Index)pieces);
        const Index first17 = (Index)blockIdx.y * share16;
        const Index end18 = chunks15 - first17 < share16 ? chunks15 : first17 + share16;
        const Index end19 = live2 ? end18 : 0;
        for (Index block = first17 + member; block < end19; block += (Index)16 * size) {
          float part20 = -0.0f;
          const Index stop21 = end19 - block < (Index)16 * size ? end19 : block + (Index)16 * size;
          for (Index u = block; u < stop21; u += (Index)size) {
            const Index i22 = u * 4;
            const int n = n1 - i22 < 4 ? (int)(n1 - i22) : 4;
            float x23[4];
            const Index at24 = at4 + i22;
            fetch<4>(x23, x_ptr + at24, n);
            #pragma unroll
            for (int k = 0; k < 4; ++k) {
              const float v25 = x23[k] - state5.s0;
              const float v26 = expf(v25);
              if (k < n) {
                part20 += v26;
              }
            }
          }
          state14.s0 += (double)part20;
        }
      }
      else if (live2) {
        for (int piece = member; piece < pieces; piece += size) {
          join(state14, ((const State1*)((char*)scratch + (size_t)pieces * n0 * 8))[(size_t)piece * n0 + row1]);
        }
      }
      together(state14, size);
      if (mode == 2 && live2 && member == 0) {
        ((State1*)((char*)scratch + (size_t)pieces * n0 * 8))[(size_t)blockIdx.y * n0 + row1] = state14;
      }
      const float v27 = n1 > 0 ? (float)state14.s0 : (float)0;
      if (mode != 2) {
        const Index chunks28 = over(n1 + 3, (Index)4);
        const Index share29 = pieces == 1 ? chunks28 : over(chunks28 + pieces - 1, (Index)pieces);
        const Index first30 = (Index)blockIdx.y * share29;
        const Index end31 = chunks28 - first30 < share29 ? chunks28 : first30 + share29;
        const Index end32 = live2 ? end31 : 0;
        for (Index u = first30 + member; u < end32; u += (Index)size) {
          const Index i33 = u * 4;
          const int n = n1 - i33 < 4 ? (int)(n1 - i33) : 4;
          float x34[4];
          const Index at35 = at4 + i33;
          fetch<4>(x34, x_ptr + at35, n);
          const Index at36 = at3 + i33;
          float r37[4];
          #pragma unroll
          for (int k = 0; k < 4; ++k) {
            const float v38 = x34[k] - state5.s0;
            const float v39 = expf(v38);
            const float v40 = v39 / v27;
            r37[k] = v40;
          }
          put<4>(out_ptr + at36, r37, n);
        }
      }
    }
  }
}
