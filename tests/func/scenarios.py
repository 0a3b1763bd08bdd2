"""Function transforms, interception, mixed precision and checkpoints as programs see them. See `tests/scenarios.py`."""

from importlib import import_module

import numpy as np

from tests.scenarios import error

SCENARIOS = []


def scenario(program):
    """Add a program to the list."""
    SCENARIOS.append(program)
    return program


def numbers(torch, *shape, seed=0, dtype="float64"):
    """Numbers drawn by NumPy."""
    values = np.random.default_rng(seed).uniform(-1.5, 1.5, shape)
    return torch.tensor(np.asarray(values), dtype=getattr(torch, dtype))


def part(torch, name):
    """A submodule of either framework."""
    return import_module(f"{torch.__name__}.{name}")


# --- derivatives ----------------------------------------------------------------------------------------------------


@scenario
def gradients(torch):
    f = torch.func
    x, y = numbers(torch, 3), numbers(torch, 3, seed=1)

    def loss(x, y):
        return (x.sin() * y).sum()

    return (
        f.grad(loss)(x, y),
        f.grad(loss, argnums=1)(x, y),
        f.grad(loss, argnums=(0, 1))(x, y),
        f.grad_and_value(loss)(x, y),
        f.grad(lambda d: (d["a"] * d["b"][0]).sum())({"a": x, "b": [y]}),
        f.grad(lambda x: (x.sum(), x * 2), has_aux=True)(x),
        f.grad_and_value(lambda x: ((x**2).sum(), {"twice": x * 2}), has_aux=True)(x),
        f.grad(f.grad(f.grad(lambda x: x**4)))(numbers(torch)),
        f.grad(lambda x: f.grad(lambda y: x * y * y)(x))(numbers(torch)),
        f.grad(lambda x: torch.ones(()) * 3)(x),
    )


@scenario
def gradients_and_what_is_captured(torch):
    f = torch.func
    x = numbers(torch, 3)
    w = numbers(torch, 3, seed=1).requires_grad_()
    g = f.grad(lambda x: (x * x * w).sum())(x)
    (g * g).sum().backward()
    with torch.no_grad():
        quiet = f.grad(lambda x: (x * w).sum())(x)
    inside = f.grad(lambda x: (x * x.detach()).sum())(x)
    leaf = x.clone().requires_grad_()
    outer = f.grad(lambda x: (x**3).sum())(leaf)
    return g, w.grad, quiet, inside, outer, torch.autograd.grad(outer.sum(), leaf)


@scenario
def vjp_and_jvp(torch):
    f = torch.func
    x, v = numbers(torch, 2, 3), numbers(torch, 2, 3, seed=1)
    out, pull = f.vjp(lambda x: (x.exp(), {"s": x.sum(0)}), x)
    aux = f.vjp(lambda x: (x * 2, x.sum()), x, has_aux=True)
    return (
        out,
        pull((v, {"s": v[0]})),
        pull((v * 2, {"s": v[1]})),
        aux[0],
        aux[1](v),
        aux[2],
        f.jvp(torch.tanh, (x,), (v,)),
        f.jvp(lambda x, y: x @ y.T, (x, v), (v, x)),
        f.jvp(lambda x: (x.sin(), x.sum()), (x,), (v,), has_aux=True),
        f.jvp(lambda x: torch.ones(2), (x,), (v,)),
        f.linearize(lambda x: (x.sin(), x @ x.T), x)[1](v),
        f.jvp(lambda x: f.jvp(torch.sin, (x,), (v,))[1], (x,), (v,)),
    )


@scenario
def jacobians(torch):
    f = torch.func
    x, y = numbers(torch, 2, 2), numbers(torch, 2, seed=1)

    def g(x, y):
        return x @ y, {"p": (x * y).sum()}

    def h(x):
        return (x @ x.T).sin().sum()

    return (
        f.jacrev(g, argnums=(0, 1))(x, y),
        f.jacfwd(g, argnums=(0, 1))(x, y),
        f.jacrev(g, argnums=1, chunk_size=1)(x, y),
        f.jacrev(g, argnums=1, chunk_size=2)(x, y),
        f.jacrev(lambda x: (x.exp(), x), has_aux=True)(x),
        f.jacfwd(lambda x: (x.exp(), x), has_aux=True)(x),
        f.hessian(h)(x),
        f.jacrev(f.jacrev(h))(x),
        f.jacrev(f.jacfwd(h))(x),
        f.jacfwd(f.jacfwd(h))(x),
        f.vmap(f.hessian(lambda x: (x**3).sum()))(x),
        f.vmap(f.jacrev(torch.sin))(x),
    )


