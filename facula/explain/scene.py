"""What happened where, read from the frames of an error: the program's line and its operands, the modules around it.

Only names, attributes and constant subscripts of the program are evaluated, and those without running its code; the
values of other operands are taken from the frame of the function that was called.
"""

import ast
import inspect
import itertools
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from facula.core.lines import line_number
from facula.core.tensor import Tensor
from facula.nn.module import Module

__all__ = [
    "Operand",
    "Scene",
    "locals_of",
    "modules_around",
    "operands_at",
    "place",
    "scene_of",
    "shown_file",
    "user_frame",
]


class Operand(NamedTuple):
    """A part of the program's expression and its value."""

    text: str
    value: Any


class Scene(NamedTuple):
    """What is known of an error."""

    error: BaseException
    frame: FrameType  # of the program's line
    instruction: int
    expression: str  # that the line was evaluating; "" where there is no source
    operands: list[Operand]  # of that expression
    modules: list[Module]  # whose calls were open, the outermost first
    given: tuple  # what the innermost of these was called with
    program: list[FrameType]  # the frames of the program, the innermost first


# --- frames ---------------------------------------------------------------------------------------------------------

_STDLIB = os.path.join(sysconfig.get_path("stdlib"), "")
_PACKAGES = os.path.join(_STDLIB, "site-packages", "")
_CALLS = frozenset((Module.__call__.__code__, Module._call_with_hooks.__code__))


def _frames(frame: FrameType | None, traceback: TracebackType | None) -> list[tuple[FrameType, int]]:
    """Frames with the instruction that each is at, the innermost first."""
    found: list[tuple[FrameType, int]] = []
    while traceback is not None:
        found.append((traceback.tb_frame, traceback.tb_lasti))
        traceback = traceback.tb_next
    found.reverse()
    if frame is None and found:
        frame = found[-1][0].f_back
    while frame is not None:
        found.append((frame, frame.f_lasti))
        frame = frame.f_back
    return found


def locals_of(frame: FrameType) -> Mapping[str, Any]:
    """The names of a frame and their values.

    Before Python 3.13 a function's frame keeps the dict that it made for this, and so the tensors in it, until it
    returns; the dict is emptied, which leaves the variables themselves alone, unless somebody else has it: `locals()`
    gives it out.
    """
    found = frame.f_locals
    if sys.version_info >= (3, 13) or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return found
    copied = dict(found)
    if sys.getrefcount(found) <= 3:  # the frame's, `found`, getrefcount's argument
        found.clear()
    return copied


def _inside(frame: FrameType) -> bool:
    """Whether a frame is none of the program's: facula's, or of the standard library."""
    name = frame.f_globals.get("__name__") or ""
    if name[:7] == "facula." or name == "facula":
        return True
    file = frame.f_code.co_filename
    return file.startswith("<frozen") or (file.startswith(_STDLIB) and not file.startswith(_PACKAGES))


def scene_of(error: BaseException, frame: FrameType | None, traceback: TracebackType | None) -> Scene:
    """What the frames of an error tell."""
    frames = _frames(frame, traceback)
    user = next((i for i, (f, _) in enumerate(frames) if not _inside(f)), 0)
    modules: list[Module] = []
    given: tuple = ()
    for f, _ in reversed(frames):
        own = _module_of(f)
        if own is not None and (not modules or modules[-1] is not own):
            modules.append(own)
            given = _arguments(f)
    line, instruction = frames[user]
    expression, parts = _parsed(line.f_code, instruction)
    called = _values(frames[user - 1][0]) if user else []
    program = [f for f, _ in frames[user:] if not _inside(f)]
    return Scene(error, line, instruction, expression, _operands(parts, line, called), modules, given, program)


def _module_of(frame: FrameType) -> Module | None:
    """The module whose call, or `forward`, runs in a frame."""
    code = frame.f_code
    if code in _CALLS or (code.co_name == "forward" and code.co_argcount):
        own = locals_of(frame).get(code.co_varnames[0])
        return own if isinstance(own, Module) else None
    return None


def _arguments(frame: FrameType) -> tuple:
    code, values = frame.f_code, locals_of(frame)
    if code in _CALLS:
        return (*values["args"], *values["kwargs"].values())
    return tuple([values.get(n) for n in code.co_varnames[1 : code.co_argcount]])


