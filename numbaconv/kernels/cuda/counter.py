"""Random bits as a function of a key and a position: those of ``kernels/cpu/counter.py``, on int64 (see ``i64``)."""

from ..cpu import counter
from .elementwise import translated

stream_of, word_at = translated(counter.stream_of), translated(counter.word_at)
