"""Minimal filtering: the matrices of Cook and Toom's algorithm, and their products with vectors as few instructions.

F(m, r) gives m outputs of a correlation of n = m + r - 1 inputs d with r taps g by n multiplications:

    y = A [(G g) * (B d)]

A filter and a piece of the input are evaluated at n - 1 points and infinity, multiplied point by point, and the product
is interpolated (Lavin & Gray, arXiv 1509.09308; Blahut, Fast Algorithms for Signal Processing, chapter 5).  In two
dimensions each matrix is applied to columns and then to rows.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from .vector import constant, fused_multiply_add

Matrix = tuple[tuple[Fraction, ...], ...]

#: Points of evaluation in order; those of opposite sign share work, small ones keep rounding errors small.
POINTS = (0, 1, -1, 2, -2)


class Transforms(NamedTuple):
    """A (m x n), B (n x n) and G (n x r)."""

    outputs: Matrix
    inputs: Matrix
    filters: Matrix


def transforms(m: int, r: int) -> Transforms:
    """The matrices of F(m, r)."""
    n = m + r - 1
    points = [Fraction(p) for p in POINTS[: n - 1]]
    assert len(points) == n - 1, f"F({m}, {r}) needs more points"

    def from_roots(roots: Sequence[Fraction]) -> list[Fraction]:
        """Coefficients, lowest first, of the polynomial with these roots."""
        found = [Fraction(1)]
        for root in roots:
            found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
        return found

    others = [[q for q in points if q != p] for p in points]
    inputs = [[*from_roots(roots), Fraction(0)] for roots in others] + [from_roots(points)]
    scales = [1 / math.prod((p - q for q in roots), start=Fraction(1)) for p, roots in zip(points, others, strict=True)]
    filters = [[s * p**k for k in range(r)] for p, s in zip(points, scales, strict=True)]
    filters.append([Fraction(int(k == r - 1)) for k in range(r)])
    outputs = [[*(p**i for p in points), Fraction(int(i == m - 1))] for i in range(m)]
    return Transforms(*(tuple(map(tuple, rows)) for rows in (outputs, inputs, filters)))


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def apply(builder, matrix: Matrix, values: Sequence) -> list:
    """LLVM: the products of ``matrix`` with vectors.

    Points of opposite sign give rows (or columns) that differ only in the sign of every second number; their even
    and odd parts are calculated once.
    """
    columns = transposed(matrix)
    for j in range(len(columns) - 1):
        if _opposite(columns[j], columns[j + 1]):  # even rows want the sum of both, odd rows the difference
            pair = [operate(builder, values[j], values[j + 1]) for operate in (_add, _subtract)]
            rows = [(*row[:j], *(row[j] * (i % 2 == k) for k in (0, 1)), *row[j + 2 :]) for i, row in enumerate(matrix)]
            return apply(builder, tuple(rows), [*values[:j], *pair, *values[j + 2 :]])
    results: list = []
    while len(results) < len(matrix):
        i = len(results)
        if i + 1 < len(matrix) and _opposite(matrix[i], matrix[i + 1]):
            even, odd = (weighted_sum(builder, matrix[i][k::2], values[k::2]) for k in (0, 1))
            results += [_add(builder, even, odd), _subtract(builder, even, odd)]
        else:
            results.append(weighted_sum(builder, matrix[i], values))
    return results


def apply_twice(builder, matrix: Matrix, values: Sequence[Sequence]) -> list[list]:
    """LLVM: ``matrix`` X ``matrix`` transposed, for X given by rows."""
    columns = [apply(builder, matrix, column) for column in zip(*values, strict=True)]
    return [apply(builder, matrix, row) for row in zip(*columns, strict=True)]


def _opposite(first: Sequence[Fraction], second: Sequence[Fraction]) -> bool:
    """Whether every second number differs in sign, and there are both kinds."""
    same = all(b == (-a if i % 2 else a) for i, (a, b) in enumerate(zip(first, second, strict=True)))
    return same and any(first[0::2]) and any(first[1::2])


def _add(builder, x, y):
    return builder.fadd(x, y, flags=("contract",))


def _subtract(builder, x, y):
    return builder.fsub(x, y, flags=("contract",))


def weighted_sum(builder, weights: Sequence[Fraction], values: Sequence):
    """LLVM: the sum of weights times vectors; terms of weight 1 first, which need no multiplication."""
    terms = sorted(((w, v) for w, v in zip(weights, values, strict=True) if w), key=lambda term: term[0] != 1)
    total = None
    for weight, value in terms:
        if total is None:
            total = value if weight == 1 else builder.fmul(constant(value.type, float(weight)), value)
        elif abs(weight) == 1:
            total = (_add if weight > 0 else _subtract)(builder, total, value)
        else:
            total = fused_multiply_add(builder, constant(value.type, float(weight)), value, total)
    assert total is not None, "a row of zeros"
    return total
