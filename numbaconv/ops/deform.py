"""Deformable convolution: every tap of the filter reads the input at a place of its own.

    y[n, k, p] = b[k] + sum over c and taps t of  m[n, t, p] x[n, c, q] w[k, c, t]
    q = p * stride + t * dilation - padding + o[n, t, p]

with x between pixels by bilinear interpolation (Dai et al., arXiv 1703.06211, equations 2 to 4; the mask m is that of
Zhu et al., arXiv 1811.11168, equation 1).
"""

from .conv import channel_sum, output_size
from .core import Case, Operator, Spec, apply, as_input, check_floats, integers, operator, public, shape_of


class DeformConv(Operator):
    """Deformable convolution of x (N, C, H, W) with offset (N, 2 G R S, H', W') and weight (K, C / groups, R, S).

    Then follow the mask (N, G R S, H', W') if ``masked``, and perhaps a bias (K,).
    """

    def shape(self, x: Spec, offset: Spec, weight: Spec, *rest: Spec, **attrs) -> Spec:
        return Spec((x.shape[0], weight.shape[0], *offset.shape[2:]), x.dtype)

    def gradient(self, grads, outputs, x, offset, weight, *rest, masked, **attrs):
        mask = rest[:1] if masked else ()
        by_x, by_offset, *by_mask = deform_conv_input_grads(grads[0], x, offset, weight, *mask, masked=masked, **attrs)
        by_weight = deform_conv_weight_grad(
            grads[0], x, offset, *mask, masked=masked, kernel=weight.shape[2:], depth=weight.shape[1], **attrs
        )
        return by_x, by_offset, by_weight, *by_mask, *(channel_sum(grads[0]) for _ in rest[len(mask) :])

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * (inputs[2].size // inputs[2].shape[0])


class DeformConvInputGrads(Operator):
    """Gradients of a deformable convolution with respect to input, offset and (if ``masked``) mask."""

    def shape(self, grad: Spec, x: Spec, offset: Spec, weight: Spec, *mask: Spec, **attrs) -> tuple[Spec, ...]:
        return x, offset, *mask

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size * (inputs[3].size // inputs[3].shape[0])


class DeformConvWeightGrad(Operator):
    """Gradient of a deformable convolution with respect to its weight."""

    def shape(self, grad: Spec, x: Spec, offset: Spec, *mask: Spec, kernel, depth, **attrs) -> Spec:
        return Spec((grad.shape[1], depth, *kernel), grad.dtype)

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size * (outputs[0].size // outputs[0].shape[0])


deform_conv, deform_conv_input_grads = operator(DeformConv), operator(DeformConvInputGrads)
deform_conv_weight_grad = operator(DeformConvWeightGrad)

_BATCHED = ("x", "offset", "mask")


def _case(batch, channels, size, filters, kernel, out, offset_groups=1, groups=1, bias=True, masked=True, **arguments):
    taps = kernel[0] * kernel[1] * offset_groups
    shapes = {
        "x": (batch, channels, *size), "offset": (batch, 2 * taps, *out),
        "weight": (filters, channels // groups, *kernel),
    }  # fmt: skip
    shapes |= {"bias": (filters,)} if bias else {}
    shapes |= {"mask": (batch, taps, *out)} if masked else {}
    return Case(shapes, arguments, batched=_BATCHED)


@public(
    _case(3, 4, (6, 7), 5, (3, 3), (6, 7), padding=1),
    _case(17, 3, (5, 6), 6, (3, 2), (3, 4), groups=3, offset_groups=3, bias=False, masked=False, stride=2, padding=1),
    _case(2, 20, (4, 4), 18, (2, 2), (4, 3), offset_groups=2, groups=2, dilation=(2, 1), padding=(1, 0)),
    sizes=[
        _case(64, 32, (32, 32), 32, (3, 3), (32, 32), bias=False, padding=1),
        _case(16, 64, (56, 56), 64, (3, 3), (56, 56), bias=False, padding=1),
    ],
)
def deform_conv2d(x, offset, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), mask=None):
    """Deformable convolution v1, and with a mask v2: every tap reads x at an offset of its own.

    x (N, C, H, W); offset (N, 2 G R S, H', W'), for each of G groups of input channels and each tap the distance down
    and to the right, in pixels; weight (K, C / groups, R, S), groups following from the shapes; bias (K,); mask
    (N, G R S, H', W'), factors of the taps.  Returns (N, K, H', W').  Outside the image lie zeros, and a place that is
    not a number lies outside.  Gradients to all five arrays, of first order.

    Raises ValueError for shapes that do not fit.  Source: Dai et al., arXiv 1703.06211, equations 2 to 4; Zhu et al.,
    arXiv 1811.11168, equation 1; arguments of torchvision.ops.deform_conv2d.
    """
    arrays = {"x": x, "offset": offset, "weight": weight, "mask": mask, "bias": bias}
    arrays = {name: as_input(a) for name, a in arrays.items() if a is not None or name in ("x", "offset", "weight")}
    check_floats("deform_conv2d", **arrays)
    shapes = {name: shape_of(a) for name, a in arrays.items()}
    for name, shape in shapes.items():
        if len(shape) != (1 if name == "bias" else 4):
            raise ValueError(f"deform_conv2d: {name} must have 4 dimensions, its shape is {shape}")
    stride = integers("deform_conv2d", "stride", stride, 2, 1)
    padding = integers("deform_conv2d", "padding", padding, 2, 0)
    dilation = integers("deform_conv2d", "dilation", dilation, 2, 1)
    (batch, channels, *size), (filters, depth, *kernel) = shapes["x"], shapes["weight"]
    if min(filters, depth, *kernel) < 1:
        raise ValueError(f"deform_conv2d: weight has an empty dimension, its shape is {shapes['weight']}")
    if channels % depth or filters % (channels // depth or 1) or not channels:
        raise ValueError(f"deform_conv2d: a weight of shape {shapes['weight']} does not fit {channels} input channels")
    taps = kernel[0] * kernel[1]
    pairs = shapes["offset"][1]
    if pairs % (2 * taps) or not pairs or channels % (pairs // (2 * taps)):
        raise ValueError(
            f"deform_conv2d: offset must have 2 x {taps} channels for each group of the {channels} input channels, "
            f"it has {pairs}"
        )
    sizes = zip(size, kernel, stride, padding, dilation, strict=True)
    out = tuple(output_size(n, k, s, (p, p), d) for n, k, s, p, d in sizes)
    if min(out) < 1:
        raise ValueError(f"deform_conv2d: a kernel of {kernel} does not fit into {size} with padding {padding}")
    expected = {"offset": (batch, pairs, *out), "mask": (batch, pairs // 2, *out), "bias": (filters,)}
    for name, shape in expected.items():
        if shapes.get(name, shape) != shape:
            raise ValueError(f"deform_conv2d: {name} must have shape {shape}, its shape is {shapes[name]}")
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "masked": mask is not None}
    operands = [arrays[name] for name in ("x", "offset", "weight", "mask", "bias") if name in arrays]
    return apply(deform_conv, operands, attrs)
