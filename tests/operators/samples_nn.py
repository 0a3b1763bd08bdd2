"""Samples of the families behind `nn`: activations, softmax and normalizations, losses, look-up tables, dropout."""

import math

from .table import T, bad, index, mask, row, s, t

INF, NAN = math.inf, math.nan
LOOSE = {"float16": (4e-3, 2e-3), "bfloat16": (3e-2, 2e-2), "float32": (1e-5, 1e-6)}
SHAPES = ((), (5,), (3, 4), (2, 3, 4), (0,), (2, 0, 3), (37,))
SPECIAL = t(values=[0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 30.0, -30.0, 1e-30, INF, -INF, NAN], grad=False)


def each(*args, special=True, **kwargs):
    """f(x, *args) for x of all ranks and sizes, away from where activations bend."""
    found = [s(T(shape, distinct=True, low=-4.3, high=4.1), *args, **kwargs) for shape in SHAPES]
    return [*found, s(SPECIAL, *args, **kwargs)] if special else found


def activation(name: str, samples, kinds="f", torch_too=True, **options):
    options = {"out": False, "tolerance": LOOSE, "method": False, **options}
    row(f"nn.functional.{name}", samples, kinds, **options)
    if torch_too:
        row(name, samples, kinds, **options)


# --- activations --------------------------------------------------------------------------------------------------

activation("relu", each(), "uif", method=True)
activation("relu6", each(), "uif", torch_too=False, covers=("hardtanh",))
activation(
    "hardtanh",
    [*each(), *each(-2.0, 0.5)],
    "if",
    torch_too=False,
    errors=[bad(RuntimeError, "Bool inputs not supported for hardtanh", t(2, dtype="bool", grad=False))],
)
activation("threshold", each(0.1, 2.0), "uif")
activation("leaky_relu", [*each(), *each(0.3)], torch_too=False)
activation("elu", [*each(), *each(0.7)], torch_too=False, second=False)
activation(
    "celu",
    [*each(), *each(1.0)],
    second=False,
    errors=[bad(RuntimeError, "ZeroDivisionError: alpha cannot be 0 for CELU", t(2), 0)],
)
activation("selu", each(), second=False)
# blind: PyTorch's float32 kernel leaves a strided out= as it was; values are checked in float64, test_activation.py.
activation(
    "gelu",
    [*each(special=False), *each(approximate="tanh", special=False)],
    out=True,
    blind=("float32",),
    torch_too=False,
    covers=("gelu_kernel",),
    errors=[bad(RuntimeError, "approximate argument must be either none or tanh.", t(2), approximate="no")],
)
activation("silu", each(special=False), "fc", torch_too=False, more=("complex64", "complex128"))
activation("mish", each(), torch_too=False)
activation("hardswish", each(), torch_too=False)
activation("hardsigmoid", each(), torch_too=False, tolerance={**LOOSE, "float64": (1e-7, 1e-7)}, second=False)
activation("softplus", [*each(), *each(2.0, 1.0)], out=True, torch_too=False)
activation(
    "softshrink",
    [*each(), *each(0.2)],
    out=True,
    torch_too=False,
    errors=[
        bad(
            RuntimeError,
            "lambda must be in range [0, 3.40282e+38] for input dtype Float, but found -1",
            t(2, dtype="float32"),
            -1.0,
        )
    ],
)
activation("hardshrink", [*each(), *each(0.2)], out=True, torch_too=False)
activation("logsigmoid", each(), out=True, strides=False, torch_too=False, covers=("log_sigmoid",))
activation(
    "glu",
    [s(t(4)), s(t(3, 4)), s(t(4, 3), 0), s(t(2, 4, 3), 1), s(t(0, 4))],
    torch_too=False,
    covers=("glu_along", "gated", "gated_gradient"),
    errors=[bad(RuntimeError, "Halving dimension must be even, but dimension 1 is size 3", t(2, 3))],
)
activation(
    "prelu",
    [
        s(t(3, 4, away=0.1), t(4)),
        s(t(3, 4, 2, away=0.1), t(1)),
        s(t(5, away=0.1), t(1)),
        s(t(away=0.1), t(1)),
        s(t(2, 3, 2, 2, away=0.1), t(3)),
    ],
    covers=("prelu_kernel",),
    method=True,
)
activation(
    "rrelu",
    [s(t(3, 4, away=0.1)), s(t(3, 4, away=0.1), 0.2, 0.3), s(t(3, 4, away=0.1), 0.1, 0.4, True)],
    strides=False,
    torch_too=False,
    covers=("rrelu_mean", "rrelu_with_noise"),
)

