typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_add(unsigned char* out_ptr,
    const unsigned char* x_ptr,
    const unsigned char* y_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const unsigned char v1 = y_ptr[0];
  const Index chunks2 = over(n0 + 15, (Index)16);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks2; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i3 = u * 16;
    const int n = n0 - i3 < 16 ? (int)(n0 - i3) : 16;
    unsigned char x4[16];
    fetch<16>(x4, x_ptr + i3, n);
    unsigned char r5[16];
    #pragma unroll
    for (int k = 0; k < 16; ++k) {
      const unsigned char v6 = (unsigned char)((unsigned)x4[k] + (unsigned)v1);
      r5[k] = v6;
    }
    put<16>(out_ptr + i3, r5, n);
  }
}
