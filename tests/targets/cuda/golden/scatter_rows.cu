typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_scatter(float* out_ptr,
    const long long* i_ptr,
    const float* x_ptr,
    long long n0_,
    long long n1_,
    long long out_s0_,
    long long i_s0_,
    long long x_s0_) {
  const Index n0 = (Index)n0_;
  const Index n1 = (Index)n1_;
  const Index out_s0 = (Index)out_s0_;
  const Index i_s0 = (Index)i_s0_;
  const Index x_s0 = (Index)x_s0_;
  const int member = threadIdx.x;
  const int size = (int)blockDim.x;
  for (Index top = blockIdx.x * blockDim.y; top < n0; top += (Index)(gridDim.x * blockDim.y)) {
    const Index row1 = top + (Index)threadIdx.y;
    const bool live2 = row1 < n0;
    const Index at3 = row1 * out_s0;
    const Index at4 = row1 * i_s0;
    const Index at5 = row1 * x_s0;
    const Index end6 = live2 ? n1 : 0;
    for (Index u = 0 + member; u < end6; u += (Index)size) {
      const Index at7 = at4 + u;
      const long long v8 = i_ptr[at7];
      const Index at9 = at5 + u;
      const float v10 = x_ptr[at9];
      float r11;
      long long r11_at;
      r11_at = v8;
      r11 = v10;
      {
        out_ptr[at3 + r11_at] = (out_ptr[at3 + r11_at] + r11);
      }
    }
  }
}
