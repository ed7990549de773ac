"""The lineage graph and its layout: pure functions of a lake's facts."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from headrace.samples.column_sources import ColumnSource
from headrace.standing.flow import ONLINE_STORE
from ui.facts import DEAD_LETTERS, LakeFacts, NodeKind, VersionFacts
from ui.wording import count, moment

_SWEEPS = 6
# what a stream takes, by what waits there
_SOURCES = {"file": "files", "partition": "Kafka"}
_Slot = tuple[str, ...]  # (node,), or (source, target, column) where an arrow passes
_KIND_OF_NAMESPACE: Mapping[str, NodeKind] = {
    "raw": "raw",
    "dead_letters": "dead letters",
    "staging": "staging",
    "features": "features",
    "samples": "samples",
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A source, table, dataset or store; `id` is its unique name."""

    id: str
    kind: NodeKind
    detail: str


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """`target` was computed from `source`, at `snapshot_id` if the source is a table.

    `behind` counts, in units of `of`, what the target has not consumed yet; None if unknown. A
    pinned target stays at its snapshot on purpose.
    """

    source: str
    target: str
    snapshot_id: int | None = None
    behind: int | None = None
    of: Literal["newer commit", "newer snapshot", "waiting file", "waiting partition"] = (
        "newer commit"
    )
    pinned: bool = False

    @property
    def lag(self) -> str:
        """Format how far the target is behind; `—` if unknown."""
        if self.pinned:
            return "pinned"
        if self.behind is None:
            return "—"
        return count(self.behind, self.of) if self.behind else "up to date"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes, ordered by name, and the arrows between them."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]

    def node(self, name: str) -> Node | None:
        """Find a node by name."""
        return next((node for node in self.nodes if node.id == name), None)

    def inputs(self, name: str) -> tuple[Arrow, ...]:
        """List the arrows into a node."""
        return tuple(arrow for arrow in self.arrows if arrow.target == name)

    def outputs(self, name: str) -> tuple[Arrow, ...]:
        """List the arrows out of a node."""
        return tuple(arrow for arrow in self.arrows if arrow.source == name)

    def river(self, name: str) -> frozenset[str]:
        """Collect the node with everything up- and downstream of it."""
        up = _reach(name, _grouped(self.arrows, up=True))
        down = _reach(name, _grouped(self.arrows, up=False))
        return up | down

    def around(self, name: str, *, hops: int, nodes_max: int) -> "Graph":
        """Keep what is at most `hops` arrows away from a node, the nearest first up to a number."""
        near: dict[str, set[str]] = defaultdict(set)
        for arrow in self.arrows:
            near[arrow.source].add(arrow.target)
            near[arrow.target].add(arrow.source)
        kept, edge = {name}, [name]
        for _ in range(hops):
            found = sorted({other for each in edge for other in near[each]} - kept)
            edge = found[: nodes_max - len(kept)]
            kept |= set(edge)
        return self.among(kept)

    def among(self, names: Collection[str]) -> "Graph":
        """Keep some nodes and the arrows between them."""
        return Graph(
            nodes=tuple(node for node in self.nodes if node.id in names),
            arrows=tuple(a for a in self.arrows if a.source in names and a.target in names),
        )

    def upstream(self, name: str) -> frozenset[str]:
        """Collect the node with everything it was computed from."""
        return _reach(name, _grouped(self.arrows, up=True))

    def by_kind(self) -> "Graph":
        """Collapse all nodes of a kind into one, for a graph too large to draw.

        An arrow stands for all arrows between two kinds, and adds up by how much they are behind.
        """
        kind_of = {node.id: node.kind for node in self.nodes}
        members = Counter(kind_of.values())
        behind: dict[tuple[str, str], int] = defaultdict(int)
        for arrow in self.arrows:
            pair = kind_of[arrow.source], kind_of[arrow.target]
            if pair[0] != pair[1]:
                behind[pair] += bool(arrow.behind) and not arrow.pinned
        return Graph(
            nodes=tuple(
                Node(id=kind, kind=kind, detail=count(members[kind], "node"))
                for kind in get_args(NodeKind)
                if kind in members
            ),
            arrows=tuple(
                Arrow(source=start, target=end, behind=late)
                for (start, end), late in sorted(behind.items())
            ),
        )


