"""Rows for matrix products, convolutions and the optimizer's update of many parameters."""

from .harness import row


def product(name, left, right, least=None, aim=None, arrange=lambda a, b: (a, b)):
    """A row for left @ right, after `arrange` has changed their layouts."""

    @row("matrix products, float32", name, least, aim)
    def make(torch):
        a, b = arrange(torch.randn(*left), torch.randn(*right))
        return lambda: a @ b


for n in (64, 128, 256, 512, 1024, 2048):
    product(f"{n} x {n} x {n}", (n, n), (n, n), *((1.5, 2.3) if n >= 256 else (1.2, 2.0)))
product("skinny 32 x 4096 x 4096", (32, 4096), (4096, 4096))
product("skinny 4096 x 32 x 4096", (4096, 32), (32, 4096))
product("matrix by vector 4096", (4096, 4096), (4096,))
product("batch of 64, 128 x 128 x 128", (64, 128, 128), (64, 128, 128))
product("batch of 512, 32 x 32 x 32", (512, 32, 32), (512, 32, 32))
product("1024, left transposed", (1024, 1024), (1024, 1024), 1.5, 2.3, lambda a, b: (a.t(), b))
product("1024, right transposed", (1024, 1024), (1024, 1024), 1.5, 2.3, lambda a, b: (a, b.t()))


@row("matrix products, float64", "1024 x 1024 x 1024")
def double(torch):
    a = torch.randn(1024, 1024, dtype=torch.float64)
    b = torch.randn(1024, 1024, dtype=torch.float64)
    return lambda: a @ b


def convolution(channels, width, batch):
    name = f"3x3, {channels} channels, {width}x{width}, batch {batch}"

    @row("convolution", f"forward {name}", 1.0, 1.5)
    def forward(torch):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1)
        x = torch.randn(batch, channels, width, width)

        def run():
            with torch.no_grad():
                return layer(x)

        return run

    @row("convolution", f"forward and backward {name}", 1.0, 1.5)
    def both(torch):
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1)
        x = torch.randn(batch, channels, width, width, requires_grad=True)
        grad = torch.randn(batch, channels, width, width)

        def run():
            x.grad = None
            layer.zero_grad()
            layer(x).backward(grad)
            return x.grad, layer.weight.grad

        return run


for channels, width, batch in ((16, 32, 32), (64, 56, 8), (128, 28, 8), (256, 14, 8)):
    convolution(channels, width, batch)


def update(name, make_optimizer):
    @row("optimizers, 100 parameters, 5e6 values", name, 1.2, 2.0)
    def make(torch):
        parameters = [torch.nn.Parameter(torch.randn(250, 200)) for _ in range(100)]
        for parameter in parameters:
            parameter.grad = torch.randn(250, 200)
        optimizer = make_optimizer(torch, parameters)

        def run():
            optimizer.step()
            return parameters[0]

        return run


update("SGD with momentum", lambda torch, parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9))
update("Adam", lambda torch, parameters: torch.optim.Adam(parameters, lr=1e-3))
update("AdamW", lambda torch, parameters: torch.optim.AdamW(parameters, lr=1e-3))
