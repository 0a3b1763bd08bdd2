typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_gelu(unsigned short* out_ptr,
    const unsigned short* x_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const Index chunks1 = over(n0 + 7, (Index)8);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i2 = u * 8;
    const int n = n0 - i2 < 8 ? (int)(n0 - i2) : 8;
    unsigned short x3[8];
    fetch<8>(x3, x_ptr + i2, n);
    unsigned short r4[8];
    #pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float v5 = from_bfloat(x3[k]);
      const float v6 = v5 * 0.5f;
      const float v7 = v5 * 0.70710677f;
      const float v8 = erff(v7);
      const float v9 = v8 + 1.0f;
      const float v10 = v6 * v9;
      r4[k] = to_bfloat(v10);
    }
    put<8>(out_ptr + i2, r4, n);
  }
}
