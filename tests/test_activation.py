"""Activations at the edges of numbers, beside PyTorch, and fused with the layer before."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import assert_agrees, torch_function
from reference import REFERENCES, assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.graph import Graph, compile_graph
from numbaconv.kernels.cpu.target import LANES

INF, NAN = np.inf, np.nan

#: Activation -> its options here, and the slopes far to the left and far to the right.
ACTIVATIONS: dict[str, tuple[dict[str, Any], float, float]] = {
    "relu6": ({}, 0.0, 0.0),
    "leaky_relu": ({"negative_slope": 0.2}, 0.2, 1.0),
    "rrelu": ({"lower": 0.1, "upper": 0.3}, 0.2, 1.0),
    "hardtanh": ({"min_val": -0.5, "max_val": 2.0}, 0.0, 0.0),
    "clamp": ({"min": -0.5, "max": 2.0}, 0.0, 0.0),
    "hardsigmoid": ({}, 0.0, 0.0),
    "hardswish": ({}, 0.0, 1.0),
    "hardshrink": ({"lambd": 0.75}, 1.0, 1.0),
    "softshrink": ({"lambd": 0.75}, 1.0, 1.0),
    "threshold": ({"threshold": 0.1, "value": -7.0}, 0.0, 1.0),
    "elu": ({"alpha": 1.5}, 0.0, 1.0),
    "selu": ({}, 0.0, 1.0507009873554805),
    "celu": ({"alpha": 2.0}, 0.0, 1.0),
    "gelu": ({}, 0.0, 1.0),
    "gelu-tanh": ({"approximate": "tanh"}, 0.0, 1.0),
    "silu": ({}, 0.0, 1.0),
    "mish": ({}, 0.0, 1.0),
    "softplus": ({"beta": 2.0, "threshold": 15.0}, 0.0, 1.0),
    "logsigmoid": ({}, 1.0, 0.0),
    "softsign": ({}, 0.0, 0.0),
    "tanhshrink": ({}, 1.0, 1.0),
}

EDGES = [0.0, -0.0, 1e-40, -1e-40, 1e-30, -1e-8, 0.5, -0.5, 3.0, -3.0, 6.0, -5.5, 15.0, -14.5, 20.5, -20.5]
FAR = [88.5, 89.5, 104.5, 745.5, 1000.0, 3e4, 1e30, INF]


def function_of(key: str) -> Callable:
    options = ACTIVATIONS[key][0]
    return lambda x: getattr(F, key.split("-")[0])(x, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("key", ACTIVATIONS)
def test_edges(key: str, dtype: Any) -> None:
    """Zeros, denormals, where exponentials overflow and underflow, infinities: what float64 says; NaN stays."""
    options, left, right = ACTIVATIONS[key]
    x = np.array([*EDGES, *FAR, *(-v for v in FAR), NAN], dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = REFERENCES[key.split("-")[0]].function(x, **options)
    if key == "tanhshrink":
        expected[np.isinf(x)] = x[np.isinf(x)]
    found = function_of(key)(x)
    np.testing.assert_allclose(found, expected, rtol=4e-6, atol=2e-7)
    far = np.array([*FAR, *(-v for v in FAR)], dtype)
    _, pullback = nc.vjp(function_of(key), far)
    slopes = np.array([right] * len(FAR) + [left] * len(FAR))
    np.testing.assert_allclose(pullback(np.ones_like(far))[0], slopes, rtol=0, atol=1e-3 if key == "softsign" else 2e-6)


@pytest.mark.parametrize("key", ACTIVATIONS)
def test_random_cases_are_pytorchs(key: str) -> None:
    theirs = torch_function(key.split("-")[0])
    options = dict(ACTIVATIONS[key][0])
    # PyTorch has 1 / 6 and 1 / alpha in single precision in these gradients
    dtype = np.float32 if key in ("hardsigmoid", "celu") else np.float64

    @settings(max_examples=12)
    @given(
        shape=st.lists(st.integers(1, 5), max_size=3),
        batch=st.sampled_from([1, 3, LANES + 1]),
        seed=st.integers(0, 99),
        scale=st.sampled_from([0.5, 4.0]),
        numbers=st.lists(st.floats(0.1, 3.0), min_size=2, max_size=2),
    )
    def check(shape: list[int], batch: int, seed: int, scale: float, numbers: list[float]) -> None:
        for name, number in zip(options, sorted(numbers), strict=False):
            if name != "approximate":
                options[name] = number
        x = (scale * np.random.default_rng(seed).standard_normal((batch, *shape))).astype(dtype)
        assert_agrees(key.split("-")[0], {"x": x, **options}, lambda x, **rest: theirs(x, **rest))

    check()


def test_prelu_softmin_and_glu_are_pytorchs() -> None:
    theirs = {name: torch_function(name) for name in ("prelu", "softmin", "glu", "maximum", "minimum")}
    rng = np.random.default_rng(0)
    for shape, weights in (((17, 3, 4), 3), ((5, 3), 1), ((2, 4, 3, 2), 4), ((6,), 1)):
        x, weight = rng.standard_normal(shape), rng.standard_normal(weights)
        assert_agrees("prelu", {"x": x, "weight": weight}, lambda x, weight: theirs["prelu"](x, weight))
    for dim in (0, 1, -1):
        x = rng.standard_normal((5, 7))
        assert_agrees("softmin", {"x": x, "dim": dim}, lambda x, dim: theirs["softmin"](x, dim))
    for shape, dim in (((4, 6), 0), ((4, 6), -1), ((17, 6, 2, 3), 1), ((3, 6, 2, 3), 1), ((17, 3, 4, 3), 2)):
        x = rng.standard_normal(shape)
        assert_agrees("glu", {"x": x, "dim": dim}, lambda x, dim: theirs["glu"](x, dim))
    x, y = np.round(2 * rng.standard_normal((2, 17, 3)))  # many equal ones, which share the gradient
    for name in ("maximum", "minimum"):
        assert_agrees(name, {"x": x, "y": y}, lambda x, y, name=name: theirs[name](x, y))


def test_exponentials_of_negative_alpha() -> None:
    for name in ("elu", "celu"):
        theirs = torch_function(name)
        x = np.linspace(-3.0, 3.0, 21, dtype=np.float32)
        assert_agrees(name, {"x": x, "alpha": -1.5}, lambda x, alpha, theirs=theirs: theirs(x, alpha))


def test_maxima_pass_nan_on() -> None:
    x, y = np.array([1.0, NAN, 2.0, NAN]), np.array([NAN, 1.0, 3.0, NAN])
    np.testing.assert_array_equal(F.maximum(x, y), np.maximum(x, y))
    np.testing.assert_array_equal(F.minimum(x, y), np.minimum(x, y))
    np.testing.assert_array_equal(F.abs(np.array([-1.0, NAN, -INF])), [1.0, NAN, INF])
    found = F.maxout(np.array([[1.0, NAN, 3.0, 3.0]]), 2)
    np.testing.assert_array_equal(found, [[NAN, 3.0]])


def test_of_equal_pieces_the_first_takes_the_gradient() -> None:
    for batch in (2, LANES):
        x = np.ones((batch, 6, 2))
        _, pullback = nc.vjp(lambda x: F.maxout(x, 3), x)
        np.testing.assert_array_equal(pullback(np.ones((batch, 2, 2)))[0][0, :, 0], [1, 0, 0, 1, 0, 0])


@pytest.mark.parametrize("exponent", [-2, -1, 2, 3, 5, 0.5, 1.5, -0.25, 0])
def test_powers(exponent: float) -> None:
    x = np.array([0.25, 1.0, 3.0, 40.0])
    assert_close(F.pow(x, exponent), x**exponent, tolerance=1e-13)
    if exponent == int(exponent) and exponent != 0:
        assert_close(F.pow(-x, exponent), (-x) ** exponent, tolerance=1e-13)


def test_a_number_a_channel_is_broadcast() -> None:
    x, c = np.random.default_rng(0).standard_normal((LANES + 1, 3, 2, 4)), np.array([1.0, 2.0, 3.0])
    for form in (c.reshape(3, 1, 1), c.reshape(1, 3, 1, 1)):
        assert_close(F.add(x, form), x + form)
        assert_close(F.multiply(form, x), x * form)
        _, pullback = nc.vjp(F.multiply, x, form)
        by_x, by_form = pullback(np.ones_like(x))
        assert_close(by_x, np.broadcast_to(form, x.shape))
        assert_close(by_form, x.sum((0, 2, 3)).reshape(form.shape), x.size)


def test_relu6_is_applied_where_a_convolution_ends(few_tiles: None) -> None:
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((LANES, 2, 5, 4), (4, 2, 3, 3)))
    graph = Graph()
    graph.output(F.relu6(F.conv2d(graph.input(x.shape), 3 * weight, algo="direct")))
    executable = compile_graph(graph)
    assert not [step for step in executable.plan.steps if "relu6" in step.label]
    assert_close(executable.run([x])[0], np.clip(F.conv2d(x, 3 * weight, algo="direct"), 0, 6), 18)


def test_layers_have_the_names_arguments_and_results_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    layers: dict[str, dict[str, Any]] = {
        "ReLU6": {}, "LeakyReLU": {"negative_slope": 0.1}, "PReLU": {"num_parameters": 4}, "ELU": {"alpha": 0.5},
        "SELU": {}, "CELU": {"alpha": 0.5}, "GELU": {"approximate": "tanh"}, "SiLU": {}, "Mish": {}, "LogSigmoid": {},
        "Hardsigmoid": {}, "Hardswish": {}, "Hardtanh": {"min_val": -0.5}, "Hardshrink": {"lambd": 0.3},
        "Softshrink": {"lambd": 0.3}, "Tanhshrink": {}, "Softplus": {"beta": 2}, "Softsign": {},
        "Threshold": {"threshold": 0.1, "value": 2.0}, "Softmin": {"dim": 1}, "GLU": {"dim": 1},
    }  # fmt: skip
    for name, options in layers.items():
        ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
        assert_close(ours(x), theirs(torch.tensor(x)).detach().numpy(), 16)
        assert list(ours.state_dict()) == list(theirs.state_dict())
    rrelu = nn.RReLU()
    assert np.any(rrelu(x) != rrelu(x))
    np.testing.assert_array_equal(rrelu.eval()(x), F.rrelu(x))
    assert nn.Maxout(2)(x).shape == (3, 2, 5) and repr(nn.ELU(0.5)) == "ELU(alpha=0.5)"


X = np.zeros((2, 6), np.float32)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: F.leaky_relu(X, "a"), TypeError, "^leaky_relu: negative_slope must be a number, not 'a'$"),
        (lambda: F.prelu(X, X), ValueError, r"^prelu: weight must have shape \(1,\) or \(6,\), its shape is \(2, 6\)$"),
        (lambda: F.rrelu(X, 0.5, 0.1), ValueError, "^rrelu: lower must be at most upper, not 0.5 and 0.1$"),
        (lambda: F.hardtanh(X, 2, 1), ValueError, "^hardtanh: min_val must be at most max_val"),
        (lambda: F.clamp(X), ValueError, "^clamp: min or max must be given$"),
        (lambda: F.softshrink(X, -1), ValueError, "^softshrink: lambd must be at least 0, not -1$"),
        (lambda: F.celu(X, 0), ValueError, "^celu: alpha must not be 0$"),
        (lambda: F.gelu(X, "erf"), ValueError, "^gelu: approximate must be \"none\" or \"tanh\", not 'erf'$"),
        (lambda: F.softplus(X, 0), ValueError, "^softplus: beta must not be 0$"),
        (lambda: F.softmin(X), ValueError, "^softmin: dim, .*, is missing$"),
        (lambda: F.glu(X[:, :3]), ValueError, "^glu: dimension 1 has the odd size 3; it has no halves$"),
        (lambda: F.glu(X[0, 0]), ValueError, r"^glu: a number \(an array of no dimension\) has no halves$"),
        (lambda: F.maxout(X, 4), ValueError, "^maxout: 6 channels cannot be divided into groups of 4$"),
        (lambda: F.maxout(X[0], 2), ValueError, "^maxout: x must have at least 2 dimensions"),
        (lambda: F.mish(np.arange(3)), TypeError, "^mish: x must be float32 or float64, not int64$"),
        (lambda: F.pow(X, X), TypeError, "^pow: exponent must be a number"),
        (lambda: F.silu(X, inplace=True), TypeError, "inplace"),
    ],
)
def test_wrong_arguments(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
