"""Random tensors: PyTorch's streams for a seed, number for number; the algorithms are the target's."""

import math
from typing import Any

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.device import CPU, DEVICE, device, fixed, of_places, place
from facula.core.generator import NEEDED, Generator, default_generator, default_of, seed_all
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import broadcast
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Unbatchable
from facula.errors import fail

from . import pinning
from .copying import contiguous, copy_values, dense_order, overwrite
from .creation import (
    _finish,
    _kind_of,
    _like,
    _resized,
    _spec_of,
    dtype_c_name,
    from_numpy,
    largest,
    numpy_view,
    only_strided,
    zeros_of,
)
from .declare import INTO, common_device, function, one_device
from .declare.away import here
from .inplace import check_leaf, check_overlap, recording
from .promotion import DEFAULT, of_defaults
from .view import ints

__all__ = [
    "bernoulli", "binomial", "get_rng_state", "initial_seed", "manual_seed", "multinomial", "normal", "poisson", "rand",
    "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip


def _sampler(where):
    return launch.native("random", where)


def allowed() -> None:
    """What `vmap` says of random numbers: RuntimeError, the same for all, or one element of the batch at a time."""
    for level in LOCAL.levels:
        if level.kind == BATCH and level.randomness == "error":
            fail(
                RuntimeError,
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                "'different' randomness flags on vmap or perform the randomness operation out of vmap",
            )
        if level.kind == BATCH and level.randomness == "different":
            raise Unbatchable("random numbers that differ are drawn for one element of the batch at a time")


def batched() -> bool:
    """Whether `vmap` asks for numbers that are the same for all elements of a batch, or differ."""
    return bool(GUARD.active) and any(level.kind == BATCH for level in LOCAL.levels)


def _generator(given, where: device) -> Generator:
    """The generator that was given, or that of the device."""
    if GUARD.active and LOCAL.levels:
        allowed()
    if given is None:
        return default_of(where)
    if not isinstance(given, Generator):
        fail(TypeError, f"generator must be a torch.Generator, not {type(given).__name__}")
    if given.device.type != where.type and not launch.hollow(where):
        fail(
            RuntimeError,
            f"Expected a '{where.type}' device type for generator but found '{given.device.type}'",
            mend=f"torch.Generator(device='{where.type}')",
        )
    return given


def _fill(target: Tensor, name: str, generator, *args, **kwargs) -> Tensor:
    """Draw into a tensor: dense memory in its own order, other layouts through a temporary in that order."""
    s = target.spec
    if recording(target):
        check_leaf(target)
    check_overlap(target)
    draw = getattr(_sampler(s.device), name)
    parts = 2 if s.dtype.kind == "c" else 1
    kind = s.dtype.to_real() if parts == 2 else s.dtype
    if name == "normal":
        kwargs["contiguous"] = s.contiguous
    if s.contiguous or dense_order(s) is not None:
        draw(target.ptr, s.numel * parts, kind.code, _generator(generator, s.device), *args, **kwargs)
    elif s.numel:
        order = sorted(range(s.ndim), key=lambda d: (-s.strides[d], d))
        from .view import permute

        shape = tuple(s.shape[d] for d in order)
        drawn = launch.empty(dense(s.dtype, shape, s.device))
        draw(drawn.ptr, s.numel * parts, kind.code, _generator(generator, s.device), *args, **kwargs)
        back = tuple(order.index(d) for d in range(s.ndim))
        overwrite(target, permute(drawn, back))
        return target
    target.storage.version += 1
    return target


def _float(target: Tensor, name: str) -> None:
    if target.spec.dtype.kind not in "fc":
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(target.spec.dtype)}'")


# --- in place -----------------------------------------------------------------------------------------------------


