"""Protocol buffers of TensorBoard's summaries: one function for each kind of data, as in `torch.utils.tensorboard`."""

import io
import json
import logging
import struct
import tempfile
import wave
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from facula.core import dtype as dt
from facula.core.tensor import Tensor
from facula.extras import require

from ._convert_np import make_np
from ._utils import _prepare_video, convert_to_HWC

__all__ = [
    "audio", "compute_curve", "custom_scalars", "draw_boxes", "half_to_int", "histogram", "histogram_raw", "hparams",
    "image", "image_boxes", "int_to_half", "make_histogram", "make_image", "make_video", "mesh", "pr_curve",
    "pr_curve_raw", "scalar", "tensor_proto", "text", "video",
]  # fmt: skip

logger = logging.getLogger(__name__)


@cache
def _protos() -> SimpleNamespace:
    """The messages that all summaries are made of."""
    summary = require("tensorboard.compat.proto.summary_pb2", "tensorboard", "SummaryWriter")
    tensor = require("tensorboard.compat.proto.tensor_pb2", "tensorboard", "SummaryWriter")
    shape = require("tensorboard.compat.proto.tensor_shape_pb2", "tensorboard", "SummaryWriter")
    return SimpleNamespace(
        Summary=summary.Summary,
        Metadata=summary.SummaryMetadata,
        Histogram=summary.HistogramProto,
        Tensor=tensor.TensorProto,
        Shape=shape.TensorShapeProto,
    )


def _metadata(plugin: str, content: bytes = b"") -> Any:
    """What tells TensorBoard which plugin shows a value."""
    kinds = _protos().Metadata
    return kinds(plugin_data=kinds.PluginData(plugin_name=plugin, content=content))


def _one(tag: str, **value: Any) -> Any:
    """A summary of one value."""
    kinds = _protos().Summary
    return kinds(value=[kinds.Value(tag=tag, **value)])


def _shape(sizes: Sequence[int]) -> Any:
    kinds = _protos().Shape
    return kinds(dim=[kinds.Dim(size=n) for n in sizes])


# --- numbers --------------------------------------------------------------------------------------------------------


def scalar(
    name: str, tensor: Any, collections: Any = None, new_style: bool = False, double_precision: bool = False
) -> Any:
    """One number: as `simple_value`, or in the new style as a tensor."""
    array = make_np(tensor).squeeze()
    if array.ndim != 0:
        raise AssertionError(
            "Tensor should contain one element (0 dimensions).             "
            f"Was given size: {array.size} and {array.ndim} dimensions."
        )
    value = float(array)
    if not new_style:
        return _one(name, simple_value=value)
    if double_precision:
        proto = _protos().Tensor(double_val=[value], dtype="DT_DOUBLE")
    else:
        proto = _protos().Tensor(float_val=[value], dtype="DT_FLOAT")
    return _one(name, tensor=proto, metadata=_metadata("scalars"))


def half_to_int(f: float) -> int:
    """The bits of a float32, as an integer: how 16-bit numbers are kept in a TensorProto.

    Examples
    --------
    >>> half_to_int(1.0), int_to_half(half_to_int(0.5))
    (1065353216, 0.5)
    """
    return struct.unpack("i", struct.pack("f", f))[0]


def int_to_half(i: int) -> float:
    """The number that `half_to_int` made an integer of."""
    return struct.unpack("f", struct.pack("i", i))[0]


def _values(tensor: Any) -> list:
    return tensor.flatten().tolist()


def _halves(tensor: Any) -> list[int]:
    return [half_to_int(x) for x in _values(tensor)]


def _parts(tensor: Any) -> list[float]:
    from facula.operators import view_as_real

    return _values(view_as_real(tensor))


