"""`op_db` on both frameworks: values, gradients, in-place and `out=` forms, errors, forward mode, batching.

python -m tests.conformance.records.op_db                     # all entries; ends with a table of what passes
python -m tests.conformance.records.op_db linalg. fft.fft     # entries whose name begins so
python -m tests.conformance.records.op_db --checks forward errors --samples 3 add
"""

import argparse
import inspect
import json
import multiprocessing
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import facula

from .gauge import FREE, LOOSE, MORE, NAN, WRONG_TANGENTS
from .mirror import Twins, array, flat, function_twin, leaves, of_path, twin

__all__ = ["CHECKS", "ENTRIES", "OUTSIDE", "Failure", "check", "label"]

EXCLUDED = re.compile(r"^_(?!_)|\._|^(torch\.)?ops\.|jiterator|quantized")
# Entries that are no part of the promise, with the reason.
OUTSIDE = {
    **dict.fromkeys(
        ("max_pool2d_with_indices_backward", "native_dropout_backward",
         "nn.functional.scaled_dot_product_flash_attention", "slice"),
        "names of `torch.ops.aten`",
    ),
    **dict.fromkeys(
        ("sparse.sampled_addmm", "sparse.mm.reduce"), "of the CSR layout: the promise is COO"
    ),
}  # fmt: skip


def label(op) -> str:
    """The name of an entry, with its variant: "var.unbiased"."""
    variant = getattr(op, "variant_test_name", "")  # modules have none
    return f"{op.name}.{variant}" if variant else op.name


ENTRIES = [
    op
    for op in op_db
    if not EXCLUDED.search(op.name) and not EXCLUDED.search(op.aten_name or "") and label(op) not in OUTSIDE
]
NO_VALUES = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}  # undefined
TIES = {"argsort", "kthvalue", "mode", "sort", "topk"}  # which of equal elements an index names is not promised
# as_strided_scatter: PyTorch's gradient of the input is that inside the part, where `src` is: the wrong way round.
WRONG_SLOPES = {"as_strided_scatter"}
ROUGH_TANGENTS = {"logcumsumexp"}  # PyTorch's: single precision (an epsilon in a divisor), NaN for complex
TOLERANCE = {  # dtype -> (relative, absolute as a share of the largest element)
    "float16": (4e-3, 2e-3),
    "bfloat16": (2e-2, 1e-2),
    "float32": (2e-5, 1e-5),
    "float64": (1e-7, 1e-8),
    "complex32": (4e-3, 2e-3),
    "complex64": (4e-5, 2e-5),
    "complex128": (1e-7, 1e-8),
}
FRAMEWORKS = (torch, facula)


class Failure(AssertionError):
    """What differs."""


def dtypes(names) -> list[torch.dtype]:
    return sorted(names, key=str)


