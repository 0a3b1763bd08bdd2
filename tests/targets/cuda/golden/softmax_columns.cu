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
    long long x_s1_,
    void* scratch,
    int pieces,
    int mode) {
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
    if (pieces == 1 || mode == 1) {
      const Index share4 = pieces == 1 ? n1 : over(n1 + pieces - 1, (Index)pieces);
      const Index first5 = (Index)blockIdx.y * share4;
      const Index end6 = n1 - first5 < share4 ? n1 : first5 + share4;
      const Index end7 = live2 ? end6 : 0;
      for (Index base = first5 + member; base < end7; base += (Index)8 * size) {
        float x8[8];
        #pragma unroll
        for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < end7) {
          const Index at9 = row1 + u * x_s1;
          x8[j] = x_ptr[at9];
        }
        #pragma unroll
        for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < end7) {
          state3.s0 = state3.s0 > x8[j] || state3.s0 != state3.s0 ? state3.s0 : x8[j];
        }
      }
    }
    else if (live2) {
      for (int piece = member; piece < pieces; piece += size) {
        join(state3, ((const State0*)scratch)[(size_t)piece * n0 + row1]);
      }
    }
    stacked(state3, size);
    if (mode == 1 && live2 && member == 0) {
      ((State0*)scratch)[(size_t)blockIdx.y * n0 + row1] = state3;
    }
    if (mode != 1) {
      State1 state10;
      start(state10);
      if (pieces == 1 || mode == 2) {
        const Index share11 = pieces == 1 ? n1 : over(n1 + pieces - 1, (Index)pieces);
        const Index first12 = (Index)blockIdx.y * share11;
        const Index end13 = n1 - first12 < share11 ? n1 : first12 + share11;
        const Index end14 = live2 ? end13 : 0;
        for (Index block = first12 + member; block < end14; block += (Index)64 * size) {
          float part15 = -0.0f;
          const Index stop16 = end14 - block < (Index)64 * size ? end14 : block + (Index)64 * size;
          for (Index base = block; base < stop16; base += (Index)8 * size) {
            float x17[8];
            #pragma unroll
            for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < stop16) {
              const Index at18 = row1 + u * x_s1;
              x17[j] = x_ptr[at18];
            }
            #pragma unroll
            for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < stop16) {
              const float v19 = x17[j] - state3.s0;
              const float v20 = expf(v19);
              part15 += v20;
            }
          }
          state10.s0 += (double)part15;
        }
      }
      else if (live2) {
        for (int piece = member; piece < pieces; piece += size) {
          join(state10, ((const State1*)((char*)scratch + (size_t)pieces * n0 * 8))[(size_t)piece * n0 + row1]);
        }
      }
      stacked(state10, size);
      if (mode == 2 && live2 && member == 0) {
        ((State1*)((char*)scratch + (size_t)pieces * n0 * 8))[(size_t)blockIdx.y * n0 + row1] = state10;
      }
      const float v21 = n1 > 0 ? (float)state10.s0 : (float)0;
      if (mode != 2) {
        const Index share22 = pieces == 1 ? n1 : over(n1 + pieces - 1, (Index)pieces);
        const Index first23 = (Index)blockIdx.y * share22;
        const Index end24 = n1 - first23 < share22 ? n1 : first23 + share22;
        const Index end25 = live2 ? end24 : 0;
        for (Index base = first23 + member; base < end25; base += (Index)8 * size) {
          float x26[8];
          #pragma unroll
          for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < end25) {
            const Index at27 = row1 + u * x_s1;
            x26[j] = x_ptr[at27];
          }
          #pragma unroll
          for (int j = 0; j < 8; ++j) if (const Index u = base + (Index)j * size; u < end25) {
            const float v28 = x26[j] - state3.s0;
            const float v29 = expf(v28);
            const float v30 = v29 / v21;
            const Index at31 = row1 + u * out_s1;
            float r32;
            r32 = v30;
            out_ptr[at31] = r32;
          }
        }
      }
    }
  }
}
