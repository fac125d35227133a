"""Dropout of feature maps, images and batches, and the kinds that keep mean and variance."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbaconv.functional as F
from numbaconv import nn
from numbaconv.graph import Graph, compile_graph
from numbaconv.kernels.cpu.target import LANES

KEY = np.array([7, 3], np.int64)
BATCHES = [1, 3, LANES + 1]


def random(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("name", ["dropout2d", "alpha_dropout", "feature_alpha_dropout"])
def test_identity_outside_training(name: str) -> None:
    x = random(3, 4, 5)
    assert getattr(F, name)(x, 0.5, training=False) is x and getattr(F, name)(x, 0.0, training=True) is x


def test_stochastic_depth_drops_rows_or_the_batch() -> None:
    for mode in ("row", "batch"):
        ones = np.ones((4, 2), np.float32)
        shares = np.array(
            [(F.stochastic_depth(ones, 0.5, mode, key=np.array([i, 0])) == 0).mean(axis=1) for i in range(100)]
        )
        assert set(np.unique(shares)) == {0.0, 1.0}
        assert (shares == shares[:, :1]).all() == (mode == "batch")
        assert 0.35 < shares.mean() < 0.65


@pytest.mark.parametrize("batch", BATCHES)
def test_masks_are_the_same_in_every_layout(batch: int, few_tiles: None) -> None:
    x, weight = np.abs(random(batch, 2, 5, 4)), np.ones((3, 2, 1, 1), np.float32)
    calls: dict[str, Callable] = {
        "dropout2d": lambda t: F.dropout2d(t, 0.5, key=KEY),
        "alpha_dropout": lambda t: F.alpha_dropout(t, 0.5, True, key=KEY),
        "feature_alpha_dropout": lambda t: F.feature_alpha_dropout(t, 0.5, True, key=KEY),
        "stochastic_depth": lambda t: F.stochastic_depth(t, 0.5, "row", key=KEY),
    }
    graph = Graph()
    t = F.conv2d(graph.input(x.shape), weight)
    graph.output(t, *(call(t) for call in calls.values()))
    plain, *found = compile_graph(graph).run([x])
    for call, y in zip(calls.values(), found, strict=True):
        np.testing.assert_array_equal(y, call(plain))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    y = F.alpha_dropout(np.random.default_rng(0).standard_normal(200_000).astype(np.float32), p, True, key=KEY)
    assert abs(y.mean()) < 0.01 and abs(y.var() - 1.0) < 0.02


def test_layers_drop_in_training_only() -> None:
    x = random(5, 6, 4, 4)
    for layer in (nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), nn.StochasticDepth(0.5, "row")):
        assert np.any(layer(x) != x)
        np.testing.assert_array_equal(layer.eval()(x), x)
    assert repr(nn.StochasticDepth(0.25, "batch")) == "StochasticDepth(p=0.25, mode=batch)"
    assert nn.Dropout1d(0.5)(x[:, :, 0]).shape == (5, 6, 4) and nn.Dropout3d(0.5)(x).shape == x.shape


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.dropout1d(random(3)), r"^dropout1d: x must have 2 or 3 dimensions, its shape is \(3,\)$"),
        (lambda: F.dropout2d(random(3, 4)), "^dropout2d: x must have 3 or 4 dimensions"),
        (lambda: F.dropout3d(random(3, 4, 5)), "^dropout3d: x must have 4 or 5 dimensions"),
        (lambda: F.feature_alpha_dropout(random(3), 0.5, True), "^feature_alpha_dropout: x must have at least 2"),
        (lambda: F.stochastic_depth(random(3, 4), 0.5, "image"), '^stochastic_depth: mode must be "batch" or "row"'),
        (lambda: F.alpha_dropout(random(3), -1, True), "^alpha_dropout: p must lie between 0 and 1, not -1$"),
        (lambda: nn.StochasticDepth(0.5, "all"), "^StochasticDepth: mode must be"),
        (lambda: nn.AlphaDropout(2), "^AlphaDropout: p must lie between 0 and 1"),
    ],
)
def test_wrong_arguments(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
