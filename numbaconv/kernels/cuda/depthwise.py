"""Depthwise convolution: every channel has a filter of its own.

There is nothing to multiply matrices for: a result costs as many products as there are taps, and memory decides.
Threads go along channels, which lie innermost, so all accesses are contiguous; what neighbouring pixels share is read
from the first-level cache.  Filters are read as [tap][channel].  float32 at every precision: tensor cores would not
help.
"""

import math

from ..annotations import Pointer as _Pointer
from ..convolution import Convolution
from ..elementwise import FUNCTIONS, homes_of
from .compiler import Pointer, block, kernel
from .elementwise import translated
from .intrinsics import (
    barrier,
    block_x,
    block_y,
    f32,
    fma,
    put,
    read_if,
    read_shared,
    read_vector,
    read_vector_if,
    registers,
    shared,
    thread,
    where,
    write_if,
    write_shared,
    write_vector_if,
)
from .lowering import ceil_div

FLOAT32 = _Pointer("float32")

THREADS = 256

#: Of the weight gradient: threads of a block along channels; the others take pixels in turn.
CHANNEL_THREADS = 32

#: Most taps of a weight gradient: a thread has a sum for each in its registers.
MOST_TAPS = 25

#: Pixels that a thread of the weight gradient takes, at least; and the most parts, whose sums are added up in the end.
LEAST_PIXELS, MOST_PARTS = 16, 512


@kernel
def depthwise(T, width, transposed, activation, bias, homes):
    """A thread: ``width`` channels of a pixel of y.

    Forward, y[p] sums x[p * stride - pad + t * dilation] w[t].  ``transposed``, the input gradient, it sums
    x[(p + pad - t * dilation) / stride] w[t] where that is a whole number; x is the output's gradient.
    """

    def unchanged(v):
        return v

    function = translated(FUNCTIONS[activation]) if activation else unchanged

    @block(THREADS, 4)
    def loop(
        x: Pointer, w: Pointer, bias_at: Pointer, y: Pointer,
        size: int, channels: int, out_h: int, out_w: int, in_h: int, in_w: int, taps_h: int, taps_w: int,
        stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    ):  # fmt: skip
        at = (block_x() * THREADS + thread()) * width
        inside = at < size
        c, pixel = at % channels, at // channels
        q, n = pixel % out_w, pixel // out_w
        p, n = n % out_h, n // out_h
        sums = registers(width)
        for r in range(taps_h):
            if transposed:
                above = p + pad_h - dilation_h * r
                h = where(above >= 0, above, 0) // stride_h
                row_ok = inside & (above >= 0) & (h * stride_h == above) & (h < in_h)
            else:
                h = p * stride_h - pad_h + dilation_h * r
                row_ok = inside & (h >= 0) & (h < in_h)
            for s in range(taps_w):
                if transposed:
                    before = q + pad_w - dilation_w * s
                    v = where(before >= 0, before, 0) // stride_w
                    ok = row_ok & (before >= 0) & (v * stride_w == before) & (v < in_w)
                else:
                    v = q * stride_w - pad_w + dilation_w * s
                    ok = row_ok & (v >= 0) & (v < in_w)
                numbers = read_vector_if(ok, x, ((n * in_h + h) * in_w + v) * channels + c, width)
                factors = read_vector(w, (taps_w * r + s) * channels + c, width)
                for e in range(width):
                    put(sums, e, fma(numbers[e], factors[e], sums[e]))
        if bias:
            added = read_vector(bias_at, c, width)
            for e in range(width):
                put(sums, e, sums[e] + added[e])
        for e in range(width):
            put(sums, e, function(sums[e]))
        write_vector_if(inside, y, at, sums, width)

    return loop


