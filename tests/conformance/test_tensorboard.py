"""Event files of both `SummaryWriter`s: the same events, apart from the time; graphs with the same scopes, shapes."""

import glob
import inspect
import io
import os
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch.utils.tensorboard import SummaryWriter as Theirs

import facula
from facula.utils.tensorboard import SummaryWriter as Ours

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.standard_normal((50, 4)).astype(np.float32)
PICTURE = RANDOM.random((3, 12, 20)).astype(np.float32)
BATCH = RANDOM.random((5, 3, 6, 7)).astype(np.float32)
LABELS, SCORES = RANDOM.integers(0, 2, 100), RANDOM.random(100)


def events(folder):
    """{path of the folder: its events without times}."""
    found = {}
    for file in sorted(glob.glob(f"{folder}/**/events.*", recursive=True)):
        kept = []
        for event in LegacyEventFileLoader(file).Load():
            event.wall_time = 0
            event.ClearField("source_metadata")
            kept.append(event)
        found.setdefault(os.path.relpath(os.path.dirname(file), folder), []).append(kept)
    return found


def both(tmp_path, write):
    """Both writers do `write(writer, t)`; the events of both."""
    sides = []
    for name, writer, t in (("ours", Ours, facula), ("theirs", Theirs, torch)):
        folder = tmp_path / name
        with writer(folder) as w:
            write(w, t)
        sides.append(events(folder))
    return sides


def figure():
    from matplotlib.figure import Figure

    made = Figure(figsize=(2, 1), dpi=50)
    made.subplots().plot([0, 1, 4])
    return made


LAYOUT = {"a": {"b": ["Multiline", ["x", "y"]]}, "c": {"d": ["Margin", ["x", "y", "z"]]}}
ADDS = {
    "scalar": lambda w, t: [w.add_scalar("loss", 0.1 * i, i) for i in range(5)],
    "scalar of a tensor": lambda w, t: w.add_scalar("loss", t.tensor([0.25]), 3, walltime=12.5),
    "scalar, new style": lambda w, t: w.add_scalar("loss", 0.1, 3, new_style=True),
    "scalar, double": lambda w, t: w.add_scalar("loss", 0.1, np.int64(3), new_style=True, double_precision=True),
    "scalars": lambda w, t: [w.add_scalars("run/x", {"sin": i, "cos": -i}, i) for i in range(2)],
    "tensors": lambda w, t: [
        w.add_tensor(str(i), t.tensor([[1, 0], [1, 1]]).to(getattr(t, kind)))
        for i, kind in enumerate("float16 bfloat16 float32 float64 int64 complex64 complex128 bool uint8".split())
    ],
    "histogram": lambda w, t: w.add_histogram("weights", t.tensor(VALUES), 1),
    "histogram of integers": lambda w, t: w.add_histogram("weights", np.arange(-3, 9), 1),
    "histogram, auto": lambda w, t: w.add_histogram("weights", VALUES, bins="auto"),
    "histogram, few": lambda w, t: w.add_histogram("weights", VALUES, max_bins=7),
    "histogram, joined": lambda w, t: w.add_histogram("weights", VALUES, bins=30, max_bins=13),
    "histogram of a constant": lambda w, t: w.add_histogram("weights", t.zeros(10)),
    "histogram, raw": lambda w, t: w.add_histogram_raw("weights", 0, 3, 6, 9.0, 14.0, [1, 2, 3], [1, 2, 3], 4),
    "image": lambda w, t: w.add_image("picture", t.tensor(PICTURE), 2),
    "image of uint8": lambda w, t: w.add_image("picture", (PICTURE * 255).astype(np.uint8)),
    "image HWC": lambda w, t: w.add_image("picture", PICTURE.transpose(1, 2, 0), dataformats="HWC"),
    "image HW": lambda w, t: w.add_image("picture", t.tensor(PICTURE[0]), dataformats="HW"),
    "image of one channel": lambda w, t: w.add_image("picture", PICTURE[:1]),
    "images": lambda w, t: w.add_images("pictures", t.tensor(BATCH)),
    "images NHWC": lambda w, t: w.add_images("pictures", BATCH.transpose(0, 2, 3, 1), dataformats="NHWC"),
    "images of one channel": lambda w, t: w.add_images("pictures", BATCH[:, :1]),
    "boxes": lambda w, t: w.add_image_with_boxes(
        "boxes", t.ones(3, 60, 80), t.tensor([[5, 5, 40, 30], [10, 20, 70, 50]]), labels=["a", "b"]
    ),
    "boxes, larger": lambda w, t: w.add_image_with_boxes("b", t.ones(3, 20, 30), t.tensor([[5, 5, 9, 9]]), rescale=2),
    "figure": lambda w, t: w.add_figure("figure", figure()),
    "figures": lambda w, t: w.add_figure("figure", [figure(), figure()], close=False),
    "audio": lambda w, t: w.add_audio("sound", t.tensor(np.sin(np.arange(400) / 9))[None], 1, sample_rate=8000),
    "audio, too loud": lambda w, t: w.add_audio("sound", np.arange(-5.0, 5.0)),
    "text": lambda w, t: w.add_text("words", "*hé*llo", 7),
    "pr curve": lambda w, t: w.add_pr_curve("pr", t.tensor(LABELS), t.tensor(SCORES), 3),
    "pr curve, weights": lambda w, t: w.add_pr_curve("pr", LABELS, SCORES, num_thresholds=20, weights=0.5 + SCORES),
    "pr curve, raw": lambda w, t: w.add_pr_curve_raw("pr", *[np.arange(4.0) + i for i in range(6)], num_thresholds=4),
    "layout": lambda w, t: w.add_custom_scalars(LAYOUT),
    "lines": lambda w, t: w.add_custom_scalars_multilinechart(["a", "b"]),
    "margins": lambda w, t: w.add_custom_scalars_marginchart(["a", "b", "c"], "k", "t"),
    "mesh": lambda w, t: w.add_mesh(
        "mesh", t.tensor(BATCH[:1, :, :, 0].transpose(0, 2, 1)), t.ones(1, 6, 3, dtype=t.uint8),
        t.tensor([[[0, 1, 2], [3, 4, 5]]]), {"camera": {"cls": "PerspectiveCamera"}}, 1,
    ),
    "hparams": lambda w, t: w.add_hparams(
        {"lr": 0.1, "name": "adam", "nesterov": True, "n": 3, "none": None, "t": t.tensor([2.5])},
        {"acc": 0.5}, {"name": ["adam", "sgd"], "n": [1, 3]}, run_name="one", global_step=2,
    ),
    "closed and opened again": lambda w, t: (w.add_scalar("a", 1), w.close(), w.add_scalar("a", 2)),
}  # fmt: skip