_TENSORS: dict[Any, tuple[str, str, Callable]] = {  # the type, the field, how its values are found
    dt.float16: ("DT_HALF", "half_val", _halves),
    dt.bfloat16: ("DT_BFLOAT16", "half_val", _halves),
    dt.float32: ("DT_FLOAT", "float_val", _values),
    dt.float64: ("DT_DOUBLE", "double_val", _values),
    dt.int8: ("DT_INT8", "int_val", _values),
    dt.uint8: ("DT_UINT8", "uint32_val", _values),
    dt.int16: ("DT_INT16", "int_val", _values),
    dt.int32: ("DT_INT32", "int_val", _values),
    dt.int64: ("DT_INT64", "int64_val", _values),
    dt.complex32: ("DT_COMPLEX32", "scomplex_val", _parts),
    dt.complex64: ("DT_COMPLEX64", "scomplex_val", _parts),
    dt.complex128: ("DT_COMPLEX128", "dcomplex_val", _parts),
    dt.bool_: ("DT_BOOL", "bool_val", _values),
}


def tensor_proto(tag: str, tensor: Tensor) -> Any:
    """A whole tensor."""
    if tensor.numel() * tensor.itemsize >= 1 << 31:  # type: ignore[attr-defined]
        raise ValueError("tensor is bigger than protocol buffer's hard limit of 2GB in size")
    if tensor.dtype not in _TENSORS:
        raise ValueError(f"{tag} has unsupported tensor dtype {tensor.dtype}")
    kind, field, values = _TENSORS[tensor.dtype]
    proto = _protos().Tensor(**{"dtype": kind, "tensor_shape": _shape(tensor.shape), field: values(tensor)})
    return _one(tag, tensor=proto, metadata=_metadata("tensor"))


# --- histograms and curves ------------------------------------------------------------------------------------------


def histogram_raw(name, min, max, num, sum, sum_squares, bucket_limits, bucket_counts) -> Any:
    """A histogram whose numbers are known."""
    histo = _protos().Histogram(
        min=min, max=max, num=num, sum=sum, sum_squares=sum_squares, bucket_limit=bucket_limits, bucket=bucket_counts
    )
    return _one(name, histo=histo)


def histogram(name: str, values: Any, bins: Any, max_bins: int | None = None) -> Any:
    """A histogram of values."""
    return _one(name, histo=make_histogram(make_np(values).astype(float), bins, max_bins))


def make_histogram(values: np.ndarray, bins: Any, max_bins: int | None = None) -> Any:
    """The message of a histogram: the bins between the first and the last that hold something."""
    if values.size == 0:
        raise ValueError("The input has no element.")
    values = values.reshape(-1)
    counts, limits = np.histogram(values, bins=bins)
    if max_bins is not None and len(counts) > max_bins:
        joined = len(counts) // max_bins  # bins that become one
        left = len(counts) % joined
        if left:
            counts = np.pad(counts, (0, joined - left))
        counts = counts.reshape(-1, joined).sum(-1)
        limits = np.append(limits[:-1:joined], limits[-1])
    filled = np.flatnonzero(counts)
    start, end = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, len(counts))
    # TensorBoard knows the upper limits alone: an empty bin before the first says where that begins.
    counts = counts[start - 1 : end] if start > 0 else np.concatenate([[0], counts[:end]])
    limits = limits[start : end + 1]
    if counts.size == 0 or limits.size == 0:
        raise ValueError("The histogram is empty, please file a bug report.")
    return _protos().Histogram(
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=values.sum(),
        sum_squares=values.dot(values),
        bucket_limit=limits.tolist(),
        bucket=counts.tolist(),
    )


def pr_curve(
    tag: str, labels: np.ndarray, predictions: np.ndarray, num_thresholds: int = 127, weights: Any = None
) -> Any:
    """Precision and recall by threshold."""
    num_thresholds = min(num_thresholds, 127)  # protocol buffers of the plugin know no more
    return _curve(tag, compute_curve(labels, predictions, num_thresholds, weights), num_thresholds)


def pr_curve_raw(tag, tp, fp, tn, fn, precision, recall, num_thresholds=127, weights=None) -> Any:
    """Precision and recall whose numbers are known."""
    return _curve(tag, np.stack((tp, fp, tn, fn, precision, recall)), min(num_thresholds, 127))


