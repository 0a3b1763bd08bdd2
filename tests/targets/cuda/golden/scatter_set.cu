typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_scatter(float* out_ptr,
    const long long* i_ptr,
    const float* x_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const unsigned threads = gridDim.x * blockDim.x, me = blockIdx.x * blockDim.x + threadIdx.x;
  for (Index u = 0; u < 1; ++u) {
    for (Index j = 0; j < n0; ++j) {
      const long long v1 = i_ptr[j];
      if (((unsigned)((unsigned long long)(out_ptr + (v1)) / 4) & (threads - 1u)) == me) {
        float r2;
        long long r2_at;
        bool r2_where;
        r2_at = v1;
        const bool v3 = v1 < 20ll;
        r2_where = v3;
        const float v4 = x_ptr[j];
        r2 = v4;
        if (r2_where) out_ptr[r2_at] = r2;
      }
    }
  }
}
