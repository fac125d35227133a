"""Stochastic pooling: one number of each window, drawn by its size, or their mean; both layouts alike.

What is drawn is a function of key, node and the output's position in NumPy's order, whatever the layout.
"""

from .counter import stream_of, word_at
from .lowering import BATCH, PLAIN, lowering
from .native import INT32, INT64, Ints, Pointer, kernel
from .pool import Windows, span_at, spans_of_row
from .target import LANES
from .vector import bits, integers_of, lane_numbers, load_first, maximum, splat, store_first, to_float, where

#: A number drawn from [0, 1) has as many bits as a single-precision mantissa.
DRAWN_BITS = 24


@kernel
def stochastic_pool(T):
    """Draw from every window; a unit is a row of outputs."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, key: INT64, places: INT64, y: Pointer, indices: INT32,
        out: Ints(3), size: Ints(3), step: Ints(3), channels: int, lanes: int, salt: int,
    ):  # fmt: skip
        stream = stream_of(key[0], key[1], salt)
        line = channels * lanes
        pixels = out[0] * out[1] * out[2]
        for row in range(begin, end):
            (d_first, d_taps), (h_first, h_taps) = spans_of_row(places, row, out)
            for ow in range(out[2]):
                w_first, w_taps = span_at(places, out[0] + out[1] + ow)
                start = (d_first * size[1] + h_first) * size[2] + w_first
                p = row * out[2] + ow
                for c in range(0, line, LANES):
                    left = line - c
                    total = splat(x, 0.0)
                    for d in range(d_taps):
                        for h in range(h_taps):
                            pixel = start + (d * step[0] * size[1] + h * step[1]) * size[2]
                            for _ in range(w_taps):
                                total = total + maximum(0.0, load_first(x, pixel * line + c, left))
                                pixel += step[2]
                    # position ((image * channels + channel) * pixels + p); images or channels lie in lanes
                    at = (block * lanes * channels + c // lanes) * pixels + p
                    word = word_at(stream, lane_numbers() * (channels * pixels if lanes > 1 else pixels) + at)
                    drawn = to_float(integers_of(bits(total), word >> (32 - DRAWN_BITS))) * 0.5**DRAWN_BITS
                    goal = total * drawn
                    passed = splat(x, 0.0)
                    result = splat(x, 0.0)
                    place = splat(bits(total), -1)
                    for d in range(d_taps):
                        for h in range(h_taps):
                            pixel = start + (d * step[0] * size[1] + h * step[1]) * size[2]
                            for _ in range(w_taps):
                                v = load_first(x, pixel * line + c, left)
                                # the last one before which no more than the goal was passed
                                hit = (v > 0.0) & (passed <= goal)
                                result = where(hit, v, result)
                                place = where(hit, splat(place, pixel), place)
                                passed = passed + maximum(0.0, v)
                                pixel += step[2]
                    store_first(y, p * line + c, where(total == total, result, total), left)
                    store_first(indices, p * line + c, integers_of(indices, place), left)

    return loop


@kernel
def probability_pool(T):
    """Sum of squares by sum, of what is above 0, and one by the sum; a unit is a row of outputs."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, places: INT64, y: Pointer, inverse: Pointer,
        out: Ints(3), size: Ints(3), step: Ints(3), line: int,
    ):  # fmt: skip
        for row in range(begin, end):
            (d_first, d_taps), (h_first, h_taps) = spans_of_row(places, row, out)
            for ow in range(out[2]):
                w_first, w_taps = span_at(places, out[0] + out[1] + ow)
                start = (d_first * size[1] + h_first) * size[2] + w_first
                for c in range(0, line, LANES):
                    left = line - c
                    total = splat(x, 0.0)
                    squares = splat(x, 0.0)
                    for d in range(d_taps):
                        for h in range(h_taps):
                            pixel = start + (d * step[0] * size[1] + h * step[1]) * size[2]
                            for _ in range(w_taps):
                                v = maximum(0.0, load_first(x, pixel * line + c, left))
                                total = total + v
                                squares = squares + v * v
                                pixel += step[2]
                    to = (row * out[2] + ow) * line + c
                    store_first(y, to, where(total == 0.0, 0.0, squares / total), left)
                    store_first(inverse, to, where(total == 0.0, 0.0, 1.0 / total), left)

    return loop


@lowering("stochastic_pool", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_stochastic_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    constants = (*windows.geometry, x.channels, x.lanes, node.attrs["salt"])
    operands = (*inputs, program.constant(windows.places))
    program.step(stochastic_pool(y.dtype), operands, outputs, constants, windows.rows)


@lowering("probability_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_probability_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    operands = (x, program.constant(windows.places))
    program.step(probability_pool(y.dtype), operands, outputs, (*windows.geometry, x.channels * x.lanes), windows.rows)
