"""Multi-head attention, and the Transformer made of it (Vaswani et al., Attention is all you need, 2017)."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

from facula.autograd import is_grad_enabled
from facula.core.dtype import float32
from facula.core.modes import LOCAL
from facula.core.switches import transformer
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import _addmm_activation, empty, full, masked_fill, triu
from facula.operators.scaled import activates

from . import functional as F
from . import init
from .activation import GELU, ReLU
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear, NonDynamicallyQuantizableLinear
from .module import Module
from .multihead import _canonical_mask, _none_or_dtype
from .normalization import LayerNorm
from .parameter import Parameter

__all__ = [
    "MultiheadAttention",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]


class MultiheadAttention(Module):
    """Attention of several heads, each in its own projection of query, key and value.

    Parameters
    ----------
    embed_dim, num_heads : int
        The size E of queries and output, and the number of heads, which divides it.
    dropout : float
        Of the weights.
    bias : bool
        Whether the projections have one.
    add_bias_kv, add_zero_attn : bool
        Whether there is one more key and value that is learnt; that is zero.
    kdim, vdim : int, optional
        The sizes of keys and values; E unless given.
    batch_first : bool
        Whether operands are (N, L, E) rather than (L, N, E).
    """

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            fail(
                ValueError,
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead",
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            fail(AssertionError, "embed_dim must be divisible by num_heads", got=f"{embed_dim} and {num_heads}")

        def parameter(*shape):
            return Parameter(empty(shape, device=device, dtype=dtype))

        together = self._qkv_same_embed_dim
        if together:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim)
        for name, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if together else parameter(embed_dim, size))
        if not together:
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.bias_k: Parameter | None = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v: Parameter | None = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)  # files from before there were separate weights
        super().__setstate__(state)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output and, with `need_weights`, the weights; operands as `functional.multi_head_attention_forward`."""
        turned = self.batch_first and query.dim() == 3
        if turned:
            once = {id(x): x.transpose(0, 1) for x in (query, key, value)}  # equal operands stay the same object
            query, key, value = (once[id(x)] for x in (query, key, value))
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return output.transpose(0, 1) if turned else output, weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one, and its kind: 1 for padding alone, 2 for (N, num_heads, L, L), None for none."""
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
        return merged, 2


# ---------------------------------------------------------------------------------------------------------------------
# Masks


def _generate_square_subsequent_mask(size: int, device=None, dtype=None) -> Tensor:
    return triu(full((size, size), float("-inf"), dtype=dtype or float32, device=device), diagonal=1)


def _detect_is_causal_mask(mask: Tensor | None, is_causal: bool | None, size: int) -> bool:
    """What the caller says, or else whether the mask is the causal one."""
    if is_causal is not None or mask is None:
        return is_causal is True
    causal = _generate_square_subsequent_mask(size, mask.device, mask.dtype)
    return mask.shape == causal.shape and bool((mask == causal).all())


def _length(x: Tensor, batch_first: bool) -> int:
    return x.shape[1 if batch_first and x.dim() == 3 else 0]


def _activation(given: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    named = {"relu": F.relu, "gelu": F.gelu}
    if not isinstance(given, str):
        return given
    if given not in named:
        fail(RuntimeError, f"activation should be relu/gelu, not {given}")
    return named[given]


def _get_clones(module: Module, number: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(number)])


# ---------------------------------------------------------------------------------------------------------------------
# Layers


class _Layer(Module):
    """What the layers of encoder and decoder share: blocks, each with a norm, a dropout and a way round it.

    Parameters
    ----------
    d_model, nhead, dim_feedforward : int
        Sizes of the input and of the layer between the two linear ones, and the number of heads.
    dropout : float
    activation : {"relu", "gelu"} or function
    layer_norm_eps : float
    batch_first : bool
        Whether sequences are (N, L, E) rather than (L, N, E).
    norm_first : bool
        Whether each block is x + f(norm(x)) rather than norm(x + f(x)).
    bias : bool
        Whether linear layers and norms have one.
    """

    attentions: tuple[str, ...]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        for name in self.attentions:
            self.add_module(name, MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **made))
        self.linear1 = Linear(d_model, dim_feedforward, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **made)
        self.norm_first = norm_first
        blocks = range(1, len(self.attentions) + 2)
        for i in blocks:
            self.add_module(f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, **made))
        for i in blocks:
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def __setstate__(self, state):
        state.setdefault("activation", F.relu)  # files from before there was a choice
        super().__setstate__(state)

    def _block(self, x: Tensor, norm: Module, function: Callable[[Tensor], Tensor]) -> Tensor:
        return x + function(norm(x)) if self.norm_first else norm(x + function(x))

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a network of two linear layers; parameters as `_Layer`."""

    attentions = ("self_attn",)

    @property
    def activation_relu_or_gelu(self) -> int:
        """1 for ReLU, 2 for GELU, 0 for others."""
        given = self.activation
        return 1 if given is F.relu or isinstance(given, ReLU) else 2 * (given is F.gelu or isinstance(given, GELU))

    def __getstate__(self):  # PyTorch keeps it, and reads it from files
        return super().__getstate__() | {"activation_relu_or_gelu": self.activation_relu_or_gelu}

    def __setstate__(self, state):
        super().__setstate__({name: value for name, value in state.items() if name != "activation_relu_or_gelu"})

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The sequence after this layer; masks as `functional.multi_head_attention_forward`."""
        src_key_padding_mask = _canonical_mask(
            src_key_padding_mask, "src_key_padding_mask", _none_or_dtype(src_mask), "src_mask", src.dtype
        )
        src_mask = _canonical_mask(src_mask, "src_mask", None, "", src.dtype, check_other=False)
        x = self._block(src, self.norm1, lambda x: self._sa_block(x, src_mask, src_key_padding_mask, is_causal))
        return self._block(x, self.norm2, lambda x: self.dropout2(self._ff_block(x)))

    def _ff_block(self, x: Tensor) -> Tensor:
        if not self._joins(x):
            return super()._ff_block(x)
        first, rows = self.linear1, x.reshape(-1, x.shape[-1])
        gelu = self.activation_relu_or_gelu == 2
        made = _addmm_activation(first.bias, rows, first.weight.t(), use_gelu=gelu)
        return self.linear2(made.view(*x.shape[:-1], -1))

    def _joins(self, x: Tensor) -> bool:
        """Whether a product and its activation are one, as on PyTorch's fast path: nobody trains or watches this."""
        if self.training or not transformer.fastpath or not activates(x) or x.dim() != 3:
            return False
        if is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters())):
            return False
        if type(self.linear1) is not Linear or self.linear1.bias is None or _why_not_fast(self) is not None:
            return False
        if LOCAL.autocast is not None and x.device.type in LOCAL.autocast:
            return False
        return not any(m._forward_hooks or m._forward_pre_hooks for m in self.modules())

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal: bool = False) -> Tensor:
        x, _ = self.self_attn(
            x, x, x, attn_mask=attn_mask, key_padding_mask=key_padding_mask, need_weights=False, is_causal=is_causal
        )
        return self.dropout1(x)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to `memory`, then a network of two linear layers; parameters as `_Layer`."""

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence after this layer; masks as `functional.multi_head_attention_forward`."""
        x = self._block(tgt, self.norm1, lambda x: self._sa_block(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))
        x = self._block(
            x,
            self.norm2,
            lambda x: self._mha_block(x, memory, memory_mask, memory_key_padding_mask, memory_is_causal),
        )
        return self._block(x, self.norm3, lambda x: self.dropout3(self._ff_block(x)))

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal: bool = False) -> Tensor:
        x, _ = self.self_attn(
            x, x, x, attn_mask=attn_mask, key_padding_mask=key_padding_mask, is_causal=is_causal, need_weights=False
        )
        return self.dropout1(x)

    def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal: bool = False) -> Tensor:
        x, _ = self.multihead_attn(
            x, mem, mem, attn_mask=attn_mask, key_padding_mask=key_padding_mask, is_causal=is_causal, need_weights=False
        )
        return self.dropout2(x)


