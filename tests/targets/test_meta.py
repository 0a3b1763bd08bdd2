"""Device 'meta': the samples table has the shapes, dtypes and strides of the CPU; nothing reads or writes memory."""

import copy
import io
import warnings

import numpy as np
import pytest

import facula as torch
from facula import launch, memory, nn
from facula.targets.meta.memory import Address
from tests.operators.table import Maker, flat, load_all, resolve

ROWS = [row for row in load_all().values() if any(s.args or s.kwargs for s in row.samples)]
# Samples whose result depends on numbers: an error there, as in PyTorch.
NEEDS_NUMBERS = {
    "allclose", "argwhere", "bincount", "equal", "masked_select", "nonzero", "repeat_interleave", "Tensor.__getitem__",
    "index_put",
}  # fmt: skip
REFUSALS = (
    "The register_meta function for torch.nonzero() raises", "cannot repeat_interleave a meta tensor without",
    "Tensor.item() cannot be called on meta tensors", "attempted to run this operator with Meta tensors",
)  # fmt: skip


class Meta(Maker):
    """Makes the tensors of a sample on 'meta' in the layout that they have on the CPU."""

    which: set[int] | None = None  # the positions of those that are moved; None: all

    def tensor(self, what):
        made = super().tensor(what)
        if self.which is None or len(self.made) - 1 in self.which:
            room = torch.empty(made.untyped_storage().nbytes() // made.element_size(), dtype=made.dtype, device="meta")
            moved = room.as_strided(made.shape, made.stride(), made.storage_offset()).detach()
            made = self.made[-1] = moved.requires_grad_(made.requires_grad)
        return made


def shown(x):
    """What is compared: all of a tensor but its values."""
    return (tuple(x.shape), x.dtype, x.stride(), x.requires_grad) if isinstance(x, torch.Tensor) else x


def run(maker, row, number, sample, backward=True):
    """(results, their gradients, devices), or the error."""
    args, kwargs, made = maker.call(row.name, number, sample)
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outs = flat(resolve(torch, row.name)(*args, **kwargs))
            grads = None
            ends = [o for o in outs if isinstance(o, torch.Tensor) and o.requires_grad]
            leaves = [x for x in made if x.requires_grad]
            if ends and leaves and backward:
                found = torch.autograd.grad(ends, leaves, [torch.ones_like(o) for o in ends], allow_unused=True)
                grads = [None if g is None else shown(g) for g in found]
        except Exception as error:
            return error
    devices = {o.device.type for o in outs if isinstance(o, torch.Tensor)} if made else set()
    return [shown(o) for o in outs], grads, devices


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_samples(row):
    for layout in ("dense", "transposed", "offset") if row.layouts else ("dense",):
        for number, sample in enumerate(row.samples):
            for dtype in row.dtypes[: 3 if number == 0 else 1]:
                wanted = run(Maker(torch, dtype, layout, True), row, number, sample, row.grad)
                found = run(Meta(torch, dtype, layout, True), row, number, sample, row.grad)
                what = f"{row.name}, sample {number}, {dtype}, {layout}: {found} for {wanted}"
                if isinstance(wanted, Exception):
                    assert isinstance(found, Exception), what
                elif isinstance(found, Exception):
                    assert row.name in NEEDS_NUMBERS and any(words in str(found) for words in REFUSALS), what
                else:
                    # Strides of the gradient of a product depend on whether there are zeros.
                    kept = slice(0, 1) if row.name == "prod" else slice(0, 2)
                    assert found[:2][kept] == wanted[:2][kept], what
                    assert found[2] <= {"meta"}, what


SHARED = {"broadcast_tensors", "meshgrid", "Tensor.view_as", "Tensor.expand_as", "Tensor.reshape_as"}  # views alone
COPIES = {"slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter"}  # from one device to another
# What reads the numbers of one operand to know what to do with the others.
PLACES = {"ctc_loss", "segment_reduce", "repeat_interleave", "lu_unpack", "masked_select", "index_put", "equal",
          "nn.functional.nll_loss"}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_devices_do_not_mix(row):
    for number, sample in enumerate(row.samples[:6]):
        maker = Maker(torch, row.dtypes[0])
        made = maker.call(row.name, number, sample)[2]
        for which in [{i} for i in range(len(made))] if len(made) > 1 else []:
            mixed = Meta(torch, row.dtypes[0])
            mixed.which = which
            found = run(mixed, row, number, sample, False)
            others = [x for i, x in enumerate(made) if i not in which]
            if isinstance(found, Exception):
                words = "Expected all tensors to be on the same device, but found at least two devices"
                known = any(w in str(found) for w in ("same device", "no data!", *REFUSALS))
                assert isinstance(found, RuntimeError) and (words in str(found) or known), f"{which}: {found!r}"
            elif all(x.numel() == 1 for x in others) or 0 in [x.numel() for x in made]:
                continue  # numbers on the CPU go with any device; nothing is read of what is empty
            else:
                assert row.name in SHARED | COPIES | PLACES or (row.name, number) == ("addmm", 3), f"{which}: {found}"


def test_addresses_reach_no_machine_code():
    x = torch.empty(4, device="meta")
    assert type(x.ptr) is Address and x.data_ptr() == 0 and (x.ptr + 8) - x.ptr == 8 and x[2:].storage_offset() == 2
    kernel = torch.ones(4)
    bound = launch.bind(torch.operators.copying.copy_kernel(torch.float32, torch.float32), (4,), None, [(1,), (1,)])
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        bound.function(kernel.ptr, x.ptr, *bound.tail)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        bound.function(x.ptr, kernel.ptr, *bound.tail)
    with pytest.raises(RuntimeError):
        launch.many.__globals__["native"]("rows")()(kernel.ptr, x.ptr, kernel.ptr, 1, 1, 4, 4, 1, 1)


def test_memory_is_not_taken():
    before = memory.memory_allocated()
    layer = nn.Linear(100_000, 100_000, device="meta")
    out = layer(torch.empty(1_000_000, 100_000, device="meta"))
    out.sum().backward()
    assert memory.memory_allocated() - before < 2**20
    assert layer.weight.grad.shape == (100_000, 100_000) and layer.weight.untyped_storage().nbytes() == 4 * 10**10
    with pytest.raises(RuntimeError, match="Storage size calculation overflowed"):
        torch.empty(2**40, 2**30, device="meta")


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_training_step(kind):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, device="meta"), nn.BatchNorm2d(8, device="meta"), nn.ReLU(), nn.Flatten(),
        nn.Dropout(), nn.Linear(8 * 36, 10, device="meta"),
    )  # fmt: skip
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=0.1)
    for _ in range(2):
        x, y = torch.empty(4, 3, 8, 8, device="meta"), torch.empty(4, dtype=torch.int64, device="meta")
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        assert nn.utils.clip_grad_norm_(net.parameters(), 1.0).is_meta
        before = net[0].weight._version
        optimizer.step()
        assert net[0].weight._version == before + 1
    assert loss.is_meta and all(p.grad.is_meta and p.grad.shape == p.shape for p in net.parameters())


