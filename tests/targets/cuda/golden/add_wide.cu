typedef long long Index;

extern "C" __global__ void __launch_bounds__(256)
facula_add(float* out_ptr,
    const float* x_ptr,
    const float* y_ptr,
    long long n0_,
    long long n1_,
    long long out_s0_,
    long long x_s0_,
    long long y_s0_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index x_s0 = (Index)x_s0_;
  const Index y_s0 = (Index)y_s0_;
  const Index chunks1 = over(n1 + 3, (Index)4);
  const Index units2 = n0 * chunks1;
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < units2; u += (Index)(gridDim.x * blockDim.x)) {
    const Index u3 = over(u, chunks1);
    const Index i4 = u - u3 * chunks1;
    const Index i5 = i4 * 4;
    const int n = n1 - i5 < 4 ? (int)(n1 - i5) : 4;
    float x6[4];
    const Index at7 = i5 + u3 * y_s0;
    fetch<4>(x6, y_ptr + at7, n);
    float x8[4];
    const Index at9 = i5 + u3 * x_s0;
    fetch<4>(x8, x_ptr + at9, n);
    const Index at10 = i5 + u3 * out_s0;
    float r11[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float v12 = x8[k] + x6[k];
      r11[k] = v12;
    }
    put<4>(out_ptr + at10, r11, n);
  }
}
