"""Diagrams of graphs and models: what is in them, how the plain layout places it, what is saved."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

import facula as torch
from facula import nn
from facula.plots import Picture, dot, layered, plot_graph, plot_model
from facula.plots.diagram import COLOURS, Box, Diagram, Group, Link, picture

ENGINES = ["plain", pytest.param("dot", marks=pytest.mark.skipif(dot.program() is None, reason="no Graphviz here"))]
SVG = "{http://www.w3.org/2000/svg}"


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)

    def forward(self, x):
        return x + self.second(self.relu(self.first(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Block(6), nn.Dropout(0.1), Block(6))
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.body(x))


def words(drawn):
    """All texts of a picture."""
    return [text.text.strip() for text in ElementTree.fromstring(drawn.svg).iter(f"{SVG}text")]


def links(drawn):
    """The arrows of a picture, from the text for Graphviz: (source's first line, target's first line, label)."""
    titles = dict(re.findall(r'^ *"(\w+)" \[label="([^"\\]*)', drawn.dot, re.MULTILINE))
    found = re.findall(r'"(\w+)" -> "(\w+)"(?: \[label=" ([^"]*)"\])?', drawn.dot)
    return [(titles[a], titles[b], label) for a, b, label in found]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_graph_of_a_loss(engine):
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    loss = net(torch.ones(5, 4)).sum()
    drawn = plot_graph(loss, net, engine=engine)
    assert drawn.engine == engine
    shown = words(drawn)
    for text in ("AddmmBackward0", "TanhBackward0", "SumBackward0", "0.weight", "3×4", "2.bias", "result", "keeps 5×3"):
        assert text in shown, text
    assert sorted(links(drawn)) == sorted(
        [
            ("0.weight", "AddmmBackward0", ""),
            ("0.bias", "AddmmBackward0", ""),
            ("AddmmBackward0", "TanhBackward0", "5×3"),
            ("TanhBackward0", "AddmmBackward0", "5×3"),
            ("2.weight", "AddmmBackward0", ""),
            ("2.bias", "AddmmBackward0", ""),
            ("AddmmBackward0", "SumBackward0", "5×2"),
            ("SumBackward0", "result", "scalar"),
        ]
    )
    loss.backward()
    assert "freed" in words(plot_graph(loss, net, engine=engine))
    assert "keeps 5×3" not in words(plot_graph(net(torch.ones(5, 4)).sum(), saved=False, engine=engine))


def test_graphs_that_share_and_have_several_results():
    x = torch.ones(2, requires_grad=True)
    y = x * x
    a, b = y.chunk(2)
    drawn = plot_graph([a.exp(), b + y.sum()], {"x": x}, engine="plain")
    found = links(drawn)
    assert found.count(("x", "MulBackward0", "")) == 2
    assert {t for s, t, _ in found if s == "MulBackward0"} == {"SplitBackward0", "SumBackward0"}
    assert {t for _, t, _ in found if t.startswith("result")} == {"result 0", "result 1"}


def test_what_has_no_graph_or_too_large_a_one():
    with pytest.raises(ValueError, match="the result has no graph"):
        plot_graph(torch.ones(2))
    y = x = torch.ones(2, requires_grad=True)
    for _ in range(2000):
        y = y + 1
    with pytest.raises(ValueError, match="more than 500 vertices"):
        plot_graph(y)
    assert len(links(plot_graph(y, limit=3000, engine="plain"))) == 2001
    assert x.grad is None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model(engine):
    drawn = plot_model(Net(), torch.zeros(7, 6), engine=engine)
    shown = words(drawn)
    for text in ("Net", "body: Sequential", "0: Block", "2: Block", "first: Linear", "head: Linear", "6, 2", "7×2"):
        assert text in shown, text
    found = links(drawn)
    assert ("input", "first: Linear", "7×6") in found and ("input", "add", "7×6") in found
    assert ("add", "1: Dropout", "7×6") in found and ("1: Dropout", "first: Linear", "7×6") in found
    assert ("head: Linear", "output", "7×2") in found
    assert len(found) == 5 + 1 + 5 + 2


def test_depth_closes_modules():
    net = Net()
    assert links(plot_model(net, torch.zeros(1, 6), depth=0, engine="plain")) == [
        ("input", "Net", "1×6"), ("Net", "output", "1×2"),
    ]  # fmt: skip
    found = links(plot_model(net, torch.zeros(1, 6), depth=2, engine="plain"))
    assert ("0: Block", "1: Dropout", "1×6") in found and ("2: Block", "head: Linear", "1×6") in found


def test_models_with_several_inputs_and_functions():
    class Two(nn.Module):
        def forward(self, a, b):
            return torch.cat([a, b], 1).relu(), b

    drawn = plot_model(Two(), {"a": torch.zeros(2, 3), "b": torch.zeros(2, 1)}, engine="plain")
    assert sorted(links(drawn)) == [
        ("Two", "output 0", "2×4"), ("Two", "output 1", "2×1"), ("input 0", "Two", "2×3"), ("input 1", "Two", "2×1"),
    ]  # fmt: skip


# --- the plain layout -----------------------------------------------------------------------------------------------


def places(diagram):
    """The rectangles of boxes by their first line, and those of groups by their title."""
    drawn = ElementTree.fromstring(layered.svg(diagram, COLOURS))
    kinds = {fill: kind for kind, (fill, _) in COLOURS.items()}
    boxes, groups = {}, {}
    rectangle, into = None, None
    for element in drawn:
        if element.tag == f"{SVG}rect" and element.get("fill") in kinds:
            x, y, width, height = (float(element.get(n)) for n in ("x", "y", "width", "height"))
            rectangle = (x, y, x + width, y + height)
            into = groups if kinds[element.get("fill")] == "group" else boxes
        elif element.tag == f"{SVG}text" and rectangle is not None:
            into[element.text] = rectangle
            rectangle = None
    return boxes, groups


def apart(a, b):
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_boxes_do_not_overlap_and_follow_arrows():
    diagram = Diagram()
    for n in range(30):
        diagram.boxes.append(Box(f"b{n}", [f"box {n}", "more"], "operator", "g" if n % 3 == 0 else None))
    diagram.groups = [Group("g", "a group")]
    diagram.links = [Link(f"b{n}", f"b{m}") for n in range(30) for m in range(n + 1, 30) if (n * 7 + m * 5) % 11 == 0]
    # A group is one box for those outside: its arrows must not lead out and in again.
    diagram.links = [x for x in diagram.links if (int(x.source[1:]) % 3 == 0) == (int(x.target[1:]) % 3 == 0)]
    boxes, groups = places(diagram)
    assert len(boxes) == 30
    assert all(apart(a, b) for a, b in itertools.combinations(boxes.values(), 2))
    for link in diagram.links:
        assert boxes[f"box {link.source[1:]}"][3] < boxes[f"box {link.target[1:]}"][1]
    frame = groups["a group"]
    for n in range(30):
        box = boxes[f"box {n}"]
        inside = frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]
        assert inside == (n % 3 == 0) and (inside or apart(box, frame))


def test_arrows_pass_beside_boxes():
    """The arrow around the middle box does not cross it."""
    diagram = Diagram(
        [Box(k, [k * 10], "operator") for k in "abc"], [], [Link("a", "b"), Link("b", "c"), Link("a", "c")]
    )
    boxes, _ = places(diagram)
    long = [p.get("d") for p in ElementTree.fromstring(layered.svg(diagram, COLOURS)).iter(f"{SVG}path")][3]
    points = [tuple(map(float, p.split(","))) for p in re.findall(r"[-\d.]+,[-\d.]+", long)]
    left, top, right, bottom = boxes["b" * 10]
    assert any(top <= y <= bottom for _, y in points)
    assert all(x <= left or x >= right for x, y in points if top <= y <= bottom)


def test_text_is_escaped():
    diagram = Diagram([Box("a", ['<&"\\>'], "operator")], [], [])
    assert '<&"\\>' in [t.text for t in ElementTree.fromstring(picture(diagram, "plain").svg).iter(f"{SVG}text")]
    if dot.program():
        assert '<&"\\>' in words(picture(diagram, "dot"))


# --- pictures -------------------------------------------------------------------------------------------------------


def test_saving(tmp_path, monkeypatch):
    drawn = plot_model(nn.Linear(2, 3), torch.zeros(1, 2), engine="plain")
    assert isinstance(drawn, Picture) and drawn._repr_svg_() == drawn.svg and "plain" in repr(drawn)
    drawn.save(tmp_path / "a.svg")
    drawn.save(str(tmp_path / "a.dot"))
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawn.svg
    assert (tmp_path / "a.dot").read_text(encoding="utf-8").startswith("digraph {")
    if dot.program():
        drawn.save(tmp_path / "a.png")
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no picture is saved as 'doc'"):
        drawn.save(tmp_path / "a.doc")
    monkeypatch.setattr(dot, "program", lambda: None)
    with pytest.raises(RuntimeError, match="needs Graphviz"):
        drawn.save(tmp_path / "b.png")
    assert plot_model(nn.Linear(2, 3), torch.zeros(1, 2)).engine == "plain"
    with pytest.raises(ValueError, match="'neato' is no engine"):
        plot_model(nn.Linear(2, 3), torch.zeros(1, 2), engine="neato")