@pytest.mark.parametrize(
    "make, shape",
    [
        (
            lambda: nn.LSTM(3, 4, 2, bidirectional=True, device="meta")(torch.empty(5, 2, 3, device="meta"))[0],
            (5, 2, 8),
        ),
        (lambda: nn.GRU(3, 4, device="meta")(torch.empty(5, 2, 3, device="meta"))[0], (5, 2, 4)),
        (
            lambda: nn.Transformer(16, 2, 1, 1, 32, device="meta", batch_first=True)(
                torch.empty(2, 5, 16, device="meta"), torch.empty(2, 4, 16, device="meta")
            ),
            (2, 4, 16),
        ),
        (lambda: nn.MultiheadAttention(4, 2, device="meta")(*[torch.empty(3, 1, 4, device="meta")] * 3)[1], (1, 3, 3)),
        (lambda: nn.EmbeddingBag(10, 3, device="meta")(torch.empty(2, 4, dtype=torch.int64, device="meta")), (2, 3)),
    ],
)
def test_layers(make, shape):
    found = make()
    assert found.is_meta and found.shape == shape and found.requires_grad
    found.sum().backward()


def test_numbers_are_errors():
    x, count = torch.empty(3, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    for read in (lambda: x[0].item(), lambda: bool(x[0]), lambda: float(x[0]), lambda: 1 in x, lambda: x[count[0] :]):
        with pytest.raises(RuntimeError, match=r"^Tensor.item\(\) cannot be called on meta tensors"):
            read()
    for read in (x.cpu, x.tolist, lambda: x.to("cpu"), lambda: torch.ones(3).copy_(x)):
        with pytest.raises(NotImplementedError, match="^Cannot copy out of meta tensor; no data!"):
            read()
    for read in (x.nonzero, lambda: x[x > 0], lambda: torch.argwhere(x)):
        with pytest.raises(NotImplementedError, match=r"^The register_meta function for torch.nonzero\(\) raises"):
            read()
    for read, name in (
        (lambda: torch.masked_select(x, x > 0), "masked_select"), (lambda: torch.unique(x), "_unique2"),
        (lambda: torch.bincount(count), "bincount"), (lambda: torch.equal(x, x), "equal"),
        (lambda: torch.unique_consecutive(x), "unique_consecutive"),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match=f"^aten::{name}: attempted to run this operator with Meta"):
            read()
    for read in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="^can't convert meta device type tensor to numpy. Use Tensor.cpu()"):
            read()
    with pytest.raises(BufferError, match="^Cannot pack tensors on meta"):
        x.__dlpack__()
    assert torch.repeat_interleave(x, count, output_size=5).shape == (5,)


