typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_place(long long* out_ptr,
    long long n0_,
    long long n1_,
    long long out_s0_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index chunks1 = over(n1 + 1, (Index)2);
  const Index units2 = n0 * chunks1;
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < units2; u += (Index)(gridDim.x * blockDim.x)) {
    const Index u3 = over(u, chunks1);
    const Index i4 = u - u3 * chunks1;
    const Index i5 = i4 * 2;
    const int n = n1 - i5 < 2 ? (int)(n1 - i5) : 2;
    const long long v6 = (long long)((unsigned long long)(long long)u3 * (unsigned long long)(long long)n1);
    const Index at7 = i5 + u3 * out_s0;
    long long r8[2];
    #pragma unroll
    for (int k = 0; k < 2; ++k) {
      const long long v9 = (long long)((unsigned long long)v6 + (unsigned long long)(long long)(i5 + k));
      r8[k] = v9;
    }
    put<2>(out_ptr + at7, r8, n);
  }
}
