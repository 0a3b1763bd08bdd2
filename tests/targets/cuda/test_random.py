"""Random numbers on 'cuda' against PyTorch's known values and a NumPy form; generators; kernels run in the emulator."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import facula as torch
from facula.core import dtype as dt
from facula.operators.sampling import standard_gamma
from facula.targets.cuda import functions
from facula.targets.cuda.random import dropout, fills, recorded, samplers, selections
from facula.targets.cuda.texts import philox
from tests.targets.cuda import philox_reference as reference
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FakeDriver, installed

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ here")
F = torch.nn.functional


@pytest.fixture(scope="module")
def emulator(emulator):
    if COMPILER is not None:
        emulator.build_all([
            *(fills.fill_program(name, code) for name, code in FILLS),
            *(samplers.program(name, "f32") for name in samplers.TEXTS),
            *(dropout.dropout_program(t, lanes, False) for t, lanes in DROPPED),
            selections.places_program(dt.int64), selections.pick_program(dt.float32),
            selections.each_program(dt.float32, dt.float32), words_program(),
        ], size=12)  # fmt: skip
    return emulator


FILLS = [
    *((name, code) for name in ("uniform", "normal") for code in ("f16", "bf16", "f32", "f64")),
    *((name, "f32") for name in ("log_normal", "exponential", "cauchy", "geometric", "bernoulli")),
    ("integers_range", "i64"), ("integers_range", "f64"),
    ("integers_wide_range", "i64"), ("integers_wide_range", "i32"), ("integers_full", "i64"),
    ("integers", "i64"), ("integers", "u8"), ("integers", "f32"), ("integers_range", "i8"),
]  # fmt: skip
DROPPED = [(dt.float32, 4), (dt.float32, 2), (dt.float32, 1), (dt.bfloat16, 8), (dt.float64, 2)]


def shown(x) -> np.ndarray:
    return x.detach().cpu().float().numpy()


def close(x, wanted) -> None:
    """Equal to the four digits that PyTorch prints."""
    np.testing.assert_allclose(shown(x), wanted, rtol=0, atol=5.1e-5)


# --- the engine ---------------------------------------------------------------------------------------------------

# Of Random123's file of known answers: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip


def words_program():
    """Four words for a seed, a block and a sequence."""
    lines = "  const Words w = philox((unsigned long long)a, (unsigned long long)b, (unsigned long long)c);\n"
    lines += "  for (int k = 0; k < 4; ++k) out[k] = w.at[k];"
    given = [("unsigned*", "out"), *(("long long", name) for name in "abc")]
    return functions.written("words_of", given, lines, ["philox"])


@needs_compiler
@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_words_are_those_of_random123(fake, counter, key, wanted):
    assert tuple(reference.philox(np.array(counter, np.uint32), key)) == wanted
    out = torch.empty(2, dtype=torch.int64, device="cuda")
    numbers = [key[0] | key[1] << 32, counter[0] | counter[1] << 32, counter[2] | counter[3] << 32]
    functions.function(words_program)((1, 1), (1, 1), out.ptr, *np.array(numbers, np.uint64).view(np.int64).tolist())
    assert tuple(out.cpu().numpy().view(np.uint32)) == wanted


def test_all_texts_of_a_folder_are_compiled():
    from tests.targets.cuda.programs import WRITTEN

    assert {f"random.{name}" for name in ("dropout", "fills", "samplers", "selections")} <= set(WRITTEN)


# --- what PyTorch printed on GPUs ---------------------------------------------------------------------------------


def _numbers_that_pytorch_printed():
    torch.manual_seed(0)  # public examples of many projects
    close(torch.rand(10, device="cuda"),
          [0.3990, 0.5167, 0.0249, 0.9401, 0.9459, 0.7967, 0.4150, 0.8203, 0.2290, 0.9096])  # fmt: skip
    close(torch.rand(10, device="cuda"),
          [0.9722, 0.7910, 0.4690, 0.3300, 0.3345, 0.3783, 0.7640, 0.6405, 0.1103, 0.3594])  # fmt: skip
    torch.manual_seed(0)
    close(torch.randn(10, device="cuda"),
          [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631])  # fmt: skip
    torch.manual_seed(42)
    close(torch.randn(2, 5, device="cuda"),
          [[0.1940, 2.1614, -0.1721, 0.8491, -1.9244], [0.6530, -0.6494, -0.8175, 0.5280, -1.2753]])  # fmt: skip
    for row in ([0.1391, -0.1082, -0.7174, 0.7566], [-0.5187, 1.2268, 0.6255, -0.9117],
                [-0.6974, -1.8688, -0.8832, -1.6627], [-1.2682, -0.0383, -0.1029, 1.4400],
                [1.4640, -0.3238, 0.7740, 1.5892]):  # fmt: skip
        close(torch.randn(4, device="cuda"), row)
    torch.manual_seed(10)  # pytorch/pytorch issue 79496
    close(torch.randn(3, device="cuda"), [-0.1029, 1.6810, -0.2708])
    torch.manual_seed(42)  # mrdbourke/pytorch-deep-learning issue 759
    with torch.device("cuda"):
        layer = torch.nn.Linear(1, 1)
    close(layer.weight, [[0.2259]])
    close(layer.bias, [0.9754])


def last(row) -> np.ndarray:
    return row[[0, 1, 2, -3, -2, -1]]


@needs_compiler
def test_more_numbers_than_threads(emulator, monkeypatch):
    """The number of multiprocessors counts: pytorch/pytorch issues 97097, on an RTX A4000, and 158398."""
    fake = FakeDriver(emulator, memory=64 << 20)
    fake.multiprocessors, fake.resident = 48, 1536
    with installed(fake, monkeypatch):
        torch.manual_seed(14)
        found = torch.empty(1000, 100, device="cuda").normal_(5, 5**0.5)
        close(last(found[0].cpu()), [2.8731, 5.2727, 2.9889, 1.6853, 9.6331, 6.6319])
        close(last(found[-1].cpu()), [2.7337, 2.2106, 7.7815, 8.2207, 6.5395, 4.2604])
    fake.multiprocessors = 28
    with installed(fake, monkeypatch):
        found = torch.randn(1, 64, 2048, generator=torch.Generator("cuda").manual_seed(42), device="cuda")
        close(last(found[0, 0].cpu()), [0.1940, 2.1614, -0.1721, 1.4540, -2.7733, -0.8932])
        close(last(found[0, -1].cpu()), [-1.2356, -0.4083, -0.4695, -0.4841, 1.2850, -0.0282])


@pytest.mark.parametrize(
    ("multiprocessors", "wanted"), [(132, [-0.6970, -0.7780, 0.3267]), (108, [0.1549, -0.6797, -0.1656])]
)
def test_grids(multiprocessors, wanted):
    """The end of randn(1, 49 * 12 * 112 * 144) for seed 1 on an H100 and an A100: pytorch/pytorch issue 143086."""
    count = 49 * 12 * 112 * 144
    blocks, step = fills.grid_of(count, 4, SimpleNamespace(multiprocessors=multiprocessors, resident=2048))
    threads = 256 * blocks
    rounds, rest = divmod(np.arange(count - 3, count), 4 * threads)
    assert step == 4 * (rounds[-1] + 1)
    made = [reference.normals(reference.words(1, int(k), at % threads))[0, int(at[0]) // threads]
            for k, at in zip(rounds, rest[:, None])]  # fmt: skip
    np.testing.assert_allclose(made, wanted, atol=5.1e-5)


# --- against the NumPy form ---------------------------------------------------------------------------------------

SEED = 0x123456789ABCDEF0
HALF = {"float16": 2e-3, "bfloat16": 2e-2}


def seeded(offset: int = 0):
    made = torch.Generator("cuda").manual_seed(SEED)
    made.set_offset(offset)
    return made


@needs_compiler
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_and_normal(fake, kind):
    for name, arguments, make in (
        ("uniform_", (-2.0, 3.0), reference.uniforms), ("normal_", (2.0, 3.0), reference.normals),
    ):  # fmt: skip
        if kind == "float64":
            make = getattr(reference, make.__name__ + "64")
        generator = seeded(8)
        found = getattr(torch.empty(1000, dtype=getattr(torch, kind), device="cuda"), name)
        found = found(*arguments, generator=generator).cpu().double().numpy()
        raw, after = reference.stream(make, SEED, 8, 1000)
        scale, low = (5.0, -2.0) if name == "uniform_" else (3.0, 2.0)
        wanted = raw.astype(np.float64) * scale + low
        if name == "uniform_":
            wanted[found == low] = low
            assert (found == low).sum() == (kind == "bfloat16") * 4, "what rounds to the upper bound"
        np.testing.assert_allclose(found, wanted, rtol=HALF.get(kind, 2e-6), atol=HALF.get(kind, 2e-6))
        assert generator.get_offset() == after == 12


def _the_upper_bound_is_never_drawn():
    """In 16 bits many numbers round to 1: these become 0, as PyTorch's."""
    torch.manual_seed(1)
    found = torch.rand(20_000, dtype=torch.bfloat16, device="cuda").cpu().float()
    assert found.max() < 1 and int((found == 0).sum()) > 10
    raw, _ = reference.stream(reference.uniforms, 1, 0, 20_000)
    assert int((found == 0).sum()) == int((raw >= 1 - 2.0**-9).sum())


