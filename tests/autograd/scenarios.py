"""Autograd's semantics as programs see them: scenarios for both frameworks. See `tests/scenarios.py`."""

import numpy as np

from tests.scenarios import error

SCENARIOS = []


def scenario(program):
    """Add a program to the list."""
    SCENARIOS.append(program)
    return program


def leaf(torch, *shape, seed=0, dtype="float64"):
    """A leaf with numbers drawn by NumPy."""
    values = np.random.default_rng(seed).uniform(-2, 2, shape)
    return torch.tensor(values, dtype=getattr(torch, dtype), requires_grad=True)


def graph(torch, root, depth=6):
    """The names of the nodes below a tensor, in order of `next_functions`."""
    found = []

    def walk(node, level):
        if node is None:
            found.append("None")
        elif level:
            found.append(node.name())
            for below, number in node.next_functions:
                found.append(number)
                walk(below, level - 1)

    walk(root.grad_fn, depth)
    return found


# --- graphs -------------------------------------------------------------------------------------------------------


def _chain(torch):
    x, w = leaf(torch, 3, 4), leaf(torch, 4, seed=1)
    y = (x * w).sum()
    return x, w, (y * y).log()


@scenario
def graph_of_a_chain(torch):
    x, w, y = _chain(torch)
    return graph(torch, y), x.is_leaf, y.is_leaf, x.grad_fn, y.output_nr


@scenario
def graphs_of_many_operations(torch):
    x = leaf(torch, 4, 4)
    m = torch.tensor([True, False, True, False])
    i = torch.tensor([0, 2])
    makers = [
        lambda: x + 1, lambda: 1 - x, lambda: x / 2, lambda: x**2, lambda: 2**x, lambda: -x, lambda: x @ x,
        lambda: x.t(), lambda: x.T,
        lambda: x.sum(), lambda: x.sum(0), lambda: x.mean(), lambda: x.mean(1), lambda: x.max(), lambda: x.max(0)[0],
        lambda: x.min(), lambda: x.prod(),
        lambda: x.var(), lambda: x.std(), lambda: x.norm(), lambda: x.exp(), lambda: x.abs(), lambda: x.clamp(0, 1),
        lambda: x.view(16), lambda: x.reshape(2, 8), lambda: x.flatten(), lambda: x.permute(1, 0),
        lambda: x.transpose(0, 1), lambda: x.unsqueeze(0),
        lambda: x.unsqueeze(0).squeeze(0), lambda: x[0], lambda: x[1:], lambda: x[:, 1], lambda: x[m], lambda: x[i],
        lambda: x[0, 0], lambda: x.expand(2, 4, 4),
        lambda: x.repeat(2, 1), lambda: torch.cat([x, x]), lambda: torch.stack([x, x]), lambda: x.split(2)[0],
        lambda: x.unbind()[0], lambda: x.clone(),
        lambda: x.float(), lambda: x.contiguous(), lambda: x.t().contiguous(), lambda: torch.where(x > 0, x, x * 2),
        lambda: x.masked_fill(m, 0),
        lambda: x.gather(0, i.expand(4, 2).t()), lambda: x.index_select(0, i), lambda: x.cumsum(0), lambda: x.sqrt(),
        lambda: x.sigmoid(), lambda: x.tanh(),
        lambda: x.log(), lambda: x.sin(), lambda: torch.addmm(x, x, x), lambda: x.diagonal(), lambda: x.flip(0),
        lambda: x.roll(1, 0), lambda: x.tril(),
        lambda: x.triu(), lambda: x.logsumexp(0), lambda: x.narrow(0, 1, 2), lambda: x.select(0, 1), lambda: x.mv(x[0]),
        lambda: x[0].dot(x[1]),
        lambda: torch.einsum("ij,jk->ik", x, x), lambda: torch.outer(x[0], x[1]), lambda: x.amax(),
        lambda: torch.maximum(x, x * 2), lambda: x.lerp(x, 0.5),
        lambda: x.fill_diagonal_(0) if False else x.square(), lambda: x.reciprocal(), lambda: x.rsqrt(),
        lambda: torch.bmm(x[None], x[None]),
    ]  # fmt: skip
    return [getattr(make().grad_fn, "name", lambda n=n: f"none: {n}")() for n, make in enumerate(makers)]


@scenario
def next_functions_of_leaves(torch):
    x = leaf(torch, 2)
    y = x * 2
    ((node, number),) = [f for f in y.grad_fn.next_functions if f[0] is not None]
    return (
        node.name(),
        number,
        node.variable is x,
        node is y.grad_fn.next_functions[0][0],
        (x * 3).grad_fn.next_functions[0][0] is node,
    )