def graph_of_version(lake: LakeFacts, version: VersionFacts) -> Graph:
    """Build the graph of what fed a version: its sample table and inputs, at the snapshots it pins.

    What these inputs were computed from follows from the commits on record.
    """
    read = {pin.table: pin.snapshot_id for pin in version.pins}
    for day in version.days:  # the newest day's last
        read |= day.inputs
    read.pop(version.table, None)
    whole = graph_of(lake)
    known = {node.id: node for node in whole.nodes}
    arrows = [
        Arrow(
            source=version.table,
            target=version.title,
            snapshot_id=version.snapshot_id,
            pinned=True,
        ),
        *(
            Arrow(source=table, target=version.table, snapshot_id=at, pinned=True)
            for table, at in sorted(read.items())
        ),
    ]
    inputs = set(read)
    kept = {version.title, version.table}.union(*(whole.upstream(each) for each in inputs))
    arrows += [
        arrow
        for arrow in whole.among(kept - {version.title, version.table}).arrows
        if arrow.target != version.table
    ]
    for name in (version.table, *read):
        known.setdefault(name, Node(id=name, kind=_kind(name), detail="dropped"))
    return Graph(nodes=tuple(known[each] for each in sorted(kept)), arrows=tuple(arrows))


def graph_of(lake: LakeFacts) -> Graph:
    """Build the graph from recorded facts: inputs of commits, pins, published views.

    The source of a stream comes from its declaration, and appears once its table exists.
    """
    nodes = {
        table.name: Node(id=table.name, kind=_kind(table.name), detail=count(table.rows, "row"))
        for table in lake.tables
        if table.rows or table.name != DEAD_LETTERS
    }
    arrows = list(_from_sources(lake, nodes))
    for job in lake.jobs:
        name = f"Flink job of {job.subject}"
        nodes[name] = Node(id=name, kind="job", detail=(job.state or "unknown").lower())
        arrows += [Arrow(source=each, target=name) for each in job.reads]
        arrows.append(Arrow(source=name, target=job.table))
    for taken in lake.imports:
        name = f"paimon:{taken.table}"
        nodes[name] = Node(id=name, kind="source", detail="Paimon table")
        arrows.append(
            Arrow(
                source=name,
                target=taken.target,
                snapshot_id=taken.snapshot_id,
                behind=taken.lacks,
                of="newer snapshot",
            )
        )
    through = {(source, job.table) for job in lake.jobs for source in job.reads}
    for edge in lake.edges:
        if (edge.source, edge.target) in through:
            continue
        for name in (edge.source, edge.target):  # a dropped table still has recorded lineage
            nodes.setdefault(name, Node(id=name, kind=_kind(name), detail="dropped"))
        arrows.append(
            Arrow(
                source=edge.source,
                target=edge.target,
                snapshot_id=edge.snapshot,
                behind=edge.commits,
            )
        )
    for version in lake.versions:
        nodes[version.title] = Node(
            id=version.title, kind="dataset", detail=count(version.rows, "row")
        )
        arrows.append(
            Arrow(
                source=version.table,
                target=version.title,
                snapshot_id=version.snapshot_id,
                pinned=True,
            )
        )
    for model in lake.models:
        name = f"model {model.folder}"
        nodes[name] = Node(id=name, kind="model", detail=f"trained {moment(model.trained_at)}")
        arrows.append(Arrow(source=model.title, target=name, pinned=True))
    if lake.online:
        keys = sum(view.rows for view in lake.online)
        nodes[ONLINE_STORE] = Node(
            id=ONLINE_STORE, kind="online", detail=count(keys, "entity", plural="entities")
        )
        arrows += [
            Arrow(
                source=view.table,
                target=ONLINE_STORE,
                snapshot_id=view.snapshot_id,
                behind=view.behind,
            )
            for view in lake.online
        ]
    known = tuple(arrow for arrow in arrows if arrow.source in nodes and arrow.target in nodes)
    return Graph(nodes=tuple(nodes[name] for name in sorted(nodes)), arrows=known)


def _from_sources(lake: LakeFacts, nodes: dict[str, Node]) -> Iterator[Arrow]:
    """Add the sources of streams to the nodes, and yield the arrows from them."""
    for stream in lake.streams:
        if stream.table not in nodes:
            continue
        nodes[stream.source] = Node(id=stream.source, kind="source", detail=_SOURCES[stream.parts])
        if not stream.is_of_flink:  # else a job is between the two
            yield Arrow(
                source=stream.source,
                target=stream.table,
                behind=stream.waiting,
                of="waiting file" if stream.parts == "file" else "waiting partition",
            )
        if stream.dead_letters and DEAD_LETTERS in nodes:
            yield Arrow(source=stream.source, target=DEAD_LETTERS)


