"""Dropout and its kin, with masks that are a function of a seed and a position.

All of them keep or drop *units*: single elements, feature maps, images or the whole batch.
"""

import math

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    checked,
    fraction,
    image_sizes,
    is_traced,
    operator,
    public,
    random_key,
    shape_of,
)
from .draw import below


class Dropout(Operator):
    """x * scale + shift where the counter-based generator keeps the unit, else ``lost``; linear in x.

    A unit is what the first ``leading`` dimensions point at.
    """

    def shape(self, x: Spec, key: Spec, *, p, salt, leading, scale, shift, lost) -> Spec:
        return x

    def gradient(self, grads, outputs, x, key, *, shift, lost, **attrs):
        return dropout_row(grads[0], key, shift=0.0, lost=0.0, **attrs), None


dropout_row = operator(Dropout)


def _dropped(function: str, x, p, training, key, leading: int, alpha: bool = False):
    """``x`` with units dropped; ``alpha`` as in alpha dropout."""
    x = checked(function, x)
    p = fraction(function, "p", p)
    if not training or p == 0.0:
        return x
    key, salt = random_key(function, key, x.graph if is_traced(x) else None)
    scale, shift, lost = 1.0 / (1.0 - p) if p < 1.0 else 0.0, 0.0, 0.0
    if alpha and p < 1.0:
        scale = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * SATURATION**2))
        shift = -scale * SATURATION * p
        lost = scale * SATURATION + shift
    attrs = {"p": p, "salt": salt, "leading": leading, "scale": scale, "shift": shift, "lost": lost}
    return apply(dropout_row, (x, key), attrs)


#: SELU's limit at -infinity, -1.0507 * 1.6733.
SATURATION = -1.7580993408473766


def _case(*shape: int, **arguments) -> Case:
    return Case({"x": shape, "key": (2,)}, arguments, {"key": below(1000)})


@public(_case(17, 3, 5, p=0.4), _case(17, 3, 5, p=1.0), sizes=image_sizes(p=0.5))
def dropout(x, p=0.5, training=True, *, key=None):
    """Zero each element with probability ``p`` and scale the others by 1 / (1 - p); the identity unless ``training``.

    ``key`` is an int64 array [seed, step] (default: numbaconv's global seed, a new step each call); the same key gives
    the same mask in every layout, on every backend.
    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014.
    """
    return _dropped("dropout", x, p, training, key, leading=len(shape_of(x)))


def _feature_maps(function: str, x, p, training, key, ranks: tuple[int, ...], unbatched: int):
    """Dropout of whole channels; ``unbatched`` is the rank at which the first dimension is the channels'."""
    x = as_input(x)
    rank = len(shape_of(x))
    if rank not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(f"{function}: x must have {wanted} dimensions, its shape is {shape_of(x)}")
    return _dropped(function, x, p, training, key, leading=1 if rank == unbatched else 2)


@public(_case(17, 3, 5, p=0.4), _case(6, 5))
def dropout1d(x, p=0.5, training=True, *, key=None):
    """``dropout`` of whole channels of x (N, C, L) or (C, L).  ValueError for another number of dimensions.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, arXiv 1411.4280, section 3.2.
    """
    return _feature_maps("dropout1d", x, p, training, key, (2, 3), unbatched=2)


@public(_case(17, 3, 5, 2, p=0.4), _case(17, 3, 5))
def dropout2d(x, p=0.5, training=True, *, key=None):
    """``dropout`` of whole channels of x (N, C, H, W) or (N, C, L).  ValueError for another number of dimensions.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, arXiv 1411.4280, section 3.2.
    """
    return _feature_maps("dropout2d", x, p, training, key, (3, 4), unbatched=0)


@public(_case(17, 3, 2, 2, 3, p=0.4), _case(3, 2, 2, 3))
def dropout3d(x, p=0.5, training=True, *, key=None):
    """``dropout`` of whole channels of x (N, C, D, H, W) or (C, D, H, W).  ValueError for another number of dimensions.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, arXiv 1411.4280, section 3.2.
    """
    return _feature_maps("dropout3d", x, p, training, key, (4, 5), unbatched=4)


@public(_case(17, 3, 5, p=0.4, training=True), _case(17, 3, p=1.0, training=True))
def alpha_dropout(x, p=0.5, training=False, *, key=None):
    """Set elements to SELU's limit -1.7581 with probability ``p``, then scale and shift: mean 0 and variance 1 stay.

    ``training`` and ``key`` as for ``dropout``; with p = 1 all is zero.
    Source: Klambauer et al., Self-Normalizing Neural Networks, arXiv 1706.02515, section 2.
    """
    return _dropped("alpha_dropout", x, p, training, key, leading=len(shape_of(x)), alpha=True)


@public(_case(17, 3, 5, p=0.4, training=True))
def feature_alpha_dropout(x, p=0.5, training=False, *, key=None):
    """``alpha_dropout`` of whole channels of x (N, C, ...).  ValueError for fewer than two dimensions.

    Source: Klambauer et al., arXiv 1706.02515, section 2; PyTorch.
    """
    if len(shape_of(x)) < 2:
        raise ValueError(f"feature_alpha_dropout: x must have at least 2 dimensions, its shape is {shape_of(x)}")
    return _dropped("feature_alpha_dropout", x, p, training, key, leading=2, alpha=True)


@public(_case(17, 3, 5, p=0.4, mode="row"), _case(17, 3, 5, p=0.4, mode="batch"))
def stochastic_depth(x, p, mode, training=True, *, key=None):
    """Zero the whole of x (``mode="batch"``) or single images (``"row"``) with probability ``p``, scale by 1 / (1 - p).

    Applied to residual branches, it leaves layers out at random.  x (N, ...); ValueError for another mode.
    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv 1603.09382; torchvision.ops.
    """
    if mode not in ("batch", "row"):
        raise ValueError(f'stochastic_depth: mode must be "batch" or "row", not {mode!r}')
    return _dropped("stochastic_depth", x, p, training, key, leading=0 if mode == "batch" else 1)
