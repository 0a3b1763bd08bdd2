"""Rows for small tensors, where the time is the framework's own and not the arithmetic's."""

from .harness import row


def small(name, least=1.2, **options):
    return row("small tensors", name, least, **options)


@small("add 4x4")
def add(torch):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    return lambda: a + b


@small("add 4x4, gradient recorded")
def add_recorded(torch):
    a, b = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)
    return lambda: a + b


@small("mul 4x4")
def mul(torch):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    return lambda: a * b


@small("mul 4x4, gradient recorded")
def mul_recorded(torch):
    a, b = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)
    return lambda: a * b


@small("mul 4x4 by a number")
def mul_number(torch):
    a = torch.randn(4, 4)
    return lambda: a * 2.5


@small("add_ 4x4, in place")
def add_in_place(torch):
    a, b = torch.zeros(4, 4), torch.zeros(4, 4)
    return lambda: a.add_(b)


@small("(a * b).sum().backward(), 4x4", 2.0)
def backward(torch):
    a, b = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)

    def run():
        a.grad = None
        (a * b).sum().backward()
        return a.grad

    return run


@small("view")
def view(torch):
    a = torch.randn(4, 4)
    return lambda: a.view(2, 8)


@small("transpose")
def transpose(torch):
    a = torch.randn(4, 4)
    return lambda: a.transpose(0, 1)


@small("x[0]")
def first(torch):
    a = torch.randn(4, 4)
    return lambda: a[0]


@small("x[1:3, ::2]")
def sliced(torch):
    a = torch.randn(4, 4)
    return lambda: a[1:3, ::2]


@small("item")
def item(torch):
    a = torch.randn(())
    return lambda: a.item()


@small("cat of two 4x4")
def cat(torch):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    return lambda: torch.cat([a, b])


@small("stack of two 4x4")
def stack(torch):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    return lambda: torch.stack([a, b])


@small("zeros 4x4")
def zeros(torch):
    return lambda: torch.zeros(4, 4)


@small("randn 4x4", compare=False)
def randn(torch):
    return lambda: torch.randn(4, 4)


@small("tensor from a list of 4")
def from_list(torch):
    return lambda: torch.tensor([1.0, 2.0, 3.0, 4.0])


@small("sum of 4x4")
def total(torch):
    a = torch.randn(4, 4)
    return lambda: a.sum()


@small("matmul 4x4")
def matmul(torch):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    return lambda: a @ b


@small("softmax 4x4")
def softmax(torch):
    a = torch.randn(4, 4)
    return lambda: torch.softmax(a, 1)


@small("comparison and where, 4x4")
def where(torch):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    return lambda: torch.where(a > b, a, b)


@small("Linear(64, 64) on 32, no_grad")
def linear_no_grad(torch):
    layer, x = torch.nn.Linear(64, 64), torch.randn(32, 64)

    def run():
        with torch.no_grad():
            return layer(x)

    return run


@small("Linear(64, 64) on 32, gradient recorded")
def linear(torch):
    layer, x = torch.nn.Linear(64, 64), torch.randn(32, 64)
    return lambda: layer(x)


@small("entering and leaving no_grad")
def no_grad(torch):
    def run():
        with torch.no_grad():
            pass

    return run
