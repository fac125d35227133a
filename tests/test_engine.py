"""The engine's machinery: planner, memory, cache, runner and machine code."""

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.graph import Graph, Variable, compile_graph, gradients
from numbaconv.graph import runner as graph_runner
from numbaconv.graph.layout import Assembly
from numbaconv.graph.memory import ALIGNMENT, PAGE, SLACK, plan_memory
from numbaconv.graph.rematerialise import rematerialise
from numbaconv.graph.schedule import schedule
from numbaconv.kernels import cache as kernel_cache
from numbaconv.kernels.cpu import runner as cpu_runner
from numbaconv.kernels.cpu import target
from numbaconv.kernels.cpu import tile as tile_module
from numbaconv.kernels.cpu.conv import correlate, correlate_weights
from numbaconv.kernels.cpu.elementwise import homes_of, pointwise
from numbaconv.kernels.cpu.lowering import BATCH, PLAIN, Program, buffer_for
from numbaconv.kernels.cpu.native import Ints, Pointer, call, kernel
from numbaconv.kernels.cpu.target import LANES
from numbaconv.kernels.cpu.vector import load, reduce_add, reduce_max

HERE = Path(__file__).parent
X86 = target.platform.machine().lower() in ("x86_64", "amd64")

#: Settings under which Numba takes this machine for an older one, whose instructions it has as well.
OLDER = {
    "avx2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
    "simd128": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""},
}


