"""Rows for convolution, pooling and batch normalisation: forward alone, and forward with backward."""

from .harness import Work, row


def layer(name, build, shape, operations=None):
    """Two rows for the layer `build(nn)` on an input of `shape`; backward has twice the `operations` of forward."""

    @row("convolutions", f"{name}, forward", 1.0, work=operations and Work("float32", operations))
    def forward(torch):
        part, x = build(torch.nn), torch.randn(*shape)

        def run():
            with torch.no_grad():
                return part(x)

        return run

    @row("convolutions", f"{name}, forward and backward", 1.0, work=operations and Work("float32", 3 * operations))
    def both(torch):
        part, x = build(torch.nn), torch.randn(*shape, requires_grad=True)
        with torch.no_grad():
            grad = torch.randn(*part(x).shape)

        def run():
            x.grad = None
            part.zero_grad()
            part(x).backward(grad)
            return [x.grad, *(p.grad for p in part.parameters())]

        return run


layer(
    "3x3 64-64 on 16x64x56x56",
    lambda nn: nn.Conv2d(64, 64, 3, padding=1),
    (16, 64, 56, 56),
    2 * 16 * 64 * 56 * 56 * 64 * 9,
)
layer("1x1 256-64 on 16x256x56x56", lambda nn: nn.Conv2d(256, 64, 1), (16, 256, 56, 56), 2 * 16 * 256 * 56 * 56 * 64)
layer(
    "7x7 stride 2 3-64 on 8x3x224x224",
    lambda nn: nn.Conv2d(3, 64, 7, stride=2, padding=3),
    (8, 3, 224, 224),
    2 * 8 * 64 * 112 * 112 * 3 * 49,
)
layer(
    "depthwise 3x3 64 on 16x64x56x56",
    lambda nn: nn.Conv2d(64, 64, 3, padding=1, groups=64),
    (16, 64, 56, 56),
    2 * 16 * 64 * 56 * 56 * 9,
)
layer(
    "conv1d 5, 64-128 on 16x64x1024",
    lambda nn: nn.Conv1d(64, 128, 5, padding=2),
    (16, 64, 1024),
    2 * 16 * 1024 * 64 * 128 * 5,
)
layer(
    "transposed 4x4 stride 2 64-32 on 16x64x28x28",
    lambda nn: nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
    (16, 64, 28, 28),
    2 * 16 * 64 * 28 * 28 * 32 * 16,
)
layer("max_pool 2x2 on 16x64x56x56", lambda nn: nn.MaxPool2d(2), (16, 64, 56, 56))
layer("batch_norm on 16x64x56x56", lambda nn: nn.BatchNorm2d(64), (16, 64, 56, 56))
