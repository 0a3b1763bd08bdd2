"""`torch.nn.utils` in both frameworks: parametrizations, older norms, pruning, fusion, calls with other parameters.

Each program runs once for each framework and returns what it saw; tensors are compared by value, all else as text.
"""

import copy
import io
import re
import warnings

import pytest
import torch
import torch.nn.utils.prune

import facula
from tests.conformance.records.mirror import array, flat
from tests.conformance.records.op_db import close

PROGRAMS = []


def program(function):
    PROGRAMS.append(function)
    return function


def text(value) -> str:
    """Without what differs by design: names of modules and addresses."""
    value = re.sub(r"(torch\.nn\.(modules|utils)|facula\.nn(\.utils)?)\.(\w+\.)?(?=[A-Z])", "", str(value))
    return re.sub(r"0x[0-9a-f]+", "", value).replace("facula", "torch")


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {text(error).splitlines()[0]}"


def caught(function, *args, **kwargs) -> str:
    with pytest.raises(Exception) as error:
        function(*args, **kwargs)
    return first_line(error.value)


def state(module) -> list:
    return [text(module), *(x for pair in module.state_dict().items() for x in pair)]


def numbers(f, *shape):
    """Fixed numbers, the same in both frameworks."""
    f.manual_seed(5)
    return f.randn(*shape)


# --- parametrize ------------------------------------------------------------------------------------------------------


def symmetric(f, inverse=True):
    class Symmetric(f.nn.Module):
        calls = 0

        def forward(self, x):
            type(self).calls += 1
            return x.triu() + x.triu(1).transpose(-1, -2)

        if inverse:

            def right_inverse(self, x):
                return x.triu()

    return Symmetric()


def rank_one(f):
    class RankOne(f.nn.Module):
        def forward(self, x, y):
            return x.unsqueeze(-1) @ y.unsqueeze(-2)

        def right_inverse(self, z):
            return z[:, 0].clone(), z[0].clone()

    return RankOne()


class Doubled:
    def __new__(cls, f):
        made = f.nn.Module()
        made.forward = lambda x: 2 * x
        return made


@program
def parametrized(f):
    P = f.nn.utils.parametrize
    f.manual_seed(1)
    layer = f.nn.Linear(3, 3)
    weight = layer.weight
    made = P.register_parametrization(layer, "weight", symmetric(f))
    seen = [made is layer, *state(layer), layer.weight, P.is_parametrized(layer), P.is_parametrized(layer, "bias")]
    seen += [layer.parametrizations.weight.original is weight, P.type_before_parametrizations(layer) is f.nn.Linear]
    layer(numbers(f, 2, 3)).sum().backward()
    seen += [layer.parametrizations.weight.original.grad, [n for n, _ in layer.named_parameters()]]
    layer.weight = numbers(f, 3, 3)
    seen += [layer.weight, layer.parametrizations.weight.original]
    P.register_parametrization(layer, "weight", symmetric(f, inverse=False))
    seen += [layer.weight, text(layer), caught(setattr, layer, "weight", f.ones(3, 3))]
    P.register_parametrization(layer, "bias", Doubled(f))
    twin = copy.deepcopy(layer)
    with f.no_grad():
        twin.parametrizations.weight.original.fill_(7.0)
    seen += [twin.weight, layer.weight, layer.bias, text(twin)]
    P.remove_parametrizations(layer, "weight")
    seen += [*state(layer), layer.weight is weight, text(type(layer).__name__)]
    P.remove_parametrizations(layer, "bias", leave_parametrized=False)
    return [*seen, *state(layer), type(layer) is f.nn.Linear, type(twin).__name__]


