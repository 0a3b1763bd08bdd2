"""Rows for matrix products: square, skinny, batched, transposed, with bias and activation, of each floating dtype."""

from math import prod

from .harness import Work, row


def work(left, right, limit="float32"):
    """Two operations for each element of the left operand and each column of the right."""
    return Work(limit, 2.0 * prod(left) * (right[-1] if len(right) > 1 else 1))


def product(name, left, right, arrange=lambda a, b: (a, b)):
    """A row for left @ right, after `arrange` has changed their layouts."""

    @row("matrix products", name, 1.3, work=work(left, right))
    def make(torch):
        a, b = arrange(torch.randn(*left), torch.randn(*right))
        return lambda: a @ b


for n in (64, 128, 256, 512, 1024, 2048):
    product(f"{n} x {n} x {n}", (n, n), (n, n))
product("skinny 32 x 4096 x 4096", (32, 4096), (4096, 4096))
product("skinny 4096 x 32 x 4096", (4096, 32), (32, 4096))
product("skinny 4096 x 4096 x 32", (4096, 4096), (4096, 32))
product("matrix by vector 4096", (4096, 4096), (4096,))
product("batch of 64, 128 x 128 x 128", (64, 128, 128), (64, 128, 128))
product("batch of 512, 32 x 32 x 32", (512, 32, 32), (512, 32, 32))
product("1024, left transposed", (1024, 1024), (1024, 1024), lambda a, b: (a.t(), b))
product("1024, right transposed", (1024, 1024), (1024, 1024), lambda a, b: (a, b.t()))
product("1024, both transposed", (1024, 1024), (1024, 1024), lambda a, b: (a.t(), b.t()))


def linear_relu(rows, inward, outward):
    @row(
        "matrix products",
        f"linear, bias, relu {rows} x {inward} x {outward}",
        1.3,
        work=work((rows, inward), (outward,) * 2),
    )
    def make(torch):
        layer, x = torch.nn.Linear(inward, outward), torch.randn(rows, inward)

        def run():
            with torch.no_grad():
                return torch.relu(layer(x))

        return run


linear_relu(128, 1024, 1024)
linear_relu(1024, 1024, 1024)


def typed(n, dtype, compare=True):
    limit = dtype if dtype == "float64" else "float32"

    @row("matrix products, other dtypes", f"{dtype} {n} x {n} x {n}", 1.0, compare, work((n, n), (n, n), limit))
    def make(torch):
        kind = getattr(torch, dtype)
        a, b = torch.randn(n, n).to(kind), torch.randn(n, n).to(kind)
        return lambda: a @ b


typed(
    1024, "bfloat16", compare=False
)  # rounded to 8 bits: sums in another order differ by more than the harness allows
typed(512, "float64")
typed(1024, "float64")
