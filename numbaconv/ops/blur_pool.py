"""Anti-aliased downsampling (Zhang, arXiv 1904.11486): a binomial filter before pixels are left out."""

import math

from .core import Case, Operator, Spec, apply, image_sizes, integers, operator, public, shape_of
from .pool import SIGNALS, VOLUMES, sizes_of
from .window import as_batch, without_batch


class BlurPool(Operator):
    """Binomial weights times pixels, every ``stride`` pixels; the image is reflected at its borders."""

    def shape(self, x: Spec, *, taps, stride) -> Spec:
        return Spec((*x.shape[:2], *((n - 1) // s + 1 for n, s in zip(x.shape[2:], stride, strict=True))), x.dtype)

    def gradient(self, grads, outputs, x, **attrs):
        return (blur_pool_grad(grads[0], size=x.shape[2:], **attrs),)

    def flops(self, inputs, outputs, *, taps, **attrs):
        return 2.0 * outputs[0].size * taps ** (len(outputs[0].shape) - 2)


class BlurPoolGrad(Operator):
    """The transposed map."""

    def shape(self, grad: Spec, *, size, taps, stride) -> Spec:
        return Spec((*grad.shape[:2], *size), grad.dtype)

    def gradient(self, grads, outputs, grad, *, size, **attrs):
        return (blur_pool(grads[0], **attrs),)

    def flops(self, inputs, outputs, *, taps, **attrs):
        return 2.0 * inputs[0].size * taps ** (len(outputs[0].shape) - 2)


blur_pool, blur_pool_grad = operator(BlurPool), operator(BlurPoolGrad)


def blurred(size: int, taps: int, stride: int) -> list[list[tuple[int, float]]]:
    """For each output along a dimension of ``size`` pixels the (pixel, weight) that it sums."""
    period = max(1, 2 * (size - 1))
    weights = [math.comb(taps - 1, t) / 2 ** (taps - 1) for t in range(taps)]

    def reflected(i: int) -> int:
        return min(i % period, period - i % period) if size > 1 else 0

    starts = range(-((taps - 1) // 2), size - (taps - 1) // 2, stride)
    return [[(reflected(start + t), weight) for t, weight in enumerate(weights)] for start in starts]


def _blur(function: str, dimensions: int, x, kernel_size, stride):
    x, single = as_batch(function, dimensions, x)
    (taps,) = integers(function, "kernel_size", kernel_size, 1, 1)
    stride = integers(function, "stride", stride, dimensions, 1)
    if 0 in shape_of(x)[2:]:
        raise ValueError(f"{function}: x has no pixels, its shape is {shape_of(x)}")
    return without_batch(apply(blur_pool, (x,), {"taps": taps, "stride": stride}), single)


@public(Case({"x": (3, 4, 9)}), sizes=sizes_of(SIGNALS))
def blur_pool1d(x, kernel_size=4, stride=2):
    """y[n, c, i] = sum over taps t of w_t x[n, c, i stride + t - (k - 1) // 2], w_t = binomial(k - 1, t) / 2^(k - 1).

    Signals x (N, C, L) or (C, L) -> (N, C, L') or (C, L'); arguments as for ``blur_pool2d``.

    Source: Zhang, arXiv 1904.11486, section 3.
    """
    return _blur("blur_pool1d", 1, x, kernel_size, stride)


@public(
    Case({"x": (17, 3, 7, 6)}, {"kernel_size": 3, "stride": (1, 2)}),
    Case({"x": (2, 20, 4, 1)}, {"kernel_size": 5}),
    sizes=image_sizes(),
)
def blur_pool2d(x, kernel_size=4, stride=2):
    """y[n, c, i, j] = sum over taps (s, t) of w_s w_t x[n, c, i stride + s - p, j stride + t - p], p = (k - 1) // 2.

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W') with H' = (H - 1) // stride + 1.  The weights
    w_t = binomial(k - 1, t) / 2^(k - 1), k = ``kernel_size``, sum to 1; beyond its borders the image is reflected, and
    again where it is smaller than the filter.  Behind a max_pool2d of stride 1 this is anti-aliased max pooling.
    ValueError for an image without pixels.

    Source: Zhang, arXiv 1904.11486, section 3.
    """
    return _blur("blur_pool2d", 2, x, kernel_size, stride)


@public(Case({"x": (3, 2, 3, 4, 5)}), sizes=sizes_of(VOLUMES))
def blur_pool3d(x, kernel_size=4, stride=2):
    """y[n, c, i, j, k] = sum over taps of the products of three binomial weights and x around stride (i, j, k).

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); arguments as for
    ``blur_pool2d``.

    Source: Zhang, arXiv 1904.11486, section 3.
    """
    return _blur("blur_pool3d", 3, x, kernel_size, stride)
