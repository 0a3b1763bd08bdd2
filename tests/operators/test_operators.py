"""The generic checks that follow from the samples table: no operator is tested by hand here. See `samples.py`.

Values against the reference target and NumPy, gradients against finite differences and against the derivative of the
body, second order, layouts, dtypes, in-place forms, out=, methods, errors that leave operands as they were.
"""

import functools
import re
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import facula
import facula.operators as ops
from facula.operators import promotion
from facula.operators.declare import OPERATORS, Traced
from tests.operators import results
from tests.operators.table import ALL, KIND_OF, LAYOUTS, Arrays, Maker, Row, flat, load_all, resolve

ROWS = load_all()
TOLERANCE = {
    "float16": (2e-3, 2e-3), "bfloat16": (2e-2, 2e-2), "float32": (1e-5, 1e-5), "complex64": (1e-5, 1e-5),
    "float64": (1e-10, 1e-10), "complex128": (1e-10, 1e-10),
}  # fmt: skip


def rows(which=lambda row: True):
    """Parametrize a test by the rows for which something holds."""
    return pytest.mark.parametrize("row", [r for r in ROWS.values() if which(r)], ids=lambda r: r.name)


def tolerance(row: Row, dtype: str) -> tuple[float, float]:
    rtol, atol = TOLERANCE.get(dtype, (0, 0))
    given = row.tolerance.get(dtype, (0, 0))
    return max(rtol, given[0]), max(atol, given[1])


def agree(row: Row, found, wanted, dtype: str, what: str) -> None:
    """AssertionError unless two results of `results.py` agree."""
    assert isinstance(found, str) == isinstance(wanted, str), f"{what}: {found} for {wanted}"
    if isinstance(wanted, str):
        assert found == wanted, what
        return
    assert (found is None) == (wanted is None) and len(found or ()) == len(wanted or ()), what
    for a, b in zip(found or (), wanted or ()):
        if isinstance(b, np.ndarray):
            # Of whole numbers come floats in some operators; 16-bit floats are shown as wider ones.
            rtol, atol = tolerance(row, dtype if dtype in ("float16", "bfloat16") else b.dtype.name)
            assert a.dtype == b.dtype and a.shape == b.shape, f"{what}: {a.dtype}{a.shape} for {b.dtype}{b.shape}"
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)
        else:
            assert a == b or (a is None and b is None), f"{what}: {a} for {b}"


# --- nothing is forgotten -----------------------------------------------------------------------------------------

# Public names of `facula.operators` that are no operators (settings, questions, random states), and the cores of others
# that have rows: of the norms, embedding, logsigmoid, adaptive_max_pool.
NO_OPERATORS = set(
    """are_deterministic_algorithms_enabled broadcast_shapes can_cast finfo from_dlpack from_file from_numpy
    frombuffer get_default_device get_default_dtype get_deterministic_debug_mode get_float32_matmul_precision
    get_rng_state iinfo initial_seed is_anomaly_check_nan_enabled is_anomaly_enabled is_complex is_conj
    is_deterministic_algorithms_warn_only_enabled is_floating_point is_inference is_neg is_nonzero is_same_size
    is_signed is_storage is_tensor is_warn_always_enabled manual_seed numel resolve_conj resolve_neg
    result_type seed set_anomaly_enabled set_default_device set_default_dtype set_default_tensor_type
    set_deterministic_debug_mode set_float32_matmul_precision set_flush_denormal set_rng_state set_warn_always
    strided to_dlpack typename native_batch_norm native_layer_norm
    native_group_norm embedding_dense_backward log_sigmoid adaptive_max_pool3d
    use_deterministic_algorithms is_vulkan_available is_distributed get_device dequantize any_convolution
    native_dropout""".split()
)
ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "not_equal": "ne", "unsafe_chunk": "chunk", "unsafe_split": "split",
    "unsafe_split_with_sizes": "split_with_sizes", "negative": "neg", "detach": "Tensor.detach", "fill": "full_like",
}  # fmt: skip
# Drivers of in-place writing and of other operators, seen through their users.
INTERNAL = {"copied", "filled", "to_device", "to_dtype", "reinterpret", "lifted", "written"}


