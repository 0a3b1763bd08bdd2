typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_turned(Pair<float>* out_ptr,
    const Pair<float>* z_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const Index chunks1 = over(n0 + 1, (Index)2);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i2 = u * 2;
    const int n = n0 - i2 < 2 ? (int)(n0 - i2) : 2;
    Pair<float> x3[2];
    fetch<2>(x3, z_ptr + i2, n);
    Pair<float> r4[2];
    #pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float v5 = expf(x3[k].re);
      const float v6 = cosf(x3[k].im);
      const float v7 = v5 * v6;
      r4[k].re = v7;
      const bool v8 = x3[k].im == 0.0f;
      const float v9 = sinf(x3[k].im);
      const float v10 = v5 * v9;
      const float v11 = v8 ? x3[k].im : v10;
      r4[k].im = v11;
    }
    put<2>(out_ptr + i2, r4, n);
  }
}
