"""cuDNN's part on a fake of it that computes graphs from raw memory, against the CPU and the reference target."""

import gc
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.core.shape import contiguous_strides
from facula.operators import convolution
from facula.targets import reference, routine
from facula.targets.cuda.libraries import dnn_api, dnn_attend, dnn_direct, dnn_graph, loading
from facula.targets.cuda.memory.pool import pool
from facula.targets.reference.memory import read, write
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_dnn import FakeDnn, in_place
from tests.targets.cuda.fake_driver import FakeDriver, installed, python_calls
from tests.targets.cuda.table import exact

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture
def dnn(emulator, monkeypatch):
    monkeypatch.setattr(dnn_attend, "LEAST", 1)
    with installed(FakeDriver(emulator, memory=256 << 20), monkeypatch) as driver, in_place(FakeDnn(driver)) as found:
        with exact():
            yield found


def values(shape, key=0, dtype=facula.float32):
    found = np.random.default_rng(key).standard_normal(shape)
    return facula.tensor(found.tolist(), dtype=facula.float64).to(dtype)


# --- convolutions -----------------------------------------------------------------------------------------------------

CASES = {
    "plain": ((2, 4, 6, 5), (3, 4, 3, 2), {}),
    "bias": ((2, 4, 6, 5), (3, 4, 3, 2), {"bias": True, "padding": 1}),
    "strided": ((2, 4, 7, 6), (6, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0), "groups": 2}),
    "dilated": ((1, 2, 9, 8), (2, 2, 3, 3), {"dilation": (2, 1), "padding": 2}),
    "depthwise": ((2, 3, 5, 5), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
    "one dim": ((2, 4, 9), (3, 4, 3), {"bias": True, "stride": 2}),
    "three dims": ((1, 2, 4, 5, 3), (3, 2, 2, 2, 2), {"padding": (1, 0, 1)}),
    "transposed": ((2, 4, 5, 4), (4, 3, 3, 2), {"transposed": True, "stride": 2, "padding": 1, "bias": True}),
    "transposed, more": (
        (2, 4, 5), (4, 2, 3), {"transposed": True, "stride": 2, "output_padding": 1, "groups": 2},
    ),
    "unbatched": ((4, 6, 5), (3, 4, 3, 2), {"bias": True}),
}  # fmt: skip


def convolved(where, case, dtype, last=False):
    """The result and the gradients of all operands."""
    shape, weights, settings = CASES[case]
    settings = dict(settings)
    transposed, bias = settings.pop("transposed", False), settings.pop("bias", False)
    rank = len(weights) - 2
    function = getattr(facula.nn.functional, f"conv{'_transpose' * transposed}{rank}d")
    x, w = values(shape, 1, dtype).to(where), values(weights, 2, dtype).to(where)
    if last:
        x = x.contiguous(memory_format=facula.channels_last)
    operands = [x, w]
    if bias:
        outputs = weights[1] * settings.get("groups", 1) if transposed else weights[0]
        operands.append(values((outputs,), 3, dtype).to(where))
    for t in operands:
        t.requires_grad_()
    out = function(*operands, **settings)
    given = values(out.shape, 4, dtype).to(where)
    if last:
        given = given.contiguous(memory_format=facula.channels_last)
    grads = facula.autograd.grad(out, operands, given)
    return [out, *grads]


def same(found, wanted, dtype):
    bound = {facula.float64: 1e-12, facula.float32: 1e-5}.get(dtype, 4e-2)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype and a.device.type == "cuda"
        np.testing.assert_allclose(
            a.detach().cpu().double().numpy(), b.detach().double().numpy(), rtol=bound, atol=bound * 10
        )


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_convolutions_are_the_libraries(dnn, case):
    found = convolved("cuda", case, facula.float32)
    same(found, convolved("cpu", case, facula.float32), facula.float32)
    kinds = sum(name == "cudnnBackendExecute" for name in dnn.calls)
    assert kinds == 3, "forward and both gradients"


@needs_compiler
@pytest.mark.parametrize("dtype", [facula.float16, facula.bfloat16, facula.float64], ids=str)
def test_convolutions_of_each_dtype(dnn, dtype):
    same(convolved("cuda", "bias", dtype), convolved("cpu", "bias", dtype), dtype)


