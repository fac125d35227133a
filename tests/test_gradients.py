"""Gradients against finite differences in float64: of every case, of gradients, and of gradients of gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from reference import REFERENCES, assert_close, make_arguments

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.graph import Graph, compile_graph, gradients
from numbaconv.graph.autodiff import flatten_tree
from numbaconv.graph.check import Potential, check_gradient
from numbaconv.kernels.cpu.target import LANES
from numbaconv.ops import FUNCTIONS, OPERATORS

pytestmark = pytest.mark.usefixtures("few_tiles")

KEY = np.array([1, 2])


class Example(NamedTuple):
    """A function of float64 arrays and the arrays at which it is differentiated."""

    function: Callable
    primals: tuple[np.ndarray, ...]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def from_case(name: str, case: Any) -> Example:
    arguments = make_arguments(name, case, np.float64)
    leaves, rebuild = flatten_tree({key: arguments[key] for key in case.shapes})
    floats = [i for i, leaf in enumerate(leaves) if leaf.dtype == np.float64]
    function = FUNCTIONS[name].function

    def call(*primals: Any) -> Any:
        values = list(leaves)
        for i, primal in zip(floats, primals, strict=True):
            values[i] = primal
        return function(**{**arguments, **rebuild(values)})

    return Example(call, tuple(leaves[i] for i in floats))


EXAMPLES = {
    f"{name}-{i}": from_case(name, case)
    for name, row in FUNCTIONS.items()
    for i, case in enumerate(row.cases)
    if REFERENCES[name].orders
}
EXAMPLES["rrelu-training"] = Example(lambda x: F.rrelu(x, training=True, key=KEY), (normal(LANES + 1, 3, 4),))
EXAMPLES["cross_entropy-pixels"] = Example(
    lambda x: F.cross_entropy(
        x, np.arange(LANES * 6).reshape(LANES, 2, 3) % 4, reduction="none", label_smoothing=0.1
    ),
    (normal(LANES, 4, 2, 3),),
)
EXAMPLES["add-number"] = Example(lambda x, y: F.add(x, F.sum(y)), (normal(3, 4), normal(5)))
EXAMPLES["divide-number"] = Example(lambda x: F.divide(3.0, F.exp(x)), (normal(3, 4),))
EXAMPLES["used-twice"] = Example(lambda x: F.multiply(F.tanh(x), F.add(x, F.relu(x))), (normal(LANES, 5),))
for batch in (2, LANES + 1):  # reached only by gradients of fourth order
    EXAMPLES[f"channel_broadcast-{batch}"] = Example(
        lambda b, batch=batch: OPERATORS["channel_broadcast"](b, shape=(batch, 3, 2, 2)), (normal(3),)
    )

#: Smaller examples for gradients of third order, among them all operators that only gradients make.
SMALL = {
    "softmax": Example(lambda x: F.softmax(x, 1), (normal(LANES + 1, 4),)),
    "softmax-few": Example(lambda x: F.softmax(x, 1), (normal(2, 4),)),
    "log_softmax": Example(lambda x: F.log_softmax(x, 1), (normal(LANES, 3),)),
    "cross_entropy": Example(lambda x: F.cross_entropy(x, np.arange(LANES) % 3, reduction="none"), (normal(LANES, 3),)),
    "max_pool2d": Example(lambda x: F.max_pool2d(x, 3, 2, 1), (normal(2, 3, 5, 6),)),
    "avg_pool2d": Example(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (normal(2, 3, 5, 6),)),
    "conv2d": Example(
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=1),
        (normal(LANES, 2, 5, 4), normal(3, 2, 3, 3, seed=1), normal(3, seed=2)),
    ),
    "linear": Example(F.linear, (normal(3, 4), normal(5, 4, seed=1), normal(5, seed=2))),
    "tanh": Example(F.tanh, (normal(7),)),
    "sigmoid": Example(F.sigmoid, (normal(7),)),
    "relu": Example(F.relu, (normal(7),)),
    "exp": Example(F.exp, (normal(7),)),
    "log": Example(F.log, (np.exp(normal(7)),)),
    "divide": Example(F.divide, (normal(3, 2), 1.0 + normal(3, 2, seed=1) ** 2)),
    "mean": Example(lambda x: F.mean(F.multiply(x, x)), (normal(3, 4),)),
}


def floats(results: Any) -> tuple:
    """The results that have gradients."""
    return tuple(y for y in (results if isinstance(results, tuple) else (results,)) if y.dtype == np.float64)


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_gradient(example: Example) -> None:
    check_gradient(*example, 0, 1e-7)


def twice_differentiable(name: str) -> bool:
    function = name.rsplit("-", 1)[0]
    return function not in REFERENCES or REFERENCES[function].orders > 1


TWICE = {name: example for name, example in EXAMPLES.items() if twice_differentiable(name)}

#: Seconds each, for kernels that no other test needs.
LONG = ("lp_pool", "tree_pool", "gated_pool", "mixed_pool", "conv_transpose", "convolve", "learned")


@pytest.mark.parametrize(
    "example",
    [pytest.param(e, id=name, marks=[pytest.mark.slow] * name.startswith(LONG)) for name, e in TWICE.items()],
)
def test_second_derivative(example: Example) -> None:
    check_gradient(*example, 1, 1e-6)


@pytest.mark.parametrize("example", SMALL.values(), ids=SMALL)
def test_third_derivative(example: Example) -> None:
    check_gradient(*example, 2, 1e-5)


def differentiated(example: Example, order: int) -> set[str]:
    """Names of the operators whose gradient rules ``check_gradient`` uses."""
    potential = Potential(*example, order)
    needed = potential.graph.live_from([potential.value])
    reached = {id(t) for t in potential.inputs}
    names = set()
    for node in potential.graph.nodes:
        if id(node) in needed and any(id(t) in reached for t in node.inputs):
            names.add(node.op.name)
            reached |= {id(t) for t in node.outputs}
    return names


def test_every_differentiable_operator_is_checked() -> None:
    checked = set().union(
        *(differentiated(e, 0) for e in EXAMPLES.values()),
        *(differentiated(e, 1) for e in TWICE.values()),
        *(differentiated(e, 2) for e in SMALL.values()),
    )
    assert {name for name, row in OPERATORS.items() if row.differentiable} - checked == set()


def test_every_public_function_is_checked_or_has_no_gradient() -> None:
    checked = {name.rsplit("-", 1)[0] for name in EXAMPLES}
    assert set(FUNCTIONS) - checked == {name for name, row in REFERENCES.items() if not row.orders}
    rows = ("correct", "jitter_colors", "take_images", "take_labels", "sgd_update", "adam_update")
    assert not any(OPERATORS[name].differentiable for name in rows)


# ------------------------------------------------------------------------------------------------ vjp


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.rsplit("-", 1)[0] in FUNCTIONS])
def test_vjp_is_the_adjoint_of_the_derivative(name: str) -> None:
    """<pullback(g), d> = <g, derivative along d> for every case."""
    example = EXAMPLES[name]

    def results(*primals: Any) -> tuple:
        return floats(example.function(*primals))

    ys, pullback = nc.vjp(results, *example.primals)
    for y, again in zip(ys, results(*example.primals), strict=True):
        assert_close(y, again)  # the same bits but where a function of several operators is one pass in a trace
    grads = tuple(normal(*y.shape, seed=3 + 100 * i) for i, y in enumerate(ys))
    found = pullback(grads)
    step, directions = 1e-6, [normal(*a.shape, seed=4 + i) for i, a in enumerate(example.primals)]
    high, low = (
        results(*(a + sign * step * d for a, d in zip(example.primals, directions, strict=True))) for sign in (1, -1)
    )
    expected = sum(float(np.vdot(g, (a - b) / (2 * step))) for g, a, b in zip(grads, high, low, strict=True))
    slope = sum(float(np.vdot(a, d)) for a, d in zip(found, directions, strict=True))
    size = sum(float(np.linalg.norm(g) * np.linalg.norm(np.ravel(y))) for g, y in zip(grads, ys, strict=True))
    assert abs(slope - expected) <= 1e-7 * (1.0 + size)


def test_vjp_of_several_results_and_trees() -> None:
    a, b = normal(3, 4), normal(3, 4, seed=1)

    def f(p: dict, q: tuple) -> dict:
        return {"product": F.multiply(p["a"], q[0]), "rest": (F.tanh(p["a"]), [p["a"]])}

    result, pullback = nc.vjp(f, {"a": a}, (b,))
    np.testing.assert_array_equal(result["product"], a * b)
    np.testing.assert_array_equal(result["rest"][1][0], a)
    g = [normal(3, 4, seed=i) for i in (2, 3, 4)]
    by_p, by_q = pullback({"product": g[0], "rest": (g[1], [g[2]])})
    assert_close(by_p["a"], g[0] * b + g[1] * (1 - np.tanh(a) ** 2) + g[2])
    assert isinstance(by_q, tuple)
    assert_close(by_q[0], g[0] * a)
    assert_close(pullback({"product": 2 * g[0], "rest": (g[1], [g[2]])})[1][0], 2 * g[0] * a)  # and once more


def test_vjp_of_arguments_that_do_not_matter() -> None:
    """Unused arguments get zeros, integers too; constants of the function get nothing."""
    x, unused, labels = normal(3, 4), normal(2, 2), np.array([0, 1, 3])
    y, pullback = nc.vjp(lambda x, unused, labels: F.cross_entropy(x, labels), x, unused, labels)
    by_x, by_unused, by_labels = pullback(np.ones(()))
    assert_close(by_x, (np.exp(x) / np.exp(x).sum(1, keepdims=True) - np.eye(4)[labels]) / 3)
    np.testing.assert_array_equal(by_unused, np.zeros((2, 2)))
    assert by_labels.shape == (3,) and not by_labels.any()
    constant, pullback = nc.vjp(lambda x: np.arange(3.0), x)
    np.testing.assert_array_equal(constant, np.arange(3.0))
    np.testing.assert_array_equal(pullback(np.ones(3))[0], np.zeros_like(x))


def test_vjp_takes_gradients_of_other_dtypes_and_orders() -> None:
    x = normal(3, 4).astype(np.float32)
    _, pullback = nc.vjp(F.tanh, x)
    (expected,) = pullback(np.ones((3, 4), np.float32))
    for g in (np.ones((3, 4)), np.ones((4, 3)).T, np.ones((3, 4), np.int64)):
        (found,) = pullback(g)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_vjp_keeps_the_values_of_the_moment() -> None:
    """The pullback belongs to the primals of its call, whatever happens to the arrays afterwards."""
    x, w = normal(2, 3), normal(4, 3, seed=1)
    _, pullback = nc.vjp(F.linear, x, w)
    before = [x.copy(), w.copy()]
    x[...], w[...] = 0.0, 0.0
    g = normal(2, 4, seed=2)
    by_x, by_w = pullback(g)
    assert_close(by_x, g @ before[1])
    assert_close(by_w, g.T @ before[0])


def test_vjp_refuses_gradients_that_do_not_fit() -> None:
    x = normal(3, 4)
    _, pullback = nc.vjp(F.relu, x)
    with pytest.raises(ValueError, match=r"^vjp: the gradient has shape \(1, 4\), the result \(3, 4\)$"):
        pullback(x[:1])
    with pytest.raises(ValueError, match="^vjp: 2 gradients were given, the function has 1 results$"):
        pullback((x, x))
    with pytest.raises(TypeError, match="arguments must be arrays of numbers, not <U1"):
        nc.vjp(F.relu, "a")


# ------------------------------------------------------------------------------------------------ grad, value_and_grad


def loss(params: dict, x: Any, labels: Any) -> Any:
    hidden = F.tanh(F.linear(x, params["w"], params["b"]))
    return F.cross_entropy(F.linear(hidden, params["layers"][0]), labels)


PARAMS = {"w": normal(5, 4), "b": normal(5, seed=1), "layers": [normal(3, 5, seed=2)]}
INPUTS, LABELS = normal(7, 4, seed=3), np.arange(7) % 3


def numeric(f: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """The gradient, number by number."""
    found = np.empty_like(at)
    for i in np.ndindex(at.shape):
        high, low = at.copy(), at.copy()
        high[i] += 1e-6
        low[i] -= 1e-6
        found[i] = (float(f(high)) - float(f(low))) / 2e-6
    return found


def test_grad_of_a_tree() -> None:
    found = nc.grad(loss)(PARAMS, INPUTS, LABELS)
    assert list(found) == list(PARAMS) and isinstance(found["layers"], list)
    assert_close(found["w"], numeric(lambda w: loss({**PARAMS, "w": w}, INPUTS, LABELS), PARAMS["w"]), tolerance=1e-7)
    layer = numeric(lambda w: loss({**PARAMS, "layers": [w]}, INPUTS, LABELS), PARAMS["layers"][0])
    assert_close(found["layers"][0], layer, tolerance=1e-7)


def test_value_and_grad_of_chosen_arguments() -> None:
    value, (by_x, by_params) = nc.value_and_grad(loss, argnums=(1, 0))(PARAMS, INPUTS, LABELS)
    assert value.shape == () and value == pytest.approx(float(loss(PARAMS, INPUTS, LABELS)), rel=1e-14)
    # the gradients come in the order of the arguments asked for
    assert_close(by_x, numeric(lambda x: loss(PARAMS, x, LABELS), INPUTS), tolerance=1e-7)
    np.testing.assert_array_equal(by_params["b"], nc.grad(loss)(PARAMS, INPUTS, LABELS)["b"])
    np.testing.assert_array_equal(nc.grad(loss, argnums=1)(PARAMS, INPUTS, LABELS), by_x)


def test_grad_with_auxiliary_results() -> None:
    def f(x: Any) -> Any:
        y = F.tanh(x)
        return F.sum(y), {"y": y, "nothing": None}

    x = normal(3, 4)
    (value, aux), by_x = nc.value_and_grad(f, has_aux=True)(x)
    assert_close(aux["y"], np.tanh(x))
    assert aux["nothing"] is None
    assert_close(value, np.tanh(x).sum())
    gradient, again = nc.grad(f, has_aux=True)(x)
    np.testing.assert_array_equal(gradient, by_x)
    np.testing.assert_array_equal(again["y"], aux["y"])


def test_grad_of_arguments_that_do_not_matter_is_zero() -> None:
    x, unused = normal(3, 4), normal(2)
    _, (by_x, by_unused) = nc.value_and_grad(lambda x, unused: F.sum(x), (0, 1))(x, unused)
    np.testing.assert_array_equal(by_x, np.ones_like(x))
    np.testing.assert_array_equal(by_unused, np.zeros(2))
    assert nc.grad(lambda x: x)(np.float64(3.0)) == 1.0


WRONG: dict[str, tuple[Callable, type[Exception], str]] = {
    "not a scalar": (
        lambda: nc.grad(F.relu)(INPUTS), ValueError, r"must return a scalar, its result has shape \(7, 4\)$"
    ),
    "integers": (
        lambda: nc.grad(lambda i: F.sum(INPUTS))(LABELS), TypeError, "cannot differentiate with respect to int64"
    ),
    "argnums": (
        lambda: nc.grad(F.sum, argnums=2)(INPUTS), ValueError, "argnums has 2, the function was called with 1 arguments"
    ),
    "no result": (lambda: nc.grad(lambda x: None)(INPUTS), TypeError, "a graph takes arrays of numbers, not object"),
    "numpy": (lambda: nc.grad(lambda x: np.sin(x))(INPUTS), TypeError, "use numbaconv.functional instead of NumPy"),
    "if": (lambda: nc.grad(lambda x: x if x else x)(INPUTS), TypeError, "Python's if and while cannot depend on it"),
    "gradient of a count": (
        lambda: nc.grad(lambda x: F.count_correct(x, LABELS))(normal(7, 3)), ValueError, "correct has no gradient"
    ),
    "not a scalar in a graph": (
        lambda: gradients(Graph().input((2,), np.float64), []), ValueError, r"only a scalar .*; shape \(2,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", WRONG.values(), ids=WRONG)
def test_wrong_calls_say_what_is_wrong(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_gradients_of_part_of_a_graph() -> None:
    """Of a value in the middle, of a tensor that is not reached, and with a gradient for the output."""
    graph = Graph()
    x, other = graph.input((3,), np.float64), graph.input((2,), np.float64)
    middle = F.exp(x)
    y = F.multiply(middle, middle)
    graph.output(*gradients(y, [middle, x, other, y], grad=graph.leaf(np.array([1.0, 2.0, 3.0]))))
    at = normal(3)
    by_middle, by_x, by_other, by_y = compile_graph(graph).run([at, normal(2)])
    assert_close(by_middle, 2 * np.exp(at) * [1, 2, 3])
    assert_close(by_x, 2 * np.exp(at) ** 2 * [1, 2, 3])
    np.testing.assert_array_equal(by_other, [0, 0])
    np.testing.assert_array_equal(by_y, [1, 2, 3])


# ------------------------------------------------------------------------------------------------ compile


def test_compile_replays_for_every_shape_and_dtype() -> None:
    traced = []

    def f(x: Any, options: dict) -> Any:
        traced.append(x.shape)
        return {"y": F.tanh(x), "sum": [F.sum(F.multiply(x, options["scale"]))]}

    replay = nc.compile(f)
    for _ in range(2):
        for x in (normal(3, 4), normal(2, 5), normal(3, 4).astype(np.float32)):
            found = replay(x, {"scale": np.full(x.shape, 2.0, x.dtype)})
            assert found["y"].dtype == x.dtype
            assert_close(found["y"], np.tanh(x), tolerance=4e-7 if x.dtype == np.float32 else None)
            assert_close(found["sum"][0], np.sum(2.0 * x), tolerance=1e-5 if x.dtype == np.float32 else None)
    assert traced == [(3, 4), (2, 5), (3, 4)]


def test_compile_tells_arguments_of_other_structure_apart() -> None:
    """The same arrays in other places are another call."""

    def f(x: Any, y: Any = None, scale: Any = None) -> Any:
        if isinstance(x, dict):
            return F.add(x["a"], x["b"])
        return x if y is None else F.multiply(y, 2.0 if scale is None else scale)

    replay = nc.compile(f)
    x, y = normal(3, 4), normal(3, 4, seed=1)
    for _ in range(2):
        assert_close(replay(x), x)
        assert_close(replay(x, y), 2.0 * y)
        assert_close(replay({"a": x, "b": y}), x + y)
        assert_close(replay(None, y, x), y * x)
        assert_close(replay(None, y, None), 2.0 * y)


def test_compile_reads_arrays_by_reference() -> None:
    weight, turned = normal(4, 3), np.asfortranarray(normal(4, 3, seed=1))
    replay = nc.compile(lambda x: (F.linear(x, weight), F.linear(x, turned)))
    x = normal(2, 3)
    replay(x)
    weight *= 2.0
    turned *= 3.0
    for found, w in zip(replay(x), (weight, turned), strict=True):
        assert_close(found, x @ w.T)


def test_compile_gives_results_of_their_own() -> None:
    replay = nc.compile(F.relu)
    first = replay(np.ones(5))
    second = replay(-np.ones(5))
    np.testing.assert_array_equal(first, np.ones(5))
    np.testing.assert_array_equal(second, np.zeros(5))
