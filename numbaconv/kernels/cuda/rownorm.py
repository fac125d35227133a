"""Normalisation of rows that lie in NumPy's order: a warp or a block takes a row.

Deviations are taken from the row's mean in a pass of their own, so that nothing cancels far from zero.
"""

from .channelwise import combine_sums
from .compiler import Pointer, block, kernel
from .intrinsics import block_x, block_y, f32, minimum, read_if, thread, where, write_if
from .lowering import PLAIN, ceil_div, lowering
from .math import sqrt
from .warp import WARP, over_block, sum_of_warp

THREADS = 256

#: Numbers of a row up to which a warp takes it.
WARP_ROW = 512

#: Of weight gradients: images are summed in so many sections, where there are so many.
SECTIONS = 16


def _sum_over(across: int):
    """A device function: the sum over the ``across`` threads that share a row."""
    return sum_of_warp if across == WARP else over_block(sum_of_warp, THREADS)


@kernel
def row_norm(T, across):
    """(x - mean) / sqrt(variance + eps) * weight + bias of rows of n numbers, and their statistics.

    ``across`` threads take a row.  Each of a row's ``parts`` weights is for ``inner`` numbers.
    """
    over_row = _sum_over(across)
    rows_of_block = THREADS // across

    @block(THREADS, 4, THREADS // WARP * 4)
    def loop(
        x: Pointer, weight: Pointer, bias: Pointer, y: Pointer, means: Pointer, variances: Pointer,
        rows: int, n: int, groups: int, parts: int, inner: int, eps: float,
    ):  # fmt: skip
        row, lane = block_x() * rows_of_block + thread() // across, thread() % across
        exists = row < rows
        first, first_weight = row * n, row % groups * parts
        total = f32(0.0)
        for step in range((n + (across - 1)) // across):
            i = step * across + lane
            total = total + read_if(exists & (i < n), x, first + i)
        mean = over_row(total) / f32(n)
        total = f32(0.0)
        for step in range((n + (across - 1)) // across):
            i = step * across + lane
            inside = exists & (i < n)
            d = where(inside, read_if(inside, x, first + i) - mean, 0.0)
            total = total + d * d
        variance = over_row(total) / f32(n)
        write_if(exists & (lane == 0), means, row, mean)
        write_if(exists & (lane == 0), variances, row, variance)
        inverse = 1.0 / sqrt(variance + eps)
        for step in range((n + (across - 1)) // across):
            i = step * across + lane
            inside = exists & (i < n)
            w = first_weight + i // inner
            v = (read_if(inside, x, first + i) - mean) * inverse
            write_if(inside, y, first + i, v * read_if(inside, weight, w) + read_if(inside, bias, w))

    return loop


@kernel
def row_norm_grad(T, across):
    """Gradient of x, constants as those of ``row_norm``."""
    over_row = _sum_over(across)
    rows_of_block = THREADS // across

    @block(THREADS, 4, THREADS // WARP * 4)
    def loop(
        g: Pointer, x: Pointer, means: Pointer, variances: Pointer, weight: Pointer, y: Pointer,
        rows: int, n: int, groups: int, parts: int, inner: int, eps: float,
    ):  # fmt: skip
        row, lane = block_x() * rows_of_block + thread() // across, thread() % across
        exists = row < rows
        first, first_weight = row * n, row % groups * parts
        mean = read_if(exists, means, row)
        inverse = 1.0 / sqrt(read_if(exists, variances, row) + eps)
        total, product = f32(0.0), f32(0.0)  # of g * weight, and of that times the normalised x
        for step in range((n + (across - 1)) // across):
            i = step * across + lane
            inside = exists & (i < n)
            v = read_if(inside, g, first + i) * read_if(inside, weight, first_weight + i // inner)
            total = total + v
            product = product + v * (read_if(inside, x, first + i) - mean)
        total, product = over_row(total) / f32(n), over_row(product) / f32(n) * inverse
        for step in range((n + (across - 1)) // across):
            i = step * across + lane
            inside = exists & (i < n)
            v = read_if(inside, g, first + i) * read_if(inside, weight, first_weight + i // inner)
            normal = (read_if(inside, x, first + i) - mean) * inverse
            write_if(inside, y, first + i, (v - total - normal * product) * inverse)

    return loop


@kernel
def weight_sums(T, across):
    """For every weight the sums of g and of g * normalised x over a section of the images, [section][sum][weight].

    ``across`` threads take the ``inner`` numbers of a weight; block_y is the section.
    """
    weights_of_block = THREADS // across

    @block(THREADS, 4)
    def loop(
        g: Pointer, x: Pointer, means: Pointer, variances: Pointer, parts_of_sum: Pointer,
        images: int, section: int, weights: int, groups: int, inner: int, eps: float,
    ):  # fmt: skip
        weight, lane = block_x() * weights_of_block + thread() // across, thread() % across
        first = block_y() * section
        last = minimum(first + section, images)
        group = weight // (weights // groups)
        total, product = f32(0.0), f32(0.0)
        for before in range(section):
            image = first + before
            exists = (weight < weights) & (image < last)
            row = image * groups + group
            mean = read_if(exists, means, row)
            inverse = where(exists, 1.0 / sqrt(read_if(exists, variances, row) + eps), 0.0)
            for step in range((inner + (across - 1)) // across):
                i = step * across + lane
                inside = exists & (i < inner)
                at = (image * weights + weight) * inner + i
                v = read_if(inside, g, at)
                total = total + v
                product = product + v * (read_if(inside, x, at) - mean) * inverse
        if across > 1:
            total, product = sum_of_warp(total), sum_of_warp(product)
        chosen = (weight < weights) & (lane == 0)
        write_if(chosen, parts_of_sum, block_y() * 2 * weights + weight, total)
        write_if(chosen, parts_of_sum, (block_y() * 2 + 1) * weights + weight, product)

    return loop


def _sizes(node, x) -> tuple[int, int, int, int, int]:
    """Rows, numbers of a row, groups, weights of a row, and numbers that share one."""
    rows, groups, parts = (node.attrs[name] for name in ("rows", "groups", "parts"))
    n = x.elements // max(1, rows)
    return rows, n, groups, parts, n // parts


def _across(n: int) -> int:
    return WARP if n <= WARP_ROW else THREADS


@lowering("row_norm", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_row_norm(program, node, inputs, outputs):
    rows, n, *rest = _sizes(node, inputs[0])
    across = _across(n)
    constants = (rows, n, *rest, node.attrs["eps"])
    made = row_norm(inputs[0].dtype, across=across)
    program.launch(made, ceil_div(rows * across, THREADS), inputs, outputs, constants, node.flops)


@lowering("row_norm_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_row_norm_grad(program, node, inputs, outputs):
    g, x, means, variances, weight = inputs
    by_x, by_weight, by_bias = outputs
    rows, n, groups, parts, inner = _sizes(node, x)
    across, eps = _across(n), node.attrs["eps"]
    made = row_norm_grad(x.dtype, across=across)
    constants = (rows, n, groups, parts, inner, eps)
    program.launch(made, ceil_div(rows * across, THREADS), inputs, (by_x,), constants, node.flops)
    images, weights = rows // groups, groups * parts
    sections = min(images, SECTIONS)
    section = ceil_div(images, sections)
    sections = ceil_div(images, section)
    across = WARP if inner >= WARP else 1
    sums = program.whole(x.dtype, sections * 2 * weights)
    made = weight_sums(x.dtype, across=across)
    grid = (ceil_div(weights * across, THREADS), sections)
    program.launch(made, grid, (g, x, means, variances), (sums,), (images, section, weights, groups, inner, eps))
    for number, y in enumerate((by_bias, by_weight)):
        constants = (number, 2, weights, sections)
        program.launch(combine_sums(x.dtype), ceil_div(weights, THREADS), (sums,), (y,), constants)