def uniform_(self: Tensor, from_=0.0, to=1.0, *, generator=None, **named) -> Tensor:
    """Numbers spread evenly over [from, to)."""
    low = named.pop("from", from_)
    _float(self, "check_uniform_bounds")
    if low > to:
        fail(RuntimeError, f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={to:g}")
    for name, end in (("from", low), ("to", to)):
        if not abs(end) <= largest(self.spec.dtype):
            fail(RuntimeError, f"{name} is out of bounds for {dtype_c_name(self.spec.dtype)}", got=end)
    return _fill(self, "uniform", generator, float(low), float(to))


def normal_(self: Tensor, mean=0.0, std=1.0, *, generator=None) -> Tensor:
    """Numbers of the normal distribution."""
    _float(self, "normal_kernel_cpu")
    if std < 0:
        fail(RuntimeError, f"normal expects std >= 0.0, but found std {std}")
    if self.spec.dtype.kind == "c":
        std = std / math.sqrt(2)
    return _fill(self, "normal", generator, float(mean), float(std))


def log_normal_(self: Tensor, mean=1.0, std=2.0, *, generator=None) -> Tensor:
    """Numbers whose logarithm is normal."""
    if std <= 0:
        fail(RuntimeError, f"log_normal_ expects std > 0.0, but found std={std}")
    return _fill(self, "log_normal", generator, float(mean), float(std))


def exponential_(self: Tensor, lambd=1.0, *, generator=None) -> Tensor:
    """Numbers of the exponential distribution with rate `lambd`."""
    if lambd <= 0:
        fail(RuntimeError, f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _fill(self, "exponential", generator, float(lambd))


def cauchy_(self: Tensor, median=0.0, sigma=1.0, *, generator=None) -> Tensor:
    """Numbers of the Cauchy distribution."""
    if sigma <= 0:
        fail(RuntimeError, f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _fill(self, "cauchy", generator, float(median), float(sigma))


def geometric_(self: Tensor, p, *, generator=None) -> Tensor:
    """How many trials of chance `p` a success takes."""
    if not 0 < p < 1:
        fail(RuntimeError, f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _fill(self, "geometric", generator, float(p))


def bernoulli_(self: Tensor, p=0.5, *, generator=None) -> Tensor:
    """1 with chance `p` (a number or a tensor), else 0."""
    if not isinstance(p, Tensor):
        if not 0 <= p <= 1:
            fail(RuntimeError, f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        return _fill(self, "bernoulli", generator, float(p))
    from .view import expand_to

    p = here(p, self.spec.device) if p.spec.device is CPU else p  # as PyTorch, which moves it
    where = one_device(self.spec, p.spec)
    chances = copy_values(launch.empty(dense(p.spec.dtype, self.spec.shape, where)), expand_to(p, self.spec.shape))
    made = launch.empty(dense(self.spec.dtype, self.spec.shape, where))
    _each(made, chances, generator)
    overwrite(self, made)
    return self


def filled_bernoulli(target: Tensor, p: float, one: float) -> Tensor:
    """`one` with chance `p`, else 0: the draws of `bernoulli_`, already scaled."""
    return _fill(target, "bernoulli", None, p, one=one)


def _each(out: Tensor, chances: Tensor, generator) -> None:
    bad = _sampler(out.spec.device).bernoulli_each(
        out.ptr, out.spec.numel, out.spec.dtype.code, _generator(generator, out.spec.device), chances.ptr,
        chances.spec.dtype.code,
    )  # fmt: skip
    if bad >= 0:
        fail(
            RuntimeError,
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false.",
            got=f"a chance of {numpy_view(chances).flat[bad]}",
        )


def random_(self: Tensor, from_=None, to=None, *, generator=None, **named) -> Tensor:
    """Whole numbers over the dtype's range, over [0, to) or over [from, to)."""
    low = named.pop("from", from_)
    if low is not None and to is None and "from" not in named and not named:
        low, to = 0, low
    if low is None and to is None:
        return _fill(self, "integers", generator)
    if to is not None and low >= to:
        fail(RuntimeError, f"random_ expects 'from' to be less than 'to', but got from={low} >= to={to}")
    return _fill(self, "integers", generator, low, to)


# --- new tensors --------------------------------------------------------------------------------------------------


def _drawn(size, dtype, device, requires_grad, out, draw) -> Tensor:
    s = dense(_kind_of(dtype, out), ints(size), place(device))
    for n in s.shape:
        if n < 0:
            fail(RuntimeError, f"Trying to create tensor with negative dimension {n}: {list(s.shape)}")
    made = launch.empty(s) if out is None else _resized(out, s)
    return _finish(draw(made), requires_grad)


def _creator(name: str, in_place, *parameters: float):
    """A function of sizes that draws a new tensor by one of the float samplers."""
    # By what was asked for: allocator, spec, sampler, default generator.
    known: dict[tuple, tuple] = of_places(of_defaults({}))

    def create(
        *args, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
        pin_memory=False,
    ) -> Tensor:  # fmt: skip
        if size is not None:
            args = (size,)
        if pin_memory:
            named = {"generator": generator, "out": out, "dtype": dtype, "layout": layout, "device": device}
            return pinning.created(create, {"args": args, "requires_grad": requires_grad, **named})
        try:
            empty, s, draw, usual = known[args, dtype, device, layout, DEVICE[0]]
        except (KeyError, TypeError):
            if layout is not None:
                only_strided(in_place.__name__, layout)
            kind = dtype or DEFAULT.float
            if out is not None or kind.kind != "f":
                return _drawn(args, dtype, device, requires_grad, out, lambda t: in_place(t, generator=generator))
            s = _spec_of(args, kind, device, name)
            empty, draw = launch.allocator(s.device), _sampler(s.device).sampler(name, s.numel, kind.code)
            usual = default_of(s.device)
            if all(n.__class__ is int for n in args) and fixed(device, DEVICE[0]):
                if len(known) > 4096:
                    known.clear()
                known[args, dtype, device, layout, DEVICE[0]] = empty, s, draw, usual
        if out is not None:
            return _drawn(args, dtype, device, requires_grad, out, lambda t: in_place(t, generator=generator))
        made = empty(s)
        if GUARD.active and LOCAL.levels:
            allowed()
        generator = usual if generator is None else _generator(generator, s.device)
        with generator.lock:
            draw(generator.ptr, made.ptr, s.numel, *parameters)
        return _finish(made, requires_grad) if requires_grad else made

    return create


rand = _creator("uniform", uniform_, 0.0, 1.0)
rand.__name__ = rand.__qualname__ = "rand"
rand.__doc__ = """Numbers spread evenly over [0, 1).

Examples
--------
>>> import facula as torch
>>> _ = torch.manual_seed(0)
>>> torch.rand(2)
tensor([0.4963, 0.7682])
"""
randn = _creator("normal", normal_, 0.0, 1.0)
randn.__name__ = randn.__qualname__ = "randn"
randn.__doc__ = """Numbers of the standard normal distribution."""


def randint(
    low,
    high: Any = None,
    size=None,
    *,
    generator=None,
    out=None,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    pin_memory=False,
) -> Tensor:
    """Whole numbers over [low, high), int64 unless told otherwise: randint(high, size) or randint(low, high, size)."""
    if pin_memory:
        return pinning.created(randint, locals())
    if layout is not None:
        only_strided("random_.from", layout)
    if size is None:
        low, high, size = 0, low, high
    if low >= high:
        fail(RuntimeError, f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    kind = dtype or (dt.int64 if out is None else out.spec.dtype)
    _bounds(low, high, kind)
    return _drawn((size,), kind, device, requires_grad, out, lambda t: _fill(t, "integers", generator, low, high))


def _bounds(low: int, high: int, kind) -> None:
    """RuntimeError where whole numbers from `low` to before `high` do not fit a dtype."""
    if kind.is_complex:
        fail(RuntimeError, "check_random_bounds handles only integral, floating-point and boolean types")
    least, most = (
        (0, 1)
        if kind.kind == "b"
        else (0, 2 ** (8 * kind.itemsize) - 1)
        if kind.kind == "u"
        else (-(2 ** (8 * kind.itemsize - 1)), 2 ** (8 * kind.itemsize - 1) - 1)
    )
    if kind.kind != "f":
        names = {"b": ("bool",), "u": ("unsigned char", "short unsigned int", "unsigned int", "long unsigned int")}
        of_size = kind.itemsize.bit_length() - 1
        name = names.get(kind.kind, ("signed char", "short", "int", "long"))[of_size]
        if not least <= low <= most:
            fail(RuntimeError, f"from is out of bounds for {name}")
        if not least <= high - 1 <= most:
            fail(RuntimeError, f"to - 1 is out of bounds for {name}")


def randperm(
    n, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
) -> Tensor:
    """The numbers 0 to n - 1 in random order."""
    if pin_memory:
        return pinning.created(randperm, locals())
    if layout is not None:
        only_strided("randperm.generator_out", layout)
    if n < 0:
        fail(RuntimeError, f"n must be non-negative, got {n}")
    return _drawn(
        (n,),
        dtype or (dt.int64 if out is None else out.spec.dtype),
        device,
        requires_grad,
        out,
        lambda t: _fill(t, "permutation", generator),
    )


def _as(input, dtype, device, memory_format, requires_grad, draw) -> Tensor:
    return _finish(draw(launch.empty(_like(input, dtype, device, memory_format))), requires_grad)


def rand_like(
    input,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
    memory_format=None,
    generator=None,
) -> Tensor:
    """`rand` in the shape and dtype of another tensor."""
    if pin_memory:
        return pinning.created(rand_like, locals())
    if layout is not None and layout is not input.layout:
        only_strided("empty_strided", layout)
    return _as(input, dtype, device, memory_format, requires_grad, lambda t: uniform_(t, generator=generator))


def randn_like(
    input,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
    memory_format=None,
    generator=None,
) -> Tensor:
    """`randn` in the shape and dtype of another tensor."""
    if pin_memory:
        return pinning.created(randn_like, locals())
    if layout is not None and layout is not input.layout:
        only_strided("empty_strided", layout)
    return _as(input, dtype, device, memory_format, requires_grad, lambda t: normal_(t, generator=generator))


def randint_like(
    input, low, high=None, *, generator=None, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False, memory_format=None,
) -> Tensor:  # fmt: skip
    """`randint` in the shape and dtype of another tensor."""
    if pin_memory:
        return pinning.created(randint_like, locals())
    if layout is not None and layout is not input.layout:
        only_strided("empty_strided", layout)
    if high is None:
        low, high = 0, low
    _bounds(low, high, dtype or input.spec.dtype)
    return _as(input, dtype, device, memory_format, requires_grad, lambda t: _fill(t, "integers", generator, low, high))


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size=None,
    *,
    generator=None,
    out=None,
    dtype=None,
    device=None,
    requires_grad=False,
    layout=None,
    pin_memory=False,
) -> Tensor:
    """Normal numbers with given means and standard deviations (numbers or tensors)."""
    if pin_memory:
        return pinning.created(normal, locals())
    if layout is not None:
        only_strided("normal_", layout)
    if isinstance(std, Tensor):
        if not launch.lacks(std) and bool((std < 0).any()):
            fail(RuntimeError, "normal expects all elements of std >= 0.0")
    elif std < 0:
        fail(RuntimeError, f"normal expects std >= 0.0, but found std {std}")
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        made = normal_around(mean, std, generator)
        return made if out is None else INTO[0]("normal", out, made, ())
    return _drawn((size,), dtype, device, requires_grad, out, lambda t: normal_(t, mean, std, generator=generator))


@function(tensors=("mean", "std"))
def normal_around(mean, std, generator):
    """Normal numbers around each element of `mean`, or with each deviation in `std`."""
    from .elementwise import add, mul

    specs = [x.spec for x in (mean, std) if isinstance(x, Tensor)]
    made = launch.empty(dense(specs[0].dtype, broadcast(*[s.shape for s in specs]), common_device(specs)))
    if isinstance(std, Tensor):
        return add(mul(normal_(made, generator=generator), std), mean)
    return add(normal_(made, 0.0, std, generator=generator), mean)


normal_around.operator.node_class.__name__ = "NormalBackward0"


def bernoulli(input, p=None, *, generator=None, out=None) -> Tensor:
    """1 with the chance that the element of `input` gives (or `p`), else 0."""
    if p is not None:
        made = bernoulli_(
            launch.empty(dense(input.spec.dtype, input.spec.shape, input.spec.device)), p, generator=generator
        )
        return made if out is None else INTO[0]("bernoulli", out, made, ())
    made = bernoulli_each(input, generator, input.spec.dtype if out is None else out.spec.dtype)
    return made if out is None else INTO[0]("bernoulli", out, made, (input,))


@function(tensors=("input",))
def bernoulli_each(input, generator, kind):
    """1 with the chance that the element of `input` gives, else 0."""
    _float(input, "bernoulli_tensor_cpu_p_")
    made = launch.empty(dense(kind, input.spec.shape, input.spec.device))
    _each(made, contiguous(input), generator)
    return made


bernoulli_each.operator.node_class.__name__ = "BernoulliBackward0"


@function(tensors=("input",))
def poisson(input, generator=None):
    """Counts of the Poisson distribution with the rates in `input`."""
    _float(input, "poisson_cpu")
    where = input.spec.device
    if not launch.lacks(input) and bool((input < 0).any()):
        fail(RuntimeError, "invalid Poisson rate, expected rate to be non-negative")
    made = launch.empty(dense(input.spec.dtype, input.spec.shape, where))
    _sampler(made.spec.device).poisson(
        made.ptr, made.spec.numel, made.spec.dtype.code, _generator(generator, where), contiguous(input).ptr
    )
    return made


@function(tensors=("count", "prob"))
def binomial(count, prob, generator=None):
    """Numbers of successes in so many trials (`count`) of a chance (`prob`)."""
    for x, which in ((count, "count"), (prob, "prob")):
        if x.spec.dtype.kind != "f":
            fail(
                ValueError,
                f"binomial only supports floating-point dtypes for {which}, got: {dtype_title(x.spec.dtype)}",
            )
    if count.spec.dtype is not prob.spec.dtype:
        fail(
            RuntimeError,
            f"expected scalar type {dtype_title(count.spec.dtype)} but found {dtype_title(prob.spec.dtype)}",
        )
    shape = broadcast(count.spec.shape, prob.spec.shape)
    where = one_device(count.spec, prob.spec)
    counts, chances = (copy_values(launch.empty(dense(x.spec.dtype, shape, where)), x) for x in (count, prob))
    known = not (launch.lacks(counts) or launch.lacks(chances))
    if known and bool((counts < 0).any()):
        fail(RuntimeError, "invalid counts, expected counts to be non-negative")
    if known and bool(((chances < 0) | (chances > 1)).any()):
        fail(RuntimeError, "invalid probabilities, expected 0 <= prob <= 1")
    made = launch.empty(dense(count.spec.dtype, shape, where))
    _sampler(made.spec.device).binomial(
        made.ptr, made.spec.numel, made.spec.dtype.code, _generator(generator, where), counts.ptr, chances.ptr
    )
    return made


# What is drawn has, for PyTorch, the slope 0 in all parameters.
normal_around.gradient("mean")(
    lambda grad, mean_spec: zeros_of(dense(mean_spec.dtype, mean_spec.shape, mean_spec.device))
)
normal_around.gradient("std")(lambda grad, std_spec: zeros_of(dense(std_spec.dtype, std_spec.shape, std_spec.device)))
for _drawn_from in (bernoulli_each, poisson):
    _drawn_from.gradient("input")(
        lambda grad, input_spec: zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device))
    )
binomial.gradient("count")(
    lambda grad, count_spec: zeros_of(dense(count_spec.dtype, count_spec.shape, count_spec.device))
)
binomial.gradient("prob")(lambda grad, prob_spec: zeros_of(dense(prob_spec.dtype, prob_spec.shape, prob_spec.device)))


def multinomial(input, num_samples, replacement=False, *, generator=None, out=None) -> Tensor:
    """Indices drawn with chances proportional to `input`: (n) or (rows, n) -> (num_samples) or (rows, num_samples)."""
    from .reduction import argmax
    from .sorting import topk

    s = input.spec
    if s.ndim not in (1, 2):
        fail(RuntimeError, "prob_dist must be 1 or 2 dim")
    if s.dtype.kind != "f":
        fail(RuntimeError, f"multinomial only supports floating-point dtypes for input, got: {type(input).__name__}")
    if num_samples <= 0:
        fail(RuntimeError, "cannot sample n_sample <= 0 samples")
    categories = s.shape[-1]
    if not replacement and num_samples > categories:
        fail(RuntimeError, "cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    chances = copy_values(launch.empty(dense(s.dtype, s.shape, s.device)), input)
    if not replacement or num_samples == 1:
        known = not launch.lacks(chances)
        finite = not known or bool((chances >= 0).all()) and bool(chances.isfinite().all())
        if not finite:
            fail(RuntimeError, "probability tensor contains either `inf`, `nan` or element < 0")
        if known and bool((chances.sum(-1) == 0).any()):
            fail(RuntimeError, "invalid multinomial distribution (sum of probabilities <= 0)")
        q = exponential_(launch.empty(dense(s.dtype, s.shape, s.device)), generator=generator)
        ratio = chances / q
        made = argmax(ratio, -1, keepdim=True) if num_samples == 1 else topk(ratio, num_samples, -1)[1]
    else:
        rows = s.shape[0] if s.ndim == 2 else 1
        made = launch.empty(dense(dt.int64, (*s.shape[:-1], num_samples), s.device))
        _sampler(s.device).multinomial(
            made.ptr, rows, num_samples, _generator(generator, s.device), chances.ptr, s.dtype.code, categories
        )
    if out is not None and out.spec.dtype is not dt.int64:
        fail(RuntimeError, f"multinomial expects Long tensor out, got: {dtype_title(out.spec.dtype)}")
    return made if out is None else INTO[0]("multinomial", out, made, ())


# --- generators ---------------------------------------------------------------------------------------------------


def _needed(where: device) -> None:
    """RuntimeError where a device cannot be used."""
    try:
        launch.allocator(where)
    except AssertionError as error:
        why = "; ".join(getattr(error, "__notes__", ())) or str(error)
        fail(RuntimeError, f"Device type {where.type.upper()} is not supported for torch.Generator() api.", got=why)


NEEDED["cuda"] = _needed


def manual_seed(seed) -> Generator:
    """Start the default streams of random numbers from `seed`, on all devices."""
    seed_all(int(seed))
    return default_generator


def seed() -> int:
    """Start the default streams from a number that nobody knows; returns it."""
    found = default_generator.seed()
    seed_all(found)
    return found


def initial_seed() -> int:
    """The number that the default stream was started from."""
    return default_generator.initial_seed()


def get_state(self: Generator) -> Tensor:
    """The state of the stream as a uint8 tensor."""
    return from_numpy(np.array(self.legacy_state()))


def set_state(self: Generator, new_state: Tensor) -> None:
    """Continue from a state that `get_state` gave."""
    if not isinstance(new_state, Tensor) or new_state.spec.dtype is not dt.uint8:
        what = type(new_state).__name__ if not isinstance(new_state, Tensor) else str(new_state.spec.dtype)
        fail(TypeError, f"expected a torch.ByteTensor, but got {what}")
    self.load_legacy_state(np.ascontiguousarray(numpy_view(new_state)))


for _body in (get_state, set_state):
    setattr(Generator, _body.__name__, _body)


def get_rng_state() -> Tensor:
    """The state of the default stream as a uint8 tensor."""
    return get_state(default_generator)


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default stream from a state that `get_rng_state` gave."""
    set_state(default_generator, new_state)


for _body in (
    uniform_,
    normal_,
    log_normal_,
    exponential_,
    cauchy_,
    geometric_,
    bernoulli_,
    random_,
    bernoulli,
    multinomial,
):
    setattr(Tensor, _body.__name__, _body)
