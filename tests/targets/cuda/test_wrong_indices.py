"""Indices out of range on 'cuda': no access, PyTorch's error at the next synchronisation, and a context that goes on.

FACULA_CHECKED_EMULATOR runs them under the address sanitizer: python -m tests.targets.cuda.test_wrong_indices
"""

import sys

import pytest

import facula
from facula.nn import functional as F
from tests.targets.cuda.emulator import CHECKED, COMPILER, restart_checked

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


def at(*numbers: int) -> facula.Tensor:
    return facula.tensor(numbers).to("cuda")


def ones(*shape: int) -> facula.Tensor:
    return facula.ones(shape).to("cuda")


def put(x, where, value):
    x[where] = value


def backward(run):
    """The gradient of what `run` gives for a (3, 4) tensor that needs one."""

    def act(x):
        run(x.detach().requires_grad_()).sum().backward()

    return act


# Name -> (what is done to a (3, 4) tensor, what the error says)
CASES = {
    "setitem": (lambda x: put(x, at(1, 7), 5.0), "index_put: index 7 is out of bounds, at element 1"),
    "setitem negative": (lambda x: put(x, at(-4, 1), 5.0), "index_put: index -4 is out of bounds, at element 0"),
    "setitem two": (lambda x: put(x, (at(0, 1), at(1, 4)), ones(2)), "index_put: index 4 is out of bounds"),
    "accumulated": (lambda x: x.index_put_((at(0, 5),), ones(2, 4), accumulate=True), "index_put: index 5 is out"),
    "index_put": (lambda x: facula.index_put(x, (at(0, 5),), ones(2, 4)), "index_put: index 5 is out of bounds"),
    "scatter_": (lambda x: x.scatter_(0, at(1, 9).view(2, 1), ones(2, 1)), "scatter: index 9 is out of bounds"),
    "scatter_add_": (lambda x: x.scatter_add_(1, at(1, 4).view(1, 2), ones(1, 2)), "scatter_add: index 4 is out of"),
    "scatter": (lambda x: x.scatter(0, at(1, 9).view(2, 1), 3.0), "scatter: index 9 is out of bounds"),
    "index_add_": (lambda x: x.index_add_(0, at(0, 3), ones(2, 4)), "index_add: index 3 is out of bounds"),
    "index_copy_": (lambda x: x.index_copy_(0, at(2, 6), ones(2, 4)), "index_put: index 6 is out of bounds"),
    "index_fill_": (lambda x: x.index_fill_(1, at(0, 5), 7.0), "index_put: index 5 is out of bounds"),
    "take": (lambda x: x.take(at(0, 12)), "gather: index 12 is out of bounds"),
    "put_": (lambda x: x.put_(at(0, 12), ones(2)), "index_put: index 12 is out of bounds"),
    "gather": (lambda x: x.gather(0, at(1, 3).view(2, 1)), "gather: index 3 is out of bounds"),
    "index_select": (lambda x: x.index_select(0, at(1, 3)), "gather: index 3 is out of bounds"),
    "getitem": (lambda x: x[at(1, 3)], "gather: index 3 is out of bounds"),
    "take_along_dim": (lambda x: facula.take_along_dim(x, at(9).view(1, 1), 0), "take_along_dim: index 9 is out"),
    "one_hot": (lambda x: F.one_hot(at(1, 3), 3), "one_hot: index 3 is out of bounds"),
    "gathered gradient": (backward(lambda x: x.gather(0, at(1, 9).view(2, 1))), "gather: index 9 is out of bounds"),
    "indexed gradient": (backward(lambda x: x[at(1, 9)]), "gather: index 9 is out of bounds"),
    "selected gradient": (backward(lambda x: x.index_select(0, at(1, 9))), "gather: index 9 is out of bounds"),
    "embedding": (backward(lambda x: F.embedding(at(1, 9), x)), "embedding: index 9 is out of range, at element"),
    "many embeddings": (
        backward(lambda x: F.embedding(facula.arange(3000).to("cuda") % 4, x)), "embedding: index 3 is out of range",
    ),
    "cross_entropy": (backward(lambda x: F.cross_entropy(x, at(1, 4, 0))), "cross_entropy: Target 4 is out of bounds"),
    "weighted": (
        backward(lambda x: F.cross_entropy(x, at(1, -1, 0), ones(4), label_smoothing=0.1)),
        "cross_entropy: Target -1 is out of bounds, at element 1",
    ),
    "nll_loss": (backward(lambda x: F.nll_loss(x, at(1, 2, 7))), "nll_loss: Target 7 is out of bounds, at element 2"),
    "binary_cross_entropy": (
        lambda x: F.binary_cross_entropy(x - 3, ones(3, 4)),
        "binary_cross_entropy: all elements of input should be between 0 and 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_wrong(name, gpu):
    act, said = CASES[name]
    around = facula.zeros(60).to("cuda")
    x = around[24:36].view(3, 4)
    before = len(gpu.named("cuStreamSynchronize"))
    act(x)
    assert len(gpu.named("cuStreamSynchronize")) == before, "nobody waits for the check"
    with pytest.raises(RuntimeError, match="CUDA error: device-side assert triggered") as found:
        facula.cuda.synchronize()
    whole = "\n".join([str(found.value), *getattr(found.value, "__notes__", ())])
    assert said in whole and "test_wrong_indices.py:" in whole, whole
    here = around.tolist()
    assert not any(here[:24]) and not any(here[36:]), "memory beside the tensor is as it was"
    assert (x * 0 + 1).sum().item() == 12, "the context stays usable"


if __name__ == "__main__":
    if not CHECKED:
        restart_checked()
    sys.exit(pytest.main([__file__, "-q", "-s", "-p", "no:cacheprovider", *sys.argv[1:]]))