def environment(**changes: str | None) -> dict[str, str]:
    """This process' variables with changes (None: without), and the paths on which it found its modules."""
    paths = [str(Path(nc.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    merged = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}
    return {key: value for key, value in merged.items() if value is not None}


def python(script: str, *arguments: str, **changes: str | None) -> str:
    """Run a script in a process of its own; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env=environment(**changes), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------------------------------------ random programs

KEY = np.array([5, 6])
WEIGHTS = {
    "conv3": (0.3 * normal(4, 4, 3, 3), normal(4, seed=1)),
    "conv1": (0.5 * normal(4, 4, 1, 1, seed=2), normal(4, seed=3)),
    144: (0.1 * normal(4, 144, seed=4), normal(4, seed=5)),
    36: (0.2 * normal(4, 36, seed=6), normal(4, seed=7)),
    4: (0.5 * normal(4, 4, seed=8), normal(4, seed=9)),
}
ANYWHERE: list[Callable] = [
    F.tanh, F.relu, lambda x: x * 0.5 + 1.0, lambda x: F.softmax(x, 1), lambda x: F.log_softmax(x, 1),
    lambda x: F.dropout(x, 0.3, key=KEY), lambda x: F.add(x, F.mean(x)), lambda x: F.softmax(x, 0),
]  # fmt: skip
ON_IMAGES: list[Callable] = [
    lambda x: F.conv2d(x, *WEIGHTS["conv3"], padding=1),
    lambda x: F.relu(F.conv2d(x, *WEIGHTS["conv3"], padding=1)),
    lambda x: F.relu(F.conv2d(x, *WEIGHTS["conv1"])),
    lambda x: F.avg_pool2d(x, 2) if x.shape[2] % 2 == 0 else F.max_pool2d(x, 3, 1, 1),
    lambda x: F.max_pool2d(x, 2) if x.shape[2] % 2 == 0 else F.avg_pool2d(x, 3, 1, 1),
    lambda x: F.flatten(x, 1),
]
ON_ROWS: list[Callable] = [
    lambda x: F.linear(x, *WEIGHTS[x.shape[1]]),
    lambda x: F.relu(F.linear(x, *WEIGHTS[x.shape[1]])),
    lambda x: F.reshape(x, (x.shape[0], 4, 6, 6)) if x.shape[1] == 144 else F.relu(x),
    lambda x: F.reshape(x, (x.shape[0], 4, 3, 3)) if x.shape[1] == 36 else F.tanh(x),
]


def random_function(seed: int) -> Callable:
    """A function of two batches (N, 4, 6, 6), the same at every call: on arrays, step by step, or traced, at once."""

    def f(x: Any, y: Any) -> list:
        rng = np.random.default_rng(seed)
        values = [x, y]
        for _ in range(rng.integers(4, 15)):
            a = values[rng.integers(len(values))]
            like = [b for b in values if b.shape == a.shape]
            operations = ANYWHERE + (ON_IMAGES if len(a.shape) == 4 else ON_ROWS)
            if rng.random() < 0.25:
                values.append(F.multiply(a, F.tanh(like[rng.integers(len(like))])))
            else:
                values.append(operations[rng.integers(len(operations))](a))
        return [values[-1], *(values[i] for i in rng.integers(len(values), size=3))]

    return f


def random_step(seed: int, batch: int) -> tuple[Graph, list[np.ndarray]]:
    """A graph with outputs, gradients and updates, and its inputs."""
    graph = Graph()
    arrays = [normal(batch, 4, 6, 6, seed=seed + i) for i in range(2)]
    inputs = [graph.input(a.shape, a.dtype) for a in arrays]
    results = random_function(seed)(*inputs)
    leaves = [t for t, source in zip(graph.leaves, graph.sources, strict=True) if isinstance(source, np.ndarray)]
    leaves = [t for t in leaves if t.dtype.kind == "f" and t.ndim > 0]
    loss = F.mean(F.multiply(results[0], results[0]))
    graph.output(loss, *results, *gradients(loss, inputs))
    for leaf, grad in zip(leaves, gradients(loss, leaves), strict=True):
        variable = graph.leaf(Variable(normal(*leaf.shape, seed=9)))
        graph.update(variable, F.add(variable, grad))
    return graph, arrays


BATCHES = [1, 3, LANES, LANES + 1, 5 * LANES]
SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_whole_graph_gives_what_its_operators_give_one_by_one(seed: int, few_tiles: None) -> None:
    """Fusion, layouts, phases and the arena change nothing, whatever the graph; nor do poisoned memory and threads."""
    batch = BATCHES[seed % len(BATCHES)]
    x, y = normal(batch, 4, 6, 6), normal(batch, 4, 6, 6, seed=1)
    f = random_function(seed)
    for found, expected in zip(nc.compile(f)(x, y), f(x, y), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_read_only_what_they_wrote(seed: int, few_tiles: None) -> None:
    """With an arena full of NaN, and whatever ran before, a run gives the same bits; nothing behind it is written."""
    batch = BATCHES[seed % len(BATCHES)]
    graph, arrays = random_step(seed, batch)
    executable = compile_graph(graph)
    variables = [source for source in graph.sources if isinstance(source, Variable)]
    start = [v.data.copy() for v in variables]
    results = []
    for poison in (0, 255, 63):
        for v, data in zip(variables, start, strict=True):
            v.data[...] = data
        executable.plan._memory[:] = poison
        results.append([*executable.run(arrays), *(v.data.copy() for v in variables)])
        used = executable.plan.memory.bytes + PAGE
        assert (executable.plan._memory[used:] == poison).all()
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def random_conv_net(seed: int) -> Graph:
    """A training step of a net of random depth, width and batch; planned only, never compiled."""
    rng = np.random.default_rng(seed)
    graph = Graph()
    x = graph.input((int(rng.choice([1, 2, LANES, 40, 128])), int(rng.integers(1, 5)), 16, 16))
    h, parameters = x, []
    for _ in range(rng.integers(1, 5)):
        shape = (int(rng.integers(1, 40)), h.shape[1], 3, 3)
        parameters += [graph.leaf(Variable(np.zeros(shape, np.float32))), graph.leaf(np.zeros(shape[0], np.float32))]
        h = F.conv2d(h, *parameters[-2:], padding=1, stride=int(rng.integers(1, 3)))
        if h.size > h.shape[1] and rng.random() < 0.5:
            h = F.batch_norm(h, None, None, training=True)
        h = [F.tanh, F.relu, F.sigmoid, lambda t: t][rng.integers(4)](h)
        if h.shape[2] >= 4 and rng.random() < 0.5:
            h = [F.max_pool2d, F.avg_pool2d][rng.integers(2)](h, 2)
        if rng.random() < 0.3:
            h = F.add(h, F.tanh(h))
    flat = F.flatten(h, 1)
    parameters.append(graph.leaf(Variable(np.zeros((10, flat.shape[1]), np.float32))))
    loss = F.cross_entropy(F.linear(flat, parameters[-1]), np.zeros(x.shape[0], np.int64))
    graph.output(loss)
    for leaf, grad in zip(parameters, gradients(loss, parameters), strict=True):
        if rng.random() < 0.7:
            graph.update(leaf, F.subtract(leaf, F.multiply(grad, 0.1)))
    return graph


def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_buffers_alive_together_never_overlap(threads: int) -> None:
    """For random networks: every buffer has room for all its copies, apart from all others alive at the same time.

    The exception: a value may be made, block by block, in the place of one that has been read for the last time.
    """
    graphs = [random_conv_net(seed) for seed in range(25)]
    graphs += [random_step(seed, BATCHES[seed % len(BATCHES)])[0] for seed in range(25)]
    taken_over = 0
    for graph in graphs:
        assembly = Assembly(graph)
        steps = rematerialise(assembly.program.steps, threads, assembly.outputs)
        phases = schedule(steps, threads)
        plan = plan_memory(phases, assembly.outputs, threads=threads)
        check_order(steps, phases)
        uses: dict[int, list[tuple[int, int]]] = {}
        buffers = {}
        for p, phase in enumerate(phases):
            for s, step in enumerate(phase.steps):
                for b in (*step.inputs, *step.outputs):
                    uses.setdefault(id(b), []).append((p, s))
                    buffers[id(b)] = b
        kept = {id(b) for b in assembly.outputs}
        placed = {key for key, b in buffers.items() if b.leaf is None and b.values is None and key not in kept}
        assert placed == set(plan.places)
        shared, local, areas = [], [], {}
        for key in placed:
            b, place, (first, *_, last) = buffers[key], plan.places[key], [uses[key][0], *uses[key]]
            assert place.offset % ALIGNMENT == place.thread % ALIGNMENT == 0
            if place.thread:
                assert first[0] == last[0] and (b.space == "thread" or phases[first[0]].depth_first)
                local.append((key, first[0], (first[1], last[1] + 1), (place.offset, place.offset + b.bytes)))
                assert place.offset + b.bytes <= place.thread
                assert areas.setdefault(first[0], threads * place.thread) == threads * place.thread
            else:
                size = b.bytes * b.copies
                shared.append((key, 0, (first[0], last[0] + 1), (place.offset, place.offset + size)))
                assert place.offset + size + SLACK <= plan.bytes
                assert (place.block, place.group) == (b.bytes * (b.space == "block"), b.bytes * (b.space == "group"))
        for phase, area in areas.items():
            assert area + SLACK <= plan.bytes
            assert not any(overlap(alive, (phase, phase + 1)) and room[0] < area for _, _, alive, room in shared)
        for items in (shared, local):
            for i, (key, phase, alive, room) in enumerate(items):
                for other, other_phase, other_alive, other_room in items[:i]:
                    apart = phase != other_phase or not overlap(alive, other_alive) or not overlap(room, other_room)
                    if not apart:  # made block by block where the same phase read the other for the last time
                        left, made = sorted((uses[k][-1], uses[k][0], k) for k in (key, other))
                        assert left[0] < made[1] < (left[0][0] + 1, 0) and phases[left[0][0]].depth_first
                        assert plan.places[key] == plan.places[other] and not plan.places[key].thread
                        assert buffers[key].space == buffers[other].space == "block"
                        taken_over += 1
    assert taken_over > 0 or threads == 7  # which divide most batches' units instead of their blocks


def check_order(steps: Sequence[Any], phases: Sequence[Any]) -> None:
    """Every step once; nothing is read before it is written, and within a phase only what its own block wrote."""
    flat = [step for phase in phases for step in phase.steps]
    assert sorted(map(id, flat)) == sorted(map(id, steps))
    original = {id(step): i for i, step in enumerate(steps)}
    number = {id(step): i for i, step in enumerate(flat)}
    phase_of = {id(step): p for p, phase in enumerate(phases) for step in phase.steps}
    written: dict[int, Any] = {}
    for step in flat:
        for b in step.inputs:
            assert b.leaf is not None or b.values is not None or id(b) in written, f"{step.label} reads nothing"
            writer = written.get(id(b))
            if writer is not None and phase_of[id(writer)] == phase_of[id(step)]:
                phase = phases[phase_of[id(step)]]
                assert not phase.parallel or (b.space == "block" and phase.depth_first), step.label
        for b in step.outputs:
            written[id(b)] = step
    for i, step in enumerate(steps):  # what reads or overwrites a buffer still comes after its earlier users
        for other in steps[:i]:
            outputs = {id(b) for b in other.outputs}
            touched = {id(b) for b in (*step.inputs, *step.outputs)}
            if outputs & touched or {id(b) for b in other.inputs} & {id(b) for b in step.outputs}:
                assert number[id(other)] < number[id(step)]
                assert original[id(other)] < original[id(step)]


def test_threads_meet_where_a_block_needs_what_others_wrote() -> None:
    """Steps on blocks follow each other without a meeting only through buffers of which every block has its own."""
    dtype = np.dtype(np.float32)
    x, y, z = (buffer_for((64 * LANES, 1000), dtype, BATCH, LANES) for _ in range(3))
    shared = buffer_for((64 * LANES, 1000), dtype, PLAIN, 1)
    chain = (("relu", (0,)),)
    relu = pointwise(dtype, operands="e", program=chain, stores=(1,), homes=homes_of(chain))
    for middle, phases in ((y, 1), (shared, 2)):
        program = Program()
        program.step(relu, (x,), (middle,), units=1000)
        program.step(relu, (middle,), (z,), units=1000)
        assert [step.scope for step in program.steps] == ["block", "block"]
        found = schedule(program.steps, 2)
        assert len(found) == phases and all(phase.parallel for phase in found)


# ------------------------------------------------------------------------------------------------ steps and variables


def small_step(batch: int) -> tuple[Graph, list[Variable]]:
    """A training step of a small network with momentum, over inputs x and labels."""
    parameters = [
        Variable(0.3 * normal(*s, seed=i, dtype=np.float32)) for i, s in enumerate([(4, 2, 3, 3), (4,), (5, 64)])
    ]
    graph = Graph()
    x, labels = graph.input((batch, 2, 8, 8)), graph.input((batch,), np.int64)
    weight, bias, last = (graph.leaf(p) for p in parameters)
    h = F.avg_pool2d(F.tanh(F.conv2d(x, weight, bias, padding=1)), 2)
    loss = F.cross_entropy(F.linear(F.flatten(h, 1), last), labels)
    hyper = graph.leaf(np.array([0.1, 0.9, 0.0, 1e-3]))
    leaves = [weight, bias, last]
    for leaf, grad in zip(leaves, gradients(loss, leaves), strict=True):
        momentum = graph.leaf(Variable(np.zeros(leaf.shape, np.float32), trainable=False))
        for old, new in zip((leaf, momentum), F.sgd_update(leaf, grad, momentum, hyper), strict=True):
            graph.update(old, new)
    graph.output(loss)
    return graph, parameters


@pytest.mark.parametrize("batch", [3, 2 * LANES + 3])
def test_updates_happen_in_place_and_nowhere_else(batch: int, few_tiles: None) -> None:
    graph, parameters = small_step(batch)
    guarded = []
    for p in parameters:
        around = np.full(p.size + 128, 7.0, np.float32)
        around[64:-64] = p.data.ravel()
        p.data = around[64:-64].reshape(p.shape)
        guarded.append(around)
    arrays = [normal(batch, 2, 8, 8, dtype=np.float32), np.arange(batch) % 5]
    run = compile_graph(graph).run
    losses = [float(run(arrays)[0]) for _ in range(8)]
    assert losses == sorted(losses, reverse=True)
    for p, around in zip(parameters, guarded, strict=True):
        assert np.shares_memory(p.data, around)
        assert (around[:64] == 7.0).all() and (around[-64:] == 7.0).all()


def test_a_step_allocates_nothing(few_tiles: None) -> None:
    """The arena stays where it is, and Python's heap grows by the scalar result alone."""
    graph, _ = small_step(8 * LANES)
    executable = compile_graph(graph)
    arrays = [normal(8 * LANES, 2, 8, 8, dtype=np.float32), np.arange(8 * LANES) % 5]
    executable.run(arrays)
    arena = executable.plan._memory.ctypes.data
    tracemalloc.start()
    try:
        for _ in range(3):
            executable.run(arrays)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            executable.run(arrays)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert executable.plan._memory.ctypes.data == arena
    assert peak - before < 8192 and after - before < 4096


def test_graphs_of_one_structure_share_a_plan(few_tiles: None) -> None:
    first, second = small_step(3)[0], small_step(3)[0]
    assert compile_graph(first).plan is compile_graph(second).plan
    assert compile_graph(first).plan is not compile_graph(small_step(4)[0]).plan


def test_old_plans_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_runner, "MAX_PLANS", 5)
    for n in range(1, 12):
        F.relu(np.ones(n, np.float32))
    assert len(graph_runner._plans) <= 5
    np.testing.assert_array_equal(F.relu(np.ones(1, np.float32)), [1.0])


def test_variables_may_get_new_arrays_but_not_other_shapes() -> None:
    v = Variable(np.ones((2, 3), np.float32))
    graph = Graph()
    graph.output(F.relu(graph.leaf(v)))
    executable = compile_graph(graph)
    v.data = np.full((2, 3), 2.0, np.float32)
    np.testing.assert_array_equal(executable.run()[0], v.data)
    for wrong in (np.ones((3, 3), np.float32), np.ones((2, 3))):
        v.data = wrong
        with pytest.raises(ValueError, match=r"was given where \(2, 3\), float32 was planned"):
            executable.run()


WRONG_RUNS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "too few": (lambda e: e.run([]), "^the graph has 1 inputs, 0 were given$"),
    "shape": (lambda e: e.run([np.ones(4, np.float32)]), r"shape \(4,\), float32 was given where \(3,\), float32"),
    "dtype": (lambda e: e.run([np.ones(3)]), r"shape \(3,\), float64 was given where \(3,\), float32"),
}