# --- backward and grad --------------------------------------------------------------------------------------------


@scenario
def gradients_add_up(torch):
    x, w, y = _chain(torch)
    y.backward()
    first = x.grad.clone(), w.grad.clone()
    _, _, _ = x, w, y
    ((x * w).sum() ** 2).log().backward()
    return first, x.grad, w.grad


@scenario
def backward_twice(torch):
    x, w, y = _chain(torch)
    y.backward(retain_graph=True)
    y.backward()
    return x.grad, error(y.backward)


@scenario
def backward_of_a_vector(torch):
    x = leaf(torch, 3)
    y = x * 2
    found = error(y.backward)
    y.backward(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    return found, x.grad


@scenario
def bad_gradients(torch):
    x = leaf(torch, 3)
    y = x * 2
    return (
        error(y.backward, torch.ones(2, dtype=torch.float64)), error(torch.ones(2).backward),
        error(torch.ones(2).sum().backward), error(y.backward, 3),
        error(torch.autograd.grad, y.sum(), [torch.ones(2)]), error(torch.autograd.grad, y.sum(), leaf(torch, 2)),
        error(torch.autograd.grad, y, x),
        error(y.sum().backward, inputs=[]), error(torch.autograd.backward, [y.sum(), y.sum()], [None]),
    )  # fmt: skip


@scenario
def grad_of_several(torch):
    x, w = leaf(torch, 3), leaf(torch, 3, seed=1)
    a, b = (x * w).sum(), (x**2 * w).sum()
    found = torch.autograd.grad([a, b], [x, w], [torch.tensor(2.0, dtype=torch.float64), None])
    return found, x.grad, w.grad


@scenario
def grad_of_unused(torch):
    x, w = leaf(torch, 3), leaf(torch, 3, seed=1)
    y = (x * 2).sum()
    return (
        torch.autograd.grad(y, [x, w], allow_unused=True, retain_graph=True),
        torch.autograd.grad(y, [x, w], materialize_grads=True, retain_graph=True),
        error(torch.autograd.grad, y, [x, w]),
        error(torch.autograd.grad, y, [x, w], allow_unused=False, materialize_grads=True),
    )  # fmt: skip


@scenario
def grad_of_inner_tensors(torch):
    x = leaf(torch, 3)
    y = x * 2
    z = (y**3).sum()
    a, b = torch.autograd.grad(z, [y, x])
    return a, b, error(torch.autograd.grad, z, y)


@scenario
def grad_leaves_what_is_below_its_inputs(torch):
    x = leaf(torch, 3)
    y = x * x
    z = (y * y).sum()
    first = torch.autograd.grad(z, y)
    y.sum().backward()
    return first, x.grad, error(torch.autograd.grad, z, y)


@scenario
def backward_into_inputs(torch):
    x, w = leaf(torch, 3), leaf(torch, 3, seed=1)
    y = x * w
    z = (y**2).sum()
    y.retain_grad()
    z.backward(inputs=[x, y])
    return x.grad, w.grad, y.grad


@scenario
def second_derivatives(torch):
    x = leaf(torch, 3)
    y = (x**4).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    (k,) = torch.autograd.grad(h.sum(), x)
    return g, h, k


@scenario
def gradient_penalty(torch):
    x, w = leaf(torch, 5, 3), leaf(torch, 3, 2, seed=1)
    y = torch.tanh(x @ w).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (g.norm(dim=1) - 1).pow(2).mean().backward()
    return w.grad, x.grad


@scenario
def create_graph_in_backward(torch):
    x = leaf(torch, 3)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    x.grad = None
    g.sum().backward()
    return g, x.grad


@scenario
def diamond(torch):
    x = leaf(torch, 3)
    a = x.exp()
    b, c = a * 2, a.sin()
    d = b * c + a
    d.sum().backward()
    return x.grad


@scenario
def same_tensor_many_times(torch):
    x = leaf(torch, 3)
    y = x
    for _ in range(5):
        y = y * x + y
    y.sum().backward()
    return x.grad


@scenario
def outputs_with_and_without_gradient(torch):
    x = leaf(torch, 3, 4)
    values, indices = x.max(1)
    a, b = x.split(2)
    (values.sum() + b.sum() * 0).backward()
    return (
        x.grad,
        values.grad_fn.name(),
        indices.requires_grad,
        indices.grad_fn,
        values.output_nr,
        b.output_nr,
        a.grad_fn is b.grad_fn,
    )


@scenario
def integers_have_no_gradient(torch):
    x = torch.tensor([1, 2, 3])
    return (
        error(x.requires_grad_),
        error(torch.tensor, [1], requires_grad=True),
        (x * 1.5).requires_grad,
        error(setattr, x, "requires_grad", True),
    )


@scenario
def gradient_through_dtypes(torch):
    x = leaf(torch, 3, dtype="float32")
    y = (x.double() * 2).float().sum() + (x.to(torch.float64) ** 2).sum()
    y.backward()
    z = leaf(torch, 3, dtype="float16")
    (z.float() * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    return x.grad, z.grad


@scenario
def gradient_of_promoted_operands(torch):
    a, b = leaf(torch, 3, dtype="float32"), leaf(torch, 3, dtype="float64", seed=1)
    c = torch.tensor(2.0, requires_grad=True)
    (a * b + c * a).sum().backward()
    return a.grad, b.grad, c.grad


@scenario
def gradient_of_broadcast_operands(torch):
    a, b, c = leaf(torch, 3, 1), leaf(torch, 4, seed=1), leaf(torch, seed=2)
    (a * b + c).sum().backward()
    return a.grad, b.grad, c.grad


@scenario
def complex_gradients(torch):
    z = torch.tensor([1 + 2j, -0.5 + 0.1j], requires_grad=True)
    w = torch.tensor([0.3 - 1j, 2 + 0j], requires_grad=True)
    y = (z * w).abs().sum() + (z.conj() * w).real.sum() + z.exp().imag.sum() + (z / w).angle().sum()
    y.backward()
    u = torch.tensor([1 + 2j], requires_grad=True)
    return z.grad, w.grad, error((u * u).backward), error((u * u).sum().backward)


@scenario
def real_of_complex(torch):
    x = leaf(torch, 3)
    z = torch.complex(x, x * 2)
    torch.view_as_real(z).pow(2).sum().backward()
    return x.grad


# --- leaves, detach, modes ----------------------------------------------------------------------------------------


@scenario
def detaching(torch):
    x = leaf(torch, 3)
    y = x * 2
    d = y.detach()
    d.add_(1)
    f = y.data
    f.mul_(2)
    return (
        d.requires_grad,
        d.is_leaf,
        y,
        d,
        d.data_ptr() == y.data_ptr(),
        error(lambda: (x * 2)[0].detach_()),
        y.detach_().requires_grad,
        y.grad_fn,
    )


@scenario
def changes_through_data_are_not_noticed(torch):
    x = leaf(torch, 3)
    y = x.exp()
    y.data.mul_(0)
    y.sum().backward()
    return x.grad


@scenario
def changes_through_detach_are_noticed(torch):
    x = leaf(torch, 3)
    y = x.exp()
    y.detach().mul_(0)
    return error(y.sum().backward)


@scenario
def modes(torch):
    x = leaf(torch, 3)
    found = []
    with torch.no_grad():
        found += [(x * 2).requires_grad, torch.is_grad_enabled(), x.requires_grad]
        with torch.enable_grad():
            found += [(x * 2).requires_grad, torch.is_grad_enabled()]
        found.append(torch.is_grad_enabled())
    with torch.set_grad_enabled(False):
        found.append((x * 2).requires_grad)
    with torch.inference_mode():
        found += [(x * 2).requires_grad, torch.is_inference_mode_enabled(), torch.is_grad_enabled()]
    torch.set_grad_enabled(False)
    found += [(x * 2).requires_grad, torch.is_grad_enabled()]
    torch.set_grad_enabled(True)
    found += [(x * 2).requires_grad, torch.is_grad_enabled(), torch.is_inference_mode_enabled()]
    return found


@scenario
def modes_as_decorators(torch):
    x = leaf(torch, 3)

    @torch.no_grad()
    def first():
        return (x * 2).requires_grad

    @torch.enable_grad()
    def second():
        return (x * 2).requires_grad

    @torch.no_grad()
    def generate():
        for _ in range(2):
            yield torch.is_grad_enabled()

    @torch.inference_mode()
    def third():
        return torch.is_grad_enabled()

    inside = []
    for state in generate():
        inside += [state, torch.is_grad_enabled()]
    with torch.no_grad():
        inside.append(second())
    return first(), inside, third(), torch.is_grad_enabled()


@scenario
def modes_after_an_error(torch):
    def raising(mode):
        with mode:
            raise ValueError("inside")

    found = [
        error(raising, mode)
        for mode in (torch.no_grad(), torch.enable_grad(), torch.set_grad_enabled(False), torch.inference_mode())
    ]
    return found, torch.is_grad_enabled()


@scenario
def grad_attribute(torch):
    x = leaf(torch, 3)
    before = x.grad
    x.grad = torch.ones(3, dtype=torch.float64)
    (x * 2).sum().backward()
    found = [
        before,
        x.grad.clone(),
        error(setattr, x, "grad", torch.ones(2, dtype=torch.float64)),
        error(setattr, x, "grad", torch.ones(3)),
        error(setattr, x, "grad", 3),
    ]
    x.grad.zero_()
    found.append(x.grad)
    x.grad = None
    return found, x.grad


@scenario
def gradient_accumulates_in_the_same_memory(torch):
    x = leaf(torch, 3)
    (x * 2).sum().backward()
    g = x.grad
    (x * 3).sum().backward()
    return g, x.grad is g


@scenario
def gradient_is_its_own_memory(torch):
    x = leaf(torch, 3)
    g = torch.ones(3, dtype=torch.float64)
    y = x * 1
    y.backward(g)
    x.grad.mul_(5)
    a, b = leaf(torch, 3), leaf(torch, 3, seed=1)
    (a + b).backward(g)
    a.grad.mul_(7)
    return g, x.grad, a.grad, b.grad


@scenario
def requires_grad_of_inner_tensors(torch):
    x = leaf(torch, 3)
    y = x * 2
    return (
        error(setattr, y, "requires_grad", False),
        y.requires_grad_(True).requires_grad,
        error(y.requires_grad_, False),
        x.requires_grad_(False).requires_grad,
        y.is_leaf,
    )


@scenario
def retained_gradients(torch):
    x = leaf(torch, 3)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    z = y**2
    z.sum().backward()
    return y.grad, y.retains_grad, x.retains_grad, z.retains_grad, error(torch.ones(2).retain_grad), z.grad


@scenario
def retained_gradient_before_in_place(torch):
    x = leaf(torch, 3)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    return y.grad, x.grad


@scenario
def numpy_of_tensors_with_gradients(torch):
    x = leaf(torch, 3)
    return (
        error(x.numpy),
        x.detach().numpy().tolist(),
        error((x * 2).numpy),
        error(np.asarray, x),
        error(lambda: x.tolist()),
        error(lambda: x.sum().item()),
    )


@scenario
def copies_of_tensors_with_history(torch):
    import copy
    import pickle

    x = leaf(torch, 3)
    y = copy.deepcopy(x)
    z = pickle.loads(pickle.dumps(x))
    return y, y.is_leaf, error(copy.deepcopy, x * 2), z, z.requires_grad


# --- hooks --------------------------------------------------------------------------------------------------------


@scenario
def tensor_hooks(torch):
    x = leaf(torch, 3)
    y = x * 2
    order = []
    y.register_hook(lambda g: order.append("first"))
    h = y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: order.append(float(g[0])))
    x.register_hook(lambda g: order.append(("leaf", float(g[0]))))
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    found = [x.grad.clone(), list(order)]
    h.remove()
    x.grad = None
    y.sum().backward()
    return found, x.grad, order, error(torch.ones(2).register_hook, print)


@scenario
def hook_on_a_tensor_that_is_changed_in_place(torch):
    x = leaf(torch, 3)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(float(g[0])))
    y.mul_(5)
    y.register_hook(lambda g: seen.append(float(g[0]) + 100))
    y.sum().backward()
    return seen, x.grad


