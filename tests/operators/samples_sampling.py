"""Samples of the samplers that try again; their streams are compared with PyTorch in tests/conformance."""

from .table import T, bad, row, s, t

COUNTS = T((3,), values=[0.0, 7.0, 60.0], grad=False)

row(
    "binomial",
    [
        s(COUNTS, T((3,), values=[0.3, 0.5, 0.9], grad=False)),
        s(COUNTS, t(2, 1, low=0, high=1, grad=False)),
        s(t(0, 3), t(0, 3)),
    ],
    "f",
    grad=False,
    out=False,
    method=False,
    refused=("float16", "bfloat16"),
    covers=("standard_gamma", "standard_gamma_gradient", "sample_dirichlet", "dirichlet_gradient"),
    errors=[
        bad(RuntimeError, "Found dtype Float but expected Double", t(3, dtype="float64"), t(3, dtype="float32")),
        bad(RuntimeError, "The size of tensor a (3) must match the size of tensor b (2)", t(3), t(2)),
    ],
)