@scenario
def functional_derivatives(torch):
    A = torch.autograd.functional
    x, y = numbers(torch, 2, 2), numbers(torch, 2, seed=1)

    def g(x, y):
        return x @ y, (x * y).sum()

    def h(x, y):
        return (x.sin() @ y).pow(2).sum()

    out = []
    for options in ({}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}):
        out.append(A.jacobian(g, (x, y), **options))
    for options in ({}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}):
        out.append([[part.detach() for part in row] for row in A.hessian(h, (x, y), **options)])
    return (
        out,
        A.vjp(g, (x, y), (y, y[0])),
        A.jvp(g, (x, y), (x, y)),
        A.hvp(h, (x, y), (x, y)),
        A.vhp(h, (x, y), (x, y)),
        error(A.jacobian, g, (x, y), strict=True, vectorize=True),
        error(A.hessian, lambda x: x.sum(), x, strict=True),
        error(A.jacobian, lambda x: torch.ones(2), x, strict=True),
        error(A.jacobian, g, (x, y), strategy="sideways"),
    )


@scenario
def forward_mode_of_tensors(torch):
    ad = part(torch, "autograd.forward_ad")
    x, v = numbers(torch, 2, 2), numbers(torch, 2, 2, seed=1)
    with ad.dual_level():
        d = ad.make_dual(x, v)
        made = [ad.unpack_dual(y) for y in (d * d, d.T[0], torch.softmax(d, -1), d.detach() * 2 + d, d > 0)]
        z = torch.zeros(2, 2, dtype=torch.float64)
        z[0] = d[1]
        z += d
        w = x.clone()
        w[1:] *= d[:1]
        made += [ad.unpack_dual(z), ad.unpack_dual(w)]
        kept = d * 3
        inner = error(ad.enter_dual_level)
    return [tuple(m) for m in made], kept + 1, inner, error(ad.make_dual, x, v), tuple(ad.unpack_dual(x))


@scenario
def many_cotangents_at_once(torch):
    x = numbers(torch, 3).requires_grad_()
    y = x * x
    return torch.autograd.grad(y, x, torch.eye(3, dtype=torch.float64), is_grads_batched=True)


# --- batches --------------------------------------------------------------------------------------------------------


@scenario
def vmap_of_operators(torch):
    v, F = torch.vmap, torch.nn.functional
    x, y = numbers(torch, 3, 4), numbers(torch, 3, 4, seed=1)
    m, n = numbers(torch, 3, 4, 5), numbers(torch, 3, 5, 2, seed=1)
    i = torch.tensor([[0, 1], [3, 2], [1, 1]])
    image, kernel = numbers(torch, 3, 2, 2, 5, 5), numbers(torch, 3, 4, 2, 3, 3, seed=2)
    return (
        v(torch.add)(x, y), v(torch.add, (0, None))(x, y[0]), v(lambda a: a + 1)(x), v(torch.dot)(x, y),
        v(torch.mm)(m, n), v(torch.mm, (0, None))(m, n[0]), v(torch.mv)(m, n[:, :, 0]), v(torch.matmul)(m, n[:, :, 0]),
        v(lambda x: x.sum())(x), v(lambda x: x.mean(0, keepdim=True))(x), v(lambda x: torch.softmax(x, -1))(x),
        v(lambda x: x.max(0))(x), v(lambda x: x.sort()[1])(x), v(lambda x: x.t())(m), v(lambda x: x.reshape(-1))(m),
        v(lambda x: x[1:, ::2])(m), v(lambda x, i: x[i])(x, i), v(lambda x, i: x.gather(0, i))(x, i),
        v(lambda x, i: torch.zeros(4, dtype=x.dtype).scatter(0, i, x[:2]))(x, i),
        v(lambda x: x.cumsum(0))(x), v(lambda x: torch.cat([x, x * 2]))(x), v(lambda x: torch.stack([x, x]))(x),
        v(lambda x: x.unsqueeze(0).expand(2, 4))(x), v(lambda x: x.movedim(0, 1))(m), v(lambda x: x.flip(0))(x),
        v(lambda x: torch.where(x > 0, x, -x))(x), v(lambda x: x.clamp(0, 1))(x), v(lambda x: x.var(0))(x),
        v(lambda x, w: F.linear(x, w))(x, m.transpose(1, 2)), v(lambda x: F.linear(x, m[0].T))(x),
        v(F.conv2d)(image, kernel), v(F.conv2d, (0, None))(image, kernel[0]), v(F.conv2d, (None, 0))(image[0], kernel),
        v(lambda x: F.layer_norm(x, (4,)))(x), v(lambda x: F.max_pool2d(x, 2))(image),
        v(lambda x, t: F.cross_entropy(x, t))(x[:, None], torch.tensor([[0], [1], [3]])),
        v(lambda i: F.embedding(i, x))(i % 3), v(torch.linalg.inv)(m[:, :, :4] @ m[:, :, :4].mT + torch.eye(4)),
        v(lambda x: torch.einsum("ij,kj->ik", x, x))(m), v(lambda x: x.norm())(x), v(lambda x: x.unbind(0)[1])(m),
        v(lambda x: x.float() + numbers(torch, 4)[0])(x), v(lambda x, s: x.float() * s)(x, x[:, 0]),
    )  # fmt: skip


