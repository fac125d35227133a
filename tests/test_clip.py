"""Clipping of gradients and penalties, by themselves and inside the training step."""

import math
from typing import Any

import numpy as np
import pytest
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn, optim
from numbaconv.kernels.cpu.target import LANES

GRADIENTS = [3 * np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(4, 3), (9001,), ()])]


def norm_of(gradients: Any, norm_type: float) -> float:
    return float(np.linalg.norm(np.concatenate([np.ravel(g) for g in gradients]), norm_type))


@pytest.mark.parametrize("norm_type", [1, 2, 2.5, math.inf])
def test_clipping_by_norm(norm_type: float) -> None:
    torch = pytest.importorskip("torch")
    norm = norm_of(GRADIENTS, norm_type)
    for max_norm in (0.1 * norm, 10 * norm):
        clipped, found = optim.clip_grad_norm(GRADIENTS, max_norm, norm_type)
        assert found == pytest.approx(norm, rel=1e-12)
        parameters = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in GRADIENTS]
        for parameter, g in zip(parameters, GRADIENTS, strict=True):
            parameter.grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        for ours, parameter in zip(clipped, parameters, strict=True):
            assert_close(ours, parameter.grad.numpy())


def test_clipping_by_value() -> None:
    for found, g in zip(optim.clip_grad_value(GRADIENTS, 0.5), GRADIENTS, strict=True):
        np.testing.assert_array_equal(found, np.clip(g, -0.5, 0.5))


def test_norms_of_nan_and_infinity() -> None:
    with_nan = [np.array([1.0, np.nan, 2.0]), np.array([3.0])]
    assert all(np.isnan(optim.gradient_norm(with_nan, p)) for p in (1, 2, math.inf))
    assert optim.gradient_norm([np.array([1.0, -np.inf])], math.inf) == np.inf


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: optim.clip_grad_norm(GRADIENTS, -1.0), "max_norm must be 0 or more, not -1"),
        (lambda: optim.clip_grad_norm([], 1.0), "there are no gradients"),
        (lambda: optim.gradient_norm(GRADIENTS, 0), "norm_type must be above 0, not 0"),
        (lambda: optim.clip_grad_value(GRADIENTS, -1.0), "clip_value must be 0 or more"),
        (lambda: nc.Trainer(nn.Linear(2, 2), clip_norm=-1.0), "Trainer: clip_norm must be 0 or more, got -1"),
        (lambda: nc.Trainer(nn.Linear(2, 2), l1=-0.1), "Trainer: l1 must be 0 or more, got -0.1"),
    ],
)
def test_wrong_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


X = np.random.default_rng(0).standard_normal((LANES, 1, 3, 2)).astype(np.float32)
Y = np.arange(LANES) % 4


def one_step(**options: Any) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Parameters before and after a step of plain descent at rate 1, and the loss."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4, generator=1))
    before = [p.data.astype(np.float64) for p in model.parameters()]
    trainer = nc.Trainer(model, optimizer=optim.SGD(lr=1.0), **options)
    loss = trainer.step(X, Y)
    return before, [p.data.astype(np.float64) for p in model.parameters()], loss


def test_training_steps_with_clipping_and_penalties() -> None:
    before, after, loss = one_step()
    grads = [b - a for b, a in zip(before, after, strict=True)]
    norm = norm_of(grads, 2)
    expected = {
        "clip_norm": ({"clip_norm": norm / 3}, [g / 3 for g in grads]),
        "loose": ({"clip_norm": 3 * norm}, grads),
        "clip_value": ({"clip_value": 0.02}, [np.clip(g, -0.02, 0.02) for g in grads]),
        "l1": ({"l1": 0.1}, [g + 0.1 * np.sign(b) for g, b in zip(grads, before, strict=True)]),
        "l2": ({"l2": 0.1}, [g + 0.1 * b for g, b in zip(grads, before, strict=True)]),
    }
    for options, wanted in expected.values():
        _, found, same = one_step(**options)
        assert same == loss
        for b, a, g in zip(before, found, wanted, strict=True):
            np.testing.assert_allclose(b - a, g, rtol=1e-4, atol=1e-6)


def test_penalties_are_functions_with_gradients() -> None:
    weight = GRADIENTS[0]
    value, gradient = nc.value_and_grad(lambda w: 0.5 * F.l1_penalty(w) + F.l2_penalty(w))(weight)
    assert value == pytest.approx(0.5 * np.abs(weight).sum() + (weight**2).sum() / 2)
    assert_close(gradient, 0.5 * np.sign(weight) + weight)


def test_options_are_part_of_a_run(tmp_path: Any) -> None:
    model = nc.models.lenet5(in_channels=1, seed=1)
    x = np.zeros((LANES, 1, 28, 28), np.uint8)
    trainer = nc.Trainer(model, batch_size=LANES, clip_norm=1.5, l2=0.01, pad=2)
    trainer.fit((x, Y), epochs=1, run=tmp_path)
    from numbaconv.training.restore import restore
    from numbaconv.training.run import RunFolder

    again, _ = restore(RunFolder(tmp_path))
    assert again.penalties == trainer.penalties