def attempt(call: Callable, *args, **kwargs) -> tuple[Any, BaseException | None]:
    """(result, None), or (None, the error)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*args, **kwargs), None
        except Exception as error:
            return None, error


def say(error: BaseException) -> str:
    lines = str(error).splitlines()
    where = traceback.extract_tb(error.__traceback__)
    last = next((f"{Path(f.filename).name}:{f.lineno}" for f in reversed(where)), "")
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''} [{last}]"


def same(ours: Any, theirs: Any, op, what: str = "", operands: Any = ()) -> None:
    """Failure unless two results agree in kind, dtype, shape and values, as well as the coarsest operand allows."""
    a, b = flat(ours), flat(theirs)
    free = None if what.startswith(("gradient", "tangent")) else FREE.get(op.name)
    if len(a) != len(b):
        raise Failure(f"{what}{len(a)} results for {len(b)}")
    for number, (x, y) in enumerate(zip(a, b)):
        where = f"{what}result {number}: " if len(b) > 1 else what
        if not isinstance(y, torch.Tensor):
            if isinstance(y, float) and isinstance(x, float):
                if not np.isclose(x, y, rtol=1e-5, equal_nan=True):
                    raise Failure(f"{where}{x!r} for {y!r}")
            elif isinstance(y, (int, bool, str, torch.Size, complex, torch.dtype)) and str(x) != str(y):
                raise Failure(f"{where}{x!r} for {y!r}")
            continue
        if not isinstance(x, (facula.Tensor, torch.Tensor)):
            raise Failure(f"{where}{type(x).__name__} for a tensor")
        if str(x.dtype) != str(y.dtype):
            raise Failure(f"{where}dtype {x.dtype} for {y.dtype}")
        if tuple(x.shape) != tuple(y.shape):
            raise Failure(f"{where}shape {tuple(x.shape)} for {tuple(y.shape)}")
        if op.name not in NO_VALUES and free is None:
            dtype = coarsest(y, operands)
            known = NAN.get(f"{op.name} gradient" if what.startswith("gradient") else op.name, ())
            close(array(x), array(y), dtype, where, LOOSE.get(op.name, 1.0), dtype in known)
    if free is not None:
        for number, (x, y) in enumerate(zip(free(*map(array, a)), free(*map(array, b)))):
            close(x, y, y.dtype.name, f"{what}invariant {number}: ")


def coarsest(result: torch.Tensor, operands: Any) -> str:
    """The dtype whose tolerance counts: of the result, or of an operand with fewer digits."""
    name = str(result.dtype).removeprefix("torch.")
    if isinstance(operands, Call):
        operands = [operands.args, operands.kwargs]
    names = [str(x.dtype).removeprefix("torch.") for x in flat(operands) if isinstance(x, torch.Tensor)]
    return max([name, *names], key=lambda n: TOLERANCE[n][0] if n in TOLERANCE else 0) if name in TOLERANCE else name


def close(a: np.ndarray, b: np.ndarray, dtype: str, where: str, loose: float = 1.0, better: bool = False) -> None:
    """Failure unless two arrays agree as well as their dtype allows."""
    if dtype not in TOLERANCE:
        if not np.array_equal(a, b):
            raise Failure(f"{where}{np.sum(a != b)} of {a.size} elements differ")
        return
    if a.dtype == np.float16:
        a, b = a.astype(np.float32), b.astype(np.float32)
    relative, share = (loose * x for x in TOLERANCE[dtype])
    finite = np.abs(b[np.isfinite(b)])
    absolute = share * max(float(finite.max()) if finite.size else 0.0, 1.0)
    wrong = ~np.isclose(a, b, rtol=relative, atol=absolute, equal_nan=True)
    if better:  # a number in place of PyTorch's NaN
        wrong &= ~np.isnan(b)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise Failure(f"{where}{wrong.sum()} of {a.size} elements differ, first at {at}: {a[at]} for {b[at]}")


class Call:
    """One sample for both frameworks: the same function and arguments, the same seed."""

    def __init__(self, op, sample, theirs: Callable | None = None, path: str | None = None):
        self.sample, self.theirs = sample, theirs or op.op
        self.path = op.name if theirs is None else path
        self.twins = Twins()
        self.args = (sample.input, *sample.args)
        self.kwargs = sample.kwargs
        self.our_args, self.our_kwargs = self.twins.of(self.args), self.twins.of(self.kwargs)
        self.ours = function_twin(self.theirs, self.path)

    def run_theirs(self, **more) -> Any:
        torch.manual_seed(7)
        return self.theirs(*self.args, **self.kwargs, **more)

    def run_ours(self, **more) -> Any:
        facula.manual_seed(7)
        return self.ours(*self.our_args, **self.our_kwargs, **more)

    def leaves(self) -> tuple[list, list]:
        """The tensors that need gradients: theirs, ours."""
        theirs = list(dict.fromkeys([*leaves(list(self.args)), *leaves(self.kwargs)]))
        return theirs, [self.twins.of(x) for x in theirs]


def samples(op, dtype: torch.dtype, requires_grad: bool, most: int | None) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        for number, sample in enumerate(op.sample_inputs("cpu", dtype, requires_grad=requires_grad)):
            if most is not None and number >= most:
                return
            yield sample


def describe(sample) -> str:
    def one(x) -> str:
        if isinstance(x, torch.Tensor):
            return f"{str(x.dtype)[6:]}{list(x.shape)}"
        if isinstance(x, (list, tuple)):
            return f"({', '.join(map(one, x))})"
        return repr(x)[:60]

    rest = [one(x) for x in sample.args] + [f"{k}={one(v)}" for k, v in sample.kwargs.items()]
    return f"{one(sample.input)} {' '.join(rest)}"[:200]


# --- the checks: each yields (what was checked, how to fail) -----------------------------------------------------


def forward(op, most):
    for dtype in dtypes(op.supported_dtypes("cpu")):
        for sample in samples(op, dtype, False, most):
            yield f"{str(dtype)[6:]}: {describe(sample)}", _forward, op, sample


def _forward(op, sample):
    call = Call(op, sample)
    theirs, error = attempt(call.run_theirs)
    if error is not None:
        return
    ours, error = attempt(call.run_ours)
    if error is not None:
        raise error
    if op.name in TIES:
        ours, theirs = pointed(call, ours), pointed(call, theirs)
    same(ours, theirs, op, operands=call)


def pointed(call: Call, result: Any) -> list[torch.Tensor]:
    """Results with indices along a dim replaced by what stands there."""
    *values, index = flat(result)
    if not isinstance(index, torch.Tensor):
        values, index = [of_ours(x) for x in values], of_ours(index)
    settings = inspect.signature(call.ours).bind(*call.our_args, **call.our_kwargs).arguments
    dim, source = settings.get("dim", -1), call.args[0]
    if index.ndim < source.ndim:
        index = index.unsqueeze(dim)
    if index.dtype is not torch.int64:
        raise Failure(f"indices of dtype {index.dtype}")
    return [*values, source.gather(dim, index)]


def of_ours(x: facula.Tensor) -> torch.Tensor:
    """A tensor of facula as one of PyTorch's."""
    if str(x.dtype) == "torch.bfloat16":
        return torch.from_numpy(x.detach().view(facula.int16).numpy().copy()).view(torch.bfloat16)
    return torch.from_numpy(x.detach().numpy().copy())


