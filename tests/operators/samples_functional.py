"""Samples of what stands in `nn.functional` alone: images at other sizes and places, unpooling, sequences."""

from .table import bad, row, s, t

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
