"""`facula show` on the command line: operands for an operator from shapes, and one step of a program; see `showing`."""

import ast
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from facula import alias
from facula.core.dtype import dtype
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.numpynames import REQUIRED

__all__ = ["command", "operands", "operator_of", "program"]

PLACES = ("", "nn.functional", "linalg", "fft", "special", "Tensor")


def operator_of(name: str) -> Callable:
    """The public function that a name means: `softmax`, `nn.functional.gelu`, `linalg.inv`, `Tensor.add_`.

    >>> operator_of("torch.nn.functional.gelu").__name__
    'gelu'
    """
    import importlib

    plain = name.removeprefix("torch.").removeprefix("facula.").removeprefix("F.")
    for place in PLACES:
        found: Any = Tensor if place == "Tensor" else importlib.import_module(f"facula.{place}".rstrip("."))
        for part in plain.split("."):
            found = found if found is None else _attribute(found, part)
        if callable(found) and not inspect.ismodule(found):
            return found
    near = alias.nearest("facula", plain.rpartition(".")[2])
    fail(ValueError, f"facula has no operator {name!r}", got=f"nearest: {', '.join(near)}" if near else None)


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        return None


def kind_of(name: str) -> dtype:
    """The dtype of a name."""
    import facula.core.dtype as kinds

    found = getattr(kinds, {"bool": "bool_", "float": "float32", "double": "float64"}.get(name, name), None)
    if not isinstance(found, dtype):
        fail(ValueError, f"there is no dtype {name!r}", expected="float32, float64, bfloat16, int64, ...")
    return found


def _sizes(text: str) -> tuple[int, ...]:
    parts = [part for part in text.replace(",", "x").split("x") if part]
    if not all(part.isdigit() for part in parts):
        fail(ValueError, f"the shape {text!r} is not understood", expected="sizes with x between them, as 64x1000")
    return tuple(int(part) for part in parts)


def _tensor(shape: tuple[int, ...], kind: dtype) -> Any:
    from facula.operators import rand, randint, randn

    if kind.kind in "fc":
        return randn(shape).to(kind).requires_grad_()
    return rand(shape) > 0.5 if kind.kind == "b" else randint(0, 10, shape).to(kind)


def operands(function: Callable, shapes: Sequence[str], kind: str, given: Sequence[str]) -> tuple[list, dict[str, Any]]:
    """Arguments for an operator: random tensors of the shapes, values of `NAME=VALUE`.

    Operands beyond the given shapes have the last one's; a `dim` that must be given is the last.
    """
    named: dict[str, Any] = {}
    for text in given:
        name, equal, value = text.partition("=")
        if not equal:
            fail(ValueError, f"the argument {text!r} is not understood", expected="NAME=VALUE, as dim=1")
        try:
            named[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            named[name] = value  # a word
    tensors = [_tensor(_sizes(shape), kind_of(kind)) for shape in shapes]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    wanted = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
              and p.default in (p.empty, REQUIRED) and p.name not in named]  # fmt: skip
    positional: list[Any] = []
    last = _sizes(shapes[-1])
    for place, name in enumerate(wanted):
        if tensors:
            positional.append(tensors.pop(0))
        elif name in ("dim", "axis"):
            named[name] = -1
        elif name in ("tensors", "tensor"):
            named[name] = [_tensor(last, kind_of(kind)) for _ in range(2)]
        else:
            named.update({name: _tensor(last, kind_of(kind))} if place else {})
    if wanted and wanted[0] in ("tensors",) and positional:
        positional = [[*positional, *tensors]]
        tensors = []
    return positional + tensors, named


class _Enough(BaseException):
    """Ends a program whose step was seen."""


def program(run: Callable[[], Any], skip: int, whole: bool) -> Any:
    """Run a program and record one of its steps, from the end of an optimizer's step to the end of the next one.

    Parameters
    ----------
    run : callable
        Runs it.
    skip : int
        After how many steps the recorded one begins.
    whole : bool
        Record all of the program instead, to its end.

    Returns
    -------
    Shown or None
        None where the program made too few steps.
    """
    from facula.optim.optimizer import register_optimizer_step_post_hook
    from facula.profiler import watching
    from facula.showing import _compilations, of_recorder

    recorder = watching.Recorder(shapes=True)
    state: dict[str, Any] = {"steps": 0, "seconds": None}

    def begin() -> None:
        watching.start(recorder)
        state["before"], state["start"] = _compilations(), time.perf_counter()

    def end() -> None:
        if state["seconds"] is None and "start" in state:
            state["seconds"] = time.perf_counter() - state["start"]
            watching.stop(recorder)

    def stepped(optimizer: Any, args: tuple, kwargs: dict) -> None:
        state["steps"] += 1
        if state["steps"] == skip:
            begin()
            handles.pop().remove()
            handles.append(register_optimizer_step_post_hook(stepped))  # behind the recorder's own hook
        elif state["steps"] == skip + 1:
            end()
            raise _Enough

    if whole or not skip:
        begin()
    handles = [] if whole else [register_optimizer_step_post_hook(stepped)]
    try:
        run()
    except _Enough:
        pass
    finally:
        end()
        for handle in handles:
            handle.remove()
    if not whole and state["steps"] <= skip:
        return None
    title = "the program" if whole else f"step {skip + 1}"
    return of_recorder(recorder, title, state["seconds"], state["before"])


def command(parsed: Any, run: Callable[[list[str]], Any]) -> int:
    """What `facula show` does; `run` runs a program, given its words."""
    from facula.showing import PARTS, show

    script = parsed.what.endswith(".py")
    if not script:
        parsed = parsed.parser.parse_args([*parsed.words, parsed.what], parsed) if parsed.words else parsed
    part = {"asm": "assembly"}.get(parsed.part or "", parsed.part)
    if part is not None and part not in PARTS:
        parsed.parser.error(f"--part must be one of {', '.join(PARTS)} (or asm)")
    if script:
        alias.install(children=True)
        found = program(lambda: run([parsed.what, *parsed.words]), parsed.after, parsed.whole)
        if found is None:
            print(
                f"facula show: the program ended before step {parsed.after + 1} of an optimizer\n"
                "  mend: --after 0 shows the first step, --whole all of the program",
                file=sys.stderr,
            )
            return 1
    else:
        try:
            function = operator_of(parsed.what)
            args, kwargs = operands(function, parsed.shape or ["64x1000"], parsed.dtype, parsed.arg or [])
        except ValueError as error:
            parsed.parser.error(str(error))
        try:
            found = show(function, *args, **kwargs)
        except Exception as error:  # of the operator: its operands do not suit it
            print(f"facula show: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    if part == "stages":
        text = "\n".join(
            f"# {n}, after {stage}\n{t}\n" for n, each in found.stages.items() for stage, t in each.items()
        )
    else:
        text = str(found) if part is None else getattr(found, part)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
