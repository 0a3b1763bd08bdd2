"""Device 'meta' beside PyTorch's: shapes, dtypes and strides of the samples table, what is refused, what is shown."""

import copy
import io
import warnings

import pytest
import torch

import facula
from tests.operators.table import Maker, flat, load_all, resolve

ROWS = [row for row in load_all().values() if any(s.args or s.kwargs for s in row.samples)]
STRIDES = {  # of linear algebra and transforms: those of the library that computes; of the others see the CPU's rows
    "put", "clone", "nn.functional.interpolate", "nn.functional.fold", "nonzero_static", "nn.functional.unfold",
}  # fmt: skip


class Meta(Maker):
    def tensor(self, what):
        made = super().tensor(what)
        self.made[-1] = made = made.detach().to("meta")
        return made


def run(framework, row, number, sample, dtype):
    args, kwargs, _ = Meta(framework, dtype).call(row.name, number, sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = flat(resolve(framework, row.name)(*args, **kwargs))
        except Exception as error:
            return error
    return [
        (tuple(x.shape), str(x.dtype), x.stride(), str(x.device)) if isinstance(x, framework.Tensor) else x
        for x in found
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_samples(row):
    for number, sample in enumerate(row.samples[:4]):
        wanted, found = (run(framework, row, number, sample, row.dtypes[0]) for framework in (torch, facula))
        if isinstance(wanted, Exception):
            # What PyTorch has no meta kernel for, facula may well have.
            assert isinstance(found, Exception) or isinstance(
                wanted, NotImplementedError | AttributeError | TypeError
            ), wanted
            continue
        if row.name == "index_put" and isinstance(found, NotImplementedError):  # how many places a mask names
            continue
        assert not isinstance(found, Exception), f"sample {number}: {found!r} for {wanted}"
        for a, b in zip(found, wanted, strict=True):
            if isinstance(b, tuple):
                compared = slice(0, 4) if row.strides and row.name not in STRIDES else slice(0, 2)
                assert a[compared] == b[compared], f"sample {number}: {a} for {b}"


def shown(make, framework):
    try:
        return repr(make(framework))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0].partition(' You may have run into')[0]}"


def empty(framework, *shape, **kwargs):
    return framework.empty(*shape, device="meta", **kwargs)


def through_file(t, value, **kwargs):
    file = io.BytesIO()
    t.save(value, file)
    file.seek(0)
    return t.load(file, **kwargs)


def in_block(t):
    with t.device("meta"):
        return t.nn.Linear(2, 3), t.zeros(2), t.tensor([1.0]), t.arange(3), t.randn(3), t.get_default_device()


def assigned(t, **kwargs):
    layer = t.nn.Linear(2, 3, device="meta")
    return layer.load_state_dict(t.nn.Linear(2, 3).state_dict(), **kwargs), layer.weight.device


def grad_of(t, value):
    x = empty(t, 3)
    x.grad = value
    return x.grad


