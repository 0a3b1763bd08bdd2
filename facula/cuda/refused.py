"""Names of `torch.cuda` that have no sense here: each is there, and says why it does nothing."""

from facula.errors import refusal

REFUSED = {
    "facula calls NVIDIA's driver, not the CUDA runtime; see torch.cuda.profiler, mem_get_info, Tensor.pin_memory":
        "cudart",
    "products are cuBLASLt's, which keeps no such handle for a program": "current_blas_handle",
    "matrices are factorised by LAPACK on the host": "current_solver_handle",
    "parts of a GPU are set up outside of a program (MIG, MPS)": "GreenContext",
    "memory of a GPU is not shared between processes": "ipc_collect",
    "memory of other allocators is used by DLPack": "CUDAPluggableAllocator",
    "storages without a dtype are enough: torch.UntypedStorage(nbytes, device='cuda')":
        "BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage DoubleStorage "
        "FloatStorage HalfStorage IntStorage LongStorage ShortStorage",
}  # fmt: skip

for _why, _names in REFUSED.items():
    for _name in _names.split():
        globals()[_name] = refusal(f"torch.cuda.{_name}", _why)
NAMES = [name for names in REFUSED.values() for name in names.split()]
WITHOUT = {  # modules
    "gds": "files are read through the host's memory", "green_contexts": "a program uses whole GPUs",
    "jiterator": "kernels are made from Python by facula itself", "nccl": "use torch.distributed",
    "sparse": "layouts of sparse matrices are the host's", "tunable": "cuBLASLt chooses its own algorithms",
}  # fmt: skip