def _differentiable(op) -> list[torch.dtype]:
    return [d for d in (torch.float64, torch.complex128) if d in op.supported_backward_dtypes("cpu")]


def gradient(op, most, check=None):
    if op.supports_autograd and op.name not in WRONG_SLOPES:
        for dtype in _differentiable(op):
            for sample in samples(op, dtype, True, most):
                yield f"{str(dtype)[6:]}: {describe(sample)}", check or _gradient, op, sample


def second(op, most):
    if op.supports_gradgrad:
        yield from gradient(op, most, _second)


def _outputs(call: Call) -> tuple[list, list] | None:
    """The results that have gradients, as the entry wants them looked at: theirs, ours; None where there are none."""
    theirs, error = attempt(lambda: flat(call.sample.output_process_fn_grad(call.run_theirs())))
    if error is not None:
        return None
    process = twin(call.sample.output_process_fn_grad)
    ours = flat(process(call.run_ours()))
    pairs = [(x, y) for x, y in zip(ours, theirs, strict=True) if isinstance(y, torch.Tensor) and y.requires_grad]
    if not pairs:
        return None
    for x, _ in pairs:
        if not x.requires_grad:
            raise Failure("a result needs no gradient")
    return [y for _, y in pairs], [x for x, _ in pairs]


def _seeds(outputs, number=3) -> tuple[list, list]:
    """Numbers to start backward from, for both."""
    rng = np.random.default_rng(number)
    theirs = []
    for y in outputs:
        seed = rng.uniform(0.5, 1.5, tuple(y.shape))
        if y.dtype.is_complex:
            seed = seed + 1j * rng.uniform(0.5, 1.5, tuple(y.shape))
        theirs.append(torch.from_numpy(np.asarray(seed)).to(y.dtype))
    return theirs, [twin(x) for x in theirs]


def _compare_gradients(ours, theirs, op, call: Any = ()) -> None:
    for number, (x, y) in enumerate(zip(ours, theirs, strict=True)):
        if y is None or x is None:
            other = y if x is None else x
            forgotten = y is None and label(op) in MORE
            if other is not None and not forgotten and np.abs(array(other)).max(initial=0) > 1e-12:
                kinds = ["None" if g is None else "a tensor" for g in (x, y)]
                raise Failure(f"gradient {number}: {kinds[0]} for {kinds[1]}")
            continue
        same(x, y, op, f"gradient {number}: ", call)