@scenario
def hooks_and_grad(torch):
    x = leaf(torch, 3)
    y = x * 2
    y.register_hook(lambda g: g * 3)
    x.register_hook(lambda g: g * 5)
    return torch.autograd.grad((y**2).sum(), y, retain_graph=True), torch.autograd.grad((y**2).sum(), x)


@scenario
def node_hooks(torch):
    x = leaf(torch, 3)
    y = x * 2
    z = y.sum()
    seen = []
    z.grad_fn.register_hook(lambda gi, go: seen.append(("post", len(gi), len(go), float(go[0]))))
    y.grad_fn.register_prehook(lambda go: (go[0] * 3,))
    y.grad_fn.register_hook(lambda gi, go: tuple(None if g is None else g + 1 for g in gi))
    z.backward()
    return x.grad, seen


@scenario
def accumulator_hooks(torch):
    x = leaf(torch, 3)
    seen = []
    node = x.view_as(x).grad_fn.next_functions[0][0]
    node.register_hook(lambda gi, go: seen.append(("node", len(gi), len(go))))
    node.register_prehook(lambda go: seen.append(("pre", float(go[0][0]))))
    x.register_hook(lambda g: seen.append("tensor"))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(("after", float(t.grad[0]))))
    (x * 2).sum().backward()
    return seen, x.grad, error((x * 2).register_post_accumulate_grad_hook, print)


