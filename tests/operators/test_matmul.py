"""Products against NumPy over sizes, strides, dtypes and index letters."""

import itertools
import random

import numpy as np
import pytest

import facula as torch

SIZES = (0, 1, 2, 3, 7, 16, 17, 33, 64, 65, 130)


def close(found, wanted, dtype="float64"):
    tight = {"float64": 1e-11, "complex128": 1e-11, "float32": 2e-4, "complex64": 2e-4, "float16": 2e-2}.get(dtype, 0)
    np.testing.assert_allclose(found, wanted, rtol=tight, atol=tight)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes(dtype):
    rng = np.random.default_rng(0)
    for _ in range(60):
        m, n, k = rng.choice(SIZES, 3)
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        close((torch.tensor(a) @ torch.tensor(b)).numpy(), a @ b, dtype)


def layouts(array, rng):
    """The same matrix as dense, transposed, strided memory."""
    yield torch.tensor(array)
    yield torch.tensor(np.ascontiguousarray(np.swapaxes(array, -1, -2))).transpose(-1, -2)
    wide = np.zeros((*array.shape[:-1], array.shape[-1] * 2))
    wide[..., ::2] = array
    yield torch.tensor(wide)[..., ::2]
    yield torch.tensor(np.concatenate([array, array], -2))[..., : array.shape[-2], :]


def test_strides():
    rng = np.random.default_rng(1)
    for shape_a, shape_b in (((5, 7), (7, 3)), ((2, 5, 7), (2, 7, 3)), ((33, 18), (18, 40)), ((3, 1, 4, 5), (2, 5, 6))):
        a, b = rng.standard_normal(shape_a), rng.standard_normal(shape_b)
        for x, y in itertools.product(layouts(a, rng), layouts(b, rng)):
            close(torch.matmul(x, y).numpy(), a @ b)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "float16", "complex64", "complex128"])
def test_dtypes(dtype):
    rng = np.random.default_rng(2)

    def make(*s):
        return (
            rng.integers(0, 5, s).astype(dtype)
            if "int" in dtype
            else (rng.standard_normal(s) + (1j * rng.standard_normal(s) if "complex" in dtype else 0)).astype(dtype)
        )

    a, b, c = make(9, 20), make(20, 7), make(3, 9, 20)
    close((torch.tensor(a) @ torch.tensor(b)).numpy(), a @ b, dtype)
    close((torch.tensor(c) @ torch.tensor(b)).numpy(), c @ b, dtype)
    close(torch.mv(torch.tensor(a), torch.tensor(b[:, 0])).numpy(), a @ b[:, 0], dtype)
    close(torch.dot(torch.tensor(a[0]), torch.tensor(b[:, 0])).numpy(), a[0] @ b[:, 0], dtype)


def test_broadcast_batches():
    rng = np.random.default_rng(3)
    for lead_a, lead_b in (
        ((2,), ()),
        ((), (3,)),
        ((2, 1), (3,)),
        ((2, 3), (1, 3)),
        ((4, 1, 2), (3, 1)),
        ((0,), ()),
        ((1,), (5,)),
    ):
        a, b = rng.standard_normal((*lead_a, 3, 4)), rng.standard_normal((*lead_b, 4, 5))
        close(torch.matmul(torch.tensor(a), torch.tensor(b)).numpy(), a @ b)
        x = torch.tensor(a, requires_grad=True)
        y = torch.tensor(b, requires_grad=True)
        out = torch.matmul(x, y)
        w = rng.standard_normal(tuple(out.shape))
        out.backward(torch.tensor(w))
        assert x.grad.shape == x.shape and y.grad.shape == y.shape
        full = w @ np.swapaxes(np.broadcast_to(b, (*w.shape[:-2], 4, 5)), -1, -2)
        lead = full.ndim - a.ndim
        summed = full.sum(tuple(range(lead)))
        summed = summed.sum(tuple(d for d, n in enumerate(a.shape) if n == 1 and summed.shape[d] != 1), keepdims=True)
        close(x.grad.numpy(), summed)


def random_equation(rng: random.Random):
    letters = "abcde"
    sizes = {c: rng.choice([1, 2, 3]) for c in letters}
    terms = ["".join(rng.sample(letters, rng.randint(0, 3))) for _ in range(rng.randint(1, 3))]
    used = sorted(set("".join(terms)))
    result = "".join(rng.sample(used, rng.randint(0, len(used))))
    return terms, result, sizes


@pytest.mark.parametrize("seed", range(6))
def test_einsum(seed):
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    for _ in range(40):
        terms, result, sizes = random_equation(rng)
        arrays = [numbers.standard_normal([sizes[c] for c in t]) for t in terms]
        equation = ",".join(terms) + ("->" + result if rng.random() < 0.8 else "")
        wanted = np.einsum(equation, *arrays)
        found = torch.einsum(equation, *[torch.tensor(a) for a in arrays])
        close(found.numpy(), wanted)
        assert tuple(found.shape) == wanted.shape, equation


def test_einsum_with_repeated_letters_and_ellipsis():
    rng = np.random.default_rng(5)
    for equation, shapes in (
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iij->j", [(3, 3, 2)]),
        ("...i,...i->...", [(2, 3, 4), (4,)]),
        ("i...j,jk->...ik", [(2, 5, 3), (3, 4)]),
        ("...,...", [(2, 3), (3,)]),
        ("ij...,kj->...ik", [(2, 3, 4), (5, 3)]),
    ):
        arrays = [rng.standard_normal(s) for s in shapes]
        close(torch.einsum(equation, *[torch.tensor(a) for a in arrays]).numpy(), np.einsum(equation, *arrays))
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 4))
    close(torch.einsum(torch.tensor(a), [0, 1], torch.tensor(b), [1, 2], [0, 2]).numpy(), a @ b)


