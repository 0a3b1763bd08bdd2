typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_add(float* out_ptr,
    const float* x_ptr,
    const float* y_ptr,
    long long n0_,
    long long n1_,
    long long out_s0_,
    long long x_s0_,
    long long y_s0_,
    long long y_s1_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index x_s0 = (Index)x_s0_;
  const Index y_s0 = (Index)y_s0_;
  const Index y_s1 = (Index)y_s1_;
  const Index units1 = n0 * n1;
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < units1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index u2 = over(u, n1);
    const Index i3 = u - u2 * n1;
    const Index at4 = u2 * x_s0;
    const float v5 = x_ptr[at4];
    const Index at6 = i3 * y_s1 + u2 * y_s0;
    const float v7 = y_ptr[at6];
    const float v8 = v5 + v7;
    const Index at9 = i3 + u2 * out_s0;
    float r10;
    r10 = v8;
    out_ptr[at9] = r10;
  }
}
