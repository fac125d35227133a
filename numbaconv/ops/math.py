"""Elementary functions, element by element."""

from dataclasses import replace

from .arithmetic import divide_row, multiply_row
from .core import Case, Operator, Spec, apply, as_input, check_floats, image_sizes, operator, public
from .draw import positive


class Exp(Operator):
    """e^x."""

    def shape(self, x: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x):
        return (multiply_row(grads[0], outputs[0]),)


class Log(Operator):
    """Natural logarithm."""

    finite_at_zero = False

    def shape(self, x: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x):
        return (divide_row(grads[0], x),)


exp_row, log_row = operator(Exp), operator(Log)


@public(Case({"x": (3, 5)}), Case({"x": (17, 2, 3, 3)}), sizes=image_sizes())
def exp(x):
    """e^x of every element; error at most 1 unit in the last place."""
    x = as_input(x)
    check_floats("exp", x=x)
    return apply(exp_row, (x,), {})


@public(
    Case({"x": (3, 5)}, draw={"x": positive}), Case({"x": (17, 2, 3, 3)}, draw={"x": positive}),
    sizes=[replace(case, draw={"x": positive}) for case in image_sizes()],
)  # fmt: skip
def log(x):
    """Natural logarithm of every element; -infinity at 0, NaN below; error at most 1 unit in the last place."""
    x = as_input(x)
    check_floats("log", x=x)
    return apply(log_row, (x,), {})
