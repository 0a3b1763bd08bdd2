"""The table of mends: what to do about an error, by its first line, in the names of the program.

A row's text may mention `{a}` and `{b}`, the first two tensors of the program's expression, and the groups of the
pattern; where more must be worked out, a function of the situation makes the text, or None where it cannot tell.
"""

import difflib
import inspect
import re
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from facula.core.tensor import Tensor
from facula.nn.module import Module

from .scene import Operand, Scene, locals_of

__all__ = ["TABLE", "Mend", "Situation", "mend_of"]


class Situation(NamedTuple):
    """What a mend may look at."""

    scene: Scene
    match: re.Match
    tensors: list[Operand]  # the operands that are tensors, those in lists too

    @property
    def module(self) -> Any:
        """The innermost module whose call was open."""
        return self.scene.modules[-1] if self.scene.modules else None

    def number(self, name: str) -> int:
        """A group of the pattern, as a number."""
        return int(self.match[name])

    def last(self, kinds: str) -> str | None:
        """The name of the last tensor of the expression whose dtype is of one of these kinds."""
        return next((_name(t.text) for t in reversed(self.tensors) if t.value.spec.dtype.kind in kinds), None)


class Mend(NamedTuple):
    """A row: for errors of this type whose message has this pattern."""

    kind: type[BaseException]
    pattern: str
    text: str | Callable[[Situation], str | None]


class _Names(dict):
    """`{a}` where the program's expression has no tensor that can be named."""

    def __missing__(self, key: str) -> str:
        return {"a": "x", "b": "y"}[key]


def mend_of(scene: Scene) -> str | None:
    """The mend of the first row that fits, or None."""
    message = str(scene.error.args[0]) if scene.error.args else ""
    for kind, pattern, text in TABLE:
        if isinstance(scene.error, kind):
            match = re.search(pattern, message)
            if match is not None:
                situation = Situation(scene, match, _tensors(scene))
                found = text(situation) if callable(text) else _filled(text, situation)
                if found is not None:
                    return found
    return None


def _tensors(scene: Scene) -> list[Operand]:
    found = []
    for text, value in scene.operands:
        if isinstance(value, Tensor):
            found.append(Operand(text, value))
        elif isinstance(value, (list, tuple)):
            found += [Operand(f"{text}[{i}]", x) for i, x in enumerate(value) if isinstance(x, Tensor)]
    return found


def _name(text: str) -> str:
    """An operand as the receiver of a method."""
    return text if text.replace(".", "").replace("_", "").isalnum() or text.endswith((")", "]")) else f"({text})"


def _filled(text: str, s: Situation) -> str:
    names = _Names(zip("ab", [_name(t.text) for t in s.tensors]))
    names.update({k: v for k, v in s.match.groupdict().items() if v is not None})
    return text.format_map(names)


# --- mends that are worked out --------------------------------------------------------------------------------------


def _last(text: str, kinds: str = "buifc") -> Callable[[Situation], str | None]:
    """A mend for the last tensor of the program's expression that has a dtype of one of these kinds."""

    def mend(s: Situation) -> str | None:
        name = s.last(kinds)
        return None if name is None else text.format(name)

    return mend


def _column(s: Situation) -> str | None:
    """Labels of shape (N, 1), or one-hot ones."""
    if s.tensors and s.tensors[-1].value.spec.shape[-1:] == (1,):
        return f"{_name(s.tensors[-1].text)}.squeeze(1)"
    return "labels are class numbers of shape (N,); one-hot rows must be floats"


def _scalars(s: Situation) -> str | None:
    """Many elements where one number is wanted."""
    first = s.scene.operands[0] if s.scene.operands else None
    if first is not None and isinstance(first.value, (list, tuple)):
        return f"torch.stack({first.text})"
    return "reduce it or pick one element first"


