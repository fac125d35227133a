"""Dropout (Srivastava et al. 2014), with masks that are a function of a seed and the element's position."""

from .core import (
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    fraction,
    image_sizes,
    is_traced,
    operator,
    public,
    random_key,
)


class Dropout(Operator):
    """x / (1 - p) where the counter-based generator says keep, else 0; linear in x, so it is its own gradient."""

    def shape(self, x: Spec, key: Spec, *, p, salt) -> Spec:
        return x

    def gradient(self, grads, outputs, x, key, *, p, salt):
        return dropout_row(grads[0], key, p=p, salt=salt), None


dropout_row = operator(Dropout)


@public(sizes=image_sizes(p=0.5))
def dropout(x, p=0.5, training=True, *, key=None):
    """Zero each element with probability ``p`` and scale the others by 1 / (1 - p); the identity unless ``training``.

    ``key`` is an int64 array [seed, step] (default: numbaconv's global seed, a new step each call); the same key gives
    the same mask in every layout, on every backend.
    """
    x = as_input(x)
    check_floats("dropout", x=x)
    p = fraction("dropout", "p", p)
    if not training or p == 0.0:
        return x
    key, salt = random_key("dropout", key, x.graph if is_traced(x) else None)
    return apply(dropout_row, (x, key), {"p": p, "salt": salt})
