"""Random slopes; the rectifiers themselves are the elementwise functions of ``kernels/cpu``."""

from .compiler import INT64, Pointer, block, kernel
from .counter import share_at, stream_of
from .intrinsics import block_x, i64, read_wide, thread, write_if
from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering

THREADS = 256


@kernel
def uniform(T):
    """Numbers between ``low`` and ``low + span``, 24 bits each, as a function of the place in NumPy's order."""

    @block(THREADS, 4)
    def loop(key: INT64, y: Pointer, size: int, channels: int, pixels: int, salt: int, low: float, span: float):
        at = block_x() * THREADS + thread()
        pixel = at // channels
        image = pixel // pixels
        number = (image * channels + (at - pixel * channels)) * pixels + (pixel - image * pixels)
        stream = stream_of(read_wide(key, 0), read_wide(key, 1), i64(salt))
        write_if(at < size, y, at, low + span * share_at(stream, i64(number)))

    return loop


@lowering("uniform_like", inputs=(SAME, PLAIN), outputs=(SAME,))
def lower_uniform_like(program, node, inputs, outputs):
    y, attrs = outputs[0], node.attrs
    channels, pixels = (y.channels, y.pixels) if y.layout == BATCH else (1, y.elements)
    numbers = float(attrs["low"]), float(attrs["high"] - attrs["low"])
    constants = (y.elements, channels, max(pixels, 1), attrs["salt"], *numbers)
    program.launch(uniform(y.dtype), ceil_div(y.elements, THREADS), inputs[1:], outputs, constants)