@scenario
def optimizer_in_backward(torch):
    x = leaf(torch, 3)

    def step(t):
        with torch.no_grad():
            t -= 0.1 * t.grad
        t.grad = None

    x.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (x**2).sum().backward()
    return x, x.grad


# --- in-place -----------------------------------------------------------------------------------------------------


@scenario
def leaves_may_not_be_changed(torch):
    x = leaf(torch, 3)
    found = [
        error(x.add_, 1),
        error(x[0].add_, 1),
        error(x.zero_),
        error(x.__setitem__, 0, 1.0),
        error(x.copy_, x * 1),
        error(x.view(3).mul_, 2),
        error(x.uniform_),
    ]
    with torch.no_grad():
        x.add_(1)
        x[0] = 5
    return found, x, x._version


@scenario
def changed_values_are_noticed(torch):
    found = []
    for change in (
        lambda y: y.add_(1),
        lambda y: y[0].fill_(3),
        lambda y: y.__setitem__(0, 1.0),
        lambda y: y.detach().zero_(),
        lambda y: y.copy_(y.detach().clone()),
    ):
        x = leaf(torch, 3)
        y = x.exp()
        z = y * y
        change(y)
        found.append((error(z.sum().backward), y._version))
    return found


@scenario
def harmless_changes(torch):
    x = leaf(torch, 3)
    y = x * 2  # keeps nothing of y
    y.add_(1)
    z = y.exp()
    y.mul_(3)
    (z + y).sum().backward()
    return x.grad, y._version