def _values(frame: FrameType) -> list[Any]:
    """What a function was called with by position, as far as its frame still tells."""
    code, values = frame.f_code, locals_of(frame)
    if code in _CALLS:
        return list(values["args"])
    found = [values.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & 4:  # *args
        found += values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return found


def user_frame() -> FrameType:
    """The innermost frame of the program, of the code that runs now."""
    frames = _frames(sys._getframe(1), None)
    return next((f for f, _ in frames if not _inside(f)), frames[-1][0])


def modules_around() -> list[Module]:
    """The modules whose calls are open, the outermost first."""
    found: list[Module] = []
    for f, _ in reversed(_frames(sys._getframe(1), None)):
        own = _module_of(f)
        if own is not None and (not found or found[-1] is not own):
            found.append(own)
    return found


# --- places ---------------------------------------------------------------------------------------------------------


def shown_file(name: str) -> str:
    """A file's name, relative to the working folder if it is below that."""
    here = os.path.join(os.getcwd(), "")
    return name[len(here) :] if name.startswith(here) else name


def place(code: CodeType, instruction: int) -> str:
    """`file:line` of an instruction."""
    line = line_number(code, instruction)
    return f"{shown_file(code.co_filename)}:{line}"


def _segment(code: CodeType, instruction: int) -> str:
    """The source of an instruction's expression."""
    where = next(itertools.islice(code.co_positions(), instruction // 2, None), None)
    if where is None or None in where:
        return ""
    first, last, start, stop = where
    rows = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]  # type: ignore[arg-type]
    if not rows or not all(rows):
        return ""
    rows[-1] = rows[-1][:stop]
    rows[0] = rows[0][start:]
    return b"".join(rows).decode()


# --- operands -------------------------------------------------------------------------------------------------------


def _is_constant(x: ast.expr) -> bool:
    return isinstance(x, ast.UnaryOp) and isinstance(x.operand, ast.Constant)


_PARSED: dict[tuple[CodeType, int], tuple[str, list[tuple[str, ast.expr, int | None]]]] = {}


def _parsed(code: CodeType, instruction: int) -> tuple[str, list[tuple[str, ast.expr, int | None]]]:
    """The expression of an instruction and its operands: (text, syntax, which argument of the called function)."""
    key = (code, instruction)
    found = _PARSED.get(key)
    if found is None:
        if len(_PARSED) > 1000:
            _PARSED.clear()
        text = _segment(code, instruction)
        found = _PARSED[key] = (text, [*_parts(text), *_assigned(code, instruction, text)])
    return found


def _assigned(code: CodeType, instruction: int, target: str) -> Iterator[tuple[str, ast.expr, int | None]]:
    """What is assigned where an instruction writes an attribute or a subscript."""
    line = line_number(code, instruction)
    row = linecache.getline(code.co_filename, line).strip() if line else ""
    if target and row.startswith(target) and row[len(target) :].lstrip()[:1] == "=":
        value = row[len(target) :].lstrip()[1:].strip()
        try:
            syntax = ast.parse(value, mode="eval").body
        except SyntaxError:
            return
        if not isinstance(syntax, ast.Constant):
            yield value if len(value) <= 40 else value[:37] + "...", syntax, 2 if target.endswith("]") else 1


def _parts(text: str) -> Iterator[tuple[str, ast.expr, int | None]]:
    for form in (f"({text}\n)", text):
        try:
            statement = ast.parse(form).body[0] if text else None
        except (SyntaxError, IndexError):
            continue
        break
    else:
        return
    node: Any = statement.value if isinstance(statement, ast.Expr) else statement

    def part(x: ast.expr, number: int | None = None) -> Iterator[tuple[str, ast.expr, int | None]]:
        if isinstance(x, (ast.List, ast.Tuple)):
            for y in x.elts:
                yield from part(y)
        elif isinstance(x, ast.Starred):
            yield from part(x.value)
        elif not isinstance(x, (ast.Constant, ast.Slice)) and not _is_constant(x):
            words = " ".join(ast.unparse(x).split())
            yield words if len(words) <= 40 else words[:37] + "...", x, number

    match node:
        case ast.Call(func=function, args=args, keywords=keywords):
            if isinstance(function, ast.Attribute):
                yield from part(function.value, -1)
            for number, x in enumerate(args):
                yield from part(x, number)
            for keyword in keywords:
                yield from part(keyword.value)
        case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
            yield from part(left, 0)
            yield from part(right, 1)
        case ast.Compare(left=left, comparators=others):
            yield from part(left, 0)
            for x in others:
                yield from part(x, 1)
        case ast.Subscript(value=value, slice=index):
            yield from part(value, 0)
            yield from part(index, 1)
        case ast.UnaryOp(operand=operand):
            yield from part(operand, 0)
        case ast.Name() | ast.Attribute():
            yield from part(node, 0)


def operands_at(frame: FrameType, instruction: int) -> list[Operand]:
    """The operands of any instruction of a running function, with the values that they have now."""
    return _operands(_parsed(frame.f_code, instruction)[1], frame, [])


_UNKNOWN: Any = object()


def _operands(parts: list, frame: FrameType, called: list[Any]) -> list[Operand]:
    """The operands whose values can be told: not modules, functions and the like."""
    found: dict[str, Any] = {}
    receiver = False
    for text, syntax, number in parts:
        value = _evaluated(syntax, frame)
        if number == -1:
            receiver = (
                value is not _UNKNOWN
                and not isinstance(value, type(os))
                or value is _UNKNOWN
                and bool(called and isinstance(called[0], Tensor))
            )
            number = 0
        elif number is not None and receiver:
            number += 1
        if value is _UNKNOWN and number is not None and number < len(called):
            value = called[number]
        if value is not _UNKNOWN and not callable(value) and not isinstance(value, type(os)):
            found.setdefault(text, value)
    return [Operand(text, value) for text, value in found.items()]


_SEEN = frozenset(("T", "mT", "H", "mH", "data", "grad", "real", "imag"))  # of tensors: attributes that are tensors


def _evaluated(syntax: ast.expr, frame: FrameType) -> Any:
    """The value of a name, of an attribute that lies in an object's `__dict__`, of a constant subscript of these."""
    match syntax:
        case ast.Name(id=name):
            for space in (locals_of(frame), frame.f_globals):
                if name in space:
                    return space[name]
        case ast.Attribute(value=inner, attr=name):
            owner = _evaluated(inner, frame)
            if isinstance(owner, type(os)) or (owner is not _UNKNOWN and hasattr(owner, "__dict__")):
                return vars(owner).get(
                    name, getattr(owner, name) if isinstance(owner, Tensor) and name in _SEEN else _UNKNOWN
                )
        case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
            owner = _evaluated(inner, frame)
            if type(owner) in (dict, list, tuple):
                try:
                    return owner[key]
                except (LookupError, TypeError):
                    return _UNKNOWN
    return _UNKNOWN
