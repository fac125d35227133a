"""Patches as columns (im2col) and back (col2im), in either layout; an element a thread.

Channel c of tap t is c * taps + t of a patch.  Sums of ``fold`` go over the taps in order.
"""

from ..convolution import three
from .compiler import Ints, Pointer, block, kernel
from .intrinsics import block_x, f32, read_if, thread, where, write_if
from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering, shared_layout

THREADS = 256


def _in_batch(n, pixel, c, pixels, channels):
    """Where a channel's pixel lies in NHWC."""
    return (n * pixels + pixel) * channels + c


def _in_planes(n, pixel, c, pixels, channels):
    """Where a channel's pixel lies in NumPy's order."""
    return (n * channels + c) * pixels + pixel


def _split(at, size):
    """Quotient and remainder."""
    quotient = at // size
    return quotient, at - quotient * size


def _place(pixel, sizes):
    """Plane, row and column of a pixel."""
    line, w = _split(pixel, sizes[2])
    d, h = _split(line, sizes[1])
    return d, h, w


@kernel
def unfold(T, batch):
    """What each tap meets at each position, zeros beside the image; ``batch``: NHWC, not NumPy's order."""
    index = _in_batch if batch else _in_planes

    @block(THREADS, 4)
    def loop(
        x: Pointer, y: Pointer, size: int, channels: int, counts: Ints(3), inputs: Ints(3),
        taps: Ints(3), stride: Ints(3), padding: Ints(3), dilation: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        positions, all_taps = counts[0] * counts[1] * counts[2], taps[0] * taps[1] * taps[2]
        if batch:
            rest, t = _split(at, all_taps)
            rest, c = _split(rest, channels)
            n, position = _split(rest, positions)
        else:
            rest, position = _split(at, positions)
            rest, t = _split(rest, all_taps)
            n, c = _split(rest, channels)
        d, h, w = _place(position, counts)
        tap_d, tap_h, tap_w = _place(t, taps)
        d = d * stride[0] + tap_d * dilation[0] - padding[0]
        h = h * stride[1] + tap_h * dilation[1] - padding[1]
        w = w * stride[2] + tap_w * dilation[2] - padding[2]
        met = (at < size) & (d >= 0) & (d < inputs[0]) & (h >= 0) & (h < inputs[1]) & (w >= 0) & (w < inputs[2])
        pixel = (d * inputs[1] + h) * inputs[2] + w
        value = read_if(met, x, index(n, pixel, c, inputs[0] * inputs[1] * inputs[2], channels))
        write_if(at < size, y, at, value)

    return loop


def _position(pixel, tap, count, stride, padding, dilation):
    """The position whose tap meets a pixel, and whether there is one."""
    there = pixel + padding - tap * dilation
    position = where(there >= 0, there, 0) // stride
    return position, (there >= 0) & (position * stride == there) & (position < count)


@kernel
def fold(T, batch, bias):
    """The sum of all that patches put into each place, plus a bias; ``batch``: NHWC, not NumPy's order."""
    index = _in_batch if batch else _in_planes

    @block(THREADS, 4)
    def loop(
        x: Pointer, b: Pointer, y: Pointer, size: int, channels: int, counts: Ints(3), outputs: Ints(3),
        taps: Ints(3), stride: Ints(3), padding: Ints(3), dilation: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        inside = at < size
        pixels, positions = outputs[0] * outputs[1] * outputs[2], counts[0] * counts[1] * counts[2]
        all_taps = taps[0] * taps[1] * taps[2]
        if batch:
            rest, c = _split(at, channels)
            n, pixel = _split(rest, pixels)
        else:
            rest, pixel = _split(at, pixels)
            n, c = _split(rest, channels)
        d, h, w = _place(pixel, outputs)
        total = f32(0.0)
        if bias:
            total = read_if(inside, b, c)
        for tap_d in range(taps[0]):
            i, in_plane = _position(d, tap_d, counts[0], stride[0], padding[0], dilation[0])
            for tap_h in range(taps[1]):
                j, in_row = _position(h, tap_h, counts[1], stride[1], padding[1], dilation[1])
                for tap_w in range(taps[2]):
                    k, in_column = _position(w, tap_w, counts[2], stride[2], padding[2], dilation[2])
                    t = (taps[1] * tap_d + tap_h) * taps[2] + tap_w
                    position = (i * counts[1] + j) * counts[2] + k
                    place = index(n, position, c * all_taps + t, positions, channels * all_taps)
                    total = total + read_if(inside & in_plane & in_row & in_column, x, place)
        write_if(inside, y, at, total)

    return loop


def _constants(node, image, patches) -> tuple[int, ...]:
    """Sizes of the patches and of the image, and the geometry, as both kernels read them."""
    attrs = node.attrs
    taps, stride, dilation = (three(attrs[name], 1) for name in ("kernel", "stride", "dilation"))
    padding = three([before for before, _ in attrs["padding"]], 0)
    sizes = (*three(patches.spatial, 1), *three(image.spatial, 1))
    return image.channels, *sizes, *taps, *stride, *padding, *dilation


@lowering("unfold", inputs=(SAME,), outputs=(SAME,))
def lower_unfold(program, node, inputs, outputs):
    (x,), (y,) = inputs, outputs
    made = unfold(y.dtype, batch=shared_layout(x, y) == BATCH)
    program.launch(made, ceil_div(y.elements, THREADS), (x,), (y,), (y.elements, *_constants(node, x, y)))


@lowering("fold", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_fold(program, node, inputs, outputs):
    x, *bias = inputs
    (y,) = outputs
    made = fold(y.dtype, batch=shared_layout(x, y) == BATCH, bias=bool(bias))
    # Without a bias the operand is still there, and not read.
    operands, constants = (x, *(bias or inputs)), (y.elements, *_constants(node, y, x))
    program.launch(made, ceil_div(y.elements, THREADS), operands, (y,), constants, node.flops)
