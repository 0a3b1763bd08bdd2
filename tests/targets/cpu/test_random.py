"""Random fills against what PyTorch drew (recorded), NumPy's MT19937, the samplers run as Python, and themselves."""

import json
import math
import platform
import threading
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from facula.core.dtype import BY_CODE
from facula.core.generator import Generator
from facula.targets.cpu import random, threads

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "random_streams.json").read_text())
BYTES = random.BYTES
# What no function of the C library has a part in, and so has the same bits everywhere.
PURE = {"uniform", "bernoulli", "bernoulli_each", "integers", "permutation", "multinomial"}


def memory(count: int, code: str) -> np.ndarray:
    """Room for elements of a dtype (bfloat16: as uint16)."""
    return np.zeros(count, BY_CODE[code].numpy or np.uint16)


def values(array: np.ndarray, code: str) -> np.ndarray:
    return (array.astype(np.uint32) << 16).view(np.float32) if code == "bf16" else array


def rounded(exact: np.ndarray, code: str) -> np.ndarray:
    """Doubles as they lie in memory in a dtype."""
    if code != "bf16":
        return exact.astype(BY_CODE[code].numpy)
    bits = exact.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def draw(call: str, count: int, code: str, generator: Generator, *arguments) -> np.ndarray:
    """The elements that a fill of this name makes; parameters an element are i * high / count."""
    out = memory(count, code)
    at = out.ctypes.data

    def ramp(high: float, code: str) -> np.ndarray:
        return rounded(np.arange(count) * high / count, code)

    if call == "bernoulli_each":
        p = ramp(arguments[0], arguments[1])
        assert random.bernoulli_each(at, count, code, generator, p.ctypes.data, arguments[1]) == -1
    elif call in ("poisson", "gamma"):
        rates = ramp(arguments[0], code)
        getattr(random, call)(at, count, code, generator, rates.ctypes.data)
    elif call == "binomial":
        counts, p = np.floor(ramp(arguments[0], code)), ramp(1.0, code)
        random.binomial(at, count, code, generator, counts.ctypes.data, p.ctypes.data)
    elif call == "multinomial":
        p, out = ramp(arguments[0], code), memory(50, "i64")
        random.multinomial(out.ctypes.data, 1, 50, generator, p.ctypes.data, code, count)
    else:
        getattr(random, call)(at, count, code, generator, *arguments)
    return out


def described(case: dict) -> str:
    return f"{case['call']}{case['arguments']}-{case['code']}-{case['count']}"


@pytest.mark.parametrize("case", RECORDED["cases"], ids=described)
def test_recorded_by_pytorch(case):
    generator = Generator().manual_seed(RECORDED["seed"])
    out = draw(case["call"], case["count"], case["code"], generator, *case["arguments"])
    first = [float.fromhex(x) if isinstance(x, str) else x for x in case["first"]]
    shown = values(out, "" if case["call"] == "multinomial" else case["code"])[:8]
    vector = case["call"] == "normal" and case["count"] >= 16 and case["code"] != "f64"
    if case["call"] in PURE or vector or list(platform.libc_ver()) == RECORDED["libc"]:
        np.testing.assert_array_equal(shown.astype(np.float64), np.array(first, np.float64))
        assert blake2b(out.tobytes(), digest_size=8).hexdigest() == case["digest"]
    else:  # another C library may round a logarithm otherwise
        np.testing.assert_allclose(shown.astype(np.float64), first, rtol={"f64": 1e-14}.get(case["code"], 1e-2))
    then = draw("integers", 1, "i64", generator)
    assert then[0] == case["then"]


def test_states_recorded_by_pytorch():
    generator = Generator().manual_seed(77)
    steps = {
        "manual_seed(77)": lambda: None,
        "uniform f32 1": lambda: draw("uniform", 1, "f32", generator),
        "normal f32 3": lambda: draw("normal", 3, "f32", generator),
        "uniform f32 2000": lambda: draw("uniform", 2000, "f32", generator),
    }
    for step in RECORDED["states"]:
        steps[step["after"]]()
        assert blake2b(generator.legacy_state().tobytes(), digest_size=16).hexdigest() == step["digest"], step["after"]


@pytest.mark.parametrize("seed", [0, 5489, 2**32 - 1])
def test_engine_is_numpys(seed):
    engine = np.random.MT19937()
    engine._legacy_seeding(seed)
    generator = Generator().manual_seed(seed)
    for count in (1, 622, 1, 1, 623, 5000, 3):
        words = engine.random_raw(count).astype(np.uint32)
        np.testing.assert_array_equal(draw("uniform", count, "f32", generator), (words & 0xFFFFFF) * np.float32(2**-24))
        np.testing.assert_array_equal(draw("integers", count, "i32", generator), engine.random_raw(count) & 0x7FFFFFFF)


@pytest.mark.parametrize("code", ["f32", "f64"])
def test_pieces_make_the_whole(code):
    whole = draw("uniform", 3000, code, Generator().manual_seed(9))
    generator, parts = Generator().manual_seed(9), []
    for count in (0, 1, 15, 16, 17, 951, 2000):
        parts.append(draw("uniform", count, code, generator))
        generator.load_legacy_state(generator.legacy_state())  # the position survives
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_kept_normal_survives_in_the_state():
    whole = draw("normal", 8, "f64", Generator().manual_seed(9))
    generator, parts = Generator().manual_seed(9), []
    for count in (1, 2, 1, 4):
        parts.append(draw("normal", count, "f64", generator))
        generator = generator.clone_state()
        generator.load_legacy_state(generator.legacy_state())
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    generator.manual_seed(9)
    np.testing.assert_array_equal(draw("normal", 8, "f64", generator), whole)


