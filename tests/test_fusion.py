"""Fusion: which passes over memory a plan makes, and that results stay what they were."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.graph import Graph, Variable, compile_graph, gradients
from numbaconv.graph.cluster import Fused
from numbaconv.graph.fuse import fuse
from numbaconv.graph.graph import Node, Tensor
from numbaconv.graph.layout import Assembly
from numbaconv.kernels.cpu.target import LANES
from numbaconv.ops import OPERATORS

BATCHES = [1, 3, LANES, LANES + 1]  # channels in lanes, images in lanes, and lanes without an image


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def fused_nodes(f: Callable, *shapes: tuple[int, ...]) -> list[Node]:
    """The fused nodes of the graph of ``f`` on inputs of these shapes; nothing is compiled."""
    graph = Graph()
    result = f(*(graph.input(shape) for shape in shapes))
    graph.output(*(result if isinstance(result, (tuple, list)) else (result,)))
    return [node for node in fuse(graph) if isinstance(node.op, Fused)]


def names(node: Node) -> list[str]:
    return [name for name, _ in node.attrs["program"]]


def over(channels: Any, x: Any) -> Any:
    return OPERATORS["channel_broadcast"](channels, shape=x.shape)


def channel_sum(x: Any) -> Any:
    return OPERATORS["channel_sum"](x)


# ------------------------------------------------------------------------------------------------ what is fused

SHAPE = (LANES + 1, 3, 4, 4)


def test_a_chain_is_one_pass_whatever_its_length() -> None:
    (node,) = fused_nodes(lambda x, y: F.tanh(F.add(F.multiply(F.relu(x), y), x) * 2.0), SHAPE, SHAPE)
    assert names(node) == ["relu", "multiply", "add", "scale", "tanh"]
    assert node.attrs["operands"] == "eenn" and len(node.attrs["stores"]) == 1


def test_equal_instructions_are_run_once() -> None:
    (node,) = fused_nodes(lambda x: F.multiply(F.relu(x), F.relu(x)), SHAPE)
    assert names(node) == ["relu", "multiply"]


def test_results_of_one_pass_may_be_several() -> None:
    (node,) = fused_nodes(lambda x, y: (F.add(x, y), F.multiply(x, y), channel_sum(F.multiply(x, y))), SHAPE, SHAPE)
    assert len(node.attrs["stores"]) == 2 and [kind for kind, _ in node.attrs["statistics"]] == ["sum"]


def test_what_depends_on_a_sum_is_a_pass_of_its_own() -> None:
    first, second = fused_nodes(lambda x: F.multiply(x, over(channel_sum(F.relu(x)), x)), SHAPE)
    assert names(first) == ["relu"] and not first.attrs["stores"]
    assert names(second) == ["multiply"] and second.attrs["operands"] == "ec"


def test_results_that_depend_on_each_other_through_other_operators_are_apart() -> None:
    def f(x: Tensor) -> tuple:
        y = F.relu(x)
        pooled = F.max_pool2d(y, 3, 1, 1)
        return y, F.multiply(y, pooled), F.add(x, pooled)

    first, second = fused_nodes(f, SHAPE)
    assert names(first) == ["relu"]
    # relu is cheap and x is read anyway: y is not read again
    assert set(names(second)) == {"relu", "multiply", "add"} and second.attrs["operands"] == "ee"


def test_no_costly_function_is_calculated_twice() -> None:
    def f(x: Tensor) -> tuple:
        y = F.tanh(x)
        return F.max_pool2d(F.add(y, x), 3, 1, 1), F.add(F.avg_pool2d(F.multiply(y, y), 3, 1, 1), y)

    assert sum(names(node).count("tanh") for node in fused_nodes(f, SHAPE)) == 1


def test_many_readers_of_many_operands_share_a_stored_result() -> None:
    def f(a: Tensor, b: Tensor, c: Tensor) -> list:
        y = F.add(F.multiply(a, b), c)
        return [F.max_pool2d(F.multiply(y, z), 2) for z in (a, F.relu(y), F.max_pool2d(y, 3, 1, 1))]

    assert sum(names(node).count("add") for node in fused_nodes(f, SHAPE, SHAPE, SHAPE)) == 1


def test_long_chains_are_cut() -> None:
    def f(x: Tensor) -> Tensor:
        for i in range(200):
            x = F.relu(x) * (1.0 + i)
        return x

    found = fused_nodes(f, SHAPE)
    assert 1 < len(found) < 40 and max(len(names(node)) for node in found) <= 50


def test_equal_graphs_are_fused_alike() -> None:
    def attrs() -> list[dict]:
        return [node.attrs for node in fused_nodes(block_step, (LANES, 4, 6, 6))]

    assert attrs() == attrs()


def block_step(x: Tensor) -> list[Tensor]:
    """Result and gradients of three convolutions with batch norm and a shortcut, as in residual networks."""
    graph = x.graph
    w = [graph.leaf(normal(4, 4, 3, 3, seed=i, dtype=np.float32)) for i in range(3)]
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)

    def norm(y: Tensor) -> Tensor:
        return F.batch_norm(y, None, None, ones, zeros, training=True)

    h = F.relu(norm(F.conv2d(x, w[0], padding=1)))
    y = F.relu(norm(F.conv2d(h, w[1], padding=1)))
    y = F.relu(F.add(norm(F.conv2d(y, w[2], padding=1)), h))
    pooled = F.avg_pool2d(y, 2)
    return [y, *gradients(F.mean(F.multiply(pooled, pooled)), w)]


def test_batch_norm_takes_one_pass_each_way_beside_its_statistics() -> None:
    nodes = fused_nodes(block_step, (LANES, 4, 6, 6))
    nodes = [node for node in nodes if any(t.shape == (LANES, 4, 6, 6) for t in node.inputs)]
    kinds = [tuple(kind for kind, _ in node.attrs["statistics"]) for node in nodes]
    assert [kinds.count(kind) for kind in ((), ("moments",), ("sum", "sum"))] == [6, 3, 3]
    forward = [names(node) for node in nodes if node.attrs["stores"] and names(node)[-1] == "relu"]
    norm = ["subtract", "multiply", "add"]
    assert forward == [[*norm, "relu"], [*norm, "relu"], [*norm, "add", "relu"]]
    at_shortcut, behind, at_branch = (node for node, kind in zip(nodes, kinds, strict=True) if len(kind) == 2)
    # what masks and adds gradients stores the sum where three passes read it, else nothing
    assert [len(node.attrs["stores"]) for node in (at_shortcut, behind, at_branch)] == [1, 0, 1]
    assert names(at_branch)[0] == "add"
    # the mask is calculated anew of what the sums read anyway
    assert "relu" in names(behind) and behind.attrs["operands"].count("e") == 2


def test_updates_of_small_states_are_one_step_in_place() -> None:
    graph = Graph()
    mean = Variable(normal(5, dtype=np.float32), trainable=False)
    y = F.batch_norm(graph.input((LANES, 5, 2, 2)), mean, None, training=True)
    graph.output(y)
    program = Assembly(graph).program
    leaf = graph.leaf(mean)
    steps = [step for step in program.steps if any(b.leaf == graph.leaves.index(leaf) for b in step.outputs)]
    assert len(steps) == 1 and steps[0].kernel.kernel.make.__name__ == "pointwise"


# ------------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_kernel_of_everything(batch: int, dtype: type) -> None:
    """Operands of all kinds, several stored results, and both statistics, in both layouts."""
    x, y = normal(batch, 5, 3, 5, dtype=dtype), normal(batch, 5, 3, 5, seed=1, dtype=dtype)
    c, s = normal(5, seed=2, dtype=dtype), np.asarray(normal(1, seed=3, dtype=dtype)[0])
    graph = Graph()
    inputs = [graph.input(a.shape, a.dtype) for a in (x, y, c, s)]
    tx, ty, tc, ts = inputs
    v = F.add(F.multiply(F.relu(tx), over(tc, tx)), F.multiply(ty, OPERATORS["expand"](ts, shape=tx.shape)) * 0.5)
    graph.output(v, F.add(v, tx) + 1.0, channel_sum(v), *OPERATORS["channel_moments"](F.add(v, tx)))
    assert sum(isinstance(node.op, Fused) for node in fuse(graph)) == 1
    found = compile_graph(graph).run([x, y, c, s])
    x, y, c, s = (a.astype(np.float64) for a in (x, y, c, s))
    v = np.maximum(x, 0) * c[:, None, None] + 0.5 * y * s
    axes = (0, 2, 3)
    expected = (v, v + x + 1, v.sum(axes), (v + x).mean(axes), (v + x).var(axes))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert_close(a, b, 100)


@pytest.mark.parametrize("batch", BATCHES)
def test_training_with_batch_norm_gives_what_its_operators_give_one_by_one(batch: int, few_tiles: None) -> None:
    x = normal(batch, 4, 6, 6, dtype=np.float32)
    graph = Graph()
    leaf = graph.input(x.shape)
    graph.output(*block_step(leaf))
    at_once = compile_graph(graph).run([x])
    one_by_one = run_one_by_one(graph, leaf, x)
    for a, b in zip(at_once, one_by_one, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def run_one_by_one(graph: Graph, leaf: Tensor, x: np.ndarray) -> list[np.ndarray]:
    """Every node of ``graph`` in a graph of its own."""
    values = {id(t): source for t, source in zip(graph.leaves, graph.sources, strict=True)} | {id(leaf): x}
    for node in graph.live_nodes():
        found = node.op(*(values[id(t)] for t in node.inputs), **node.attrs)
        found = found if isinstance(found, tuple) else (found,)
        values.update((id(t), value) for t, value in zip(node.outputs, found, strict=True))
    return [values[id(t)] for t in graph.outputs]


def test_sums_of_repeated_numbers() -> None:
    """Nothing of the kernel's shape is read: the numbers are repeated in memory first."""
    c = normal(3)
    f = nc.compile(lambda c: channel_sum(F.relu(over(c, np.empty(SHAPE)))))
    assert_close(f(c), np.maximum(c, 0) * (SHAPE[0] * 16), 10)