def test_bits_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(6)
    a, b = (
        torch.tensor(rng.standard_normal((257, 300)).astype("f4")),
        torch.tensor(rng.standard_normal((300, 190)).astype("f4")),
    )
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            found.append((a @ b).numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


LETTERS = dict(zip("abcdehijklqz", (2, 3, 4, 5, 6, 3, 4, 5, 6, 7, 5, 2)))


@pytest.mark.parametrize(
    "equation",
    [
        "ij,jk->ik", "ij,jk", "bhqd,bhkd->bhqk", "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "i,j->ij", "bi,bi->b", "ij,ij->",
        "ij,ij->ij", "i,i->", "ab,cd->abcd", "abc,cbd->ad", "abc,bd->acd", "ij,kj->ki", "bij,bjk->kbi", "i,ij->j",
        "abcd,d->abc", "ijk,jil->kl", "abc,abc->c", "ij,ji->i", "zabc,zcd->zbad", "ab,bc->c", "abc,c->ab",
    ],
)  # fmt: skip
def test_einsum_of_two_again_and_again(equation):
    rng = np.random.default_rng(5)
    terms, _, result = equation.partition("->")
    for turned in (False, True):
        arrays = [rng.standard_normal([LETTERS[c] for c in term]) for term in terms.split(",")]
        operands = [
            torch.tensor(x.T.copy()).permute(*range(x.ndim)[::-1]) if turned else torch.tensor(x) for x in arrays
        ]
        operands = [x.requires_grad_() for x in operands]
        wanted = np.einsum(equation, *arrays)
        for _ in range(3):  # the first call makes the program, the next ones run it
            made = torch.einsum(equation, *operands)
            close(made.detach().numpy(), wanted)
            with torch.no_grad():
                close(torch.einsum(equation, *operands).numpy(), wanted)
            grads = torch.autograd.grad(made.sum() * 2, operands)
            if "->" in equation:
                ones = np.full(wanted.shape, 2.0)
                for i, grad in enumerate(grads):
                    own, other = terms.split(",")[i], terms.split(",")[1 - i]
                    back = np.einsum(
                        f"{result},{other}->" + "".join(c for c in own if c in result + other), ones, arrays[1 - i]
                    )
                    spread = [n if c in result + other else 1 for c, n in zip(own, arrays[i].shape)]
                    close(grad.numpy(), np.broadcast_to(back.reshape(spread), arrays[i].shape))


@pytest.mark.parametrize(
    "shapes",
    [((4, 4), (4, 4)), ((4, 5), (5,)), ((5,), (5,)), ((5,), (5, 3)), ((2, 4, 5), (5, 3)), ((2, 1, 4, 5), (3, 5, 2))],
)
def test_repeated_products_are_recorded_like_the_first(shapes):
    rng = np.random.default_rng(6)
    a, b = (torch.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes)
    first, names, seconds = None, set(), []
    for _ in range(3):
        made = a @ b
        names.add(made.grad_fn.name())
        grads = torch.autograd.grad((made * made).sum(), (a, b), create_graph=True)
        found = [g.detach().numpy() for g in grads]
        seconds.append(torch.autograd.grad((grads[0] ** 2).sum(), b)[0].numpy())
        if first is None:
            first = found
        for x, y in zip(found, first):
            np.testing.assert_array_equal(x, y)
    assert len(names) == 1
    np.testing.assert_array_equal(seconds[0], seconds[2])
    with torch.no_grad():
        assert (a @ b).grad_fn is None


def test_repeated_products_notice_changed_operands_and_hooks():
    a, b = torch.ones(3, 3, requires_grad=True), torch.ones(3, 3)
    for _ in range(3):
        made = a @ b
    b.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        made.sum().backward()
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: packed.append(x) or x, lambda x: x):
        (a @ b).sum().backward()
    assert packed


def test_linear_again_and_again():
    layer, x = torch.nn.Linear(5, 3), torch.randn(2, 4, 5, requires_grad=True)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for _ in range(3):
        layer.zero_grad()
        x.grad = None
        made = layer(x)
        np.testing.assert_allclose(made.detach().numpy(), x.detach().numpy() @ weight.T + bias, rtol=1e-5, atol=1e-6)
        made.backward(torch.ones(2, 4, 3))
        rows = x.detach().numpy().reshape(8, 5)
        np.testing.assert_allclose(layer.weight.grad.numpy(), np.tile(rows.sum(0), (3, 1)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(layer.bias.grad.numpy(), [8, 8, 8])
        np.testing.assert_allclose(x.grad.numpy(), np.tile(weight.sum(0), (2, 4, 1)), rtol=1e-5, atol=1e-6)


def test_addmm_again_and_again():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((4, 6)), rng.standard_normal((6, 5))
    for shape in ((5,), (4, 1), (4, 5), (1, 1), ()):
        c = rng.standard_normal(shape)
        for beta, alpha in ((1, 1), (1, 2), (0, 1), (0.5, 3.0), (1, 0.25)):
            for _ in range(3):
                made = torch.addmm(torch.tensor(c), torch.tensor(a), torch.tensor(b), beta=beta, alpha=alpha)
                close(made.numpy(), beta * c + alpha * (a @ b))
