"""`module_db` on both frameworks: reprs and states, forward, first and second gradients, copies, errors.

python -m tests.conformance.records.module_db                  # all entries; ends with a table of what passes
python -m tests.conformance.records.module_db Conv2d Lazy      # entries whose name begins so; `=Conv2d` means it alone
python -m tests.conformance.records.module_db --checks forward errors --samples 3 LSTM
"""

import argparse
import copy
import io
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

import facula

from .mirror import Twins, array, flat, leaves, twin
from .op_db import Failure, _compare_gradients, _compare_second, _seeds, attempt, outcome, same, say, show, table

__all__ = ["CHECKS", "ENTRIES", "check", "label"]

ENTRIES = [info for info in module_db if info.module_cls.__module__.startswith("torch.nn.modules")]
DTYPES = (torch.float32, torch.float64)


def label(info) -> str:
    """The name of an entry: "Conv2d"."""
    return info.name.removeprefix("nn.")


def samples(info, dtype, training: bool, most: int | None) -> list:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(info.module_inputs_func(info, "cpu", dtype, True, training))[:most]


def describe(sample) -> str:
    given, forward = sample.constructor_input, sample.forward_input
    parts = [f"{str(given.args)[1:-1]} {given.kwargs or ''}".strip().replace("\n", " ")[:80], sample.desc]
    if forward is not None:
        parts.append(
            " ".join(str(tuple(x.shape)) for x in flat([*forward.args, forward.kwargs]) if hasattr(x, "shape"))
        )
    return "; ".join(part for part in parts if part)


class Pair:
    """The module of one sample in both frameworks, made with the same arguments and the same seed."""

    def __init__(self, info, sample, dtype: torch.dtype | None = None, training: bool = True):
        self.twins, given = Twins(), sample.constructor_input
        args, kwargs = self.twins.of(given.args), self.twins.of(given.kwargs)
        torch.manual_seed(7)
        self.theirs = info.module_cls(*given.args, **given.kwargs)
        facula.manual_seed(7)
        self.ours = twin(info.module_cls)(*args, **kwargs)
        if dtype is not None:
            self.theirs.to(dtype).train(training)
            self.ours.to(twin(dtype)).train(training)
        self.given = sample.forward_input

    def run_theirs(self, module=None) -> Any:
        torch.manual_seed(8)
        return (module or self.theirs)(*self.given.args, **self.given.kwargs)

    def run_ours(self, module=None) -> Any:
        args, kwargs = self.twins.of(self.given.args), self.twins.of(self.given.kwargs)
        facula.manual_seed(8)
        return (module or self.ours)(*args, **kwargs)

    def run(self) -> tuple[Any, Any]:
        """The results: ours, theirs. What theirs refuses is no sample."""
        theirs = self.run_theirs()
        return self.run_ours(), theirs


def same_state(ours, theirs, info, what: str = "") -> None:
    """Failure unless two modules have the same repr, and the same parameters and buffers, bit for bit in fresh ones."""
    if repr(ours) != repr(theirs):
        raise Failure(f"{what}repr {ours!r} for {theirs!r}")
    for name in ("named_parameters", "named_buffers"):
        names = [[key for key, _ in getattr(module, name)()] for module in (ours, theirs)]
        if names[0] != names[1]:
            raise Failure(f"{what}{name} {names[0]} for {names[1]}")
    a, b = ours.state_dict(), theirs.state_dict()
    if list(a) != list(b):
        raise Failure(f"{what}state_dict has {list(a)} for {list(b)}")
    if dict(a._metadata) != dict(b._metadata):
        raise Failure(f"{what}metadata {dict(a._metadata)} for {dict(b._metadata)}")
    for key, value in b.items():
        if torch.nn.parameter.is_lazy(value):
            if not facula.nn.parameter.is_lazy(a[key]):
                raise Failure(f"{what}{key} is no uninitialized parameter")
        else:
            same(a[key], value, info, f"{what}{key}: ")


def state(info, most) -> Iterator[tuple]:
    for sample in samples(info, torch.float32, True, most):
        yield describe(sample), _state, info, sample


