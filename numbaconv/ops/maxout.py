"""Maxout: an activation that is learned, the largest of several linear pieces."""

from .core import Case, Operator, Spec, apply, checked, integers, operator, public, shape_of


class Maxout(Operator):
    """The largest of every ``pieces`` channels."""

    def shape(self, x: Spec, *, pieces) -> Spec:
        return Spec((x.shape[0], x.shape[1] // pieces, *x.shape[2:]), x.dtype)

    def gradient(self, grads, outputs, x, *, pieces):
        return (maxout_grad(grads[0], x, pieces=pieces),)

    def flops(self, inputs, outputs, **attrs):
        return float(inputs[0].size)


class MaxoutGrad(Operator):
    """grad where the first of the largest channels stands, else 0."""

    def shape(self, grad: Spec, x: Spec, *, pieces) -> Spec:
        return x


maxout_row, maxout_grad = operator(Maxout), operator(MaxoutGrad)


@public(
    Case({"x": (17, 6, 3, 2)}, {"pieces": 3}), Case({"x": (5, 8)}, {"pieces": 2}),
    sizes=(Case({"x": (64, 32, 32, 32)}, {"pieces": 2}), Case({"x": (16, 64, 56, 56)}, {"pieces": 2})),
)  # fmt: skip
def maxout(x, pieces):
    """The largest of every ``pieces`` channels that follow each other: x (N, C, ...) to (N, C / pieces, ...).

    NaN wins; of equal numbers the first takes the gradient.  ValueError if ``pieces`` does not divide the channels.
    Source: Goodfellow et al., Maxout Networks, arXiv 1302.4389, section 3.
    """
    x = checked("maxout", x)
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"maxout: x must have at least 2 dimensions, its shape is {shape}")
    (pieces,) = integers("maxout", "pieces", pieces, 1, 1)
    if shape[1] % pieces:
        raise ValueError(f"maxout: {shape[1]} channels cannot be divided into groups of {pieces}")
    return apply(maxout_row, (x,), {"pieces": pieces})