@scenario
def version_counters(torch):
    x = torch.zeros(4)
    found = [x._version]
    x.add_(1)
    found.append(x._version)
    v = x[1:]
    v.mul_(2)
    found += [x._version, v._version]
    x[0] = 3
    found.append(v._version)
    d = x.detach()
    d.add_(1)
    found += [x._version, x.clone()._version, x.data._version]
    torch.add(x, 1, out=x)
    found.append(x._version)
    x.zero_()
    x.fill_(2)
    x.copy_(torch.ones(4))
    found.append(x._version)
    return found


@scenario
def in_place_chain(torch):
    x, w = leaf(torch, 3), leaf(torch, 3, seed=1)
    y = x.clone()
    y.mul_(w).add_(x).sin_().mul_(2)
    y += w
    y *= x
    y.sum().backward()
    return x.grad, w.grad, graph(torch, y, 4)


@scenario
def in_place_that_makes_a_leaf_require_gradients(torch):
    x = torch.zeros(3, dtype=torch.float64)
    w = leaf(torch, 3)
    x.add_(w)
    before = x.requires_grad, x.is_leaf
    (x**2).sum().backward()
    return before, w.grad, x.grad


@scenario
def writing_into_zeros(torch):
    w = leaf(torch, 3)
    x = torch.zeros(4, 3, dtype=torch.float64)
    x[1] = w * 2
    x[2:] += w
    (x**2).sum().backward()
    return x, w.grad, x.grad_fn.name(), x.requires_grad


@scenario
def in_place_on_views(torch):
    x = leaf(torch, 4, 3)
    y = x * 1
    v = y[1]
    v.mul_(5)
    a = graph(torch, y, 3), graph(torch, v, 3)
    u = y.t()
    u[0] += 2
    y[:, 1] = 0
    (v.sum() + (y**2).sum()).backward()
    return a, x.grad, y, v, u


@scenario
def views_see_changes_of_their_base(torch):
    x = leaf(torch, 4)
    y = x * 1
    v = y[:2]
    y.mul_(3)
    name = v.grad_fn.name()
    v.sum().backward()
    return name, x.grad, v


@scenario
def views_of_views(torch):
    x = leaf(torch, 2, 3, 4)
    y = x.clone()
    a = y.view(6, 4)
    b = a[2:5]
    c = b.t()
    c.mul_(2)
    b[0].add_(1)
    (y.sum() + (c**2).sum() + a.prod(1).sum()).backward()
    return x.grad, y, a, b, c, b._is_view(), b._base is y, c._base is y


@scenario
def in_place_through_several_dtypes_of_views(torch):
    x = leaf(torch, 4, 4)
    y = x * 1
    y.diagonal().zero_()
    y.unfold(0, 2, 2)[0].mul_(2)
    y.select(1, 2).fill_(7)
    y.narrow(0, 1, 2).transpose(0, 1).add_(1)
    y.as_strided((2,), (5,), 1).mul_(10)
    y.squeeze().unsqueeze(0).expand(1, 4, 4)[0].sub_(1)
    (y**2).sum().backward()
    return x.grad, y