@program
def parametrized_in_parts(f):
    P = f.nn.utils.parametrize
    f.manual_seed(1)
    layer = f.nn.Linear(3, 4)
    P.register_parametrization(layer, "weight", rank_one(f))
    seen = [*state(layer), layer.weight]
    layer.weight = numbers(f, 4, 3)
    seen += [layer.weight, caught(P.remove_parametrizations, layer, "weight", leave_parametrized=False)]
    other = f.nn.Linear(3, 4)
    P.transfer_parametrizations_and_params(layer, other)
    seen += [*state(other), other.parametrizations.weight.original0 is layer.parametrizations.weight.original0]
    P.remove_parametrizations(layer, "weight")
    return [*seen, *state(layer), [(n, p.requires_grad) for n, p in layer.named_parameters()]]


@program
def parametrized_once_in_cached(f):
    P = f.nn.utils.parametrize
    kind = symmetric(f)
    layer = f.nn.Linear(3, 3)
    P.register_parametrization(layer, "weight", kind)
    before = type(kind).calls
    with P.cached():
        same = layer.weight is layer.weight
        with P.cached():
            layer.weight  # noqa: B018
        inside = type(kind).calls - before
    layer.weight, layer.weight  # noqa: B018
    return [same, inside, type(kind).calls - before]


@program
def parametrized_buffers_and_modes(f):
    P = f.nn.utils.parametrize
    layer = f.nn.BatchNorm1d(3).eval()
    kind = Doubled(f)
    P.register_parametrization(layer, "running_mean", kind)
    seen = [kind.training, layer.running_mean, *state(layer), [n for n, _ in layer.named_buffers()]]
    layer.train()
    return [*seen, kind.training]


@program
def parametrization_errors(f):
    P = f.nn.utils.parametrize

    def module(forward, right_inverse=None):
        made = f.nn.Module()
        made.forward = forward
        if right_inverse is not None:
            made.right_inverse = right_inverse
        return made

    def register(*args, **kwargs):
        return caught(P.register_parametrization, f.nn.Linear(3, 3), "weight", module(*args), **kwargs)

    layer = P.register_parametrization(f.nn.Linear(3, 3), "weight", symmetric(f))
    return [
        register(lambda x: 3),
        register(lambda x: x.double()),
        register(lambda x: x[0]),
        register(lambda x: x, lambda x: x.double()),
        register(lambda x: x, lambda x: 3),
        register(lambda x: x, lambda x: [3]),
        caught(P.register_parametrization, f.nn.Linear(3, 3), "nothing", symmetric(f)),
        caught(P.register_parametrization, layer, "weight", module(lambda x: x[0])),
        caught(P.register_parametrization, layer, "weight", module(lambda x: x.double())),
        caught(P.register_parametrization, layer, "weight", module(lambda x: x, lambda x: x[0])),
        caught(P.remove_parametrizations, layer, "bias"),
        caught(f.save, layer, io.BytesIO()),
        caught(P.ParametrizationList, [], f.zeros(2)),
    ]


@program
def parametrized_states(f):
    P = f.nn.utils.parametrize
    f.manual_seed(1)
    layer = P.register_parametrization(f.nn.Linear(3, 3), "weight", symmetric(f))
    other = P.register_parametrization(f.nn.Linear(3, 3), "weight", symmetric(f))
    other.load_state_dict(layer.state_dict())
    optimizer = f.optim.SGD(other.parameters(), lr=0.5)
    other(numbers(f, 2, 3)).square().sum().backward()
    optimizer.step()
    return [other.weight, *state(other)]


# --- parametrizations -------------------------------------------------------------------------------------------------


@program
def length_and_direction(f):
    N = f.nn.utils.parametrizations
    seen = []
    for dim in (0, 1, None):
        f.manual_seed(1)
        layer = N.weight_norm(f.nn.Linear(3, 4), dim=dim)
        seen += [*state(layer), layer.weight]
        layer(numbers(f, 2, 3)).square().sum().backward()
        seen += [p.grad for p in layer.parameters()]
    conv = N.weight_norm(f.nn.Conv2d(2, 3, 2))
    return [*seen, *state(conv)]


