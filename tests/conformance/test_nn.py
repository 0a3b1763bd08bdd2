"""`facula.nn` against PyTorch: states, errors, hooks, initial values; its own samples are in `test_module_db`."""

import copy
import importlib
import inspect
import re
import warnings

import numpy as np
import pytest
import torch

import facula
from facula import nn
from facula.nn.utils import rnn

warnings.filterwarnings("ignore")


def ours(value):
    """PyTorch's values as facula's, in any nesting."""
    if isinstance(value, torch.Tensor):
        new = facula.from_numpy(value.detach().numpy().copy())
        new.requires_grad = value.requires_grad
        return new
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return rnn.PackedSequence(*(None if field is None else ours(field) for field in value))
    if isinstance(value, torch.dtype):
        return getattr(facula, str(value).removeprefix("torch."))
    if isinstance(value, (tuple, list)):
        return type(value)(ours(item) for item in value)
    if isinstance(value, dict):
        return {key: ours(item) for key, item in value.items()}
    return value


def theirs(value):
    """Facula's tensors as PyTorch's."""
    return torch.from_numpy(value.detach().numpy().copy())


def leaves(value):
    """The tensors of either framework in a nested value."""
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [value] if hasattr(value, "requires_grad") else []


def compare(a, b, **tolerance):
    """Tensors `a` of facula against `b` of PyTorch."""
    a, b = leaves(a), leaves(b)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        torch.testing.assert_close(theirs(x), y.detach(), equal_nan=True, **tolerance)


def both(oracle, mine, *args, **kwargs):
    """Results of two callables on the same arguments, or the same error."""
    results = []
    for function, convert in ((oracle, copy_of), (mine, ours)):
        torch.manual_seed(1)
        facula.manual_seed(1)
        given = convert(list(args)), convert(kwargs)
        try:
            results.append((function(*given[0], **given[1]), given, None))
        except Exception as error:
            results.append((None, given, error))
    (x, x_given, x_error), (y, y_given, y_error) = results
    if x_error is not None or y_error is not None:
        if x_error is None:
            raise y_error
        assert type(x_error) is type(y_error), (x_error, y_error)
        return None
    return x, x_given, y, y_given


