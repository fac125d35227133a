"""Softmax cross entropy and what is counted beside it."""

import math

from .lowering import BATCH, PLAIN, lowering
from .math import exp, log
from .native import INT64, Pointer, kernel
from .target import LANES
from .vector import (
    first_lanes,
    lane_of,
    load,
    load_first,
    maximum,
    reduce_add,
    reduce_max,
    splat,
    store,
    store_first,
    where,
)


@kernel
def cross_entropy_lanes(T, gradient):
    """Images in lanes: losses, or their gradient times g; a unit is a pixel.

    Labels lie in NumPy's order, (N, pixels); ``flat`` is where the pixel lies in values without channels.  Results are
    zero where a label is ``ignored`` or no class.
    """
    infinity = math.inf

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, labels: INT64, y: Pointer,
        classes: int, batch: int, rows: int, rest: int, smoothing: float, ignored: int,
    ):  # fmt: skip
        valid = min(LANES, batch - block * LANES)
        spread = smoothing / classes
        for pixel in range(begin, end):
            flat = (pixel % rest * rows + pixel // rest) * LANES
            at = pixel * classes * LANES
            top = splat(x, -infinity)
            for c in range(classes):
                v = load(x, at + c * LANES)
                top = where(v != v, v, maximum(top, v))
            total = splat(x, 0.0)
            mean = splat(x, 0.0)
            for c in range(classes):
                i = at + c * LANES
                v = load(x, i) - top
                e = exp(v)
                if gradient:
                    store(y, i, e)
                total = total + e
                mean = mean + v
            if gradient:
                shift = load(g, flat) * spread
                factor = load(g, flat) / total
                for c in range(classes):
                    i = at + c * LANES
                    store(y, i, load(y, i) * factor - shift)
                for lane in range(valid):
                    label = labels[(block * LANES + lane) * rows * rest + pixel]
                    if 0 <= label < classes and label != ignored:
                        y[at + label * LANES + lane] -= g[flat + lane] * (1.0 - smoothing)
                    else:
                        for c in range(classes):
                            y[at + c * LANES + lane] = 0.0
            else:
                # loss = log(total) - (1 - e) (x_label - top) - e mean(x - top)
                store(y, flat, log(total) - spread * mean)
                for lane in range(valid):
                    label = labels[(block * LANES + lane) * rows * rest + pixel]
                    if 0 <= label < classes and label != ignored:
                        shifted = x[at + label * LANES + lane] - lane_of(top, lane)
                        y[flat + lane] -= (1.0 - smoothing) * shifted
                    else:
                        y[flat + lane] = 0.0

    return loop


@kernel
def cross_entropy_channels(T, gradient):
    """Channels in lanes, one image a block: losses, or their gradient times g; a unit is a pixel."""
    infinity = math.inf

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, labels: INT64, y: Pointer,
        classes: int, batch: int, rows: int, rest: int, smoothing: float, ignored: int,
    ):  # fmt: skip
        spread = smoothing / classes
        for pixel in range(begin, end):
            flat = pixel % rest * rows + pixel // rest
            at = pixel * classes
            label = labels[block * rows * rest + pixel]
            counts = 0 <= label < classes and label != ignored
            top = splat(x, -infinity)
            for c in range(0, classes, LANES):
                v = where(first_lanes(classes - c), load_first(x, at + c, classes - c), -infinity)
                top = where(v != v, v, maximum(top, v))
            highest = reduce_max(top)
            total = splat(x, 0.0)
            mean = splat(x, 0.0)
            for c in range(0, classes, LANES):
                inside = first_lanes(classes - c)
                v = load_first(x, at + c, classes - c) - highest
                e = exp(v)
                if gradient:
                    store_first(y, at + c, e, classes - c)
                total = total + where(inside, e, 0.0)
                mean = mean + where(inside, v, 0.0)
            sum_of_exp = splat(x, reduce_add(total))
            if gradient:
                for c in range(0, classes, LANES):
                    p = load_first(y, at + c, classes - c) / sum_of_exp
                    store_first(y, at + c, (p - spread) * g[flat], classes - c)
                if counts:
                    y[at + label] -= g[flat] * (1.0 - smoothing)
                else:
                    for c in range(classes):
                        y[at + c] = 0.0
            else:
                loss = lane_of(log(sum_of_exp), 0) - spread * reduce_add(mean)
                y[flat] = loss - (1.0 - smoothing) * (x[at + label] - highest) if counts else 0.0

    return loop


