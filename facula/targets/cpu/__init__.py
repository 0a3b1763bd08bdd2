"""The host's processor: LLVM text, just-in-time compilation, memory pool, thread pool, matrix product."""