def family_tests(operator) -> str:
    """The text of the tests of an operator's own family: tests/operators/test_<module>.py."""
    module = getattr(operator, "__module__", "").rpartition(".")[2]
    file = Path(__file__).with_name(f"test_{module}.py")
    return file.read_text() if file.exists() else ""


def test_every_public_operator_has_a_row():
    known = {name.rpartition(".")[2] for name in ROWS} | NO_OPERATORS | ALIASES.keys()
    forgotten = []
    for name in dir(ops):
        value = getattr(ops, name)
        if name.startswith("_") or isinstance(value, types.ModuleType) or not callable(value) or name in known:
            continue
        if name.endswith("_"):  # the in-place form: its row is that of the function, or of the method of that name
            base = name[:-1]
            if base in known or hasattr(facula.Tensor, name):
                continue
        if not re.search(rf"\b{name}\b", family_tests(value)):
            forgotten.append(name)
    assert not forgotten, f"operators without samples: {', '.join(forgotten)}"


def test_every_declared_operator_is_driven_by_a_row():
    known = {name.rpartition(".")[2] for name in ROWS} | {c for r in ROWS.values() for c in r.covers} | INTERNAL
    known |= set(ALIASES)
    forgotten = [n for n, o in OPERATORS.items() if n not in known and not family_tests(o.body)]
    assert not forgotten, f"declared operators that no row covers: {', '.join(forgotten)}"


def test_rows_cover_operators_that_exist():
    import facula.nn.functional  # noqa: F401  loads families of its own

    missing = {c for r in ROWS.values() for c in r.covers} - OPERATORS.keys()
    known = {
        c for c in missing if not any(hasattr(m, c) for m in vars(ops).values() if isinstance(m, types.ModuleType))
    }
    assert not known, f"rows cover what does not exist: {known}"


# --- values -------------------------------------------------------------------------------------------------------

# What the reference target leaves to the tests of the CPU target: random numbers.
ELSEWHERE = ("facula has no routine 'random' for the device 'reference' yet",)


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> dict:
    """Results of the whole table by the NumPy interpreter."""
    return results.of_reference_target(tmp_path_factory.mktemp("reference") / "results.pickle")


@rows(lambda row: row.compare)
def test_machine_code_agrees_with_the_reference_target(row, machine, reference):
    for key, wanted in reference[row.name].items():
        if isinstance(wanted, str) and wanted.endswith(ELSEWHERE):
            continue
        dtype = key[2] if len(key) > 2 else "float64" if key[0] == "gradients" else row.dtypes[0]
        if dtype not in row.blind:
            agree(row, machine[row.name][key], wanted, dtype, f"{key}")


@rows()
def test_no_sample_fails(row, machine):
    failed = {key: found for key, found in machine[row.name].items() if isinstance(found, str)}
    assert not failed


@rows(lambda row: row.numpy is not None)
def test_values_agree_with_numpy(row, machine):
    for key, found in machine[row.name].items():
        if key[0] != "values":
            continue
        dtype = key[2] if len(key) > 2 else row.dtypes[0]
        arrays = Arrays(dtype)
        if KIND_OF[dtype] in "bui" and found[0].dtype.kind in "fc":
            arrays.wide = True  # NumPy makes float16 of small integers
        args, kwargs, _ = arrays.call(row.name, key[1], row.samples[key[1]])
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = flat(row.numpy(*args, **kwargs))
        shown = {"float64": "float64", "complex128": "complex128"}.get(
            dtype, "bfloat16" if dtype == "bfloat16" else "float16" if dtype == "float16" else "float32"
        )
        rtol, atol = tolerance(row, shown if KIND_OF[dtype] != "c" or dtype == "complex128" else "complex64")
        for a, b in zip(found, wanted):
            np.testing.assert_allclose(a, np.asarray(b), rtol=rtol, atol=atol, equal_nan=True, err_msg=str(key))


@rows()
def test_other_dtypes_are_refused(row):
    for dtype in ALL:
        if dtype in row.dtypes or dtype in row.more or KIND_OF[dtype] in row.kinds:
            continue
        if not any(
            type(a).__name__ in ("T", "D") and getattr(a, "dtype", None) is None
            for a in flat(list(row.samples[0].args))
        ):
            continue  # its operands have dtypes of their own
        with pytest.raises((RuntimeError, TypeError, IndexError, ValueError)):
            results.call(row, 0, row.samples[0], dtype)


