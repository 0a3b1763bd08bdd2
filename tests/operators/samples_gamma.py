"""Rows of gamma's relatives, Bessel's I0, and histograms."""

from .table import bad, index, mask, row, s, t

LOOSE = {"float16": (4e-3, 2e-3), "bfloat16": (3e-2, 2e-2), "float32": (2e-5, 2e-5)}
CLOSE = {**LOOSE, "float64": (1e-8, 1e-9)}  # PyTorch's own is no closer

row("i0", [s(t(3, 4, low=-6, high=6)), s(t(5, low=-20, high=20)), s(t()), s(t(values=[0.0, 8.0, -8.0, 12.5]))], "buif",
    tolerance=LOOSE)  # fmt: skip
row("igamma", [s(t(3, 4, low=0.3, high=6, grad=False), t(4, low=0.2, high=9)),
    s(t(values=[0.0, 1.0, 30.0, 30.0, 1.0], grad=False), t(values=[1.0, 0.0, 29.0, 35.0, 50.0], grad=False))],
    "f", tolerance=CLOSE, second=False, strides=False, covers=("igamma_values", "igamma_each"),
    errors=[bad(TypeError, "igamma(): argument 'other' (position 2) must be Tensor, not int", t(3), 2),
            bad(NotImplementedError, "\"igamma_cpu\" not implemented for 'Long'", index(3, below=4),
                index(3, below=4))])  # fmt: skip
row("igammac", [s(t(3, 4, low=0.3, high=6, grad=False), t(4, low=0.2, high=9)),
    s(t(values=[0.0, 1.0, 30.0, 30.0, 1.0], grad=False), t(values=[1.0, 0.0, 29.0, 35.0, 50.0], grad=False))],
    "f", tolerance=CLOSE, second=False, strides=False, covers=("igammac_values", "igammac_each"))  # fmt: skip
row("mvlgamma", [s(t(3, 4, low=2, high=6), 3), s(t(4, low=1, high=6), 1), s(t(low=1, high=3), 2)], "uif",
    tolerance=LOOSE, errors=[bad(RuntimeError, "p has to be greater than or equal to 1", t(3), 0),
                             bad(RuntimeError, "The input tensor may not be a boolean tensor.",
                                 mask(3), 1)])  # fmt: skip
row("polygamma", [s(1, t(3, 4, low=0.3, high=6)), s(0, t(4, low=0.4, high=6)), s(2, t(4, low=0.4, high=6)),
    s(3, t(4, low=-2.3, high=-2.1)), s(4, t())], "buif", tolerance=LOOSE, method=False,
    covers=("polygamma_values", "trigamma", "hurwitz"), blind=("float16", "bfloat16"),
    errors=[bad(RuntimeError, "polygamma(n, x) does not support negative n.", -1, t(3)),
            bad(TypeError, "polygamma(): argument 'n' (position 1) must be int, not float", 1.5,
                t(3))])  # fmt: skip
row("Tensor.polygamma", [s(t(3, 4, low=0.3, high=6), 1)], "buif", out=False, tolerance=LOOSE,
    blind=("float16", "bfloat16"))  # fmt: skip

EDGES = t(values=[-2.0, -0.5, 0.0, 1.5, 2.0], grad=False)
SHORT = ("float16", "bfloat16")
row("histogram", [s(t(20), 5), s(t(4, 5), EDGES), s(t(20), 4, range=(-1.0, 1.5)), s(t(20), 3, weight=t(20)),
    s(t(20), EDGES, density=True), s(t(0), 2)], "f", grad=False, refused=SHORT, covers=("histogram_cells",),
    errors=[bad(RuntimeError, "torch.histogram(): bins must be > 0, but got 0 for dimension 0", t(3), 0),
            bad(RuntimeError, "torch.histogramdd: min should not exceed max, but got min 2 max 1 for dimension 0",
                t(3), 2, range=(2.0, 1.0))])  # fmt: skip
row("histogramdd", [s(t(20, 2), [3, 2]), s(t(4, 5, 2), (EDGES, EDGES)), s(t(20, 2), 2, density=True),
    s(t(20, 3), [2, 2, 1], range=[-1.0, 1.0, -2.0, 2.0, -1.5, 1.0]), s(t(20, 2), [3, 2], weight=t(20))], "f",
    grad=False, out=False, method=False, refused=SHORT, strides=False,
    errors=[bad(RuntimeError, "histogramdd: The size of bins must be equal to the innermost dimension of the input.",
                t(4, 2), [2, 2, 2]),
            bad(RuntimeError, "torch.histogramdd: input tensor should have at least 2 dimensions", t(4),
                [2])])  # fmt: skip
