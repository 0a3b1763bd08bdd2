typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_scatter(float* out_ptr,
    const long long* i_ptr,
    const float* x_ptr,
    long long n0_,
    long long n1_,
    long long out_s0_,
    long long i_s0_,
    long long x_s0_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index i_s0 = (Index)i_s0_;
  const Index x_s0 = (Index)x_s0_;
  const unsigned threads = gridDim.x * blockDim.x, me = blockIdx.x * blockDim.x + threadIdx.x;
  for (Index u = 0; u < n0; ++u) {
    const Index at1 = u * i_s0;
    const long long v2 = i_ptr[at1];
    const long long v3 = (long long)((unsigned long long)v2 * (unsigned long long)20ll);
    const Index at4 = u * out_s0;
    const unsigned first5 = (unsigned)((unsigned long long)(out_ptr + (at4 + v3)) / 4) & (threads - 1u);
    for (Index j = (Index)((me - first5) & (threads - 1u)); j < n1; j += (Index)threads) {
      {
        float r6;
        long long r6_at;
        r6_at = v3;
        const Index at7 = u * x_s0 + j;
        const float v8 = x_ptr[at7];
        r6 = v8;
        const Index at9 = at4 + j;
        {
          out_ptr[at9 + r6_at] = (out_ptr[at9 + r6_at] + r6);
        }
      }
    }
  }
}
