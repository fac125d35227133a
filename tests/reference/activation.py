"""Activation functions."""

import numpy as np

from .common import Array, reference, wide


def logistic(x: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -x))


reference("tanh")(lambda x: np.tanh(wide(x)))
reference("relu")(lambda x: np.maximum(wide(x), 0.0))
reference("sigmoid")(lambda x: logistic(wide(x)))
