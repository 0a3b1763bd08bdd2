typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_floordiv(int* out_ptr,
    const int* x_ptr,
    const int* y_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const Index chunks1 = over(n0 + 3, (Index)4);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i2 = u * 4;
    const int n = n0 - i2 < 4 ? (int)(n0 - i2) : 4;
    int x3[4];
    fetch<4>(x3, y_ptr + i2, n);
    int x4[4];
    fetch<4>(x4, x_ptr + i2, n);
    int r5[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int v6 = floordiv(x4[k], x3[k]);
      r5[k] = v6;
    }
    put<4>(out_ptr + i2, r5, n);
  }
}
