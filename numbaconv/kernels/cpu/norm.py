"""Batch normalisation: statistics and sums for every block, combined in the order of blocks, then applied.

A block's mean and squared deviations are exact for the block (two passes over it while it lies in the cache), and
blocks are combined as Chan et al. (1979) do, so nothing cancels however far the mean is from zero.
"""

from numba import njit

from .lowering import BATCH, PLAIN, ceil_div, lowering
from .native import Pointer, kernel
from .target import LANES
from .vector import first_lanes, lane_of, load, load_first, reduce_add, splat, sqrt, store, store_first, where


@kernel
def block_statistics(T, images):
    """Mean and sum of squared deviations of each channel of a block; a unit is a channel (or a vector of channels)."""

    def loop(begin, end, block: int, first: int, x: Pointer, s: Pointer, pixels: int, channels: int, batch: int):
        valid = min(LANES, batch - block * LANES)
        mask = first_lanes(valid)
        for unit in range(begin, end):
            if images:
                total = splat(x, 0.0)
                for p in range(pixels):
                    total = total + load(x, (p * channels + unit) * LANES)
                mean = reduce_add(where(mask, total, 0.0)) / (pixels * valid)
                squares = splat(x, 0.0)
                for p in range(pixels):
                    d = load(x, (p * channels + unit) * LANES) - mean
                    squares = squares + d * d
                s[unit] = mean
                s[channels + unit] = reduce_add(where(mask, squares, 0.0))
            else:
                c = unit * LANES
                left = channels - c
                total = splat(x, 0.0)
                for p in range(pixels):
                    total = total + load_first(x, p * channels + c, left)
                middle = total * (1.0 / pixels)
                squares = splat(x, 0.0)
                for p in range(pixels):
                    d = load_first(x, p * channels + c, left) - middle
                    squares = squares + d * d
                store_first(s, c, middle, left)
                store_first(s, channels + c, squares, left)

    return loop


@kernel
def combine_statistics(T):
    """Mean and variance over all blocks; a unit is a channel."""

    def loop(
        begin, end, block: int, first: int, s: Pointer, mean: Pointer, var: Pointer,
        channels: int, blocks: int, stride: int, pixels: int, batch: int, lanes: int,
    ):  # fmt: skip
        for c in range(begin, end):
            count, center, squares = 0.0, 0.0, 0.0
            for b in range(blocks):
                more = float(pixels * min(lanes, batch - b * lanes))
                d = s[b * stride + c] - center
                center += d * more / (count + more)
                squares += s[b * stride + channels + c] + d * d * count * more / (count + more)
                count += more
            mean[c] = center
            var[c] = squares / count

    return loop


@kernel
def scale_and_shift(T, images, centered):
    """y = x * weight / sqrt(var + eps), with ``centered`` also less the mean and plus bias; a unit is a pixel."""

    @njit(error_model="numpy")
    def factors(mean, var, weight, bias, c, left, eps):
        scale = load_first(weight, c, left) / sqrt(load_first(var, c, left) + eps)
        return scale, load_first(bias, c, left) - load_first(mean, c, left) * scale

    def loop(
        begin, end, block: int, first: int, x: Pointer, mean: Pointer, var: Pointer, weight: Pointer, bias: Pointer,
        y: Pointer, channels: int, eps: float,
    ):  # fmt: skip
        for group in range(0, channels, LANES):
            left = min(LANES, channels - group)
            scale, shift = factors(mean, var, weight, bias, group, left, eps)
            if images:
                for k in range(left):
                    a, b = splat(x, lane_of(scale, k)), splat(x, lane_of(shift, k))
                    for p in range(begin, end):
                        at = (p * channels + group + k) * LANES
                        v = load(x, at) * a
                        store(y, at, v + b if centered else v)
            else:
                for p in range(begin, end):
                    at = p * channels + group
                    v = load_first(x, at, left) * scale
                    store_first(y, at, v + shift if centered else v, left)

    return loop


@kernel
def block_grad_sums(T, images):
    """Sums of g and of g (x - mean) for each channel of a block; a unit is a channel (or a vector of channels)."""

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, mean: Pointer, s: Pointer,
        pixels: int, channels: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            total = splat(x, 0.0)
            product = splat(x, 0.0)
            if images:
                middle = splat(x, mean[unit])
                for p in range(pixels):
                    at = (p * channels + unit) * LANES
                    v = load(g, at)
                    total = total + v
                    product = product + v * (load(x, at) - middle)
                s[unit] = reduce_add(total)
                s[channels + unit] = reduce_add(product)
            else:
                c = unit * LANES
                left = channels - c
                middle = load_first(mean, c, left)
                for p in range(pixels):
                    v = load_first(g, p * channels + c, left)
                    total = total + v
                    product = product + v * (load_first(x, p * channels + c, left) - middle)
                store_first(s, c, total, left)
                store_first(s, channels + c, product, left)

    return loop