# Random numbers are drawn in the order of memory.
DRAWN = ("rand_like", "randn_like", "randint_like", "dropout", "alpha_dropout", "nn.functional.rrelu")


@rows(lambda row: row.layouts and row.compare and row.name not in DRAWN)
def test_layouts_do_not_matter(row):
    dtype = "float64" if "float64" in row.dtypes else row.dtypes[0]
    for n, sample in enumerate(row.samples):
        wanted = [results.plain(x) for x in results.call(row, n, sample, dtype)[0]]
        slopes = None
        if row.grad and dtype == "float64":
            slopes = results._attempt(functools.partial(results._gradients, row, n, sample))
        for layout in LAYOUTS[1:]:
            found = [results.plain(x) for x in results.call(row, n, sample, dtype, layout)[0]]
            agree(row, found, wanted, dtype, f"{layout} {n}")
            if slopes is not None:
                found = results.gradients(row, n, sample, dtype, layout)
                agree(
                    row,
                    [None if g is None else results.plain(g) for g in found[0]],
                    slopes,
                    dtype,
                    f"gradient {layout} {n}",
                )


# --- gradients ----------------------------------------------------------------------------------------------------


def moved(row: Row, number: int, dtype: str, directions, step: float):
    """The outputs with each differentiable operand moved along its direction."""
    args, kwargs, made = Maker(facula, dtype, "dense", True).call(row.name, number, row.samples[number])
    wanted = [x for x in made if x.requires_grad]
    for x, direction in zip(wanted, directions):
        x.detach().numpy()[...] += step * direction
    facula.manual_seed(7)
    return wanted, [
        o for o in flat(resolve(facula, row.name)(*args, **kwargs)) if isinstance(o, facula.Tensor) and o.requires_grad
    ]


def total(outs) -> float:
    """A number that depends on all outputs, with the weights of `results.seed_like`."""
    found = 0.0
    for i, o in enumerate(outs):
        value = o.detach().numpy()
        found += float(np.sum(np.real(np.conj(results.seed_like(o, 3 + i).numpy()) * value)))
    return found


def directions_like(wanted, rng) -> list[np.ndarray]:
    return [
        np.asarray(
            rng.standard_normal(tuple(x.shape))
            + (1j * rng.standard_normal(tuple(x.shape)) if x.dtype.is_complex else 0)
        )
        for x in wanted
    ]


def slope_along(grads, directions) -> float:
    """The derivative along `directions` that gradients promise."""
    return sum(
        float(np.sum(np.real(np.conj(g.detach().numpy()) * d))) for g, d in zip(grads, directions) if g is not None
    )


def smooth(sample) -> bool:
    """Whether all is computed in the dtype of the run, away from kinks."""
    parts = flat([sample.args, list(sample.kwargs.values())])
    return not any(getattr(x, "kink", False) or (type(x).__name__ == "D" and x.name == "float32") for x in parts)


@rows(lambda row: row.grad and row.slopes and {"float64", "complex128"} & set(row.dtypes))
def test_gradients_are_slopes(row):
    rng = np.random.default_rng(5)
    for dtype in ("float64", "complex128"):
        if dtype not in row.dtypes:
            continue
        for n, sample in enumerate(row.samples):
            if not smooth(sample):
                continue
            found = results._attempt(functools.partial(results.gradients, row, n, sample, dtype))
            if isinstance(found, str) and dtype != row.dtypes[0]:
                continue  # what the first dtype takes, this one need not
            assert not isinstance(found, str), found
            if found is None or any(np.prod(x.shape) == 0 for x in found[1]):
                continue
            for _ in range(2):
                directions = directions_like(found[1], rng)
                ends = [total(moved(row, n, dtype, directions, way)[1]) for way in (1e-6, -1e-6)]
                numeric, analytic = (ends[0] - ends[1]) / 2e-6, slope_along(found[0], directions)
                if np.isnan(numeric):
                    continue  # at an infinity
                scale = max(1.0, abs(numeric), abs(ends[0]) * 1e-3)
                assert abs(numeric - analytic) <= 2e-5 * scale, f"{dtype} {n}: {analytic} for {numeric} in {sample}"


