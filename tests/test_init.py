"""Initial values: the moments and properties that their papers promise, and PyTorch's gains."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbaconv.functional as F
from numbaconv import nn
from numbaconv.nn import init

SHAPE = (64, 48, 3, 3)
FAN_IN, FAN_OUT = 48 * 9, 64 * 9

#: Call -> the standard deviation it should have, and whether it is uniform.
DRAWN: dict[str, tuple[Callable[[Any], Any], float, bool]] = {
    "xavier_uniform": (lambda w: init.xavier_uniform_(w, 2.0, 1), 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)), True),
    "xavier_normal": (lambda w: init.xavier_normal_(w, generator=1), math.sqrt(2 / (FAN_IN + FAN_OUT)), False),
    "kaiming_uniform": (lambda w: init.kaiming_uniform_(w, 0.5, generator=1), math.sqrt(2 / 1.25 / FAN_IN), True),
    "kaiming_uniform out": (
        lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="tanh", generator=1),
        5 / 3 / math.sqrt(FAN_OUT), True,
    ),
    "kaiming_normal": (lambda w: init.kaiming_normal_(w, "fan_out", 1), math.sqrt(2 / FAN_OUT), False),
    "lecun_uniform": (lambda w: init.lecun_uniform_(w, 1), math.sqrt(1 / FAN_IN), True),
    "lecun_normal": (lambda w: init.lecun_normal_(w, 1), math.sqrt(1 / FAN_IN), False),
    "normal": (lambda w: init.normal_(w, 0.0, 0.3, 1), 0.3, False),
    "uniform": (lambda w: init.uniform_(w, -1.0, 1.0, 1), math.sqrt(1 / 3), True),
}  # fmt: skip


@pytest.mark.parametrize("call, std, uniform", DRAWN.values(), ids=DRAWN)
def test_draws_have_the_moments_they_should(call: Callable, std: float, uniform: bool) -> None:
    weight = nn.Parameter(np.zeros(SHAPE, np.float32))
    assert call(weight) is weight
    x = weight.data.astype(np.float64)
    assert abs(x.mean()) < 5 * std / math.sqrt(x.size)
    assert x.std() == pytest.approx(std, rel=0.02)
    kurtosis = ((x / std) ** 4).mean()
    assert kurtosis == pytest.approx(1.8 if uniform else 3.0, rel=0.06)
    if uniform:
        assert np.abs(x).max() <= math.sqrt(3) * std * (1 + 1e-6)
    again = nn.Parameter(np.zeros(SHAPE, np.float32))
    np.testing.assert_array_equal(call(again).data, weight.data)  # the seed decides


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (40, 2, 3, 3), (5, 5)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal_(nn.Parameter(np.zeros(shape)), gain=2.0, generator=3).data.reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4.0 * np.eye(len(product)), atol=1e-12)


def test_dirac_passes_channels_on() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32)
    weight = init.dirac_(nn.Parameter(np.ones((6, 4, 3, 3), np.float32)))
    y = F.conv2d(x, weight, padding=1)
    np.testing.assert_array_equal(y[:, :4], x)
    assert not y[:, 4:].any()
    grouped = init.dirac_(nn.Parameter(np.ones((4, 2, 3, 3), np.float32)), groups=2)
    np.testing.assert_array_equal(F.conv2d(x, grouped, padding=1, groups=2), x)


def test_constants() -> None:
    weight = nn.Parameter(np.zeros(5))
    assert (init.constant_(weight, 2.5).data == 2.5).all() and (init.ones_(weight).data == 1).all()
    assert not init.zeros_(weight).data.any()


def test_gains_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: init.dirac_(nn.Parameter(np.ones((3, 3)))), "dirac_: a weight of 3 to 5 dimensions"),
        (lambda: init.dirac_(nn.Parameter(np.ones((3, 3, 3))), 2), "3 outputs cannot be divided into 2 groups"),
        (lambda: init.orthogonal_(nn.Parameter(np.ones(3))), "orthogonal_: a weight of at least two dimensions"),
        (lambda: init.kaiming_uniform_(nn.Parameter(np.ones((2, 2))), mode="fan"), "mode must be 'fan_in' or"),
        (lambda: init.calculate_gain("swish"), "calculate_gain: nonlinearity must be one of"),
        (lambda: init.xavier_normal_(nn.Parameter(np.ones(3))), "has no fan-in"),
    ],
)
def test_wrong_arguments(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