def _curve(tag: str, data: np.ndarray, thresholds: int) -> Any:
    plugin = require("tensorboard.plugins.pr_curve.plugin_data_pb2", "tensorboard", "add_pr_curve")
    content = plugin.PrCurvePluginData(version=0, num_thresholds=thresholds).SerializeToString()
    proto = _protos().Tensor(dtype="DT_FLOAT", float_val=data.reshape(-1).tolist(), tensor_shape=_shape(data.shape[:2]))
    return _one(tag, metadata=_metadata("pr_curves", content), tensor=proto)


def compute_curve(
    labels: np.ndarray, predictions: np.ndarray, num_thresholds: int | None = None, weights: Any = None
) -> np.ndarray:
    """(6, thresholds): true and false positives, true and false negatives, precision, recall."""
    assert num_thresholds is not None
    weights = 1.0 if weights is None else weights
    places = np.int32(np.floor(predictions * (num_thresholds - 1)))
    positive = labels.astype(np.float64)

    def above(amounts: np.ndarray) -> np.ndarray:
        """How much lies at or above each threshold."""
        found, _ = np.histogram(places, num_thresholds, (0, num_thresholds - 1), weights=amounts)
        return np.cumsum(found[::-1])[::-1]

    tp, fp = above(positive * weights), above((1.0 - positive) * weights)
    tn, fn = fp[0] - fp, tp[0] - tp
    least = 1e-7
    return np.stack((tp, fp, tn, fn, tp / np.maximum(least, tp + fp), tp / np.maximum(least, tp + fn)))


# --- pictures, videos, sounds ---------------------------------------------------------------------------------------


def _calc_scale_factor(tensor: Any) -> int:
    """What makes values 0 to 255: integers of 8 bits are that already."""
    return 1 if (tensor if isinstance(tensor, np.ndarray) else tensor.numpy()).dtype == np.uint8 else 255


def _pixels(array: np.ndarray) -> np.ndarray:
    return (array.astype(np.float32) * _calc_scale_factor(array)).clip(0, 255).astype(np.uint8)


def image(tag: str, tensor: Any, rescale: float = 1, dataformats: str = "NCHW") -> Any:
    """A picture; of a batch, a grid of them."""
    return _one(tag, image=make_image(_pixels(convert_to_HWC(make_np(tensor), dataformats)), rescale=rescale))


def image_boxes(
    tag: str, tensor_image: Any, tensor_boxes: Any, rescale: float = 1, dataformats: str = "CHW", labels: Any = None
) -> Any:
    """A picture with boxes (x1, y1, x2, y2) drawn on it."""
    pixels = _pixels(convert_to_HWC(make_np(tensor_image), dataformats))
    return _one(tag, image=make_image(pixels, rescale=rescale, rois=make_np(tensor_boxes), labels=labels))


def draw_boxes(disp_image: Any, boxes: np.ndarray, labels: Sequence[str] | None = None) -> Any:
    """Red boxes, each with its label at the lower edge, on a picture of Pillow's."""
    drawing = require("PIL.ImageDraw", "tensorboard", "add_image_with_boxes").Draw(disp_image)
    font = require("PIL.ImageFont", "tensorboard", "add_image_with_boxes").load_default()
    for at, (left, top, right, bottom) in enumerate(boxes[:, :4]):
        edges = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
        drawing.line(edges, width=2, fill="Red")
        if labels is not None and labels[at]:
            x0, y0, x1, y1 = font.getbbox(labels[at])
            width, height = x1 - x0, y1 - y0
            margin = np.ceil(0.05 * height)
            drawing.rectangle([(left, bottom - height - 2 * margin), (left + width, bottom)], fill="Red")
            drawing.text((left + margin, bottom - height - margin), labels[at], fill="black", font=font)
    return disp_image


def make_image(tensor: np.ndarray, rescale: float = 1, rois: np.ndarray | None = None, labels: Any = None) -> Any:
    """The message of a uint8 picture (H, W, C), as PNG."""
    pillow = require("PIL.Image", "tensorboard", "add_image")
    height, width, channels = tensor.shape
    picture = pillow.fromarray(tensor)
    if rois is not None:
        picture = draw_boxes(picture, rois, labels=labels)
    picture = picture.resize((int(width * rescale), int(height * rescale)), pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return _protos().Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=out.getvalue())