def _rows_of(flat) -> tuple[int, int]:
    """Of a value without channels (N, rows, ...): rows, which lie where channels would, and what is behind them."""
    return (flat.channels, flat.pixels) if len(flat.shape) > 1 else (1, 1)


def _lower(program, node, gradient, g, x, labels, y, flat) -> None:
    make = cross_entropy_lanes if x.lanes > 1 else cross_entropy_channels
    constants = (x.channels, x.batch, *_rows_of(flat), float(node.attrs["label_smoothing"]), node.attrs["ignored"])
    program.step(make(x.dtype, gradient=gradient), (g, x, labels), (y,), constants, x.pixels, flops=node.flops)


@lowering("softmax_cross_entropy", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_cross_entropy(program, node, inputs, outputs):
    x, labels = inputs
    _lower(program, node, False, x, x, labels, outputs[0], outputs[0])


@lowering("softmax_cross_entropy_grad", inputs=(BATCH, BATCH, PLAIN), outputs=(BATCH,))
def lower_cross_entropy_grad(program, node, inputs, outputs):
    g, x, labels = inputs
    _lower(program, node, True, g, x, labels, outputs[0], g)


@kernel
def correct(T):
    """1 where the first largest score is the label's; a unit is an image of the block."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, labels: INT64, y: Pointer,
        classes: int, batch: int, lanes: int,
    ):  # fmt: skip
        for lane in range(begin, end):
            n = block * lanes + lane
            best = 0
            for c in range(1, classes):
                if x[c * lanes + lane] > x[best * lanes + lane]:
                    best = c
            y[lane] = 1.0 if n < batch and labels[n] == best else 0.0

    return loop


@lowering("correct", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_correct(program, node, inputs, outputs):
    x = inputs[0]
    program.step(correct(x.dtype), inputs, outputs, (x.channels, x.batch, x.lanes), x.lanes)


@kernel
def label_weight(T):
    """weights[label], 0 where the label is ``ignored`` or no class; a unit is a label."""

    def loop(
        begin, end, block: int, first: int, weights: Pointer, labels: INT64, y: Pointer, classes: int, ignored: int
    ):
        for i in range(begin, end):
            label = labels[i]
            y[i] = weights[label] if 0 <= label < classes and label != ignored else 0.0

    return loop


@lowering("label_weight", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_label_weight(program, node, inputs, outputs):
    y = outputs[0]
    constants = (inputs[0].elements, node.attrs["ignored"])
    program.step(label_weight(y.dtype), inputs, outputs, constants, y.elements)


@kernel
def pick(T, gradient):
    """The score of the label's class, 0 where that is ``ignored`` or no class; or its gradient; a unit is a pixel."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, labels: INT64, y: Pointer,
        classes: int, batch: int, rows: int, rest: int, lanes: int, ignored: int,
    ):  # fmt: skip
        for pixel in range(begin, end):
            flat = (pixel % rest * rows + pixel // rest) * lanes
            at = pixel * classes * lanes
            if gradient:
                for i in range(0, classes * lanes, LANES):
                    store_first(y, at + i, splat(y, 0.0), classes * lanes - i)
            for lane in range(lanes):
                n = block * lanes + lane
                label = labels[n * rows * rest + pixel] if n < batch else ignored
                counts = 0 <= label < classes and label != ignored
                if gradient:
                    if counts:
                        y[at + label * lanes + lane] = x[flat + lane]
                else:
                    y[flat + lane] = x[at + label * lanes + lane] if counts else 0.0

    return loop


@lowering("pick", "pick_grad", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_pick(program, node, inputs, outputs):
    gradient = node.op.name == "pick_grad"
    scores, flat = (outputs[0], inputs[0]) if gradient else (inputs[0], outputs[0])
    constants = (scores.channels, scores.batch, *_rows_of(flat), scores.lanes, node.attrs["ignored"])
    program.step(pick(scores.dtype, gradient=gradient), inputs, outputs, constants, scores.pixels)