@pytest.mark.parametrize("call", ["normal", "exponential", "log_normal"])
def test_numbers_do_not_depend_on_threads(call):
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            threads.set_num_threads(count)
            results.append(draw(call, 70001, "f64", Generator().manual_seed(2)))
    finally:
        threads.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_one_generator_in_many_threads():
    """Every number is given once, whoever asks."""
    generator, results = Generator().manual_seed(1), []

    def work():
        mine = [draw("uniform", 30_000, "f64", generator) for _ in range(20)]
        results.extend(mine)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    whole = draw("uniform", 30_000 * 80, "f64", Generator().manual_seed(1))
    np.testing.assert_array_equal(np.sort(np.concatenate(results)), np.sort(whole))


@pytest.mark.parametrize(
    ("call", "arguments", "mean", "deviation"),
    [
        ("uniform", (2.0, 4.0), 3.0, math.sqrt(1 / 3)),
        ("normal", (1.0, 3.0), 1.0, 3.0),
        ("exponential", (2.0,), 0.5, 0.5),
        ("bernoulli", (0.3,), 0.3, math.sqrt(0.21)),
        ("geometric", (0.25,), 4.0, math.sqrt(12)),
        ("log_normal", (0.0, 0.5), math.exp(0.125), math.exp(0.125) * math.sqrt(math.expm1(0.25))),
        ("integers", (-3, 8), 2.0, math.sqrt(10)),
    ],
)
@pytest.mark.parametrize("code", ["f32", "f64"])
def test_moments(call, arguments, mean, deviation, code):
    count = 200_000
    out = draw(call, count, code, Generator().manual_seed(8), *arguments).astype(np.float64)
    assert abs(out.mean() - mean) < 5 * deviation / math.sqrt(count)
    assert abs(out.std() / deviation - 1) < 0.05


def test_uniform_never_reaches_the_end():
    for code in ("f16", "bf16"):
        out = values(draw("uniform", 100_000, code, Generator().manual_seed(1), 0.0, 1.0), code)
        assert out.min() >= 0 and out.max() < 1


def test_permutations():
    for count in (0, 1, 2, 1000, 5000):
        out = draw("permutation", count, "i64", Generator().manual_seed(1))
        np.testing.assert_array_equal(np.sort(out), np.arange(count))


def test_bernoulli_one():
    out = draw("bernoulli", 1000, "f32", Generator().manual_seed(1), 0.8, 1.25)
    assert set(out) == {0.0, 1.25}


def test_bad_probability_draws_nothing():
    generator = Generator().manual_seed(1)
    state = generator.legacy_state()
    for bad in (1.5, -0.1, math.nan):
        p, out = np.array([0.1, 0.2, bad, 0.3], np.float32), memory(4, "f32")
        assert random.bernoulli_each(out.ctypes.data, 4, "f32", generator, p.ctypes.data, "f32") == 2
        np.testing.assert_array_equal(generator.legacy_state(), state)


@pytest.mark.parametrize(
    ("weights", "words"),
    [([0.1, -0.1], "entry < 0"), ([0.1, math.inf], "infinity or NaN"), ([0.0, 0.0], "sum of probabilities <= 0")],
)
def test_multinomial_errors(weights, words):
    p, out = np.array(weights), memory(3, "i64")
    with pytest.raises(RuntimeError, match=words):
        random.multinomial(out.ctypes.data, 1, 3, Generator(), p.ctypes.data, "f64", 2)


def test_dtypes_that_do_not_exist():
    with pytest.raises(NotImplementedError, match='"uniform" not implemented for i64'):
        draw("uniform", 1, "i64", Generator())


@pytest.mark.parametrize("name", ["gamma", "binomial"])
def test_samplers_mean_what_their_python_says(name):
    """The source, run by Python in double, gives the numbers of the machine code made of it."""
    twin, count = Generator().manual_seed(6), 300
    space = {
        "uniform": lambda: float(draw("uniform", 1, "f64", twin)[0]),
        "normal": lambda: float(draw("normal", 1, "f64", twin)[0]),
        "s": lambda x: x,
        "f": lambda x: float(np.float32(x)),
        "log1ps": math.log1p,
        "larger": max,
        "smallest": lambda: 2.0**-1022,
        "table": lambda k: random.STIRLING[int(k)],
        **{f: getattr(math, f) for f in ("exp", "log", "pow", "sqrt", "floor", "ceil", "lgamma")},
    }
    for source in random.SAMPLERS.values():
        exec(source, space)
    if name == "gamma":
        inputs = [(5.0 * i / count,) for i in range(count)]
        space["gamma"], drawn = space["gamma"], draw("gamma", count, "f64", Generator().manual_seed(6), 5.0)
    else:
        inputs = [(math.floor(900.0 * i / count), i / count) for i in range(count)]
        drawn = draw("binomial", count, "f64", Generator().manual_seed(6), 900.0)
    np.testing.assert_allclose(drawn, [space[name](*x) for x in inputs], rtol=1e-13)