def plain(event):
    """An event as text; pictures as their pixels, since encoders may differ."""
    pixels = []
    for value in event.summary.value:
        if value.HasField("image"):
            pixels.append(np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string))).tolist())
            value.image.encoded_image_string = b""
    return str(event), pixels


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ADDS)
def test_events(name, tmp_path):
    ours, theirs = both(tmp_path, ADDS[name])
    assert ours.keys() == theirs.keys()
    for folder in theirs:
        for mine, other in zip(ours[folder], theirs[folder], strict=True):
            assert len(mine) > 1 or name in ("hparams", "scalars") or len(ours[folder]) > 1
            assert [plain(e) for e in mine] == [plain(e) for e in other]


def test_a_run_that_goes_on_after_a_crash(tmp_path):
    for name, writer in (("ours", Ours), ("theirs", Theirs)):
        with writer(tmp_path / name, purge_step=5, filename_suffix=".x") as w:
            w.add_scalar("a", 1, 6)
    ours, theirs = events(tmp_path / "ours"), events(tmp_path / "theirs")
    assert [str(e) for e in ours["."][0]] == [str(e) for e in theirs["."][0]]
    assert all(file.endswith(".x") for file in os.listdir(tmp_path / "ours"))


def test_the_files_of_embeddings(tmp_path):
    def write(w, t):
        w.add_embedding(t.tensor(VALUES[:5]), ["a", "b", "c", "d", "e"], t.tensor(BATCH), 3, "x/y%")
        header = [[str(i), str(-i)] for i in range(5)]
        w.add_embedding(VALUES[:5], header, tag="more", metadata_header=["up", "down"])
        w.add_embedding(t.tensor(VALUES))

    both(tmp_path, write)
    names = {}
    for side in ("ours", "theirs"):
        root = tmp_path / side
        names[side] = sorted(
            str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "events" not in p.name
        )
    assert names["ours"] == names["theirs"] and len(names["ours"]) == 7
    for name in names["ours"]:
        ours, theirs = ((tmp_path / side / name).read_bytes() for side in ("ours", "theirs"))
        if name.endswith(".png"):
            ours, theirs = (np.asarray(Image.open(io.BytesIO(x))).tolist() for x in (ours, theirs))
        assert ours == theirs, name