CASES = {
    "repr": lambda t: empty(t, 2, 3),
    "repr of a parameter": lambda t: t.nn.Parameter(empty(t, 2, 3)),
    "repr of int32": lambda t: empty(t, 2, dtype=t.int32),
    "repr of a leaf": lambda t: empty(t, 2).requires_grad_(),
    "repr of a result": lambda t: empty(t, 2).requires_grad_() * 2,
    "repr of 0-d": lambda t: empty(t),
    "format": lambda t: f"{empty(t)}",
    "format with a width": lambda t: f"{empty(t):.2f}",
    "item": lambda t: empty(t).item(),
    "bool": lambda t: bool(empty(t)),
    "float": lambda t: float(empty(t)),
    "index": lambda t: [1, 2][empty(t, dtype=t.int64)],
    "slice": lambda t: empty(t, 3)[empty(t, dtype=t.int64) :],
    "in": lambda t: 1 in empty(t, 3),
    "full of a tensor": lambda t: t.full((2,), empty(t)),
    "arange of a tensor": lambda t: t.arange(empty(t)),
    "tolist": lambda t: empty(t, 3).tolist(),
    "numpy": lambda t: empty(t, 3).numpy(),
    "cpu": lambda t: empty(t, 3).cpu(),
    "to cpu": lambda t: empty(t, 3).to("cpu"),
    "module to cpu": lambda t: t.nn.Linear(2, 2, device="meta").to("cpu"),
    "to_empty": lambda t: t.nn.Linear(2, 2, device="meta").to_empty(device="cpu").weight.device,
    "module to meta": lambda t: t.nn.Linear(2, 2).to("meta").weight,
    "block": in_block,
    "load_state_dict": assigned,
    "load_state_dict, assign": lambda t: assigned(t, assign=True),
    "copy out": lambda t: t.ones(3).copy_(empty(t, 3)),
    "copy in": lambda t: empty(t, 3).copy_(t.ones(3)),
    "masked_select": lambda t: t.masked_select(empty(t, 3), empty(t, 3) > 0),
    "unique": lambda t: t.unique(empty(t, 3)),
    "unique_consecutive": lambda t: t.unique_consecutive(empty(t, 3)),
    "bincount": lambda t: t.bincount(empty(t, 3, dtype=t.int64)),
    "equal": lambda t: t.equal(empty(t, 3), empty(t, 3)),
    "allclose": lambda t: t.allclose(empty(t, 3), empty(t, 3)),
    "repeat_interleave": lambda t: t.repeat_interleave(empty(t, 3), empty(t, 3, dtype=t.int64)),
    "repeat_interleave, size": lambda t: t.repeat_interleave(empty(t, 3), empty(t, 3, dtype=t.int64), output_size=5),
    "one_hot": lambda t: t.nn.functional.one_hot(empty(t, 3, dtype=t.int64)),
    "one_hot of 5": lambda t: t.nn.functional.one_hot(empty(t, 3, dtype=t.int64), 5),
    "multinomial": lambda t: t.multinomial(empty(t, 3), 2),
    "data_ptr": lambda t: empty(t, 3).data_ptr(),
    "storage": lambda t: empty(t, 3).untyped_storage(),
    "type": lambda t: empty(t, 3).type(),
    "get_device": lambda t: empty(t, 3).get_device(),
    "dlpack": lambda t: empty(t, 3).__dlpack__(),
    "generator": lambda t: t.Generator("meta"),
    "deepcopy": lambda t: copy.deepcopy(t.nn.Linear(2, 3, device="meta")).weight,
    "saved": lambda t: through_file(t, t.nn.Linear(2, 3, device="meta").state_dict()),
    "loaded on meta": lambda t: through_file(t, {"a": t.ones(2, 3).t()}, map_location="meta"),
    "0-d CPU tensor": lambda t: t.ones(()) + empty(t, 2, 3),
    "0-d meta tensor": lambda t: (empty(t) + t.ones(())).device,
    "index with a list": lambda t: empty(t, 3, 4)[[0, 1]],
    "index with a CPU mask": lambda t: empty(t, 3)[t.tensor([True, False, True])],
    "masked assignment": lambda t: empty(t, 3).__setitem__(empty(t, 3) > 0, 1.0),
    "grad elsewhere": lambda t: grad_of(t, t.ones(3)),
    "out elsewhere": lambda t: t.mm(t.ones(2, 2), t.ones(2, 2), out=empty(t, 2, 2)),
    "to another tensor": lambda t: t.ones(3).to(empty(t, 1).double()),
    "attention": lambda t: t.nn.functional.scaled_dot_product_attention(empty(t, 1, 2, 3), *[t.ones(1, 2, 3)] * 2),
    "lstm": lambda t: t.nn.LSTM(3, 4)(empty(t, 2, 1, 3)),
    "too large": lambda t: empty(t, 2**40, 2**30),
}


@pytest.mark.parametrize("name", CASES)
def test_shown(name):
    assert shown(CASES[name], facula) == shown(CASES[name], torch)


def test_operands_on_two_devices():
    """PyTorch computes garbage for some (a CPU matrix times one on meta); facula has one error for all."""
    words = "Expected all tensors to be on the same device, but found at least two devices, cpu and meta!"
    for make in (lambda t, x, y: x + y, lambda t, x, y: x @ y.t(), lambda t, x, y: t.cat([x, y])):
        with pytest.raises(RuntimeError, match=words):
            make(facula, facula.ones(2, 3), empty(facula, 2, 3))
    with pytest.raises(RuntimeError, match="^Tensor on device meta is not on the expected device cpu!"):
        torch.ones(2, 3) + empty(torch, 2, 3)
