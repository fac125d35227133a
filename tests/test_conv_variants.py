"""Transposed and true convolution, padding, patches, im2col, matrices, separable layers and fixed filters."""

import builtins
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import assert_agrees
from reference import assert_close
from reference.conv import conv
from reference.conv import conv_transpose as exact_transpose
from reference.toeplitz import toeplitz as exact_toeplitz

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import filters, nn
from numbaconv.graph import Graph, compile_graph
from numbaconv.kernels.cpu.target import LANES
from numbaconv.nn.summary import summarise

pytestmark = pytest.mark.usefixtures("few_tiles")

BATCHES = (1, 3, LANES, LANES + 1)


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def draw_each(draw: Callable, low: int, high: int, count: int) -> Any:
    """One number for all dimensions, or one for each."""
    one = st.integers(low, high)
    return draw(st.one_of(one, st.tuples(*[one] * count)))


def as_each(value: Any, count: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * count


# ------------------------------------------------------------------------------------------------ few channels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch, channels, size, kernel, options", [
    (1, 1, (9, LANES + 4), (5, 5), {}),  # a row of one vector
    (3, 1, (6, 3 * LANES), (3, 4), {"padding": ((1, 1), (2, 0))}),  # rows of more than one tile
    (1, 3, (9, 2 * LANES), (3, 2), {"stride": (2, 1), "dilation": (1, 3)}),
    (2, 4, (2 * LANES - 1,), (3,), {"padding": 1}),
    (1, 2, (5, 4, LANES + 2), (2, 3, 3), {"stride": (2, 1, 1), "padding": (1, 0, 1), "dilation": (2, 1, 1)}),
])  # fmt: skip
def test_lone_images_to_few_channels(batch, channels, size, kernel, options, dtype) -> None:
    """Pixels in lanes; kernels/cpu/planar.py."""
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(size)]
    x, bias = normal(batch, channels, *size, dtype=dtype), normal(2, dtype=dtype, seed=2)
    weight = normal(2, channels, *kernel, dtype=dtype, seed=1)
    for finished in (False, True):

        def f(x, weight, bias, finished=finished):
            y = function(x, weight, bias if finished else None, **options)
            return F.relu(y) if finished else y

        exact = conv(x, weight, **options)
        if finished:
            exact = np.maximum(0, exact + bias.reshape(-1, *[1] * len(size)))
        graph = Graph()
        graph.output(f(*[graph.input(a.shape, a.dtype) for a in (x, weight, bias)]))
        executable = compile_graph(graph)
        assert any(step.kernel.label.startswith("correlate_planes") for step in executable.plan.steps)
        assert_close(executable.run([x, weight, bias])[0], exact, count=math.prod(weight.shape[1:]))


# ------------------------------------------------------------------------------------------------ against PyTorch


@st.composite
def transposed_calls(draw: Callable) -> tuple[str, dict[str, Any]]:
    dims = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kernel = tuple(draw(st.integers(1, 4 if dims < 3 else 2)) for _ in range(dims))
    stride, dilation = draw_each(draw, 1, 3, dims), draw_each(draw, 1, 2, dims)
    padding = draw_each(draw, 0, 2, dims)
    further = tuple(
        draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(as_each(stride, dims), as_each(dilation, dims), strict=True)
    )
    size = []
    for k, s, d, p, f in zip(
        kernel, as_each(stride, dims), as_each(dilation, dims), as_each(padding, dims), further, strict=True
    ):
        least = next(n for n in itertools.count(1) if (n - 1) * s - 2 * p + d * (k - 1) + f + 1 > 0)
        size.append(least + draw(st.integers(0, 3)))
    groups = draw(st.sampled_from([1, 1, 2]))
    inputs, outputs = 2 * groups, draw(st.sampled_from([1, 3]))  # others would be other kernels to compile
    batch = draw(st.sampled_from(BATCHES))
    arguments = {
        "input": normal(batch, inputs, *size), "weight": normal(inputs, outputs, *kernel, seed=1),
        "stride": stride, "padding": padding, "output_padding": further, "groups": groups, "dilation": dilation,
    }  # fmt: skip
    if outputs == 3:
        arguments["bias"] = normal(outputs * groups, seed=2)
    return f"conv_transpose{dims}d", arguments


