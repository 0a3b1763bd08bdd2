"""NVIDIA's GPUs: CUDA C++ text, compiled by NVRTC, launched through the driver."""
