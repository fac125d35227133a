"""Softmax cross entropy and what is counted beside it.  Scores lie as [row][class], a row being a pixel of an image."""

import math

from .compiler import INT64, Pointer, block, kernel
from .intrinsics import block_x, f32, i32, read_if, thread, where, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering
from .math import exp, log
from .warp import WARP, largest, largest_of_warp, sum_of_warp

THREADS = 256
ROWS = THREADS // WARP  # of a block: a warp takes a row
LOWEST = -math.inf


def _largest_score(x, first, lane, valid, classes):
    top = f32(LOWEST)
    for step in range((classes + (WARP - 1)) // WARP):
        c = step * WARP + lane
        inside = valid & (c < classes)
        top = largest(where(inside, read_if(inside, x, first + c), LOWEST), top)
    return largest_of_warp(top)


@kernel
def cross_entropy(T):
    """Losses; zero where a label is ``ignored`` or no class."""

    @block(THREADS, 4)
    def loop(x: Pointer, labels: INT64, y: Pointer, rows: int, classes: int, smoothing: float, ignored: int):
        row, lane = block_x() * ROWS + thread() // WARP, thread() % WARP
        valid = row < rows
        first, spread = row * classes, smoothing / f32(classes)
        top = _largest_score(x, first, lane, valid, classes)
        total, mean = f32(0.0), f32(0.0)
        for step in range((classes + (WARP - 1)) // WARP):
            c = step * WARP + lane
            inside = valid & (c < classes)
            v = read_if(inside, x, first + c) - top
            total = total + where(inside, exp(v), 0.0)
            mean = mean + where(inside, v, 0.0)
        total, mean = sum_of_warp(total), sum_of_warp(mean)
        label = read_if(valid, labels, row)
        counts = valid & (label >= 0) & (label < classes) & (label != ignored)
        shifted = read_if(counts, x, first + label) - top
        loss = log(total) - spread * mean - (1.0 - smoothing) * shifted
        write_if(valid & (lane == 0), y, row, where(counts, loss, 0.0))

    return loop


@kernel
def cross_entropy_grad(T):
    """Gradients of the losses times g."""

    @block(THREADS, 4)
    def loop(
        g: Pointer, x: Pointer, labels: INT64, y: Pointer, rows: int, classes: int, smoothing: float, ignored: int
    ):
        row, lane = block_x() * ROWS + thread() // WARP, thread() % WARP
        valid = row < rows
        first, spread = row * classes, smoothing / f32(classes)
        top = _largest_score(x, first, lane, valid, classes)
        total = f32(0.0)
        for step in range((classes + (WARP - 1)) // WARP):
            c = step * WARP + lane
            inside = valid & (c < classes)
            total = total + where(inside, exp(read_if(inside, x, first + c) - top), 0.0)
        total = sum_of_warp(total)
        label = read_if(valid, labels, row)
        counts = valid & (label >= 0) & (label < classes) & (label != ignored)
        factor = read_if(valid, g, row)
        for step in range((classes + (WARP - 1)) // WARP):
            c = step * WARP + lane
            inside = valid & (c < classes)
            p = exp(read_if(inside, x, first + c) - top) / total
            slope = p - spread - where(c == label, 1.0 - smoothing, 0.0)
            write_if(inside, y, first + c, where(counts, factor * slope, 0.0))

    return loop


def _launch(program, node, made, inputs, y, x) -> None:
    rows = x.batch * x.pixels
    constants = (rows, x.channels, float(node.attrs["label_smoothing"]), node.attrs["ignored"])
    program.launch(made, ceil_div(rows, ROWS), inputs, (y,), constants, node.flops)


@lowering("softmax_cross_entropy", inputs=(BATCH, PLAIN), outputs=(PLAIN,))
def lower_cross_entropy(program, node, inputs, outputs):
    x = inputs[0]
    _launch(program, node, cross_entropy(x.dtype), inputs, outputs[0], x)


@lowering("softmax_cross_entropy_grad", inputs=(PLAIN, BATCH, PLAIN), outputs=(BATCH,))
def lower_cross_entropy_grad(program, node, inputs, outputs):
    x = inputs[1]
    _launch(program, node, cross_entropy_grad(x.dtype), inputs, outputs[0], x)


@kernel
def correct(T):
    """1 where the first largest score is the label's; a row a thread."""

    @block(THREADS, 4)
    def loop(x: Pointer, labels: INT64, y: Pointer, rows: int, classes: int):
        row = block_x() * THREADS + thread()
        valid = row < rows
        best, top = i32(thread() * 0), read_if(valid, x, row * classes)
        for before in range(classes - 1):
            c = i32(before + 1)
            v = read_if(valid, x, row * classes + c)
            best, top = where(v > top, c, best), where(v > top, v, top)
        write_if(valid, y, row, where(read_if(valid, labels, row) == best, 1.0, 0.0))

    return loop


@lowering("correct", inputs=(BATCH, PLAIN), outputs=(PLAIN,))
def lower_correct(program, node, inputs, outputs):
    x = inputs[0]
    constants = (x.batch, x.channels)
    program.launch(correct(x.dtype), ceil_div(x.batch, THREADS), inputs, outputs, constants)


@kernel
def label_weight(T):
    """weights[label], 0 where the label is ``ignored`` or no class; a label a thread."""

    @block(THREADS, 4)
    def loop(weights: Pointer, labels: INT64, y: Pointer, n: int, classes: int, ignored: int):
        i = block_x() * THREADS + thread()
        label = read_if(i < n, labels, i)
        counts = (i < n) & (label >= 0) & (label < classes) & (label != ignored)
        write_if(i < n, y, i, read_if(counts, weights, label))

    return loop


@lowering("label_weight", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_label_weight(program, node, inputs, outputs):
    y = outputs[0]
    constants = (y.elements, inputs[0].elements, node.attrs["ignored"])
    program.launch(label_weight(y.dtype), ceil_div(y.elements, THREADS), inputs, outputs, constants)


@kernel
def pick(T):
    """The score of the label's class, 0 where that is ``ignored`` or no class; a row a thread."""

    @block(THREADS, 8)
    def loop(x: Pointer, labels: INT64, y: Pointer, rows: int, classes: int, ignored: int):
        row = block_x() * THREADS + thread()
        label = read_if(row < rows, labels, row)
        counts = (row < rows) & (label >= 0) & (label < classes) & (label != ignored)
        write_if(row < rows, y, row, read_if(counts, x, row * classes + label))

    return loop


@kernel
def pick_grad(T):
    """g at each label's class, 0 elsewhere; an element a thread."""

    @block(THREADS, 8)
    def loop(g: Pointer, labels: INT64, y: Pointer, size: int, classes: int, ignored: int):
        i = block_x() * THREADS + thread()
        inside = i < size
        row, c = i // classes, i % classes
        label = read_if(inside, labels, row)
        chosen = inside & (label == c) & (label != ignored)
        write_if(inside, y, i, read_if(chosen, g, row))

    return loop


@lowering("pick", inputs=(BATCH, PLAIN), outputs=(PLAIN,))
def lower_pick(program, node, inputs, outputs):
    x, rows = inputs[0], outputs[0].elements
    constants = (rows, x.channels, node.attrs["ignored"])
    program.launch(pick(x.dtype), ceil_div(rows, THREADS), inputs, outputs, constants)


@lowering("pick_grad", inputs=(PLAIN,), outputs=(BATCH,))
def lower_pick_grad(program, node, inputs, outputs):
    y = outputs[0]
    constants = (y.elements, y.channels, node.attrs["ignored"])
    program.launch(pick_grad(y.dtype), ceil_div(y.elements, THREADS), inputs, outputs, constants)
