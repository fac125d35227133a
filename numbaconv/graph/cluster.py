"""Elementwise work in as few passes over memory as pay.

A *cluster* is what one kernel does while it passes once over some values of one shape: any number of elementwise
operators, results stored, and sums over channels.  Three rules make clusters:

- A result is not stored if every reader is elementwise too and calculates it anew: always for a single reader, else
  where reading its operands again moves fewer bytes than writing and reading it.
- Stored results and sums that read the same values share a cluster, if they can be calculated at the same time.
- A stored result is not read where all it is made of is read anyway.

*At the same time* is decided by levels (longest paths from the leaves).  Every edge leads to a higher level, so what
has one level cannot depend on each other, and a result may move up to the level below its first reader's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..kernels.elementwise import CHANNELS, COSTLY, ELEMENTS, FUNCTIONS, NUMBER, attributes_of
from ..ops.conv import channel_sum
from ..ops.core import Operator
from ..ops.norm import channel_moments
from ..ops.shape import channel_broadcast, expand
from .graph import Node, Tensor

#: sums over all but the channels -> what kernels call them
STATISTICS = {channel_sum: "sum", channel_moments: "moments"}
#: operators that repeat a few numbers -> how kernels read these in every place
REPEATED = {channel_broadcast: CHANNELS, expand: NUMBER}

#: Of one result that is not stored; a cluster has at most twice as many.  Longer code compiles for seconds.
MAX_OPERATORS, MAX_READS = 24, 8

Ids = dict[int, None]  # of tensors: a set in the order of its making, so that equal graphs are fused alike

Updates = Sequence[tuple[Tensor, Tensor]]


class Fused(Operator):
    """Elementwise operators and sums over channels in one pass."""

    name = "fused"

    def __init__(self, members: Sequence[Node], in_place: dict[int, int]) -> None:
        self.members = members
        self.in_place = in_place
        self.finite_at_zero = all(node.op.finite_at_zero for node in members)

    def flops(self, inputs, outputs, **attrs) -> float:  # type: ignore[no-untyped-def]
        return sum(node.flops for node in self.members)

    @property
    def label(self) -> str:
        return " ".join(dict.fromkeys(node.op.name for node in self.members))


@dataclass(eq=False)
class Cluster:
    """Nodes whose results one kernel gives; ``reads`` are the elements it reads."""

    level: int
    position: int
    roots: list[Node] = field(default_factory=list)
    reads: Ids = field(default_factory=dict)
    size: int = 0

    def gives(self, t: int) -> bool:
        """Whether ``t`` is stored element by element, so that others can be calculated of it at once."""
        return any(t == id(node.outputs[0]) for node in self.roots if is_elementwise(node))


def cluster(nodes: Sequence[Node], kept: set[int], updates: Updates) -> list[Node]:
    """``nodes`` with all elementwise ones in clusters; ``kept`` are the ids of tensors that must be stored."""
    return _Clusters(nodes, kept, updates).result()


class _Clusters:
    def __init__(self, nodes: Sequence[Node], kept: set[int], updates: Updates) -> None:
        self.nodes, self.kept, self.updates = nodes, kept, updates
        self.producer = {id(t): node for node in nodes for t in node.outputs}
        self.users: dict[int, dict[int, Node]] = {}
        for node in nodes:
            for t in node.inputs:
                self.users.setdefault(id(t), {})[id(node)] = node
        self.reads: dict[int, Ids] = {}  # by tensor: elements read where it is calculated
        self.size: dict[int, int] = {}  # by tensor: operators run where it is calculated
        self.costly: set[int] = set()
        self.inside: set[int] = set()  # ids of tensors that are calculated where they are needed
        for node in nodes:
            if is_elementwise(node):
                self._decide(node)
            elif node.op in REPEATED:
                self.inside.add(id(node.outputs[0]))
            elif node.op in STATISTICS and not self._reads_of(node):  # of repeated numbers alone, which is no pass
                self.inside.discard(id(node.inputs[0]))
        self.units = [node for node in nodes if self._is_unit(node)]

    # ---------------------------------------------------------------------------------------- what is stored

    def _decide(self, node: Node) -> None:
        """Whether the result of an elementwise node is stored."""
        t = id(node.outputs[0])
        reads, size = self._reads_of(node), self._size_of(node)
        costly = node.op.name in COSTLY or any(id(x) in self.costly and id(x) in self.inside for x in node.inputs)
        self.reads[t], self.size[t] = reads, size
        if costly:
            self.costly.add(t)
        users = self.users.get(t, {}).values()
        again = len(users) - 1
        # Writing a value also reads the memory that it goes to: two transfers, and one more for each reader behind the
        # first, against the operands for each of those.
        pays = again == 0 or (not costly and again * len(reads) <= again + 2)
        small = size <= MAX_OPERATORS and len(reads) <= MAX_READS
        if pays and small and t not in self.kept and all(is_fusable(user) for user in users):
            self.inside.add(t)

    def _reads_of(self, node: Node) -> Ids:
        found: Ids = {}
        for x in node.inputs:
            found |= self.reads.get(id(x), {}) if id(x) in self.inside else {id(x): None}
        return found

    def _size_of(self, node: Node) -> int:
        return 1 + sum(self.size.get(id(x), 0) for x in node.inputs if id(x) in self.inside)

    def _is_unit(self, node: Node) -> bool:
        """Whether a step of its own, or a cluster, gives the node's results."""
        if node.op in REPEATED:  # read in place by elementwise readers, repeated in memory for others
            t = id(node.outputs[0])
            stored = t not in self.inside or t in self.kept
            return stored or not all(is_fusable(user) for user in self.users[t].values())
        return any(id(t) not in self.inside for t in node.outputs)

    def _sources(self, node: Node) -> dict[int, Tensor]:
        """The stored tensors that a unit reads."""
        found: dict[int, Tensor] = {}
        waiting = list(node.inputs)
        while waiting:
            t = waiting.pop()
            if is_fusable(node) and id(t) in self.inside:
                waiting += self.producer[id(t)].inputs
            else:
                found[id(t)] = t
        return found

    # ---------------------------------------------------------------------------------------- what goes together

    def _clusters(self) -> dict[int, Cluster]:
        """The cluster of every elementwise unit, by the node's id."""
        sources = {id(node): self._sources(node) for node in self.units}
        earliest: dict[int, int] = {}  # by tensor: the level of the unit that gives it
        for node in self.units:
            level = 1 + max((earliest.get(t, 0) for t in sources[id(node)]), default=0)
            earliest.update((id(t), level) for t in node.outputs)
        latest: dict[int, int] = {}
        for node in self.units:
            level = earliest[id(node.outputs[0])]
            for t in sources[id(node)]:
                latest[t] = min(latest.get(t, level - 1), level - 1)
        level_of = dict(earliest)
        clusters: dict[int, Cluster] = {}
        near: dict[int, list[Cluster]] = {}  # by tensor: clusters that read or give it
        for position, node in enumerate(self.units):
            if not is_fusable(node):
                continue
            reads, size = self._reads_of(node), self._size_of(node)
            limit = min((latest[id(t)] for t in node.outputs if id(t) in latest), default=len(self.nodes))

            def fits(other: Cluster, node: Node = node, reads=reads, size=size, limit=limit) -> bool:  # type: ignore[no-untyped-def]
                outside = [t for t in sources[id(node)] if not other.gives(t)]
                ready = 1 + max((level_of.get(t, 0) for t in outside), default=0)
                return (
                    other.roots[0].inputs[0].spec == node.inputs[0].spec
                    and ready <= other.level <= limit
                    and other.size + size <= 2 * MAX_OPERATORS
                    and len(other.reads | reads) <= 2 * MAX_READS
                )

            candidates = (c for t in sorted(reads, key=lambda t: level_of.get(t, 0)) for c in near.get(t, ()))
            found = next((c for c in candidates if fits(c)), None)
            if found is None:
                found = Cluster(earliest[id(node.outputs[0])], position)
            found.roots.append(node)
            found.reads |= {t: None for t in reads if not found.gives(t)}
            found.size += size
            clusters[id(node)] = found
            for t in (*reads, *(id(t) for t in node.outputs)):
                near.setdefault(t, []).append(found)
            level_of.update((id(t), found.level) for t in node.outputs)
        return clusters

    # ---------------------------------------------------------------------------------------- kernels

    def _node(self, found: Cluster) -> Node:
        """The one node that stands for a cluster."""
        self._calculate_what_is_at_hand(found)
        operands: dict[int, tuple[str, Tensor]] = {}
        numbers: dict[float, None] = {}
        program: dict[tuple, tuple] = {}  # instruction -> where its result stands
        values: dict[int, tuple] = {}
        members: dict[int, Node] = {}
        inner = {id(t) for node in found.roots for t in node.outputs} | self._at_hand

        def value(t: Tensor) -> tuple:
            """Where a value stands: among operands, numbers or results."""
            if id(t) not in values:
                node = self.producer.get(id(t))
                if node is not None and node.op in REPEATED and id(t) in self.inside:
                    source = node.inputs[0]
                    operands[id(source)] = (REPEATED[node.op], source)
                    values[id(t)] = ("operand", id(source))
                elif node is not None and is_elementwise(node) and (id(t) in self.inside or id(t) in inner):
                    arguments = [value(x) for x in node.inputs]
                    for name in attributes_of(node.op.name, len(node.inputs)):
                        number = float(node.attrs[name])
                        numbers[number] = None
                        arguments.append(("number", number))
                    instruction = (node.op.name, tuple(arguments))
                    members[id(node)] = node
                    values[id(t)] = program.setdefault(instruction, ("result", len(program)))
                else:
                    operands[id(t)] = (ELEMENTS, t)
                    values[id(t)] = ("operand", id(t))
            return values[id(t)]

        stored = [node.outputs[0] for node in found.roots if is_elementwise(node)]
        sums = [node for node in found.roots if node.op in STATISTICS]
        stores = [value(t) for t in stored]
        statistics = [(STATISTICS[node.op], value(node.inputs[0])) for node in sums]
        members |= {id(node): node for node in sums}
        places: dict[tuple, int] = {}
        for place in (*(("operand", t) for t in operands), *(("number", n) for n in numbers), *program.values()):
            places[place] = len(places)
        kinds = "".join(kind for kind, _ in operands.values())
        attrs = {
            "operands": kinds + NUMBER * len(numbers),
            "numbers": tuple(numbers),
            "program": tuple((name, tuple(places[a] for a in arguments)) for name, arguments in program),
            "stores": tuple(places[p] for p in stores),
            "statistics": tuple((kind, places[p]) for kind, p in statistics),
        }
        inputs = tuple(t for _, t in operands.values())
        outputs = (*stored, *(t for node in sums for t in node.outputs))
        in_place = {} if CHANNELS in kinds or sums else self._in_place(inputs, stored)
        return Node(Fused(list(members.values()), in_place), inputs, attrs, outputs)

    def _in_place(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[int, int]:
        """Results that update a leaf that is read: an element is read before it is written."""
        found = {}
        for leaf, value in self.updates:
            for i, t in enumerate(outputs):
                if t is value and any(leaf is x for x in inputs):
                    found[i] = next(k for k, x in enumerate(inputs) if leaf is x)
        return found

    def _calculate_what_is_at_hand(self, found: Cluster) -> None:
        """Sets ``_at_hand``: stored results that the cluster calculates from what it reads anyway."""
        self._at_hand: set[int] = set()
        for t in list(found.reads):
            reads = self.reads.get(t)
            if reads is None or t in self.costly or found.size + self.size[t] > 2 * MAX_OPERATORS:
                continue
            if all(x in found.reads and x != t for x in reads):
                self._at_hand.add(t)
                del found.reads[t]
                found.size += self.size[t]

    def result(self) -> list[Node]:
        clusters = self._clusters()
        made: dict[int, Node] = {}
        nodes: list[Node] = []
        for node in self.units:
            found = clusters.get(id(node))
            if found is None:
                nodes.append(node)
            elif id(found) not in made:
                made[id(found)] = self._node(found)
                nodes.append(made[id(found)])
        return in_order(nodes)


def is_elementwise(node: Node) -> bool:
    return node.op.name in FUNCTIONS


def is_fusable(node: Node) -> bool:
    return is_elementwise(node) or node.op in STATISTICS


def in_order(nodes: Sequence[Node]) -> list[Node]:
    """``nodes`` such that each stands behind those it reads from, else as they stood."""
    producer = {id(t): node for node in nodes for t in node.outputs}
    result: dict[int, Node] = {}

    def waits_for(node: Node) -> Iterable[Node]:
        return (producer[id(t)] for t in node.inputs if id(t) in producer and id(producer[id(t)]) not in result)

    for first in nodes:
        waiting = [first]
        while waiting:
            node = waiting[-1]
            missing = next(iter(waits_for(node)), None) if id(node) not in result else None
            if missing is not None:
                waiting.append(missing)
            else:
                result.setdefault(id(node), node)
                waiting.pop()
    return list(result.values())
