"""Samples of copies of views, of names that few programs call, and of random operators with tensors."""

from .table import bad, mask, row, s, t

# --- views, copied --------------------------------------------------------------------------------------------------

row("alias_copy", [s(t(3, 4)), s(t()), s(t(0, 2))], method=False)
row("detach_copy", [s(t(3, 4)), s(t())], grad=False, method=False)
row("as_strided_copy", [s(t(9, fixed=True), (3, 3), (1, 2), 1), s(t(4, fixed=True), (2, 3), (0, 1))], layouts=False,
    method=False)  # fmt: skip
row(
    "diagonal_copy",
    [s(t(3, 4)), s(t(2, 3, 4), 1, 0, 2), s(t(3, 4), 9)],
    method=False,
    errors=[bad(RuntimeError, "diagonal dimensions cannot be identical", t(3, 4), 0, 1, 1)],
)
row("expand_copy", [s(t(3, 1), (3, 4)), s(t(2), (3, 2)), s(t(3), (2, -1))], method=False)
row("permute_copy", [s(t(2, 3, 4), (2, 0, 1)), s(t(3), (0,))], method=False)
# PyTorch has no complex gradients of these.
row("select_copy", [s(t(2, 3), 0, 1), s(t(2, 3), 1, -1)], method=False, more=("complex128",))
row("slice_copy", [s(t(5, 2), 0, 1, 4, 2), s(t(5, 2), 1), s(t(5), 0, -3)], method=False, more=("complex128",))
row("split_copy", [s(t(7, 2), 3), s(t(2, 5), 2, 1)], method=False, out=False)
row("split_with_sizes_copy", [s(t(7, 2), (3, 4)), s(t(2, 5), (2, 0, 3), 1)], method=False)
row("squeeze_copy", [s(t(1, 3, 1)), s(t(1, 3, 1), 0), s(t(1, 3, 1), (0, 2))], method=False)
row("t_copy", [s(t(2, 3)), s(t(3)), s(t())], method=False)
row("transpose_copy", [s(t(2, 3, 4), 0, -1)], method=False)
row("unbind_copy", [s(t(2, 3)), s(t(2, 3), 1)], method=False)
row("unfold_copy", [s(t(7), 0, 3, 2), s(t(3, 6), 1, 2, 2)], method=False)
row("unsqueeze_copy", [s(t(2, 3), 0), s(t(2, 3), -1)], method=False)
row("view_copy", [s(t(2, 6), (3, 4)), s(t(2, 6), (-1,))], method=False)
row("view_as_complex_copy", [s(t(3, 2))], "f", refused=("float16", "bfloat16"), method=False, layouts=False,
    more=("float64",))  # fmt: skip
row("view_as_real_copy", [s(t(3)), s(t(2, 2))], "c", method=False)

# --- indices --------------------------------------------------------------------------------------------------------

row(
    "nonzero_static",
    [s(t(3, 4), size=5), s(mask(6), size=9), s(mask(2, 3), size=2, fill_value=7), s(t(), size=1)],
    grad=False,
    errors=[bad(RuntimeError, "nonzero_static: 'size' must be an non-negative integer", t(3), size=-1)],
)
row("hash_tensor", [s(t(3, 4)), s(t(3, 4), 0), s(t(3, 4), (0, 1), keepdim=True), s(t(2, 3), -1)], "buif",
    covers=("hash_bits", "hash_rows"),
    grad=False)  # fmt: skip

# --- new tensors and draws ----------------------------------------------------------------------------------------

row("empty_permuted", [s((2, 3, 4), (0, 2, 1)), s((), ()), s((2, 0), (1, 0))], "f", grad=False, compare=False,
    out=False)  # fmt: skip
row(
    "binomial",
    [s(t(5, low=3.0, high=40.0), t(5, low=0.1, high=0.9)), s(t(low=3.0, high=9.0), t(3, low=0.0, high=1.0))],
    "f",
    refused=("float16", "bfloat16"),
    grad=False,
    out=False,
    method=False,
    compare=False,
)

# --- segments -----------------------------------------------------------------------------------------------------


def lengths(*values):
    return t(values=values, dtype="int64", grad=False)


row(
    "segment_reduce",
    [
        s(t(6), "sum", lengths=lengths(2, 0, 4)),
        s(t(3, 2), "mean", lengths=lengths(1, 2)),
        s(t(6, distinct=True), "max", offsets=lengths(0, 2, 6)),
        s(t(2, 3, distinct=True), "min", lengths=lengths([1, 2], [3, 0]), axis=1, initial=1.0),
        s(t(5), "prod", lengths=lengths(2, 3)),
        s(t(6), "mean", lengths=lengths(3, 0, 3), initial=2.0),
    ],
    "f",
    second=False,
    out=False,
    method=False,
    errors=[
        bad(
            RuntimeError,
            "reduce argument must be either sum, prod, mean, amax or amin, got foo",
            t(2),
            "foo",
            lengths=lengths(2),
        ),
        bad(RuntimeError, "segment_reduce(): Either lengths or offsets must be defined.", t(2), "sum"),
        bad(RuntimeError, "segment_reduce(): Expected all rows of lengths", t(2), "sum", lengths=lengths(1)),
    ],
)