def _transformed():
    raw, _ = reference.stream(reference.uniforms, SEED, 0, 500)
    raw = raw.astype(np.float64)
    wanted = {
        "exponential_": ((2.0,), -np.log(raw) / 2),
        "cauchy_": ((1.0, 2.0), 1 + 2 * np.tan(np.pi * (raw - 0.5))),
        "geometric_": ((0.3,), np.ceil(np.log(raw) / np.log(0.7))),
        "bernoulli_": ((0.3,), raw < 0.3),
    }
    for name, (arguments, numbers) in wanted.items():
        found = getattr(torch.empty(500, device="cuda"), name)(*arguments, generator=seeded()).cpu().numpy()
        np.testing.assert_allclose(found, numbers, rtol=1e-4, atol=1e-5, err_msg=name)
    logarithms, _ = reference.stream(reference.normals, SEED, 0, 500)
    found = torch.empty(500, device="cuda").log_normal_(0.5, 0.25, generator=seeded()).cpu().numpy()
    np.testing.assert_allclose(np.log(found), logarithms * 0.25 + 0.5, atol=1e-6)


def _whole_numbers():
    raw, _ = reference.stream(lambda w: w, SEED, 0, 700)
    wide, after = reference.stream(reference.pairs, SEED, 0, 700)
    assert after == 4

    def drawn(kind, call):
        return call(torch.empty(700, dtype=kind, device="cuda")).cpu().numpy()

    equal = np.testing.assert_array_equal
    equal(drawn(torch.int64, lambda t: t.random_(-5, 20, generator=seeded())), (raw % 25).astype(np.int64) - 5)
    equal(drawn(torch.int8, lambda t: t.random_(-5, 20, generator=seeded())), (raw % 25).astype(np.int8) - 5)
    equal(drawn(torch.float64, lambda t: t.random_(0, 9, generator=seeded())), raw % 9)
    assert fills._source("integers_range", "f64") == ("words", 4) and fills._source("uniform", "f64")[1] == 2
    span = 3 * 10**12
    found = drawn(torch.int64, lambda t: t.random_(-7, span - 7, generator=seeded()))
    equal(found, (wide % np.uint64(span)).astype(np.int64) - 7)
    equal(drawn(torch.int64, lambda t: t.random_(generator=seeded())), (wide % np.uint64(2**63)).astype(np.int64))
    equal(drawn(torch.uint8, lambda t: t.random_(generator=seeded())), raw % 256)
    equal(drawn(torch.float32, lambda t: t.random_(generator=seeded())), (raw % (2**24 + 1)).astype(np.float32))
    equal(drawn(torch.int32, lambda t: t.random_(-(2**31), 2**31 - 1, generator=seeded())),
          ((wide % np.uint64(2**32 - 1)).astype(np.int64) - 2**31).astype(np.int32))  # fmt: skip
    found = torch.randint(10, (700,), device="cuda", generator=seeded())
    assert found.dtype is torch.int64
    equal(found.cpu().numpy(), raw % 10)


