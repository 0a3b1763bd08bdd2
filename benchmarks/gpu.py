"""Rows that need a GPU: kernels, order and scatter, products, convolutions, attention, steps, also in graphs."""

import math

from .gpu_models import gpt, mlp, resnet50
from .harness import Work, row

__all__ = ["measure", "reason"]

N = 10**8
COPY = "gpu copy"


def reason(frameworks) -> str:
    """Why GPU rows cannot be measured, or ""."""
    lacking = [torch.__name__ for torch in frameworks if not torch.cuda.is_available()]
    return f"no GPU for {' and '.join(lacking)}" if lacking else ""


def measure(frameworks) -> dict[str, float]:
    """Bytes read and written a second by the faster of the frameworks' copies."""
    best = 0.0
    for torch in frameworks:
        source = torch.ones(N, device="cuda")
        target = torch.empty_like(source)
        for _ in range(10):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            target.copy_(source)
            end.record()
            end.synchronize()
            best = max(best, 8 * N / start.elapsed_time(end) * 1e3)
        del source, target
        torch.cuda.empty_cache()
    return {COPY: best}


# Kernels --------------------------------------------------------------------------------------------------------------


def kernel(name, bytes_an_element, **options):
    return row("GPU kernels", name, 0.95, work=Work(COPY, bytes_an_element * N), gpu=True, **options)


def on_one(name, bytes_an_element, apply, shape=(N,), dtype="float32", **options):
    """A row for a function of one tensor."""

    def make(torch):
        x = torch.rand(*shape).to("cuda").to(getattr(torch, dtype))  # CPU streams agree
        return lambda: apply(torch, x)

    kernel(name, bytes_an_element, **options)(make)