def copy_of(value):
    """A copy of a nested value, with leaf tensors."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return value
    if isinstance(value, (tuple, list)):
        return type(value)(copy_of(item) for item in value)
    if isinstance(value, dict):
        return {key: copy_of(item) for key, item in value.items()}
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Contract of Module


def model(framework):
    class Inner(framework.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = framework.nn.Parameter(framework.ones(3))
            self.register_buffer("count", framework.zeros(3))
            self.register_buffer("hidden", framework.zeros(1), persistent=False)
            self.register_parameter("none", None)

        def forward(self, x):
            return x * self.scale

    class Outer(framework.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = framework.nn.Linear(4, 3)
            self.inner = Inner()
            self.again = self.inner
            self.layers = framework.nn.ModuleList([framework.nn.ReLU(), framework.nn.ReLU(), framework.nn.Linear(3, 2)])

        def forward(self, x):
            x = self.inner(self.first(x))
            for layer in self.layers:
                x = layer(x)
            return x

    framework.manual_seed(3)
    return Outer()


def error_of(action, *args):
    with pytest.raises(Exception) as caught:
        action(*args)
    return caught.value


WALKS = [
    lambda m: [n for n, _ in m.named_parameters()],
    lambda m: [n for n, _ in m.named_parameters(remove_duplicate=False)],
    lambda m: [n for n, _ in m.named_parameters(prefix="p", recurse=False)],
    lambda m: [n for n, _ in m.named_buffers()],
    lambda m: [n for n, _ in m.named_modules()],
    lambda m: [n for n, _ in m.named_modules(remove_duplicate=False)],
    lambda m: [n for n, _ in m.named_children()],
    lambda m: len(list(m.modules())) + 10 * len(list(m.children())) + 100 * len(list(m.parameters())),
    lambda m: list(m.state_dict()),
    lambda m: dict(m.state_dict()._metadata),
    lambda m: list(m.state_dict(prefix="x.")),
    repr,
    lambda m: (
        type(m.get_submodule("layers.2")).__name__
        + str(tuple(m.get_parameter("inner.scale").shape))
        + str(tuple(m.get_buffer("inner.count").shape))
    ),
    lambda m: [n for n in m.__dir__() if n in ("first", "inner", "layers", "forward")],
]


@pytest.mark.parametrize("walk", WALKS, ids=range(len(WALKS)))
def test_walks(walk):
    assert walk(model(facula)) == walk(model(torch))


def overwrite(module, name, value):
    setattr(module, name, value)


ERRORS = [
    lambda f, m: m.get_submodule("first.nothing"),
    lambda f, m: m.get_submodule("first.weight"),
    lambda f, m: m.get_parameter("inner.count"),
    lambda f, m: m.get_buffer("inner.scale"),
    lambda f, m: m.nothing,
    lambda f, m: m.register_parameter("a.b", None),
    lambda f, m: m.register_parameter("", None),
    lambda f, m: m.register_parameter(3, None),
    lambda f, m: m.register_parameter("forward", None),
    lambda f, m: m.register_parameter("p", 3),
    lambda f, m: m.register_parameter("p", f.zeros(2)),
    lambda f, m: m.register_buffer("a.b", None),
    lambda f, m: m.register_buffer("", None),
    lambda f, m: m.register_buffer("first", None),
    lambda f, m: m.register_buffer("b", 3),
    lambda f, m: m.register_buffer(3, None),
    lambda f, m: m.add_module("a.b", None),
    lambda f, m: m.add_module("", None),
    lambda f, m: m.add_module("forward", None),
    lambda f, m: m.add_module("m", 3),
    lambda f, m: m.add_module(3, None),
    lambda f, m: overwrite(m.first, "weight", 3),
    lambda f, m: overwrite(m.first, "weight", f.zeros(2)),
    lambda f, m: overwrite(m, "first", 3),
    lambda f, m: overwrite(m.inner, "count", 3),
    lambda f, m: m.train(3),
    lambda f, m: m.to(f.int64),
    lambda f, m: m.load_state_dict([1]),
    lambda f, m: m.load_state_dict({}),
    lambda f, m: m.load_state_dict({**m.state_dict(), "x": f.zeros(1), "first.y": f.zeros(1)}),
    lambda f, m: m.load_state_dict({**m.state_dict(), "first.weight": f.zeros(1)}),
    lambda f, m: m.load_state_dict({**m.state_dict(), "first.weight": 3}),
    lambda f, m: m.load_state_dict({"first.weight": f.zeros(1)}, strict=False),
    lambda f, m: m(f.zeros(2, 4), 3),
    lambda f, m: f.nn.Module()(3),
    lambda f, m: f.nn.Module(3),
    lambda f, m: f.nn.Module(a=3),
    lambda f, m: m.set_submodule("", m),
    lambda f, m: m.set_submodule("first", 3),
    lambda f, m: m.set_submodule("new", m.first, strict=True),
    lambda f, m: m.layers[7],
    lambda f, m: m.layers.extend(3),
    lambda f, m: f.nn.Sequential(m)[2],
    lambda f, m: f.nn.Sequential(m) + 3,
    lambda f, m: f.nn.Sequential(m) * 0,
    lambda f, m: f.nn.Sequential(m) * "x",
    lambda f, m: f.nn.Sequential(m).insert(5, m),
    lambda f, m: f.nn.ModuleDict(3),
    lambda f, m: f.nn.ModuleDict([(1, 2, 3)]),
    lambda f, m: f.nn.ModuleDict({"a": 3}),
    lambda f, m: f.nn.ParameterList(3),
    lambda f, m: f.nn.ParameterList([f.zeros(1)])(),
    lambda f, m: f.nn.ParameterList([f.zeros(1)])[1],
    lambda f, m: f.nn.ParameterDict({3: f.zeros(1)}),
    lambda f, m: f.nn.ParameterDict({"a": f.zeros(1)})["b"],
    lambda f, m: f.nn.ParameterDict(3),
    lambda f, m: f.nn.Linear(2, 2).register_parameter("x", f.nn.Parameter(f.zeros(2)) * 2),
    lambda f, m: f.nn.Conv2d(3, 4, 2, groups=2),
    lambda f, m: f.nn.Conv2d(4, 4, 2, groups=0),
    lambda f, m: f.nn.Conv2d(4, 4, 2, padding="half"),
    lambda f, m: f.nn.Conv2d(4, 4, 2, padding="same", stride=2),
    lambda f, m: f.nn.Embedding(3, 2, padding_idx=3),
    lambda f, m: f.nn.Embedding(3, 2, _weight=f.zeros(2, 2)),
    lambda f, m: f.nn.Embedding.from_pretrained(f.zeros(2)),
    lambda f, m: f.nn.LSTM(3, 4, dropout=2),
    lambda f, m: f.nn.LSTM(3, 4, proj_size=4),
    lambda f, m: f.nn.LSTM(0, 4),
    lambda f, m: f.nn.LSTM(3.0, 4),
    lambda f, m: f.nn.GRU(3, 4, proj_size=2),
    lambda f, m: f.nn.RNN(3, 4, nonlinearity="x"),
    lambda f, m: f.nn.LSTM(3, 4)(f.zeros(2)),
    lambda f, m: f.nn.LSTM(3, 4)(f.zeros(2, 2, 5)),
    lambda f, m: f.nn.LSTM(3, 4)(f.zeros(2, 2, 3), (f.zeros(1, 2, 3), f.zeros(1, 2, 4))),
    lambda f, m: f.nn.LSTM(3, 4)(f.zeros(2, 2, 3), (f.zeros(1, 4), f.zeros(1, 4))),
    lambda f, m: f.nn.GRU(3, 4)(f.zeros(2, 2, 3), f.zeros(1, 4)),
    lambda f, m: f.nn.GRU(3, 4)(f.zeros(2, 2, 3, dtype=f.float64)),
    lambda f, m: f.nn.LSTMCell(3, 4)(f.zeros(2, 5)),
    lambda f, m: f.nn.GRUCell(3, 4)(f.zeros(2, 3), f.zeros(3, 4)),
    lambda f, m: f.nn.Dropout(2),
    lambda f, m: f.nn.BatchNorm1d(3)(f.zeros(3)),
    lambda f, m: f.nn.BatchNorm1d(3)(f.zeros(1, 3)),
    lambda f, m: f.nn.GroupNorm(2, 3),
    lambda f, m: f.nn.functional.cross_entropy(f.zeros(2, 3), f.tensor([0, 1]), reduction="x"),
    lambda f, m: f.nn.functional.binary_cross_entropy(f.zeros(2, 3), f.zeros(2)),
    lambda f, m: f.nn.functional.binary_cross_entropy_with_logits(f.zeros(2, 3), f.zeros(2)),
    lambda f, m: f.nn.HuberLoss(delta="x"),
    lambda f, m: f.nn.MultiMarginLoss(p=3),
    lambda f, m: f.nn.TripletMarginLoss(margin=0),
    lambda f, m: f.nn.init.xavier_uniform_(f.zeros(3)),
    lambda f, m: f.nn.init.kaiming_uniform_(f.zeros(3, 3), mode="x"),
    lambda f, m: f.nn.init.calculate_gain("x"),
    lambda f, m: f.nn.init.dirac_(f.zeros(2, 2)),
    lambda f, m: f.nn.utils.rnn.pack_padded_sequence(f.zeros(3, 2, 1), [2, 3]),
    lambda f, m: f.nn.utils.rnn.pack_padded_sequence(f.zeros(3, 2, 1), [2, 0]),
    lambda f, m: f.nn.utils.rnn.pack_padded_sequence(f.zeros(3, 2, 1), [2]),
    lambda f, m: f.nn.utils.rnn.pack_padded_sequence(f.zeros(0, 2, 1), [2, 1]),
    lambda f, m: f.nn.utils.rnn.pad_sequence(3),
    lambda f, m: f.nn.utils.clip_grad_norm_(infinite(f), 1.0, error_if_nonfinite=True),
]


def infinite(framework):
    w = framework.nn.Parameter(framework.zeros(2))
    w.grad = framework.full((2,), float("inf"))
    return [w]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number):
    """PyTorch's exception type and first line."""
    action = ERRORS[number]
    mine, oracle = error_of(action, facula, model(facula)), error_of(action, torch, model(torch))
    assert type(mine) is type(oracle), (mine, oracle)
    if isinstance(oracle, TypeError) and "positional argument" in str(oracle):
        return  # Python's own message, with the class's module in it
    words = [
        re.sub(r"torch\.nn\.modules\.\w+|facula\.nn\.\w+|torch|facula", "", str(e).replace("\\n", "\n"))
        for e in (mine, oracle)
    ]
    first = words[1].strip("'\"").split("\n")[0].split("{")[0]  # sets come in any order
    assert words[0].strip("'\"").startswith(first), f"\n{words[0]}\n--\n{words[1]}"


