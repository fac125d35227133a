"""Numbers put to and taken from places of their planes: a plane is the pixels of one channel of one image.

Places are int32 or int64 numbers of pixels in C order, as pooling gives them; -1 is no place.
"""

import numpy as np

from .core import Operator, Spec, operator


class _Scatter(Operator):
    def shape(self, values: Spec, indices: Spec, *, size) -> Spec:
        return Spec((*values.shape[:2], *size), values.dtype)

    def gradient(self, grads, outputs, values, indices, *, size):
        return plane_pick(grads[0], indices), None


class PlanePut(_Scatter):
    """Zeros, and each value at its place: the last of several; the gradient is that of distinct places."""


class PlaneAdd(_Scatter):
    """Zeros, and each value added at its place."""


class PlanePick(Operator):
    """What stands at each place of x; zero where there is no place."""

    def shape(self, x: Spec, indices: Spec) -> Spec:
        return Spec(indices.shape, x.dtype)

    def gradient(self, grads, outputs, x, indices):
        return plane_add(grads[0], indices, size=x.shape[2:]), None


class WideIndices(Operator):
    """int32 as int64."""

    def shape(self, indices: Spec) -> Spec:
        return Spec(indices.shape, np.dtype(np.int64))


plane_put, plane_add, plane_pick = operator(PlanePut), operator(PlaneAdd), operator(PlanePick)
wide_indices = operator(WideIndices)