@scenario
def views_of_several_outputs(torch):
    x = leaf(torch, 4)
    y = x * 1
    a, b = y.split(2)
    c = y.unbind()
    d = y.chunk(2)
    return [error(v.add_, 1) for v in (a, b, c[0], d[1])]


@scenario
def views_made_without_gradient(torch):
    x = leaf(torch, 4)
    with torch.no_grad():
        v = x[:2]
    y = x * 1
    with torch.no_grad():
        w = y[:2]
        w.mul_(2)
    found = [error(v.add_, 1), v.requires_grad, w.requires_grad]
    z = y.detach()[:2]
    z.add_(1)
    return found[:1], y, z.requires_grad, error(y.sum().backward)


@scenario
def views_are_marked(torch):
    x = torch.zeros(4, 4)
    y = x.view(16)
    z = y[3:]
    return (
        x._is_view(),
        y._is_view(),
        z._base is x,
        x._base,
        x.detach()._is_view(),
        x.t()._base is x,
        x.contiguous()._is_view(),
        x[0]._is_view(),
        x.expand(2, 4, 4)._is_view(),
        x.clone()._is_view(),
    )


@scenario
def in_place_shapes(torch):
    x = leaf(torch, 2, 3)
    y = x * 1
    y.t_()
    y.unsqueeze_(0)
    y.squeeze_(0)
    y.transpose_(0, 1)
    (y * torch.arange(6, dtype=torch.float64).view(2, 3)).sum().backward()
    return x.grad, y


@scenario
def index_writes(torch):
    x, w = leaf(torch, 4, 3), leaf(torch, 2, 3, seed=1)
    y = x * 1
    y[torch.tensor([0, 2])] = w
    y[y > 1] = 0.5
    y[torch.tensor([1, 1, 3])] += 1
    y.index_put_((torch.tensor([0, 0]),), w, accumulate=True)
    y.scatter_(0, torch.tensor([[0, 1, 2]]), w[:1])
    y.masked_fill_(torch.tensor([True, False, True]), 2.0)
    (y**2).sum().backward()
    return x.grad, w.grad, y


@scenario
def self_reference_in_place(torch):
    x = leaf(torch, 3)
    y = x * 1
    y.add_(y)
    z = y * 1
    z.mul_(z)
    return torch.autograd.grad(y.sum(), x, retain_graph=True), error(z.sum().backward), y, z


@scenario
def base_that_comes_to_need_a_gradient_after_its_view(torch):
    w = leaf(torch, 4)
    y = torch.zeros(4, dtype=torch.float64)
    v, u = y[:2], y[1:3]
    y.add_(w)
    found = v.requires_grad, v.grad_fn.name(), u.is_leaf
    v.mul_(2)
    z = (v * 3).sum() + y.sum() + (u * u).sum()
    z.backward()
    return found, w.grad, v, u, y


@scenario
def view_that_brings_a_gradient_to_its_base(torch):
    w = leaf(torch, 2)
    y = torch.zeros(4, dtype=torch.float64)
    u, v = y[1:], y[:2]
    v.copy_(w)
    found = y.requires_grad, u.requires_grad, v.requires_grad
    (u * torch.arange(3.0, dtype=torch.float64)).sum().backward()
    return found, w.grad, u


