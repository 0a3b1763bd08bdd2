"""Writing into existing memory: overlaps, versions, casts, out=, nothing left half-changed."""

import warnings

import numpy as np
import pytest

import facula as torch


def test_out_is_resized_with_a_warning():
    out = torch.zeros(5)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        torch.add(torch.ones(2, 3), 1, out=out)
    assert out.tolist() == [[2, 2, 2], [2, 2, 2]]
    empty = torch.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.add(torch.ones(2), 1, out=empty) is empty
    assert empty.tolist() == [2, 2]


def test_out_is_converted_upwards_only():
    out = torch.zeros(2, dtype=torch.float64)
    torch.add(torch.tensor([1, 2]), 3, out=out)
    assert out.tolist() == [4, 5]
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.add(torch.ones(2), 1.5, out=torch.zeros(2, dtype=torch.int64))


def test_out_of_an_array_of_one_number_says_nothing_of_other_arrays():
    x, many = torch.ones(3), np.array([1.0, 2.0, 3.0])
    for number in (2.0, 5.0):
        assert torch.add(x, np.array([number]), out=torch.empty(3)).tolist() == [number + 1] * 3
        assert torch.add(x, np.float32(number), out=torch.empty(3)).tolist() == [number + 1] * 3
    assert torch.add(x, many).tolist() == [2, 3, 4]


def test_parts_of_floats_go_to_their_own_dtypes():
    x = torch.tensor([3.0])
    with pytest.raises(RuntimeError, match="expects mantissa to have dtype float but got double"):
        torch.frexp(x, out=(torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.int32)))
    with pytest.raises(RuntimeError, match="expects exponent to have int dtype but got float"):
        torch.frexp(x, out=(torch.zeros(1), torch.zeros(1)))


def test_out_refuses_gradients():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.add(x, 1, out=torch.zeros(2))
    with torch.no_grad():
        assert torch.add(x, 1, out=torch.zeros(2)).tolist() == [2, 2]


def test_out_may_be_an_operand_but_not_overlap_one():
    x = torch.arange(4.0)
    assert torch.add(x, 1, out=x) is x and x.tolist() == [1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="unsupported operation"):
        torch.add(x[1:], 1, out=x[:-1])
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        torch.add(torch.ones(3), 1, out=torch.zeros(1).expand(3))
    assert x.tolist() == [1, 2, 3, 4]


def test_in_place_on_its_own_transpose():
    x = torch.arange(9.0).view(3, 3)
    with pytest.raises(RuntimeError, match="unsupported operation"):
        x.add_(x.t())
    assert x.flatten().tolist() == list(range(9))
    x.add_(x)  # the very same elements
    assert x.flatten().tolist() == [2 * i for i in range(9)]


def test_shape_and_dtype_are_kept():
    x = torch.ones(3)
    for call in (
        lambda: x.add_(torch.ones(2, 3)),
        lambda: torch.ones(3, dtype=torch.int32).mul_(1.5),
        lambda: torch.ones(2, dtype=torch.bool).add_(1),
    ):
        with pytest.raises(RuntimeError):
            call()
    assert x.tolist() == [1, 1, 1] and x._version == 0
    y = torch.ones(3, dtype=torch.float16)
    y += torch.ones(3, dtype=torch.float64)
    assert y.dtype is torch.float16 and y.tolist() == [2, 2, 2]


def test_copy_broadcasts_and_converts():
    x = torch.zeros(2, 3, dtype=torch.int32)
    x.copy_(torch.tensor([1.9, -1.9, 3.0]))
    assert x.tolist() == [[1, -1, 3], [1, -1, 3]]
    with pytest.raises(RuntimeError):
        x.copy_(torch.ones(4))
    x.t().copy_(torch.arange(6).view(3, 2))
    assert x.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_fill_checks_the_number():
    x = torch.zeros(2, dtype=torch.uint8)
    for value in (256, float("inf"), 1j):
        with pytest.raises((RuntimeError, TypeError)):
            x.fill_(value)
    assert x.tolist() == [0, 0]
    assert torch.zeros(2).fill_(torch.tensor(3)).tolist() == [3, 3]


def test_versions_grow_by_one():
    x = torch.zeros(4)
    for number, change in enumerate(
        (
            lambda: x.add_(1),
            lambda: x.fill_(2),
            lambda: x.zero_(),
            lambda: x.copy_(torch.ones(4)),
            lambda: x[0].mul_(3),
            lambda: x.__setitem__(1, 5.0),
            lambda: x.uniform_(),
            lambda: torch.exp(x, out=x),
            lambda: x.masked_fill_(x > 9, 0),
            lambda: x.clamp_(0, 1),
            lambda: x.index_put_((torch.tensor([0]),), torch.tensor(1.0)),
            lambda: x.scatter_(0, torch.tensor([0]), 2.0),
            lambda: x.index_add_(0, torch.tensor([0]), torch.ones(1)),
            lambda: x.t_(),
            lambda: x.cumsum_(0),
        ),
        1,
    ):
        change()
        assert x._version == number


def test_division_of_whole_numbers_by_zero():
    x = torch.tensor([4, 5])
    for call in (
        lambda: x // 0,
        lambda: x % 0,
        lambda: x // torch.tensor([1, 0]),
        lambda: x.floor_divide_(0),
        lambda: torch.fmod(x, 0),
        lambda: torch.div(x, 0, rounding_mode="trunc"),
    ):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            call()
    assert (
        x.tolist() == [4, 5] and (x / 0).tolist() == [np.inf, np.inf] and (x.float() // 0).tolist() == [np.inf, np.inf]
    )


def test_numbers_that_change_make_no_new_plans():
    """`alpha` is an argument of the kernel: its value makes none anew, and gradients use the one that was given."""
    from facula.operators.declare import OPERATORS

    add = OPERATORS["add"]
    x, y = torch.zeros(7), torch.ones(7, requires_grad=True)
    for number in (0.5, 1.5):  # one call of each kind
        x.add_(y.detach(), alpha=number)
        torch.add(x, y, alpha=number)
    plans = len(add.plans)
    total = x[0].item()
    for number in range(2, 9):
        x.add_(y.detach(), alpha=number + 0.25)
        total += number + 0.25
        torch.add(x, y, alpha=number + 0.75).sum().backward()
        assert y.grad[0].item() == number + 0.75
        y.grad = None
    assert len(add.plans) == plans and x.tolist() == [total] * 7
