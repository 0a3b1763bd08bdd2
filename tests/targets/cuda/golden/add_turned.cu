typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_add(float* out_ptr,
    const float* x_ptr,
    const float* y_ptr,
    long long n0_,
    long long n1_,
    long long n2_,
    long long out_s0_,
    long long out_s1_,
    long long x_s0_,
    long long x_s1_,
    long long y_s0_,
    long long y_s2_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index n2 = (Index)n2_;
  const Index out_s0 = (Index)out_s0_;
  const Index out_s1 = (Index)out_s1_;
  const Index x_s0 = (Index)x_s0_;
  const Index x_s1 = (Index)x_s1_;
  const Index y_s0 = (Index)y_s0_;
  const Index y_s2 = (Index)y_s2_;
  const Index across1 = over(n2 + 31, (Index)32);
  const Index down2 = over(n1 + 31, (Index)32);
  const Index units3 = n0 * down2 * across1;
  __shared__ float box4[32][33];
  for (Index u = blockIdx.x; u < units3; u += (Index)gridDim.x) {
    const Index u5 = over(u, across1);
    const Index i6 = u - u5 * across1;
    const Index u7 = over(u5, down2);
    const Index i8 = u5 - u7 * down2;
    const Index left9 = i6 * 32;
    const Index top10 = i8 * 32;
    const Index at11 = u7 * y_s0;
    for (int k = threadIdx.y; k < 32; k += 8) {
      const Index i12 = top10 + (Index)threadIdx.x;
      const Index i13 = left9 + k;
      const Index at14 = at11 + i12 + i13 * y_s2;
      if (i12 < n1 && i13 < n2) box4[threadIdx.x][k] = y_ptr[at14];
    }
    __syncthreads();
    for (int k = threadIdx.y; k < 32; k += 8) {
      const Index i15 = top10 + k;
      const Index i16 = left9 + (Index)threadIdx.x;
      if (i15 < n1 && i16 < n2) {
        const Index at17 = u7 * out_s0 + i15 * out_s1 + i16;
        const Index at18 = u7 * x_s0 + i15 * x_s1 + i16;
        float r19;
        const float v20 = x_ptr[at18];
        const float v21 = v20 + box4[k][threadIdx.x];
        r19 = v21;
        out_ptr[at17] = r19;
      }
    }
    __syncthreads();
  }
}