# ---------------------------------------------------------------------------------------------------------------------
# Stacks


def _why_no_nested_tensor(layer: Any) -> str | None:
    """Why PyTorch's fast path for padded batches does not take such layers."""
    if not isinstance(layer, TransformerEncoderLayer):
        return "encoder_layer was not TransformerEncoderLayer"
    why = "norm_first was True" if layer.norm_first else _why_not_fast(layer)
    return None if why is None else f"encoder_layer.{why}"


def _why_not_fast(layer: Any) -> str | None:
    """Why PyTorch's fast path does not take a layer of an encoder."""
    attention = layer.self_attn
    reasons = (
        (
            not attention.batch_first,
            "self_attn.batch_first was not True(use batch_first for better inference performance)",
        ),
        (not attention._qkv_same_embed_dim, "self_attn._qkv_same_embed_dim was not True"),
        (attention.in_proj_bias is None, "self_attn was passed bias=False"),
        (not layer.activation_relu_or_gelu, "activation_relu_or_gelu was not True"),
        (layer.norm1.eps != layer.norm2.eps, "norm1.eps was not equal to encoder_layer.norm2.eps"),
        (attention.num_heads % 2 == 1, "self_attn.num_heads is odd"),
    )
    return next((why for holds, why in reasons if holds), None)