def _gradient(op, sample):
    call = Call(op, sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = _outputs(call)
        wanted, our_wanted = call.leaves()
        if outputs is None or not wanted:
            return
        seeds, our_seeds = _seeds(outputs[0])
        theirs, error = attempt(torch.autograd.grad, outputs[0], wanted, seeds, allow_unused=True)
        if error is not None:
            return
        ours = facula.autograd.grad(outputs[1], our_wanted, our_seeds, allow_unused=True)
    _compare_gradients(ours, theirs, op, call)


def _second(op, sample):
    call = Call(op, sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = _outputs(call)
        wanted, our_wanted = call.leaves()
        if outputs is not None and wanted:
            _compare_second(outputs, (wanted, our_wanted), op, call)


def _compare_second(outputs: tuple[list, list], wanted: tuple[list, list], op, call: Any = ()) -> None:
    """Failure unless the gradients of first gradients agree; outputs and what is wanted: theirs, ours."""
    results = []
    for framework, outs, ins, starts in zip((torch, facula), outputs, wanted, _seeds(outputs[0])):
        starts = [s.detach().requires_grad_() for s in starts]

        def twice(framework=framework, outs=outs, ins=ins, starts=starts):
            first = framework.autograd.grad(outs, ins, starts, allow_unused=True, create_graph=True)
            if op.name in MORE:  # the gradient that PyTorch forgets has none of its own
                first = first[:1]
            first = [g for g in first if g is not None and g.requires_grad]
            if not first:
                return None
            again = _seeds([twin_of_torch(g) for g in first], 5)[framework is facula]
            return framework.autograd.grad(first, [*ins, *starts], again, allow_unused=True)

        if framework is torch:
            found, error = attempt(twice)
            if error is not None:
                return
        else:
            found = twice()
        results.append(found)
    if results[0] is None:
        return
    if results[1] is None:
        if any(g is not None and array(g).any() for g in results[0]):
            raise Failure("first gradients need no gradient")
        return
    _compare_gradients(results[1], results[0], op, call)


def twin_of_torch(x) -> torch.Tensor:
    """An empty tensor of PyTorch with the shape and dtype of either framework's."""
    return torch.empty(tuple(x.shape), dtype=of_path(torch, str(x.dtype).removeprefix("torch.")))


def inplace(op, most):
    variant = op.get_inplace()
    if variant is None:
        return
    for dtype in dtypes({torch.float64, torch.int64, torch.bool, torch.complex128} & op.supported_dtypes("cpu")):
        for sample in samples(op, dtype, False, most):
            if isinstance(sample.input, torch.Tensor) and not sample.broadcasts_input:
                yield f"{str(dtype)[6:]}: {describe(sample)}", _inplace, op, sample, variant


def _inplace(op, sample, variant):
    call = Call(op, sample, variant, f"Tensor.{getattr(variant, '__name__', op.name + '_')}")
    call.args = (sample.input.clone(), *sample.args)
    call.our_args = (call.twins.of(sample.input).clone(), *call.our_args[1:])
    theirs, error = attempt(call.run_theirs)
    if error is not None:
        return
    ours = call.run_ours()
    if ours is not call.our_args[0]:
        raise Failure("the result is not the tensor itself")
    same(ours, theirs, op)


def out(op, most):
    if not op.supports_out:
        return
    for dtype in dtypes({torch.float64, torch.int64, torch.complex128} & op.supported_dtypes("cpu")):
        for sample in samples(op, dtype, False, most):
            yield f"{str(dtype)[6:]}: {describe(sample)}", _out, op, sample


def _out(op, sample):
    call = Call(op, sample)
    plain, error = attempt(call.run_theirs)
    if error is not None or not all(isinstance(x, torch.Tensor) for x in flat(plain)):
        return
    for empty in (True, False):  # an empty one to be resized; one of the right size
        targets = [torch.empty((0,) if empty else x.shape, dtype=x.dtype) for x in flat(plain)]
        theirs, error = attempt(call.run_theirs, out=targets[0] if isinstance(plain, torch.Tensor) else targets)
        if error is not None:
            continue
        our_targets = [twin(torch.empty((0,) if empty else x.shape, dtype=x.dtype)) for x in flat(plain)]
        ours = call.run_ours(out=our_targets[0] if isinstance(plain, torch.Tensor) else our_targets)
        if any(
            x.shape != y.shape or not np.allclose(array(x), array(y), equal_nan=True)
            for x, y in zip(targets, flat(plain))
        ):
            continue  # PyTorch forgets its own out=, as in ihfftn of one dim
        if op.name in TIES:
            same(pointed(call, our_targets), pointed(call, targets), op, "out: ")
        else:
            same(our_targets, targets, op, "out: ")
        if theirs is not None and not all(a is b for a, b in zip(flat(ours), our_targets)):
            raise Failure("the result is not the tensor that out= names")


def errors(op, most):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = list(op.error_inputs("cpu")) if op.error_inputs_func else []
    for wrong in inputs[:most]:
        parts = [wrong.sample_input.input, wrong.sample_input.args, wrong.sample_input.kwargs]
        if any(isinstance(x, torch.Tensor) and x.device.type != "cpu" for x in flat(parts)):
            continue  # facula has no such device
        yield f"{wrong.error_type}: {wrong.error_regex[:60]} {describe(wrong.sample_input)}", _errors, op, wrong


def _errors(op, wrong):
    call = Call(op, wrong.sample_input)
    _, error = attempt(call.run_theirs)
    if error is None:
        return
    ours, our_error = attempt(call.run_ours)
    if our_error is None:
        raise Failure(f"no error for {say(error)}")
    if not isinstance(our_error, type(error)):
        raise Failure(f"{say(our_error)} for {say(error)}")


def forward_mode(op, most):
    if op.supports_forward_ad and op.name not in WRONG_TANGENTS:
        yield from gradient(op, most, _forward_mode)


def _forward_mode(op, sample):
    """Tangents of `torch.func.jvp` in the tensors that need gradients."""
    call = Call(op, sample)
    wanted, our_wanted = call.leaves()
    if not wanted:
        return
    seeds, our_seeds = _seeds(wanted)

    def along(framework, function, args, kwargs, inputs, tangents, process):
        places = {id(x): i for i, x in enumerate(inputs)}

        def put(value, given):
            if isinstance(value, framework.Tensor):
                return given[places[id(value)]] if id(value) in places else value
            if isinstance(value, (list, tuple)):
                return type(value)(put(x, given) for x in value)
            return {k: put(x, given) for k, x in value.items()} if isinstance(value, dict) else value

        def of_inputs(*given):
            framework.manual_seed(7)
            made = flat(process(function(*put(args, given), **put(kwargs, given))))
            return tuple(
                x for x in made if isinstance(x, framework.Tensor) and (x.dtype.is_floating_point or x.dtype.is_complex)
            )

        return framework.func.jvp(of_inputs, tuple(x.detach() for x in inputs), tuple(tangents))

    process = sample.output_process_fn_grad
    theirs, error = attempt(along, torch, call.theirs, call.args, call.kwargs, wanted, seeds, process)
    if error is not None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = along(facula, call.ours, call.our_args, call.our_kwargs, our_wanted, our_seeds, twin(process))
    if op.name in ROUGH_TANGENTS:
        if any(x.dtype.is_complex for x in theirs[1]):
            return
        ours, theirs = ([None, [x.float() for x in y[1]]] for y in (ours, theirs))
    same(ours[1], theirs[1], op, "tangent: ", call)


def batched(op, most):
    for dtype in [d for d in (torch.float64,) if d in op.supported_dtypes("cpu")]:
        for sample in samples(op, dtype, False, most):
            yield f"{describe(sample)}", _batched, op, sample


def _batched(op, sample):
    """`torch.func.vmap` over a new first dim of each tensor operand, the same three times with other numbers."""
    call = Call(op, sample)

    def over(framework, function, args, kwargs):
        tensors: list = []

        def take(value):
            if isinstance(value, framework.Tensor):
                tensors.append(value)
            elif isinstance(value, (list, tuple)):
                for x in value:
                    take(x)
            elif isinstance(value, dict):
                take(list(value.values()))

        take(list(args))
        take(kwargs)
        if not tensors:
            return None
        places = {id(x): i for i, x in enumerate(tensors)}

        def put(value, given):
            if isinstance(value, framework.Tensor):
                return given[places[id(value)]]
            if isinstance(value, (list, tuple)):
                return type(value)(put(x, given) for x in value)
            return {k: put(x, given) for k, x in value.items()} if isinstance(value, dict) else value

        def of_tensors(*given):
            framework.manual_seed(7)
            made = flat(function(*put(args, given), **put(kwargs, given)))
            return tuple(x for x in made if isinstance(x, framework.Tensor))

        stacked = [framework.stack([x, x.flip(0) if x.ndim else x, x]) for x in tensors]
        return framework.func.vmap(of_tensors, randomness="same")(*stacked)

    theirs, error = attempt(over, torch, call.theirs, call.args, call.kwargs)
    if error is not None or theirs is None:
        return
    ours, error = attempt(over, facula, call.ours, call.our_args, call.our_kwargs)
    if error is not None:
        raise error
    same(ours, theirs, op, "batch: ")


CHECKS: dict[str, Callable] = {
    "forward": forward,
    "gradient": gradient,
    "second": second,
    "inplace": inplace,
    "out": out,
    "errors": errors,
    "forward_mode": forward_mode,
    "batched": batched,
}


def outcome(source: Iterable[tuple]) -> dict[str, Any]:
    """What became of a check's samples, (what, function, *arguments): {"tried": n, "failed": [(what, why), ...]}."""
    tried, failed = 0, []
    for what, function, *args in source:
        tried += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(*args)
        except Failure as failure:
            failed.append((what, str(failure)))
        except Exception as error:
            failed.append((what, say(error)))
    return {"tried": tried, "failed": failed}


def show(title: str, found: dict[str, Any], most: int) -> None:
    """Print the failures of an entry, at most so many of each check."""
    for name, one in found.items():
        if one["failed"]:
            print(f"{title} {name}: {len(one['failed'])} of {one['tried']} fail", flush=True)
            for what, why in one["failed"][:most]:
                print(f"    {what}\n        {why}", flush=True)


def check(op, name: str, most: int | None = None) -> dict[str, Any]:
    """Run one check of an entry: {"tried": n, "failed": [(sample, why), ...]}."""
    torch.set_num_threads(1)
    source, problem = attempt(lambda: list(CHECKS[name](op, most)))
    if problem is not None:
        return {"tried": 1, "failed": [("samples", say(problem))], "theirs": True}
    return outcome(source)


def _job(task: tuple[int, tuple[str, ...], int | None]) -> tuple[int, dict[str, Any]]:
    index, names, most = task
    return index, {name: check(ENTRIES[index], name, most) for name in names}


def table(results: dict[str, dict[str, Any]], names) -> list[str]:
    """A line for each check: of how many entries have it, how many pass."""
    lines = []
    for name in names:
        with_it = [r[name] for r in results.values() if r[name]["tried"]]
        good = sum(not r["failed"] for r in with_it)
        lines.append(f"{name:>13}: {good} of {len(with_it)} entries pass ({100 * good / max(len(with_it), 1):.1f} %)")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser("op_db", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="entries whose name begins so (default: all); `=add` means add alone")
    parser.add_argument("--checks", nargs="+", default=list(CHECKS), choices=list(CHECKS))
    parser.add_argument("--samples", type=int, help="at most so many samples for each dtype")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--show", type=int, default=3, help="failures shown for each entry and check")
    parser.add_argument("--json", type=Path, help="write all results here")
    options = parser.parse_args()

    def wanted(op) -> bool:
        return not options.names or any(
            label(op) == n[1:] or op.name == n[1:] if n[0] == "=" else label(op).startswith(n) for n in options.names
        )

    chosen = [i for i, op in enumerate(ENTRIES) if wanted(op)]
    if not chosen:
        print("no entry has such a name", file=sys.stderr)
        return 2
    results: dict[str, dict[str, Any]] = {}
    start = time.monotonic()
    names = tuple(options.checks)

    def done(index: int, found: dict[str, Any]) -> None:
        title = label(ENTRIES[index])
        results[title] = found
        show(title, found, options.show)

    if options.jobs > 1:
        with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=40) as pool:
            for index, found in pool.imap_unordered(_job, [(i, names, options.samples) for i in chosen]):
                done(index, found)
    else:
        for i in chosen:
            done(*_job((i, names, options.samples)))
    print("\n".join([f"{len(chosen)} entries, {time.monotonic() - start:.0f} s", *table(results, names)]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return int(any(one["failed"] for found in results.values() for one in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