def test_state_dict_errors_in_full():
    """Every line that PyTorch has is there."""
    states = [(f, model(f)) for f in (facula, torch)]
    texts = [
        str(error_of(m.load_state_dict, {"first.weight": f.zeros(3), "first.x": f.zeros(1), "y": f.zeros(1)}))
        for f, m in states
    ]
    assert texts[0].startswith(texts[1])


def test_state_dict_between_frameworks():
    mine, oracle = model(facula), model(torch)
    x = torch.randn(5, 4)
    oracle.load_state_dict({key: theirs(value) + 1 for key, value in mine.state_dict().items()})
    keys = mine.load_state_dict({key: ours(value) for key, value in oracle.state_dict().items()})
    assert repr(keys) == "<All keys matched successfully>"
    compare(mine(ours(x)), oracle(x))


def test_conversions():
    for action in (
        lambda m, f: m.double(),
        lambda m, f: m.half(),
        lambda m, f: m.to(f.float64),
        lambda m, f: m.to(dtype=f.float64),
        lambda m, f: m.to("cpu", f.float64),
        lambda m, f: m.to(f.zeros(1, dtype=f.float64)),
        lambda m, f: m.type(f.float64),
        lambda m, f: m.bfloat16(),
    ):
        dtypes = []
        for framework in (facula, torch):
            m = model(framework)
            weight = m.first.weight
            m(framework.zeros(2, 4)).sum().backward()
            action(m, framework)
            assert m.first.weight is weight
            dtypes.append([str(t.dtype).replace("facula", "torch") for t in (weight, weight.grad, m.inner.count)])
        assert dtypes[0] == dtypes[1]


