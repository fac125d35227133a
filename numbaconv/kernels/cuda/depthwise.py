"""Depthwise convolution: every channel has a filter of its own.

There is nothing to multiply matrices for: a result costs as many products as there are taps, and memory decides.
Threads go along channels, which lie innermost, so all accesses are contiguous; what neighbouring pixels share is read
from the first-level cache.  Filters are read as [tap][channel].  float32 at every precision: tensor cores would not
help.
"""

import math

from ..convolution import Convolution
from ..elementwise import FUNCTIONS, homes_of
from .compiler import FLOAT32, Ints, Pointer, block, kernel
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
        size: int, channels: int, outputs: Ints(2), inputs: Ints(2), kernel_size: Ints(2),
        stride: Ints(2), padding: Ints(2), dilation: Ints(2),
    ):  # fmt: skip
        at = (block_x() * THREADS + thread()) * width
        inside = at < size
        c, pixel = at % channels, at // channels
        q, n = pixel % outputs[1], pixel // outputs[1]
        p, n = n % outputs[0], n // outputs[0]
        sums = registers(width)
        for r in range(kernel_size[0]):
            if transposed:
                above = p + padding[0] - dilation[0] * r
                h = where(above >= 0, above, 0) // stride[0]
                row_ok = inside & (above >= 0) & (h * stride[0] == above) & (h < inputs[0])
            else:
                h = p * stride[0] - padding[0] + dilation[0] * r
                row_ok = inside & (h >= 0) & (h < inputs[0])
            for s in range(kernel_size[1]):
                if transposed:
                    before = q + padding[1] - dilation[1] * s
                    v = where(before >= 0, before, 0) // stride[1]
                    ok = row_ok & (before >= 0) & (v * stride[1] == before) & (v < inputs[1])
                else:
                    v = q * stride[1] - padding[1] + dilation[1] * s
                    ok = row_ok & (v >= 0) & (v < inputs[1])
                numbers = read_vector_if(ok, x, ((n * inputs[0] + h) * inputs[1] + v) * channels + c, width)
                factors = read_vector(w, (kernel_size[1] * r + s) * channels + c, width)
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
        pixels: int, part_pixels: int, channels: int, outputs: Ints(2), inputs: Ints(2),
        stride: Ints(2), padding: Ints(2), dilation: Ints(2),
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
            q, n = pixel % outputs[1], pixel // outputs[1]
            p, n = n % outputs[0], n // outputs[0]
            factor = read_if(ok, g, pixel * channels + c)
            for r in range(taps_h):
                for s in range(taps_w):
                    h, v = p * stride[0] - padding[0] + dilation[0] * r, q * stride[1] - padding[1] + dilation[1] * s
                    here = ok & (h >= 0) & (h < inputs[0]) & (v >= 0) & (v < inputs[1])
                    number = read_if(here, x, ((n * inputs[0] + h) * inputs[1] + v) * channels + c)
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
    (_, *outputs), (_, *inputs) = c.sizes
    width = 4 if c.y.channels % 4 == 0 else 1
    made = depthwise(
        c.y.dtype, width=width, transposed=c.transposed, activation=c.activation, bias=c.bias is not None,
        homes=homes_of([(c.activation, ())]) if c.activation else (),
    )  # fmt: skip
    constants = (
        c.y.elements, c.y.channels, *outputs, *inputs, *c.filter_size[1:], *c.stride[1:], *c.before[1:],
        *c.dilation[1:],
    )  # fmt: skip
    grid = ceil_div(c.y.elements, THREADS * width)
    # Without a bias the operand is still there, and not read.
    c.program.launch(made, grid, (c.x, c.w, c.bias or c.w), (c.y,), constants, flops=c.flops)


def depthwise_weight_parts(c: Convolution):
    """Append the launch of a weight gradient's partial sums; gives their buffer and number."""
    (_, *outputs), (_, *inputs) = c.sizes
    channels, taps = c.x.channels, math.prod(c.filter_size)
    pixels = c.y.batch * math.prod(outputs)
    lines = THREADS // CHANNEL_THREADS
    part_pixels = max(LEAST_PIXELS, ceil_div(pixels, MOST_PARTS * lines)) * lines
    parts = ceil_div(pixels, part_pixels)
    partial = c.program.whole("float32", parts * channels * taps)
    constants = (
        pixels, part_pixels, channels, *outputs, *inputs, *c.stride[1:], *c.before[1:], *c.dilation[1:],
    )  # fmt: skip
    made = depthwise_weights(c.x.dtype, taps_h=c.filter_size[1], taps_w=c.filter_size[2])
    grid = (ceil_div(channels, CHANNEL_THREADS), parts)
    c.program.launch(made, grid, (c.y, c.x), (partial,), constants, flops=c.flops)
    return partial, parts
