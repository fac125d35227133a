"""Parameter updates straight from their papers."""

import numpy as np

from .common import reference, wide


@reference("sgd_update", orders=0)
def sgd_update(parameter, gradient, momentum_buffer, hyper, nesterov=False, factor=1.0):
    """PyTorch's SGD, with a buffer that starts at zero."""
    lr, momentum, dampening, decay = wide(hyper)
    if factor == 0:
        return wide(parameter), wide(momentum_buffer)
    slope = wide(gradient) * factor + decay * wide(parameter)
    velocity = momentum * wide(momentum_buffer) + (1.0 - dampening) * slope
    return wide(parameter) - lr * (slope + momentum * velocity if nesterov else velocity), velocity


@reference("adam_update", orders=0)
def adam_update(parameter, gradient, m, v, hyper, decoupled=False, factor=1.0):
    """Kingma & Ba, algorithm 1; decoupled: Loshchilov & Hutter, algorithm 2."""
    lr, beta1, beta2, eps, decay, step = wide(hyper)
    if factor == 0:
        return wide(parameter), wide(m), wide(v)
    weight, slope = wide(parameter), wide(gradient) * factor
    if decoupled:
        weight = weight - lr * decay * weight
    else:
        slope = slope + decay * weight
    m = beta1 * wide(m) + (1.0 - beta1) * slope
    v = beta2 * wide(v) + (1.0 - beta2) * slope**2
    corrected_m, corrected_v = m / (1.0 - beta1**step), v / (1.0 - beta2**step)
    return weight - lr * corrected_m / (np.sqrt(corrected_v) + eps), m, v


@reference("average_update", orders=0)
def average_update(average, value, hyper):
    """(1 - share) average + share value."""
    (share,) = wide(hyper)
    return (1.0 - share) * wide(average) + share * wide(value)


@reference("loss_scale_update", orders=0)
def loss_scale_update(scale, good_steps, norm, interval=2000):
    """As PyTorch's GradScaler, between 2^-24 and 2^24."""
    scale, good_steps = float(scale), float(good_steps)
    if not np.isfinite(norm):
        return max(scale / 2, 2.0**-24), 0.0, 0.0
    if good_steps + 1 == interval:
        return min(scale * 2, 2.0**24), 0.0, 1 / scale
    return scale, good_steps + 1, 1 / scale