def column_lineage(lake: LakeFacts, name: str) -> tuple[tuple[str, ColumnSource], ...]:
    """List what the columns of a node come from, then what columns of others are made of it."""
    known = (
        *((table.name, each) for table in lake.tables for each in table.sources),
        *((version.title, each) for version in lake.versions for each in version.sources),
    )
    own = tuple((of, each) for of, each in known if of == name)
    return own + tuple((of, each) for of, each in known if each.table == name and of != name)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Positions of nodes: columns count from 0, rows are centered on 0 and may be fractions.

    `bends` gives, for each arrow that skips columns, the number of rows by which it leaves the
    straight line to pass between the nodes of those columns.
    """

    places: Mapping[str, tuple[int, float]]
    bends: Mapping[tuple[str, str], float]
    columns: int
    rows: int


def layout(graph: Graph) -> Layout:
    """Put nodes into columns so that arrows point right and rarely cross; deterministic.

    An arrow that skips columns reserves a slot in each. A cycle, which recorded facts can form when
    tables feed each other over time, is cut at the first arrow that closes it.
    """
    depth = _depths(graph)
    into: dict[_Slot, list[_Slot]] = defaultdict(list)
    out_of: dict[_Slot, list[_Slot]] = defaultdict(list)
    columns: dict[int, list[_Slot]] = defaultdict(list)
    for node in graph.nodes:
        columns[depth[node.id]].append((node.id,))
    for start, end in sorted({(a.source, a.target) for a in graph.arrows}):
        between: list[_Slot] = [
            (start, end, str(level)) for level in range(depth[start] + 1, depth[end])
        ]
        for slot in between:
            columns[int(slot[2])].append(slot)
        for left, right in pairwise([(start,), *between, (end,)]):
            into[right].append(left)
            out_of[left].append(right)
    ordered = [sorted(columns[level]) for level in sorted(columns)]
    for sweep in range(_SWEEPS):
        neighbours = into if sweep % 2 == 0 else out_of
        for column in ordered if sweep % 2 == 0 else reversed(ordered):
            place = {slot: _row(at, each) for each in ordered for at, slot in enumerate(each)}
            column.sort(key=lambda slot: (_middle(neighbours.get(slot, ()), place, slot), slot))
    row_of = {slot: _row(at, each) for each in ordered for at, slot in enumerate(each)}
    return Layout(
        places={node.id: (depth[node.id], row_of[(node.id,)]) for node in graph.nodes},
        bends=_bends(row_of, depth),
        columns=len(ordered),
        rows=max((len(each) for each in ordered), default=0),
    )


def _bends(row_of: Mapping[_Slot, float], depth: Mapping[str, int]) -> dict[tuple[str, str], float]:
    offsets: dict[tuple[str, str], list[float]] = defaultdict(list)
    for slot, row in row_of.items():
        if len(slot) == 1:
            continue
        start, end, column = slot
        first, last = row_of[(start,)], row_of[(end,)]
        share = (int(column) - depth[start]) / (depth[end] - depth[start])
        offsets[start, end].append(row - (first + share * (last - first)))
    return {pair: sum(each) / len(each) for pair, each in offsets.items()}


def _row(at: int, column: Sequence[_Slot]) -> float:
    return at - (len(column) - 1) / 2


def _middle(neighbours: Iterable[_Slot], place: Mapping[_Slot, float], slot: _Slot) -> float:
    places = [place[other] for other in neighbours]
    return sum(places) / len(places) if places else place[slot]


def _depths(graph: Graph) -> dict[str, int]:
    into = _grouped(graph.arrows, up=True)
    depth: dict[str, int] = {}
    open_now: set[str] = set()

    def visit(name: str) -> int:
        if name in depth:
            return depth[name]
        open_now.add(name)
        before = [visit(other) for other in into.get(name, ()) if other not in open_now]
        open_now.discard(name)
        depth[name] = max(before, default=-1) + 1
        return depth[name]

    for node in graph.nodes:
        visit(node.id)
    return depth


def _grouped(arrows: Iterable[Arrow], *, up: bool) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for arrow in arrows:
        start, end = (arrow.target, arrow.source) if up else (arrow.source, arrow.target)
        found[start].append(end)
    return {name: tuple(sorted(set(others))) for name, others in found.items()}


def _reach(name: str, steps: Mapping[str, Iterable[str]]) -> frozenset[str]:
    seen, todo = {name}, [name]
    while todo:
        for other in steps.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return frozenset(seen)


def _kind(table: str) -> NodeKind:
    return _KIND_OF_NAMESPACE.get(table.partition(".")[0], "table")
