"""Rulebooks of sparse convolutions: which active site meets which tap, found by hashing coordinates.

Coordinates are (image, plane, row, column); a key is a place's number in C order.  The hash table has open addressing:
``slots`` (a power of two) pairs (key, row), a key of -1 standing for none.
"""

from .compiler import inline
from .native import INT64, Ints, Pointer, kernel

INT32 = Pointer("int32")

#: Knuth's multiplicative hashing with 2^64 / golden ratio (The Art of Computer Programming, volume 3, section 6.4).
MULTIPLIER = -7046029254386353131


@inline
def _slot(table, slots, key):
    """The slot of a key, or the free one where it belongs."""
    slot = ((key * MULTIPLIER) >> 20) & (slots - 1)
    while table[2 * slot] != key and table[2 * slot] != -1:
        slot = (slot + 1) & (slots - 1)
    return slot


@inline
def _key(n, d, h, w, sizes):
    return ((n * sizes[0] + d) * sizes[1] + h) * sizes[2] + w


@kernel
def enter(T):
    """Enter the rows of ``sites`` into an empty table; ``found`` gets one row whose place another one has, or -1."""

    def loop(begin, end, coordinates: INT64, table: INT64, found: INT64, slots: int, sizes: Ints(3)):
        found[0] = -1
        for i in range(begin, end):
            at = 4 * i
            key = _key(coordinates[at], coordinates[at + 1], coordinates[at + 2], coordinates[at + 3], sizes)
            slot = _slot(table, slots, key)
            if table[2 * slot] == key:
                found[0] = i
            table[2 * slot], table[2 * slot + 1] = key, i

    return loop


@kernel
def reached(T):
    """The keys of all output places that some site reaches, each once; ``count`` gets how many there are."""

    def loop(
        begin, end, coordinates: INT64, table: INT64, keys: INT64, count: INT64, slots: int,
        sizes: Ints(3), kernel_: Ints(3), stride: Ints(3), padding: Ints(3), dilation: Ints(3),
    ):  # fmt: skip
        total = 0
        for i in range(begin, end):
            for td in range(kernel_[0]):
                d = coordinates[4 * i + 1] + padding[0] - td * dilation[0]
                if d < 0 or d % stride[0] or d // stride[0] >= sizes[0]:
                    continue
                for th in range(kernel_[1]):
                    h = coordinates[4 * i + 2] + padding[1] - th * dilation[1]
                    if h < 0 or h % stride[1] or h // stride[1] >= sizes[1]:
                        continue
                    for tw in range(kernel_[2]):
                        w = coordinates[4 * i + 3] + padding[2] - tw * dilation[2]
                        if w < 0 or w % stride[2] or w // stride[2] >= sizes[2]:
                            continue
                        key = _key(coordinates[4 * i], d // stride[0], h // stride[1], w // stride[2], sizes)
                        slot = _slot(table, slots, key)
                        if table[2 * slot] != key:
                            table[2 * slot] = key
                            keys[total] = key
                            total += 1
        count[0] = total

    return loop


@kernel
def match(T):
    """Enter into ``gather`` and ``scatter`` which input row each output row reads through each tap."""

    def loop(
        begin, end, coordinates: INT64, table: INT64, gather: INT32, scatter: INT32,
        slots: int, outputs: int, inputs: int,
        sizes: Ints(3), kernel_: Ints(3), stride: Ints(3), padding: Ints(3), dilation: Ints(3),
    ):  # fmt: skip
        for m in range(begin, end):
            tap = 0
            for td in range(kernel_[0]):
                d = coordinates[4 * m + 1] * stride[0] - padding[0] + td * dilation[0]
                for th in range(kernel_[1]):
                    h = coordinates[4 * m + 2] * stride[1] - padding[1] + th * dilation[1]
                    for tw in range(kernel_[2]):
                        w = coordinates[4 * m + 3] * stride[2] - padding[2] + tw * dilation[2]
                        if 0 <= d < sizes[0] and 0 <= h < sizes[1] and 0 <= w < sizes[2]:
                            slot = _slot(table, slots, _key(coordinates[4 * m], d, h, w, sizes))
                            if table[2 * slot] != -1:
                                n = table[2 * slot + 1]
                                gather[tap * outputs + m] = n
                                scatter[tap * inputs + n] = m
                        tap += 1

    return loop