# --- rows ---------------------------------------------------------------------------------------------------------

along = [s(t(3, 4), 1), s(t(3, 4), 0), s(t(5), 0), s(t(), 0), s(t(2, 3, 4), 1), s(t(2, 3, 4), -1), s(t(0, 3), 1),
    s(t(3, 0), 1), s(t(2, 37), 1)]  # fmt: skip
for name in ("softmax", "log_softmax"):
    row(
        name,
        [*along, s(t(3, 4), 1, dtype=None)],
        "f",
        tolerance=LOOSE,
        strides=False,
        errors=[bad(IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 2)", t(2, 3), 2)],
        covers=(f"{name}_rows",),
    )
    row(f"nn.functional.{name}", along, "f", out=False, method=False, tolerance=LOOSE, strides=False)
row("nn.functional.softmin", along, "f", out=False, method=False, tolerance=LOOSE, strides=False)
NORM = {"out": False, "method": False, "tolerance": {**LOOSE, "float16": (1e-2, 5e-3)}, "strides": False}
row("nn.functional.layer_norm", [s(t(3, 4), (4,)), s(t(3, 4), (4,), t(4), t(4)),
                                 s(t(2, 3, 4), (3, 4), t(3, 4), t(3, 4)), s(t(4), (4,), t(4)),
                                 s(t(2, 3, 4), (4,), None, t(4), 1e-3), s(t(0, 4), (4,), t(4))], "f", second=False,
    covers=("native_layer_norm", "_over", "_over_gradient", "_over_weights", "_row_statistics"),
    errors=[bad(RuntimeError, "Given normalized_shape=[3], expected input with shape [*, 3], but got input of size[3, "
                              "4]", t(3, 4), (3,)),
            bad(RuntimeError, "Expected weight to be of same shape as normalized_shape, but got weight of shape [3] "
                              "and normalized_shape = [4]", t(3, 4), (4,), t(3))], **NORM)  # fmt: skip
row(
    "nn.functional.rms_norm",
    [s(t(3, 4), (4,)), s(t(3, 4), (4,), t(4)), s(t(2, 3, 4), (3, 4), t(3, 4), 1e-3)],
    "fc",
    second=False,
    covers=("fused_rms_norm", "_rms", "_rms_gradient", "_rms_statistics", "_rms_weight"),
    **NORM,
)
row(
    "nn.functional.group_norm",
    [
        s(t(2, 4, 3), 2),
        s(t(2, 4, 3), 2, t(4), t(4)),
        s(t(2, 4, 3, 2), 4, t(4), t(4)),
        s(t(3, 6, 2), 3, t(6), t(6), 1e-3),
    ],
    "f",
    second=False,
    covers=("native_group_norm",),
    errors=[
        bad(
            RuntimeError,
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            "[2, 4, 3] and num_groups=3",
            t(2, 4, 3),
            3,
        )
    ],
    **NORM,
)
running = (t(3, grad=False), t(3, low=0.5, grad=False))
row("nn.functional.batch_norm", [s(t(4, 3), None, None, training=True), s(t(4, 3), None, None, t(3), t(3), True),
                                 s(t(2, 3, 4), None, None, t(3), t(3), True, 0.2, 1e-3),
                                 s(t(2, 3, 2, 2), *running, t(3), t(3)), s(t(4, 3), *running)], "f", second=False,
    covers=("native_batch_norm", "batch_norm_with", "_train", "_train_gradient", "_apply", "_apply_gradient"),
    errors=[bad(RuntimeError, "running_mean must be defined in evaluation mode", t(2, 3), None, None),
            bad(RuntimeError, "weight should contain 3 elements not 4", t(2, 3), None, None, t(4), None,
                True)], **NORM, slopes=False)  # fmt: skip
row(
    "nn.functional.instance_norm",
    [s(t(2, 3, 4)), s(t(2, 3, 4, 2), weight=t(3), bias=t(3)), s(t(2, 3, 4), *running, use_input_stats=False)],
    "f",
    second=False,
    **NORM,
)

# --- losses -------------------------------------------------------------------------------------------------------

LOSS = {"out": False, "method": False, "tolerance": LOOSE, "second": False}
REDUCTIONS = ("mean", "sum", "none")
PARTS = {"mse_loss": "squared", "l1_loss": "absolute", "smooth_l1_loss": "smooth", "huber_loss": "huber"}
for name, more in (
    ("mse_loss", ({},)),
    ("l1_loss", ({},)),
    ("smooth_l1_loss", ({}, {"beta": 0.7})),
    ("huber_loss", ({}, {"delta": 0.7})),
):
    pairs = [
        s(t(*shape, distinct=True), t(*shape, distinct=True, low=3, high=5), reduction=how, **kw)
        for how in REDUCTIONS
        for kw in more
        for shape in ((3, 4), (), (0, 2), (2, 3, 4))
    ]
    row(
        f"nn.functional.{name}",
        pairs,
        "fc" if name == "l1_loss" else "f",
        covers=tuple(f"_{PARTS[name]}_{how}" for how in REDUCTIONS),
        **LOSS,
    )
chances = {"low": 0.05, "high": 0.95}
row(
    "nn.functional.binary_cross_entropy",
    [
        s(t(3, 4, **chances), t(3, 4, **chances), *w, reduction=how)
        for how in REDUCTIONS
        for w in ((), (t(3, 4, grad=False),))
    ],
    "f",
    covers=("outside_rows",),
    errors=[
        bad(RuntimeError, "all elements of input should be between 0 and 1", t(values=[0.5, 1.5]), t(values=[0.0, 1.0]))
    ],
    **LOSS,
)
row(
    "nn.functional.binary_cross_entropy_with_logits",
    [
        s(t(3, 4), t(3, 4, **chances), *w, reduction=how, **kw)
        for how in REDUCTIONS
        for w in ((), (t(3, 4, grad=False),))
        for kw in ({}, {"pos_weight": t(4, low=0.5, grad=False)})
    ],
    "f",
    **LOSS,
)
row(
    "nn.functional.kl_div",
    [
        s(t(3, 4), t(3, 4, **chances), reduction=how, log_target=log)
        for how in (*REDUCTIONS, "batchmean")
        for log in (False, True)
    ],
    "f",
    **LOSS,
)
classes = [
    s(t(4, 5), index(4, below=5)), s(t(4, 5), index(4, below=5), t(5, low=0.1, grad=False)),
    s(t(5), index(below=5, fixed=True)), s(t(2, 3, 4), index(2, 4, below=3)),
    s(t(2, 3, 4, 2), index(2, 4, 2, below=3), t(3, low=0.1, grad=False)), s(t(4, 5), index(4, below=5), ignore_index=2),
    s(t(4, 5), index(4, below=5), reduction="none"),
    s(t(4, 5), index(4, below=5), reduction="sum"), s(t(4, 5), T(values=[0, -100, 2, 4], dtype="int64", grad=False)),
    s(t(0, 5), index(0, below=5), reduction="sum"), s(t(40, 70), index(40, below=70)),
]  # fmt: skip
wrong = T(values=[0, 7], dtype="int64", grad=False)
CLASS_ERRORS = [
    bad(IndexError, "Target 7 is out of bounds.", t(2, 5), wrong), bad(ValueError, "Expected input "
                                                                                   "batch_size (3) to "
                                                                                   "match target batch_size (2).", t(3,
                                                                5), index(2, below=5)),
    bad(RuntimeError, "expected target dtype to be Long or Byte, "
                      "but got Int", t(2, 5), T(values=[0, 1], dtype="int32", grad=False)),
    bad(RuntimeError, "weight tensor should be defined either for all 5 classes or no classes but got "
                      "weight tensor of shape: [3]", t(2, 5), index(2, below=5), t(3)),
]  # fmt: skip
row(
    "nn.functional.nll_loss",
    classes,
    "f",
    layouts=False,
    errors=CLASS_ERRORS,
    covers=("nll_classes", "nll_each", "nll_gradient", "nll_reduced"),
    **LOSS,
)
smooth = [
    s(t(4, 5), index(4, below=5), label_smoothing=0.1),
    s(t(4, 5), index(4, below=5), t(5, low=0.1, grad=False), label_smoothing=0.2),
    s(t(2, 3, 4), index(2, 4, below=3), label_smoothing=0.1),
]
shares = [s(t(4, 5), t(4, 5, **chances), reduction=how) for how in REDUCTIONS] + [
    s(t(4, 5), t(4, 5, **chances), t(5, low=0.1, grad=False), label_smoothing=0.1),
    s(t(2, 3, 4), t(2, 3, 4, **chances)),
]
row(
    "nn.functional.cross_entropy",
    [*classes, *smooth, *shares],
    "f",
    errors=CLASS_ERRORS,
    covers=(
        "cross_entropy_classes",
        "cross_entropy_gradient",
        "cross_entropy_rows",
        "cross_entropy_shares",
        "collected",
    ),
    **LOSS,
)

# --- look-up tables and dropout -----------------------------------------------------------------------------------

rows = [
    s(index(4, below=6), t(6, 3)),
    s(index(2, 3, below=6), t(6, 3)),
    s(index(below=6), t(6, 3)),
    s(index(0, below=6), t(6, 3)),
    s(index(8, below=3), t(3, 2), padding_idx=1),
]
row("nn.functional.embedding", [*rows, s(index(8, below=3), t(3, 2), scale_grad_by_freq=True)], "buifc", out=False,
    method=False, tolerance=LOOSE, layouts=False, covers=("embedding_rows", "embedding_dense_backward"),
    errors=[bad(IndexError, "index out of range in self", T(values=[6], dtype="int64", grad=False), t(6, 3)),
            bad(RuntimeError, "'weight' must be 2-D", index(2, below=3), t(3))],
    more=("complex64", "complex128"), slopes=False)  # fmt: skip
row(
    "embedding",
    [s(t(6, 3), index(4, below=6)), s(t(6, 3), index(2, 3, below=6), 1)],
    "buifc",
    more=("complex64", "complex128"),
    out=False,
    method=False,
    tolerance=LOOSE,
    slopes=False,
)
marks = T(values=[0, 2, 2, 7], dtype="int64", grad=False)
# PyTorch takes the frequencies of other indices than those whose gradients it scales: here all are the same.
twice = T(values=[4, 1, 5, 5, 4, 0, 2, 2, 1, 0], dtype="int64", grad=False)
row(
    "nn.functional.embedding_bag",
    [
        s(index(4, 3, below=6), t(6, 3)),
        s(index(9, below=6), t(6, 3), marks, mode="sum", padding_idx=1),
        s(twice, t(6, 3), marks, mode="mean", padding_idx=1, scale_grad_by_freq=True),
        s(index(9, below=6), t(6, 3), marks, mode="max", include_last_offset=True),
        s(index(4, 3, below=6), t(6, 3), mode="sum", per_sample_weights=t(4, 3)),
    ],
    "f",
    out=False,
    method=False,
    tolerance=LOOSE,
    layouts=False,
    slopes=False,
    covers=("embedding_bags", "bag_max_back"),
)
DROP = [
    s(t(3, 4), 0.3, True),
    s(t(3, 4), 0.0, True),
    s(t(3, 4), 1.0, True),
    s(t(3, 4), 0.3, False),
    s(t(500), 0.7, True),
]
for name in ("dropout", "alpha_dropout"):
    row(
        name,
        DROP,
        "f",
        out=False,
        method=False,
        tolerance=LOOSE,
        errors=[bad(RuntimeError, "dropout probability has to be between 0 and 1, but got 1.5", t(3), 1.5, True)],
    )
for name in ("feature_dropout", "feature_alpha_dropout"):
    row(
        name,
        [s(t(4, 3, 2), p, train) for p, train in ((0.3, True), (0.0, True), (1.0, True), (0.3, False))],
        "f",
        out=False,
        method=False,
        tolerance=LOOSE,
    )

# --- attention ----------------------------------------------------------------------------------------------------

row(
    "nn.functional.scaled_dot_product_attention",
    [
        s(t(2, 3, 5, 8), t(2, 3, 7, 8), t(2, 3, 7, 8)),
        s(t(2, 3, 7, 8), t(2, 3, 7, 8), t(2, 3, 7, 8), is_causal=True),
        s(t(2, 5, 8), t(2, 7, 8), t(2, 7, 4), mask(5, 7)),
        s(t(2, 5, 8), t(2, 7, 8), t(2, 7, 8), t(5, 7, grad=False), scale=0.3),
        s(t(2, 4, 5, 8), t(2, 2, 7, 8), t(2, 2, 7, 8), enable_gqa=True),
        s(t(2, 3, 0, 8), t(2, 3, 7, 8), t(2, 3, 7, 8)),
    ],
    "f",
    out=False,
    method=False,
    tolerance=LOOSE,
    strides=False,
)
