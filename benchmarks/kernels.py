"""Rows for element-wise and row-wise kernels, where the time is memory traffic and arithmetic."""

from .harness import Work, row

SIZES = {"1e4": 10**4, "1e6": 10**6, "1e7": 10**7}
COLUMNS = 1000  # row-wise kernels: rows of this length


LEAST = 1.0


def traffic(size, arrays, bits=32):
    """Element-wise kernels at 1e7 are judged by the memory that they move: `arrays` of 32 bits, or what `bits` add."""
    return Work("copy", SIZES[size] * arrays * bits / 8) if size == "1e7" else None


def elementwise(name, function, arrays=2.0):
    """A row for each size of `function(torch, x, y)`, x and y flat; `arrays` (of float32) are read and written."""
    for size, n in SIZES.items():

        def make(torch, n=n):
            x, y = torch.randn(n), torch.randn(n)
            return lambda: function(torch, x, y)

        row("kernels", f"{name} {size}", LEAST, work=traffic(size, arrays))(make)


def rowwise(name, function, arrays, compare=True, sizes=SIZES):
    """The same with x of shape (n / 1000, 1000)."""
    for size in sizes:

        def make(torch, n=SIZES[size]):
            x = torch.randn(n // COLUMNS, COLUMNS)
            return lambda: function(torch, x)

        row("kernels", f"{name} {size}", LEAST, compare=compare, work=arrays and traffic(size, arrays))(make)


elementwise("add", lambda torch, x, y: x + y, 3)
elementwise("mul, add (two kernels)", lambda torch, x, y: x * y + y, 6)
elementwise("exp", lambda torch, x, y: torch.exp(x))
elementwise("tanh", lambda torch, x, y: torch.tanh(x))
elementwise("sigmoid", lambda torch, x, y: torch.sigmoid(x))
elementwise("relu", lambda torch, x, y: torch.relu(x))
elementwise("gelu", lambda torch, x, y: torch.nn.functional.gelu(x))
elementwise("where", lambda torch, x, y: torch.where(x > 0, x, y), 4.5)
elementwise("cast to float64", lambda torch, x, y: x.to(torch.float64), 3)
elementwise("cast to bfloat16", lambda torch, x, y: x.to(torch.bfloat16), 1.5)

rowwise("sum", lambda torch, x: x.sum(), 1)
rowwise("sum of rows", lambda torch, x: x.sum(1), 1)
rowwise("sum of columns", lambda torch, x: x.sum(0), 1)
rowwise("mean of rows", lambda torch, x: x.mean(1), 1)
rowwise("mean of columns", lambda torch, x: x.mean(0), 1)
rowwise("var of rows", lambda torch, x: x.var(1), 1)
rowwise("softmax", lambda torch, x: torch.softmax(x, 1), 2)
rowwise("log_softmax", lambda torch, x: torch.log_softmax(x, 1), 2)
rowwise("layer_norm", lambda torch, x: torch.nn.functional.layer_norm(x, (COLUMNS,)), 2)
rowwise("cumsum", lambda torch, x: torch.cumsum(x, 1), 2)
rowwise("argmax", lambda torch, x: torch.argmax(x, 1), 1)
rowwise("sort", lambda torch, x: torch.sort(x, 1).values, None)
rowwise("transposed copy", lambda torch, x: x.t().contiguous(), 2)


def indexed(name, prepare, arrays=None):
    """A row for each size of `prepare(torch, n)`, which returns the function to time."""
    for size, n in SIZES.items():
        work = arrays and traffic(size, arrays)
        row("kernels", f"{name} {size}", LEAST, work=work)(lambda torch, n=n: prepare(torch, n))


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


indexed("gather", gather, 4)
indexed("embedding", embedding, 1)
indexed("index_add", index_add)
indexed("dropout", dropout, 2)
indexed("randn", normal, 1)
