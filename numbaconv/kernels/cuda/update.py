"""Optimizer steps, element by element, in place; hyperparameters are read when the step runs."""

from .compiler import FLOAT64, Pointer, block, kernel
from .intrinsics import block_x, f32, read, read_if, read_wide, thread, write_if
from .lowering import PLAIN, ceil_div, lowering
from .math import sqrt

THREADS = 256


@kernel
def sgd_update(T, nesterov):
    """v = momentum v + (1 - dampening) (g + decay w); w -= lr v (nesterov: lr (g + momentum v)); each thread one."""

    @block(THREADS, 4)
    def loop(w: Pointer, g: Pointer, v: Pointer, hyper: FLOAT64, new_w: Pointer, new_v: Pointer, n: int):
        i = block_x() * THREADS + thread()
        inside = i < n
        lr, momentum, fresh, decay = read(hyper, 0), read(hyper, 1), 1.0 - read(hyper, 2), read(hyper, 3)
        weight = read_if(inside, w, i)
        step = read_if(inside, g, i) + weight * decay
        velocity = read_if(inside, v, i) * momentum + step * fresh
        write_if(inside, new_v, i, velocity)
        if nesterov:
            velocity = step + velocity * momentum
        write_if(inside, new_w, i, weight - velocity * lr)

    return loop


@kernel
def adam_update(T, decoupled):
    """Adam with bias correction; an element a thread."""

    @block(THREADS, 4)
    def loop(
        w: Pointer, g: Pointer, m: Pointer, v: Pointer, hyper: FLOAT64,
        new_w: Pointer, new_m: Pointer, new_v: Pointer, n: int,
    ):  # fmt: skip
        i = block_x() * THREADS + thread()
        inside = i < n
        lr, beta1, beta2 = read_wide(hyper, 0), read_wide(hyper, 1), read_wide(hyper, 2)
        eps, decay, step = f32(read_wide(hyper, 3)), read_wide(hyper, 4), read_wide(hyper, 5)
        # in double precision: the first steps' corrections are small differences
        rate = f32(lr / (1.0 - beta1**step))
        scale = f32((1.0 - beta2**step) ** 0.5)
        weight, slope = read_if(inside, w, i), read_if(inside, g, i)
        if decoupled:
            weight = weight * f32(1.0 - lr * decay)
        else:
            slope = slope + weight * f32(decay)
        mean = read_if(inside, m, i) * f32(beta1) + slope * f32(1.0 - beta1)
        square = read_if(inside, v, i) * f32(beta2) + slope * slope * f32(1.0 - beta2)
        write_if(inside, new_m, i, mean)
        write_if(inside, new_v, i, square)
        write_if(inside, new_w, i, weight - mean * rate / (sqrt(square) / scale + eps))

    return loop


@kernel
def average_update(T):
    """a += share (w - a); an element a thread."""

    @block(THREADS, 4)
    def loop(a: Pointer, w: Pointer, hyper: FLOAT64, new: Pointer, n: int):
        i = block_x() * THREADS + thread()
        inside = i < n
        average = read_if(inside, a, i)
        write_if(inside, new, i, average + (read_if(inside, w, i) - average) * read(hyper, 0))

    return loop


@lowering("sgd_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sgd_update(program, node, inputs, outputs):
    w = outputs[0]
    made = sgd_update(w.dtype, nesterov=node.attrs["nesterov"])
    program.launch(made, ceil_div(w.elements, THREADS), inputs, outputs, (w.elements,), node.flops)


@lowering("adam_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_adam_update(program, node, inputs, outputs):
    w = outputs[0]
    made = adam_update(w.dtype, decoupled=node.attrs["decoupled"])
    program.launch(made, ceil_div(w.elements, THREADS), inputs, outputs, (w.elements,), node.flops)


@lowering("average_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_average_update(program, node, inputs, outputs):
    a = outputs[0]
    program.launch(average_update(a.dtype), ceil_div(a.elements, THREADS), inputs, outputs, (a.elements,), node.flops)