@scenario
def custom_function_output_that_is_a_view(torch):
    class View(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view(-1)

        @staticmethod
        def backward(ctx, grad):
            return grad.view(2, 2)

    y = leaf(torch, 2, 2) * 1
    q = View.apply(y)
    return error(q.add_, 1), q._is_view()


@scenario
def overlapping_writes(torch):
    x = torch.zeros(4)
    return (
        error(torch.zeros(1).expand(3).add_, 1), error(x[1:].add_, x[:-1]),
        error(torch.zeros(3, 1).expand(3, 2).copy_, torch.ones(3, 2)),
        error(lambda: torch.add(x[1:], 1, out=x[:-1])),
    )  # fmt: skip


@scenario
def in_place_on_a_tensor_of_lower_dtype(torch):
    x = torch.zeros(3, dtype=torch.int64)
    return (
        error(x.add_, 1.5),
        error(x.div_, 2),
        error(x.mul_, torch.ones(3)),
        error(torch.ones(3).add_, torch.ones(2, 3)),
        error(torch.zeros(3, dtype=torch.bool).add_, 1),
        x,
    )


# --- custom functions ---------------------------------------------------------------------------------------------


@scenario
def custom_function(torch):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return x**3 * factor

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * ctx.factor * grad, None

    x = leaf(torch, 3)
    y = Cube.apply(x, 2.0)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    return y, y.grad_fn.name(), g, h, error(Cube), graph(torch, y, 3)


@scenario
def custom_function_with_setup_context(torch):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(a, b, flag):
            return a * b

        @staticmethod
        def setup_context(ctx, inputs, output):
            a, b, flag = inputs
            ctx.save_for_backward(a, b)
            ctx.flag = flag

        @staticmethod
        def backward(ctx, grad):
            a, b = ctx.saved_tensors
            return grad * b if ctx.needs_input_grad[0] else None, grad * a if ctx.needs_input_grad[1] else None, None

    a, b = leaf(torch, 3), torch.ones(3, dtype=torch.float64) * 2
    y = Product.apply(a, b, True)
    y.sum().backward()
    return y, a.grad, b.grad


@scenario
def custom_function_with_several_outputs(torch):
    class Both(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            i = x.argmax()
            ctx.mark_non_differentiable(i)
            return x.sin(), x.cos(), i

        @staticmethod
        def backward(ctx, a, b, c):
            (x,) = ctx.saved_tensors
            assert c is None or not c.any()
            return a * x.cos() - b * x.sin()

    x = leaf(torch, 3)
    a, b, i = Both.apply(x)
    (a * 2).sum().backward(retain_graph=True)
    first = x.grad.clone()
    x.grad = None
    (a * b).sum().backward()
    return a, b, i, i.requires_grad, first, x.grad, a.output_nr, b.output_nr, a.grad_fn is b.grad_fn


@scenario
def custom_function_without_materialized_gradients(torch):
    seen = []

    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a is None, b is None))
            return a

    x = leaf(torch, 3)
    a, b = Two.apply(x)
    a.sum().backward()
    return x.grad, seen


@scenario
def custom_function_in_place(torch):
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = leaf(torch, 3)
    y = x * 1
    z = Twice.apply(y)
    found = [z is y, y.grad_fn.name(), y._version]
    (y**2).sum().backward()
    return found, x.grad, y, error(Twice.apply, x)