@pytest.mark.parametrize("run, message", WRONG_RUNS.values(), ids=WRONG_RUNS)
def test_wrong_inputs_of_a_run_are_refused(run: Callable, message: str) -> None:
    graph = Graph()
    graph.output(F.relu(graph.input((3,))))
    with pytest.raises(ValueError, match=message):
        run(compile_graph(graph))


def test_updates_must_fit_and_reach_the_array() -> None:
    graph = Graph()
    leaf = graph.leaf(Variable(np.zeros((2, 3), np.float32)))
    graph.update(leaf, F.add(leaf, 1.0))
    with pytest.raises(ValueError, match="this leaf has an update already"):
        graph.update(leaf, leaf)
    with pytest.raises(ValueError, match=r"an update of shape \(\), float32 for a leaf of \(2, 3\), float32"):
        graph.update(leaf, F.sum(leaf))
    fixed = np.zeros((2, 3), np.float32)
    fixed.flags.writeable = False
    for array in (np.zeros((3, 2), np.float32).T, fixed):
        graph = Graph()
        leaf = graph.leaf(array)
        graph.update(leaf, F.add(leaf, 1.0))
        with pytest.raises(ValueError, match="must be C-contiguous and writeable"):
            compile_graph(graph).run()


def test_an_output_may_be_an_input_or_appear_twice() -> None:
    graph = Graph()
    x = graph.input((3,))
    y = F.relu(x)
    graph.output(x, y, y, graph.leaf(np.arange(2.0)))
    given = np.array([1, -1, 2], np.float32)
    a, b, c, d = compile_graph(graph).run([given])
    np.testing.assert_array_equal(a, given)
    np.testing.assert_array_equal(b, [1, 0, 2])
    np.testing.assert_array_equal(c, b)
    np.testing.assert_array_equal(d, [0, 1])
    assert not any(np.shares_memory(p, q) for p, q in [(a, given), (b, c)])


