"""Local response normalisation."""

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    checked,
    image_sizes,
    integers,
    number,
    operator,
    public,
    shape_of,
)


class LocalResponseNorm(Operator):
    """x / (k + alpha * mean of x^2 over ``size`` channels around)^beta."""

    def shape(self, x: Spec, **attrs) -> Spec:
        return x

    def gradient(self, grads, outputs, x, **attrs):
        return (local_response_norm_grad(grads[0], x, **attrs),)

    def flops(self, inputs, outputs, *, size, **attrs):
        return (2.0 * size + 10.0) * outputs[0].size


class LocalResponseNormGrad(Operator):
    """Gradient of ``local_response_norm``."""

    def shape(self, grad: Spec, x: Spec, **attrs) -> Spec:
        return x

    def flops(self, inputs, outputs, *, size, **attrs):
        return (4.0 * size + 14.0) * outputs[0].size


local_response_norm_row, local_response_norm_grad = operator(LocalResponseNorm), operator(LocalResponseNormGrad)


@public(
    Case({"x": (17, 7, 3, 2)}, {"size": 5, "alpha": 0.5}), Case({"x": (5, 3, 19)}, {"size": 4, "alpha": 0.5, "k": 2.0}),
    sizes=image_sizes(size=5),
)  # fmt: skip
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha * mean of x^2 over ``size`` channels around each)^beta; channels beyond the first and last are 0.

    The channels are size // 2 before to (size - 1) // 2 behind.  x (N, C, ...); ValueError for fewer dimensions.
    Krizhevsky's alpha is of the sum instead of the mean: size times less.
    Source: Krizhevsky et al., ImageNet Classification with Deep CNNs, 2012, section 3.3; PyTorch.
    """
    x = checked("local_response_norm", x)
    if len(shape_of(x)) < 3:
        raise ValueError(f"local_response_norm: x must have at least 3 dimensions, its shape is {shape_of(x)}")
    (size,) = integers("local_response_norm", "size", size, 1, 1)
    given = {"alpha": alpha, "beta": beta, "k": k}
    attrs = {name: number("local_response_norm", name, value) for name, value in given.items()}
    return apply(local_response_norm_row, (x,), {"size": size, **attrs})
