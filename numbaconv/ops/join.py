"""Arrays joined along a dimension, and cut along it."""

import numpy as np

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    checked,
    dimension,
    integers,
    operator,
    public,
    shape_of,
)
from .shape import expand


class Concat(Operator):
    """Arrays one after another along ``dim``; they agree in all other dimensions."""

    def shape(self, *tensors: Spec, dim) -> Spec:
        first = tensors[0]
        size = sum(t.shape[dim] for t in tensors)
        return Spec((*first.shape[:dim], size, *first.shape[dim + 1 :]), first.dtype)

    def gradient(self, grads, outputs, *tensors, dim):
        return split_row(grads[0], sizes=tuple(t.shape[dim] for t in tensors), dim=dim)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class Split(Operator):
    """Parts of ``sizes`` along ``dim``, one after another."""

    def shape(self, x: Spec, *, sizes, dim) -> tuple[Spec, ...]:
        return tuple(Spec((*x.shape[:dim], size, *x.shape[dim + 1 :]), x.dtype) for size in sizes)

    def gradient(self, grads, outputs, x, *, sizes, dim):
        parts = [_zeros(y) if g is None else g for g, y in zip(grads, outputs, strict=True) if y.size]
        return (parts[0] if len(parts) == 1 else concat_row(*parts, dim=dim),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


concat_row, split_row = operator(Concat), operator(Split)


def _zeros(like):
    return expand(like.graph.leaf(np.zeros((), like.dtype)), shape=like.shape)


@public(
    Case({"tensors": [(3, 2, 4), (3, 5, 4)]}, {"dim": 1}, batched=("tensors",)),
    Case({"tensors": [(17, 2, 3, 3), (17, 1, 3, 3), (17, 18, 3, 3)]}, {"dim": 1}, batched=("tensors",)),
    Case({"tensors": [(2, 3), (4, 3)]}, batched=()),
    Case({"tensors": [(17, 2, 3, 4), (17, 2, 3, 1)]}, {"dim": -1}, batched=("tensors",)),
    sizes=[
        Case({"tensors": [(64, 32, 32, 32), (64, 32, 32, 32)]}, {"dim": 1}, batched=("tensors",)),
        Case({"tensors": [(16, 64, 56, 56), (16, 32, 56, 56)]}, {"dim": 1}, batched=("tensors",)),
    ],
)
def concat(tensors, dim=0):
    """Arrays one after another along the dimension ``dim``, as torch.cat; ``cat`` is another name of it.

    All have the same shape but for ``dim``; arrays of shape (0,) count as nothing.  Along channels it is one pass of
    vector copies in either layout.  Raises ValueError for shapes that do not fit, or if there is no array.
    Source: PyTorch.
    """
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"concat: tensors must be a list or tuple of arrays, not {type(tensors).__name__}")
    tensors = [as_input(t) for t in tensors]
    if not tensors:
        raise ValueError("concat: there is no array to join")
    check_floats("concat", **{f"array {i}": t for i, t in enumerate(tensors)})
    tensors = [t for t in tensors if shape_of(t) != (0,)] or tensors[:1]
    first = shape_of(tensors[0])
    if not first:
        raise ValueError("concat: numbers (arrays of no dimension) cannot be joined")
    dim = dimension("concat", "dim", dim, len(first))
    for t in tensors:
        shape = shape_of(t)
        if (*shape[:dim], *shape[dim + 1 :]) != (*first[:dim], *first[dim + 1 :]) or len(shape) != len(first):
            raise ValueError(f"concat: shapes {first} and {shape} differ in another dimension than {dim}")
    tensors = [t for t in tensors if shape_of(t)[dim]] or tensors[:1]
    return tensors[0] if len(tensors) == 1 else apply(concat_row, tensors, {"dim": dim})


@public(
    Case({"x": (3, 7, 4)}, {"split_size_or_sections": 3, "dim": 1}),
    Case({"x": (17, 6, 2, 3)}, {"split_size_or_sections": (1, 0, 5), "dim": 1}),
    Case({"x": (5, 3)}, {"split_size_or_sections": 2}, batched=()),
)
def split(x, split_size_or_sections, dim=0):
    """``x`` cut along ``dim``: into parts of one size (the last may be smaller), or of the sizes in a list.

    Returns a tuple of arrays (torch.split's are views of x, ours are copies).  Raises ValueError if the sizes do not
    add up.  Source: PyTorch.
    """
    x = checked("split", x)
    shape = shape_of(x)
    if not shape:
        raise ValueError("split: a number (an array of no dimension) cannot be cut")
    dim = dimension("split", "dim", dim, len(shape))
    size, given = shape[dim], split_size_or_sections
    if isinstance(given, (tuple, list)):
        sizes = integers("split", "split_size_or_sections", tuple(given), len(given), 0)
        if sum(sizes) != size:
            raise ValueError(f"split: the sections {sizes} do not add up to {size}, the size of dimension {dim}")
    else:
        (each,) = integers("split", "split_size_or_sections", given, 1, 1 if size else 0)
        sizes = tuple(min(each, size - start) for start in range(0, size, max(each, 1))) or (0,)
    return (x,) if len(sizes) == 1 else apply(split_row, (x,), {"sizes": sizes, "dim": dim})


@public(Case({"x": (3, 7, 4)}, {"chunks": 3, "dim": 1}), Case({"x": (17, 6, 2, 3)}, {"chunks": 4, "dim": 1}))
def chunk(x, chunks, dim=0):
    """``x`` cut along ``dim`` into at most ``chunks`` parts of one size; the last may be smaller (torch.chunk).

    Returns a tuple of arrays.  Source: PyTorch.
    """
    x = checked("chunk", x)
    (chunks,) = integers("chunk", "chunks", chunks, 1, 1)
    shape = shape_of(x)
    if not shape:
        raise ValueError("chunk: a number (an array of no dimension) cannot be cut")
    size = shape[dimension("chunk", "dim", dim, len(shape))]
    return split(x, (0,) * chunks if not size else -(-size // chunks), dim)