@needs_compiler
def test_channels_last_stay_last(dnn):
    found = convolved("cuda", "bias", facula.float32, last=True)
    same(found, convolved("cpu", "bias", facula.float32, last=True), facula.float32)
    assert all(t.is_contiguous(memory_format=facula.channels_last) for t in (found[0], *found[1:3]))
    strides = [r.strides for r in dnn.records.values() if r.kind == "tensor" and r.final]
    assert strides and all(s[1] == 1 for s in strides), "cuDNN is given channels last throughout"


@needs_compiler
def test_expanded_gradients_are_laid_out(dnn):
    x, w = values((2, 3, 4, 4), 1).cuda().requires_grad_(), values((2, 3, 3, 3), 2).cuda()
    facula.nn.functional.conv2d(x, w).sum().backward()
    other = x.detach().cpu().requires_grad_()
    facula.nn.functional.conv2d(other, w.cpu()).sum().backward()
    same([x.grad], [other.grad], facula.float32)


@needs_compiler
def test_views_at_odd_addresses_are_copied(dnn):
    x, w = values((2, 1, 3, 3), 1), values((2, 1, 2, 2), 2)
    given = x.cuda()[1:]
    assert given.data_ptr() % 16
    same([facula.conv2d(given, w.cuda())], [facula.conv2d(x[1:], w)], facula.float32)
    assert len(dnn.driver.named("cuMemcpyDtoDAsync")) == 1


@needs_compiler
def test_second_gradients(dnn):
    def second(where):
        x, w = (
            values(s, k, facula.float64).to(where).requires_grad_() for s, k in (((2, 2, 5, 4), 1), ((3, 2, 3, 2), 2))
        )
        out = facula.conv2d(x, w, stride=2, padding=1)
        first = facula.autograd.grad((out * out).sum(), (x, w), create_graph=True)
        return facula.autograd.grad(sum((g * g).sum() for g in first), (x, w))

    same(second("cuda"), second("cpu"), facula.float64)


# --- which plan -------------------------------------------------------------------------------------------------------


def engines(dnn, dtype=facula.float32, calls=1, **switches):
    """The engines that a convolution under these switches used."""
    x, w = values((1, 2, 4, 4), 1, dtype).cuda(), values((2, 2, 3, 3), 2, dtype).cuda()
    dnn.engines.clear()
    with facula.backends.cudnn.flags(**{"enabled": True, **switches}):
        for _ in range(calls):
            facula.conv2d(x, w)
    return dnn.engines


NONDETERMINISTIC, NARROW, PLAIN, TF32 = 0, 1, 2, 3  # engines of the fake


@needs_compiler
def test_plans_follow_the_switches(dnn):
    assert engines(dnn, facula.float16) == [NARROW], "sums are deterministic unless the program asks for speed"
    assert engines(dnn) == [TF32], "float32 is not rounded to half"
    assert engines(dnn, allow_tf32=False) == engines(dnn, allow_tf32=False, fp32_precision="ieee") == [PLAIN]
    x, w = values((1, 2, 4, 4), 1).cuda(), values((2, 2, 3, 3), 2).cuda()
    for precision, wanted in (("ieee", PLAIN), ("tf32", TF32), ("none", PLAIN)):  # none: nor is it said elsewhere
        facula.backends.cudnn.conv.fp32_precision = precision
        facula.conv2d(x, w)
        assert dnn.engines[-1] == wanted
    facula.backends.cudnn.allow_tf32 = True
    facula.conv2d(x, w)
    assert dnn.engines[-1] == TF32
    assert {*engines(dnn, facula.float16, deterministic=True, benchmark=True)} == {NARROW, PLAIN}
    facula.use_deterministic_algorithms(True)
    try:
        assert {*engines(dnn, facula.float16, benchmark=True)} == {NARROW, PLAIN}
    finally:
        facula.use_deterministic_algorithms(False)


