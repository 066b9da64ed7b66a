"""Where the steps of a pipeline stand on the Graph tab. Pure: names and edges in, places in pixels out.

Steps stand in layers, each right of all that it waits for (longest path). Edges that span several layers pass
through places of their own, so that no line runs through a box. The order within a layer follows the mean
place of the neighbours (barycentre), to and fro; then each step is drawn as near to them as its layer allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 148, 52
LAYER_GAP, ROW_GAP, LANE_GAP = 32, 46, 18
MARGIN = 24
ARROW = 8
_ROUNDS = 6
#: Lanes cost time. A pipeline that wants more than this is a thicket in which nobody follows a line anyway.
_MOST_LANES = 1_000


@dataclass(frozen=True)
class Box:
    """A step's place: its top left corner."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """An edge: an SVG path to the foot of its arrow, and the arrow's triangle."""

    before: str
    after: str
    path: str
    arrow: str


@dataclass(frozen=True)
class Layout:
    """All boxes and lines, and the size of the drawing."""

    boxes: list[Box]
    lines: list[Line]
    width: float
    height: float


@dataclass
class _Node:
    """A step, or a lane that an edge takes through a layer (`name` is "" then)."""

    name: str
    layer: int
    y: float = 0.0
    before: list[_Node] = field(default_factory=list)
    after: list[_Node] = field(default_factory=list)


def layout(steps: Sequence[str], waits_for: Mapping[str, Iterable[str]]) -> Layout:
    """Place the steps; `waits_for` names for each step those it runs after. What is in a cycle stays left."""
    edges = {name: [b for b in dict.fromkeys(waits_for.get(name, ())) if b in steps] for name in steps}
    depth = _depths(steps, edges)
    nodes = {name: _Node(name, depth[name]) for name in steps}
    layers: list[list[_Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in steps:
        layers[depth[name]].append(nodes[name])
    chains = [_chain(nodes[before], nodes[name], layers) for name in steps for before in edges[name]]
    _order(layers)
    _place(layers)
    top = min((node.y for layer in layers for node in layer), default=0) - MARGIN
    for layer in layers:
        for node in layer:
            node.y -= top
    boxes = [Box(name, _x(nodes[name]), nodes[name].y) for name in steps]
    height = max((box.y + BOX_HEIGHT for box in boxes), default=0) + MARGIN
    width = MARGIN * 2 + len(layers) * (BOX_WIDTH + LAYER_GAP) - LAYER_GAP
    return Layout(boxes, [_line(chain) for chain in chains], width, height)


def _depths(steps: Sequence[str], edges: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The longest way to each step, as a number of edges."""
    depth = dict.fromkeys(steps, 0)
    for _ in steps:
        deeper = {name: max((depth[b] + 1 for b in edges[name]), default=0) for name in steps}
        if deeper == depth or max(deeper.values()) >= len(steps):
            break
        depth = deeper
    return depth


def _chain(before: _Node, after: _Node, layers: list[list[_Node]]) -> list[_Node]:
    """The edge as nodes from box to box, with a lane in each layer between them."""
    lanes = [_Node("", layer) for layer in range(before.layer + 1, after.layer)]
    if sum(map(len, layers)) + len(lanes) > _MOST_LANES:
        lanes = []
    for lane in lanes:
        layers[lane.layer].append(lane)
    chain = [before, *lanes, after]
    for left, right in pairwise(chain):
        left.after.append(right)
        right.before.append(left)
    return chain


def _order(layers: list[list[_Node]]) -> None:
    """Sort each layer by the mean place of its neighbours, from the left and from the right in turn."""
    place = {id(node): float(at) for layer in layers for at, node in enumerate(layer)}
    for turn in range(_ROUNDS):
        forward = turn % 2 == 0
        for layer in layers if forward else reversed(layers):
            means = {id(node): _mean(node, place, forward=forward) for node in layer}
            layer.sort(key=lambda node, means=means: means[id(node)])  # type: ignore[misc]
            place.update({id(node): float(at) for at, node in enumerate(layer)})


def _mean(node: _Node, place: Mapping[int, float], *, forward: bool) -> float:
    near = node.before if forward else node.after
    return sum(place[id(other)] for other in near) / len(near) if near else place[id(node)]


def _place(layers: list[list[_Node]]) -> None:
    """Give each node its y: as near to its neighbours as the distances within the layer allow."""
    for layer in layers:
        _spread(layer, [0.0] * len(layer))
    y = {id(node): _centre(node) for layer in layers for node in layer}
    for turn in range(_ROUNDS):
        forward = turn % 2 == 0
        for layer in layers if forward else reversed(layers):
            _spread(layer, [_mean(node, y, forward=forward) for node in layer])
            y.update({id(node): _centre(node) for node in layer})


def _spread(layer: list[_Node], wanted: Sequence[float]) -> None:
    """Centres nearest to the wanted ones (least squares) that keep order and distances: pooled neighbours."""
    offsets, at = [], 0.0
    for i, node in enumerate(layer):
        at += _distance(layer[i - 1], node) if i else 0.0
        offsets.append(at)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, n = pools.pop()
            total, count = total + before, count + n
        pools.append((total, count))
    free = [total / count for total, count in pools for _ in range(count)]
    for node, start, offset in zip(layer, free, offsets, strict=True):
        node.y = start + offset - _height(node) / 2


def _height(node: _Node) -> float:
    return BOX_HEIGHT if node.name else 0


def _centre(node: _Node) -> float:
    return node.y + _height(node) / 2


def _distance(upper: _Node, lower: _Node) -> float:
    gap = ROW_GAP if upper.name and lower.name else LANE_GAP
    return (_height(upper) + _height(lower)) / 2 + gap


def _x(node: _Node) -> float:
    return MARGIN + node.layer * (BOX_WIDTH + LAYER_GAP)


def _line(chain: Sequence[_Node]) -> Line:
    """The path from box to box: an S in each gap, straight through the lanes."""
    x, y = _x(chain[0]) + BOX_WIDTH, _centre(chain[0])
    parts = [f"M{x:g} {y:.1f}"]
    for node in chain[1:]:
        is_end = bool(node.name)
        to_x, to_y = _x(node) - (ARROW if is_end else 0), _centre(node)
        bend = (to_x - x) / 2
        parts.append(f"C{x + bend:g} {y:.1f} {to_x - bend:g} {to_y:.1f} {to_x:g} {to_y:.1f}")
        x, y = to_x, to_y
        if not is_end:
            x += BOX_WIDTH
            parts.append(f"H{x:g}")
    arrow = f"{x:g},{y - 4:.1f} {x + ARROW:g},{y:.1f} {x:g},{y + 4:.1f}"
    return Line(chain[0].name, chain[-1].name, "".join(parts), arrow)
