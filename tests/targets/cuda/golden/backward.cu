typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_twice(float* out_ptr,
    const float* x_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const Index chunks1 = over(n0 + 3, (Index)4);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i2 = u * 4;
    const int n = n0 - i2 < 4 ? (int)(n0 - i2) : 4;
    float x3[4];
    const Index at4 = -i2;
    fetch_back<4>(x3, x_ptr + at4, n);
    float r5[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float v6 = x3[k] * 2.0f;
      r5[k] = v6;
    }
    put<4>(out_ptr + i2, r5, n);
  }
}
