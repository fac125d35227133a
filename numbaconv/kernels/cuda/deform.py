"""Deformable convolution: an ordinary one of the *deformed image*, in which every tap of every position has a pixel.

With taps R x S the deformed image has R x S pixels for each output pixel, and the convolution strides over them.  So
all three matrix products are those of ``conv.py``.  Input gradients go the same way back: the deformed image's gradient
is added to the four neighbours of each sample, in ranges of pixels and in order as in ``plane.py``, and its products
with these are the offsets' gradients.  Offsets and masks lie in NumPy's order, as float32 at every precision: they are
places.
"""

import math

from ..convolution import FORWARD, INPUT, WEIGHTS, Convolution
from .compiler import FLOAT32, Ints, Pointer, block, kernel
from .conv import filter_layout, pass_step, weight_step
from .intrinsics import block_x, f32, i32, read_if, thread, where, write_if
from .lowering import BATCH, PLAIN, Buffer, buffer_for, ceil_div, lowering
from .plane import clear_range, range_of, ranges_step
from .sample import add, add_slopes, put_back, taps_of, walk_of
from .warp import WARP, sum_of_warp

THREADS = 256
ROWS = THREADS // WARP  # of a block: a warp takes a tap of a pixel

_, tap_of = taps_of("bilinear", "zeros", True)


def _neighbours(take):
    """A function that takes the four pixels around a place into a state."""
    return walk_of(take, tap_of, 2, False)


def _place(v, size):
    """A place as ``tap_of`` takes it; what is not a number lies outside."""
    counts = (v > -1.0) & (v < f32(size))
    return where(counts, v, 0.0), f32(1.0), counts


def _places_of(exists, offset, n, pixel, unit, units, geometry):
    """Where a tap reads, as ``walk_of`` takes it; ``unit`` counts the taps of groups of channels."""
    outputs, inputs, taps, stride, padding, dilation = geometry
    pixels = outputs[0] * outputs[1]
    tap = unit % (taps[0] * taps[1])
    p, r = pixel // outputs[1], tap // taps[1]
    q, s = pixel - p * outputs[1], tap - r * taps[1]
    at = (n * units + unit) * 2 * pixels + pixel
    down = f32(p * stride[0] - padding[0] + r * dilation[0]) + read_if(exists, offset, at)
    across = f32(q * stride[1] - padding[1] + s * dilation[1]) + read_if(exists, offset, at + pixels)
    down, across = _place(down, inputs[0]), _place(across, inputs[1])
    return down, down, across


def _pixel_of(n, pixel, tap, outputs, taps):
    """The deformed image's pixel of a tap of an output pixel."""
    p, r = pixel // outputs[1], tap // taps[1]
    q, s = pixel - p * outputs[1], tap - r * taps[1]
    return ((n * outputs[0] + p) * taps[0] + r) * (outputs[1] * taps[1]) + q * taps[1] + s


