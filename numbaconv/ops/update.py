"""Parameter updates: the optimizers' steps as operators, so that a training step is one graph."""

import numpy as np

from .core import Operator, Spec, apply, as_input, check_floats, dtype_of, operator, public, shape_of


class SgdUpdate(Operator):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it)."""

    in_place = {0: 0, 1: 2}

    def shape(self, parameter: Spec, gradient: Spec, momentum: Spec, hyper: Spec, *, nesterov) -> tuple[Spec, ...]:
        return parameter, momentum

    def flops(self, inputs, outputs, **attrs):
        return 6.0 * outputs[0].size


class AdamUpdate(Operator):
    """Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1); decoupled weight decay is AdamW (arXiv 1711.05101)."""

    in_place = {0: 0, 1: 2, 2: 3}

    def shape(self, parameter: Spec, gradient: Spec, m: Spec, v: Spec, hyper: Spec, *, decoupled) -> tuple[Spec, ...]:
        return parameter, m, v

    def flops(self, inputs, outputs, **attrs):
        return 14.0 * outputs[0].size


sgd_row, adam_row = operator(SgdUpdate), operator(AdamUpdate)


def _check(function: str, count: int, hyper, **arrays) -> None:
    check_floats(function, **arrays)
    shapes = {name: shape_of(value) for name, value in arrays.items()}
    first = next(iter(shapes.values()))
    for name, shape in shapes.items():
        if shape != first:
            raise ValueError(f"{function}: {name} has shape {shape}, the parameter {first}")
    if dtype_of(hyper) != np.float64:
        raise TypeError(f"{function}: hyper must be float64, not {dtype_of(hyper)}")
    if shape_of(hyper) != (count,):
        raise ValueError(f"{function}: hyper must hold {count} numbers, its shape is {shape_of(hyper)}")


@public()
def sgd_update(parameter, gradient, momentum_buffer, hyper, nesterov=False):
    """One step of SGD; hyper is float64 [lr, momentum, dampening, weight_decay].

    Returns (parameter, momentum_buffer).  The buffer starts at zero; PyTorch, which starts it at the first gradient,
    agrees wherever dampening is zero.

    Source: PyTorch; Sutskever et al., ICML 2013.
    """
    parameter, gradient, momentum_buffer, hyper = map(as_input, (parameter, gradient, momentum_buffer, hyper))
    _check("sgd_update", 4, hyper, parameter=parameter, gradient=gradient, momentum_buffer=momentum_buffer)
    return apply(sgd_row, (parameter, gradient, momentum_buffer, hyper), {"nesterov": bool(nesterov)})


@public()
def adam_update(parameter, gradient, m, v, hyper, decoupled=False):
    """One step of Adam, or of AdamW if ``decoupled``; hyper is float64 [lr, beta1, beta2, eps, weight_decay, step].

    ``step`` counts from 1.  Returns (parameter, m, v).

    Source: PyTorch; Kingma & Ba, arXiv 1412.6980, algorithm 1; Loshchilov & Hutter, arXiv 1711.05101.
    """
    parameter, gradient, m, v, hyper = map(as_input, (parameter, gradient, m, v, hyper))
    _check("adam_update", 6, hyper, parameter=parameter, gradient=gradient, m=m, v=v)
    return apply(adam_row, (parameter, gradient, m, v, hyper), {"decoupled": bool(decoupled)})