@scenario
def vmap_of_places(torch):
    v = torch.vmap
    x = numbers(torch, 2, 3, 4)
    return (
        v(lambda a: a * 2, in_dims=1, out_dims=1)(x),
        v(lambda a: a.sum(0), in_dims=-1, out_dims=-1)(x),
        v(lambda d, y: d["a"] * d["b"][0] * y, in_dims=({"a": 0, "b": (None,)}, None))({"a": x, "b": (x[0],)}, 2.0),
        v(lambda a: (a, {"s": a.sum()}), out_dims=(1, {"s": 0}))(x),
        v(lambda a: (a, 3), out_dims=(0, None))(x),
        v(lambda a: torch.ones(2))(x),
        v(v(torch.mul, (0, None)), (None, 0))(x[0, 0], x[0, 1]),
        v(v(lambda a: a.cumsum(0)), in_dims=2)(x),
        v(lambda a: a.sum(), chunk_size=2)(x[0]),
        v(lambda a: (a.sum(), a), chunk_size=2, out_dims=(0, 1))(x[0]),
        v(lambda a: v(lambda b: (a * b).sum())(x[0]))(x[1]),
    )


@scenario
def vmap_in_place(torch):
    v = torch.vmap
    x = numbers(torch, 2, 3)

    def over(x):
        y = x.clone()
        y.add_(1).mul_(x)
        y[0] = x[2]
        y[1:] += 1
        z = torch.zeros_like(x)
        z[:2] = y[1:]
        u = x.new_zeros(2)
        u.copy_(y[:2])
        return y, z, u, y.view(-1)[0].fill_(5)

    kept = x.clone()
    v(lambda a: a.mul_(2))(kept)
    f = torch.func
    return v(over)(x), kept, f.vmap(f.jacrev(lambda x: over(x)[:3]))(x), f.vmap(f.jacfwd(lambda x: over(x)[:3]))(x)


@scenario
def vmap_errors(torch):
    v, x = torch.vmap, torch.ones(3, 2)
    return (
        error(v(lambda x: x.sum().item()), x),
        error(v(lambda x: x if x.sum() > 0 else -x), x),
        error(v(lambda x: torch.ones(2).mul_(x)), x),
        error(v(torch.rand_like), x),
        error(v(lambda x: x, in_dims=2), x),
        error(v(lambda x: x, in_dims=None), x),
        error(v(lambda x: x, in_dims="a"), x),
        error(v(lambda x, y: x, in_dims=(0,)), x, x),
        error(v(lambda x, y: x), x, 1),
        error(v(lambda x, y: x), x, torch.ones(4)),
        error(v(lambda: 1)),
        error(v(lambda x: 1), x),
        error(v(lambda x: (x, x), out_dims=(0,)), x),
        error(v(lambda x: x, out_dims="a"), x),
        error(v(lambda x: x, out_dims=None), x),
        error(v, torch.sin, randomness="some"),
        error(v, torch.sin, chunk_size=0),
    )


