"""Samples of what stands in `nn.functional` alone: images at other sizes and places, unpooling, sequences."""

from .table import bad, index, row, s, t

LOOSE = {"float16": (4e-3, 4e-3), "bfloat16": (3e-2, 3e-2), "float32": (2e-5, 2e-5)}
PLAIN = {"out": False, "method": False, "strides": False, "tolerance": LOOSE}

# PyTorch computes them, to nothing that means anything.
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "complex64", "complex128")

# --- images at other sizes ----------------------------------------------------------------------------------------

line, image, solid = t(2, 3, 5), t(2, 2, 4, 5), t(1, 2, 3, 4, 3)

row(
    "nn.functional.interpolate",
    [
        *[s(line, n, mode=m) for n in (3, 5, 8, 10) for m in ("nearest", "nearest-exact", "linear", "area")],
        *[s(image, scale_factor=f, mode=m) for f in (0.6, 1.7, (2.0, 3.0)) for m in ("nearest", "bilinear", "bicubic")],
        *[s(image, n, mode=m, align_corners=True) for n in (1, (3, 7)) for m in ("bilinear", "bicubic")],
        *[
            s(image, n, mode=m, antialias=True)
            for n in (2, (3, 9), (1, 1))
            for m in ("bilinear", "bicubic", "lanczos")
        ],
        *[s(solid, n, mode=m) for n in (2, (5, 2, 7)) for m in ("nearest", "trilinear", "area")],
        s(solid, scale_factor=1.4, mode="trilinear", recompute_scale_factor=True),
        s(t(0, 2, 3, 4), 5, mode="bilinear"),
        s(t(2, 1, 40, 3), (4, 3), mode="bilinear", antialias=True),
        s(t(1, 1, 1, 1), 3, mode="bicubic"),
        s(t(1, 1, 1, 3, values=[1.0, float("inf"), float("nan")], grad=False), (2, 6)),
    ],
    "f",
    more=("uint8",),  # images alone
    covers=(
        "resample", *[f"UpsampleNearest{e}{d}D" for e in ("", "Exact") for d in (1, 2, 3)], "UpsampleLinear1D",
        "UpsampleBilinear2D", "UpsampleTrilinear3D", "UpsampleBicubic2D", "UpsampleBilinear2DAa",
        "UpsampleBicubic2DAa", "UpsampleLanczos2DAa",
    ),
    errors=[
        bad(ValueError, "either size or scale_factor should be defined", line),
        bad(ValueError, "only one of size or scale_factor should be defined", line, 3, 2.0),
        bad(ValueError, "align_corners option can only be set with the", line, 3, align_corners=True),
        bad(ValueError, "Input and output must have the same number of spatial dimensions, but got", line, (3, 3)),
        bad(NotImplementedError, "Got 3D input, but bilinear mode needs 4D input", line, 3, mode="bilinear"),
        bad(NotImplementedError, "Input Error: Only 3D, 4D and 5D input Tensors supported (got 2D)", t(2, 3), 3),
        bad(RuntimeError, "Input and output sizes should be greater than 0, but got input (W: 5) and output",
            line, 0),
        bad(ValueError, "Anti-alias option is restricted to", line, 3, antialias=True),
        bad(NotImplementedError, '"compute_indices_weights_nearest" not implemented', t(1, 1, 3, dtype="int32"), 2),
    ],
    **PLAIN,
)  # fmt: skip

# --- images at given places ---------------------------------------------------------------------------------------

grid, grid3 = t(2, 3, 4, 2, low=-1.3, high=1.3), t(1, 2, 3, 2, 3, low=-1.3, high=1.3)
MODES = [(m, p, a) for m in range(3) for p in range(3) for a in (False, True)]

