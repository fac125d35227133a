"""From a graph to steps with places in one arena, for any backend; what a backend makes of them is its own plan's."""

from typing import Any

from ..kernels.lowering import Backend
from .graph import Graph
from .layout import Assembly
from .memory import MemoryPlan, plan_memory
from .schedule import Phase, split_constant


class Planned:
    """The steps of all graphs of one structure, in phases, and where their values lie.

    The first ``prepared`` phases of a plan that is ``frozen`` depend on bound arrays only and are run once.  There
    is room for ``most_threads`` threads.
    """

    def __init__(self, graph: Graph, backend: Backend, frozen: bool, most_threads: int = 1) -> None:
        self.backend, self.frozen = backend, frozen
        self.leaf_specs = [t.spec for t in graph.leaves]
        self.input_positions = [i for i, source in enumerate(graph.sources) if source is None]
        self.fixed_positions = [i for i, source in enumerate(graph.sources) if source is not None]
        self.updated = {i for i, t in enumerate(graph.leaves) if any(t is leaf for leaf, _ in graph.updates)}
        self.output_specs = [t.spec for t in graph.outputs]
        assembly = Assembly(graph, frozen, backend)
        self.outputs: list[Any] = assembly.outputs
        steps = self.rewritten(assembly.program.steps)
        once, always = split_constant(steps, self.input_positions) if frozen else ([], steps)
        self.phases = self.scheduled(once)
        self.prepared = len(self.phases)
        self.phases += self.scheduled(always)
        self.memory: MemoryPlan = plan_memory(self.phases, self.outputs, self.prepared, most_threads)
        self.steps = [step for phase in self.phases for step in phase.steps]

    def rewritten(self, steps: list) -> list:
        """The steps that are run in place of those of the assembly."""
        return steps

    def scheduled(self, steps: list) -> list[Phase]:
        """The steps in phases; without a better order, one after the other."""
        return [Phase([step], 1, 1, 1, False) for step in steps]

    def check_inputs(self, given: int) -> None:
        """Raise ValueError for a wrong number of inputs."""
        if given != len(self.input_positions):
            raise ValueError(f"the graph has {len(self.input_positions)} inputs, {given} were given")

    def misfit(self, position: int, array: Any) -> ValueError:
        """What to raise for an array whose shape or dtype is not its leaf's."""
        spec = self.leaf_specs[position]
        given, planned = f"{array.shape}, {array.dtype}", f"{spec.shape}, {spec.dtype}"
        return ValueError(f"an array of shape {given} was given where {planned} was planned")