def test_elements_of_large_tensors_are_drawn_in_parts():
    """As PyTorch's 32-bit indexing: halves until a part is below 2**31 bytes."""
    assert fills.parts_of(2**29, 4) == [(0, 2**29)]
    n = 2**29 + 1
    assert fills.parts_of(n, 4) == [(0, n // 2), (n // 2, n - n // 2)]
    parts = fills.parts_of(3 * 2**29, 4)
    assert [size for _, size in parts] == [3 * 2**27] * 4 and parts[-1][0] == 9 * 2**27


def _layouts():
    """Elements are drawn in the order in which they lie in memory."""
    flat, _ = reference.stream(reference.uniforms, SEED, 0, 24)
    turned = torch.empty(6, 4, device="cuda").t().uniform_(generator=seeded())
    np.testing.assert_array_equal(turned.cpu().numpy(), flat.reshape(6, 4).T)
    spread = torch.zeros(4, 12, device="cuda")[:, ::2].uniform_(generator=seeded())
    np.testing.assert_array_equal(spread.cpu().numpy(), flat.reshape(4, 6))


@needs_compiler
@pytest.mark.parametrize(("kind", "count"), [("float32", 1000), ("float32", 1002), ("float32", 999), ("float64", 100),
                                              ("bfloat16", 1024)])  # fmt: skip
def test_dropout(fake, kind, count):
    """One kernel; which word decides about an element depends on how many a thread takes at once."""
    x = torch.arange(1.0, count + 1).to(getattr(torch, kind)).to("cuda").requires_grad_()
    torch.cuda.manual_seed(SEED)
    before = len(fake.named("cuLaunchKernel"))
    out = F.dropout(x, 0.25)
    assert len(fake.named("cuLaunchKernel")) == before + 1 and out.grad_fn.name() == "NativeDropoutBackward0"
    lanes = 16 // x.element_size()
    while lanes > 1 and count % lanes:
        lanes //= 2
    threads = np.arange(reference.grid(count))
    made = [reference.uniforms(reference.words(SEED, block, threads)) for block in (0, 1)]
    if lanes == 1:
        raw = made[0].T.ravel()[:count]
    elif lanes == 8:
        raw = np.concatenate(made, 1).ravel()[:count]
    else:
        raw = made[0][:, :lanes].ravel()[:count]
    kept = raw < np.float32(0.75)
    wanted = np.where(kept, x.detach().cpu().double().numpy() / 0.75, 0)
    np.testing.assert_allclose(out.detach().cpu().double().numpy(), wanted, rtol=HALF.get(kind, 2e-7))
    out.backward(torch.ones(count, dtype=x.dtype).to("cuda"))
    np.testing.assert_allclose(x.grad.cpu().double().numpy(), kept / 0.75, rtol=HALF.get(kind, 2e-7))
    assert torch.cuda.default_generators[0].get_offset() == 4
    torch.cuda.manual_seed(SEED)
    again, mask = torch.native_dropout(x.detach(), 0.25, True)
    assert torch.equal(again.cpu(), out.detach().cpu()) and mask.dtype is torch.bool
    np.testing.assert_array_equal(mask.cpu().numpy(), kept)


def test_words_below_a_chance():
    for p in (1e-9, 0.1, 0.5, 0.75, 1 - 2**-20):
        for double in (False, True):
            limit = np.float64(p) if double else np.float32(p)
            n = dropout.words_below(p, double)
            numbers = reference.uniforms(np.array([max(n - 1, 0), n], np.uint32))
            assert (n == 0 or numbers[0] < limit) and not numbers[1] < limit


@needs_compiler
def test_other_dropouts(fake):
    x = torch.ones(6, 8, 4).to("cuda")
    for call in (F.dropout1d, F.alpha_dropout, lambda x, **_: F.dropout(x, inplace=True)):
        torch.manual_seed(4)
        found = call(x.clone(), training=True).cpu()
        assert found.shape == x.shape and 0 < float((found == found.max()).float().mean()) < 1
    torch.manual_seed(4)
    raw, _ = reference.stream(reference.uniforms, 4, 0, 48)
    torch.manual_seed(4)
    np.testing.assert_array_equal(F.dropout1d(x)[:, :, 0].cpu().numpy().ravel(), (raw < 0.5) * 2.0)
    slopes = F.rrelu(torch.full((6,), -1.0).to("cuda"), 0.25, 0.5, training=True).cpu()
    assert -0.5 <= float(slopes.min()) < float(slopes.max()) <= -0.25


@needs_compiler
def test_one_mask_for_a_batch(fake):
    x = torch.ones(4, 64).to("cuda")
    same, other = (torch.vmap(F.dropout, randomness=how)(x).cpu() for how in ("same", "different"))
    assert (same == same[0]).all() and not (other == other[0]).all()
    with pytest.raises(RuntimeError, match="vmap: called random operation while in randomness error mode"):
        torch.vmap(F.dropout)(x)


def _chances_of_each_element():
    chances = np.linspace(0, 1, 700, dtype=np.float32)
    found = torch.bernoulli(torch.tensor(chances, device="cuda"), generator=(g := seeded())).cpu().numpy()
    raw = reference.uniforms(reference.words(SEED, 0, np.arange(512))).ravel()[:700]
    np.testing.assert_array_equal(found, raw <= chances)
    assert g.get_offset() == 12, "10 words, rounded up to blocks of four"
    found = torch.empty(4, device="cuda").bernoulli_(torch.tensor(0.5), generator=seeded()).cpu().numpy()
    np.testing.assert_array_equal(found, raw[:4] <= 0.5, err_msg="one chance, from the host")
    torch.bernoulli(torch.tensor([0.5, 1.5], device="cuda"))
    with pytest.raises(RuntimeError, match="device-side assert") as error:
        torch.cuda.synchronize()
    assert "Expected p_in >= 0 && p_in <= 1 to be true" in str(error.value.__notes__)


def _permutations():
    wide, after = reference.stream(reference.pairs, SEED, 0, 1000)
    keys = ((wide % np.uint64(2**32 - 1)).astype(np.int64) - 2**31).astype(np.int32).view(np.uint32)
    bits = int(np.ceil(np.log2(1000 - (6 * 1000.0**2 + 1) / (12 * np.log(0.9)))))
    keys &= np.uint32((1 << bits) - 1)
    assert len(np.unique(keys)) == 1000, "else some would be shuffled again"
    found = torch.randperm(1000, device="cuda", generator=(g := seeded()))
    np.testing.assert_array_equal(found.cpu().numpy(), np.argsort(keys, kind="stable"))
    assert g.get_offset() == after + 1000 and found.dtype is torch.int64
    assert torch.randperm(0, device="cuda").numel() == 0
    large, n = torch.randperm(40_000, device="cuda", generator=seeded()).cpu().numpy(), 40_000
    wide, _ = reference.stream(reference.pairs, SEED, 0, n)
    keys = (wide % np.uint64(2**64 - 1)) - np.uint64(2**63) & np.uint64((1 << selections.key_bits(n)) - 1)
    assert selections.key_bits(n) == 33 and len(np.unique(keys)) == n
    np.testing.assert_array_equal(large, np.argsort(keys, kind="stable"))


def _equal_keys_are_shuffled():
    """Their places, by a thread of the first one's number, as Fisher and Yates."""
    keys = np.array([3, 5, 5, 5, 9, 9])
    places = np.arange(6) * 10
    where = [torch.tensor(a, device="cuda") for a in (keys, places)]
    out = torch.empty(6, dtype=torch.int64, device="cuda")
    text = functions.function(selections.places_program, dt.int64)
    text((1, 1), (selections.ISLAND_THREADS, 1), out.ptr, 6, SEED, 8, 0, *(t.ptr for t in where))
    wanted = places.copy()
    for first, size in ((1, 3), (4, 2)):
        drawn = reference.words(SEED, 2, np.array([first]))[0]
        island = wanted[first : first + size]
        for k, word in zip(range(size - 1, 0, -1), drawn):
            island[[k, word % (k + 1)]] = island[[word % (k + 1), k]]
    np.testing.assert_array_equal(out.cpu().numpy(), wanted)


def _multinomial():
    weights = np.array([[1, 0, 3, 4], [0, 5, 0, 5], [2, 2, 2, 0]], np.float32)
    found = torch.multinomial(torch.tensor(weights, device="cuda"), 300, True, generator=(g := seeded())).cpu().numpy()
    blocks, sums = -(-300 // 128), np.cumsum(weights.astype(np.float64), 1)
    for row in range(3):
        threads = row * blocks * 128 + np.arange(300)
        raw = reference.uniforms(reference.words(SEED, 0, threads))[:, 0].astype(np.float64)
        np.testing.assert_array_equal(found[row], np.searchsorted(sums[row], raw * sums[row, -1]))
    assert g.get_offset() == 4
    for bad, text in (([0.0, 0.0], "sum of probabilities"), ([1.0, -1.0], "entry < 0"), ([1.0, np.nan], "NaN")):
        torch.multinomial(torch.tensor(bad, device="cuda"), 3, True)
        with pytest.raises(RuntimeError, match="device-side assert") as error:
            torch.cuda.synchronize()
        assert text in str(error.value.__notes__)


# --- samplers that try again --------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("rate", [0.5, 20.0, 200.0, 5000.0])
def test_poisson(fake, rate):
    torch.manual_seed(1)
    found = torch.poisson(torch.full((4000,), rate).to("cuda")).cpu().double().numpy()
    assert abs(found.mean() - rate) < 5 * np.sqrt(rate / 4000) and abs(found.var() / rate - 1) < 0.12
    assert (found == np.floor(found)).all() and torch.cuda.default_generators[0].get_offset() == 20
    if rate < 64:  # the product of uniform numbers falls below 1
        drawn = [reference.uniforms(reference.words(1, block, np.arange(4000))) for block in range(5)]
        products = np.exp(np.float32(rate)) * np.cumprod(np.concatenate(drawn, 1), 1, dtype=np.float32)
        short = products[:, -1] <= 1
        np.testing.assert_array_equal(found[short], np.argmax(products <= 1, 1)[short])


@needs_compiler
@pytest.mark.parametrize("shape", [0.3, 1.0, 8.0])
def test_gamma(fake, shape):
    torch.manual_seed(1)
    found = standard_gamma(torch.full((4000,), shape).to("cuda")).cpu().double().numpy()
    assert abs(found.mean() - shape) < 5 * np.sqrt(shape / 4000) and abs(found.var() / shape - 1) < 0.25
    assert found.min() > 0 and torch.cuda.default_generators[0].get_offset() == 12
    wanted = [reference.gamma(reference.Drawing(1, thread), shape) for thread in range(40)]
    np.testing.assert_allclose(found[:40], wanted, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize(("count", "p"), [(10.0, 0.2), (10.0, 0.7), (400.0, 0.3), (400.0, 0.9), (5.0, 0.0), (5.0, 1.0)])
def test_binomial(fake, count, p):
    torch.manual_seed(1)
    n, chances = (torch.full((3000,), x).to("cuda") for x in (count, p))
    found = torch.binomial(n, chances).cpu().double().numpy()
    variance = count * p * (1 - p)
    assert abs(found.mean() - count * p) <= 5 * np.sqrt(variance / 3000)
    assert abs(found.var() - variance) <= 0.2 * variance and found.min() >= 0 and found.max() <= count
    assert torch.cuda.default_generators[0].get_offset() == 44
    if count * p == 2:  # a thread draws for eight elements, 128 apart, one after the other
        for thread in range(10):
            d = reference.Drawing(1, thread)
            wanted = [reference.binomial(d, count, p) for _ in range(8)]
            np.testing.assert_array_equal(found[:1024].reshape(8, 128)[:, thread], wanted)


def _samplers_end_whatever_they_are_given():
    nan = float("nan")
    bad = torch.tensor([nan, -1.0, 0.0, float("inf")], device="cuda")
    out = torch.empty(4, device="cuda")
    samplers.gamma(out.ptr, 4, "f32", seeded(), bad.ptr)
    samplers.poisson(out.ptr, 1, "f32", seeded(), bad.ptr)
    samplers.binomial(out.ptr, 4, "f32", seeded(), bad.ptr, torch.full((4,), 0.5, device="cuda").ptr)


# What `device.py` runs on a GPU, too.
FAMILIES = [
    _numbers_that_pytorch_printed,
    _whole_numbers,
    _transformed,
    _the_upper_bound_is_never_drawn,
    _layouts,
    _chances_of_each_element,
    _permutations,
    _equal_keys_are_shuffled,
    _multinomial,
    _samplers_end_whatever_they_are_given,
]


@needs_compiler
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__[1:])
def test_numbers(fake, family):
    family()


# --- generators ---------------------------------------------------------------------------------------------------


def test_states_of_generators(fake):
    g = torch.Generator(device="cuda")
    assert g.device == torch.device("cuda", 0) and g.initial_seed() == 67280421310721 and g.get_offset() == 0
    assert torch.Generator("cuda:0").device == g.device
    g.manual_seed(-1).set_offset(12)
    state = g.get_state()
    assert state.device.type == "cpu" and state.dtype is torch.uint8 and state.shape == (16,)
    assert state.numpy().view(np.uint64).tolist() == [2**64 - 1, 12]
    other = torch.Generator("cuda")
    other.set_state(state)
    assert other.initial_seed() == 2**64 - 1 and other.get_offset() == 12
    other.set_state(state[:8])
    assert other.get_offset() == 0
    for bad in (torch.zeros(5, dtype=torch.uint8), torch.zeros(5056, dtype=torch.uint8)):
        with pytest.raises(RuntimeError, match="RNG state is wrong size"):
            g.set_state(bad)
    with pytest.raises(TypeError, match=r"expected a torch.ByteTensor|RNG state must be a torch.ByteTensor"):
        g.set_state(torch.zeros(16))
    with pytest.raises(RuntimeError, match="offset must be a multiple of 4"):
        g.set_offset(3)
    for copied in (g.clone_state(), copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert torch.equal(copied.get_state(), g.get_state())
        copied.manual_seed(1)
        assert g.initial_seed() == 2**64 - 1
    shared = g.graphsafe_get_state()
    shared.set_offset(40)
    assert g.get_offset() == 40
    g.graphsafe_set_state(other)
    assert g.get_offset() == 0
    seed = g.seed()
    assert g.initial_seed() == seed and g.get_offset() == 0
    with pytest.raises(NotImplementedError, match="graphsafe_get_state is not supported in this Generator"):
        torch.Generator().graphsafe_get_state()


def test_files_hold_generators(fake, tmp_path):
    g = torch.Generator("cuda").manual_seed(6)
    g.set_offset(16)
    torch.save(g, tmp_path / "g.pt")
    again = torch.load(tmp_path / "g.pt", weights_only=False)
    assert again.device == g.device and torch.equal(again.get_state(), g.get_state())


def test_generators_of_other_devices_are_refused(fake):
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.rand(2, device="cuda", generator=torch.Generator())
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        torch.rand(2, generator=torch.Generator("cuda"))
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.empty(2, device="cuda").normal_(generator=torch.Generator())


def test_seeds_of_the_default_stream(fake):
    torch.manual_seed(9)
    g = torch.cuda.default_generators[0]
    assert torch.cuda.initial_seed() == g.initial_seed() == 9 and len(torch.cuda.default_generators) == 1
    torch.cuda.manual_seed(4)
    assert torch.initial_seed() == 9 and torch.cuda.initial_seed() == 4
    torch.cuda.manual_seed_all(5)
    assert torch.cuda.initial_seed() == 5
    torch.cuda.seed()
    assert torch.cuda.initial_seed() != 5
    assert torch.seed() == torch.cuda.initial_seed() == torch.initial_seed()
    g.set_offset(8)
    states = torch.cuda.get_rng_state_all()
    torch.cuda.manual_seed(1)
    torch.cuda.set_rng_state_all(states)
    assert g.get_offset() == 8 and torch.equal(torch.cuda.get_rng_state(), states[0])
    torch.cuda.set_rng_state(states[0], "cuda:0")
    for name in ("cuda", None):
        with torch.random.fork_rng(devices=None if name is None else [0]):
            torch.cuda.manual_seed(77)
        assert g.get_offset() == 8
    with torch.random.fork_rng(devices=[]):
        torch.cuda.manual_seed(77)
    assert torch.cuda.initial_seed() == 77


def test_a_seed_is_remembered_until_there_is_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    torch.cuda.manual_seed(5)
    torch.cuda.manual_seed_all(6)
    assert torch.cuda.default_generators == () and torch.cuda.get_rng_state_all() == []
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torch.cuda.get_rng_state()
    with pytest.raises(RuntimeError):
        torch.Generator("cuda")


@needs_compiler
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_parts_draw_the_same_again(fake, use_reentrant):
    from facula.utils.checkpoint import checkpoint

    x = torch.ones(64, device="cuda", requires_grad=True)
    torch.manual_seed(3)
    out = checkpoint(lambda x: F.dropout(x) * 2, x, use_reentrant=use_reentrant)
    after = torch.cuda.get_rng_state()
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), out.detach().cpu().numpy())
    assert torch.equal(torch.cuda.get_rng_state(), after)


@needs_compiler
def test_recorded_launches_read_seed_and_offset(fake):
    """In a graph: from two words of memory, which each replay writes, and a distance from them."""
    g = seeded(40)
    state = recorded.Recorded(g)
    state.capture_prologue()
    out = [torch.empty(10, device="cuda") for _ in range(2)]
    for t in out:
        t.uniform_(generator=g)
    assert g.get_offset() == 40, "the graph counts, the stream does not"
    assert state.capture_epilogue() == 8
    torch.rand(10, device="cuda", generator=g)
    assert g.get_offset() == 44
    for seed in (SEED, 77):
        g.manual_seed(seed).set_offset(400)
        state.replay_prologue(8)
        assert g.get_offset() == 408
        again(out, state.words.ptr)
        for k, t in enumerate(out):
            wanted = reference.stream(reference.uniforms, seed, 400 + 4 * k, 10)[0]
            np.testing.assert_array_equal(t.cpu().numpy(), wanted)
    assert philox.take(g.ptr, 10) == (77, 408, 0)


def again(out, words) -> None:
    """Starts what was recorded once more: the same values as then, whatever the generator says."""
    start = functions.function(fills.fill_program, "uniform", "f32")
    for k, t in enumerate(out):
        start((1, 1), (256, 1), t.ptr, 10, -1, 4 * k, words, 0.0, 1.0)
