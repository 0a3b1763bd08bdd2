typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_scaled(float* out_ptr,
    const float* x_ptr,
    float a_a_,
    long long a_n_,
    long long a_c_,
    long long n0_) {
  const float a_a = a_a_;
  const long long a_n = a_n_;
  const bool a_c = (a_c_ != 0ll);
  const Index n0 = (Index)n0_;
  const float v1 = (float)a_n;
  const Index chunks2 = over(n0 + 3, (Index)4);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks2; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i3 = u * 4;
    const int n = n0 - i3 < 4 ? (int)(n0 - i3) : 4;
    float x4[4];
    fetch<4>(x4, x_ptr + i3, n);
    float r5[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float v6 = x4[k] * a_a;
      const float v7 = v6 + v1;
      const float v8 = -v7;
      const float v9 = a_c ? v7 : v8;
      r5[k] = v9;
    }
    put<4>(out_ptr + i3, r5, n);
  }
}