ROWS = (N // 1000, 1000)
on_one("add a number", 8, lambda torch, x: x + 1)
on_one("exp", 8, lambda torch, x: torch.exp(x))
on_one("sigmoid", 8, lambda torch, x: torch.sigmoid(x))
on_one("gelu", 8, lambda torch, x: torch.nn.functional.gelu(x))
on_one("gelu, bfloat16", 4, lambda torch, x: torch.nn.functional.gelu(x), dtype="bfloat16", agree=1e-2)
on_one("relu, bfloat16", 4, lambda torch, x: torch.relu(x), dtype="bfloat16")
on_one("float32 to bfloat16", 6, lambda torch, x: x.bfloat16())
on_one("less than a number", 5, lambda torch, x: x < 0.5)
on_one("add a row", 8, lambda torch, x: x + x[0], shape=ROWS)
on_one("transposed copy, 10000 x 10000", 8, lambda torch, x: x.t().contiguous(), shape=(10**4, 10**4))
on_one("softmax, rows of 1000", 8, lambda torch, x: torch.softmax(x, 1), shape=ROWS)
on_one("softmax, rows of 100", 8, lambda torch, x: torch.softmax(x, 1), shape=(N // 100, 100))
on_one("softmax, rows of 50000", 8, lambda torch, x: torch.softmax(x, 1), shape=(2000, 50000))
on_one("log_softmax, rows of 1000, bfloat16", 4, lambda torch, x: torch.log_softmax(x, 1), shape=ROWS,
       dtype="bfloat16", agree=1e-2)  # fmt: skip
on_one("layer_norm, rows of 1000", 8, lambda torch, x: torch.nn.functional.layer_norm(x, x.shape[1:]), shape=ROWS)
on_one("sum of all", 4, lambda torch, x: x.sum())
on_one("sum of rows of 1000", 4, lambda torch, x: x.sum(1), shape=ROWS)
on_one("sum of columns", 4, lambda torch, x: x.sum(0), shape=ROWS)
on_one("greatest of rows, with places", 4, lambda torch, x: x.max(1), shape=ROWS)
on_one("variance of rows", 4, lambda torch, x: x.var(1), shape=ROWS)
on_one("cumsum of rows of 1000", 8, lambda torch, x: x.cumsum(1), shape=ROWS)
on_one("cumsum of all", 8, lambda torch, x: x.cumsum(0), agree=1e-2)


@kernel("add", 12)
def add(torch):
    x, y = (torch.rand(N).to("cuda") for _ in range(2))
    return lambda: x + y


@kernel("where", 13)
def where(torch):
    x, y = (torch.rand(N).to("cuda") for _ in range(2))
    chosen = x > 0.5
    return lambda: torch.where(chosen, x, y)


@kernel("dropout 0.1", 9, compare=False)
def dropout(torch):
    x = torch.rand(N).to("cuda")
    return lambda: torch.nn.functional.dropout(x, 0.1)


@kernel("normal numbers", 4, compare=False)
def normal(torch):
    x = torch.empty(N, device="cuda")
    return lambda: x.normal_()


@kernel("gelu backward", 12)
def gelu_backward(torch):
    x = torch.rand(N).to("cuda").requires_grad_()
    grad = torch.rand(N).to("cuda")
    y = torch.nn.functional.gelu(x)
    return lambda: torch.autograd.grad(y, x, grad, retain_graph=True)


@kernel("layer_norm backward, rows of 1000", 12, agree=1e-2)
def layer_norm_backward(torch):
    x = torch.rand(*ROWS).to("cuda").requires_grad_()
    weight, bias = (torch.ones(ROWS[1], device="cuda", requires_grad=True) for _ in range(2))
    y = torch.nn.functional.layer_norm(x, ROWS[1:], weight, bias)
    grad = torch.rand(*ROWS).to("cuda")
    return lambda: torch.autograd.grad(y, (x, weight, bias), grad, retain_graph=True)


@kernel("cross_entropy, rows of 1000", 4)
def cross_entropy(torch):
    x, y = torch.rand(*ROWS).to("cuda"), torch.randint(ROWS[1], ROWS[:1]).to("cuda")
    return lambda: torch.nn.functional.cross_entropy(x, y)


@kernel("AdamW, 100 tensors of 1e6", 28, compare=False)
def adamw(torch):
    parameters = [torch.rand(N // 100).to("cuda").requires_grad_() for _ in range(100)]
    for p in parameters:
        p.grad = torch.full_like(p, 1e-3)
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)
    return optimizer.step


# Order and writes that may meet ---------------------------------------------------------------------------------------


def ordered(name, apply, shape, dtype="float32", **options):
    """A row for something of which the bytes say little."""

    def make(torch):
        x = (torch.rand(*shape).to("cuda") * 1e9).to(getattr(torch, dtype))
        return lambda: apply(torch, x)

    row("GPU order and scatter", name, 0.9, gpu=True, **options)(make)


ordered("sort, 1e8", lambda torch, x: torch.sort(x, stable=True)[0], (N,))
ordered("sort, 1e6", lambda torch, x: torch.sort(x, stable=True)[0], (10**6,))
ordered("sort, 1e7, int64", lambda torch, x: torch.sort(x, stable=True)[0], (10**7,), "int64")
ordered("sort, rows of 100", lambda torch, x: torch.sort(x, dim=1, stable=True)[0], (10**5, 100))
ordered("sort, rows of 2000", lambda torch, x: torch.sort(x, dim=1, stable=True)[0], (5000, 2000))
ordered("topk 50, 8 rows of 50257", lambda torch, x: torch.topk(x, 50)[0], (8, 50257))
ordered("topk 50, 1000 rows of 50257", lambda torch, x: torch.topk(x, 50)[0], (1000, 50257))
ordered("unique, 1e7", lambda torch, x: torch.unique(x % 1000), (10**7,), "int64")
ordered("nonzero, 1e7", lambda torch, x: (x > 5e8).nonzero(), (10**7,))
ordered("cumsum of columns, (1e6, 8)", lambda torch, x: x.cumsum(0), (10**6, 8), agree=1e-2)


def embedding_gradient(name, rows, used):
    """8192 rows of 768 added to those of a table, of which so many are used."""

    def make(torch):
        table = torch.rand(rows, 768).to("cuda").requires_grad_()
        index, grad = torch.randint(used, (8192,)).to("cuda"), torch.rand(8192, 768).to("cuda")
        out = torch.nn.functional.embedding(index, table)
        return lambda: torch.autograd.grad(out, table, grad, retain_graph=True)

    row("GPU order and scatter", name, 0.9, gpu=True, agree=1e-3)(make)


embedding_gradient("embedding gradient, 50000 x 768", 50000, 50000)
embedding_gradient("embedding gradient, 10 rows used", 50000, 10)


@row("GPU order and scatter", "scatter_add, 1e7 to 1000", 0.9, gpu=True, agree=1e-2)
def scatter_add(torch):
    index, x = torch.randint(1000, (10**7,)).to("cuda"), torch.rand(10**7).to("cuda")
    return lambda: torch.zeros(1000, device="cuda").scatter_add_(0, index, x)


# Products -------------------------------------------------------------------------------------------------------------


def product(name, m, k, n, dtype, batch=(), **options):
    """A row for the product of two matrices."""

    def make(torch):
        x, y = (torch.randn(*batch, *shape).to("cuda").to(getattr(torch, dtype)) for shape in ((m, k), (k, n)))
        return lambda: x @ y

    row("GPU matrix products", name, 0.95, gpu=True, **options)(make)


product("8192, bfloat16", 8192, 8192, 8192, "bfloat16", agree=1e-2)
product("8192, float16", 8192, 8192, 8192, "float16", agree=1e-2)
product("4096, float32", 4096, 4096, 4096, "float32")
product("2048, float64", 2048, 2048, 2048, "float64")
product("96 of 1024 x 64 and 64 x 1024, bfloat16", 1024, 64, 1024, "bfloat16", batch=(96,), agree=1e-2)
product("256, float32", 256, 256, 256, "float32")


@row("GPU matrix products", "linear and gelu, 8192 x 768 to 3072, bfloat16", 0.95, gpu=True, agree=2e-2)
def linear(torch):
    x, weight = (torch.randn(n, 768).to("cuda").bfloat16() for n in (8192, 3072))
    bias = torch.randn(3072).to("cuda").bfloat16()
    functional = torch.nn.functional
    return lambda: functional.gelu(functional.linear(x, weight, bias), approximate="tanh")


@row("GPU matrix products", "linear forward and backward, 8192 x 768 to 3072, bfloat16", 0.95, gpu=True, agree=2e-2)
def linear_backward(torch):
    x, weight = (torch.randn(n, 768).to("cuda").bfloat16().requires_grad_() for n in (8192, 3072))
    bias = torch.randn(3072).to("cuda").bfloat16().requires_grad_()
    grad = torch.randn(8192, 3072).to("cuda").bfloat16()
    return lambda: torch.autograd.grad(torch.nn.functional.linear(x, weight, bias), (x, weight, bias), grad)


# Convolutions and attention -------------------------------------------------------------------------------------------


def convolution(name, x_shape, w_shape, stride=1, backward=False, dtype="bfloat16", last=False):
    """A row for a 2-d convolution, padded to the same size."""

    def make(torch):
        kind = getattr(torch, dtype)
        x = torch.randn(*x_shape).to("cuda").to(kind)
        weight = (torch.randn(*w_shape) / math.sqrt(math.prod(w_shape[1:]))).to("cuda").to(kind)
        if last:
            x, weight = (t.to(memory_format=torch.channels_last) for t in (x, weight))
        run = lambda: torch.nn.functional.conv2d(x, weight, stride=stride, padding=w_shape[-1] // 2)  # noqa: E731
        if not backward:
            return run
        x.requires_grad_(), weight.requires_grad_()
        grad = torch.ones_like(run())
        return lambda: torch.autograd.grad(run(), (x, weight), grad)

    row("GPU convolutions and attention", name, 0.9, gpu=True, agree=2e-2)(make)


for backward in (False, True):
    more = ", and backward" * backward
    convolution(f"3x3, 64 of 56x56x64, float32{more}", (64, 64, 56, 56), (64, 64, 3, 3), 1, backward, "float32")
    convolution(f"3x3, 64 of 56x56x64, bfloat16{more}", (64, 64, 56, 56), (64, 64, 3, 3), 1, backward)
    convolution(f"3x3, 64 of 28x28x128, channels last{more}", (64, 128, 28, 28), (128, 128, 3, 3), 1, backward,
                last=True)  # fmt: skip
    convolution(f"1x1, 64 of 14x14x1024 to 256{more}", (64, 1024, 14, 14), (256, 1024, 1, 1), 1, backward)
    convolution(f"7x7 in steps of 2, 64 of 224x224x3{more}", (64, 3, 224, 224), (64, 3, 7, 7), 2, backward)


def attention(name, batch, heads, tokens, depth, causal, backward, dtype="bfloat16"):
    """A row for `scaled_dot_product_attention`."""

    def make(torch):
        shape = batch, heads, tokens, depth
        parts = [torch.randn(*shape).to("cuda").to(getattr(torch, dtype)) for _ in range(3)]
        attend = torch.nn.functional.scaled_dot_product_attention
        if not backward:
            return lambda: attend(*parts, is_causal=causal)
        parts = [part.requires_grad_() for part in parts]
        grad = torch.ones_like(parts[0])
        return lambda: torch.autograd.grad(attend(*parts, is_causal=causal), parts, grad)

    row("GPU convolutions and attention", name, 0.9, gpu=True, agree=2e-2)(make)


for backward in (False, True):
    more = ", and backward" * backward
    attention(f"causal, 8 x 12 x 1024 x 64, bfloat16{more}", 8, 12, 1024, 64, True, backward)
    attention(f"4 x 16 x 4096 x 128, bfloat16{more}", 4, 16, 4096, 128, False, backward)
attention("8 x 12 x 1024 x 64, float32", 8, 12, 1024, 64, False, False, "float32")


# Training steps -------------------------------------------------------------------------------------------------------


def mlp_step(torch):
    model = mlp(torch).to("cuda")
    x, y = torch.randn(1024, 784).to("cuda"), torch.randint(10, (1024,)).to("cuda")
    return model, torch.optim.Adam(model.parameters(), lr=1e-4, capturable=True), x, y, False


def gpt_step(torch):
    model = gpt(torch).to("cuda")
    x, y = torch.randint(50257, (8, 1024)).to("cuda"), torch.randint(50257, (8 * 1024,)).to("cuda")
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4, capturable=True), x, y, True


def resnet_step(torch):
    model = resnet50(torch).to("cuda", memory_format=torch.channels_last)
    x = torch.randn(64, 3, 224, 224).to("cuda").to(memory_format=torch.channels_last)
    y = torch.randint(1000, (64,)).to("cuda")
    return model, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4), x, y, True


STEPS = {
    "MLP 784-2048-2048-10, Adam, batch 1024": mlp_step,
    "GPT 12 x 768, AdamW, batch 8 x 1024, bfloat16 autocast": gpt_step,
    "ResNet-50, SGD with momentum, batch 64, bfloat16 autocast, channels last": resnet_step,
}


def step_of(torch, setting):
    """The training step of a setting, which returns its loss."""
    model, optimizer, x, y, mixed = setting
    criterion = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=mixed):
            loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def captured(torch, step):
    """The same step as one graph, after some eager steps on another stream, as PyTorch's guide has it."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


for name, setting in STEPS.items():
    row("GPU training steps", name, 1.0, gpu=True, agree=5e-2)(
        lambda torch, setting=setting: step_of(torch, setting(torch))
    )
for name, setting in STEPS.items():
    row("GPU training steps in graphs", name, 1.2, gpu=True, agree=5e-2)(
        lambda torch, setting=setting: captured(torch, step_of(torch, setting(torch)))
    )


@row("GPU training steps", "MLP 64-128-10, Adam, batch 32", 1.0, gpu=True, agree=1e-2)
def small_mlp(torch):
    model = mlp(torch, 64, 128).to("cuda")
    x, y = torch.randn(32, 64).to("cuda"), torch.randint(10, (32,)).to("cuda")
    return step_of(torch, (model, torch.optim.Adam(model.parameters(), lr=1e-4), x, y, False))
