"""`torch.func.rearrange`: dims regrouped by name, against the same done by hand."""

import pytest

import facula as torch
from facula.func import rearrange

X = torch.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("pattern", "lengths", "wanted"),
    [
        ("a b c -> c a b", {}, X.permute(2, 0, 1)),
        ("a b c -> (c b) a", {}, X.permute(2, 1, 0).reshape(12, 2)),
        ("a b (c d) -> a (b d) c", {"c": 2}, X.reshape(2, 3, 2, 2).permute(0, 1, 3, 2).reshape(2, 6, 2)),
        ("a b (c d)->a d b c", {"d": 4}, X.reshape(2, 3, 1, 4).permute(0, 3, 1, 2)),
        ("... -> 1 ...", {}, X.unsqueeze(0)),
        ("a ... -> ... a", {}, X.permute(1, 2, 0)),
        ("... c -> c (...)", {}, X.permute(2, 0, 1).reshape(4, 6)),
        ("a b 1 -> b a", {}, X.sum(2).t()),  # as PyTorch: an unnamed dim goes, whatever its size
        ("a b c -> (a b c)", {}, X.reshape(24)),
    ],
)
def test_patterns(pattern, lengths, wanted):
    assert torch.equal(rearrange(X, pattern, **lengths), wanted)


def test_sequences_views_and_gradients():
    assert torch.equal(rearrange([X, X], "n a b c -> a (n b) c"), torch.cat([X, X], 1))
    x = torch.ones(2, 3, requires_grad=True)
    y = rearrange(x, "a b -> b a")
    assert y._is_view() and y.data_ptr() == x.data_ptr()
    (y * torch.arange(6).reshape(3, 2)).sum().backward()
    assert x.grad.tolist() == [[0, 2, 4], [1, 3, 5]]
    many = torch.func.vmap(lambda row: rearrange(row, "b c -> c b"))(X)
    assert torch.equal(many, X.permute(0, 2, 1))
    assert rearrange(torch.tensor(3.0), " -> ").item() == 3.0


@pytest.mark.parametrize(
    ("pattern", "lengths", "error", "text"),
    [
        ("a b c", {}, ValueError, "Pattern must contain a single '->' separator"),
        ("a b -> b a", {}, ValueError, r"Number of dimensions in pattern \(2\) must be equal to the number of dimensi"),
        ("a b c d ... -> a b c d ...", {}, ValueError, r"pattern \(4\) must be less than or equal to the number of"),
        ("a b c -> a b", {}, ValueError, r"Identifiers only on one side of rearrange expression .*: \{'c'\}"),
        ("a b c -> a b c", {"q": 2}, ValueError, r"Identifiers not found in rearrange expression: \{'q'\}"),
        ("a a c -> a c", {}, ValueError, "Indexing expression contains duplicate dimension 'a'"),
        ("a_ b c -> b", {}, ValueError, "Invalid axis identifier: a_"),
        ("a b 2 -> a b", {}, ValueError, "rearrange only supports unnamed axes of size 1"),
        ("(a b c -> a b c", {}, ValueError, "Imbalanced parentheses in expression"),
        ("a b) c -> a b c", {}, ValueError, "Brackets are not balanced"),
        ("a ((b)) c -> a b c", {}, ValueError, "Axis composition is one-level"),
        ("a (...) -> a ...", {}, ValueError, "Ellipsis is parenthesis in the left side is not allowed"),
        ("a b c -> ...", {}, ValueError, "Ellipsis found in right side, but not left side"),
        ("a b% c -> a b c", {}, ValueError, "Unknown character '%'"),
        ("a b (c d) -> a b c d", {"c": 2.0}, TypeError, "rearrange axis lengths must be integers, got"),
        ("a b (c d) -> a b c d", {"c": 3}, Exception, "inferred dimension does not evenly fit into larger dimension"),
        ("a b (c d) -> a b c d", {}, Exception, "cannot infer the sizes of two dimensions at once"),
        ("a b (c d) -> a b c d", {"c": 3, "d": 2}, Exception, r"Dimension sizes to do not match \(4 != 6\)"),
    ],
)
def test_what_does_not_fit(pattern, lengths, error, text):
    with pytest.raises(error, match=text):
        rearrange(X, pattern, **lengths)