@program
def states_of_the_older_length_and_direction(f):
    f.manual_seed(1)
    older = f.nn.utils.weight_norm(f.nn.Linear(3, 4))
    f.manual_seed(2)
    layer = f.nn.utils.parametrizations.weight_norm(f.nn.Linear(3, 4))
    layer.load_state_dict(older.state_dict())
    return [*state(layer), layer.weight]


@program
def largest_singular_value(f):
    N = f.nn.utils.parametrizations
    seen = []
    cases = (
        (lambda: f.nn.Linear(3, 4), (2, 3)),
        (lambda: f.nn.ConvTranspose2d(2, 3, 2), (1, 2, 3, 3)),
        (lambda: f.nn.LayerNorm(5), (2, 5)),
    )
    for made, shape in cases:
        f.manual_seed(1)
        layer = N.spectral_norm(made(), n_power_iterations=2)
        seen += state(layer)
        shape = {"ParametrizedLinear": (2, 3), "ParametrizedConvTranspose2d": (1, 2, 3, 3)}.get(
            type(layer).__name__, (2, 5)
        )
        y = layer(numbers(f, *shape)) + layer(numbers(f, *shape))
        y.square().sum().backward()
        seen += [y, *(p.grad for p in layer.parameters()), *state(layer)]
        layer.eval()
        seen += [layer(numbers(f, *shape)), *state(layer)]
    return [
        *seen,
        caught(N.spectral_norm, f.nn.Linear(2, 2), "nothing"),
        caught(N.spectral_norm, f.nn.Linear(2, 2), n_power_iterations=0),
        caught(N.spectral_norm, f.nn.Linear(2, 2), dim=4),
    ]


@program
def orthogonal_matrices(f):
    N = f.nn.utils.parametrizations
    seen = []
    for shape in ((3, 3), (3, 5), (5, 3)):
        for name in ("matrix_exp", "cayley", "householder"):
            for trivial in (True, False):
                f.manual_seed(1)
                layer = f.nn.Linear(*shape).double()
                N.orthogonal(layer, orthogonal_map=name, use_trivialization=trivial)
                w = layer.weight
                small = w if w.shape[0] <= w.shape[1] else w.T
                seen += [text(layer), list(layer.state_dict()), small @ small.T]
                if trivial:
                    seen.append(w)
                w.square().sum().backward()
    return [
        *seen,
        caught(N.orthogonal, f.nn.Linear(2, 2), "bias"),
        caught(N.orthogonal, f.nn.Linear(2, 2), "nothing"),
        caught(N.orthogonal, f.nn.Linear(2, 2), orthogonal_map="x"),
    ]


# --- older norms ------------------------------------------------------------------------------------------------------


@program
def older_length_and_direction(f):
    U = f.nn.utils
    f.manual_seed(1)
    layer = U.weight_norm(f.nn.Conv1d(2, 3, 2), dim=1)
    seen = [*state(layer), layer.weight]
    layer(numbers(f, 1, 2, 4)).square().sum().backward()
    seen += [p.grad for p in layer.parameters()]
    with f.no_grad():
        layer.weight_g.mul_(2)
    seen += [layer(numbers(f, 1, 2, 4)), caught(U.weight_norm, layer)]
    U.remove_weight_norm(layer)
    return [*seen, *state(layer), caught(U.remove_weight_norm, layer), len(layer._forward_pre_hooks)]


@program
def older_largest_singular_value(f):
    U = f.nn.utils
    f.manual_seed(1)
    layer = U.spectral_norm(f.nn.Linear(3, 4), n_power_iterations=2)
    seen = [*state(layer), str(dict(layer.state_dict()._metadata))]
    layer(numbers(f, 2, 3)).square().sum().backward()
    seen += [*(p.grad for p in layer.parameters()), *state(layer), layer.weight]
    seen += [layer.eval()(numbers(f, 2, 3)), caught(U.spectral_norm, layer, "weight_orig", n_power_iterations=0)]
    f.manual_seed(2)
    other = U.spectral_norm(f.nn.Linear(3, 4))
    other.load_state_dict(layer.state_dict())
    seen += state(other)
    older = dict(layer.state_dict())  # version 0: the weight, no v
    older["weight"] = layer.weight.detach()
    del older["weight_v"]
    other.load_state_dict(older)
    seen += state(other)
    U.remove_spectral_norm(layer)
    return [*seen, *state(layer), caught(U.remove_spectral_norm, layer), len(layer._state_dict_hooks)]


