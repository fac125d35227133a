"""The gated linear unit: one half of an array lets the other half through."""

from .core import Case, Operator, Spec, apply, checked, dimension, operator, public, shape_of


class Glu(Operator):
    """a sigmoid(b) of the halves a and b along an axis."""

    def shape(self, x: Spec, *, axis) -> Spec:
        return Spec((*x.shape[:axis], x.shape[axis] // 2, *x.shape[axis + 1 :]), x.dtype)

    def gradient(self, grads, outputs, x, *, axis):
        return (glu_grad(grads[0], x, axis=axis),)

    def flops(self, inputs, outputs, **attrs):
        return 4.0 * outputs[0].size


class GluGrad(Operator):
    """grad s for a and grad a s (1 - s) for b, with s = sigmoid(b)."""

    def shape(self, grad: Spec, x: Spec, *, axis) -> Spec:
        return x

    def flops(self, inputs, outputs, **attrs):
        return 4.0 * outputs[0].size


glu_row, glu_grad = operator(Glu), operator(GluGrad)


@public(
    Case({"x": (17, 6, 3, 2)}, {"dim": 1}), Case({"x": (5, 3, 8)}), Case({"x": (4, 3)}, {"dim": 0}, batched=()),
    sizes=(Case({"x": (64, 32, 32, 32)}, {"dim": 1}), Case({"x": (16, 64, 56, 56)}, {"dim": 1})),
)  # fmt: skip
def glu(x, dim=-1):
    """The first half of ``x`` along ``dim`` times the sigmoid of the second half: (..., 2 n, ...) to (..., n, ...).

    Raises ValueError if the size of ``dim`` is odd.  Source: Dauphin et al., Language Modeling with Gated Convolutional
    Networks, arXiv 1612.08083, equation 1.
    """
    x = checked("glu", x)
    shape = shape_of(x)
    if not shape:
        raise ValueError("glu: a number (an array of no dimension) has no halves")
    axis = dimension("glu", "dim", dim, len(shape))
    if shape[axis] % 2:
        raise ValueError(f"glu: dimension {axis} has the odd size {shape[axis]}; it has no halves")
    return apply(glu_row, (x,), {"axis": axis})