row(
    "grid_sampler",
    [*[s(image, grid, *how) for how in MODES], *[s(solid, grid3, *how) for how in MODES if how[0] < 2]]
    + [s(t(0, 2, 3, 3), t(0, 1, 2, 2), 0, 0, False), s(t(1, 2, 1, 1), t(1, 2, 2, 2), 0, 2, True)],
    "f",
    covers=("grid_sampler_2d", "grid_sampler_3d", *[f"grid_{w}{d}" for w in ("weights", "places") for d in (2, 3)],
        "sampled", "sampled_image", "sampled_weights"),
    blind=("bfloat16", "float16"),  # places are rounded where the derivative is not
    errors=[
        bad(RuntimeError, "grid_sampler(): expected 5D input and grid with same number of dimensions", line,
            t(2, 3, 4, 1), 0, 0, False),
        bad(RuntimeError, "grid_sampler(): expected grid and input to have same batch size", t(1, 2, 4, 5), grid, 0, 0,
            False),
        bad(RuntimeError, "grid_sampler(): expected grid to have size 2 in last dimension", image, t(2, 3, 4, 3), 0, 0,
            False),
        bad(RuntimeError, "grid_sampler(): bicubic interpolation only supports 4D input", solid, grid3, 2, 0, False),
    ],
    **PLAIN,
)  # fmt: skip
row(
    "nn.functional.grid_sample",
    [s(image, grid, align_corners=False), s(image, grid, "nearest", "border", True)],
    "f",
    blind=("bfloat16", "float16"),
    errors=[bad(ValueError, "nn.functional.grid_sample(): expected mode to be", image, grid, "cubic")],
    **PLAIN,
)
row("grid_sampler_2d", [s(image, grid, 0, 0, False)], "f", blind=("bfloat16", "float16"), **PLAIN)
row("grid_sampler_3d", [s(solid, grid3, 0, 0, False)], "f", blind=("bfloat16", "float16"), **PLAIN)
row(
    "nn.functional.affine_grid",
    [s(t(2, 2, 3), (2, 3, 4, 5), a) for a in (False, True)] + [s(t(1, 3, 4), (1, 1, 2, 3, 1), False)],
    "f",
    errors=[
        bad(ValueError, "Expected a batch of 2D affine matrices of shape Nx2x3", t(2, 3, 3), (2, 3, 4, 5), False),
        bad(NotImplementedError, "affine_grid only supports 4D and 5D sizes", t(2, 2, 3), (2, 3, 4), False),
        bad(ValueError, "Expected non-zero, positive output size.", t(2, 2, 3), (2, 3, 0, 4), False),
    ],
    **PLAIN,
)
row("affine_grid_generator", [s(t(2, 2, 3), (2, 3, 4, 5), False)], "f", lacks=WHOLE, **PLAIN)

# --- pooling ------------------------------------------------------------------------------------------------------

FORM = {"out": False, "method": False, "strides": False}


def places(*shape, of):
    """Indices into planes of `of` elements, none twice in one."""
    import numpy as np

    rng, n = np.random.default_rng(2), int(np.prod(shape[2:]))
    found = [rng.permutation(of)[:n] for _ in range(shape[0] * shape[1])]
    return t(*shape, dtype="int64", values=np.array(found).reshape(shape).tolist(), grad=False)


row(
    "nn.functional.max_unpool2d",
    [s(image, places(2, 2, 4, 5, of=80), 2), s(t(1, 1, 2, 2), places(1, 1, 2, 2, of=30), 3, 2, 0, (5, 6))],
    "f",
    covers=("put_at",),
    errors=[
        bad(RuntimeError, "Expected shape of indices to be", image, places(2, 2, 4, 4, of=80), 2),
        bad(RuntimeError, "Found an invalid max index: 80", t(1, 1, 1, 1), index(1, 1, 1, 1, values=[80], below=9), 2),
        bad(RuntimeError, "elements in indices should be type int64", image, image, 2),
        bad(ValueError, 'invalid output_size "(1, 6)" (dim 0 must be between', image, image, 2, None, 0, (1, 6)),
        bad(ValueError, "output_size should be a sequence containing 2 or 4 elements", image, image, 2, None, 0, (1,)),
    ],
    layouts=False,
    **FORM,
)  # fmt: skip
row("nn.functional.max_unpool1d", [s(line, places(2, 3, 5, of=10), 2)], "f", layouts=False, **FORM)
row("nn.functional.max_unpool3d", [s(solid, places(1, 2, 3, 4, 3, of=288), 2)], "f", layouts=False, **FORM)


def random_windows(d: int, *shape):
    """Numbers of planes for windows at random places."""
    return t(shape[0], shape[1], d, low=0.0, high=1.0, grad=False)


row(
    "nn.functional.fractional_max_pool2d",
    [
        s(t(2, 2, 6, 7, distinct=True), 2, (3, 4), None, indices, random_windows(2, 2, 2))
        for indices in (False, True)
    ]
    + [s(t(0, 2, 6, 7), 2, 3, None, False, random_windows(2, 0, 2))]
    + [s(t(2, 5, 6, distinct=True), 2, None, (0.5, 0.5), False, random_windows(2, 1, 2))],
    "f",
    errors=[
        bad(ValueError, "fractional_max_pool2d requires specifying either an output_size or an output_ratio", image, 2),
        bad(RuntimeError, "fractional_max_pool2d(): pool height 3 too large relative to input height 4", image, 3, 4,
            None, False, random_windows(2, 2, 2)),
    ],
    layouts=False,
    **FORM,
)  # fmt: skip
row(
    "nn.functional.fractional_max_pool3d",
    [s(t(1, 2, 5, 6, 4, distinct=True), (2, 2, 1), (2, 3, 1), None, False, random_windows(3, 1, 2))],
    "f",
    layouts=False,
    **FORM,
)

# --- distances, shuffles, margins ----------------------------------------------------------------------------------

