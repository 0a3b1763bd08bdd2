"""The plain way to lay out a diagram, for machines without Graphviz: layers from top to bottom, groups as boxes.

Each group is laid out by itself and then is one box of the group around it. In a group, boxes stand in layers (each one
below all that lead to it), are ordered in a layer by where their neighbours stand, and moved towards these. Arrows over
several layers keep a lane free in each (Sugiyama, Tagawa, Toda 1981).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .diagram import Diagram

__all__ = ["svg"]

FONT, SMALL = 12.0, 10.0  # pixels
LINE = 15.0
LETTER = 0.58  # the mean width of a letter, in its height
GAP, BETWEEN = 22.0, 46.0  # pixels between neighbours and between layers
PADDING, TITLE = 14.0, 18.0  # of groups
LANE = 12.0  # the width that is kept free for an arrow


@dataclass(eq=False)
class Item:
    """A box, a group, or the lane of an arrow in a layer."""

    key: str
    width: float
    height: float
    x: float = 0.0  # of the left upper corner, in the group around it
    y: float = 0.0
    layer: int = 0
    inside: "Layout | None" = None
    above: list["Item"] = field(default_factory=list)
    below: list["Item"] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass
class Layout:
    """A group that is laid out: its items, the lanes of its arrows by their ends, its size."""

    items: dict[str, Item]
    lanes: dict[tuple[str, str], list[Item]]
    width: float
    height: float


def text_width(text: str, size: float = FONT) -> float:
    """About how wide a text is."""
    return len(text) * size * LETTER


def laid_out(diagram: "Diagram", group: str | None, chain: Callable[[str], list[str | None]]) -> Layout:
    """Lay out one group."""
    items: dict[str, Item] = {}
    inner = {one.key: one for one in diagram.groups if one.group == group}
    for box in diagram.boxes:
        if box.group == group:
            width = max(text_width(line) for line in box.lines) + 20
            items[box.key] = Item(box.key, max(width, 40.0), len(box.lines) * LINE + 10)
    for key, one in inner.items():
        inside = laid_out(diagram, key, chain)
        width = max(inside.width, text_width(one.title)) + 2 * PADDING
        items[key] = Item(key, width, inside.height + 2 * PADDING + TITLE, inside=inside)
    pairs: dict[tuple[str, str], None] = {}  # the arrows between items; "" stands for what is outside
    for link in diagram.links:
        ends = [_at_level(chain(end), end, group) for end in (link.source, link.target)]
        if ends[0] != ends[1]:
            pairs[ends[0] or "", ends[1] or ""] = None
    order = {box.key: i for i, box in enumerate(diagram.boxes)}
    _layer(items, pairs)
    lanes = _lanes(items, pairs)
    layers: dict[int, list[Item]] = defaultdict(list)
    for item in [*items.values(), *(lane for each in lanes.values() for lane in each)]:
        layers[item.layer].append(item)
    rows = [layers[n] for n in sorted(layers)]
    for row in rows:
        row.sort(key=lambda item: order.get(item.key, len(order)))
    _arrange(rows)
    top = 0.0
    for row in rows:
        height = max(item.height for item in row)
        for item in row:
            item.height = item.height if item.key else height  # a lane goes straight through its layer
            item.y = top + (height - item.height) / 2
        top += height + BETWEEN
    everything = [item for row in rows for item in row]
    left = min((item.x for item in everything), default=0.0)
    for item in everything:
        item.x -= left
    width = max((item.x + item.width for item in everything), default=0.0)
    return Layout(items, lanes, width, max(top - BETWEEN, 0.0))


def _at_level(groups: Sequence[str | None], box: str, level: str | None) -> str | None:
    """The item of a level that holds a box: a group, or the box itself; None where it is not in there."""
    path = [*groups, box]
    if level not in groups:
        return None
    return path[path.index(level) + 1]


def _layer(items: dict[str, Item], pairs: dict[tuple[str, str], None]) -> None:
    """Each item one layer below the lowest that leads to it (arrows have no cycles: they follow time)."""
    above: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        if source and target:
            above[target].append(source)
    done: dict[str, int] = {}
    for start in items:
        stack = [start]
        while stack:
            key = stack[-1]
            waiting = [k for k in above[key] if k not in done]
            if key in done or not waiting:
                stack.pop()
                done.setdefault(key, max((done[k] + 1 for k in above[key]), default=0))
            else:
                stack.extend(waiting)
    below: dict[str, list[str]] = defaultdict(list)
    for source, target in pairs:
        if source and target:
            below[source].append(target)
    entered = {target for source, target in pairs if not source}
    for key in sorted(items, key=lambda k: -done[k]):  # sources move down to what they lead to
        if not above[key] and below[key] and key not in entered:
            done[key] = min(done[k] for k in below[key]) - 1
        items[key].layer = done[key]


def _lanes(items: dict[str, Item], pairs: dict[tuple[str, str], None]) -> dict[tuple[str, str], list[Item]]:
    """The lanes of arrows that pass layers; neighbours are entered on the way."""
    lanes: dict[tuple[str, str], list[Item]] = {}
    depth = max((item.layer for item in items.values()), default=0) + 1
    for source, target in pairs:
        first = items[source].layer if source else -1
        last = items[target].layer if target else depth
        lane = [Item("", LANE, 0.0, layer=n) for n in range(first + 1, last)]
        lanes[source, target] = lane
        chain = [*([items[source]] if source else []), *lane, *([items[target]] if target else [])]
        for upper, lower in zip(chain, chain[1:]):
            upper.below.append(lower)
            lower.above.append(upper)
    return lanes


def _arrange(rows: list[list[Item]]) -> None:
    """Order the layers and place their items."""
    for row in rows:
        _pack(row, [i * 100.0 for i in range(len(row))])
    for turn in range(8):
        down = turn % 2 == 0
        for row in rows if down else rows[::-1]:
            wanted = []
            for item in row:
                near = item.above if down else item.below
                wanted.append(sum(n.middle for n in near) / len(near) if near else item.middle)
            places = sorted(range(len(row)), key=lambda i: (wanted[i], i)) if turn < 6 else range(len(row))
            row[:] = [row[i] for i in places]
            _pack(row, [wanted[i] for i in places])


def _pack(row: list[Item], wanted: list[float]) -> None:
    """Put items near where they want to be, in their order, without overlap: blocks that touch share the difference."""
    blocks: list[list] = []  # [items, sum of wishes for the left end, width]
    for item, middle in zip(row, wanted):
        block = [[item], middle - item.width / 2, item.width]
        while blocks and blocks[-1][1] / len(blocks[-1][0]) + blocks[-1][2] + GAP > block[1] / len(block[0]):
            before = blocks.pop()
            shift = before[2] + GAP
            block = [before[0] + block[0], before[1] + block[1] - shift * len(block[0]), shift + block[2]]
        blocks.append(block)
    for items, total, _ in blocks:
        x = total / len(items)
        for item in items:
            item.x = x
            x += item.width + GAP


# --- drawing --------------------------------------------------------------------------------------------------------


def svg(diagram: "Diagram", colours: dict[str, tuple[str, str]]) -> str:
    """The picture as SVG."""
    groups = {one.key: one for one in diagram.groups}
    boxes = {box.key: box for box in diagram.boxes}

    def chain(box: str) -> list[str | None]:
        """The groups around a box, the outermost (None) first."""
        found: list[str | None] = []
        at = boxes[box].group
        while at is not None:
            found.append(at)
            at = groups[at].group
        return [None, *found[::-1]]

    whole = laid_out(diagram, None, chain)
    frames: list[str] = []
    drawn: list[str] = []
    arrows: list[str] = []
    labels: list[str] = []
    corners: dict[str | None, tuple[float, float]] = {}  # where the contents of groups begin
    layouts: dict[str | None, Layout] = {}
    places: dict[str, Item] = {}

    def place(layout: Layout, group: str | None, x: float, y: float) -> None:
        corners[group], layouts[group] = (x, y), layout
        for key, item in layout.items.items():
            if item.inside is None:
                fill, edge = colours[boxes[key].kind]
                left, top = x + item.x, y + item.y
                places[key] = Item(key, item.width, item.height, left, top)
                drawn.append(_rectangle(left, top, item.width, item.height, fill, edge))
                for i, line in enumerate(boxes[key].lines):
                    weight = ' font-weight="600"' if i == 0 else ""
                    baseline = top + 5 + LINE * (i + 0.75)
                    drawn.append(_text(left + item.width / 2, baseline, line, FONT, "middle", weight))
            else:
                fill, edge = colours["group"]
                left, top = x + item.x, y + item.y
                frames.append(_rectangle(left, top, item.width, item.height, fill, edge))
                frames.append(_text(left + 10, top + 16, groups[key].title, FONT, "start", ' fill="#505050"'))
                spare = item.width - 2 * PADDING - item.inside.width
                place(item.inside, key, left + PADDING + spare / 2, top + PADDING + TITLE)

    place(whole, None, PADDING, PADDING)
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for link in diagram.links:
        first, last = chain(link.source), chain(link.target)
        at = [a == b for a, b in zip([*first, object()], [*last, object()])].index(
            False
        ) - 1  # the innermost common group
        ends = _at_level(first, link.source, first[at]) or "", _at_level(last, link.target, last[at]) or ""
        passed = [(g, (_at_level(first, link.source, g) or "", "")) for g in first[:at:-1]]  # on the way out
        passed += [(first[at], ends)]
        passed += [(g, ("", _at_level(last, link.target, g) or "")) for g in last[at + 1 :]]  # and in
        source, target = places[link.source], places[link.target]
        points = [(source.middle, source.y + source.height)]
        for group, pair in passed:
            x, y = corners[group]
            for item in layouts[group].lanes.get(pair, []):
                points += [(x + item.middle, y + item.y), (x + item.middle, y + item.y + item.height)]
        points.append((target.middle, target.y - 2))
        taken[link.source, link.target] += 1
        arrows.append(_curve(points))
        if link.label:
            (x0, y0), (x1, y1) = points[-2:]
            row = (taken[link.source, link.target] - 1) * SMALL
            straight = abs(x1 - x0) < 25  # then near its end, else half-way, where arrows are apart
            x, y = (x1, max(y1 - 12, (y0 + y1) / 2)) if straight else ((x0 + x1) / 2, (y0 + y1) / 2)
            halo = ' fill="#404040" stroke="white" stroke-width="3" paint-order="stroke"'  # over arrows that cross it
            labels.append(_text(x + 5, y + row + 3, link.label, SMALL, "start", halo))
    width, height = whole.width + 2 * PADDING + 40, whole.height + 2 * PADDING
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif">',
            '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
            '<path d="M0,0 L7,3 L0,6 z" fill="#606060"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
            *frames,
            *arrows,
            *labels,
            *drawn,
            "</svg>",
        ]
    )


def _rectangle(x: float, y: float, width: float, height: float, fill: str, edge: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
        f'fill="{fill}" stroke="{edge}"/>'
    )


def _text(x: float, y: float, text: str, size: float, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.0f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth line that leaves and arrives from above."""
    (x, y), *rest = points
    path = f"M{x:.1f},{y:.1f}"
    for to_x, to_y in rest:
        bend = (to_y - y) / 2
        path += f" C{x:.1f},{y + bend:.1f} {to_x:.1f},{to_y - bend:.1f} {to_x:.1f},{to_y:.1f}"
        x, y = to_x, to_y
    return f'<path d="{path}" fill="none" stroke="#606060" marker-end="url(#tip)"/>'