def _state(info, sample) -> None:
    pair = Pair(info, sample)
    same_state(pair.ours, pair.theirs, info)
    for key, value in pair.theirs.state_dict().items():
        if not torch.nn.parameter.is_lazy(value) and (array(value) != array(pair.ours.state_dict()[key])).any():
            raise Failure(f"{key}: other initial values")


def forward(info, most, run: Callable | None = None) -> Iterator[tuple]:
    for dtype in DTYPES:
        for training in (True, False):
            for sample in samples(info, dtype, training, most):
                if sample.forward_input is not None:
                    what = f"{str(dtype)[6:]} {'train' if training else 'eval'}: {describe(sample)}"
                    yield what, run or _forward, info, sample, dtype, training


def _forward(info, sample, dtype, training) -> None:
    pair = Pair(info, sample, dtype, training)
    ours, theirs = pair.run()
    if type(ours).__name__ != type(theirs).__name__:
        raise Failure(f"a {type(ours).__name__} for a {type(theirs).__name__}")
    same(ours, theirs, info)
    if [x.requires_grad for x in tensors(ours)] != [x.requires_grad for x in tensors(theirs)]:
        raise Failure("other results need gradients")
    same_state(pair.ours, pair.theirs, info, "after: ")
    if not training:  # where nothing is recorded, other ways may be taken
        with torch.no_grad(), facula.no_grad():
            ours, theirs = pair.run()
        same(ours, theirs, info, "no_grad: ")


def tensors(value: Any) -> list:
    return [x for x in flat(value) if hasattr(x, "requires_grad")]


def gradient(info, most) -> Iterator[tuple]:
    return forward(info, most, _gradient)


def _differentiated(info, sample, dtype, training) -> tuple | None:
    """Results with gradients, and the inputs and parameters that want them: each theirs, ours."""
    pair = Pair(info, sample, dtype, training)
    ours, theirs = pair.run()
    pairs = [(x, y) for x, y in zip(tensors(ours), tensors(theirs), strict=True) if y.requires_grad]
    wanted = [x for x in leaves([*pair.given.args, pair.given.kwargs]) if x.is_leaf]
    inputs = (
        [*(pair.twins.of(x) for x in wanted), *(p for p in pair.ours.parameters() if p.requires_grad)],
        [*wanted, *(p for p in pair.theirs.parameters() if p.requires_grad)],
    )
    if not pairs or not inputs[0]:
        return None
    return ([y for _, y in pairs], [x for x, _ in pairs]), (inputs[1], inputs[0])


def _gradient(info, sample, dtype, training) -> None:
    found = _differentiated(info, sample, dtype, training)
    if found is not None:
        outputs, wanted = found
        seeds = _seeds(outputs[0])
        theirs = torch.autograd.grad(outputs[0], wanted[0], seeds[0], allow_unused=True)
        ours = facula.autograd.grad(outputs[1], wanted[1], seeds[1], allow_unused=True)
        _compare_gradients(ours, theirs, info)


def second(info, most) -> Iterator[tuple]:
    if info.supports_gradgrad:
        for sample in samples(info, torch.float64, True, most):
            chunked = sample.constructor_input.kwargs.get("options") is not None  # PyTorch's have no second gradient
            if sample.forward_input is not None and not chunked:
                yield describe(sample), _second, info, sample


def _second(info, sample) -> None:
    found = _differentiated(info, sample, torch.float64, True)
    if found is not None:
        _compare_second(*found, info)


def copies(info, most) -> Iterator[tuple]:
    """Deep copies, files, and states loaded from the other framework give the same results."""
    for sample in samples(info, torch.float64, False, most):
        if sample.forward_input is not None:
            yield describe(sample), _copies, info, sample