def video(tag: str, tensor: Any, fps: float = 4) -> Any:
    """Videos (B, T, C, H, W) side by side, as a GIF; nothing but a message where moviepy is missing, as in PyTorch."""
    return _one(tag, image=make_video(_pixels(_prepare_video(make_np(tensor))), fps))


def make_video(tensor: np.ndarray, fps: float) -> Any:
    """The message of frames (T, H, W, C); None, and a printed line, without moviepy."""
    try:
        import moviepy  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        print("add_video needs package moviepy")
        return None
    try:
        from moviepy import editor  # type: ignore[import-not-found]
    except ImportError:
        print(
            "moviepy is installed, but can't import moviepy.editor.",
            "Some packages could be missing [imageio, requests]",
        )
        return None
    _, height, width, channels = tensor.shape
    clip = editor.ImageSequenceClip(list(tensor), fps=fps)
    with tempfile.NamedTemporaryFile(suffix=".gif") as file:
        for options in (
            {"verbose": False, "logger": None},
            {"verbose": False, "progress_bar": False},
            {"verbose": False},
        ):
            try:  # versions of moviepy differ in what they accept
                clip.write_gif(file.name, **options)
                break
            except TypeError:
                if len(options) == 1:
                    raise
        file.seek(0)
        content = file.read()
    return _protos().Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=content)


def audio(tag: str, tensor: Any, sample_rate: int = 44100) -> Any:
    """A sound of one channel, values in [-1, 1], as 16-bit WAV."""
    array = make_np(tensor).squeeze()
    if abs(array).max() > 1:
        print("warning: audio amplitude out of range, auto clipped.")
        array = array.clip(-1, 1)
    if array.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    samples = (array * np.iinfo(np.int16).max).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())
    sound = _protos().Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=samples.shape[-1],
        encoded_audio_string=out.getvalue(),
        content_type="audio/wav",
    )
    return _one(tag, audio=sound)


# --- words, layouts, meshes -----------------------------------------------------------------------------------------


def text(tag: str, text: str) -> Any:
    """A text, which TensorBoard shows as Markdown."""
    plugin = require("tensorboard.plugins.text.plugin_data_pb2", "tensorboard", "add_text")
    metadata = _metadata("text", plugin.TextPluginData(version=0).SerializeToString())
    proto = _protos().Tensor(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=_shape([1]))
    return _one(tag + "/text_summary", metadata=metadata, tensor=proto)


def custom_scalars(layout: Mapping[str, Mapping[str, Sequence]]) -> Any:
    """Which tags are drawn together: {category: {chart: ["Multiline" or "Margin", tags]}}."""
    kinds = require("tensorboard.plugins.custom_scalar.layout_pb2", "tensorboard", "add_custom_scalars")
    categories = []
    for title, entries in layout.items():
        charts = []
        for name, (kind, tags, *_) in entries.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise AssertionError("len(tags) != 3")
                series = kinds.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
                charts.append(kinds.Chart(title=name, margin=kinds.MarginChartContent(series=[series])))
            else:
                charts.append(kinds.Chart(title=name, multiline=kinds.MultilineChartContent(tag=tags)))
        categories.append(kinds.Category(title=title, chart=charts))
    content = kinds.Layout(category=categories).SerializeToString()
    proto = _protos().Tensor(dtype="DT_STRING", string_val=[content], tensor_shape=_protos().Shape())
    return _one("custom_scalars__config__", tensor=proto, metadata=_metadata("custom_scalars"))