@kernel
def deformed(T, masked):
    """The deformed image; an element a thread.  ``share``: channels that have the same offsets."""
    sum_of = _neighbours(add)

    @block(THREADS, 4)
    def loop(
        x: Pointer, offset: FLOAT32, mask: FLOAT32, y: Pointer, size: int, channels: int, share: int,
        outputs: Ints(2), inputs: Ints(2), taps: Ints(2), stride: Ints(2), padding: Ints(2), dilation: Ints(2),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        exists = at < size
        c, rest = at % channels, at // channels
        s, rest = rest % taps[1], rest // taps[1]
        q, rest = rest % outputs[1], rest // outputs[1]
        r, rest = rest % taps[0], rest // taps[0]
        p, n = rest % outputs[0], rest // outputs[0]
        all_taps, pixel = taps[0] * taps[1], p * outputs[1] + q
        unit, units = c // share * all_taps + r * taps[1] + s, channels // share * all_taps
        geometry = outputs, inputs, taps, stride, padding, dilation
        places = _places_of(exists, offset, n, pixel, unit, units, geometry)
        first, sizes = n * (inputs[0] * inputs[1]) * channels + c, (i32(1), inputs[0], inputs[1])
        total = sum_of(f32(0.0), (x, first, channels), exists, places, sizes)
        if masked:
            total = total * read_if(exists, mask, (n * units + unit) * (outputs[0] * outputs[1]) + pixel)
        write_if(exists, y, at, total)

    return loop


@kernel
def offset_gradient(T, masked):
    """Gradients of offset and mask from g, the deformed image's; a warp takes a tap of a pixel."""
    sums_of = _neighbours(add_slopes)

    @block(THREADS, 4)
    def loop(
        g: Pointer, x: Pointer, offset: FLOAT32, mask: FLOAT32, by_offset: FLOAT32, by_mask: FLOAT32,
        size: int, channels: int, share: int,
        outputs: Ints(2), inputs: Ints(2), taps: Ints(2), stride: Ints(2), padding: Ints(2), dilation: Ints(2),
    ):  # fmt: skip
        at, lane = block_x() * ROWS + thread() // WARP, thread() % WARP
        exists = at < size
        all_taps, pixels = taps[0] * taps[1], outputs[0] * outputs[1]
        units = channels // share * all_taps
        line, pixel = at // pixels, at % pixels
        n, unit = line // units, line % units
        geometry = outputs, inputs, taps, stride, padding, dilation
        places = _places_of(exists, offset, n, pixel, unit, units, geometry)
        first, sizes = unit // all_taps * share, (i32(1), inputs[0], inputs[1])
        from_ = _pixel_of(n, pixel, unit % all_taps, outputs, taps) * channels + first
        operands = g, x, from_, n * (inputs[0] * inputs[1]) * channels + first, channels, share, lane
        zero = f32(0.0)
        by_across, by_down, _, by_value = sums_of((zero, zero, zero, zero), operands, exists, places, sizes)
        by_down, by_across, by_value = sum_of_warp(by_down), sum_of_warp(by_across), sum_of_warp(by_value)
        chosen = exists & (lane == 0)
        if masked:
            factor = read_if(exists, mask, at)
            by_down, by_across = by_down * factor, by_across * factor
            write_if(chosen, by_mask, at, by_value)
        write_if(chosen, by_offset, line * 2 * pixels + pixel, by_down)
        write_if(chosen, by_offset, (line * 2 + 1) * pixels + pixel, by_across)

    return loop


@kernel
def sampled_gradient(T, masked):
    """Gradient of x from g, the deformed image's; a thread takes a range of a channel's pixels."""
    back = _neighbours(put_back)

    @block(THREADS, 4)
    def loop(
        g: Pointer, offset: FLOAT32, mask: FLOAT32, y: Pointer, planes: int, channels: int, run: int, share: int,
        outputs: Ints(2), inputs: Ints(2), taps: Ints(2), stride: Ints(2), padding: Ints(2), dilation: Ints(2),
    ):  # fmt: skip
        plane, exists, first, low, high = range_of(planes, channels, run, inputs[0] * inputs[1])
        clear_range(exists, y, first, channels, low, high, run)
        n, c = plane // channels, plane % channels
        all_taps, pixels = taps[0] * taps[1], outputs[0] * outputs[1]
        units = channels // share * all_taps
        geometry, sizes = (outputs, inputs, taps, stride, padding, dilation), (i32(1), inputs[0], inputs[1])
        for pixel in range(pixels):
            for tap in range(all_taps):
                unit = c // share * all_taps + tap
                places = _places_of(exists, offset, n, pixel, unit, units, geometry)
                slope = read_if(exists, g, _pixel_of(n, pixel, tap, outputs, taps) * channels + c)
                if masked:
                    slope = slope * read_if(exists, mask, (n * units + unit) * pixels + pixel)
                back(slope, (y, first, channels, low, high), exists, places, sizes)

    return loop


# ------------------------------------------------------------------------------------------------ lowering


class _Taps:
    """What all steps of a deformable convolution know: its geometry, and the convolution of the deformed image."""

    def __init__(self, program, node, x: Buffer, offset: Buffer, taps) -> None:
        self.program, self.node, self.x, self.offset, self.taps = program, node, x, offset, tuple(taps)
        self.share = x.channels // (offset.channels // (2 * math.prod(self.taps)))
        attrs = node.attrs
        geometry = (*attrs["stride"], *attrs["padding"], *attrs["dilation"])
        self.geometry = (*offset.spatial, *x.spatial, *self.taps, *geometry)

    def image(self) -> Buffer:
        """Room for the deformed image or its gradient."""
        size = (n * taps for n, taps in zip(self.offset.spatial, self.taps, strict=True))
        return buffer_for(
            (self.x.batch, self.x.channels, *size), self.offset.dtype, BATCH, precision=self.program.precision
        )

    def deformed(self, mask: Buffer | None) -> Buffer:
        """The deformed image; appends the step that makes it."""
        y = self.image()
        operands = (self.x, self.offset, mask or self.offset)
        constants = (y.elements, y.channels, self.share, *self.geometry)
        made = deformed(y.dtype, masked=mask is not None)
        self.program.launch(made, ceil_div(y.elements, THREADS), operands, (y,), constants)
        return y

    def convolution(self, direction: str, x: Buffer, w: Buffer, y: Buffer, bias: Buffer | None = None) -> Convolution:
        groups = self.x.channels // w.shape[1]
        attrs = {"stride": self.taps, "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": groups}
        return Convolution(self.program, direction, attrs, x, w, y, bias, flops=self.node.flops)


def _filter_layout(node, x, weight, direction: str) -> str:
    return filter_layout(x.shape[1] // weight.shape[1], x.shape[1], weight.shape[0], 2, direction)


def _layouts(node):
    x, _, weight = node.inputs[:3]
    return BATCH, PLAIN, _filter_layout(node, x, weight, FORWARD), PLAIN


@lowering("deform_conv", inputs=_layouts, outputs=(BATCH,))
def lower_deform_conv(program, node, inputs, outputs):
    x, offset, weight, *rest = inputs
    mask = rest.pop(0) if node.attrs["masked"] else None
    taps = _Taps(program, node, x, offset, weight.shape[2:])
    bias = rest[0] if rest else None
    pass_step(taps.convolution(FORWARD, taps.deformed(mask), weight, outputs[0], bias))


def _input_grads_layouts(node):
    _, x, _, weight = node.inputs[:4]
    return BATCH, BATCH, PLAIN, _filter_layout(node, x, weight, INPUT), PLAIN


@lowering("deform_conv_input_grads", inputs=_input_grads_layouts, outputs=(BATCH, PLAIN))
def lower_deform_conv_input_grads(program, node, inputs, outputs):
    g, x, offset, weight, *rest = inputs
    by_x, by_offset, *by_mask = outputs
    taps = _Taps(program, node, x, offset, weight.shape[2:])
    by_image = taps.image()
    pass_step(taps.convolution(INPUT, g, weight, by_image))
    masked = bool(rest)
    mask = rest[0] if masked else offset  # without a mask its operands are still there, and not touched
    size = offset.elements // 2
    constants = (size, x.channels, taps.share, *taps.geometry)
    made = offset_gradient(x.dtype, masked=masked)
    results = (by_offset, by_mask[0] if masked else by_offset)
    program.launch(made, ceil_div(size, ROWS), (by_image, x, offset, mask), results, constants)
    made, constants = sampled_gradient(x.dtype, masked=masked), (taps.share, *taps.geometry)
    ranges_step(program, made, (by_image, offset, mask), by_x, x.channels, constants, node.flops)


@lowering("deform_conv_weight_grad", inputs=(BATCH, BATCH, PLAIN), outputs=(PLAIN,))
def lower_deform_conv_weight_grad(program, node, inputs, outputs):
    g, x, offset, *rest = inputs
    taps = _Taps(program, node, x, offset, outputs[0].shape[2:])
    image = taps.deformed(rest[0] if rest else None)
    weight_step(taps.convolution(WEIGHTS, image, outputs[0], g))
