"""Optimizer steps, element by element, in place; hyperparameters are read when the step runs."""

from ..updating import LARGEST_SCALE, LEAST_SCALE, with_factor
from .compiler import FLOAT64, Pointer, block, kernel
from .intrinsics import block_x, f32, maximum, minimum, read, read_if, read_wide, thread, where, write_if
from .lowering import PLAIN, ceil_div, lowering
from .math import sqrt
from .tile import WARP

THREADS = 256

#: The largest finite float32.
LARGEST = (2.0 - 2.0**-23) * 2.0**127


@kernel
def sgd_update(T, nesterov, scaled):
    """v = momentum v + (1 - dampening) (g + decay w); w -= lr v (nesterov: lr (g + momentum v)); each thread one.

    ``scaled``: g is multiplied by a factor; where that is 0, nothing changes.
    """

    @block(THREADS, 4)
    def loop(
        w: Pointer, g: Pointer, v: Pointer, hyper: FLOAT64, factor: Pointer, new_w: Pointer, new_v: Pointer, n: int
    ):
        i = block_x() * THREADS + thread()
        inside = i < n
        lr, momentum, fresh, decay = read(hyper, 0), read(hyper, 1), 1.0 - read(hyper, 2), read(hyper, 3)
        weight, slope = read_if(inside, w, i), read_if(inside, g, i)
        share = f32(1.0)
        if scaled:
            share = read(factor, 0)
            slope = slope * share
        goes = share != 0.0
        step = slope + weight * decay
        before = read_if(inside, v, i)
        velocity = before * momentum + step * fresh
        write_if(inside, new_v, i, where(goes, velocity, before))
        if nesterov:
            velocity = step + velocity * momentum
        write_if(inside, new_w, i, where(goes, weight - velocity * lr, weight))

    return loop


@kernel
def adam_update(T, decoupled, scaled):
    """Adam with bias correction; an element a thread; ``scaled`` as of ``sgd_update``."""

    @block(THREADS, 4)
    def loop(
        w: Pointer, g: Pointer, m: Pointer, v: Pointer, hyper: FLOAT64, factor: Pointer,
        new_w: Pointer, new_m: Pointer, new_v: Pointer, n: int,
    ):  # fmt: skip
        i = block_x() * THREADS + thread()
        inside = i < n
        lr, beta1, beta2 = read_wide(hyper, 0), read_wide(hyper, 1), read_wide(hyper, 2)
        eps, decay, step = f32(read_wide(hyper, 3)), read_wide(hyper, 4), read_wide(hyper, 5)
        # in double precision: the first steps' corrections are small differences
        rate = f32(lr / (1.0 - beta1**step))
        scale = f32((1.0 - beta2**step) ** 0.5)
        old, slope = read_if(inside, w, i), read_if(inside, g, i)
        old_mean, old_square = read_if(inside, m, i), read_if(inside, v, i)
        share = f32(1.0)
        if scaled:
            share = read(factor, 0)
            slope = slope * share
        goes, weight = share != 0.0, old
        if decoupled:
            weight = weight * f32(1.0 - lr * decay)
        else:
            slope = slope + weight * f32(decay)
        mean = old_mean * f32(beta1) + slope * f32(1.0 - beta1)
        square = old_square * f32(beta2) + slope * slope * f32(1.0 - beta2)
        write_if(inside, new_m, i, where(goes, mean, old_mean))
        write_if(inside, new_v, i, where(goes, square, old_square))
        write_if(inside, new_w, i, where(goes, weight - mean * rate / (sqrt(square) / scale + eps), old))

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


@kernel
def loss_scale_update(T):
    """Dynamic loss scaling: one thread."""

    @block(WARP)
    def loop(
        scale: Pointer, good_steps: Pointer, norm: Pointer,
        new_scale: Pointer, new_good_steps: Pointer, factor: Pointer, interval: int,
    ):  # fmt: skip
        first = thread() == 0
        before, good = read(scale, 0), read(good_steps, 0) + 1.0
        size = read(norm, 0)
        is_finite = (size <= LARGEST) & (size >= -LARGEST)  # NaN is neither
        grows = is_finite & (good >= f32(interval))
        after = where(grows, before * 2.0, where(is_finite, before, before * 0.5))
        write_if(first, factor, 0, where(is_finite, 1.0 / before, 0.0))
        write_if(first, new_good_steps, 0, where(is_finite & (good < f32(interval)), good, 0.0))
        write_if(first, new_scale, 0, minimum(maximum(after, LEAST_SCALE), LARGEST_SCALE))

    return loop


@lowering("sgd_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sgd_update(program, node, inputs, outputs):
    w = outputs[0]
    given, scaled = with_factor(inputs, 4)
    made = sgd_update(w.dtype, nesterov=node.attrs["nesterov"], scaled=scaled)
    program.launch(made, ceil_div(w.elements, THREADS), given, outputs, (w.elements,), node.flops)


@lowering("adam_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_adam_update(program, node, inputs, outputs):
    w = outputs[0]
    given, scaled = with_factor(inputs, 5)
    made = adam_update(w.dtype, decoupled=node.attrs["decoupled"], scaled=scaled)
    program.launch(made, ceil_div(w.elements, THREADS), given, outputs, (w.elements,), node.flops)


@lowering("average_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_average_update(program, node, inputs, outputs):
    a = outputs[0]
    program.launch(average_update(a.dtype), ceil_div(a.elements, THREADS), inputs, outputs, (a.elements,), node.flops)


@lowering("loss_scale_update", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_loss_scale_update(program, node, inputs, outputs):
    program.launch(loss_scale_update(outputs[0].dtype), 1, inputs, outputs, (node.attrs["interval"],), node.flops)