# --- pruning ----------------------------------------------------------------------------------------------------------


@program
def pruning(f):
    P = f.nn.utils.prune
    seen = []
    ways = (
        lambda m: P.identity(m, "weight"),
        lambda m: P.random_unstructured(m, "weight", 0.3),
        lambda m: P.random_unstructured(m, "weight", 4),
        lambda m: P.l1_unstructured(m, "weight", 0.5),
        lambda m: P.l1_unstructured(m, "weight", 3, importance_scores=numbers(f, 4, 6)),
        lambda m: P.random_structured(m, "weight", 2, dim=1),
        lambda m: P.ln_structured(m, "weight", 0.4, n=2, dim=0),
        lambda m: P.ln_structured(m, "weight", 1, n=float("inf"), dim=-1),
        lambda m: P.custom_from_mask(m, "weight", numbers(f, 4, 6) > 0),
        lambda m: P.ln_structured(P.l1_unstructured(m, "weight", 0.25), "weight", 1, n=1, dim=1),
        lambda m: P.l1_unstructured(P.ln_structured(m, "weight", 1, n=1, dim=1), "weight", 0.25),
        lambda m: P.random_unstructured(P.random_structured(P.identity(m, "weight"), "weight", 1, 0), "weight", 2),
    )
    for way in ways:
        f.manual_seed(1)
        layer = f.nn.Linear(6, 4)
        made = way(layer)
        seen += [made is layer, *state(layer), layer.weight, P.is_pruned(f.nn.Sequential(layer))]
        layer(numbers(f, 2, 6)).square().sum().backward()
        seen += [p.grad for p in layer.parameters()]
        seen += [type(hook).__name__ for hook in layer._forward_pre_hooks.values()]
        P.remove(layer, "weight")
        seen += [*state(layer), P.is_pruned(layer), isinstance(layer.weight, f.nn.Parameter)]
    return seen


@program
def pruning_together(f):
    P = f.nn.utils.prune
    f.manual_seed(1)
    model = f.nn.Sequential(f.nn.Linear(3, 4), f.nn.Linear(4, 2))
    P.l1_unstructured(model[0], "weight", 2)
    places = [(model[0], "weight"), (model[1], "weight"), (model[1], "bias")]
    P.global_unstructured(places, pruning_method=P.L1Unstructured, amount=0.4)
    seen = state(model)
    P.global_unstructured(places, P.L1Unstructured, {places[0]: numbers(f, 4, 3)}, amount=5)
    method = P.L1Unstructured(amount=2)
    return [
        *seen,
        *state(model),
        method.prune(numbers(f, 5)),
        method.prune(numbers(f, 5), importance_scores=-numbers(f, 5)),
        caught(P.global_unstructured, 3, P.L1Unstructured),
        caught(P.global_unstructured, places, P.L1Unstructured, 3),
        caught(P.global_unstructured, places, P.RandomStructured, amount=1),
        caught(P.remove, model[0], "bias"),
        caught(P.l1_unstructured, model[1], "bias", 1.5),
        caught(P.l1_unstructured, model[1], "bias", -1),
        caught(P.l1_unstructured, model[1], "bias", "x"),
        caught(P.l1_unstructured, f.nn.Linear(2, 2), "bias", 3),
        caught(P.ln_structured, f.nn.Linear(2, 2), "bias", 1, 2, 0),
        caught(P.ln_structured, f.nn.Linear(2, 2), "weight", 1, 2, 4),
    ]


# --- the others -------------------------------------------------------------------------------------------------------


