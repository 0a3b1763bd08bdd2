typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_take(float* out_ptr,
    const long long* i_ptr,
    const float* x_ptr,
    long long a_size_,
    long long n0_,
    Status* status,
    long long ticket) {
  const long long a_size = a_size_;
  const Index n0 = (Index)n0_;
  const Index chunks1 = over(n0 + 3, (Index)4);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i2 = u * 4;
    const int n = n0 - i2 < 4 ? (int)(n0 - i2) : 4;
    long long x3[4];
    fetch<4>(x3, i_ptr + i2, n);
    float r4[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
      const bool v5 = x3[k] >= 0ll;
      const bool v6 = x3[k] < a_size;
      const bool v7 = v5 & v6;
      if (k < n && !v7) {
        note(status, ticket, 0u, (long long)(i2 + k), x3[k]);
      }
      const float v8 = k < n && v7 ? x_ptr[x3[k]] : (float)0;
      r4[k] = v8;
    }
    put<4>(out_ptr + i2, r4, n);
  }
}