def test_an_update_leaves_what_was_read_before() -> None:
    """A leaf that is updated, returned and used: the outputs are those of its old value."""
    v = Variable(np.array([1.0, 2.0]))
    graph = Graph()
    t = graph.leaf(v)
    graph.update(t, F.multiply(t, 10.0))
    graph.output(t, F.add(t, 1.0))
    old, more = compile_graph(graph).run()
    np.testing.assert_array_equal(v.data, [10, 20])
    np.testing.assert_array_equal(old, [1, 2])
    np.testing.assert_array_equal(more, [2, 3])


def test_leaves_may_exchange_their_values() -> None:
    a, b = Variable(np.array([1.0, 2.0])), Variable(np.array([3.0, 4.0]))
    graph = Graph()
    s, t = graph.leaf(a), graph.leaf(b)
    graph.update(s, t)
    graph.update(t, s)
    compile_graph(graph).run()
    np.testing.assert_array_equal(a.data, [3, 4])
    np.testing.assert_array_equal(b.data, [1, 2])


def updating(*values_of: Callable[[Any, Any, Any], Any]) -> list[np.ndarray]:
    """One step of SGD on w, in a graph that also returns what the functions make of w and its new value."""
    w, momentum = Variable(np.array([1.0, 2.0])), Variable(np.zeros(2))
    graph = Graph()
    leaf, state = graph.leaf(w), graph.leaf(momentum)
    hyper = graph.leaf(np.array([0.1, 0.0, 0.0, 0.0]))
    new, new_state = F.sgd_update(leaf, graph.leaf(np.ones(2)), state, hyper)
    graph.update(leaf, new)
    graph.update(state, new_state)
    graph.output(*(value(leaf, new, graph) for value in values_of))
    found = compile_graph(graph).run()
    np.testing.assert_array_equal(w.data, [0.9, 1.9])
    return found


def test_updates_in_place_wait_for_the_last_reader() -> None:
    """An operator that may overwrite a parameter does not do so while its old value is still needed."""
    old, doubled, new, total = updating(
        lambda w, new, g: w, lambda w, new, g: F.multiply(w, 2.0), lambda w, new, g: new, lambda w, new, g: F.sum(w)
    )
    np.testing.assert_array_equal(old, [1, 2])
    np.testing.assert_array_equal(doubled, [2, 4])
    np.testing.assert_array_equal(new, [0.9, 1.9])
    assert total == 3.0
    (doubled,) = updating(lambda w, new, g: F.multiply(w, 2.0))
    np.testing.assert_array_equal(doubled, [2, 4])


def test_one_value_may_update_several_leaves() -> None:
    other = Variable(np.zeros(2))

    def also(w: Any, new: Any, graph: Graph) -> Any:
        graph.update(graph.leaf(other), new)
        return new

    (new,) = updating(also)
    np.testing.assert_array_equal(other.data, new)


# ------------------------------------------------------------------------------------------------ threads

TRAIN = """
    import hashlib, json, sys
    import numpy as np
    import numbaconv as nc
    from numbaconv.kernels.cpu import native

    rng = np.random.default_rng(0)
    images = rng.standard_normal((64, 1, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, 64)

    def train(threads, batch):
        nc.set_threads(threads)
        trainer = nc.Trainer(nc.models.lenet5(seed=3), optimizer=nc.optim.SGD(lr=0.05, momentum=0.9), seed=1)
        losses = [trainer.step(images[:batch], labels[:batch]) for _ in range(5)]
        digest = hashlib.sha256(np.array(losses).tobytes())
        for name, array in sorted(trainer.model.state_dict().items()):
            digest.update(array.tobytes())
        return digest.hexdigest()

    counts = [int(n) for n in sys.argv[1:]]
    print(json.dumps({
        "digests": {batch: [train(n, batch) for n in counts] for batch in (64, 20, 16)},
        "compiled": native.compiled_now,
    }))
"""


def test_training_is_the_same_to_the_bit_for_any_number_of_threads() -> None:
    """Five steps of LeNet-5, with several blocks, with a ragged one and with one block shared by all threads."""
    first = json.loads(python(TRAIN, "2", "1", "2", NUMBA_NUM_THREADS="2"))
    second = json.loads(python(TRAIN, "1", NUMBA_NUM_THREADS="1"))
    third = json.loads(python(TRAIN, "3", NUMBA_NUM_THREADS="3"))
    for batch, digests in first["digests"].items():
        assert len({*digests, *second["digests"][batch], *third["digests"][batch]}) == 1, f"batch {batch}"
    assert len({digests[0] for digests in first["digests"].values()}) == 3
    assert second["compiled"] == third["compiled"] == []  # all of it lay in the cache by then


def test_set_threads_keeps_to_what_there_is() -> None:
    now, most = nc.get_threads(), cpu_runner.max_threads()
    for wrong in (0, -1, most + 1):
        with pytest.raises(ValueError, match=f"threads must lie between 1 and {most}, not {wrong}"):
            nc.set_threads(wrong)
    nc.set_threads(1)
    assert nc.get_threads() == 1
    nc.set_threads(now)


