"""NVIDIA's libraries by ctypes: cuBLASLt and cuDNN, what they are given, and calls that are made once a shape."""