def mesh(
    tag: str,
    vertices: Any,
    colors: Any,
    faces: Any,
    config_dict: Mapping | None,
    display_name: str | None = None,
    description: str | None = None,
) -> Any:
    """Points (B, N, 3) with colours and triangles."""
    metadata = require("tensorboard.plugins.mesh.metadata", "tensorboard", "add_mesh")
    kinds = require("tensorboard.plugins.mesh.plugin_data_pb2", "tensorboard", "add_mesh").MeshPluginData
    config = "{}" if config_dict is None else json.dumps(config_dict, sort_keys=True)
    given = [(vertices, kinds.VERTEX), (faces, kinds.FACE), (colors, kinds.COLOR)]
    given = [(tensor, kind) for tensor, kind in given if tensor is not None]
    components = metadata.get_components_bitmask([kind for _, kind in given])
    values = []
    for tensor, kind in given:
        array = tensor.detach().cpu().numpy() if isinstance(tensor, Tensor) else np.asarray(tensor)
        about = metadata.create_summary_metadata(
            tag, display_name, kind, components, array.shape, description, json_config=config
        )
        proto = _protos().Tensor(
            dtype="DT_FLOAT", float_val=array.reshape(-1).tolist(), tensor_shape=_shape(array.shape[:3])
        )
        name = metadata.get_instance_name(tag, kind)
        values.append(_protos().Summary.Value(tag=name, tensor=proto, metadata=about))
    return _protos().Summary(value=values)


# --- hyperparameters ------------------------------------------------------------------------------------------------


def hparams(
    hparam_dict: dict | None = None, metric_dict: dict | None = None, hparam_domain_discrete: dict | None = None
) -> tuple[Any, Any, Any]:
    """The summaries of an experiment, of the start of its session and of its end."""
    api = require("tensorboard.plugins.hparams.api_pb2", "tensorboard", "add_hparams")
    tags = require("tensorboard.plugins.hparams.metadata", "tensorboard", "add_hparams")
    data = require("tensorboard.plugins.hparams.plugin_data_pb2", "tensorboard", "add_hparams")
    struct_ = require("google.protobuf.struct_pb2", "tensorboard", "add_hparams")
    for name, value in (("hparam_dict", hparam_dict), ("metric_dict", metric_dict)):
        if not isinstance(value, dict):
            logger.warning("parameter: %s should be a dictionary, nothing logged.", name)
            raise TypeError(f"parameter: {name} should be a dictionary, nothing logged.")
    hparam_domain_discrete = hparam_domain_discrete or {}
    if not isinstance(hparam_domain_discrete, dict):
        raise TypeError("parameter: hparam_domain_discrete should be a dictionary, nothing logged.")
    assert hparam_dict is not None and metric_dict is not None
    for k, v in hparam_domain_discrete.items():
        if k not in hparam_dict or not isinstance(v, list) or not all(isinstance(d, type(hparam_dict[k])) for d in v):
            raise TypeError(
                f"parameter: hparam_domain_discrete[{k}] should be a list of same type as hparam_dict[{k}]."
            )

    start = data.SessionStartInfo()
    infos = []
    for name, value in hparam_dict.items():
        if value is None:
            continue
        if isinstance(value, Tensor):
            start.hparams[name].number_value = make_np(value).reshape(-1)[0]
            infos.append(api.HParamInfo(name=name, type=api.DataType.Value("DATA_TYPE_FLOAT64")))
            continue
        for kinds, field, kind in (  # a bool is a number here, as it is in PyTorch
            ((int, float), "number_value", "DATA_TYPE_FLOAT64"),
            (str, "string_value", "DATA_TYPE_STRING"),
        ):
            if isinstance(value, kinds):
                setattr(start.hparams[name], field, value)
                domain = hparam_domain_discrete.get(name)
                choices = None
                if domain is not None:
                    choices = struct_.ListValue(values=[struct_.Value(**{field: d}) for d in domain])
                infos.append(api.HParamInfo(name=name, type=api.DataType.Value(kind), domain_discrete=choices))
                break
        else:
            raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")

    def about(tag: str, **content: Any) -> Any:
        plugin = data.HParamsPluginData(version=tags.PLUGIN_DATA_VERSION, **content)
        return _one(tag, metadata=_metadata(tags.PLUGIN_NAME, plugin.SerializeToString()))

    metrics = [api.MetricInfo(name=api.MetricName(tag=name)) for name in metric_dict]
    end = data.SessionEndInfo(status=api.Status.Value("STATUS_SUCCESS"))
    return (
        about(tags.EXPERIMENT_TAG, experiment=api.Experiment(hparam_infos=infos, metric_infos=metrics)),
        about(tags.SESSION_START_INFO_TAG, session_start_info=start),
        about(tags.SESSION_END_INFO_TAG, session_end_info=end),
    )