@rows(lambda row: row.grad and row.second and row.slopes and "float64" in row.dtypes)
def test_second_derivatives_are_slopes_of_gradients(row):
    rng = np.random.default_rng(6)

    def slopes(n, directions, step):
        wanted, outs = moved(row, n, "float64", directions, step)
        grads = facula.autograd.grad(
            outs,
            wanted,
            [results.seed_like(o, 3 + i) for i, o in enumerate(outs)],
            create_graph=True,
            allow_unused=True,
        )
        return wanted, [g for g in grads if g is not None]

    for n, sample in enumerate(row.samples):
        found = results.gradients(row, n, sample) if smooth(sample) else None
        if found is None or any(np.prod(x.shape) == 0 for x in found[1]):
            continue
        directions = directions_like(found[1], rng)
        wanted, grads = slopes(n, directions, 0.0)
        live = [g for g in grads if g.requires_grad]
        seeds = [results.seed_like(g, 3 + i) for i, g in enumerate(live)]
        second = facula.autograd.grad(live, wanted, seeds, allow_unused=True) if live else [None] * len(wanted)
        keep = [i for i, g in enumerate(grads) if g.requires_grad]
        ends = []
        for way in (1e-6, -1e-6):
            moved_grads = slopes(n, directions, way)[1]
            ends.append(total([moved_grads[i] for i in keep]))
        numeric, analytic = (ends[0] - ends[1]) / 2e-6, slope_along(second, directions)
        if np.isnan(numeric):
            continue
        assert abs(numeric - analytic) <= 5e-5 * max(1.0, abs(numeric)), f"{n}: {analytic} for {numeric} in {sample}"


def forget_plans() -> None:
    """Have all operators plan anew: what they remember of gradients is in their plans."""
    for memory in promotion._MADE_FOR:
        memory.clear()


@pytest.fixture(scope="session")
def derived() -> dict:
    """Gradients of the whole table with the formulas of traced operators taken away: derivatives of their bodies."""
    traced = [o for o in OPERATORS.values() if isinstance(o, Traced)]
    kept = [(o, o.gradients, o.joint, o.pull) for o in traced]
    found = {}
    try:
        for o in traced:
            o.gradients, o.joint, o.pull = {}, [], None
        forget_plans()
        for name, row in ROWS.items():
            if row.grad and "float64" in row.dtypes:
                found[name] = [
                    results._attempt(functools.partial(results._gradients, row, n, x))
                    for n, x in enumerate(row.samples)
                ]
    finally:
        for o, gradients, joint, pull in kept:
            o.gradients, o.joint, o.pull = gradients, joint, pull
        forget_plans()
    return found


@rows(lambda row: row.grad and "float64" in row.dtypes)
def test_given_gradients_agree_with_derived_ones(row, machine, derived):
    for n in range(len(row.samples)):
        if not smooth(row.samples[n]):
            continue
        given, found = machine[row.name].get(("gradients", n)), derived[row.name][n]
        if isinstance(found, str) and "derivative of scan" in found:
            continue  # a scan has no derivative of its own
        if given is None or isinstance(given, str):
            continue
        assert not isinstance(found, str), found
        for a, b in zip(given, found):
            if (a is None or not np.any(a)) and (b is None or not np.any(b)):
                continue
            both = np.isfinite(a) & np.isfinite(b)  # a formula may be exact where the derivative is NaN: at 0, infinity
            np.testing.assert_allclose(
                np.where(both, a, 0), np.where(both, b, 0), rtol=1e-7, atol=1e-9, err_msg=f"{n} {row.samples[n]}"
            )


# --- forms --------------------------------------------------------------------------------------------------------


def first_tensor(sample) -> bool:
    return bool(sample.args) and type(sample.args[0]).__name__ == "T"


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"