@kernel
def depthwise_weights(T, taps_h, taps_w):
    """A block: all taps of ``CHANNEL_THREADS`` channels over a part of the pixels, as sums [part][channel][tap].

    Threads of a channel take pixels in turn; their sums are added in order.
    """
    taps = taps_h * taps_w
    lines = THREADS // CHANNEL_THREADS

    @block(THREADS, 2, THREADS * 4)
    def loop(
        g: Pointer, x: Pointer, partial: FLOAT32,
        pixels: int, part_pixels: int, channels: int, out_h: int, out_w: int, in_h: int, in_w: int,
        stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int, dilation_w: int,
    ):  # fmt: skip
        t = thread()
        lane, line = t % CHANNEL_THREADS, t // CHANNEL_THREADS
        c = block_x() * CHANNEL_THREADS + lane
        sums = registers(taps)
        first = block_y() * part_pixels
        step = 0
        while step < part_pixels:
            pixel = first + step + line
            ok = (c < channels) & (pixel < pixels) & (step + line < part_pixels)
            q, n = pixel % out_w, pixel // out_w
            p, n = n % out_h, n // out_h
            factor = read_if(ok, g, pixel * channels + c)
            for r in range(taps_h):
                for s in range(taps_w):
                    h, v = p * stride_h - pad_h + dilation_h * r, q * stride_w - pad_w + dilation_w * s
                    here = ok & (h >= 0) & (h < in_h) & (v >= 0) & (v < in_w)
                    number = read_if(here, x, ((n * in_h + h) * in_w + v) * channels + c)
                    put(sums, r * taps_w + s, fma(factor, number, sums[r * taps_w + s]))
            step += lines
        for tap in range(taps):
            write_shared(shared() + t * 4, sums[tap])
            barrier()
            total = f32(0.0)
            for other in range(lines):
                total = total + read_shared(shared() + (lane + other * CHANNEL_THREADS) * 4)
            barrier()
            ok = (c < channels) & (line == 0)
            write_if(ok, partial, (block_y() * channels + c) * taps + tap, total)

    return loop


def is_depthwise(groups: int, inputs: int, outputs: int, dimensions: int) -> bool:
    """Whether the kernels here serve a convolution of so many channels, in one or two dimensions."""
    return inputs == outputs == groups > 1 and dimensions <= 2


def serves(c: Convolution) -> bool:
    return is_depthwise(c.groups, c.x.channels, c.y.channels, len(c.y.spatial))


def serves_weights(c: Convolution) -> bool:
    return serves(c) and math.prod(c.filter_size) <= MOST_TAPS


def depthwise_step(c: Convolution) -> None:
    """Append the launch of a forward pass or input gradient; the filter lies as [tap][channel]."""
    (_, out_h, out_w), (_, in_h, in_w) = c.sizes
    width = 4 if c.y.channels % 4 == 0 else 1
    made = depthwise(
        c.y.dtype, width=width, transposed=c.transposed, activation=c.activation, bias=c.bias is not None,
        homes=homes_of([(c.activation, ())]) if c.activation else (),
    )  # fmt: skip
    constants = (
        c.y.elements, c.y.channels, out_h, out_w, in_h, in_w, *c.filter_size[1:], *c.stride[1:], *c.before[1:],
        *c.dilation[1:],
    )  # fmt: skip
    grid = ceil_div(c.y.elements, THREADS * width)
    # Without a bias the operand is still there, and not read.
    c.program.launch(made, grid, (c.x, c.w, c.bias or c.w), (c.y,), constants, flops=c.flops)


def depthwise_weight_parts(c: Convolution):
    """Append the launch of a weight gradient's partial sums; gives their buffer and number."""
    (_, out_h, out_w), (_, in_h, in_w) = c.sizes
    channels, taps = c.x.channels, math.prod(c.filter_size)
    pixels = c.y.batch * out_h * out_w
    lines = THREADS // CHANNEL_THREADS
    part_pixels = max(LEAST_PIXELS, ceil_div(pixels, MOST_PARTS * lines)) * lines
    parts = ceil_div(pixels, part_pixels)
    partial = c.program.whole("float32", parts * channels * taps)
    constants = (
        pixels, part_pixels, channels, out_h, out_w, in_h, in_w, *c.stride[1:], *c.before[1:], *c.dilation[1:],
    )  # fmt: skip
    made = depthwise_weights(c.x.dtype, taps_h=c.filter_size[1], taps_w=c.filter_size[2])
    grid = (ceil_div(channels, CHANNEL_THREADS), parts)
    c.program.launch(made, grid, (c.y, c.x), (partial,), constants, flops=c.flops)
    return partial, parts