def test_making_and_moving():
    assert repr(torch.empty(2, 3, device="meta")) == "tensor(..., device='meta', size=(2, 3))"
    assert torch.tensor([1.0, 2], device="meta").is_meta and torch.arange(3, device="meta:0").device.type == "meta"
    assert torch.zeros_like(torch.ones(2, 3).t(), device="meta").stride() == (1, 3)
    assert (
        torch.ones(2, 3).t().to("meta").stride() == (1, 3) and torch.ones(2).to("meta").untyped_storage().nbytes() == 8
    )
    with torch.device("meta"):
        layer = nn.Linear(2, 3)
        made = [torch.zeros(2), torch.tensor([1.0]), torch.randn(3), torch.as_tensor(np.ones(2)), torch.eye(2)]
    assert layer.weight.is_meta and all(x.is_meta for x in made) and torch.zeros(1).device.type == "cpu"
    assert nn.Linear(2, 3, device="meta").to_empty(device="cpu").weight.device.type == "cpu"
    assert nn.Linear(2, 3).to("meta").weight.is_meta
    with pytest.raises(NotImplementedError, match=r"Please use torch.nn.Module.to_empty\(\) instead"):
        layer.to("cpu")
    x = torch.ones(3, requires_grad=True)
    assert x.to("meta").grad_fn.name() == "ToCopyBackward0"
    target = torch.empty(3, device="meta")
    target.copy_(torch.ones(3))
    target[torch.tensor([0, 1])] = 1.0
    target[target > 0] = 2.0
    assert target[torch.tensor([True, False, True])].shape == (2,) and target[[0, 1]].shape == (2,)
    assert copy.deepcopy(layer).weight.is_meta
    with pytest.raises(RuntimeError, match="gradient with device type 'cpu' to a tensor with device type 'meta'"):
        target.grad = torch.ones(3)


def test_numbers_on_the_cpu_go_with_any_device():
    number, x = torch.tensor(2.0), torch.empty(2, 3, device="meta", requires_grad=True)
    assert (
        (number * x).is_meta and torch.where(x > 0, number, x).is_meta and (x + torch.tensor(1)).dtype is torch.float32
    )
    (number * x).sum().backward()
    assert x.grad.is_meta and x.detach().add_(number).is_meta and torch.lerp(x, x, number).is_meta
    for y in (x, torch.empty((), device="meta")):
        with pytest.raises(NotImplementedError, match="^Cannot copy out of meta tensor; no data!"):
            (torch.tensor(2.0, requires_grad=True) * y).sum().backward()
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(2, 3).add_(torch.empty((), device="meta"))


def test_out_stays_on_its_device():
    on, off = torch.ones(2, 2), torch.empty(2, 2, device="meta")
    for call in (torch.add, torch.mm):
        with pytest.raises(RuntimeError, match="^Attempting to copy from device cpu to device meta, but cross-device"):
            call(on, on, out=off)
        with pytest.raises(RuntimeError, match="^Attempting to copy from device meta to device cpu, but cross-device"):
            call(off, off, out=on)
        assert call(off, off, out=torch.empty(0, device="meta")).shape == (2, 2)


def test_files():
    def through(value, **kwargs):
        file = io.BytesIO()
        torch.save(value, file)
        file.seek(0)
        return torch.load(file, **kwargs)

    assert through(nn.Linear(2, 3, device="meta").state_dict())["weight"].is_meta
    found = through({"a": torch.ones(3), "b": torch.ones(2, 3).t()}, map_location="meta")
    assert found["a"].is_meta and found["b"].stride() == (1, 3)
    layer = nn.Linear(2, 3, device="meta")
    with pytest.warns(UserWarning, match="^for weight: copying from a non-meta parameter in the checkpoint to a meta"):
        layer.load_state_dict(nn.Linear(2, 3).state_dict())
    layer.load_state_dict(nn.Linear(2, 3).state_dict(), assign=True)
    assert layer(torch.ones(1, 2)).shape == (1, 3)


def test_default_device_leaves_operators_alone():
    """What operators make for themselves is where their operands are, whatever the default device."""
    for row in ROWS:
        if row.name.partition("_")[0] in ("rand", "randn", "zeros", "ones", "empty", "full"):
            continue
        for number, sample in enumerate(row.samples):
            maker = Maker(torch, row.dtypes[0], "dense", True)
            args, kwargs, made = maker.call(row.name, number, sample)
            if not made:
                continue
            with warnings.catch_warnings(), torch.device("meta"):
                warnings.simplefilter("ignore")
                try:
                    outs = flat(resolve(torch, row.name)(*args, **kwargs))
                except Exception as error:
                    raise AssertionError(f"{row.name}, sample {number}") from error
            assert not any(o.is_meta for o in outs if isinstance(o, torch.Tensor)), f"{row.name}, sample {number}"
