"""Sparse convolution: rulebooks against dense convolutions, layers, edges, and what wrong calls say."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_close
from reference.sparse import sparse_conv as reference_conv

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.sparse import Rulebook, SparseConvTensor, output_shape, rulebook

pytestmark = pytest.mark.usefixtures("few_tiles")


def scene(rng: np.random.Generator, batch: int, shape: tuple[int, ...], channels: int, share: float) -> Any:
    """A sparse array and the dense one that it is."""
    indices = np.argwhere(rng.random((batch, *shape)) < share)
    rng.shuffle(indices)
    x = SparseConvTensor(rng.standard_normal((len(indices), channels)), indices, shape, batch)
    return x, x.dense()


@settings(max_examples=60)
@given(st.data())
def test_results_are_those_of_dense_convolutions(data: st.DataObject) -> None:
    rank, subm = data.draw(st.sampled_from([2, 3])), data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    options = {"kernel_size": [], "stride": [], "padding": [], "dilation": []}
    for _ in range(rank):
        options["kernel_size"].append(data.draw(st.sampled_from([1, 3]) if subm else st.integers(1, 3)))
        options["stride"].append(1 if subm else data.draw(st.integers(1, 3)))
        options["padding"].append(data.draw(st.integers(0, 2)))
        options["dilation"].append(data.draw(st.integers(1, 2)))
    x, dense = scene(rng, data.draw(st.integers(1, 3)), (6, 7, 5)[:rank], 3, data.draw(st.sampled_from([0.1, 0.6])))
    rules = rulebook(x.indices, x.spatial_shape, **options, subm=subm)
    if subm:
        sizes = zip(options["kernel_size"], options["dilation"], strict=True)
        options["padding"] = [d * (k - 1) // 2 for k, d in sizes]
        np.testing.assert_array_equal(rules.indices, x.indices)
    kernel = options.pop("kernel_size")
    weight, bias = rng.standard_normal((4, *kernel, 3)), rng.standard_normal(4)
    found = F.sparse_conv(x.features, weight, rules, bias)
    assert_close(found, reference_conv(x.features, weight, rules[1:], bias))
    convolve = F.conv2d if rank == 2 else F.conv3d
    whole = convolve(dense, np.ascontiguousarray(np.moveaxis(weight, -1, 1)), bias, **options)
    assert_close(found, F.sparse_from_dense(whole, rules.indices), tolerance=1e-12)
    if not subm:  # beyond the sites nothing but the bias
        assert whole.shape[2:] == output_shape(x.spatial_shape, kernel, **options)
        rest = whole - bias.reshape(-1, *[1] * rank)
        sites = F.sparse_to_dense(np.ones((len(found), 1)), rules.indices, whole.shape[2:], len(whole))
        assert not (rest * (sites == 0)).any()
        assert np.all(np.diff(np.ravel_multi_index(rules.indices.T, (len(whole), *whole.shape[2:]))) > 0)
    for tap, m in np.argwhere(rules.gather >= 0):
        assert rules.scatter[tap, rules.gather[tap, m]] == m
    assert (rules.gather >= 0).sum() == (rules.scatter >= 0).sum()


def test_layers_in_a_row_and_their_gradients() -> None:
    rng = np.random.default_rng(0)
    x, dense = scene(rng, 2, (7, 6), 3, 0.3)
    net = nn.SparseSequential(
        nn.SubMConv2d(3, 5, 3, dtype=np.float64, generator=0),
        nn.ReLU(),
        nn.SubMConv2d(5, 4, 3, dtype=np.float64, generator=1),
        nn.SparseConv2d(4, 2, 3, stride=2, padding=1, dtype=np.float64, generator=2),
        nn.ToDense(),
    )
    y = net(x)
    assert y.shape == (2, 2, 4, 3)
    assert x.rulebook((3, 3), (1, 1), (0, 0), (1, 1), True) is net[0](x).rulebook((3, 3), (1, 1), (0, 0), (1, 1), True)
    active = (dense != 0).any(axis=1, keepdims=True)
    h = dense
    for layer in (net[0], net[2]):
        w = np.ascontiguousarray(np.moveaxis(layer.weight.data, -1, 1))
        h = F.conv2d(h if layer is net[0] else np.maximum(h, 0), w, layer.bias, padding=1) * active
    last = net[3]
    w = np.ascontiguousarray(np.moveaxis(last.weight.data, -1, 1))
    reached = F.conv2d(active.astype(float), np.ones((1, 1, 3, 3)), stride=2, padding=1) != 0
    assert_close(y, F.conv2d(h, w, last.bias, stride=2, padding=1) * reached, tolerance=1e-12)
    nc.check_gradients(lambda features: net(x.replace_feature(features)), x.features)
    assert repr(net[3]) == "SparseConv2d(4, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"
    assert repr(x).endswith("sites of 2 x 7 x 6, 3 channels)")


def test_rulebooks_are_arguments() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 3, 2))
    traced = []

    @nc.compile
    def conv(features: Any, rules: Rulebook) -> Any:
        traced.append(features.shape)
        return F.sparse_conv(features, weight, rules)

    for seed in range(3):
        flat = np.random.default_rng(seed).permutation(49)[:12]
        indices = np.stack([np.zeros(12, np.int64), *np.divmod(flat, 7)], axis=1)
        features, rules = rng.standard_normal((12, 2)), rulebook(indices, (7, 7), 3, subm=True)
        assert_close(conv(features, rules), reference_conv(features, weight, rules[1:]))
    assert len(traced) == 1


def test_nothing_active_and_wrong_rows() -> None:
    none = SparseConvTensor(np.zeros((0, 3)), np.zeros((0, 3), int), (4, 5), 2)
    for subm in (True, False):
        rules = none.rulebook(3, 1, 1, 1, subm)
        y, pullback = nc.vjp(lambda x, w, rules=rules: F.sparse_conv(x, w, rules), none.features, np.ones((2, 3, 3, 3)))
        assert y.shape == (0, 2)
        by_x, by_w = pullback(y)
        assert by_x.shape == (0, 3) and not by_w.any()
    assert not none.dense().any() and SparseConvTensor.from_dense(np.zeros((2, 3, 4, 5))).features.shape == (0, 3)
    rows = np.array([[9, -5, 2**31 - 1]], np.int32)  # rows that do not exist are none
    bias = np.ones(2)
    found = F.sparse_conv(np.ones((3, 3)), np.ones((2, 1, 1, 3)), [rows, np.full((1, 3), -1, np.int32)], bias)
    np.testing.assert_array_equal(found, np.ones((3, 2)))
    outside = np.array([[0, 9, 0], [5, 0, 0], [0, -1, 0]])
    assert not F.sparse_to_dense(np.ones((3, 1)), outside, (2, 2), 1).any()
    assert not F.sparse_from_dense(np.ones((1, 1, 2, 2)), outside).any()


def test_the_page_runs() -> None:
    page = (Path(__file__).parents[1] / "docs" / "sparse.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert names["y"].shape == (2, 32, 32, 32)


SITES = np.array([[0, 1, 1], [0, 2, 2]])
FEATURES, WEIGHT = np.zeros((2, 3)), np.zeros((4, 3, 3, 3))
RULES = rulebook(SITES, (4, 4), 3, subm=True)
WRONG: dict[str, tuple[Callable, type[Exception], str]] = {
    "outside": (lambda: rulebook(SITES, (2, 2), 3), ValueError, r"the site \(0, 2, 2\) lies outside the grid \(2, 2\)"),
    "twice": (lambda: rulebook(SITES[[0, 0]], (4, 4), 3), ValueError, r"two sites have the same place \(0, 1, 1\)"),
    "fractions": (lambda: rulebook(SITES * 1.0, (4, 4), 3), TypeError, "indices must be integers, not float64"),
    "columns": (lambda: rulebook(SITES, (4, 4, 4), 3), ValueError, r"indices must have shape \(sites, 4\)"),
    "even": (lambda: rulebook(SITES, (4, 4), 2, subm=True), ValueError, "needs odd sizes and stride 1"),
    "rank": (lambda: rulebook(SITES, (4,), 2), ValueError, "spatial_shape must have 2 or 3 sizes"),
    "large": (lambda: rulebook(SITES, (4, 4), 6), ValueError, "does not fit"),
    "features": (lambda: F.sparse_conv(FEATURES[:1], WEIGHT, RULES), ValueError, "is for 2 sites, features have 1"),
    "channels": (lambda: F.sparse_conv(FEATURES[:, :2], WEIGHT, RULES), ValueError, "weight expects 3 channels"),
    "taps": (lambda: F.sparse_conv(FEATURES, WEIGHT[:, :1], RULES), ValueError, "a row for each of 3 taps"),
    "rules": (lambda: F.sparse_conv(FEATURES, WEIGHT, None), TypeError, "rules must be a Rulebook"),
    "wide": (
        lambda: F.sparse_conv(FEATURES, WEIGHT, [RULES.gather.astype(int), RULES.scatter]), TypeError, "must be int32"
    ),
    "batch": (lambda: SparseConvTensor(FEATURES, SITES + [1, 0, 0], (4, 4), 1), ValueError, "belongs to image 1 of 1"),
    "rows": (lambda: SparseConvTensor(FEATURES[:1], SITES, (4, 4), 1), ValueError, r"must have shape \(2, channels\)"),
    "dense layer": (lambda: nn.SubMConv2d(3, 4, 3)(FEATURES), TypeError, "expected a SparseConvTensor, got ndarray"),
    "even layer": (lambda: nn.SubMConv2d(3, 4, 2), ValueError, "odd kernel sizes and stride 1"),
    "places": (lambda: F.sparse_to_dense(FEATURES, SITES, (4, 4, 4), 1), ValueError, "indices must have shape"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", WRONG.values(), ids=WRONG)
def test_wrong_calls_say_what_is_wrong(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
