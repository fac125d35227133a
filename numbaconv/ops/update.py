"""Parameter updates: the optimizers' steps as operators, so that a training step is one graph."""

import numpy as np

from .core import Operator, Spec, apply, as_input, check_floats, dtype_of, operator, public, shape_of


class SgdUpdate(Operator):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it)."""

    in_place = {0: 0, 1: 2}

    def shape(self, parameter: Spec, gradient: Spec, momentum: Spec, *numbers: Spec, nesterov) -> tuple[Spec, ...]:
        return parameter, momentum

    def flops(self, inputs, outputs, **attrs):
        return 6.0 * outputs[0].size


class AdamUpdate(Operator):
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1); decoupled weight decay is AdamW (arXiv 1711.05101)."""

    in_place = {0: 0, 1: 2, 2: 3}

    def shape(self, parameter: Spec, gradient: Spec, m: Spec, v: Spec, *numbers: Spec, decoupled) -> tuple[Spec, ...]:
        return parameter, m, v

    def flops(self, inputs, outputs, **attrs):
        return 14.0 * outputs[0].size


class AverageUpdate(Operator):
    """One step of an exponential moving average."""

    in_place = {0: 0}

    def shape(self, average: Spec, value: Spec, hyper: Spec) -> Spec:
        return average

    def flops(self, inputs, outputs, **attrs):
        return 3.0 * outputs[0].size


class LossScaleUpdate(Operator):
    """One step of dynamic loss scaling (Micikevicius et al., arXiv 1710.03740)."""

    in_place = {0: 0, 1: 1}

    def shape(self, scale: Spec, good_steps: Spec, norm: Spec, *, interval) -> tuple[Spec, ...]:
        return scale, good_steps, scale


sgd_row, adam_row, average_row = operator(SgdUpdate), operator(AdamUpdate), operator(AverageUpdate)
loss_scale_row = operator(LossScaleUpdate)


def _with_factor(function: str, inputs: tuple, factor) -> tuple:
    """The inputs of an update, and the factor of its gradient if there is one."""
    if factor is None:
        return inputs
    factor = as_input(factor)
    if shape_of(factor) != () or dtype_of(factor) != dtype_of(inputs[0]):
        wanted = f"a number of dtype {dtype_of(inputs[0])}"
        raise ValueError(f"{function}: factor must be {wanted}, not {shape_of(factor)} of {dtype_of(factor)}")
    return (*inputs, factor)


def _check(function: str, count: int, hyper, **arrays) -> None:
    check_floats(function, **arrays)
    shapes = {name: shape_of(value) for name, value in arrays.items()}
    first = next(iter(shapes.values()))
    for name, shape in shapes.items():
        if shape != first:
            raise ValueError(f"{function}: {name} has shape {shape}, the {next(iter(arrays))} {first}")
    if dtype_of(hyper) != np.float64:
        raise TypeError(f"{function}: hyper must be float64, not {dtype_of(hyper)}")
    if shape_of(hyper) != (count,):
        wanted = "1 number" if count == 1 else f"{count} numbers"
        raise ValueError(f"{function}: hyper must hold {wanted}, its shape is {shape_of(hyper)}")


@public()
def sgd_update(parameter, gradient, momentum_buffer, hyper, nesterov=False, factor=None):
    """One step of SGD; hyper is float64 [lr, momentum, dampening, weight_decay].

    The gradient is multiplied by ``factor``, a number, if given; where that is 0, nothing changes.
    Returns (parameter, momentum_buffer).  The buffer starts at zero; PyTorch, which starts it at the first gradient,
    agrees wherever dampening is zero.

    Source: PyTorch; Sutskever et al., ICML 2013.
    """
    parameter, gradient, momentum_buffer, hyper = map(as_input, (parameter, gradient, momentum_buffer, hyper))
    _check("sgd_update", 4, hyper, parameter=parameter, gradient=gradient, momentum_buffer=momentum_buffer)
    inputs = _with_factor("sgd_update", (parameter, gradient, momentum_buffer, hyper), factor)
    return apply(sgd_row, inputs, {"nesterov": bool(nesterov)})


@public()
def adam_update(parameter, gradient, m, v, hyper, decoupled=False, factor=None):
    """One step of Adam, or of AdamW if ``decoupled``; hyper is float64 [lr, beta1, beta2, eps, weight_decay, step].

    ``step`` counts from 1.  The gradient is multiplied by ``factor``, a number, if given; where that is 0, nothing
    changes.  Returns (parameter, m, v).

    Source: PyTorch; Kingma & Ba, arXiv 1412.6980, algorithm 1; Loshchilov & Hutter, arXiv 1711.05101.
    """
    parameter, gradient, m, v, hyper = map(as_input, (parameter, gradient, m, v, hyper))
    _check("adam_update", 6, hyper, parameter=parameter, gradient=gradient, m=m, v=v)
    inputs = _with_factor("adam_update", (parameter, gradient, m, v, hyper), factor)
    return apply(adam_row, inputs, {"decoupled": bool(decoupled)})


@public()
def average_update(average, value, hyper):
    """One step of a moving average: average + share (value - average); hyper is float64 [share].

    Source: Polyak & Juditsky, SIAM J. Control Optim. 30, 1992; the exponential form as in TensorFlow.
    """
    average, value, hyper = map(as_input, (average, value, hyper))
    _check("average_update", 1, hyper, average=average, value=value)
    return apply(average_row, (average, value, hyper), {})


@public()
def loss_scale_update(scale, good_steps, norm, interval=2000):
    """One step of dynamic loss scaling: the scale halves if ``norm`` is not finite, doubles after ``interval`` steps.

    All are numbers: what losses are multiplied by, how many steps it has served, and any norm of the gradients of the
    scaled loss.  The scale stays between 2^-24 and 2^24.  Returns (scale, good_steps, factor): the new ones, and what
    the gradients are to be multiplied by: 1 / scale, or 0 if they are not finite.

    Source: Micikevicius et al., arXiv 1710.03740, section 3.2; ``torch.amp.GradScaler``.
    """
    scale, good_steps, norm = map(as_input, (scale, good_steps, norm))
    check_floats("loss_scale_update", scale=scale, good_steps=good_steps, norm=norm)
    for name, value in (("scale", scale), ("good_steps", good_steps), ("norm", norm)):
        if shape_of(value) != ():
            raise ValueError(f"loss_scale_update: {name} must be a number, its shape is {shape_of(value)}")
    if interval < 1:
        raise ValueError(f"loss_scale_update: interval must be 1 or more, not {interval}")
    return apply(loss_scale_row, (scale, good_steps, norm), {"interval": int(interval)})
