"""Tensors and gradients in one sitting: beside NumPy first, then the graph that `backward` walks."""

import argparse

import numpy as np
import torch


def beside_numpy():
    """What NumPy does with arrays, done with tensors."""
    print("--- beside NumPy")
    rows = [[1.0, 2.0], [3.0, 4.0]]
    array, tensor = np.array(rows), torch.tensor(rows)
    print("np.array:", array.tolist(), array.dtype, array.shape)
    print("torch.tensor:", tensor.tolist(), tensor.dtype, tensor.shape)
    print(tensor)

    print("np.matmul:", np.matmul(array, array).tolist(), " torch.matmul:", torch.matmul(tensor, tensor).tolist())
    print("np.eye(3):", np.eye(3).tolist(), " torch.eye(3):", torch.eye(3).tolist())
    print("np.transpose:", np.transpose(array).tolist(), " torch.transpose:", torch.transpose(tensor, 0, 1).tolist())
    print("np.sum:", array.sum(), array.sum(axis=0).tolist(), " torch.sum:", tensor.sum(), tensor.sum(dim=0).tolist())
    print("torch.mm:", torch.mm(tensor, tensor.t()))
    print("torch.exp:", torch.exp(tensor))
    assert np.allclose(np.exp(array), torch.exp(tensor).numpy())

    shared = torch.from_numpy(array)  # no copy: both show the same memory
    array[0, 0] = 10.0
    print("after a change of the array, the tensor made from it:", shared)
    shared[1, 1] = 40.0
    print("after a change of the tensor, the array:", array.tolist())

    torch.manual_seed(7)
    print("torch.randn after manual_seed(7):", torch.randn(2, 3))
    torch.manual_seed(7)
    print("and once more:                   ", torch.randn(2, 3))


def typed_constructors():
    """The tensor types by name, and their counterparts on a GPU where there is one."""
    print("--- types by name")
    floats = torch.FloatTensor([[1, 2, 3], [4, 5, 6]])
    print(floats, floats.dtype, floats.type())
    print(torch.LongTensor([1, 2, 3]), torch.LongTensor([1, 2, 3]).type())
    print("uninitialised, of a size:", torch.FloatTensor(2, 4).shape)
    if torch.cuda.is_available():
        on_gpu = torch.cuda.FloatTensor([[1, 2, 3], [4, 5, 6]])
        print(on_gpu, on_gpu.type())
        print("back again:", on_gpu.cpu(), "equal:", torch.equal(on_gpu.cpu(), floats.cuda().cpu()))
    else:
        print("no GPU here: torch.cuda.FloatTensor would be the same on one")


def gradients():
    """From a scalar, from something larger, and what has none."""
    print("--- gradients")
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    plain = torch.tensor([4.0, 5.0, 6.0])
    y = (x * plain).sum() + (x**2).sum()
    print("y:", y, "requires_grad:", y.requires_grad)
    y.backward()
    print("dy/dx = plain + 2x:", x.grad)
    print("a tensor that requires no gradient has none:", plain.grad)

    x.grad = None
    y = x * x  # not a scalar: backward needs to know the gradient of what follows
    try:
        y.backward()
    except RuntimeError as error:
        print("RuntimeError:", str(error).splitlines()[0])
    y.backward(torch.tensor([1.0, 0.1, 0.01]))
    print("x.grad, weighted by 1, 0.1, 0.01:", x.grad)
    (x * 2).sum().backward()
    print("gradients add up until they are cleared:", x.grad)

    detached = (x * 3).detach()
    print("detach leaves the graph:", detached.requires_grad, detached)
    with torch.no_grad():
        print("no_grad records nothing:", (x * 3).requires_grad)
    print("outside of it:", (x * 3).requires_grad)


def the_graph():
    """What was recorded: each result knows its function, each function those before it."""
    print("--- the graph")
    a = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor(3.0, requires_grad=True)
    c = a * b
    root = torch.log(c) + c.sin()
    print("leaves have no grad_fn:", a.grad_fn, b.grad_fn, " is_leaf:", a.is_leaf, c.is_leaf)
    print("results have one:", c.grad_fn.name(), root.grad_fn.name())

    def show(function, depth):
        for before, _ in function.next_functions:
            if before is not None:
                show(before, depth + 1)
        leaf = f" of the leaf {function.variable.item()}" if hasattr(function, "variable") else ""
        print("  " * depth + function.name() + leaf)

    print("from the leaves (indented most) to the root:")
    show(root.grad_fn, 0)
    root.backward()
    print(f"d root/da = b (1/c + cos c) = {a.grad.item():.5f}, d root/db = {b.grad.item():.5f}")


class Cube(torch.autograd.Function):
    """x ** 3, with its derivative written by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x


def own_function():
    """A function with a gradient of its own, checked against finite differences."""
    print("--- a Function of one's own")
    x = torch.linspace(-1, 1, 5, dtype=torch.float64, requires_grad=True)
    y = Cube.apply(x)
    print("cubes:", y.tolist(), "by", y.grad_fn.name())
    y.sum().backward()
    print("3 x^2:", x.grad)
    print("gradcheck:", torch.autograd.gradcheck(Cube.apply, (x,)))


def descend(seed, steps):
    """The shortest training loop there is: a tensor walks to its target."""
    print("--- a first descent")
    torch.manual_seed(seed)
    x, target = torch.randn(5, requires_grad=True), torch.randn(5)
    for step in range(1, steps + 1):
        loss = ((x - target) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            x -= 0.5 * x.grad
        x.grad.zero_()
        print(f"epoch {step} loss {loss.item():.6f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10, help="steps of the descent at the end")
    options = parser.parse_args()
    beside_numpy()
    typed_constructors()
    gradients()
    the_graph()
    own_function()
    descend(options.seed, options.epochs)