def trace_hooks(framework):
    """What hooks of each kind see, in order."""
    m = model(framework)
    seen = []

    def note(kind):
        def hook(module, *args):
            shapes = [[None if t is None else tuple(t.shape) for t in leaves(a)] for a in args]
            seen.append((kind, type(module).__name__, shapes))

        return hook

    nn_ = framework.nn
    handles = [
        m.register_forward_pre_hook(note("pre")),
        m.first.register_forward_hook(note("post")),
        m.first.register_forward_hook(note("post prepended"), prepend=True),
        m.inner.register_forward_pre_hook(note("pre kwargs"), with_kwargs=True),
        m.inner.register_forward_hook(note("post kwargs"), with_kwargs=True, always_call=True),
        m.register_full_backward_pre_hook(note("backward pre")),
        m.first.register_full_backward_hook(note("backward")),
        m.inner.register_full_backward_hook(note("backward inner")),
        m.register_full_backward_hook(note("backward outer")),
        nn_.modules.module.register_module_forward_hook(note("global"))
        if framework is torch
        else nn_.module.register_module_forward_hook(note("global")),
    ]
    x = framework.ones(2, 4)
    x.requires_grad = True
    m(x).sum().backward()
    for handle in handles:
        handle.remove()
    count = len(seen)
    m(x).sum().backward()
    assert len(seen) == count
    return seen


def test_hooks():
    assert trace_hooks(facula) == trace_hooks(torch)


def test_hooks_change_values():
    results = []
    for framework in (facula, torch):
        m = model(framework)
        m.first.register_forward_pre_hook(lambda module, args: args[0] * 2)
        m.first.register_forward_hook(lambda module, args, output: output + 1)
        m.inner.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 3,), kwargs), with_kwargs=True)
        m.inner.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0] * 5,))
        m.layers[2].register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 7,))
        x = framework.linspace(-1, 1, 8).reshape(2, 4)
        x.requires_grad = True
        y = m(x)
        y.sum().backward()
        results.append([y, x.grad, *(p.grad for p in m.parameters())])
    compare(results[0], results[1])


# ---------------------------------------------------------------------------------------------------------------------
# init, utils, packed sequences, names