def _unpacked(s: Situation) -> str | None:
    """A list of modules where modules are wanted."""
    if s.match["kind"] not in ("list", "tuple"):
        return "only modules go in there; a function of tensors can be wrapped in one"
    if s.scene.operands and "Sequential" in s.scene.expression:
        return f"unpack it: nn.Sequential(*{s.scene.operands[0].text})"
    return None


def _product(s: Situation) -> str | None:
    """Matrices that do not fit."""
    m, k, n, p = (s.number(x) for x in "mknp")
    if isinstance(s.module, Module) and hasattr(s.module, "in_features"):
        given = next((x for x in s.scene.given if isinstance(x, Tensor)), None)
        wanted, out = s.module.in_features, s.module.out_features
        if given is not None and given.spec.ndim > 2 and prod(given.spec.shape[1:]) == wanted:
            return "flatten all dims but the batch before the layer: x.flatten(1), or nn.Flatten()"
        return f"make the layer for {k} features, Linear({k}, {out}), or give it inputs whose last dim is {wanted}"
    if len(s.tensors) < 2:
        return None
    a, b = (_name(t.text) for t in s.tensors[-2:])
    if k == p:
        return f"turn the second one: {a} @ {b}.T gives ({m}, {n})"
    if m == n:
        return f"turn the first one: {a}.T @ {b} gives ({k}, {p})"
    return None


def _channels(s: Situation) -> str | None:
    """A convolution's channels."""
    sizes = [int(n) for n in s.match["sizes"].split(",")]
    wanted, got = s.number("wanted"), s.number("got")
    if len(sizes) > 3 and sizes[-1] == wanted:
        order = (0, len(sizes) - 1, *range(1, len(sizes) - 1))
        name = _name(s.tensors[0].text) if s.tensors else "x"
        return f"channels come before the picture's dims: {name}.permute{order}"
    kind = type(s.module).__name__ if s.module is not None else "the convolution"
    return (
        f"make the layer for {got} channels ({kind}({got}, ...)), or the one before it for {wanted}; channels are dim 1"
    )


def _missing_dims(s: Situation) -> str | None:
    """An input with too few dims for a layer of pictures or sequences."""
    sizes = [int(n) for n in s.match["sizes"].split(",")]
    channels = getattr(s.module, "in_channels", None)
    name = _name(s.tensors[0].text) if s.tensors else "x"
    if channels == 1 and len(sizes) == s.number("low") - 1:
        return f"give it its one channel: {name}.unsqueeze(0)"
    if channels == 1 and len(sizes) == s.number("low"):
        return f"give it its one channel: {name}.unsqueeze(1)"
    return f"an input has the dims (batch, channels, ...): reshape {name}"


def _joined(s: Situation) -> str | None:
    """Tensors that do not fit along the dim of `cat`."""
    shapes = [t.value.spec.shape for t in s.tensors]
    if len(shapes) > 1 and len({len(x) for x in shapes}) == 1:
        differ = [d for d in range(len(shapes[0])) if len({x[d] for x in shapes}) > 1]
        if len(differ) == 1:
            return f"join them along the dim in which they differ: dim={differ[0]}; or pad them to one size"
    return "all sizes but that of the dim along which they are joined must be equal: pad or slice them"


def _broadcast(s: Situation) -> str | None:
    """Shapes that do not broadcast."""
    if len(s.tensors) != 2:
        return None
    (a, x), (b, y) = ((_name(t.text), t.value.spec.shape) for t in s.tensors)
    for name, short, long in ((b, y, x), (a, x, y)):
        for d in range(len(short) + 1):
            if len(short) < len(long) and _fits((*short[:d], 1, *short[d:]), long):
                return f"{name}.unsqueeze({d}) lines it up: sizes are compared from the last dim"
    if len(y) == 2 and _fits((y[1], y[0]), x):
        return f"turn one of them: {b}.T"
    return None


def _fits(short: tuple, long: tuple) -> bool:
    return all(p == q or 1 in (p, q) for p, q in zip(reversed(short), reversed(long)))