def test_python_threads_may_use_the_engine_at_once(few_tiles: None) -> None:
    """The same compiled function, eager calls and gradients from many threads; each gets its own results."""
    weight = normal(4, 2, 3, 3)
    batch = LANES + 1
    shared = nc.compile(lambda x: F.max_pool2d(F.conv2d(x, weight, padding=1), 2))
    inputs = [normal(batch, 2, 8, 8, seed=i) for i in range(6)]

    def work(x: np.ndarray) -> list[np.ndarray]:
        y, pullback = nc.vjp(lambda x: F.tanh(x), x)
        return [shared(x), F.sum(x), y, pullback(x)[0]]

    expected = [work(x) for x in inputs]
    wrong: list = []

    def repeat(i: int) -> None:
        try:
            for _ in range(15):
                for a, b in zip(work(inputs[i]), expected[i], strict=True):
                    np.testing.assert_array_equal(a, b)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=repeat, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]


FORK = """
    import os, sys
    import numpy as np
    import numbaconv.functional as F

    x = np.ones(5, np.float32)
    if sys.argv[1] == "after":
        F.relu(x)
    child = os.fork()
    if child == 0:
        try:
            print("child", F.relu(x).sum(), flush=True)
        except RuntimeError as error:
            print("child", error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", F.relu(x).sum())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_after_use_is_refused_in_clear_words() -> None:
    child, parent = python(FORK, "after").splitlines()
    assert "before this process was forked" in child and "'spawn' or 'forkserver'" in child
    assert parent == "parent 5.0"
    assert python(FORK, "before").splitlines() == ["child 5.0", "parent 5.0"]


# ------------------------------------------------------------------------------------------------ the bounds of arrays

GUARD = """
    import ctypes, mmap, sys
    import numpy as np
    import numbaconv as nc
    import numbaconv.functional as F
    from numbaconv.graph import runner
    from numbaconv.graph.autodiff import flatten_tree
    from numbaconv.kernels.cpu import target
    from numbaconv.ops import FUNCTIONS
    from reference import REFERENCES, make_arguments

    at_end, all_cases = sys.argv[1] == "end", sys.argv[2] == "all"
    row = target.instruction_set()
    target.TILES[row] = (*target.TILES[row][:2], ((4, 2),), ())
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    kept = []

    def empty(shape, dtype=np.float64):
        "An array that ends (or begins) where memory that must not be touched begins (or ends)."
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        pages = max(1, -(-size // page))
        memory = mmap.mmap(-1, (pages + 2) * page)
        kept.append(memory)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for guard in (start, start + (pages + 1) * page):
            assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
        offset = (pages + 1) * page - size if at_end else page
        return np.frombuffer(memory, dtype, size // dtype.itemsize, offset).reshape(shape)

    def guarded(a):
        found = empty(a.shape, a.dtype)
        found[...] = a
        return found

    class NumPy:  # the runner's results have guards as well
        def __getattr__(self, name):
            return empty if name == "empty" and armed else getattr(np, name)

    armed = False
    runner.np = NumPy()
    for name, (function, cases, _) in FUNCTIONS.items():
        for case in cases if all_cases else cases[:1]:
            for dtype in (np.float32, np.float64) if all_cases else (np.float64,):
                for batch in (3, target.LANES + 1):
                    arguments = make_arguments(name, case, dtype, batch)
                    if arguments is None:
                        continue
                    print(name, case, dtype.__name__, batch, flush=True)
                    leaves, rebuild = flatten_tree({k: v for k, v in arguments.items() if k in case.shapes})
                    leaves = [guarded(leaf) for leaf in leaves]
                    armed = True
                    function(**{**arguments, **rebuild(leaves)})
                    floats = [i for i, leaf in enumerate(leaves) if leaf.dtype.kind == "f"]
                    if dtype == np.float64 and REFERENCES[name].orders:
                        def call(*a):
                            values = [a[floats.index(i)] if i in floats else leaf for i, leaf in enumerate(leaves)]
                            return function(**{**arguments, **rebuild(values)})
                        y, pullback = nc.vjp(call, *(leaves[i] for i in floats))
                        pullback(tuple(map(guarded, y)) if isinstance(y, tuple) else guarded(y))
                    armed = False
    print("all")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guards memory with mprotect")
@pytest.mark.parametrize(
    "side, cases",
    [("end", "first"), *(pytest.param(side, "all", marks=pytest.mark.slow) for side in ("end", "begin"))],
)
def test_kernels_touch_nothing_beyond_their_arrays(side: str, cases: str) -> None:
    """Inputs and results lie between pages whose touch ends the process: the first case of a function, or all."""
    command = [sys.executable, "-c", textwrap.dedent(GUARD), side, cases]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    last = done.stdout.strip().rsplit("\n", 1)[-1]
    assert done.returncode == 0 and last == "all", f"{done.returncode} at {last}: {done.stderr[-2000:]}"


# ------------------------------------------------------------------------------------------------ the cache

SMALL = """
    import hashlib, json, warnings
    import numpy as np

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import numbaconv as nc
        import numbaconv.functional as F
        from numbaconv.kernels.cpu import native

        x = np.random.default_rng(0).standard_normal((20, 12)).astype(np.float32)
        y, pullback = nc.vjp(lambda x: F.sum(F.tanh(x)), x)
        results = [y, *pullback(y)]
    print(json.dumps({
        "compiled": native.compiled_now,
        "digest": hashlib.sha256(b"".join(a.tobytes() for a in results)).hexdigest(),
        "warnings": [str(w.message) for w in caught],
    }))
"""


def small(cache: Path, **changes: str) -> dict:
    return json.loads(python(SMALL, NUMBACONV_CACHE_DIR=str(cache), **changes))


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()}


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """It finds all object files, changes none and computes the same bits."""
    first = small(tmp_path)
    files = state(tmp_path)
    second = small(tmp_path)
    assert len(files) >= 3 and all(name.endswith(".o") for name in files)
    assert second["compiled"] == []
    assert state(tmp_path) == files
    assert second["digest"] == first["digest"]
    assert first["warnings"] == second["warnings"] == []


def test_damaged_object_files_are_compiled_again(tmp_path: Path) -> None:
    first = small(tmp_path)
    files = sorted((tmp_path / "kernels").glob("*.o"))
    contents = [f.read_bytes() for f in files]
    damages: list[Callable[[bytes], bytes]] = [
        lambda b: b"", lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"ELF" + b,
        lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:],
    ]  # fmt: skip
    for i, (file, content) in enumerate(zip(files, contents, strict=True)):
        file.write_bytes(damages[i % len(damages)](content))
    again = small(tmp_path)
    assert again["digest"] == first["digest"] and again["warnings"] == []
    assert all(kernel_cache.read_object(f) is not None for f in files)  # mended
    assert small(tmp_path)["compiled"] == []


@pytest.mark.parametrize("obstacle", ["file", "read-only"])
def test_without_a_cache_there_is_one_warning(tmp_path: Path, obstacle: str) -> None:
    cache = tmp_path / "cache"
    if obstacle == "file":
        cache.write_text("in the way")
    else:
        if os.name != "posix" or os.geteuid() == 0:
            pytest.skip("everything is writeable here")
        cache.mkdir(mode=0o555)
    found = small(cache)
    assert len(found["compiled"]) >= 3
    assert len(found["warnings"]) == 1
    assert "kernels are compiled anew in every process: no cache in" in found["warnings"][0]
    assert state(tmp_path) == {} or obstacle == "file"


def test_a_full_disk_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernel_cache.os, "replace", full)
    kernel_cache._warn_not_kept.cache_clear()
    with pytest.warns(UserWarning, match="could not be kept for the next process: .*No space left") as caught:
        for name in ("a.o", "b.o"):
            kernel_cache.keep_object(tmp_path / name, "symbol", b"code")
    assert len(caught) == 1
    assert list(tmp_path.iterdir()) == []  # nothing half-written stays