@rows(lambda row: row.method and hasattr(facula.Tensor, row.name + "_") and row.name not in ("bernoulli", "random"))
def test_in_place_equals_the_function(row):
    for dtype in dict.fromkeys((row.dtypes[0], "int64" if "int64" in row.dtypes else row.dtypes[0])):
        for n, sample in enumerate(row.samples):
            if not first_tensor(sample):
                continue
            try:
                (wanted, *_), _, args, kwargs = results.call(row, n, sample, dtype)
            except (RuntimeError, IndexError):
                continue  # what the first dtype takes, this one need not
            target = args[0].clone()
            same = wanted.dtype is target.dtype and wanted.shape == target.shape
            version = target._version
            try:
                found = getattr(target, row.name + "_")(*args[1:], **kwargs)
            except RuntimeError:
                assert not same or dtype not in row.dtypes, f"{n}: refused"
                np.testing.assert_array_equal(results.plain(target), results.plain(args[0]))
                continue
            assert found is target
            assert target._version > version
            if wanted.shape == target.shape:
                np.testing.assert_allclose(
                    results.plain(target), results.plain(wanted.to(target.dtype)), rtol=1e-6, atol=1e-6, equal_nan=True
                )


@rows(lambda row: row.out and row.compare)
def test_out_equals_the_function(row):
    for n, sample in enumerate(row.samples):
        wanted, _, args, kwargs = results.call(row, n, sample, row.dtypes[0])
        plain = resolve(facula, row.name)
        outs = tuple(w.new_zeros((*w.shape, 2)).select(-1, 1) for w in wanted)  # strided
        facula.manual_seed(7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = plain(*args, **kwargs, out=outs if len(outs) > 1 else outs[0])
            except TypeError:
                assert kwargs, f"{n}: no out="  # with some keywords there is none
                continue
        # PyTorch's functions with a list of results return None with out=.
        for a, b, c in zip(outs if found is None else flat(found), outs, wanted):
            assert a is b
            np.testing.assert_allclose(results.plain(b), results.plain(c), rtol=1e-6, atol=1e-6, equal_nan=True)


@rows(lambda row: row.method and hasattr(facula.Tensor, row.name))
def test_method_equals_the_function(row):
    for n, sample in enumerate(row.samples):
        if not first_tensor(sample):
            continue
        wanted, _, args, kwargs = results.call(row, n, sample, row.dtypes[0])
        facula.manual_seed(7)
        found = flat(getattr(args[0], row.name)(*args[1:], **kwargs))
        for a, b in zip(found, wanted):
            if isinstance(b, facula.Tensor):
                assert a.dtype is b.dtype and a.shape == b.shape
                np.testing.assert_array_equal(results.plain(a), results.plain(b))
            else:
                assert a == b


@rows(lambda row: row.errors)
def test_errors(row):
    for n, wrong in enumerate(row.errors):
        args, kwargs, made = Maker(facula, row.dtypes[0]).call(row.name, n, wrong)
        before = [results.plain(x).copy() for x in made]
        with pytest.raises(wrong.error) as caught:
            resolve(facula, row.name)(*args, **kwargs)
        assert str(caught.value).startswith(wrong.words), first_line(caught.value)
        for x, old in zip(made, before):
            np.testing.assert_array_equal(results.plain(x), old)


@rows(lambda row: row.errors and hasattr(facula.Tensor, row.name + "_"))
def test_errors_in_place_leave_everything_as_it_was(row):
    for n, wrong in enumerate(row.errors):
        if not first_tensor(wrong):
            continue
        args, kwargs, made = Maker(facula, row.dtypes[0]).call(row.name, n, wrong)
        before = [results.plain(x).copy() for x in made]
        with pytest.raises((RuntimeError, IndexError, TypeError, ValueError)):
            getattr(args[0], row.name + "_")(*args[1:], **kwargs)
        for x, old in zip(made, before):
            np.testing.assert_array_equal(results.plain(x), old)
        assert not made or made[0]._version == 0


@rows(lambda row: row.compare)
def test_operands_stay_as_they_were(row):
    for n, sample in enumerate(row.samples):
        args, kwargs, made = Maker(facula, row.dtypes[0]).call(row.name, n, sample)
        before = [(results.plain(x).copy(), x._version, x.shape, x.stride()) for x in made]
        facula.manual_seed(7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            resolve(facula, row.name)(*args, **kwargs)
        for x, (old, version, shape, stride) in zip(made, before):
            np.testing.assert_array_equal(results.plain(x), old)
            assert (x._version, x.shape, x.stride()) == (version, shape, stride)