@program
def fusion(f):
    U = f.nn.utils
    f.manual_seed(1)
    seen = []
    for conv, shape, transpose in (
        (f.nn.Conv2d(2, 3, 2, bias=False), (2, 2, 4, 4), False),
        (f.nn.ConvTranspose1d(2, 3, 2), (2, 2, 4), True),
    ):
        norm = (f.nn.BatchNorm2d if len(shape) == 4 else f.nn.BatchNorm1d)(3)
        norm(conv(numbers(f, *shape)))
        conv.eval(), norm.eval()
        fused = U.fuse_conv_bn_eval(conv, norm, transpose)
        x = numbers(f, *shape)
        seen += [*state(fused), fused(x), fused(x) - norm(conv(x))]
    linear, norm = f.nn.Linear(3, 4).eval(), f.nn.BatchNorm1d(4).eval()
    seen += [*state(U.fuse_linear_bn_eval(linear, norm)), caught(U.fuse_linear_bn_eval, linear, f.nn.BatchNorm1d(4))]
    return [*seen, caught(U.fuse_linear_bn_eval, linear, f.nn.BatchNorm1d(3).eval())]


@program
def other_parameters(f):
    return [seen for call in (f.nn.utils.stateless.functional_call, f.func.functional_call) for seen in called(f, call)]


def called(f, call):
    f.manual_seed(1)
    model = f.nn.Sequential(f.nn.Linear(2, 2), f.nn.BatchNorm1d(2))
    weight, mean = numbers(f, 2, 2).requires_grad_(), f.ones(2)
    given = {"0.weight": weight, "1.running_mean": mean}
    y = call(model, given, (numbers(f, 3, 2),))
    y[0].sum().backward()
    tied = f.nn.Module()
    tied.a = f.nn.Linear(2, 2)
    tied.b = tied.a
    tied.forward = lambda x: tied.b(x)
    return [
        y, weight.grad, mean, list(given), *state(model), [p.grad is None for p in model.parameters()],
        call(tied, {"a.weight": f.eye(2)}, numbers(f, 2)),
        call(tied, {"a.weight": f.eye(2)}, numbers(f, 2), tie_weights=False),
        caught(call, tied, {"a.weight": f.eye(2), "b.weight": f.ones(2, 2)}, numbers(f, 2)),
        caught(call, model, {"0.weight": weight}, numbers(f, 3, 2), strict=True),
        caught(call, model, {"0.nothing.x": weight}, numbers(f, 3, 2)),
    ]  # fmt: skip


@program
def the_rest(f):
    U = f.nn.utils
    f.manual_seed(1)
    layer = U.skip_init(f.nn.Linear, 3, 2, bias=False)
    after = f.rand(2)
    model = f.nn.Sequential(f.nn.Conv2d(3, 4, 2), f.nn.Conv3d(3, 4, 2))
    U.convert_conv2d_weight_memory_format(model, f.channels_last)
    before = [p.stride() for p in model.parameters()]
    U.convert_conv3d_weight_memory_format(model, f.channels_last_3d)
    return [
        layer.weight.shape, after, before, [p.stride() for p in model.parameters()],
        caught(U.skip_init, int), caught(U.skip_init, f.nn.ReLU),
        U.get_total_norm([numbers(f, 3), numbers(f, 2, 2)], 3.0),
    ]  # fmt: skip


def seen_by(run, framework) -> list:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flat(run(framework))


def same_things(ours: list, theirs: list) -> None:
    assert len(ours) == len(theirs)
    for number, (x, y) in enumerate(zip(ours, theirs)):
        if isinstance(y, torch.Tensor):
            assert tuple(x.shape) == tuple(y.shape), number
            close(array(x), array(y), str(y.dtype).removeprefix("torch."), f"{number}: ")
        else:
            assert text(x) == text(y), number


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda run: run.__name__)
def test_utils(run):
    same_things(seen_by(run, facula), seen_by(run, torch))