@scenario
def transform_errors(torch):
    f, x = torch.func, torch.ones(3)
    return (
        error(f.grad(lambda x: x), x),
        error(f.grad(lambda x: 3), x),
        error(f.grad(lambda x: x.sum(), argnums=1), x),
        error(f.grad(lambda x: x.sum(), argnums=()), x),
        error(f.grad(lambda x: x.sum(), argnums=(0, 0)), x),
        error(f.grad(lambda x: x.sum(), argnums="a"), x),
        error(f.jvp, torch.sin, x, x),
        error(f.jvp, torch.sin, (x,), (x, x)),
        error(f.jvp, lambda x: 3, (x,), (x,)),
        error(f.jvp, lambda x: torch.ones(2), (x,), (x,), strict=True),
        error(f.vjp, lambda x: 3, x),
        error(f.vjp(torch.sin, x)[1], (x, x)),
        error(f.jacrev, torch.sin, chunk_size=0),
        error(f.jacrev(torch.sin), x + 1j),
        error(f.functionalize, torch.sin, remove="all"),
    )


@scenario
def vmap_of_random_numbers(torch):
    F = torch.nn.functional
    x = torch.linspace(-1, 1, 6).view(2, 3)
    torch.manual_seed(1)
    same = torch.vmap(lambda x: torch.rand(3) + x, randomness="same")(x)
    dropped = torch.vmap(lambda x: F.dropout(torch.ones(3)), randomness="same")(x)
    differ = torch.vmap(lambda x: torch.rand(20), randomness="different")(x)
    return same, dropped, bool((differ[0] != differ[1]).any()), torch.rand(1).shape


# --- modules and custom functions -------------------------------------------------------------------------------------


@scenario
def gradients_of_each_sample(torch):
    f, F = torch.func, torch.nn.functional
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    )
    params = {name: p.detach() for name, p in net.named_parameters()}
    data, target = torch.linspace(-1, 1, 64).view(4, 1, 4, 4), torch.tensor([0, 1, 2, 1])

    def loss(params, x, t):
        return F.cross_entropy(f.functional_call(net, params, (x[None],)), t[None])

    found = f.vmap(f.grad(loss), (None, 0, 0))(params, data, target)
    return {name: found[name] for name in sorted(found)}


@scenario
def modules_as_functions(torch):
    f = torch.func
    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)) for _ in range(3)]
    x = torch.linspace(-1, 1, 12).view(4, 3)
    params, buffers = f.stack_module_state(nets)
    net = nets[0].eval()
    ones = {name: torch.ones_like(p) for name, p in net.named_parameters()}

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(2, 2, bias=False)
            self.b = self.a

        def forward(self, x):
            return self.b(self.a(x))

    tied, one = Tied(), torch.ones(2, 2)
    return (
        [(n, p.shape, p.requires_grad, p.is_leaf) for n, p in params.items()],
        sorted(buffers),
        f.functional_call(net, ones, (x,)),
        f.functional_call(net, (ones, dict(net.named_buffers())), x),
        f.functional_call(tied, {"a.weight": one}, one),
        f.functional_call(tied, {"a.weight": one}, one, tie_weights=False).shape,
        error(f.functional_call, tied, {"a.weight": one, "b.weight": one * 2}, one),
        error(f.functional_call, net, {"none": one}, x, strict=True)[0],
        error(f.functional_call, net, (ones, ones), x)[0],
        error(f.functional_call, net, 3, x),
        error(f.stack_module_state, []),
        error(f.stack_module_state, [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1).eval()]),
        net[0].weight.requires_grad,
    )


