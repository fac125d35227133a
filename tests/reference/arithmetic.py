"""Arithmetic and sums."""

import math
from typing import Any

import numpy as np

from .common import Array, all_terms, reference, wide

reference("add")(lambda x, y: wide(x) + wide(y))
reference("subtract")(lambda x, y: wide(x) - wide(y))
reference("multiply")(lambda x, y: wide(x) * wide(y))
reference("divide")(lambda x, y: wide(x) / wide(y))
reference("exp")(lambda x: np.exp(wide(x)))
reference("log")(lambda x: np.log(wide(x)))


@reference("sum", terms=all_terms)
def sum(x: Any) -> Array:
    return np.asarray(math.fsum(wide(x).ravel()))


@reference("mean", terms=all_terms)
def mean(x: Any) -> Array:
    return sum(x) / np.size(x)