def _copies(info, sample) -> None:
    pair = Pair(info, sample, torch.float64, False)
    if not info.is_lazy:
        with torch.no_grad():
            for parameter in pair.theirs.parameters():
                parameter.add_(torch.rand_like(parameter) / 8)
        keys = pair.ours.load_state_dict(twin(dict(pair.theirs.state_dict())))
        if keys.missing_keys or keys.unexpected_keys:
            raise Failure(str(keys))
    ours, theirs = pair.run()
    same(ours, theirs, info, "loaded: ")
    same(pair.run_ours(copy.deepcopy(pair.ours)), theirs, info, "deep copy: ")
    read = through_file(facula.save, facula.load, pair.ours)
    same_state(read, pair.theirs, info, "file: ")
    same(pair.run_ours(read), theirs, info, "file: ")
    for old in (False, True):
        what = "old file" if old else "file"
        read = through_file(torch.save, facula.load, pair.theirs, old)
        same_state(read, pair.theirs, info, f"PyTorch's {what}: ")
        same(pair.run_ours(read), theirs, info, f"PyTorch's {what}: ")
        read = through_file(facula.save, torch.load, pair.ours, old)
        same_state(pair.ours, read, info, f"{what} to PyTorch: ")
        same(pair.run_ours(), pair.run_theirs(read), info, f"{what} to PyTorch: ")


def through_file(save: Callable, load: Callable, module: Any, old: bool = False) -> Any:
    """A whole module, written by one framework and read by a framework."""
    file = io.BytesIO()
    save(module, file, _use_new_zipfile_serialization=not old)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(file, weights_only=False)


def errors(info, most) -> Iterator[tuple]:
    if info.module_error_inputs_func:
        for training in (True, False):
            for wrong in list(info.module_error_inputs_func(info, "cpu", torch.float64, False, training))[:most]:
                yield f"{wrong.error_regex[:60]} {describe(wrong.module_error_input)}", _errors, info, wrong, training


def _errors(info, wrong, training) -> None:
    """The type of PyTorch's error, and what its record looks for in the message, where PyTorch's own has it."""
    sample = wrong.module_error_input
    if wrong.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
        given = sample.constructor_input
        _, theirs = attempt(info.module_cls, *given.args, **given.kwargs)
        _, ours = attempt(twin(info.module_cls), *twin(given.args), **twin(given.kwargs))
    else:
        pair = Pair(info, sample, torch.float64, training)
        (_, theirs), (_, ours) = attempt(pair.run_theirs), attempt(pair.run_ours)
    if theirs is None:
        return
    if ours is None:
        raise Failure(f"no error for {say(theirs)}")
    missed = re.search(wrong.error_regex, str(theirs)) and not re.search(wrong.error_regex, str(ours))
    if not isinstance(ours, type(theirs)) or missed:
        raise Failure(f"{say(ours)} for {say(theirs)}")


CHECKS: dict[str, Callable] = {
    "state": state,
    "forward": forward,
    "gradient": gradient,
    "second": second,
    "copies": copies,
    "errors": errors,
}


def check(info, name: str, most: int | None = None) -> dict[str, Any]:
    """Run one check of an entry: {"tried": n, "failed": [(sample, why), ...]}."""
    torch.set_num_threads(1)
    return outcome(CHECKS[name](info, most))


def main() -> int:
    parser = argparse.ArgumentParser("module_db", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="entries whose name begins so (default: all); `=LSTM` means it alone")
    parser.add_argument("--checks", nargs="+", default=list(CHECKS), choices=list(CHECKS))
    parser.add_argument("--samples", type=int, help="at most so many samples for each dtype and mode")
    parser.add_argument("--show", type=int, default=3, help="failures shown for each entry and check")
    parser.add_argument("--json", type=Path, help="write all results here")
    options = parser.parse_args()

    chosen = [
        info
        for info in ENTRIES
        if not options.names
        or any(label(info) == n[1:] if n[0] == "=" else label(info).startswith(n) for n in options.names)
    ]
    if not chosen:
        print("no entry has such a name", file=sys.stderr)
        return 2
    results: dict[str, dict[str, Any]] = {}
    start = time.monotonic()
    for info in chosen:
        results[label(info)] = found = {name: check(info, name, options.samples) for name in options.checks}
        show(label(info), found, options.show)
    print("\n".join([f"{len(chosen)} entries, {time.monotonic() - start:.0f} s", *table(results, options.checks)]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return int(any(one["failed"] for found in results.values() for one in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