INITS = [
    ("uniform_", (3, 4), {}),
    ("uniform_", (3, 4), {"a": -2.0, "b": 3.0}),
    ("normal_", (5, 7), {"mean": 1.0, "std": 2.0}),
    ("trunc_normal_", (9, 8), {}),
    ("trunc_normal_", (9, 8), {"a": 0.5, "b": 0.7}),
    ("trunc_normal_", (9, 8), {"a": 2.5, "b": 7.0}),
    ("constant_", (3,), {"val": 2.0}),
    ("ones_", (3,), {}),
    ("zeros_", (3,), {}),
    ("eye_", (3, 4), {}),
    ("dirac_", (4, 2, 3), {}),
    ("dirac_", (4, 2, 3, 3), {"groups": 2}),
    ("xavier_uniform_", (3, 4), {"gain": 2.0}),
    ("xavier_normal_", (3, 4, 2), {}),
    ("kaiming_uniform_", (3, 4), {"a": 0.1}),
    ("kaiming_normal_", (3, 4), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("orthogonal_", (5, 3), {}),
    ("orthogonal_", (3, 2, 4), {"gain": 2.0}),
    ("sparse_", (6, 5), {"sparsity": 0.3}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name, shape, options", INITS)
def test_init(name, shape, options, dtype):
    x = torch.full(shape, 7.0, dtype=dtype, requires_grad=True)
    y = ours(x)
    torch.manual_seed(4)
    getattr(torch.nn.init, name)(x, **options)
    after = torch.rand(3)
    facula.manual_seed(4)
    assert getattr(nn.init, name)(y, **options) is y
    compare(facula.rand(3), after, rtol=0, atol=0)  # as many draws
    compare(y, x, **({} if name == "orthogonal_" else {"rtol": 0, "atol": 0}))


@pytest.mark.parametrize("name", torch.nn.init.__all__)
def test_init_names(name):
    a, b = inspect.signature(getattr(nn.init, name)), inspect.signature(getattr(torch.nn.init, name))
    if name.endswith("_") or name == "calculate_gain":
        assert [(p.name, p.default) for p in a.parameters.values()] == [
            (p.name, p.default) for p in b.parameters.values()
        ]


def parameters(function) -> list | None:
    """(name, default) of each parameter; functions and classes as defaults count as one."""
    try:
        listed = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(p.name, "..." if callable(p.default) else str(p.default)) for p in listed]


@pytest.mark.parametrize("name", torch.nn.modules.__all__)
def test_parameters_of_modules(name):
    """Constructor and public methods of every class."""
    mine, oracle = getattr(nn, name), getattr(torch.nn, name)
    methods = [n for n, f in vars(oracle).items() if not n.startswith("_") and callable(f) and n != "T_destination"]
    for method in ("__init__", *methods):
        assert parameters(getattr(mine, method)) == parameters(getattr(oracle, method)), method
        place = f"torch.nn.modules.{oracle.__module__.rpartition('.')[2]}"
    found = importlib.import_module(place.replace("torch", "facula"))
    assert getattr(found, name) is mine


@pytest.mark.parametrize(
    "name", [n for n in dir(nn.functional) if not n.startswith("_") and hasattr(torch.nn.functional, n)]
)
def test_functional_signatures(name):
    a, b = getattr(nn.functional, name), getattr(torch.nn.functional, name)
    try:
        wanted = inspect.signature(b)
    except (TypeError, ValueError):
        return  # a builtin of PyTorch: no signature to compare with
    if inspect.isfunction(a) and list(wanted.parameters) not in (["args", "kwargs"], ["x", "args", "kwargs"]):
        got = inspect.signature(a)
        shown = lambda x: str(x) if type(x).__name__ == "dtype" else x  # noqa: E731
        assert [(p.name, shown(p.default)) for p in got.parameters.values()] == [
            (p.name, shown(p.default)) for p in wanted.parameters.values()
        ]


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_packing(batch_first, enforce_sorted):
    lengths = [5, 3, 3, 1] if enforce_sorted else [3, 1, 5, 3]
    sequences = [torch.randn(n, 2) for n in lengths]
    a, b = nn.utils.rnn, torch.nn.utils.rnn
    x, y = (
        m.pad_sequence(s, batch_first=batch_first, padding_value=-1.0)
        for m, s in ((a, ours(sequences)), (b, sequences))
    )
    compare(x, y)
    x, y = (m.pack_padded_sequence(t, lengths, batch_first, enforce_sorted) for m, t in ((a, x), (b, y)))
    compare([t for t in x if t is not None], [t for t in y if t is not None])
    compare(a.pad_packed_sequence(x, batch_first, 2.0, 7), b.pad_packed_sequence(y, batch_first, 2.0, 7))
    compare(a.unpack_sequence(x), b.unpack_sequence(y))
    compare(a.pad_sequence(ours(sequences), padding_side="left"), b.pad_sequence(sequences, padding_side="left"))
    x, y = (m.pack_sequence(s, enforce_sorted) for m, s in ((a, ours(sequences)), (b, sequences)))
    compare([t for t in x if t is not None], [t for t in y if t is not None])


@pytest.mark.parametrize("name, options", [
    (name, {"num_layers": layers, "bidirectional": both_ways, "bias": bias, **more})
    for name, extra in (("LSTM", [{}, {"proj_size": 2}]), ("GRU", [{}]), ("RNN", [{}, {"nonlinearity": "relu"}]))
    for layers, both_ways, bias in ((1, False, True), (2, True, True), (2, False, False))
    for more in extra
])  # fmt: skip
def test_recurrent(name, options):
    oracle, _, mine, _ = both(getattr(torch.nn, name), getattr(nn, name), 3, 4, **options)
    compare(mine.state_dict(), oracle.state_dict(), rtol=0, atol=0)
    inputs = [torch.randn(5, 4, 3, requires_grad=True)]
    x = torch.randn(5, 4, 3)
    inputs += [
        torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        for lengths in ([5, 5, 2, 1], [1, 4, 2, 4])
    ]
    inputs.append(torch.randn(5, 3))
    directions = options["num_layers"] * (1 + options["bidirectional"])
    for given in inputs:
        for with_state in (False, True):
            batch = () if isinstance(given, torch.Tensor) and given.dim() == 2 else (4,)
            hidden = torch.randn(directions, *batch, options.get("proj_size", 4), requires_grad=True)
            state = (hidden, torch.randn(directions, *batch, 4)) if name == "LSTM" else hidden
            result, _, my_result, _ = both(oracle, mine, given, *([state] if with_state else []))
            compare(list(leaves(my_result)), list(leaves(result)))
            for m in (oracle, mine):
                m.zero_grad()
            sum(t.sin().sum() for t in leaves(result) if t.requires_grad).backward()
            sum(t.sin().sum() for t in leaves(my_result) if t.requires_grad).backward()
            compare([p.grad for p in mine.parameters()], [p.grad for p in oracle.parameters()], rtol=1e-4, atol=1e-5)


def test_recurrent_dropout_draws():
    oracle, _, mine, _ = both(torch.nn.LSTM, nn.LSTM, 3, 4, 3, dropout=0.4)
    result, _, my_result, _ = both(oracle, mine, torch.randn(5, 4, 3))
    compare(my_result, result)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    oracle, _, mine, _ = both(torch.nn.EmbeddingBag, nn.EmbeddingBag, 10, 3, mode=mode, padding_idx=2)
    for given in ((torch.tensor([[1, 2, 4], [2, 2, 2]]),), (torch.tensor([1, 2, 4, 5, 5]), torch.tensor([0, 0, 3]))):
        for m in (oracle, mine):
            m.zero_grad()
        result, _, my_result, _ = both(oracle, mine, *given)
        compare(my_result, result)
        result.sum().backward()
        my_result.sum().backward()
        compare(mine.weight.grad, oracle.weight.grad)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_clipping(norm_type):
    def run(f, grads):
        parameters = [f.nn.Parameter(f.zeros(*g.shape)) for g in grads]
        for p, g in zip(parameters, grads):
            p.grad = g
        total = f.nn.utils.clip_grad_norm_(parameters, 1.5, norm_type)
        clipped = [p.grad.clone() for p in parameters]
        f.nn.utils.clip_grad_value_(parameters, 0.1)
        return total, clipped, [p.grad for p in parameters], f.nn.utils.parameters_to_vector(parameters)

    grads = [torch.randn(3, 2), torch.randn(4)]
    mine = run(facula, ours(grads))
    compare(mine, run(torch, copy_of(grads)))


def test_parameters_share_memory_and_copy():
    data = np.ones(3, dtype="float32")
    tensor = facula.from_numpy(data)
    parameter = nn.Parameter(tensor)
    data[0] = 5
    assert parameter.tolist() == [5, 1, 1] and parameter.requires_grad and parameter.is_leaf
    twin = copy.deepcopy(parameter)
    data[1] = 7
    assert twin.tolist() == [5, 1, 1] and type(twin) is nn.Parameter and isinstance(parameter * 1, facula.Tensor)
    assert repr(parameter) == repr(torch.nn.Parameter(torch.from_numpy(data)))