@scenario
def custom_functions(torch):
    f = torch.func
    x = numbers(torch, 2, 3)

    class Square(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x**2

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 2 * x * grad

        @staticmethod
        def jvp(ctx, tangent):
            (x,) = ctx.saved_tensors
            return 2 * x * tangent

    class Own(Square):
        generate_vmap_rule = False

        @staticmethod
        def vmap(info, in_dims, x):
            return Own.apply(x) * info.batch_size, in_dims[0]

    class Old(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    return (
        f.vmap(Square.apply)(x),
        f.grad(lambda x: f.vmap(Square.apply)(x).sum())(x),
        f.vmap(f.grad(lambda x: Square.apply(x).sum()))(x),
        f.jvp(Square.apply, (x,), (x,)),
        f.jacrev(Square.apply)(x),
        f.jacfwd(Square.apply)(x),
        f.hessian(lambda x: Square.apply(x).sum())(x),
        f.vmap(Own.apply)(x),
        f.vmap(f.grad(lambda x: Own.apply(x).sum()))(x),
        f.grad(lambda x: f.vmap(Own.apply)(x).sum())(x),
        error(f.vmap(Old.apply), x)[0],
    )


# --- interception -----------------------------------------------------------------------------------------------------


def _logging(torch, log):
    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            log.append(getattr(func, "__name__", "?"))
            return super().__torch_function__(func, types, args, kwargs or {})

    return Logged


@scenario
def subclasses(torch):
    F, log = torch.nn.functional, []
    Logged = _logging(torch, log)
    x = torch.ones(2, 2).as_subclass(Logged)
    layer = torch.nn.Linear(2, 2)
    calls = [
        lambda: x + 1, lambda: 1 + x, lambda: x - 1, lambda: x / 2, lambda: x**2, lambda: -x, lambda: x @ x,
        lambda: torch.ones(2, 2) @ x, lambda: x[0], lambda: x == 1, lambda: x < 1, lambda: x % 2, lambda: abs(x),
        lambda: x.T, lambda: x.size(), lambda: x.grad, lambda: len(x), lambda: x.sum().item(), lambda: float(x.sum()),
        lambda: F.relu(x), lambda: F.softmax(x, -1), lambda: F.linear(x, x), lambda: torch.cat([x, x]),
        lambda: torch.sum(x), lambda: x.max(0), lambda: x.split(1), lambda: torch.zeros_like(x), lambda: x.new_zeros(2),
        lambda: x.clone(), lambda: x.detach(), lambda: x.numpy(), lambda: x.to(torch.float64), lambda: layer(x),
        lambda: F.cross_entropy(x, torch.tensor([0, 1])), lambda: F.dropout(x), lambda: torch.equal(x, x),
        lambda: torch.nn.Parameter(x), lambda: x.as_subclass(torch.Tensor), lambda: torch.ones(2, 2) + x,
        lambda: Logged([1.0, 2.0]), lambda: torch.add(x, x, alpha=2), lambda: x.add_(1),
    ]  # fmt: skip
    out = []
    for call in calls:
        log.clear()
        made = call()
        out.append(([n for n in log if not n.startswith("__")][:1], type(made).__name__))
    leaf = torch.ones(2, requires_grad=True)
    y = leaf.as_subclass(Logged) * 3
    y.sum().backward()
    return out, leaf.grad, type(torch.Tensor._make_subclass(Logged, leaf, True)).__name__


@scenario
def plain_subclasses(torch):
    class Mine(torch.Tensor):
        pass

    class Other(torch.Tensor):
        pass

    class Child(Mine):
        pass

    class Quiet(torch.Tensor):
        __torch_function__ = torch._C._disabled_torch_function_impl

    a, b, c, q = (kind([1.0, 2.0]) for kind in (Mine, Other, Child, Quiet))
    with torch._C.DisableTorchFunctionSubclass():
        off = type(a + 1).__name__
    names = [type(t).__name__ for t in (a + 1, a + c, c + a, torch.stack([a, a]), a.max(0)[0], q + 1, a.unbind()[0])]
    return names, off, error(lambda: a + b), error(torch.add, a, b)[0], repr(a)


@scenario
def foreign_classes(torch):
    log = []

    class Scalar:
        def __init__(self, value):
            self.value = value

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            log.append((func.__name__, [t.__name__ for t in types]))
            return -1

    class Refusing:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    s = Scalar(2)
    made = (torch.mean(s), torch.add(s, torch.ones(2)), torch.exp(s), torch.ones(2) + s, torch.cat([torch.ones(2), s]))
    overrides = part(torch, "overrides")
    made += (torch.nn.functional.relu(s), torch.clamp(s, 0, 1))
    return (
        made, log, error(torch.exp, Refusing())[0], overrides.is_tensor_like(s), overrides.has_torch_function((s,)),
        overrides.has_torch_function((torch.ones(1),)), overrides.resolve_name(torch.nn.functional.softmax),
    )  # fmt: skip


@scenario
def function_modes(torch):
    overrides = part(torch, "overrides")
    log = []

    class Names(overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            log.append(func.__name__)
            return func(*args, **(kwargs or {}))

    class Double(overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            return made * 2 if func is torch.exp else made

    x = torch.ones(2)
    with Names():
        y = torch.nn.functional.softmax(torch.zeros(2) + x, -1).sum()
        with Double():
            z = torch.exp(x)
    return y, z, log, torch.exp(x)


@scenario
def handled_functions(torch):
    overrides = part(torch, "overrides")

    def double(x):
        if overrides.has_torch_function_unary(x):
            return overrides.handle_torch_function(double, (x,), x)
        return x * 2

    class Named:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__, len(args)

    wrapped = overrides.wrap_torch_function(lambda x, y: (x, y))(lambda x, y: x + y)
    return double(torch.ones(1)), double(Named()), wrapped(torch.ones(1), 2), wrapped(1, Named())[1]


@scenario
def trees(torch):
    tree = part(torch, "utils._pytree")
    from collections import OrderedDict, namedtuple

    Pair = namedtuple("Pair", "a b")
    value = {"x": [1, (2, None)], "y": OrderedDict(z=Pair(3, [4])), "n": ()}
    leaves, spec = tree.tree_flatten(value)
    keyed, _ = tree.tree_flatten_with_path(value)
    return (
        leaves, repr(spec), repr(tree.tree_unflatten([x or 0 for x in leaves], spec)),
        repr(tree.tree_map(lambda x: (x or 0) * 2, value)), [tree.keystr(k) for k, _ in keyed],
        repr(tree.tree_map_only(int, lambda x: x + 1, value)), tree.tree_any(lambda x: x is None, value),
        tree.tree_all(lambda x: x is None, value), spec == tree.tree_structure(value), spec.num_leaves,
        tree._broadcast_to_and_flatten((0, (1, None)), tree.tree_structure((1, (2, [3, 4])))),
        tree._broadcast_to_and_flatten((0,), tree.tree_structure((1, 2))), tree.treespec_pprint(spec),
        error(tree.tree_map, lambda x, y: x, [1, 2], [1, 2, 3])[0],
        repr(tree.tree_map_with_path(lambda k, x: tree.keystr(k), [1, {"a": 2}])),
    )  # fmt: skip


# --- mixed precision and checkpoints ----------------------------------------------------------------------------------


@scenario
def autocast_of_operators(torch):
    F = torch.nn.functional
    x, w = torch.linspace(-1, 1, 12).view(3, 4), torch.linspace(0, 1, 8).view(2, 4)
    labels = torch.tensor([0, 1, 0])
    calls = [
        lambda h: x @ x.T, lambda h: torch.mm(x, x.T), lambda h: F.linear(x, w),
        lambda h: torch.bmm(x[None], x.T[None]),
        lambda h: x + x, lambda h: torch.addmm(torch.zeros(3, 3), x, x.T), lambda h: torch.mv(x, x[0]),
        lambda h: torch.matmul(x, x[0]), lambda h: torch.dot(x[0], x[0]), lambda h: torch.einsum("ij,kj->ik", x, x),
        lambda h: F.conv1d(x[None], torch.ones(2, 3, 2)), lambda h: F.conv_transpose1d(x[None], torch.ones(3, 2, 2)),
        lambda h: torch.softmax(h, -1), lambda h: F.mse_loss(h, h * 2), lambda h: F.cross_entropy(h, labels),
        lambda h: h.sum(), lambda h: torch.cat([h, x], 1), lambda h: torch.stack([h, x[:, :2]]),
        lambda h: F.linear(x.double(), w.double()), lambda h: h.prod(), lambda h: F.layer_norm(h, (2,)),
        lambda h: h + x[:, :2], lambda h: F.scaled_dot_product_attention(x[None], x[None], x[None]), lambda h: h.exp(),
        lambda h: torch.outer(x[0], x[0]), lambda h: F.nll_loss(F.log_softmax(h, -1), labels),
        lambda h: F.l1_loss(h, h + 1), lambda h: F.binary_cross_entropy_with_logits(h, torch.ones(3, 2)),
        lambda h: (x @ x.T).trace(), lambda h: torch.baddbmm(torch.zeros(1, 3, 3), x[None], x.T[None]),
        lambda h: F.kl_div(h, h.abs()), lambda h: F.smooth_l1_loss(h, h), lambda h: torch.linalg.inv(torch.eye(2)),
    ]  # fmt: skip
    out = []
    for dtype in (None, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            h = F.linear(x, w)
            for call in calls:
                made = call(h)
                out.append((str(made.dtype), made.shape, bool(torch.isfinite(made).all())))
    return out, (x @ x.T).dtype


@scenario
def autocast_switches(torch):
    x = torch.ones(2, 2)
    out = []
    with torch.autocast("cpu"):
        out += [torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), (x @ x).dtype]
        with torch.autocast("cpu", enabled=False):
            out += [torch.is_autocast_enabled("cpu"), (x @ x).dtype]
        with torch.autocast("cpu", dtype=torch.float16):
            out += [torch.get_autocast_dtype("cpu"), (x @ x).dtype]
        out += [(x @ x).dtype]

    @torch.autocast("cpu", dtype=torch.float16)
    def decorated():
        return x @ x

    return (
        out, decorated().dtype, torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"),
        error(torch.autocast, "abc")[0], error(torch.autocast, 3), torch.amp.is_autocast_available("cpu"),
        error(torch.autocast("cpu"), 3)[0],
    )  # fmt: skip


@scenario
def autocast_and_gradients(torch):
    F = torch.nn.functional
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.LayerNorm(5), torch.nn.Linear(5, 2))
    x = torch.linspace(-1, 1, 12).view(3, 4)
    inside = []

    class Twice(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        def forward(ctx, a):
            inside.append((a @ a.T).dtype)
            return a * 2

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            inside.append(torch.is_autocast_enabled("cpu"))
            return grad * 2

    with torch.autocast("cpu"):
        out = Twice.apply(net(x))
        loss = F.cross_entropy(out, torch.tensor([0, 1, 0]))
    loss.backward()
    return out.dtype, loss.dtype, inside, [(p.grad.dtype, p.grad.shape) for p in net.parameters()]


@scenario
def scaled_gradients(torch):
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([p], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    out = [error(scaler.step, optimizer)[0]]
    for i in range(5):
        optimizer.zero_grad()
        scaler.scale((p * p).sum() * (float("inf") if i == 2 else 1)).backward()
        if i % 2:
            scaler.unscale_(optimizer)
            out.append(error(scaler.unscale_, optimizer))
        scaler.step(optimizer)
        out.append(error(scaler.step, optimizer))
        scaler.update()
        out += [p.detach().clone(), scaler.get_scale()]
    off = torch.amp.GradScaler("cpu", enabled=False)
    return out, scaler.state_dict(), off.state_dict(), off.scale(p), off.get_scale(), scaler.scale([p, (p,)])


@scenario
def checkpoints(torch):
    c = part(torch, "utils.checkpoint")
    x = torch.linspace(-1, 1, 12).view(3, 4)
    out = []
    for reentrant in (True, False):
        torch.manual_seed(3)
        net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(4, 3))
        a = x.clone().requires_grad_()
        y = c.checkpoint(net, a, use_reentrant=reentrant)
        torch.rand(2)
        (y**2).sum().backward()
        out += [y, a.grad, [p.grad for p in net.parameters()], torch.rand(2)]
        a.grad = None
        y = c.checkpoint_sequential(net, 2, a, use_reentrant=reentrant)
        (y**2).sum().backward()
        out += [y, a.grad]
    a = x.clone().requires_grad_()
    y = c.checkpoint(lambda d, k=1: d["a"].sin() * k, {"a": a}, k=3, use_reentrant=False)
    out.append(torch.autograd.grad(y.sum(), a))
    runs = []

    def changing(z):
        runs.append(1)
        return (z[:2] if len(runs) > 1 else z).sin().cos()

    y = c.checkpoint(changing, a, use_reentrant=False)
    out.append(error(y.sum().backward))
    out.append(error(c.checkpoint, torch.sin, a, use_reentrant=True, k=3))
    return out
