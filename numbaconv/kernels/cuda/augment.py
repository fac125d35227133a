"""Random colours, three numbers an image."""

from .compiler import INT64, Pointer, block, kernel
from .counter import share_at, stream_of
from .intrinsics import block_x, f32, i64, read_if, read_wide, thread, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering

THREADS = 256


@kernel
def jitter_colors(T):
    """y = contrast (grey + saturation (x - grey)) + brightness; a pixel a thread."""

    @block(THREADS, 4)
    def loop(
        x: Pointer, key: INT64, y: Pointer, size: int, pixels: int, channels: int, salt: int,
        brightness: float, contrast: float, saturation: float,
    ):  # fmt: skip
        pixel = block_x() * THREADS + thread()
        inside = pixel < size
        stream = stream_of(read_wide(key, 0), read_wide(key, 1), i64(salt))
        image = i64(pixel // pixels) * 3
        offset = brightness * (2.0 * share_at(stream, image) - 1.0)
        factor = 1.0 + contrast * (2.0 * share_at(stream, image + 1) - 1.0)
        colour = factor * (1.0 + saturation * (2.0 * share_at(stream, image + 2) - 1.0))
        grey = f32(0.0)
        for c in range(channels):
            grey = grey + read_if(inside, x, pixel * channels + c)
        grey = grey / f32(channels)
        for c in range(channels):
            v = read_if(inside, x, pixel * channels + c) - grey
            write_if(inside, y, pixel * channels + c, colour * v + (factor * grey + offset))

    return loop


@lowering("jitter_colors", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_jitter_colors(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    size = x.batch * x.pixels
    amounts = (float(node.attrs[name]) for name in ("brightness", "contrast", "saturation"))
    constants = (size, max(x.pixels, 1), x.channels, node.attrs["salt"], *amounts)
    program.launch(jitter_colors(y.dtype), ceil_div(size, THREADS), inputs, outputs, constants)
