"""Layers that PyTorch's record has no samples of, or not all ways of: the same programs in both frameworks."""

import copy
import io
import itertools
import warnings

import pytest
import torch
import torch.nn.attention.bias
import torch.nn.attention.flex_attention

import facula
from tests.conformance.records.mirror import flat, twin
from tests.conformance.test_nn_utils import caught, numbers, same_things, seen_by, state, text

torch.nn.attention.flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True  # the same without a compiler
PROGRAMS = []


def program(function):
    PROGRAMS.append(function)
    return function


def integers(f, high, *shape):
    f.manual_seed(6)
    return f.randint(0, high, shape)


# --- lazy modules -----------------------------------------------------------------------------------------------------

LAZY = [
    ("LazyLinear", (3,), (2, 5)),
    ("LazyConv2d", (4, 3), (2, 5, 6, 6)),
    ("LazyConvTranspose1d", (4, 3), (2, 5, 6)),
    ("LazyBatchNorm1d", (), (3, 5)),
    ("LazyBatchNorm2d", (), (3, 5, 2, 2)),
    ("LazyBatchNorm3d", (), (3, 5, 2, 2, 2)),
    ("LazyInstanceNorm1d", (), (3, 5, 4)),
    ("LazyInstanceNorm2d", (), (3, 5, 2, 2)),
    ("LazyInstanceNorm3d", (), (3, 5, 2, 2, 2)),
]


def kinds(module) -> list:
    return [(name, type(x).__name__) for name, x in [*module.named_parameters(), *module.named_buffers()]]


@program
def lazy(f):
    seen = []
    for name, args, shape in LAZY:
        f.manual_seed(1)
        layer = getattr(f.nn, name)(*args)
        seen += [text(layer), kinds(layer), list(layer.state_dict()), layer.has_uninitialized_params()]
        empty = copy.deepcopy(layer) if "Norm" not in name else getattr(f.nn, name)(*args)
        file = io.BytesIO()
        f.save(layer.state_dict(), file)
        file.seek(0)
        empty.load_state_dict(f.load(file, weights_only=False))
        layer.double()
        seen += [kinds(empty), text(layer(numbers(f, *shape).double()).dtype)]
        seen += [*state(layer), type(layer).__name__, len(layer._forward_pre_hooks)]
        empty.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in layer.state_dict().items()})
        seen += [kinds(empty), type(empty).__name__, *state(empty)]
        if "Instance" in name:  # does not know its features, in PyTorch too
            seen.append(caught(empty, numbers(f, *shape)))
        else:
            seen += [empty(numbers(f, *shape)), *state(empty)]
    return seen


@program
def lazy_copies(f):
    """The hooks of a copy belong to the copy."""
    layer = f.nn.LazyLinear(2)
    twin_of_it = copy.deepcopy(layer)
    twin_of_it(f.ones(1, 3)), twin_of_it(f.ones(1, 3))
    seen = [text(twin_of_it), text(layer), len(twin_of_it._forward_pre_hooks), len(layer._forward_pre_hooks)]
    layer(f.ones(1, 4)), layer(f.ones(1, 4))
    return [*seen, text(layer), len(layer._load_state_dict_pre_hooks)]


