"""Batch normalisation as a layer, and the residual network made with it."""

import numpy as np
import pytest
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.graph import Spec
from numbaconv.training.step import EvalStep, TrainStep


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_running_statistics_move_as_pytorch_counts_them() -> None:
    layer = nn.BatchNorm2d(3, momentum=0.2)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = 2 + 3 * random(5, 3, 4, 2, seed=seed)
        layer(x)
        mean = 0.8 * mean + 0.2 * x.mean((0, 2, 3))
        var = 0.8 * var + 0.2 * x.var((0, 2, 3), ddof=1)
    assert_close(layer.running_mean.data, mean, 40)
    assert_close(layer.running_var.data, var, 40)
    layer.eval()
    x = random(2, 3, 4, 2)
    expected = (x - mean.reshape(3, 1, 1)) / np.sqrt(var.reshape(3, 1, 1) + 1e-5)
    assert_close(layer(x), expected, 40)
    assert_close(layer.running_mean.data, mean, 40)  # evaluation changes nothing


def test_statistics_do_not_cancel_far_from_zero() -> None:
    x = 1e4 + random(33, 2, 5, 5)
    y = F.batch_norm(x, None, None, training=True)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean((0, 2, 3), keepdims=True)) / exact.std((0, 2, 3), keepdims=True)
    assert abs(y - expected).max() < 2e-3  # the input itself is only known to 1e-3 of its deviation


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: F.batch_norm(random(2, 3), None, None), "running_mean and running_var are needed outside training"),
        (lambda: F.batch_norm(random(1, 3), None, None, training=True), "more than one value a channel"),
        (lambda: F.batch_norm(random(4, 3), random(2), random(3)), r"running_mean must have shape \(3,\)"),
        (lambda: F.batch_norm(random(4), None, None, training=True), "at least 2 dimensions"),
        (lambda: nn.BatchNorm2d(3)(random(4, 3)), "x must have 4 dimensions"),
        (lambda: nn.BatchNorm2d(0), "num_features"),
    ],
)
def test_wrong_arguments(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_resnet20_learns_a_batch() -> None:
    model = nc.models.resnet20(seed=1)
    images, labels = random(20, 3, 32, 32), np.arange(20) % 10
    specs = Spec(images.shape, images.dtype), Spec(labels.shape, labels.dtype)
    step = TrainStep(model, F.cross_entropy, nc.optim.SGD(lr=0.05, momentum=0.9), 20, *specs)
    losses = [step(images, labels, np.arange(20))[0] for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    assert abs(model.bn1.running_mean.data).max() > 0
    model.eval()
    evaluate = EvalStep(model, F.cross_entropy, 20, *specs)
    _, _, logits = evaluate(images, labels, np.arange(20))
    np.testing.assert_array_equal(logits, evaluate(images, labels, np.arange(20))[2])
