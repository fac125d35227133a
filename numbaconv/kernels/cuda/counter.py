"""Random bits as a function of a key and a position: those of ``kernels/cpu/counter.py``, on int64 (see ``i64``)."""

from ..cpu import counter
from .elementwise import translated
from .intrinsics import f32, i32

stream_of, word_at = translated(counter.stream_of), translated(counter.word_at)


def share_at(stream, position):
    """A number in [0, 1) of 24 random bits: int64 would make double precision of it."""
    return f32(i32(word_at(stream, position) >> 8)) * 0.5**24