@kernel
def combine_grad_sums(T):
    """Gradients of weight and bias over all blocks; a unit is a channel."""

    def loop(
        begin, end, block: int, first: int, s: Pointer, var: Pointer, by_weight: Pointer, by_bias: Pointer,
        channels: int, blocks: int, stride: int, eps: float,
    ):  # fmt: skip
        for c in range(begin, end):
            total, product = 0.0, 0.0
            for b in range(blocks):
                total += s[b * stride + c]
                product += s[b * stride + channels + c]
            by_bias[c] = total
            by_weight[c] = product / (var[c] + eps) ** 0.5

    return loop


@kernel
def input_grad(T, images):
    """w / sd * (g - mean of g - xhat * mean of g xhat); a unit is a pixel."""

    @njit(error_model="numpy")
    def factors(mean, var, weight, by_weight, by_bias, c, left, eps, count):
        inverse = 1.0 / sqrt(load_first(var, c, left) + eps)
        scale = load_first(weight, c, left) * inverse
        slope = load_first(by_weight, c, left) * inverse * scale * (-1.0 / count)
        return scale, slope, load_first(by_bias, c, left) * scale * (-1.0 / count) - load_first(mean, c, left) * slope

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, mean: Pointer, var: Pointer, weight: Pointer,
        by_weight: Pointer, by_bias: Pointer, out: Pointer, channels: int, eps: float, count: float, batch: int,
    ):  # fmt: skip
        mask = first_lanes(batch - block * LANES)
        for group in range(0, channels, LANES):
            left = min(LANES, channels - group)
            scale, slope, shift = factors(mean, var, weight, by_weight, by_bias, group, left, eps, count)
            if images:
                for k in range(left):
                    a, b, c = splat(x, lane_of(scale, k)), splat(x, lane_of(slope, k)), splat(x, lane_of(shift, k))
                    for p in range(begin, end):
                        at = (p * channels + group + k) * LANES
                        # lanes without an image must stay at a gradient of zero
                        store(out, at, where(mask, load(g, at) * a + (load(x, at) * b + c), 0.0))
            else:
                for p in range(begin, end):
                    at = p * channels + group
                    v = load_first(g, at, left) * scale + (load_first(x, at, left) * slope + shift)
                    store_first(out, at, v, left)

    return loop


def _units(x) -> int:
    return x.channels if x.lanes > 1 else ceil_div(x.channels, LANES)


@lowering("batch_norm", inputs=(BATCH, PLAIN), outputs=(BATCH, PLAIN))
def lower_batch_norm(program, node, inputs, outputs):
    x, weight, bias = inputs
    y, mean, var = outputs
    images = x.lanes > 1
    sums = program.per_block(x, 2 * x.channels)
    constants = (x.pixels, x.channels, x.batch)
    program.step(block_statistics(x.dtype, images=images), (x,), (sums,), constants, _units(x))
    constants = (x.channels, x.blocks, sums.stride, x.pixels, x.batch, x.lanes)
    program.step(combine_statistics(x.dtype), (sums,), (mean, var), constants, x.channels, whole=True)
    step = scale_and_shift(x.dtype, images=images, centered=True)
    program.step(step, (x, mean, var, weight, bias), (y,), (x.channels, node.attrs["eps"]), x.pixels)


@lowering("normalize", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_normalize(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    step = scale_and_shift(x.dtype, images=x.lanes > 1, centered=True)
    program.step(step, inputs, (y,), (x.channels, node.attrs["eps"]), x.pixels)


@lowering("channel_scale", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_channel_scale(program, node, inputs, outputs):
    (x, var, weight), y = inputs, outputs[0]
    step = scale_and_shift(x.dtype, images=x.lanes > 1, centered=False)
    program.step(step, (x, var, var, weight, weight), (y,), (x.channels, node.attrs["eps"]), x.pixels)


@lowering("batch_norm_grad", inputs=(BATCH, BATCH, PLAIN), outputs=(BATCH, PLAIN))
def lower_batch_norm_grad(program, node, inputs, outputs):
    g, x, mean, var, weight = inputs
    out, by_weight, by_bias = outputs
    images, eps = x.lanes > 1, node.attrs["eps"]
    sums = program.per_block(x, 2 * x.channels)
    program.step(block_grad_sums(x.dtype, images=images), (g, x, mean), (sums,), (x.pixels, x.channels), _units(x))
    constants = (x.channels, x.blocks, sums.stride, eps)
    program.step(combine_grad_sums(x.dtype), (sums, var), (by_weight, by_bias), constants, x.channels, whole=True)
    constants = (x.channels, eps, float(x.batch * x.pixels), x.batch)
    operands = (g, x, mean, var, weight, by_weight, by_bias)
    program.step(input_grad(x.dtype, images=images), operands, (out,), constants, x.pixels)
