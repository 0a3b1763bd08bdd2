"""Rows for element-wise and row-wise kernels, where the time is memory traffic and arithmetic."""

from .harness import row

SIZES = {"1e4": 10**4, "1e6": 10**6, "1e7": 10**7}
COLUMNS = 1000  # row-wise kernels: rows of this length


def goals(size):
    """1e4 is in between: the small-tensor goal holds there."""
    return (1.2, 2.0) if size == "1e4" else (1.5, 4.0)


def elementwise(name, function):
    """A row for each size of `function(torch, x, y)`, x and y flat."""
    for size, n in SIZES.items():

        def make(torch, n=n):
            x, y = torch.randn(n), torch.randn(n)
            return lambda: function(torch, x, y)

        row("element-wise kernels", f"{name} {size}", *goals(size))(make)


def rowwise(name, function, compare=True, sizes=SIZES):
    """The same with x of shape (n / 1000, 1000)."""
    for size in sizes:

        def make(torch, n=SIZES[size]):
            x = torch.randn(n // COLUMNS, COLUMNS)
            return lambda: function(torch, x)

        row("row-wise kernels", f"{name} {size}", *goals(size), compare=compare)(make)


elementwise("add", lambda torch, x, y: x + y)
elementwise("mul, add (two kernels)", lambda torch, x, y: x * y + y)
elementwise("exp", lambda torch, x, y: torch.exp(x))
elementwise("tanh", lambda torch, x, y: torch.tanh(x))
elementwise("sigmoid", lambda torch, x, y: torch.sigmoid(x))
elementwise("relu", lambda torch, x, y: torch.relu(x))
elementwise("gelu", lambda torch, x, y: torch.nn.functional.gelu(x))
elementwise("where", lambda torch, x, y: torch.where(x > 0, x, y))
elementwise("cast to float64", lambda torch, x, y: x.to(torch.float64))
elementwise("cast to bfloat16", lambda torch, x, y: x.to(torch.bfloat16))

rowwise("sum", lambda torch, x: x.sum())
rowwise("sum of rows", lambda torch, x: x.sum(1))
rowwise("sum of columns", lambda torch, x: x.sum(0))
rowwise("mean of rows", lambda torch, x: x.mean(1))
rowwise("var of rows", lambda torch, x: x.var(1))
rowwise("softmax", lambda torch, x: torch.softmax(x, 1))
rowwise("log_softmax", lambda torch, x: torch.log_softmax(x, 1))
rowwise("layer_norm", lambda torch, x: torch.nn.functional.layer_norm(x, (COLUMNS,)))
rowwise("cumsum", lambda torch, x: torch.cumsum(x, 1))
rowwise("argmax", lambda torch, x: torch.argmax(x, 1))
rowwise("sort", lambda torch, x: torch.sort(x, 1).values, sizes=("1e4", "1e6"))
rowwise("transposed copy", lambda torch, x: x.t().contiguous())


def indexed(name, prepare, compare=True):
    """A row for each size of `prepare(torch, n)`, which returns the function to time."""
    for size, n in SIZES.items():
        row("indexing and random kernels", f"{name} {size}", *goals(size), compare=compare)(
            lambda torch, n=n: prepare(torch, n)
        )


def gather(torch, n):
    x = torch.randn(n // COLUMNS, COLUMNS)
    places = torch.randint(COLUMNS, (n // COLUMNS, COLUMNS))
    return lambda: torch.gather(x, 1, places)


def embedding(torch, n):
    table = torch.randn(1000, 100)
    places = torch.randint(1000, (n // 100,))
    return lambda: torch.nn.functional.embedding(places, table)


def index_add(torch, n):
    x, sums = torch.randn(n // 100, 100), torch.zeros(1000, 100)
    places = torch.randint(1000, (n // 100,))
    return lambda: sums.index_add(0, places, x)


def dropout(torch, n):
    x = torch.randn(n)
    return lambda: torch.nn.functional.dropout(x, 0.5)


def normal(torch, n):
    return lambda: torch.randn(n)


indexed("gather", gather)
indexed("embedding", embedding)
indexed("index_add", index_add)
indexed("dropout", dropout)
indexed("randn", normal)