def agrees(name: str, arguments: dict[str, Any]) -> None:
    """The first argument is PyTorch's ``input``."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, name)
    ours = {("x" if key == "input" else key): value for key, value in arguments.items()}
    assert_agrees(name, ours, lambda x, **others: theirs(x, **others))


@settings(max_examples=150)
@given(transposed_calls())
def test_transposed_convolution_is_pytorchs(call: tuple[str, dict[str, Any]]) -> None:
    agrees(*call)


@st.composite
def pad_calls(draw: Callable) -> dict[str, Any]:
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    dims = draw(st.integers(1, 3))
    sizes = [draw(st.integers(2, 6)) for _ in range(dims)]
    pads: list[int] = []
    for size in reversed(sizes):
        most = {"reflect": size - 1, "circular": size}.get(mode, 4)
        low = -1 if mode == "constant" else 0
        pads += [draw(st.integers(low, most)), draw(st.integers(low if size > 2 else 0, most))]
    arguments: dict[str, Any] = {"x": normal(draw(st.sampled_from(BATCHES)), 3, *sizes), "pad": tuple(pads)}
    if mode == "constant" and draw(st.booleans()):
        arguments["value"] = 1.5
    return {**arguments, "mode": mode}


@settings(max_examples=150)
@given(pad_calls())
def test_pad_is_pytorchs(arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    assert_agrees("pad", arguments, lambda x, pad, mode, value=None: torch.nn.functional.pad(x, pad, mode, value))


@settings(max_examples=80)
@given(st.data())
def test_unfold_and_fold_are_pytorchs(data: st.DataObject) -> None:
    kernel, dilation, padding, stride = (draw_each(data.draw, *r, 2) for r in ((1, 3), (1, 2), (0, 2), (1, 3)))
    reach = [d * (k - 1) + 1 for k, d in zip(as_each(kernel, 2), as_each(dilation, 2), strict=True)]
    size = [
        max(1, r - 2 * p) + data.draw(st.integers(0, 3)) for r, p in zip(reach, as_each(padding, 2), strict=True)
    ]
    x = normal(data.draw(st.sampled_from(BATCHES)), 2, *size)
    options = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    agrees("unfold", {"input": x, **options})
    columns = normal(*F.unfold(x, **options).shape)
    agrees("fold", {"input": columns, "output_size": tuple(size), **options})


def test_layers_hold_pytorchs_numbers() -> None:
    torch = pytest.importorskip("torch")
    x = normal(3, 4, 6, 5)
    pairs = [
        (nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode=mode, stride=(2, 1)),
         torch.nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode=mode, stride=(2, 1)))
        for mode in ("zeros", "reflect", "replicate", "circular")
    ]  # fmt: skip
    pairs.append((nn.Conv2d(4, 2, 4, padding="same", padding_mode="circular"),
                  torch.nn.Conv2d(4, 2, 4, padding="same", padding_mode="circular")))  # fmt: skip
    pairs.append((nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False),
                  torch.nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False)))  # fmt: skip
    pairs.append((nn.Unfold(3, padding=1), torch.nn.Unfold(3, padding=1)))
    for ours, theirs in pairs:
        assert [*ours.state_dict()] == [*theirs.state_dict()]
        theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
        assert_close(ours(x), theirs(torch.tensor(x)).detach().numpy(), 36)


def test_output_size_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    x = normal(LANES, 3, 4, 5)
    ours, theirs = nn.ConvTranspose2d(3, 2, 3, stride=(3, 2)), torch.nn.ConvTranspose2d(3, 2, 3, stride=(3, 2))
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    for size in ((12, 11), (14, 12), (LANES, 2, 13, 11)):
        expected = theirs(torch.tensor(x), output_size=size).detach().numpy()
        assert_close(ours(x, output_size=size), expected, 27)
    with pytest.raises(ValueError, match=r"ConvTranspose2d: output_size must lie between \(12, 11\) and \(14, 12\)"):
        ours(x, output_size=(15, 11))


# ------------------------------------------------------------------------------------------------ identities


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_convolution_is_correlation_with_the_filter_turned(dims: int, batch: int) -> None:
    convolve, correlate = getattr(F, f"convolve{dims}d"), getattr(F, f"conv{dims}d")
    x, w = normal(batch, 2, *(5,) * dims), normal(3, 2, *(3,) * dims, seed=1)
    turned = np.ascontiguousarray(w[(..., *(slice(None, None, -1),) * dims)])
    np.testing.assert_array_equal(convolve(x, w, padding=1), correlate(x, turned, padding=1))


def test_full_convolution_is_numpys_and_commutes() -> None:
    x, w = normal(9, dtype=np.float64), normal(4, dtype=np.float64, seed=1)
    y = F.convolve1d(x[None, None], w[None, None], padding="full")[0, 0]
    assert_close(y, np.convolve(x, w))
    assert_close(F.convolve1d(w[None, None], x[None, None], padding="full")[0, 0], y)


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_transposed_convolution_is_the_input_gradient(batch: int) -> None:
    x, w = normal(batch, 4, 7, 8), normal(6, 2, 3, 2, seed=1)
    options = {"stride": (2, 3), "padding": 1, "groups": 2}
    y, pullback = nc.vjp(lambda x: F.conv2d(x, w, **options), x)
    g = normal(*y.shape, seed=2)
    further = tuple(n - F.conv_transpose2d(g, w, **options).shape[2 + i] for i, n in enumerate(x.shape[2:]))
    np.testing.assert_array_equal(F.conv_transpose2d(g, w, output_padding=further, **options), *pullback(g))


def test_an_activation_is_applied_while_the_sums_are_in_the_cache() -> None:
    x, w, b = normal(LANES + 1, 4, 3, 4), normal(4, 3, 3, 3, seed=1), normal(3, seed=2)
    graph = Graph()
    graph.output(F.tanh(F.conv_transpose2d(*(graph.leaf(a) for a in (x, w, b)), stride=2)))
    executable = compile_graph(graph)
    assert not any("tanh" in step.label for step in executable.plan.steps if "conv" not in step.label)
    (y,) = executable.run()
    assert_close(y, np.tanh(exact_transpose(x, w, b, stride=2)), 36)
    one = normal(4, 3, 1, 1, seed=3)  # few pixels of a stride: what lies between them has bias and activation too
    found = nc.compile(lambda x: F.tanh(F.conv_transpose2d(x, one, b, stride=2)))(x)
    assert_close(found, np.tanh(exact_transpose(x, one, b, stride=2)), 4)


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_im2col_is_the_same_convolution(batch: int) -> None:
    x, w, b = normal(batch, 4, 7, 6), normal(6, 2, 3, 2, seed=1), normal(6, seed=2)
    options = {"stride": (1, 2), "padding": ((1, 0), (0, 2)), "dilation": (2, 1), "groups": 2}
    results = {}
    for algo in ("direct", "im2col"):
        y, pullback = nc.vjp(lambda x, w, b, algo=algo: F.conv2d(x, w, b, algo=algo, **options), x, w, b)
        results[algo] = [y, *pullback(normal(*y.shape, seed=3))]
    for found, expected in zip(results["im2col"], results["direct"], strict=True):
        assert_close(found, expected, 12 * batch)


def test_unfold_times_filters_is_the_convolution() -> None:
    x, w = normal(LANES, 3, 6, 5), normal(4, 3, 3, 2, seed=1)
    columns = F.unfold(x, (3, 2), padding=1)
    assert_close(w.reshape(4, -1) @ columns, conv(x, w, padding=1).reshape(LANES, 4, -1), 18)
    ones = F.fold(F.unfold(np.ones((1, 1, 4, 4), np.float32), 3), 4, 3)
    np.testing.assert_array_equal(ones[0, 0], np.outer([1, 2, 2, 1], [1, 2, 2, 1]))


def test_pad_of_any_dimensions() -> None:
    x = normal(2, 3, 4, 3, 5)
    pads = (1, 0, 0, 2, 1, 1, -1, 2, 0, 1)
    pairs = list(zip(pads[::2], pads[1::2], strict=True))[::-1]
    expected = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs])[:, 1:]
    np.testing.assert_array_equal(F.pad(x, pads), expected)
    assert F.pad(x, ()) is x
    np.testing.assert_array_equal(F.pad(x, (0, 0, 0, 0)), x)
    np.testing.assert_array_equal(F.pad(normal(0, 2, 3), (1, 1)), np.zeros((0, 2, 5)))
    assert F.pad(x[0, 0, 0], (-3, 0, 1, -2)).shape == (2, 2)
    assert np.isnan(F.pad(np.array([np.nan], np.float32), (1, 1))[1])


# ------------------------------------------------------------------------------------------------ matrices


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("weight", "shape", "options"),
    [
        ((3, 2, 3), (2, 7), {"stride": 2, "padding": 1}),
        ((2, 2, 3, 2), (2, 5, 6), {"padding": ((1, 0), (0, 2)), "dilation": (1, 2)}),
        ((4, 1, 2, 2), (2, 4, 3), {"groups": 2, "stride": (1, 2), "padding": "full", "dilation": 2}),
        ((2, 1, 2, 1, 2), (1, 3, 2, 3), {"padding": "same"}),
    ],
)
def test_toeplitz(weight, shape, options, sparse: bool) -> None:
    if sparse:
        pytest.importorskip("scipy")
    w, x = normal(*weight, dtype=np.float64), normal(*shape, dtype=np.float64, seed=1)
    matrix = F.toeplitz(w, shape, sparse=sparse, **options)
    function = getattr(F, f"conv{x.ndim - 1}d")
    y, pullback = nc.vjp(lambda x: function(x[None] if isinstance(x, np.ndarray) else x, w, **options), x[None])
    assert_close(matrix @ x.ravel(), y.ravel())
    g = normal(*y.shape, dtype=np.float64, seed=2)
    assert_close(matrix.T @ g.ravel(), pullback(g)[0].ravel())
    dense = matrix.toarray() if sparse else matrix
    np.testing.assert_array_equal(dense, exact_toeplitz(w, shape, **options))


def test_toeplitz_is_doubly_blocked() -> None:
    matrix = F.toeplitz(normal(1, 1, 2, 2), (1, 4, 4), sparse=False).reshape(3, 3, 4, 4)
    for i, j, k, m in itertools.product(range(2), range(2), range(3), range(3)):
        assert matrix[i + 1, j, k + 1, m] == matrix[i, j, k, m]
        assert matrix[i, j + 1, k, m + 1] == matrix[i, j, k, m]


def test_toeplitz_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    w = normal(1, 1, 2)
    assert isinstance(F.toeplitz(w, (1, 3)), np.ndarray)
    with pytest.raises(ImportError, match="^toeplitz: a sparse matrix needs SciPy"):
        F.toeplitz(w, (1, 3), sparse=True)


# ------------------------------------------------------------------------------------------------ layers


def test_separable_layer_is_two_convolutions() -> None:
    layer = nn.SeparableConv2d(4, 6, 3, stride=2, padding=1, depth_multiplier=2, generator=0)
    x = normal(LANES + 1, 4, 7, 6)
    inner = conv(x, layer.depthwise.weight.data, stride=2, padding=1, groups=4)
    assert inner.shape[1] == 8
    assert_close(layer(x), conv(inner, layer.pointwise.weight.data, layer.pointwise.bias.data), 20)


@pytest.mark.parametrize("groups", [1, 2])
def test_factorized_filters(groups: int) -> None:
    weight = normal(6, 4 // groups, 3, 5, dtype=np.float64)
    vertical, horizontal, error = nn.factorize(weight, groups=groups)
    x = normal(2, 4, 8, 9, dtype=np.float64, seed=1)
    both = conv(conv(x, vertical, groups=groups), horizontal, groups=groups)
    assert_close(both, conv(x, weight, groups=groups), tolerance=1e-12)
    assert error < 1e-12
    for rank in (1, 2):  # what is left out has the norm that is said
        vertical, horizontal, error = nn.factorize(weight, rank, groups)
        v = vertical.reshape(groups, rank, 4 // groups, 3)
        h = horizontal.reshape(groups, 6 // groups, rank, 5)
        close = np.einsum("grci,gkrj->gkcij", v, h).reshape(weight.shape)
        assert error == pytest.approx(np.linalg.norm(weight - close) / np.linalg.norm(weight))


def test_spatially_separable_layers_of_trained_ones() -> None:
    x = normal(LANES, 4, 8, 7)
    trained = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), generator=0)
    assert_close(nn.SpatialConv2d.from_conv(trained)(x), trained(x), tolerance=1e-5)
    one = filters.gaussian(5, 1.0)[None].astype(np.float32)  # of rank 1
    trained = nn.Conv2d(1, 1, 5, padding=2, bias=False)
    trained.weight.data[...] = one
    layer = nn.SpatialConv2d.from_conv(trained, rank=1)
    assert layer.vertical.weight.shape == (1, 1, 5, 1) and layer.horizontal.weight.shape == (1, 1, 1, 5)
    assert_close(layer(x[:, :1]), trained(x[:, :1]), tolerance=1e-5)
    assert nn.SpatialConv2d(4, 6, 3, padding=1, rank=2)(x).shape == (LANES, 6, 8, 7)
    with pytest.raises(ValueError, match="^SpatialConv2d: a convolution is taken apart only if"):
        nn.SpatialConv2d.from_conv(nn.Conv2d(1, 1, 3, padding="same"))


def test_a_convolution_in_place_of_a_full_connection() -> None:
    layer = nn.Linear(3 * 4 * 5, 7, generator=0)
    convolution = nn.conv_from_linear(layer, 3, (4, 5))
    x = normal(LANES + 1, 3, 4, 5)
    assert_close(convolution(x)[:, :, 0, 0], layer(x.reshape(len(x), -1)), 60)
    larger = normal(2, 3, 6, 5)
    assert_close(convolution(larger)[:, :, 1, 0], layer(larger[:, :, 1:5].reshape(2, -1)), 60)
    with pytest.raises(ValueError, match=r"images \(3, 4, 4\) do not have 60 numbers"):
        nn.conv_from_linear(layer, 3, 4)


def test_receptive_fields_behind_a_transposed_convolution() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 4, 2), nn.ConvTranspose2d(2, 2, 4, 2), nn.Conv2d(2, 1, 3))
    fields = [layer.receptive_field for layer in summarise(layers, (1, 32, 32)).layers]
    # two pixels of four, two apart, make one; three results of these, one apart
    assert fields == [(4, 4), (6, 6), (8, 8)]


# ------------------------------------------------------------------------------------------------ fixed filters


def test_slopes_of_a_ramp() -> None:
    rows, columns = np.mgrid[:6.0, :7.0]
    image = (2 * columns - 3 * rows)[None, None].astype(np.float32)
    for layer, weight in ((nn.Sobel(), 8), (nn.Prewitt(), 6)):
        right, down = layer(image)[0]
        np.testing.assert_allclose(right[1:-1, 1:-1], 2 * weight)
        np.testing.assert_allclose(down[1:-1, 1:-1], -3 * weight)
    for neighbours in (4, 8):
        np.testing.assert_allclose(nn.Laplacian(neighbours=neighbours)(image)[0, 0, 1:-1, 1:-1], 0, atol=1e-5)


def test_smoothing_and_dots() -> None:
    assert filters.gaussian(7, 1.5).sum() == pytest.approx(1.0)
    even = np.full((2, 3, 12, 12), 5.0, np.float32)
    np.testing.assert_allclose(nn.Gaussian(3, padding_mode="replicate")(even), 5.0, rtol=1e-6)
    np.testing.assert_allclose(nn.DifferenceOfGaussians(3, padding_mode="reflect")(even), 0.0, atol=1e-5)
    dot = np.zeros((1, 1, 21, 21), np.float32)
    dot[0, 0, 8, 12] = 1.0
    found = nn.DifferenceOfGaussians(size=9)(dot)[0, 0]
    assert np.unravel_index(found.argmax(), found.shape) == (8, 12)


def test_gabor_filters_find_waves_of_their_own() -> None:
    bank = filters.gabor(15, orientations=4, wavelengths=(4.0, 8.0))
    assert bank.shape == (16, 15, 15)
    columns = np.arange(32.0)
    wave = np.broadcast_to(np.cos(2 * np.pi * columns / 4), (1, 1, 32, 32)).astype(np.float32)
    energy = (nn.FilterBank(bank)(wave)[0].reshape(8, 2, 32, 32) ** 2).sum(axis=(1, 2, 3))
    assert energy.argmax() == 0  # the first wavelength, running to the right
    even, odd = filters.gabor(15, orientations=1)
    np.testing.assert_allclose(even, even[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(odd, -odd[::-1, ::-1], atol=1e-12)
    assert nn.Gabor(2, size=7)(np.zeros((1, 2, 9, 9), np.float32)).shape == (1, 32, 9, 9)


def test_filters_are_frozen_or_trained() -> None:
    x = normal(LANES, 2, 8, 8)
    for trainable in (False, True):
        layer = nn.Sobel(2, trainable=trainable)
        model = nn.Sequential(layer, nn.Flatten(), nn.Linear(4 * 64, 2, generator=0))
        trainer = nc.Trainer(model, loss=F.cross_entropy, optimizer=nc.optim.SGD(lr=0.1))
        before = layer.weight.data.copy()
        trainer.step(x, np.arange(LANES) % 2)
        assert np.any(layer.weight.data != before) == trainable
    assert nn.Laplacian(stride=2)(x[:, :1]).shape == (LANES, 1, 4, 4)


# ------------------------------------------------------------------------------------------------ wrong calls

X, W = np.zeros((2, 4, 5, 5), np.float32), np.zeros((4, 3, 3, 3), np.float32)
WRONG: dict[str, tuple[Callable, type[Exception], str]] = {
    "channels": (lambda: F.conv_transpose2d(X, W[:3]), ValueError,
                 "^conv_transpose2d: weight expects 3 input channels, x has 4$"),
    "groups": (lambda: F.conv_transpose2d(X[:, :3], W[:3], groups=2), ValueError, "3 input channels cannot be divided"),
    "bias": (lambda: F.conv_transpose2d(X, W, np.zeros(4, np.float32)), ValueError, r"bias must have shape \(3,\)"),
    "output padding": (lambda: F.conv_transpose2d(X, W, output_padding=1), ValueError,
                       "output_padding 1 must be less than stride 1 or dilation 1"),
    "nothing left": (lambda: F.conv_transpose2d(X, W, padding=4), ValueError, "has a result of size -1"),
    "strings": (lambda: F.conv_transpose2d(X, W, padding="same"), TypeError, "padding must be an integer"),
    "rank": (lambda: F.conv_transpose1d(X, W), ValueError, "conv_transpose1d: weight must have 3 dimensions"),
    "dtype": (lambda: F.convolve2d(X, W.astype(np.float64)), TypeError, "convolve2d: x is float32 but weight is"),
    "algorithm": (lambda: F.conv_transpose2d(X, W, stride=2, algo="winograd"), ValueError,
                  "^conv_transpose2d: algo 'winograd' needs 3x3 filters"),
    "mode": (lambda: F.pad(X, (1, 1), "mirror"), ValueError, "^pad: mode must be one of constant, reflect"),
    "odd": (lambda: F.pad(X, (1, 1, 1)), ValueError, "pad must hold a pair"),
    "reflect": (lambda: F.pad(X, (5, 0, 0, 0), "reflect"), ValueError, "pads a dimension of size 5 by at most 4"),
    "circular": (lambda: F.pad(X, (6, 0, 0, 0), "circular"), ValueError, "pads a dimension of size 5 by at most 5"),
    "too few": (lambda: F.pad(X, (1, 1), "reflect"), ValueError, r"with one pair for each of one to three spatial"),
    "too many": (lambda: F.pad(X[0, 0, 0], (1, 1, 1, 1)), ValueError, "has pairs for 2 dimensions"),
    "cut away": (lambda: F.pad(X, (-3, -3)), ValueError, "nothing is left of a dimension of size 5"),
    "value": (lambda: F.pad(X, (1, 1), value="0"), TypeError, "value must be a number"),
    "value of a mode": (lambda: F.pad(X, (1, 1, 1, 1), "reflect", 1.0), ValueError, "takes no value"),
    "unfold": (lambda: F.unfold(X, 6), ValueError, r"^unfold: a kernel of size \(6, 6\)"),
    "fold rows": (lambda: F.fold(X[:, :, :, 0], 5, 3), ValueError, "4 rows cannot be divided into filters of 9 taps"),
    "fold columns": (lambda: F.fold(np.zeros((1, 9, 5), np.float32), 5, 3), ValueError, "have 9 columns, x has 5"),
    "toeplitz": (lambda: F.toeplitz(W, (4, 5, 5)), ValueError, "weight expects 3 input channels, input_shape has 4"),
    "padding_mode": (lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), ValueError,
                     "padding_mode must be one of zeros"),
    "transposed padding_mode": (lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"), ValueError,
                                'padding_mode can only be "zeros"'),
    "rank of factors": (lambda: nn.factorize(W, 10), ValueError, "a rank of 10 is more than the filter's"),
    "filters": (lambda: nn.FilterBank(np.zeros((3, 3))), ValueError, "filters must have 3 dimensions"),
    "laplacian": (lambda: filters.laplacian(6), ValueError, "neighbours must be 4 or 8"),
    "sigma": (lambda: filters.gaussian(3, 0.0), ValueError, "sigma must be positive"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls_are_refused(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