@needs_compiler
def test_depthwise_convolutions(dnn):
    """Which are cuDNN's unless the program wants kernels that are not."""
    x, w = values((1, 4, 5, 5), 1), values((4, 1, 3, 3), 2)
    for kernel, used in (("auto", 1), ("native", 0), ("cudnn", 1)):
        dnn.engines.clear()
        with facula.backends.cudnn.flags(enabled=True, allow_tf32=False, depthwise_kernel=kernel):
            found = facula.conv2d(x.cuda(), w.cuda(), groups=4)
            assert len(dnn.engines) == used
            facula.conv2d(x.cuda(), values((4, 4, 3, 3), 3).cuda())
            assert len(dnn.engines) == used + 1
        same([found], [facula.conv2d(x, w, groups=4)], facula.float32)


@needs_compiler
def test_benchmark_measures_plans_at_the_first_call(dnn):
    runs = 1 + dnn_graph.TIMES
    half = engines(dnn, facula.float16, calls=2, benchmark=True)
    measured = [NONDETERMINISTIC] * runs + [NARROW] * runs + [PLAIN] * 2 * runs  # the last: of both heuristics
    assert half == [*measured, NONDETERMINISTIC, NONDETERMINISTIC]
    limited = engines(dnn, facula.float16, benchmark=True, benchmark_limit=2)
    assert limited == [NONDETERMINISTIC] * runs + [NARROW] * runs + [NONDETERMINISTIC]


@needs_compiler
def test_a_call_again_makes_nothing(dnn):
    x, w = values((1, 2, 4, 4), 1).cuda(), values((2, 2, 3, 3), 2).cuda()
    facula.conv2d(x, w)
    facula.conv2d(x, w)
    dnn.calls.clear()
    facula.conv2d(x, w)
    assert dnn.calls == ["cudnnBackendExecute"]
    before = pool().now()
    facula.conv2d(x, w)
    assert pool().now() == before, "workspace is given back"


@needs_compiler
def test_known_calls_run_no_python(dnn):
    x, w, b = (values(s, 1).cuda() for s in ((1, 2, 4, 4), (2, 2, 3, 3), (2,)))
    w.requires_grad_()
    for _ in range(3):
        facula.conv2d(x, w, b)
    dnn.calls.clear()
    made = []
    ran = {*python_calls(lambda: made.append(facula.conv2d(x, w, b)))}  # what the fake does among it
    assert "_apply" in ran and not ran & {"call", "_convolve", "slowly", "__call__", "record"}
    assert dnn.calls.count("cudnnBackendExecute") == 1
    same(made, [facula.conv2d(x.cpu(), w.detach().cpu(), b.cpu())], facula.float32)
    (grad,) = facula.autograd.grad(made[0].sum(), w)
    assert grad.shape == w.shape and [edge is None for edge, _ in made[0].grad_fn.next_functions] == [True, False, True]


@needs_compiler
def test_packs_are_made_for_new_addresses_and_given_back(dnn):
    x, w = values((1, 2, 4, 4), 1).cuda(), values((2, 2, 3, 3), 2).cuda()
    outs = [facula.conv2d(x, w) for _ in range(3)]
    made = [record for record in dnn.records.values() if record.kind == "pack"]
    assert len({tuple(record.pointers) for record in made}) == 3 and all(record.final for record in made)
    for _ in range(2 * dnn_direct.PACKS):
        outs.append(facula.conv2d(x, w))
    assert sum(record.kind == "pack" for record in dnn.records.values()) <= dnn_direct.PACKS
    same(outs, [facula.conv2d(x.cpu(), w.cpu())] * len(outs), facula.float32)
    convolution._PLANS.clear(), convolution._KNOWN.clear()
    gc.collect()
    assert not any(record.kind in ("pack", "plan") for record in dnn.records.values())


@needs_compiler
def test_what_the_library_refuses_later_is_raised(dnn):
    x, w = values((1, 2, 4, 4), 1).cuda(), values((2, 2, 3, 3), 2).cuda()
    for _ in range(3):
        facula.conv2d(x, w)
    used = pool().now()
    dnn.handles.clear()
    with pytest.raises(RuntimeError, match="^cuDNN error: CUDNN_STATUS_BAD_PARAM") as found:
        facula.conv2d(x, w)
    assert "no such handle" in "".join(found.value.__notes__)
    del found
    gc.collect()
    assert pool().now() == used, "result and workspace are given back"