class TransformerEncoder(Module):
    """Copies of `encoder_layer` one after the other, then `norm`.

    Parameters
    ----------
    encoder_layer : TransformerEncoderLayer
    num_layers : int
    norm : Module, optional
    enable_nested_tensor : bool
        Whether evaluation without gradients may forget padded positions: they then are 0 before `norm`.
    mask_check : bool
        Whether that is done only where padding is at the end.
    """

    def __init__(
        self,
        encoder_layer: "TransformerEncoderLayer",
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _get_clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        why_not = _why_no_nested_tensor(encoder_layer)
        self.use_nested_tensor = enable_nested_tensor and why_not is None
        if enable_nested_tensor and why_not is not None:
            warnings.warn(
                f"enable_nested_tensor is True, but self.use_nested_tensor is False because {why_not}", stacklevel=2
            )

    def _forgets(self, src: Tensor, padding: Tensor | None, mask: Tensor | None) -> bool:
        """Whether PyTorch would take padded positions out of the batch: they come back as 0."""
        first: Any = self.layers[0]
        if (
            not transformer.fastpath
            or not self.use_nested_tensor
            or first.training
            or src.dim() != 3
            or padding is None
            or mask is not None
        ):
            return False
        if is_grad_enabled() and (src.requires_grad or any(p.requires_grad for p in first.parameters())):
            return False
        if not getattr(self, "mask_check", True):
            return True
        seen = (padding == 0).int()
        return bool((seen[:, 1:] <= seen[:, :-1]).all())

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The sequence after all layers; `is_causal` None looks whether `mask` is the causal one."""
        src_key_padding_mask = _canonical_mask(
            src_key_padding_mask, "src_key_padding_mask", _none_or_dtype(mask), "mask", src.dtype
        )
        mask = _canonical_mask(mask, "mask", None, "", src.dtype, check_other=False)
        first: Any = self.layers[0]
        is_causal = _detect_is_causal_mask(mask, is_causal, _length(src, first.self_attn.batch_first))
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=is_causal, src_key_padding_mask=src_key_padding_mask)
        if self._forgets(src, src_key_padding_mask, mask):
            output = masked_fill(output, (src_key_padding_mask != 0).unsqueeze(-1), 0.0)
        return output if self.norm is None else self.norm(output)


class TransformerDecoder(Module):
    """Copies of `decoder_layer` one after the other, then `norm`."""

    def __init__(self, decoder_layer: "TransformerDecoderLayer", num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _get_clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence after all layers; `tgt_is_causal` None looks whether `tgt_mask` is the causal one."""
        first: Any = self.layers[0]
        tgt_is_causal = _detect_is_causal_mask(tgt_mask, tgt_is_causal, _length(tgt, first.self_attn.batch_first))
        output = tgt
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """An encoder, and a decoder that looks at what it made.

    Parameters
    ----------
    num_encoder_layers, num_decoder_layers : int
    custom_encoder, custom_decoder : Module, optional
        Instead of those made here.

    The others are those of `_Layer`.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        options: Any = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype,
        )  # fmt: skip
        norm = {"eps": layer_norm_eps, "bias": bias, "device": device, "dtype": dtype}
        if custom_encoder is None:
            layer = TransformerEncoderLayer(*options)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, LayerNorm(d_model, **norm))
        self.encoder = custom_encoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*options)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, LayerNorm(d_model, **norm))
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """What the decoder makes of `tgt`, (T, N, E), having seen `src`, (S, N, E)."""
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch] != tgt.shape[batch]:
            fail(RuntimeError, "the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            fail(RuntimeError, "the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device=None, dtype=None) -> Tensor:
        """The causal mask of a sequence of length `sz`: -inf above the diagonal, 0 elsewhere."""
        return _generate_square_subsequent_mask(sz, device, dtype)

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)