def test_moments_of_a_constant_and_of_what_is_not_a_number() -> None:
    for batch in BATCHES:
        x = normal(batch, 3, 4, 4, dtype=np.float32)
        x[:, 1], x[-1, 2, -1, -1] = 1e6, np.nan
        mean, var = OPERATORS["channel_moments"](x)
        assert (mean[1], var[1]) == (1e6, 0)
        assert np.isnan(mean[2]) and np.isnan(var[2])
        assert_close(mean[0], x[:, 0].astype(np.float64).mean(), 40)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_moments_do_not_cancel_far_from_zero(offset: float) -> None:
    for batch in BATCHES:
        x = (offset + normal(batch, 2, 9, 7)).astype(np.float32)
        x[0] += offset  # images apart from each other
        mean, var = OPERATORS["channel_moments"](x)
        exact = x.astype(np.float64)
        np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(var, exact.var((0, 2, 3)), rtol=1e-5)


# ------------------------------------------------------------------------------------------------ folding


def trained_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    for i, array in enumerate((norm.running_mean, norm.weight, norm.bias)):
        array.data[...] = normal(channels, seed=i)
    norm.running_var.data[...] = 0.5 + normal(channels, seed=4) ** 2
    return norm.eval()


@pytest.mark.parametrize("batch", [3, LANES + 1])
@pytest.mark.parametrize("bias", [False, True])
def test_a_trained_norm_and_an_activation_vanish_in_the_convolution(batch: int, bias: bool, few_tiles: None) -> None:
    conv, norm = nn.Conv2d(3, 5, 3, padding=1, bias=bias), trained_norm(5)
    x = normal(batch, 3, 6, 5, dtype=np.float32)
    graph = Graph()
    graph.output(F.relu(norm.forward(conv.forward(graph.input(x.shape)))))
    big = [step.label for step in Assembly(graph).program.steps if step.scope == "block"]
    assert big == ["reorder", "conv", "output"]
    step = compile_graph(graph)
    for scale in (1.0, 2.0):  # parameters may change between runs
        norm.weight.data *= scale
        y = conv(x).astype(np.float64)
        mean, var, weight, shift = (
            a.data[:, None, None].astype(np.float64)
            for a in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        expected = np.maximum((y - mean) / np.sqrt(var + norm.eps) * weight + shift, 0)
        np.testing.assert_allclose(step.run([x])[0], expected, rtol=1e-5, atol=1e-5)


def test_a_norm_is_not_folded_where_the_sums_are_read_again() -> None:
    conv, norm = nn.Conv2d(3, 5, 3), trained_norm(5)
    graph = Graph()
    y = conv.forward(graph.input((LANES, 3, 6, 6)))
    graph.output(norm.forward(y), y)
    assert not any(node.op.name == "scale_filters" for node in fuse(graph))


# ------------------------------------------------------------------------------------------------ users' functions

TYPED = """
import numpy as np
import numbaconv as nc
import numbaconv.functional as F
from numbaconv.kernels.cpu.elementwise import elementwise
from numbaconv.kernels.cpu.vector import where
from numbaconv.ops.core import Operator, operator

class Bent(Operator):
    def shape(self, x, *, slope):
        return x

bent = operator(Bent)

@elementwise("bent")
def bent_function(x, slope):
    return where(x < 0.0, x * slope, x)

f = nc.compile(lambda x: F.add(bent(x, slope=0.25), x))
print(f(np.array([[-4.0, 2.0]])).tolist())
"""


@pytest.mark.parametrize("typed", [True, False])
def test_functions_of_users_join_chains(typed: bool, tmp_path: Path) -> None:
    """With attributes as parameters, from a file or typed into a console."""
    script = tmp_path / "script.py"
    script.write_text(TYPED)
    command = ["-c", TYPED] if typed else [str(script)]
    paths = [str(Path(nc.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[-5.0, 4.0]]"
