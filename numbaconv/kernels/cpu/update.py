"""Optimizer steps, element by element, in place; hyperparameters are read when the step runs."""

from .elementwise import vectors
from .lowering import PLAIN, lowering
from .native import FLOAT64, Pointer, kernel
from .target import LANES
from .vector import load_first, product, splat, sqrt, store_first


@kernel
def sgd_update(T, nesterov):
    """v = momentum v + (1 - dampening) (g + decay w); w -= lr v (nesterov: lr (g + momentum v)); a unit is a vector."""

    def loop(
        begin, end, block: int, first: int, w: Pointer, g: Pointer, v: Pointer, hyper: FLOAT64,
        new_w: Pointer, new_v: Pointer, n: int,
    ):  # fmt: skip
        lr, momentum, dampening, decay = hyper[0], hyper[1], hyper[2], hyper[3]
        for unit in range(begin, end):
            i = unit * LANES
            left = n - i
            weight = load_first(w, i, left)
            step = load_first(g, i, left) + weight * decay
            velocity = load_first(v, i, left) * momentum + step * (1.0 - dampening)
            store_first(new_v, i, velocity, left)
            if nesterov:
                velocity = step + velocity * momentum
            store_first(new_w, i, weight - velocity * lr, left)

    return loop


@kernel
def adam_update(T, decoupled):
    """Adam with bias correction; a unit is a vector."""

    def loop(
        begin, end, block: int, first: int, w: Pointer, g: Pointer, m: Pointer, v: Pointer, hyper: FLOAT64,
        new_w: Pointer, new_m: Pointer, new_v: Pointer, n: int,
    ):  # fmt: skip
        lr, beta1, beta2, eps, decay, step = hyper[0], hyper[1], hyper[2], hyper[3], hyper[4], hyper[5]
        correction1 = 1.0 - beta1**step
        correction2 = (1.0 - beta2**step) ** 0.5
        for unit in range(begin, end):
            i = unit * LANES
            left = n - i
            weight = load_first(w, i, left)
            slope = load_first(g, i, left)
            if decoupled:
                weight = weight * (1.0 - lr * decay)
            else:
                slope = slope + weight * decay
            mean = load_first(m, i, left) * beta1 + slope * (1.0 - beta1)
            square = load_first(v, i, left) * beta2 + slope * slope * (1.0 - beta2)
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


@lowering("sgd_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sgd_update(program, node, inputs, outputs):
    w = outputs[0]
    loop = sgd_update(w.dtype, nesterov=node.attrs["nesterov"])
    program.step(loop, inputs, outputs, (w.elements,), vectors(w), flops=node.flops)


@lowering("adam_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_adam_update(program, node, inputs, outputs):
    w = outputs[0]
    loop = adam_update(w.dtype, decoupled=node.attrs["decoupled"])
    program.step(loop, inputs, outputs, (w.elements,), vectors(w), flops=node.flops)


@lowering("average_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_average_update(program, node, inputs, outputs):
    a = outputs[0]
    program.step(average_update(a.dtype), inputs, outputs, (a.elements,), vectors(a), flops=node.flops)