@needs_compiler
def test_work_goes_to_the_current_stream(dnn):
    x, w = values((1, 2, 4, 4), 1).cuda(), values((2, 2, 3, 3), 2).cuda()
    stream = facula.cuda.Stream()
    with facula.cuda.stream(stream):
        facula.conv2d(x, w)
        assert [*dnn.handles.values()] == [stream._own.key]
    facula.conv2d(x, w)
    assert [*dnn.handles.values()] == [0]


# --- what is left to generated kernels --------------------------------------------------------------------------------


def asked(dtype=dt.float32, x=(1, 2, 4, 4), w=(2, 2, 3, 3), y=(1, 2, 2, 2), bias=False):
    from facula.core.device import device
    from facula.core.spec import dense
    from facula.targets.cuda.libraries.dnn_convolution import convolution

    specs = [dense(dtype, s, device("cuda", 0)) for s in (x, w, y)]
    return convolution("forward", *specs, (1, 1), (0, 0), (1, 1), bias)


def test_what_cudnn_does_not_do_is_not_asked_of_it(dnn, monkeypatch):
    assert asked() is not None and asked(bias=True) is not None
    assert asked(dt.int32) is None and asked(dt.float64, bias=True) is None
    assert asked(y=(1, 2, 1, 1)) is None, "sizes that are not those of the convolution"
    assert asked(x=(0, 2, 4, 4), y=(0, 2, 2, 2)) is None
    with facula.backends.cudnn.flags(enabled=False):
        assert asked() is None
    dnn_api.use(FakeDnn(dnn.driver, version=80907))
    assert asked() is None and "cuDNN 9 is needed" in dnn_api.reason()

    def missing(name):
        raise ModuleNotFoundError("No module named 'cuda'", name="cuda")

    dnn_api.use(None)
    monkeypatch.setattr(loading, "import_module", missing)
    assert asked() is None and "pip install 'facula[cuda]'" in dnn_api.reason() and dnn_api.version() is None