def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    env = environment(NUMBACONV_CACHE_DIR=str(tmp_path))
    command = [sys.executable, "-c", textwrap.dedent(SMALL)]
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [json.loads(process.communicate(timeout=300)[0]) for process in running]
    assert found[0]["digest"] == found[1]["digest"]
    assert found[0]["warnings"] == found[1]["warnings"] == []
    assert all(name.endswith(".o") for name in state(tmp_path))
    assert small(tmp_path)["compiled"] == []


def test_another_cpu_finds_nothing_of_this_ones(tmp_path: Path) -> None:
    """Object files of several instruction sets lie beside each other in one folder."""
    small(tmp_path)
    files = set(state(tmp_path))
    other = small(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    new = set(state(tmp_path))
    assert files < new and other["warnings"] == []
    assert small(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")["compiled"] == []
    assert small(tmp_path)["compiled"] == []
    assert set(state(tmp_path)) == new


def test_object_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.o"
    kernel_cache.write_object(path, "symbol", b"code\nwith lines\n")
    assert kernel_cache.read_object(path) == ("symbol", b"code\nwith lines\n")
    assert kernel_cache.read_object(tmp_path / "missing.o") is None
    for cut in range(path.stat().st_size):
        (tmp_path / "cut.o").write_bytes(path.read_bytes()[:cut])
        assert kernel_cache.read_object(tmp_path / "cut.o") is None
    assert {p.name for p in tmp_path.iterdir()} == {"a.o", "cut.o"}


def test_kernels_typed_into_a_console_work() -> None:
    """They have no source file, so they are compiled and not kept."""
    script = """
        import numpy as np
        from numbaconv.kernels.cpu.native import Pointer, call, compiled_now, kernel

        @kernel
        def add_one(T):
            def loop(begin, end, x: Pointer):
                for i in range(begin, end):
                    x[i] += 1
            return loop

        x = np.zeros(5, np.float32)
        k = add_one("float32")
        call(k.address(), [x.ctypes.data], 1, 4)
        print(x.tolist(), compiled_now, k.path())
    """
    assert python(script).strip() == "[0.0, 1.0, 1.0, 1.0, 0.0] ['add_one[float32]'] None"


def test_code_older_than_its_file_is_not_kept(tmp_path: Path) -> None:
    """A process that still has a kernel's old text in memory must not leave it under the digest of the new one."""
    text = """
        from numbaconv.kernels.cpu.native import Pointer, kernel

        @kernel
        def fill(T):
            def loop(begin, end, x: Pointer):
                for i in range(begin, end):
                    x[i] = 1
            return loop
    """
    script = f"""
        import sys
        import numpy as np
        from pathlib import Path
        sys.path.insert(0, {str(tmp_path)!r})
        file = Path({str(tmp_path / "filling.py")!r})
        import filling
        from numbaconv.kernels.cpu.native import call
        if {{change}}:
            file.write_text(file.read_text().replace("= 1", "= 2"))
        x = np.zeros(2, np.float32)
        k = filling.fill("float32")
        call(k.address(), [x.ctypes.data], 0, 2)
        print(x.tolist(), k.path() is not None)
    """
    (tmp_path / "filling.py").write_text(textwrap.dedent(text))
    for change, expected in ((True, "[1.0, 1.0] False"), (False, "[2.0, 2.0] True")):
        found = python(script.format(change=change), NUMBACONV_CACHE_DIR=str(tmp_path / "cache"))
        assert found.strip() == expected


def test_importing_compiles_nothing() -> None:
    """Neither the import of the rooms nor tracing a network makes machine code or starts threads."""
    script = """
        import sys
        import numbaconv as nc
        assert "numba" not in sys.modules and "numpy" not in sys.modules, "import numbaconv is not light"
        import numbaconv.functional as F
        from numbaconv.graph import Graph
        from numbaconv.kernels.cpu import native, runner
        nc.models.lenet5()(Graph().input((16, 1, 32, 32)))
        print(native.compiled_now, runner._has_started)
    """
    assert python(script).strip() == "[] False"


# ------------------------------------------------------------------------------------------------ the register tile


@kernel
def tile_alone(T, which, rows, vectors):
    """One register tile, called ``end - begin`` times."""
    tile = getattr(tile_module, which)(rows, vectors)

    def loop(
        begin, end, a: Pointer, b: Pointer, c: Pointer, counts: Ints(4), a_strides: Ints(4), b_strides: Ints(4),
        a_row: int, b_vector: int, c_row: int, c_vector: int, last: int,
    ):  # fmt: skip
        for _ in range(begin, end):
            tile(a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, last)

    return loop


TILES = [
    pytest.param(dtype, rows, vectors, id=f"{dtype}-{rows}x{vectors}")
    for dtype in ("float32", "float64")
    for rows, vectors in tile_module.tiles_for(np.dtype(dtype).itemsize)
]
KINDS = ["product", "product_first", "lane_sum"]


@pytest.mark.parametrize("dtype, rows, vectors", TILES)
def test_every_tile_of_the_table_is_a_sum_of_products(dtype: str, rows: int, vectors: int) -> None:
    """C[m, v] = sum over four loops of A[m] B[v], broadcast or lane by lane, written, added or cut."""
    rng = np.random.default_rng(0)
    counts = (2, 3, 2, 5)
    a_strides, b_strides, a_row, b_vector = (400, 97, 40, 3), (700, 210, 90, LANES), 11, 2 * LANES
    a = rng.standard_normal(4000).astype(dtype)
    b = rng.standard_normal(6000).astype(dtype)
    lanes = np.arange(LANES)
    for which in KINDS:
        expected = np.zeros((rows, vectors, LANES))
        for place in np.ndindex(*counts):
            i, j = np.dot(place, a_strides), np.dot(place, b_strides)
            for m in range(rows):
                left = a[i + m * a_row + (lanes if which == "lane_sum" else 0)].astype(np.float64)
                for v in range(vectors):
                    expected[m, v] += left * b[j + v * b_vector + lanes]
        for last in (0, 1) if which != "product_first" else (1, LANES, vectors * LANES - 1, vectors * LANES):
            start = rng.standard_normal((rows, vectors, 2 * LANES)).astype(dtype)
            c = start.copy()
            c_vector, c_row = 2 * LANES, 2 * LANES * vectors
            if which == "product_first":  # vectors stand side by side, and the first ``last`` numbers are written
                c = start = start.reshape(rows, -1).copy()
                start, c_vector = start.copy(), LANES
                wanted = start.astype(np.float64)
                wanted[:, :last] = expected.reshape(rows, -1)[:, :last]
            else:
                sums = expected.sum(axis=2, keepdims=True) if which == "lane_sum" else expected
                wanted = start.astype(np.float64)
                width = sums.shape[2]
                wanted[:, :, :width] = sums + (start[:, :, :width] if last else 0.0)
            words = (
                a.ctypes.data, b.ctypes.data, c.ctypes.data, *counts, *a_strides, *b_strides,
                a_row, b_vector, c_row, c_vector, last,
            )  # fmt: skip
            call(tile_alone(dtype, which=which, rows=rows, vectors=vectors).address(), words, 0, 1)
            assert_close(c, wanted, 60 * LANES)


def innermost_loops(assembly: str) -> list[list[str]]:
    """Instructions from a label to a jump back to it, for loops without loops inside."""
    lines = [line.strip() for line in assembly.splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    found = []
    for i, line in enumerate(lines):
        jump = re.match(r"j\w+\s+(\S+)$", line)
        if jump and labels.get(jump[1], i) < i:
            found.append((labels[jump[1]], i + 1))
    innermost = [a for a in found if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in found)]
    return [lines[start:end] for start, end in innermost]


#: Per instruction set: the widest register, registers that must not occur, and what multiplies.
MACHINE = {
    "avx512": ("zmm", [], r"vfn?madd\d+p[sd]"),
    "avx2": ("ymm", ["zmm"], r"vfn?madd\d+p[sd]"),
    "simd128": ("xmm", ["zmm", "ymm"], r"v?mulp[sd]|vfn?madd\d+p[sd]"),
}


def check_machine_code(assembly: str, multiplications: int | None) -> None:
    """Loops that multiply do so in the widest registers, and move no vector between registers and stack."""
    widest, absent, multiply = MACHINE[target.instruction_set()]
    hot = [loop for loop in innermost_loops(assembly) if any(re.match(multiply, line) for line in loop)]
    hot = [loop for loop in hot if sum(widest in line for line in loop) > 1]
    assert hot, "no loop multiplies vectors"
    assert not any(f"%{register}" in assembly for register in absent)
    for loop in hot:
        products = [line for line in loop if re.match(multiply, line)]
        assert all(f"%{widest}" in line for line in products)
        assert multiplications is None or len(products) == multiplications
        spills = [line for line in loop if "(%rsp" in line and re.search(r"%[xyz]mm", line)]
        assert not spills, "\n".join(spills)
        assert not any(line.startswith("call") for line in loop)


@pytest.mark.skipif(not X86, reason="reads x86 assembly")
@pytest.mark.parametrize("dtype, rows, vectors", TILES)
def test_every_tile_of_the_table_stays_in_registers(dtype: str, rows: int, vectors: int) -> None:
    """Exactly rows x vectors fused multiply-adds a round, and no spills."""
    registers = np.dtype(dtype).itemsize // 4
    for which in KINDS:
        assembly = tile_alone(dtype, which=which, rows=rows, vectors=vectors).assembly()
        check_machine_code(assembly, rows * vectors * registers)


@pytest.mark.skipif(not X86, reason="reads x86 assembly")
def test_whole_kernels_stay_in_registers() -> None:
    """The loops of a convolution and its weight gradient, as LeNet-5's second layer has them, in both layouts."""
    rows, vectors = tile_module.tiles_for(4)[0]
    options = {"rows": rows, "vectors": vectors}
    kernels = [
        correlate("float32", images=True, tail=0, activation=None, bias=False, **options),
        correlate("float32", images=False, tail=0, activation="tanh", bias=True, **options),
        correlate_weights("float32", form="images", row_tail=0, vector_tail=0, merge=True, **options),
        correlate_weights("float32", form="turned", row_tail=0, vector_tail=0, merge=False, **options),
    ]
    for specialised in kernels:
        check_machine_code(specialised.assembly(), None)


@kernel
def reductions(T):
    """Sum and maximum of the lanes of each vector; a unit is a vector."""

    def loop(begin, end, x: Pointer, y: Pointer):
        for i in range(begin, end):
            y[2 * i] = reduce_add(load(x, i * LANES))
            y[2 * i + 1] = reduce_max(load(x, i * LANES))

    return loop


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_are_reduced_in_a_fixed_order(dtype: str) -> None:
    x = normal(50, LANES, dtype=dtype)
    x[7, LANES - 1], x[8, 0] = np.nan, np.nan
    y = np.empty((50, 2), dtype)
    call(reductions(dtype).address(), (x.ctypes.data, y.ctypes.data), 0, 50)
    half, sums = LANES, x.copy()
    while half > 1:
        half //= 2
        sums = sums[:, :half] + sums[:, half : 2 * half]
    np.testing.assert_array_equal(y[:, 0], sums[:, 0])
    np.testing.assert_array_equal(y[:, 1], x.max(axis=1))


# ----------------------------------------------------------------------------------------------- other instruction sets


def test_the_table_has_lanes_for_every_instruction_set() -> None:
    assert {name: row[0] for name, row in target.TILES.items()} == {"avx512": 16, "avx2": 8, "simd128": 4}
    assert target.TILES[target.instruction_set()][0] == LANES


def run_tests(instruction_set: str, *tests: str) -> None:
    """Run tests of this folder in a process that is compiled for another instruction set."""
    paths = [f"{HERE}/{test}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *paths]
    done = subprocess.run(
        command, env=environment(**OLDER[instruction_set]), cwd=HERE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.skipif(not X86, reason="another x86 is only compiled for on x86")
@pytest.mark.skipif(bool(os.environ.get("NUMBA_CPU_NAME")), reason="this is such a process")
@pytest.mark.parametrize("instruction_set", OLDER)
def test_older_instruction_sets(instruction_set: str) -> None:
    """Their lanes, the machine code of their tiles, elementary functions and a few operators."""
    script = "from numbaconv.kernels.cpu import target; print(target.instruction_set(), target.LANES)"
    assert python(script, **OLDER[instruction_set]).split() == [instruction_set, str(target.TILES[instruction_set][0])]
    run_tests(
        instruction_set,
        "test_vector_math.py",
        "test_engine.py::test_lanes_are_reduced_in_a_fixed_order",
        "test_engine.py::test_every_tile_of_the_table_stays_in_registers[float32-8x1]",
        "test_engine.py::test_every_tile_of_the_table_stays_in_registers[float32-4x2]",
        "test_ops.py::test_case[max_pool2d-1-float32]",
        "test_ops.py::test_case[softmax-1-float32]",
    )


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="another x86 is only compiled for on x86")
@pytest.mark.parametrize("instruction_set", OLDER)
def test_older_instruction_sets_convolve(instruction_set: str) -> None:
    """Convolutions and fully connected layers with their gradients, every tile, pooling and losses."""
    cases = ["conv2d-1", "conv2d-2", "conv2d-3", "linear-1"]
    more = ["avg_pool2d-1", "cross_entropy-1", "log_softmax-1", "conv2d-0"]
    run_tests(
        instruction_set,
        "test_engine.py::test_every_tile_of_the_table_is_a_sum_of_products",
        "test_engine.py::test_every_tile_of_the_table_stays_in_registers",
        *(f"test_ops.py::test_gradients[{case}-float32]" for case in cases),
        *(f"test_ops.py::test_case_with_other_batches[{case}-float32]" for case in (*cases, *more)),
        *(f"test_ops.py::test_case_with_other_batches[{case}-float64]" for case in ("conv2d-2", *more)),
    )


# ------------------------------------------------------------------------------------------------ what is run when


def chain(batch: int = 2 * LANES) -> tuple[Graph, list[np.ndarray]]:
    """Two convolutions, each with a normalised, rectified activation behind it, and their weights' gradients."""
    rng = np.random.default_rng(0)
    y, graph = rng.standard_normal((batch, 3, 8, 8), np.float32), Graph()
    inputs, weights, y = [y], [], graph.input(y.shape)
    for shape in ((32, 3, 3, 3), (32, 32, 3, 3)):
        weights.append(graph.leaf(Variable(rng.standard_normal(shape, np.float32))))
        scale, shift = (graph.leaf(rng.standard_normal(32, np.float32)) for _ in range(2))
        y = F.relu(F.batch_norm(F.conv2d(y, weights[-1], padding=1), None, None, scale, shift, True))
    graph.output(*gradients(F.sum(F.multiply(y, y)), weights))
    return graph, inputs


def test_activations_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = chain()
    plan = compile_graph(graph).plan
    found = compile_graph(graph).run(inputs)
    monkeypatch.setattr(graph_runner, "_plans", {})
    monkeypatch.setattr(graph_runner, "rematerialise", lambda steps, threads, kept: steps)
    keeping = compile_graph(graph)
    assert len(plan.steps) > len(keeping.plan.steps)
    assert plan.memory.bytes < keeping.plan.memory.bytes
    for once, again in zip(keeping.run(inputs), found, strict=True):
        np.testing.assert_array_equal(once, again)


def test_other_forms_of_values_are_made_late() -> None:
    """Turned pixels, which only the weight gradient reads, are not made while the forward pass runs."""
    steps = [step for phase in compile_graph(chain()[0]).plan.phases for step in phase.steps]
    turns = [i for i, step in enumerate(steps) if "turn_pixels" in step.kernel.label]
    losses = [i for i, step in enumerate(steps) if "sum" in step.label]
    assert turns and min(turns) > min(losses)


def test_frozen_functions_prepare_once() -> None:
    model = nc.models.build("resnet20", num_classes=10).eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    frozen, live = nc.compile(model, freeze=True), nc.compile(model)
    first = frozen(x)
    assert_close(first, live(x), tolerance=1e-4)
    for parameter in model.parameters():
        parameter.data[...] = 0.0
    np.testing.assert_array_equal(frozen(x), first)
    assert_close(live(x), np.zeros((2, 10), np.float32))
    other = frozen(-x)
    np.testing.assert_array_equal(frozen(x), first)
    assert np.abs(other - first).max() > 0


def test_frozen_work_is_left_out_of_later_runs() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 16, 3, 3), np.float32)
    graph = Graph()
    graph.output(F.conv2d(graph.input((1, 16, 9, 9)), graph.leaf(weight)))
    plan = compile_graph(graph, freeze=True).plan
    prepared = [step.kernel.label for phase in plan.phases[: plan.prepared] for step in phase.steps]
    always = [step.kernel.label for phase in plan.phases[plan.prepared :] for step in phase.steps]
    assert any("pack" in label for label in prepared) and not any("pack" in label for label in always)