@program
def lazy_errors(f):
    parameter = f.nn.parameter.UninitializedParameter()
    buffer = f.nn.parameter.UninitializedBuffer(dtype=f.float64)
    layer = f.nn.LazyLinear(2)

    class Unfinished(f.nn.modules.lazy.LazyModuleMixin, f.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = f.nn.parameter.UninitializedParameter()

        def initialize_parameters(self, x):
            pass

    return [
        repr(parameter), repr(buffer), str(parameter.dtype), str(buffer.dtype), parameter.requires_grad,
        f.nn.parameter.is_lazy(parameter), isinstance(parameter, f.nn.Parameter), isinstance(buffer, f.nn.Buffer),
        caught(lambda: parameter.shape), caught(parameter.share_memory_), caught(Unfinished(), f.ones(2)),
        caught(f.nn.LazyConv2d(3, 2), f.ones(2, 2)), caught(f.nn.LazyConv2d(3, 2, groups=2), f.ones(3, 4, 4)),
        caught(f.nn.Linear(2, 2).load_state_dict, layer.state_dict()),
        caught(lambda: parameter + 1).split(" in ")[0], caught(lambda: parameter.sum()).split(" in ")[0],
    ]  # fmt: skip


# --- attention --------------------------------------------------------------------------------------------------------


@program
def attention(f):
    seen = []
    options = (
        {}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6, "vdim": 5}, {"batch_first": True},
        {"bias": False}, {"dropout": 0.5}, {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
    )  # fmt: skip
    for given in options:
        f.manual_seed(1)
        layer = f.nn.MultiheadAttention(8, 2, **given)
        q, k, v = numbers(f, 4, 3, 8), numbers(f, 4, 3, given.get("kdim", 8)), numbers(f, 4, 3, given.get("vdim", 8))
        seen += state(layer)
        for need, average in itertools.product((True, False), repeat=2):
            f.manual_seed(2)
            seen += layer(q, k, v, need_weights=need, average_attn_weights=average)
        length = 3 if given.get("batch_first") else 4
        causal = f.nn.Transformer.generate_square_subsequent_mask(length)
        hidden = f.zeros(12 // length, length, dtype=f.bool)
        hidden[0, 1:] = True
        layer.eval()
        seen += layer(q, k, v, attn_mask=causal, key_padding_mask=hidden)
        seen += layer(q, k, v, attn_mask=causal, is_causal=True, need_weights=False)
        masks = (numbers(f, 2 * 12 // length, length, length) > -1) ^ True
        seen += layer(q, k, v, attn_mask=masks)
    return seen


@program
def attention_errors(f):
    made = f.nn.MultiheadAttention
    layer, x = made(4, 2), f.ones(3, 2, 4)
    ones = f.ones
    return [
        caught(made, 5, 2), caught(made, 0, 2), caught(layer, x, x, f.ones(2, 4)), caught(layer, ones(4), x, x),
        caught(layer, x, x, x, attn_mask=ones(2, 2)), caught(layer, x, x, x, attn_mask=ones(1, 1, 3, 3)),
        caught(layer, x, x, x, attn_mask=ones(3, 3, 3)), caught(layer, x, x, x, key_padding_mask=ones(3)),
        caught(layer, x, x, x, attn_mask=ones(3, 3).int()), caught(layer, x, x, x, is_causal=True),
        caught(layer, f.ones(3, 2, 6), x, x), caught(layer, x, x, f.ones(2, 2, 4)),
        caught(f.nn.TransformerEncoderLayer, 4, 2, activation="tanh"),
        caught(f.nn.Transformer(4, 2, 1, 1, 4), x, f.ones(3, 1, 4)),
        caught(f.nn.Transformer(4, 2, 1, 1, 4), x, f.ones(3, 2, 5)),
    ]  # fmt: skip


@program
def padded_sequences(f):
    """Where PyTorch's encoder works on sequences without their padding, the padded positions come back as 0."""
    seen = []
    for norm in (True, False):
        f.manual_seed(1)
        layer = f.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        model = f.nn.TransformerEncoder(layer, 2, f.nn.LayerNorm(8) if norm else None).eval()
        seen += state(model)
        x = numbers(f, 3, 5, 8)
        padding = f.zeros(3, 5, dtype=f.bool)
        padding[0, 3:] = padding[2, 1:] = True
        elsewhere = padding.clone()
        elsewhere[1, 0] = True
        causal = f.nn.Transformer.generate_square_subsequent_mask(5)
        for hidden in (padding, elsewhere):
            seen += [model(x, src_key_padding_mask=hidden)]
            with f.no_grad():
                seen += [model(x, src_key_padding_mask=hidden)]
        with f.no_grad():
            seen += [model(x, mask=causal), model(x, mask=causal, is_causal=True)]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        f.nn.TransformerEncoder(f.nn.TransformerEncoderLayer(4, 2, norm_first=True), 1)
        f.nn.TransformerEncoder(f.nn.TransformerEncoderLayer(3, 3, batch_first=True), 1)
        f.nn.TransformerEncoder(f.nn.TransformerEncoderLayer(4, 2), 1)
    return [*seen, *(str(warning.message) for warning in given)]


@program
def causal_biases(f):
    B = f.nn.attention.bias
    q, k = numbers(f, 1, 2, 3, 4), numbers(f, 1, 2, 5, 4)
    attend = f.nn.functional.scaled_dot_product_attention
    with f.nn.attention.sdpa_kernel(f.nn.attention.SDPBackend.MATH):
        made = [attend(q, k, k, bias) for bias in (B.causal_upper_left(3, 5), B.causal_lower_right(3, 5))]
    return [
        *made, repr(B.causal_lower_right(2, 3)), B.causal_upper_left(2, 3).seq_len_kv,
        str(f.nn.attention.SDPBackend.FLASH_ATTENTION), caught(B.causal_lower_right, 2),
        caught(f.nn.attention.sdpa_kernel("x").__enter__),
    ]  # fmt: skip


@program
def scores_through_functions(f):
    A = f.nn.attention.flex_attention
    q, k, v = numbers(f, 2, 4, 5, 3), numbers(f, 2, 4, 7, 3) + 1, numbers(f, 2, 4, 7, 6)
    bias, lengths = numbers(f, 4), integers(f, 7, 2)

    def window(b, h, q_idx, kv_idx):
        return (q_idx - kv_idx).abs() <= 1

    def short(b, h, q_idx, kv_idx):
        return kv_idx < lengths[b]

    scores = (
        None,
        lambda score, b, h, q_idx, kv_idx: score + bias[h] * (q_idx - kv_idx),
        lambda score, b, h, q_idx, kv_idx: f.where(q_idx >= kv_idx, 2 * (score / 2).tanh(), -float("inf")),
    )
    masks = [
        A.create_block_mask(mask, 2, None, 5, 7, device="cpu", BLOCK_SIZE=2, separate_full_blocks=separate)
        for mask in (window, short, A.or_masks(window, short), A.and_masks(window, short), A.noop_mask)
        for separate in (True, False)
    ]
    seen = [A.create_mask(window, None, None, 5, 7, device="cpu"), A.create_mask(scores[2], 1, 2, 5, 7, device="cpu")]
    for mask in masks:
        seen += [repr(mask).replace(",)", ")"), mask.to_dense(), mask.kv_num_blocks, mask.q_num_blocks, mask.sparsity()]
    for score, mask in itertools.product(scores, (None, masks[0], masks[2])):
        seen += A.flex_attention(q, k, v, score, mask, return_aux=A.AuxRequest(lse=True))[:1]
    seen += A.flex_attention(q, k[:, :2], v[:, :2], enable_gqa=True, return_aux=A.AuxRequest(lse=True))[0]
    return [
        *seen, A.flex_attention(q, k, v, scale=0.5), caught(A.flex_attention, q, k[:, :2], v[:, :2]),
        caught(A.flex_attention, q, k[..., :2], v), caught(A.create_mask, lambda x: x, None, None, 2, 2, device="cpu"),
        caught(A.or_masks, 3),
    ]  # fmt: skip


# --- losses and norms -------------------------------------------------------------------------------------------------


@program
def softmax_in_clusters(f):
    seen = []
    for bias in (True, False):
        f.manual_seed(1)
        layer = f.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10, 15], 2.0, bias)
        x, y = numbers(f, 12, 16), integers(f, 20, 12)
        output, loss = layer(x, y)
        loss.backward()
        seen += [*state(layer), output, loss, *(p.grad for p in layer.parameters())]
        seen += [layer.log_prob(x), layer.predict(x), *layer(x[0], y[0]), layer(x, y * 0).loss]
    made = f.nn.AdaptiveLogSoftmaxWithLoss
    return [
        *seen, caught(made, 4, 5, []), caught(made, 4, 5, [3, 2]), caught(made, 4, 5, [5]), caught(made, 4, 5, [0, 1]),
        caught(layer, x, y[:3]), caught(layer, x, y[0]), caught(layer, x, y + 10), caught(layer, x[0], y),
    ]  # fmt: skip


@program
def cross_entropy_in_chunks(f):
    options = f.nn.LinearCrossEntropyOptions
    layer = f.nn.LinearCrossEntropyLoss(4, 6, bias=True, options=options(batch_chunk_size=3), dtype=f.float64)
    with f.no_grad():
        layer.linear.weight.copy_(numbers(f, 6, 4))
        layer.linear.bias.copy_(numbers(f, 6))
    x, y = numbers(f, 7, 4).double().requires_grad_(), integers(f, 6, 7)
    loss = layer(x, y)
    loss.backward()
    return [
        text(layer), loss, x.grad, *(p.grad for p in layer.parameters()), repr(options()),
        caught(options, acc_policy="x"), caught(options, chunking_method="x"), caught(options, batch_chunk_size=0),
        caught(options, acc_dtype=f.int64), caught(f.nn.LinearCrossEntropyLoss, 4, 6, label_smoothing=2.0),
    ]  # fmt: skip


@program
def norms(f):
    seen = []
    for size, channels in ((5, 7), (3, 4), (4, 6), (2, 5)):
        layer = f.nn.CrossMapLRN2d(size, 0.3, 0.7, 2.0)
        seen += [text(layer), layer(numbers(f, 2, channels, 3, 2))]
    x = numbers(f, 4, 3, 2).requires_grad_()
    model = f.nn.Sequential(f.nn.Linear(2, 2), f.nn.Sequential(f.nn.BatchNorm1d(3, affine=False)))
    made = f.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    seen += [*state(made), made is model, made.eval()(x), caught(f.nn.SyncBatchNorm(2), f.ones(2))]
    layer = f.nn.BatchNorm1d(3).eval()
    layer(x).sum().backward()
    return [*seen, [b.requires_grad for b in layer.buffers()], x.grad]


@program
def images(f):
    x = numbers(f, 2, 3, 6, 5)
    line, volume = numbers(f, 2, 3, 7), numbers(f, 1, 2, 4, 5, 6)
    cases = (
        (f.nn.Upsample(scale_factor=2), x), (f.nn.Upsample(size=(4, 9), mode="bilinear"), x),
        (f.nn.Upsample(scale_factor=(1.5, 2.5), mode="bicubic", align_corners=True), x),
        (f.nn.Upsample(size=9, mode="linear"), line), (f.nn.Upsample(scale_factor=2.0, mode="trilinear"), volume),
        (f.nn.Upsample(scale_factor=0.7, mode="bilinear", recompute_scale_factor=True), x),
        (f.nn.UpsamplingNearest2d(size=(3, 8)), x), (f.nn.UpsamplingBilinear2d(scale_factor=2), x),
        (f.nn.Unfold((2, 3), padding=1, stride=2), x), (f.nn.Fold((6, 5), (2, 3), padding=1), numbers(f, 2, 18, 35)),
        (f.nn.PixelShuffle(2), numbers(f, 2, 8, 3, 2)), (f.nn.PixelUnshuffle(2), numbers(f, 2, 2, 4, 6)),
        (f.nn.ChannelShuffle(3), numbers(f, 2, 6, 4)),
    )  # fmt: skip
    seen = []
    for layer, given in cases:
        given = given.clone().requires_grad_()
        out = layer(given)
        out.square().sum().backward()
        seen += [text(layer), out, given.grad]
    return seen


@program
def pools_of_channels_last(f):
    """Where results and gradients lie."""
    seen = []
    kinds = [(f"{kind}Pool{d}d", 2) for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for d in (2, 3)]
    for name, size in [*kinds, ("MaxPool2d", 6), ("AdaptiveMaxPool2d", 1)]:
        sizes = (6, 12) if name[-2] == "2" else (4, 6, 4)
        for channels, step in ((3, 1), (3, 2), (1, 1)):
            x = numbers(f, 2, *sizes, channels)
            x = x.permute(0, x.dim() - 1, *range(1, x.dim() - 1))[..., ::step].requires_grad_()
            y = getattr(f.nn, name)(size)(x)
            (into,) = f.autograd.grad(y.square().sum(), x)
            seen += [y, y.stride(), into, into.stride()]
    for name in ("AdaptiveAvgPool2d", "AdaptiveAvgPool3d"):
        x = numbers(f, 2, *(2,) * int(name[-2]), 3).permute(0, int(name[-2]) + 1, *range(1, int(name[-2]) + 1))
        seen.append(getattr(f.nn, name)(1)(x).stride())
    return seen


@program
def pools(f):
    seen = []
    for dims, size in ((1, (8,)), (2, (8, 6)), (3, (4, 6, 4))):
        x = numbers(f, 2, 3, *size).requires_grad_()
        pool = getattr(f.nn, f"MaxPool{dims}d")(2, return_indices=True)
        back = getattr(f.nn, f"MaxUnpool{dims}d")(2)
        values, indices = pool(x)
        y = back(values, indices)
        y.square().sum().backward()
        seen += [text(pool), text(back), indices, y, x.grad, back(values, indices, output_size=x.shape)]
    for made in (f.nn.FractionalMaxPool2d, f.nn.FractionalMaxPool3d):
        dims = int(made.__name__[-2])
        layer = made(2, output_ratio=0.6, return_indices=True)
        x = numbers(f, 2, 3, *(8,) * dims)
        f.manual_seed(3)
        seen += [text(layer), *layer(x)]
        seen += [caught(made, 2), caught(made, 2, 3, 0.5), caught(made, 2, output_ratio=2.0)]
    return seen


@program
def alignments(f):
    log_p = numbers(f, 9, 3, 5).log_softmax(2).requires_grad_()
    targets = integers(f, 4, 3, 4) + 1
    seen = []
    for reduction, zero in itertools.product(("none", "mean", "sum"), (True, False)):
        layer = f.nn.CTCLoss(0, reduction, zero)
        out = layer(log_p, targets, f.tensor([9, 8, 5]), f.tensor([4, 2, 0]))
        seen += [text(layer), out, *f.autograd.grad(out.sum(), log_p)]
    return seen


# --- modules ----------------------------------------------------------------------------------------------------------


@program
def one_device(f):
    model = f.nn.DataParallel(f.nn.Linear(2, 2))
    with f.no_grad():
        model.module.weight.copy_(numbers(f, 2, 2))
        model.module.bias.zero_()
    keys = model.state_dict()
    f.nn.modules.utils.consume_prefix_in_state_dict_if_present(keys, "module.")
    return [text(model), list(model.state_dict()), model(numbers(f, 3, 2)), list(keys), str(dict(keys._metadata))]


@program
def methods(f):
    model = f.nn.Sequential(f.nn.Linear(2, 2), f.nn.BatchNorm1d(2))
    model.compile()
    seen = [model.eval()(f.ones(1, 2)).shape]
    weight = model[0].weight
    model.to_empty(device="cpu")
    seen += [model[0].weight is weight, [str(b.dtype) for b in model.half().buffers()]]
    model.set_submodule("1", f.nn.Identity())
    seen += [text(model), caught(model.xpu), caught(model.ipu)]
    model.set_submodule("new", f.nn.Flatten())
    seen += [text(model), text(f.nn.modules.module._addindent("a\nb", 3)), model.T_destination.__name__]
    buffer = f.nn.Buffer(f.ones(2), persistent=False)
    model.b = buffer
    seen += [list(model.state_dict()), [n for n, _ in model.named_buffers()], isinstance(buffer, f.nn.Buffer)]
    made = f.nn.factory_kwargs({"dtype": f.float64, "factory_kwargs": {"device": "cpu"}})
    return [*seen, str(made), caught(f.nn.factory_kwargs, {"x": 1})]


@program
def hooks_of_all_modules(f):
    """What each kind of hook sees, in order: those of all modules, those of one, those of states."""
    M = f.nn.modules.module
    seen: list = []

    def shapes(value):
        if isinstance(value, (tuple, list)):
            return [shapes(x) for x in value]
        if isinstance(value, dict):
            return sorted(value)
        return list(value.shape) if isinstance(value, f.Tensor) else type(value).__name__

    def note(kind):
        return lambda module, *args: seen.append([kind, type(module).__name__, *map(shapes, args)])

    handles = [
        M.register_module_parameter_registration_hook(note("parameter")),
        M.register_module_buffer_registration_hook(note("buffer")),
        M.register_module_module_registration_hook(note("module")),
        M.register_module_forward_pre_hook(note("forward pre")),
        M.register_module_forward_hook(note("forward"), always_call=True),
        M.register_module_full_backward_pre_hook(note("backward pre")),
        M.register_module_full_backward_hook(note("backward")),
    ]
    model = f.nn.Sequential(f.nn.Linear(2, 3), f.nn.BatchNorm1d(3))
    model.register_forward_pre_hook(note("own forward pre"), prepend=True)
    model[0].register_full_backward_pre_hook(note("own backward pre"), prepend=True)
    model[1].register_state_dict_pre_hook(note("state pre"))
    model[1].register_state_dict_post_hook(note("state post"))
    model[1].register_load_state_dict_pre_hook(note("load pre"))
    model.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    x = numbers(f, 4, 2).requires_grad_()
    model(x).sum().backward()
    keys = model.load_state_dict({"0.weight": model.state_dict()["0.weight"]})
    seen += [str(keys), caught(model, f.ones(4, 7))]
    for handle in handles:
        handle.remove()
    count = len(seen)
    f.nn.Linear(2, 2)(x)
    with f.nn.Linear(2, 2).register_forward_hook(note("never")) as handle:
        pass
    old = f.nn.Linear(2, 2)
    old.register_backward_hook(lambda module, into, out: seen.append([len(into), shapes(out)]))
    old(x).sum().backward()
    return [
        *seen, len(seen) - count, caught(old.register_full_backward_hook, note("x")),
        caught(M.register_module_forward_hook, note("x"), nothing=True),
    ]  # fmt: skip


@program
def gradients_of_convolutions(f):
    G = f.nn.grad
    seen = []
    for dims in (1, 2, 3):
        x, w = numbers(f, 2, 4, *[5] * dims), numbers(f, 6, 2, *[3] * dims)
        options = {"stride": 2, "padding": 1, "groups": 2}
        y = getattr(f.nn.functional, f"conv{dims}d")(x, w, **options)
        seen.append(getattr(G, f"conv{dims}d_input")(x.shape, w, f.ones_like(y), **options))
        seen.append(getattr(G, f"conv{dims}d_weight")(x, w.shape, f.ones_like(y), **options))
    return seen


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda run: run.__name__)
def test_layers(run):
    same_things(seen_by(run, facula), seen_by(run, torch))


WRITTEN = [
    (lambda nn: nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), (2, 3, 4)),
    (lambda nn: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2)), (2, 3, 6, 6)),
    (lambda nn: nn.GRU(3, 4, 2), (5, 2, 3)),
    (lambda nn: nn.Sequential(nn.Upsample(scale_factor=2), nn.ConvTranspose2d(3, 4, 2)), (1, 3, 4, 4)),
    (lambda nn: nn.utils.weight_norm(nn.Linear(3, 2)), (2, 3)),
    (lambda nn: nn.utils.spectral_norm(nn.Linear(3, 2)), (2, 3)),
    (lambda nn: nn.LazyLinear(3), None),
]


@pytest.mark.parametrize("make, shape", WRITTEN, ids=range(len(WRITTEN)))
def test_whole_modules_in_files(make, shape):
    """What `save` writes of a module is read by the other framework, and back."""
    layer, file, back = make(torch.nn).eval(), io.BytesIO(), io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    read = facula.load(file, weights_only=False)
    facula.save(read, back)
    back.seek(0)
    again = torch.load(back, weights_only=False)
    assert repr(layer) == repr(read) == repr(again)
    if shape is not None:
        x = torch.randn(shape)
        same_things(flat(read(twin(x))), flat(layer(x)))
        same_things(flat(again(x)), flat(layer(x)))


def test_twins_of_modules():
    """The harness itself: a module of PyTorch and its twin give the same."""
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    x = torch.randn(2, 3, 4)
    same_things([twin(layer)(twin(x))], [layer(x)])
