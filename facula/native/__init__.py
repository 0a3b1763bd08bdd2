"""Machine code of the host that every target needs.

LLVM text and what compiles it, CPython builtins, records made without Python, calls and backwards that repeat.
"""