@pytest.mark.parametrize("unknown", [ValueError, RuntimeError])
def test_libraries_that_pathfinder_does_not_know(unknown, tmp_path, monkeypatch):
    def load(name):
        raise unknown(f"Unsupported library name: {name}")

    monkeypatch.setattr(loading, "import_module", lambda _: SimpleNamespace(load_nvidia_dynamic_lib=load))
    monkeypatch.setattr(loading, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    monkeypatch.setattr(loading, "ctypes", SimpleNamespace(CDLL=str))
    with pytest.raises(RuntimeError, match="^Unsupported library name: cudnn"):
        loading.load("cudnn", "libcudnn.so.9")
    file = tmp_path / "cudnn" / "lib" / "libcudnn.so.9"
    file.parent.mkdir(parents=True)
    file.touch()
    assert loading.load("cudnn", "libcudnn.so.9") == str(file)


def test_what_programs_are_told(dnn):
    from facula import doctor

    torch_dnn = facula.backends.cudnn
    assert torch_dnn.is_available() and torch_dnn.version() == dnn.version
    assert doctor.gpu()["cuDNN"] == str(dnn.version)
    assert torch_dnn.is_acceptable(facula.empty(1, device="cuda")) and not torch_dnn.is_acceptable(facula.empty(1))
    dnn_api.use(FakeDnn(dnn.driver, version=80907))
    assert not torch_dnn.is_available() and torch_dnn.version() is None
    assert doctor.gpu()["cuDNN"] == "absent (cuDNN 9 is needed, and found is version 80907)"


def test_errors_have_pytorchs_words(dnn):
    graph = dnn_graph.Graph()
    sizes = (1, 2, 4, 4), (2, 2, 3, 3), (1, 2, 4, 4)
    operands = [graph.operand("float32", s, contiguous_strides(s)) for s in sizes]
    with pytest.raises(RuntimeError, match="^cuDNN error: CUDNN_STATUS_BAD_PARAM") as found:
        graph.convolution("forward", *operands, (1, 1), (0, 0), (1, 1))
    assert "is_valid_spatial_dim" in "".join(found.value.__notes__)


# --- attention --------------------------------------------------------------------------------------------------------

ATTENTIONS = {
    "plain": {},
    "causal": {"causal": True},
    "wide": {"queries": 5, "keys": 9, "causal": True},
    "shared heads": {"heads": 6, "group": 3},
    "values of another width": {"width": 16},
    "rows before heads": {"turned": True, "causal": True},
    "mask of bools": {"mask": 1},
    "mask for all heads": {"mask": 1, "shared": True, "causal": True},
    "mask of numbers": {"mask": 2, "shared": True},
}


class Case:
    """Operands of an attention in the fake GPU's memory, and as float32 in the host's."""

    def __init__(self, kind, batch=2, heads=2, group=1, queries=7, keys=6, depth=8, width=8, causal=False, turned=False,
                 mask=0, shared=False):  # fmt: skip
        self.kind, self.blocks = kind, []
        rng = np.random.default_rng(5)
        wide, narrow = (batch, heads), (batch, heads // group)
        shapes = {
            "q": (*wide, queries, depth), "k": (*narrow, keys, depth), "v": (*narrow, keys, width),
            "out": (*wide, queries, width),
        }  # fmt: skip
        grads = {"grad": shapes["out"], "to_q": shapes["q"], "to_k": shapes["k"], "to_v": shapes["v"]}
        self.shapes = {**shapes, **grads}
        self.steps = {name: self._steps(shape, turned and name in shapes) for name, shape in self.shapes.items()}
        self.rows = batch, heads, queries
        here, there = {}, {}
        for name, shape in self.shapes.items():
            here[name], there[name] = self._made(shape, self.steps[name], rng.standard_normal(shape), kind)
        given = np.zeros((1 if shared else batch, 1 if shared else heads, queries, keys))
        if mask:
            given = rng.standard_normal(given.shape) * 2
            given = (given > 0) * 1.0 if mask == 1 else np.where(given < -2, -np.inf, given)
            given[..., 2, :] = 0.0 if mask == 1 else -np.inf  # a query that sees no key
        mask_steps = [*contiguous_strides(given.shape)]
        if shared:
            mask_steps[:2] = 0, 0
        for place in (here, there):
            place["mask"] = self._block(given.size * 4)
            write(place["mask"], dt.bool_ if mask == 1 else dt.float32, contiguous_strides(given.shape), given)
            place["statistics"] = self._block(8 * int(np.prod(self.rows)))
        tail = (
            batch, heads, group, queries, keys, depth, width, 0.3, int(causal), mask,
            *(s for name in shapes for s in self.steps[name][:3]), *mask_steps,
        )  # fmt: skip
        more = tuple(s for name in grads for s in self.steps[name][:3])
        names = ("q", "k", "v", "out", "mask", "statistics")
        self.forward, self.reference = ((*(p[n] for n in names), *tail) for p in (here, there))
        self.backward = (*self.forward, *(here[n] for n in grads), *more)
        self.reference_backward = (*self.reference, *(there[n] for n in grads), *more)
        self.here, self.there = here, there

    def _steps(self, shape, turned):
        b, h, n, d = shape
        return (h * n * d, d, h * d, 1) if turned else contiguous_strides(shape)

    def _block(self, size):
        self.blocks.append(pool().take(size))
        return self.blocks[-1].ptr

    def _made(self, shape, steps, given, kind):
        """The same values in the dtype and in float32."""
        own, wide = self._block(int(np.prod(shape)) * 2), self._block(int(np.prod(shape)) * 4)
        write(own, kind, steps, given.astype("f4"))
        write(wide, dt.float32, steps, read(own, kind, shape, steps).astype("f4"))
        return own, wide

    def agree(self, *names):
        for name in names:
            shape, steps = self.shapes[name], self.steps[name]
            found = read(self.here[name], self.kind, shape, steps).astype("f8")
            wanted = read(self.there[name], dt.float32, shape, steps)
            np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=3e-2, err_msg=name)

    def sums(self, place):
        """log(sum(exp(scores))) by the statistics, infinite where no key is seen."""
        peak, inverse = read(place["statistics"], dt.float32, (2, *self.rows), contiguous_strides((2, *self.rows)))
        with np.errstate(divide="ignore"):
            return peak - np.log(inverse)


def refuse(*_):
    raise AssertionError("cuDNN does this")


@needs_compiler
@pytest.mark.parametrize("case", ATTENTIONS)
def test_attention(dnn, case):
    both = (dt.bfloat16, dt.float16) if case in ("plain", "mask of bools") else (dt.bfloat16,)
    for kind in both:
        made = Case(kind, **ATTENTIONS[case])
        dnn_attend.attend(kind, refuse)(*made.forward)
        routine(reference, "attend")()(*made.reference)
        made.agree("out")
        np.testing.assert_allclose(made.sums(made.here), made.sums(made.there), rtol=1e-4, atol=1e-4)
        for free in (False, True):
            with facula.backends.cudnn.flags(enabled=True, benchmark=free):
                dnn_attend.attend_backward(kind, refuse)(*made.backward)
            routine(reference, "attend_backward")()(*made.reference_backward)
            made.agree("to_q", "to_k", "to_v")


@needs_compiler
def test_backward_takes_statistics_of_generated_kernels(dnn):
    """Greatest scores and sums, as other targets keep them."""
    made = Case(dt.bfloat16, mask=1, causal=True)
    routine(reference, "attend")()(*made.reference)
    routine(reference, "attend_backward")()(*made.reference_backward)
    shape, steps = made.shapes["out"], made.steps["out"]
    write(made.here["out"], dt.bfloat16, steps, read(made.there["out"], dt.float32, shape, steps))
    rows = 2, *made.rows
    dense = contiguous_strides(rows)
    write(made.here["statistics"], dt.float32, dense, read(made.there["statistics"], dt.float32, rows, dense))
    dnn_attend.attend_backward(dt.bfloat16, refuse)(*made.backward)
    made.agree("to_q", "to_k", "to_v")


def test_attention_that_cudnn_does_not_do(dnn, monkeypatch):
    calls = []

    def otherwise(*_):
        calls.append(1)

    def left(kind=dt.bfloat16, shift=0, **settings):
        made = Case(kind, **settings)
        calls.clear()
        given = (made.forward[0] + shift, *made.forward[1:])
        dnn_attend.attend(kind, otherwise)(*given)
        dnn_attend.attend_backward(kind, otherwise)(*given, *made.backward[32:])
        return len(calls)

    assert left(depth=12) == 2, "features of 16 bytes"
    assert left(shift=2) == 2, "odd addresses"
    with facula.backends.cuda.sdp_kernel(enable_cudnn=False):
        assert left() == 2
    with facula.nn.attention.sdpa_kernel(facula.nn.attention.SDPBackend.FLASH_ATTENTION):
        assert left() == 2
    with facula.backends.cudnn.flags(enabled=False):
        assert left() == 2
    with monkeypatch.context() as patch:
        patch.setattr(dnn_attend, "LEAST", 64)
        assert left() == 2, "few queries"
    calls.clear()
    made = Case(dt.bfloat16)
    dnn_attend.attend(dt.float32, otherwise)(*made.reference)
    assert calls == [1], "float32 is the generated kernel's"


@needs_compiler
@pytest.mark.parametrize("settings", [{"is_causal": True}, {"enable_gqa": True}, {"attn_mask": True}], ids=str)
def test_the_operator_goes_to_cudnn(dnn, settings):
    heads = 1 if "enable_gqa" in settings else 2
    shapes = (2, 2, 9, 8), (2, heads, 9, 8), (2, heads, 9, 8)

    def attended(where):
        operands = [values(s, k, facula.bfloat16).to(where).requires_grad_() for k, s in enumerate(shapes)]
        given = dict(settings)
        if "attn_mask" in given:
            given["attn_mask"] = (values((9, 9), 8) > 0).to(where)
        out = facula.nn.functional.scaled_dot_product_attention(*operands, **given)
        return [out, *facula.autograd.grad(out, operands, values(out.shape, 9, facula.bfloat16).to(where))]

    same(attended("cuda"), attended("cpu"), facula.bfloat16)
    assert dnn.calls.count("cudnnBackendExecute") == 2


@needs_compiler
def test_known_calls_of_attention_run_no_python(dnn):
    """Nor do their results change, where plans may be others."""
    operands = [values((2, 2, 9, 8), k, facula.bfloat16).cuda().requires_grad_() for k in range(3)]
    wanted, seed = [x.detach().cpu().requires_grad_() for x in operands], values((2, 2, 9, 8), 9, facula.bfloat16)
    attended = facula.nn.functional.scaled_dot_product_attention
    on_host = attended(*wanted, is_causal=True)
    on_host = [on_host, *facula.autograd.grad(on_host, wanted, seed)]
    for round in range(5):
        made = []
        ran = {*python_calls(lambda: made.append(attended(*operands, is_causal=True)))}  # noqa: B023
        assert round < 3 or not ran & {"call", "attention", "record", "_numbers"}
        same([*made, *facula.autograd.grad(made[0], operands, seed.cuda())], on_host, facula.bfloat16)
    assert dnn.calls.count("cudnnBackendExecute") == 10
    with facula.backends.cudnn.flags(enabled=False):
        same([attended(*operands, is_causal=True)], on_host[:1], facula.bfloat16)
    with facula.nn.attention.sdpa_kernel(facula.nn.attention.SDPBackend.FLASH_ATTENTION):
        same([attended(*operands, is_causal=True)], on_host[:1], facula.bfloat16)
    assert dnn.calls.count("cudnnBackendExecute") == 10


@needs_compiler
def test_ways_of_attention(dnn, monkeypatch):
    """cuDNN alone, before or after the generated kernels, or beside operators; few queries are no reason to refuse."""
    monkeypatch.setattr(dnn_attend, "LEAST", 64)
    cudnn, flash, efficient, math = (getattr(facula.nn.attention.SDPBackend, name) for name in (
        "CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"
    ))  # fmt: skip
    half = values((2, 2, 9, 8), 1, facula.bfloat16).cuda().requires_grad_()
    odd = values((2, 2, 9, 12), 2, facula.bfloat16).cuda().requires_grad_()  # features of 16 bytes
    attend = facula.nn.functional.scaled_dot_product_attention
    unable, fused, composed = "No available kernel", "ScaledDotProduct", "ToCopyBackward0"
    for chosen, x, executions, wanted in (
        ([cudnn], half, 1, fused), ([cudnn, math], half, 1, fused), ([cudnn, math], odd, 0, composed),
        ([cudnn], odd, 0, unable), ([cudnn], half.float(), 0, unable), ([cudnn, flash], odd, 0, fused),
        ([cudnn, flash], half, 0, fused), ([flash, cudnn], half, 0, fused), ([efficient], half.float(), 0, fused),
        ([flash], half, 0, fused), ([math, cudnn], half, 0, composed), ([], half, 0, "No viable backend"),
    ):  # fmt: skip
        for _ in range(2):
            dnn.calls.clear()
            with facula.nn.attention.sdpa_kernel(chosen, set_priority=True):
                if wanted in (unable, "No viable backend"):
                    with pytest.raises(RuntimeError, match=f"^{wanted}"):
                        attend(x, x, x)
                    out = None
                else:
                    out = attend(x, x, x)
            if out is not None:
                assert out.grad_fn.name().startswith(wanted), (chosen, out.grad_fn)
                y = x.detach().cpu()
                same([out], [attend(y, y, y)], x.dtype)
            assert dnn.calls.count("cudnnBackendExecute") == executions, chosen
    monkeypatch.setattr(dnn_attend, "LEAST", 1)
    for chosen, executions in (([cudnn, flash], 1), ([flash, cudnn], 0)):
        dnn.calls.clear()
        with facula.nn.attention.sdpa_kernel(chosen, set_priority=True):
            attend(half, half, half)
        assert dnn.calls.count("cudnnBackendExecute") == executions
    with facula.backends.cudnn.flags(enabled=False), facula.nn.attention.sdpa_kernel(cudnn):
        with pytest.raises(RuntimeError, match=f"^{unable}"):
            attend(half, half, half)


# --- the library itself, where it is installed ------------------------------------------------------------------------


@needs_compiler
def test_cudnn_has_plans_for_the_graphs():
    """In a process of its own, which gets a stand-in for the driver where there is none."""
    command = [sys.executable, "-m", "tests.targets.cuda.dnn_library", "--few"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if "Failure finding" in done.stdout or "not installed" in done.stdout:
        pytest.skip("cuDNN is not installed")
    assert done.returncode == 0, done.stdout + done.stderr
