"""Power-average pooling: windows are pooled as in ``pool.py``; powers element by element."""

from .elementwise import elementwise
from .lowering import BATCH, lowering
from .math import exp, log
from .pool import Windows, pool_step
from .vector import absolute, nearest, where


@elementwise("abs_power", costly=True)
def abs_power(x, p, slopes, logs):
    """|x|^(p - slopes) sign(x)^slopes log(|x|)^logs, for up to three logarithms."""
    logarithm = log(absolute(x))
    result = exp((p - slopes) * logarithm)
    odd = nearest(slopes * 0.5) * 2.0 != slopes
    result = where(odd & (x < 0.0), -result, result)
    for least in range(3):
        result = where(logs > least + 0.5, result * logarithm, result)
    return where(x == 0.0, 0.0, result)


@lowering("lp_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_lp_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs = node.attrs
    windows = Windows(attrs, x.spatial, y.spatial)
    pool_step(program, x, y, windows, "power", windows.sum_scales(), float(attrs["exponent"]))