@scenario
def custom_function_that_returns_its_input(torch):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 3

    class View(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view(-1)

        @staticmethod
        def backward(ctx, grad):
            return grad.view(2, 2) * 5

    x = leaf(torch, 2, 2)
    y = Same.apply(x)
    z = View.apply(x)
    (y.sum() + z.sum()).backward()
    return y is x, y.requires_grad, y.grad_fn.name(), x.grad, z.grad_fn.name()


@scenario
def custom_function_saves_its_output(torch):
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, grad):
            (y,) = ctx.saved_tensors
            return grad * y

    x = leaf(torch, 3)
    y = Exp.apply(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    z = Exp.apply(x)
    z.mul_(2)
    return g, h, error(z.sum().backward)


@scenario
def custom_function_errors(torch):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, grad):
            return grad

    class Shape(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return grad[:2]

    class Nothing(torch.autograd.Function):
        pass

    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    x, y = leaf(torch, 3), leaf(torch, 3, seed=1)
    return (
        error(Wrong.apply(x, y).sum().backward),
        error(Shape.apply(x).sum().backward),
        error(Nothing.apply, x),
        error(Plain.apply(x).sum().backward),
    )


@scenario
def custom_function_freed_twice(torch):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * grad

    x = leaf(torch, 3)
    y = Cube.apply(x).sum()
    y.backward()
    return error(y.backward), x.grad


@scenario
def custom_function_once_differentiable(torch):
    from importlib import import_module

    once = import_module(torch.__name__ + ".autograd.function").once_differentiable

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @once
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * grad

    x = leaf(torch, 3)
    (g,) = torch.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    return g.detach(), g.requires_grad, error(torch.autograd.grad, g.sum(), x)


@scenario
def custom_function_under_no_grad(torch):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, torch.is_grad_enabled()

        @staticmethod
        def backward(ctx, grad, _):
            return grad * 2

    x = leaf(torch, 3)
    with torch.no_grad():
        y, inside = Same.apply(x)
    z, also = Same.apply(x)
    return y, inside, z, also, Same.apply(x.detach())[0]


@scenario
def custom_function_in_backward_of_another(torch):
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, g):
            return g * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Outer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return Inner.apply(g)

    x = leaf(torch, 3)
    (g,) = torch.autograd.grad(Outer.apply(x * x).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    return g, h


@scenario
def backward_inside_backward(torch):
    class Again(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with torch.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = (ctx.x**2).sum()
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, grad):
            with torch.enable_grad():
                ctx.y.backward(grad)
            return ctx.x.grad

    x = leaf(torch, 3)
    (Again.apply(x * 3) * 2).backward()
    return x.grad


# --- saved tensors, anomaly, functional ---------------------------------------------------------------------------


@scenario
def saved_tensor_hooks(torch):
    seen = []

    def pack(t):
        seen.append(("pack", tuple(t.shape)))
        return t * 1

    def unpack(t):
        seen.append("unpack")
        return t

    x = leaf(torch, 3)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x.exp() * x.sin()
    z = y.cos()
    z.sum().backward()
    return x.grad, len(seen), seen[0]


@scenario
def save_on_cpu(torch):
    x = leaf(torch, 3)
    with torch.autograd.graph.save_on_cpu():
        y = (x * x).sin()
    y.sum().backward()
    return x.grad


@scenario
def disabled_saved_tensor_hooks(torch):
    def use():
        with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                pass

    return error(use)


@scenario
def allowed_mutation(torch):
    x = leaf(torch, 3)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        y = x * 1
        z = y.sin()
        y.mul_(0)
        z.sum().backward()
    return x.grad


@scenario
def gradient_edges(torch):
    x = leaf(torch, 3)
    y = x * 2
    edge = torch.autograd.graph.get_gradient_edge(y)
    found = torch.autograd.grad((y**2).sum(), edge)
    return found, edge.node.name(), edge.output_nr, torch.autograd.graph.get_gradient_edge(x).node.name()


@scenario
def anomaly_mode(torch):
    x = torch.tensor([-1.0, 4.0], requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        y = x.sqrt().sum()
        found = error(y.backward), torch.is_anomaly_enabled()
    with torch.autograd.set_detect_anomaly(True):
        inside = torch.is_anomaly_enabled()
    return found, inside, torch.is_anomaly_enabled()


@scenario
def functional(torch):
    f = torch.autograd.functional
    x, v = leaf(torch, 3).detach(), leaf(torch, 3, seed=1).detach()

    def square(t):
        return (t**3).sum()

    def several(a, b):
        return a * b, a.sin().sum()

    return (
        f.jacobian(lambda t: t**2, x), f.jacobian(several, (x, v)), f.hessian(square, x),
        f.hessian(lambda a, b: (a * b).sum() ** 2, (x, v)), f.vjp(lambda t: t**2, x, v),
        f.jvp(lambda t: t**2, x, v), f.vhp(square, x, v), f.hvp(square, x, v),
        f.jacobian(lambda t: t**2, x, create_graph=True).requires_grad,
        f.jacobian(lambda t: torch.ones(2, dtype=torch.float64), x), error(f.jacobian, lambda t: torch.ones(2), x,
                                                                strict=True), error(f.hessian, lambda t: t, x),
        error(f.vjp, lambda t: t**2, x), error(f.jacobian, lambda t: 3, x),
    )  # fmt: skip


@scenario
def checking_gradients(torch):
    x = leaf(torch, 3)

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 3

    check, again = torch.autograd.gradcheck, torch.autograd.gradgradcheck
    z = torch.tensor([1 + 1j, 0.5 - 2j], dtype=torch.complex128, requires_grad=True)
    return (
        check(torch.sin, (x,)), check(lambda a: (a * 2, a.exp()), x), again(torch.sin, (x,)),
        error(check, Wrong.apply, (x,)), check(Wrong.apply, (x,), raise_exception=False),
        check(lambda a: a * a.conj(), (z,)), error(check, torch.sin, (torch.ones(2),)),
        check(lambda a: a.sum(), (leaf(torch, 2, 3),)),
        check(torch.mul, (x, torch.ones(3, dtype=torch.float64))),
    )  # fmt: skip


@scenario
def twice_through_the_engine_with_errors(torch):
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            raise ValueError("in the formula")

    x = leaf(torch, 3)
    found = error(Bad.apply(x).sum().backward), torch.is_grad_enabled()
    (x * 2).sum().backward()
    return found, x.grad


@scenario
def names_of_autograd(torch):
    a = torch.autograd
    return [
        hasattr(a, n)
        for n in (
            "Function",
            "Variable",
            "backward",
            "grad",
            "no_grad",
            "enable_grad",
            "set_grad_enabled",
            "inference_mode",
            "gradcheck",
            "gradgradcheck",
            "functional",
            "graph",
            "detect_anomaly",
            "set_detect_anomaly",
            "function",
            "grad_mode",
        )
    ]


@scenario
def variable(torch):
    v = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    (v * 2).sum().backward()
    return v.grad, isinstance(v, torch.Tensor), isinstance(torch.ones(1), torch.autograd.Variable)