pair = (t(3, 4), t(3, 4))
row("pairwise_distance", [s(*pair), s(*pair, 1.0), s(t(4), t(4), 3.0, 1e-3, True)], "fcui", **PLAIN)
row(
    "cosine_similarity",
    [s(*pair), s(t(2, 3, 4), t(3, 4), 2), s(t(3, 4), t(3, 4), dim=0, eps=0.5)],
    "f",
    **PLAIN,
)
row(
    "pdist",
    [s(t(4, 3), *p) for p in ((), (1.0,), (3.0,), (float("inf"),), (0.0,))]
    + [s(t(*n, grad=False)) for n in ((1, 3), (3, 0), (0, 2))],
    "f",
    refused=("float16", "bfloat16"),
    errors=[
        bad(RuntimeError, "pdist only supports 2D tensors, got: 1D", t(3)),
        bad(RuntimeError, "pdist only supports non-negative p values", t(3, 2), -1.0),
    ],
    **PLAIN,
)
row("channel_shuffle", [s(t(2, 6, 3), 2), s(t(1, 6, 2, 2), 3)], **PLAIN)
row("native_channel_shuffle", [s(t(2, 6, 3, grad=False), 2)], grad=False, layouts=False, **PLAIN)
row("pixel_shuffle", [s(t(2, 8, 2, 3), 2), s(t(9, 1, 2), 3)], **PLAIN)
row("pixel_unshuffle", [s(t(2, 2, 4, 6), 2), s(t(1, 3, 6), 3)], **PLAIN)

sign = t(3, values=[1.0, -1.0, 1.0], grad=False)
row("hinge_embedding_loss", [s(t(3, away=0.1), sign, 1, r) for r in (0, 2, 1)], "fui", **PLAIN)
row("margin_ranking_loss", [s(t(3), t(3), sign, 0.3, r) for r in range(3)], "fui", **PLAIN)
row("cosine_embedding_loss", [s(*pair, sign, -0.9, r) for r in range(3)], "buif", **PLAIN)
row(
    "triplet_margin_loss",
    [s(*pair, t(3, 4), 0.7, 2.0, 1e-6, swap, r) for r in range(3) for swap in (False, True)],
    "fcui",
    errors=[bad(RuntimeError, "The anchor, positive, and negative tensors are expected to have the same", t(3), *pair)],
    **PLAIN,
)
count = t(3, low=0.1, high=4.0)
row(
    "poisson_nll_loss",
    [s(count, t(3, low=0.2, high=5.0), log, full, 1e-8, 1) for log in (True, False) for full in (True, False)],
    "fui",
    **PLAIN,
)

# --- sequences and convolutions -----------------------------------------------------------------------------------

labels = t(2, 3, values=[1, 2, 2, 3, 1, 1], dtype="int64", grad=False, fixed=True)
row(
    "ctc_loss",
    [
        *[s(t(7, 2, 4), labels, (7, 6), (3, 2), 0, r) for r in range(3)],
        s(t(7, 2, 4), t(5, values=[1, 2, 2, 3, 1], dtype="int64", grad=False, fixed=True), (7, 5), (3, 2), 0, 0),
        s(t(7, 4), t(3, values=[1, 2, 2], dtype="int64", grad=False), (7,), (3,), 3, 0),
        s(t(2, 2, 4), labels, (2, 2), (3, 1), 0, 0, True),
        s(t(4, 2, 4), labels, (4, 3), (0, 2), 0, 0),
    ],
    "f",
    covers=("ctc", "ctc_back"),
    refused=("float16", "bfloat16"),
    slopes=False,  # the gradient is that for log-probabilities, which these are not
    second=False,
    errors=[
        bad(RuntimeError, "blank must be in label range", t(7, 2, 4), labels, (7, 7), (3, 3), 4),
        bad(RuntimeError, "input_lengths must be of size batch_size", t(7, 2, 4), labels, (7,), (3, 3)),
        bad(RuntimeError, "target_lengths must be of size batch_size", t(7, 2, 4), labels, (7, 7), (3,)),
        bad(RuntimeError, "Expected input_lengths to have value at most 7, but got value 8", t(7, 2, 4), labels, (8, 7),
            (3, 3)),
    ],
    **FORM,
)  # fmt: skip
row(
    "conv_tbc",
    [s(t(5, 2, 3), t(2, 3, 4), t(4), pad) for pad in (0, 1)],
    "fui",
    more=("complex64", "complex128"),
    layouts=False,
    **PLAIN,
)
row(
    "convolution",
    [
        s(t(2, 3, 5), t(4, 3, 2), t(4), [2], [1], [1], False, [0], 1),
        s(t(1, 4, 3, 4), t(4, 2, 2, 2), None, [1, 1], [0, 0], [1, 1], True, [0, 0], 2),
    ],
    "fui",
    more=("complex64", "complex128"),
    **PLAIN,
)