def _sizes(s: Situation) -> str | None:
    """A view of another number of elements."""
    sizes, count = [int(n) for n in s.match["sizes"].split(",") if n.strip()], s.number("count")
    for d in range(len(sizes) - 1, -1, -1):
        rest = prod(n for i, n in enumerate(sizes) if i != d and n != -1)
        if -1 not in (sizes[:d] + sizes[d + 1 :]) and rest and count % rest == 0:
            fits = [count // rest if i == d else n for i, n in enumerate(sizes)]
            return f"the {count} elements are ({', '.join(map(str, fits))})"
    known = prod(n for n in sizes if n != -1)
    return f"{count} elements cannot be split by {known}: check the sizes before this line"


def _same_size(s: Situation) -> str | None:
    """A prediction of (N, 1) against a target of (N,), or the other way round."""
    if len(s.tensors) < 2:
        return None
    (a, x), (b, y) = ((_name(t.text), t.value.spec.shape) for t in s.tensors[:2])
    if x == (*y, 1):
        return f"{a}.squeeze(-1) or {b}.unsqueeze(-1): as they are, each prediction meets each target"
    if y == (*x, 1):
        return f"{b}.squeeze(-1) or {a}.unsqueeze(-1): as they are, each prediction meets each target"
    if prod(x) == prod(y):
        return f"{b}.view_as({a})"
    return None


def _labels(s: Situation) -> str | None:
    """Labels that are no classes."""
    found = next((t for t in s.tensors if t.value.spec.dtype.kind in "ui" and t.value.spec.numel), None)
    logits = next((t for t in s.tensors if t.value.spec.dtype.kind == "f"), None)
    if found is None or logits is None:
        return None
    classes = logits.value.spec.shape[min(1, logits.value.spec.ndim - 1)]
    low, high = int(found.value.min()), int(found.value.max())
    if low >= 1 and high == classes:
        return f"labels count from 0: {_name(found.text)} - 1"
    return f"the model gives {classes} classes, {found.text} has labels from {low} to {high}: mend one of them"


def _rows(s: Situation) -> str | None:
    """An index without a row in an embedding."""
    found = next((t for t in s.tensors if t.value.spec.dtype.kind in "ui" and t.value.spec.numel), None)
    index = found.value if found is not None else next((x for x in s.scene.given if isinstance(x, Tensor)), None)
    rows = getattr(s.module, "num_embeddings", None)
    if index is None or rows is None:
        return None
    low, high = int(index.min()), int(index.max())
    if low < 0:
        return f"indices begin at 0; the least here is {low}"
    return f"an index of {high} needs {high + 1} rows, Embedding({high + 1}, ...); the vocabulary has to be as large"


def _norm_input(s: Situation) -> str | None:
    """Batch norm of an input with another number of dims."""
    wanted = re.search(r"\d", s.match["wanted"])
    name = _name(s.tensors[0].text) if s.tensors else "x"
    if wanted is not None and int(wanted[0]) == s.number("got") + 1:
        return f"a single sample is a batch of one: {name}.unsqueeze(0)"
    return "use the layer of the right number of dims: BatchNorm1d, 2d or 3d"


def _hidden(s: Situation) -> str | None:
    """A hidden state of another size."""
    if getattr(s.module, "batch_first", False):
        return f"a state is (layers, batch, hidden), with batch_first too: torch.zeros{s.match['wanted']}"
    return f"a state is (layers * directions, batch, hidden): torch.zeros{s.match['wanted']}"


def _input_size(s: Situation) -> str | None:
    """A recurrent layer built for another number of features."""
    kind, got = type(s.module).__name__, s.number("got")
    return f"make the layer for {got} features ({kind}({got}, ...)); the input is (steps, batch, features)"


def _dtypes(s: Situation) -> str | None:
    """Operands of other dtypes in a product or a layer."""
    kinds = {t.text: t.value.spec.dtype for t in s.tensors}
    for t in s.scene.given:
        if isinstance(t, Tensor) and not any(t is u.value for u in s.tensors):
            kinds["x"] = t.spec.dtype
    own = next((p.spec.dtype for p in s.module.parameters()), None) if s.module is not None else None
    if own is not None:
        wrong = next((n for n, k in kinds.items() if k is not own), "x")
        return f"{_name(wrong)}.to({own}): the parameters are that" + (
            "; NumPy makes float64 unless told otherwise" if "double" in s.match[0].lower() else ""
        )
    wrong = next((n for n, k in kinds.items() if str(k) == "torch.float64"), None)
    if wrong is not None:
        return f"{_name(wrong)}.float(); NumPy makes float64 unless told otherwise"
    return None


def _truth(s: Situation) -> str | None:
    """A condition of many elements."""
    text = s.scene.expression.strip()
    return f"({text}).any() or ({text}).all()" if text and len(text) < 40 and "bool(" not in text else None


def _keys(s: Situation) -> str | None:
    """Keys of a state dict: the nearest ones; sizes: what was built otherwise."""
    missing = re.search(r"Missing key\(s\) in state_dict: (.*)\.", str(s.scene.error))
    unexpected = re.search(r"Unexpected key\(s\) in state_dict: (.*)\.", str(s.scene.error))
    if not (missing or unexpected):
        return "build the model with the sizes of the checkpoint, or leave these keys out and load with strict=False"
    lacks, has = (re.findall(r'"([^"]*)"', m[1]) if m else [] for m in (missing, unexpected))
    pairs = []
    for key in lacks:
        near = difflib.get_close_matches(key, has, 1, 0.6)
        if near:
            pairs.append(f"{near[0]!r} is probably {key!r}")
    for long, short, how in ((has, lacks, "remove the prefix {!r} from"), (lacks, has, "add the prefix {!r} to")):
        if long and short and long[0].endswith("." + short[0]):
            prefix = long[0][: -len(short[0])]
            if {key.removeprefix(prefix) for key in long} == set(short):
                return how.format(prefix) + " the keys of the state_dict"
    if pairs:
        return "; ".join(pairs[:3]) + ": rename the keys, or the attributes of the module"
    return "load with strict=False if that is meant"


def _no_parameters(s: Situation) -> str | None:
    """An optimizer without parameters: a list of modules is not seen; a generator may be used up."""
    values = {**s.scene.frame.f_globals, **locals_of(s.scene.frame)}
    own = next((v for _, v in s.scene.operands if hasattr(v, "gi_frame")), None)
    if own is not None or "parameters()" not in s.scene.expression:
        return "a generator gives its parameters once: make it anew, or keep list(model.parameters())"
    for name in re.findall(r"(\w+)\.parameters\(\)", s.scene.expression):
        module = values.get(name)
        for attribute, value in vars(module).items() if isinstance(module, Module) else ():
            parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            if not attribute.startswith("_") and any(isinstance(x, Module) for x in parts):
                kind = "ModuleDict" if isinstance(value, dict) else "ModuleList"
                plain = type(value).__name__
                return f"{name}.{attribute} is a plain {plain}: make it an nn.{kind}, whose parameters count"
    return "the module has no parameters: assign layers and nn.Parameter to attributes of self"


def _forward(s: Situation) -> str | None:
    """A module with other arguments than its forward has."""
    own = next((m for m in reversed(s.scene.modules) if type(m).__qualname__ == s.match["owner"]), None)
    if own is None:
        return None
    try:
        signature = str(inspect.signature(own.forward))
    except (TypeError, ValueError):
        return None
    return f"call it as its forward is: {type(own).__name__}()({signature[1:].split(') ->')[0].rstrip(')')})"


def _attribute(s: Situation) -> str | None:
    """An attribute that a module has not: the nearest one."""
    own = getattr(s.scene.error, "obj", None)
    if not isinstance(own, Module):
        return None
    near = difflib.get_close_matches(s.match["name"], [n for n in dir(own) if not n.startswith("_")], 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"assign self.{s.match['name']} in {type(own).__name__}.__init__"


def _heads(s: Situation) -> str | None:
    """A number that should divide another one: attention heads, groups of channels."""
    numbers = [v for _, v in s.scene.operands if type(v) is int]
    numbers += [int(n) for n in re.findall(r"(?<![\w.])\d+(?![\w.])", s.scene.expression)]
    if len(numbers) < 2:
        return None
    size = max(numbers)
    return f"what divides {size}: {', '.join(str(n) for n in range(1, size + 1) if size % n == 0)}"


def _array(s: Situation) -> str | None:
    """What is no tensor."""
    name = next((t for t, v in s.scene.operands if isinstance(v, (np.ndarray, list, tuple))), None)
    if name is None:
        return None
    how = "from_numpy" if s.match["kind"] == "numpy.ndarray" else "tensor"
    return f"torch.{how}({name})"


def _masked(s: Situation) -> str | None:
    """A mask of another shape."""
    shape = s.match["shape"]
    return f"a mask has the sizes of the first dims of what it picks from, here {shape}: build it from that tensor"


def _gradientless(s: Situation) -> str | None:
    """Backward of what needs no gradient."""
    for _, x in s.tensors[:1]:
        if x.spec.dtype.kind not in "fc":
            kind = str(x.spec.dtype).removeprefix("torch.")
            return f"{s.tensors[0].text} is {kind}: gradients need floats (argmax has none)"
    return (
        "nothing that it was computed from has requires_grad=True, or it was made under no_grad(), after detach(), "
        "item() or numpy()"
    )


# --- the table ------------------------------------------------------------------------------------------------------

_E, _I, _T, _V = RuntimeError, IndexError, TypeError, ValueError

TABLE = tuple(map(Mend._make, (
    # products, convolutions, joining
    (_E, r"shapes cannot be multiplied \((?P<m>\d+)x(?P<k>\d+) and (?P<n>\d+)x(?P<p>\d+)\)", _product),
    (_E, r"expected input\[(?P<sizes>[\d, ]+)\] to have (?P<wanted>\d+) channels, but got (?P<got>\d+)", _channels),
    (_E, r"Expected (?P<low>\d)D \(unbatched\) or .* but got input of size: \[(?P<sizes>[\d, ]+)\]", _missing_dims),
    (_E, r"Kernel size can't be greater",
        "pad the input (padding=...), or use a smaller kernel or fewer pools before it"),
    (_E, r"Sizes of tensors must match except in dimension", _joined),
    (_E, r"same number of dimensions: got (?P<m>\d+) and (?P<n>\d+)", "give all the same dims, e.g. {b}.unsqueeze(0)"),
    (_E, r"batch[12] must be a 3D tensor", "{a} @ {b} takes matrices with and without a batch"),
    (_E, r"first two dimensions of batch2",
        "both have the same batch, and inner sizes that are equal: (b, n, m) and (b, m, p)"),
    (_E, r"The size of tensor a \(\d+\) must match", _broadcast),
    (_E, r"doesn't match the broadcast shape", "write it out of place: {a} = {a} + {b} for {a} += {b}"),
    (_E, r"inconsistent tensor size, expected tensor", "dot is of two vectors of one length"),
    # shapes
    (_E, r"shape '\[(?P<sizes>[-\d, ]*)\]' is invalid for input of size (?P<count>\d+)", _sizes),
    (_E, r"view size is not compatible", "{a}.reshape(...), which copies where it must, or {a}.contiguous().view(...)"),
    (_E, r"expanded size of the tensor", "only dims of size 1 can be expanded; repeat() copies"),
    (_E, r"split_with_sizes expects", "the sizes must sum to that of the dim; an int splits into equal parts"),
    (_E, r"^permute", "name every dim once"),
    (_I, r"Dimension out of range \(expected to be in range of \[(?P<low>-?\d+), (?P<high>-?\d+)\]",
        "dims are {low} to {high} here: an input has fewer dims than this line expects"),
    (_E, r"Output size is too small", "use fewer pools, a smaller kernel, or a larger input"),
    # losses
    ((_V, UserWarning), r"Using a target size", _same_size),
    (_V, r"Target size .* must be the same as input size", _same_size),
    (_I, r"Target -?\d+ is out of bounds", _labels),
    (_E, r"Class values must be smaller than num_classes",
        "num_classes must be at least the largest label + 1; left out, it is"),
    (_E, r"target dtype to be Long", _last("{}.long()")),
    (_E, r"0D or 1D target tensor expected, multi-target not supported", _column),
    (_E, r"only batches of spatial targets supported",
        "labels are (batch, d1, d2) without a dim for the channel: {b}.squeeze(1)"),
    (_E, r"size mismatch \(got input", "labels have the sizes of the scores without the dim of the classes"),
    (_E, r"weight tensor should be defined either for all (?P<n>\d+) classes", "a weight for each of the {n} classes"),
    (_V, r"Expected input batch_size",
        "one label for each row: was the last batch, or a reshape before the loss, cut differently?"),
    (_E, r"Found dtype (?P<got>\w+) but expected", _last("{}.float()", "bui")),
    (_E, r"all elements of target should be between 0 and 1", "targets are probabilities: scale them to [0, 1]"),
    (_E, r"all elements of input should be between 0 and 1",
        "apply sigmoid to the model's output, or better use BCEWithLogitsLoss, which takes it as it is"),
    (UserWarning, r"cross_entropy of probabilities",
        "give the loss what goes into the softmax; for probabilities there is nll_loss(p.log(), labels)"),
    # indices
    (_E, r"have one of the following scalar types: Long, Int", _last("{}.long()", "fc")),
    (_E, r"Expected dtype int32/int64 for index|only applicable to index tensor", _last("{}.long()", "fc")),
    (_I, r"index out of range in self", _rows),
    ((_E, _I), r"index (?P<i>-?\d+) is out of bounds for dimension (?P<d>\d+) with size (?P<n>\d+)",
        "dim {d} has the places 0 to n - 1 with n = {n}: is the index one too large, or meant for another dim?"),
    (_I, r"too many indices for tensor of dimension (?P<n>\d+)",
        "the tensor has {n} dims: leave out an index, or unsqueeze it"),
    (_I, r"The shape of the mask .* does not match the shape of the indexed tensor (?P<shape>\[[\d, ]*\])", _masked),
    (_I, r"tensors used as indices must be", _last("{}.long()", "fc")),
    # layers
    (_V, r"expected (?P<wanted>.*D) input \(got (?P<got>\d)D input\)", _norm_input),
    (_E, r"running_mean should contain (?P<got>\d+) elements not (?P<own>\d+)",
        "make the layer for {got} channels; channels are dim 1"),
    (_V, r"Expected more than 1 value per channel when training",
        "train on batches of several samples (drop_last=True in the DataLoader), or call eval() to predict for one"),
    (_E, r"Given normalized_shape=\[(?P<own>[\d, ]+)\].*got input of size\[(\d+, )*(?P<last>\d+)\]",
        "make the layer for the last dims of the input, LayerNorm({last})"),
    (_E, r"input.size\(-1\) must be equal to input_size. Expected (?P<wanted>\d+), got (?P<got>\d+)", _input_size),
    (_V, r"Expected input to be 2D or 3D, got (?P<n>\d+)D",
        "sequences are (steps, batch, features), or (batch, steps, features) with batch_first"),
    (_E, r"Expected hidden(\[\d\])? size (?P<wanted>\([\d, ]+\))", _hidden),
    (_V, r"num_channels \(\d+\) must be divisible by num_groups", _heads),
    (_E, r"^pixel_shuffle expects", "the layer before it has to give out_channels * upscale_factor**2 channels"),
    (_V, r"must have the same number of spatial dimensions", "give one size for each dim after (batch, channels)"),
    (AssertionError, r"embed_dim must be divisible by num_heads", _heads),
    (AssertionError, r"was expecting embedding dimension of (?P<wanted>\d+), but got (?P<got>\d+)",
        "make the layer for {got} features, or project the input: nn.Linear({got}, {wanted})"),
    (_E, r"The shape of the 2D attn_mask", "a mask is (target length, source length)"),
    # dtypes
    (_E, r"^expected scalar type Long but found", _last("{}.long()")),
    (_E, r"mat1 and mat2 must have the same dtype|expected m1 and m2 to have the same dtype|expected scalar type"
        r"|Input type \(.*\) and (bias|weight) type", _dtypes),
    ((_E, NotImplementedError), r"could not infer output dtype|not implemented for '(Long|Int|Short|Byte|Char)'",
        _last("convert it first: {}.float()",
        "ui")),
    (_E, r"Only Tensors of floating point and complex dtype can require gradients",
        "make it float: dtype=torch.float32, or 1.0 for 1"),
    (_T, r"must be Tensor, not (?P<kind>numpy\.ndarray|list|tuple)", _array),
    (_V, r"only one element tensors can be converted to Python scalars", _scalars),
    # autograd
    (_E, r"^element \d+ of tensors does not require grad", _gradientless),
    (_E, r"grad can be implicitly created only for scalar outputs",
        "reduce it first, {a}.mean().backward(), or pass gradient= of its shape"),
    (_E, r"Trying to backward through the graph a second time",
        "call backward() once, on the sum of the losses; detach() what is carried from one step to the next; or keep "
        "the graph: backward(retain_graph=True)"),
    (_E, r"^a leaf Variable that requires grad|^a view of a leaf Variable",
        "change it without recording, with torch.no_grad(): ..., or work on {a}.clone()"),
    (_E, r"is a view and is being modified inplace", "change a copy: {a} = {a}.clone()"),
    (_E, r"more than one element of the written-to tensor", "{a} = {a}.clone() gives each element its own memory"),
    (_E, r"Can't call numpy\(\) on Tensor that requires grad", "{a}.detach().numpy()"),
    (_E, r"cannot be converted to Scalar", "{a}.tolist() gives all of them; {a}.mean().item(), or {a}[0].item(), one"),
    (_E, r"Boolean value of Tensor with more than one value", _truth),
    (_E, r"Only Tensors created explicitly by the user", "copy.deepcopy({a}.detach())"),
    # modules, optimizers, state
    (_E, r"^Error\(s\) in loading state_dict", _keys),
    (_V, r"optimizer got an empty parameter list", _no_parameters),
    (_V, r"can't optimize a non-leaf Tensor",
        "optimize the leaf it was computed from: {a} = torch.nn.Parameter({a}.detach())"),
    (_T, r"^params argument given to the optimizer", "an optimizer takes a list: [{a}]"),
    (_T, r"^(?P<kind>[\w.]+) is not a Module subclass", _unpacked),
    (_T, r"^(?P<owner>[\w.<>]+)\.forward\(\) (takes|missing|got)", _forward),
    (AttributeError, r"object has no attribute '(?P<name>\w+)'", _attribute),
    (NotImplementedError, r'is missing the required "forward" function',
        "define def forward(self, x): ... in the class (is it misspelt, or indented too far?)"),
    (_T, r"^cannot assign '.*' as parameter",
        "wrap it, nn.Parameter(...), or write into it under torch.no_grad(): {a}.copy_(...)"),
    (_E, r"attempting to assign a gradient of size", "a gradient has the shape of its tensor"),
)))  # fmt: skip
