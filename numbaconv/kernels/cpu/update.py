"""Optimizer steps, element by element, in place; hyperparameters are read when the step runs."""

import numpy as np

from ..updating import LARGEST_SCALE, LEAST_SCALE, with_factor
from .elementwise import vectors
from .lowering import PLAIN, lowering
from .native import FLOAT64, Pointer, kernel
from .target import LANES
from .vector import load_first, product, splat, sqrt, store_first


@kernel
def sgd_update(T, nesterov, scaled):
    """v = momentum v + (1 - dampening) (g + decay w); w -= lr v (nesterov: lr (g + momentum v)); a unit is a vector.

    ``scaled``: g is multiplied by a factor; where that is 0, nothing changes.
    """

    def loop(
        begin, end, block: int, first: int, w: Pointer, g: Pointer, v: Pointer, hyper: FLOAT64,
        factor: Pointer, new_w: Pointer, new_v: Pointer, n: int,
    ):  # fmt: skip
        lr, momentum, dampening, decay = hyper[0], hyper[1], hyper[2], hyper[3]
        for unit in range(begin, end):
            i = unit * LANES
            left = n - i
            weight = load_first(w, i, left)
            velocity = load_first(v, i, left)
            if scaled and factor[0] == 0:
                store_first(new_v, i, velocity, left)
                store_first(new_w, i, weight, left)
                continue
            step = load_first(g, i, left)
            if scaled:
                step = step * factor[0]
            step = step + weight * decay
            velocity = velocity * momentum + step * (1.0 - dampening)
            store_first(new_v, i, velocity, left)
            if nesterov:
                velocity = step + velocity * momentum
            store_first(new_w, i, weight - velocity * lr, left)

    return loop


@kernel
def adam_update(T, decoupled, scaled):
    """Adam with bias correction; a unit is a vector; ``scaled`` as of ``sgd_update``."""

    def loop(
        begin, end, block: int, first: int, w: Pointer, g: Pointer, m: Pointer, v: Pointer, hyper: FLOAT64,
        factor: Pointer, new_w: Pointer, new_m: Pointer, new_v: Pointer, n: int,
    ):  # fmt: skip
        lr, beta1, beta2, eps, decay, step = hyper[0], hyper[1], hyper[2], hyper[3], hyper[4], hyper[5]
        correction1 = 1.0 - beta1**step
        correction2 = (1.0 - beta2**step) ** 0.5
        for unit in range(begin, end):
            i = unit * LANES
            left = n - i
            weight = load_first(w, i, left)
            mean, square = load_first(m, i, left), load_first(v, i, left)
            if scaled and factor[0] == 0:
                store_first(new_m, i, mean, left)
                store_first(new_v, i, square, left)
                store_first(new_w, i, weight, left)
                continue
            slope = load_first(g, i, left)
            if scaled:
                slope = slope * factor[0]
            if decoupled:
                weight = weight * (1.0 - lr * decay)
            else:
                slope = slope + weight * decay
            mean = mean * beta1 + slope * (1.0 - beta1)
            square = square * beta2 + slope * slope * (1.0 - beta2)
            store_first(new_m, i, mean, left)
            store_first(new_v, i, square, left)
            size = sqrt(square) / correction2 + splat(w, eps)
            store_first(new_w, i, weight - mean * (lr / correction1) / size, left)

    return loop


@kernel
def average_update(T):
    """a += share (w - a), every operation rounded as NumPy does it; a unit is a vector."""

    def loop(begin, end, block: int, first: int, a: Pointer, w: Pointer, hyper: FLOAT64, new: Pointer, n: int):
        for unit in range(begin, end):
            i = unit * LANES
            left = n - i
            average = load_first(a, i, left)
            store_first(new, i, average + product(load_first(w, i, left) - average, hyper[0]), left)

    return loop


@kernel
def loss_scale_update(T):
    """Dynamic loss scaling: one unit."""

    def loop(
        begin, end, block: int, first: int, scale: Pointer, good_steps: Pointer, norm: Pointer,
        new_scale: Pointer, new_good_steps: Pointer, factor: Pointer, interval: int,
    ):  # fmt: skip
        for _ in range(begin, end):
            before, good = scale[0], good_steps[0] + 1
            is_finite = abs(norm[0]) < np.inf
            factor[0] = 1.0 / before if is_finite else 0.0
            grows = is_finite and good >= interval
            new_good_steps[0] = good if is_finite and not grows else 0.0
            after = before * 2.0 if grows else before if is_finite else before * 0.5
            new_scale[0] = min(max(after, LEAST_SCALE), LARGEST_SCALE)

    return loop


@lowering("sgd_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sgd_update(program, node, inputs, outputs):
    w = outputs[0]
    given, scaled = with_factor(inputs, 4)
    loop = sgd_update(w.dtype, nesterov=node.attrs["nesterov"], scaled=scaled)
    program.step(loop, given, outputs, (w.elements,), vectors(w), flops=node.flops)


@lowering("adam_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_adam_update(program, node, inputs, outputs):
    w = outputs[0]
    given, scaled = with_factor(inputs, 5)
    loop = adam_update(w.dtype, decoupled=node.attrs["decoupled"], scaled=scaled)
    program.step(loop, given, outputs, (w.elements,), vectors(w), flops=node.flops)


@lowering("average_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_average_update(program, node, inputs, outputs):
    a = outputs[0]
    program.step(average_update(a.dtype), inputs, outputs, (a.elements,), vectors(a), flops=node.flops)


@lowering("loss_scale_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_loss_scale_update(program, node, inputs, outputs):
    scale = outputs[0]
    program.step(loss_scale_update(scale.dtype), inputs, outputs, (node.attrs["interval"],), 1, flops=node.flops)