BAD = {
    "bins": lambda w, t: w.add_histogram("h", t.zeros(0)),
    "counts": lambda w, t: w.add_histogram_raw("h", 0, 1, 1, 1, 1, [1, 2], [1]),
    "not a scalar": lambda w, t: w.add_scalar("s", t.zeros(2)),
    "a string": lambda w, t: w.add_image("s", "picture"),
    "a list": lambda w, t: w.add_scalar("s", [1]),
    "twice": lambda w, t: w.add_image("s", t.zeros(3, 2, 2), dataformats="CCH"),
    "dims": lambda w, t: w.add_image("s", t.zeros(2, 2)),
    "margins": lambda w, t: w.add_custom_scalars_marginchart(["a"]),
    "hparams": lambda w, t: w.add_hparams([], {}),
    "hparam": lambda w, t: w.add_hparams({"a": object()}, {}),
    "domain": lambda w, t: w.add_hparams({"a": 1}, {}, {"a": ["x"]}),
    "labels": lambda w, t: w.add_embedding(t.zeros(3, 2), ["a"]),
    "vectors": lambda w, t: w.add_embedding(t.zeros(3)),
    "sound": lambda w, t: w.add_audio("s", t.zeros(2, 3)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name, tmp_path):
    caught = []
    for writer, t in ((Ours, facula), (Theirs, torch)):
        with writer(tmp_path / t.__name__) as w, pytest.raises(Exception) as error:
            BAD[name](w, t)
        text = re.sub(r"<class '(torch|facula\.core\.tensor)\.Tensor'>", "Tensor", str(error.value))
        caught.append((error.type, " ".join(text.split("\n")[0].split())))
    assert caught[0] == caught[1]


def test_values_and_video_without_moviepy(tmp_path, capsys):
    def write(w, t):
        w.add_video("video", t.zeros(3, 2, 3, 4, 5))

    ours, theirs = both(tmp_path, write)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1]
    assert [str(e) for e in ours["."][0]] == [str(e) for e in theirs["."][0]]


def test_videos_are_laid_out_alike():
    from torch.utils.tensorboard._utils import _prepare_video as theirs

    from facula.utils.tensorboard._utils import _prepare_video as ours

    for count in (1, 2, 3, 5, 8):
        video = RANDOM.random((count, 2, 3, 4, 5))
        np.testing.assert_array_equal(ours(video), theirs(video))
        video = (video * 255).astype(np.uint8)
        np.testing.assert_array_equal(ours(video), theirs(video))


# --- graphs ---------------------------------------------------------------------------------------------------------


def network(t):
    nn = t.nn

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(width, 8), nn.ReLU())

        def forward(self, x):
            return self.layers(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Block(6), Block(8)
            self.head = nn.Linear(8, 2)

        def forward(self, x, y):
            h = self.first(x)
            return self.head(self.second(h) + h) * t.sigmoid(y)

    return Net()


def graph_of(found):
    (event,) = [e for e in found["."][0] if e.graph_def]
    return GraphDef.FromString(event.graph_def)


def test_graphs_have_the_same_scopes_operators_and_shapes(tmp_path):
    def write(w, t):
        w.add_graph(network(t), (t.zeros(3, 6), t.ones(2)))

    ours, theirs = (graph_of(side) for side in both(tmp_path, write))

    def operators(graph):
        return sorted(
            (n.name.rpartition("/")[0], n.op, [d.size for d in n.attr["_output_shapes"].list.shape[0].dim])
            for n in graph.node
            if n.op.startswith("aten::")
        )

    def parameters(graph):
        return sum(n.op == "prim::GetAttr" for n in graph.node)

    assert operators(ours) == operators(theirs)
    assert parameters(ours) == parameters(theirs) == 6
    for kind in ("input", "output"):
        names = [sorted(n.name for n in g.node if n.name.startswith(kind + "/")) for g in (ours, theirs)]
        assert names[0] == names[1] and len(names[0]) == (2 if kind == "input" else 1)
    names = {n.name for n in ours.node}
    assert all(source in names for n in ours.node for source in n.input) and len(names) == len(ours.node)


def test_a_model_that_fails_writes_no_graph(tmp_path, capsys):
    with Ours(tmp_path) as w, pytest.raises(RuntimeError):
        w.add_graph(facula.nn.Linear(2, 2), facula.zeros(1, 3))
    assert "Error occurs, No graph saved" in capsys.readouterr().out


@pytest.mark.parametrize("name", [n for n in vars(Theirs) if not n.startswith("__") or n == "__init__"])
def test_methods_take_the_same_arguments(name):
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(getattr(side, name)).parameters.values()]
        for side in (Ours, Theirs)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", torch.utils.tensorboard.summary.__all__)
def test_functions_of_summaries_are_there(name):
    ours, theirs = (getattr(side.utils.tensorboard.summary, name) for side in (facula, torch))
    if inspect.isfunction(theirs):
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
