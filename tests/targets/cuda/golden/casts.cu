typedef int Index;

extern "C" __global__ void __launch_bounds__(256)
facula_casts(unsigned char* to_f8e4m3fn_ptr,
    unsigned char* to_f8e5m2fnuz_ptr,
    unsigned char* to_f8e8m0fnu_ptr,
    unsigned short* to_f16_ptr,
    unsigned long long* to_u64_ptr,
    signed char* to_i8_ptr,
    unsigned char* to_b1_ptr,
    const float* x_ptr,
    long long n0_) {
  const Index n0 = (Index)n0_;
  const Index chunks1 = over(n0 + 3, (Index)4);
  for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < chunks1; u += (Index)(gridDim.x * blockDim.x)) {
    const Index i2 = u * 4;
    const int n = n0 - i2 < 4 ? (int)(n0 - i2) : 4;
    float x3[4];
    fetch<4>(x3, x_ptr + i2, n);
    unsigned char r4[4];
    unsigned char r5[4];
    unsigned char r6[4];
    unsigned short r7[4];
    unsigned long long r8[4];
    signed char r9[4];
    unsigned char r10[4];
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
      r4[k] = to_float8_e4m3fn(x3[k]);
      r5[k] = to_float8_e5m2fnuz(x3[k]);
      r6[k] = to_float8_e8m0fnu(x3[k]);
      r7[k] = to_half(x3[k]);
      r8[k] = to_uint64(x3[k]);
      r9[k] = (signed char)to_int32(x3[k]);
      r10[k] = (x3[k] != 0.0f);
    }
    put<4>(to_f8e4m3fn_ptr + i2, r4, n);
    put<4>(to_f8e5m2fnuz_ptr + i2, r5, n);
    put<4>(to_f8e8m0fnu_ptr + i2, r6, n);
    put<4>(to_f16_ptr + i2, r7, n);
    put<4>(to_u64_ptr + i2, r8, n);
    put<4>(to_i8_ptr + i2, r9, n);
    put<4>(to_b1_ptr + i2, r10, n);
  }
}
