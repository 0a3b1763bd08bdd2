typedef int Index;

struct alignas(8) State0 {
  float s0;
  long long i0;
};
__device__ __forceinline__ void start(State0& s) {
  s.s0 = -__int_as_float(0x7f800000);
  s.i0 = 0ll;
}
__device__ __forceinline__ void join(State0& a, const State0& b) {
  if ((a.s0 == a.s0 && (b.s0 > a.s0 || b.s0 != b.s0)) || ((a.s0 == b.s0 || (a.s0 != a.s0 && b.s0 != b.s0)) && b.i0 < a.i0)) { a.s0 = b.s0; a.i0 = b.i0; }
}

extern "C" __global__ void __launch_bounds__(256)
facula_argmax(long long* out_ptr,
    const float* x_ptr,
    long long n0_,
    long long n1_,
    long long x_s1_,
    void* scratch,
    int pieces,
    int mode) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index x_s1 = (Index)x_s1_;
  const int member = threadIdx.y;
  const int size = (int)blockDim.y;
  for (Index top = blockIdx.x * blockDim.x; top < n0; top += (Index)(gridDim.x * blockDim.x)) {
    const Index row1 = top + (Index)threadIdx.x;
    const bool live2 = row1 < n0;
    State0 state3;
    start(state3);
    if (mode != 2) {
      const Index share4 = over(n1 + pieces - 1, (Index)pieces);
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
          if (!(x8[j] <= state3.s0) && state3.s0 == state3.s0) { state3.s0 = x8[j]; state3.i0 = (long long)u; }
        }
      }
    }
    if (mode == 2 && live2) {
      for (int piece = member; piece < pieces; piece += size) {
        join(state3, ((const State0*)scratch)[(size_t)piece * n0 + row1]);
      }
    }
    stacked(state3, size);
    if (mode == 1 && live2 && member == 0) {
      ((State0*)scratch)[(size_t)blockIdx.y * n0 + row1] = state3;
    }
    if (live2 && member == 0 && mode != 1) {
      long long r10;
      r10 = state3.i0;
      out_ptr[row1] = r10;
    }
  }
}
