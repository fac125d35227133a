"""A panel: several pixels by all output channels, covered with the register tiles of ``tile.py``.

With images in lanes the weights are broadcast and the vectors hold pixels; with channels in lanes the pixels are
broadcast and the vectors hold output channels.
"""

from .compiler import inline
from .geometry import ceil_div
from .target import LANES
from .tile import product, product_first, tiles_for
from .vector import at


def make_panel(images: bool, rows: int, vectors: int, tail: int):
    """A function (x, w, y, width, counts, x_strides, w_strides, x_next, y_next, w_row, outputs) for use in kernels.

    ``width`` pixels that lie ``x_next`` and ``y_next`` apart; filters of output channels (or of vectors of them) lie
    ``w_row`` apart.  ``tail``: ``outputs`` modulo ``rows``, or vectors of them modulo ``vectors``.
    """
    # so many pixels left at the end take as long one by one as in a whole tile
    overlap = next((left for left in range(1, vectors) if left * _cycles(rows, 1) > _cycles(rows, vectors)), vectors)
    if images:
        wide, single = product(rows, vectors), product(rows, 1)
        wide_tail, single_tail = product(max(tail, 1), vectors), product(max(tail, 1), 1)
    else:
        wide, single = product_first(rows, vectors), product_first(1, vectors)
        wide_tail, single_tail = product_first(rows, max(tail, 1)), product_first(1, max(tail, 1))

    @inline
    def panel_of_images(x, w, y, width, counts, x_strides, w_strides, x_next, y_next, w_row, outputs):
        whole = outputs // rows * rows
        cut = tail and outputs > whole
        j = 0
        while j < width:
            if width - j >= vectors or (width >= vectors and width - j >= overlap):
                j = min(j, width - vectors)  # the last tile may repeat some of its neighbour's pixels
                xj, yj = at(x, j * x_next), at(y, j * y_next)
                for k in range(0, whole, rows):
                    wide(at(w, k * w_row), xj, at(yj, k * LANES), counts, w_strides, x_strides,
                         w_row, x_next, LANES, y_next, 0)  # fmt: skip
                if cut:
                    wide_tail(at(w, whole * w_row), xj, at(yj, whole * LANES), counts, w_strides, x_strides,
                              w_row, x_next, LANES, y_next, 0)  # fmt: skip
                j += vectors
            else:
                xj, yj = at(x, j * x_next), at(y, j * y_next)
                for k in range(0, whole, rows):
                    single(at(w, k * w_row), xj, at(yj, k * LANES), counts, w_strides, x_strides,
                           w_row, x_next, LANES, y_next, 0)  # fmt: skip
                if cut:
                    single_tail(at(w, whole * w_row), xj, at(yj, whole * LANES), counts, w_strides, x_strides,
                                w_row, x_next, LANES, y_next, 0)  # fmt: skip
                j += 1

    @inline
    def panel_of_channels(x, w, y, width, counts, x_strides, w_strides, x_next, y_next, w_row, outputs):
        step = vectors * LANES
        whole = ceil_div(outputs, LANES) * LANES - tail * LANES
        last = at(w, whole // LANES * w_row)  # vectors beyond the last one must not be read
        j = 0
        while j < width:
            if width >= rows:
                j = min(j, width - rows)
                xj, yj = at(x, j * x_next), at(y, j * y_next)
                for k in range(0, whole, step):
                    wide(xj, at(w, k // LANES * w_row), at(yj, k), counts, x_strides, w_strides,
                         x_next, w_row, y_next, LANES, outputs - k)  # fmt: skip
                if tail:
                    wide_tail(xj, last, at(yj, whole), counts, x_strides, w_strides,
                              x_next, w_row, y_next, LANES, outputs - whole)  # fmt: skip
                j += rows
            else:
                xj, yj = at(x, j * x_next), at(y, j * y_next)
                for k in range(0, whole, step):
                    single(xj, at(w, k // LANES * w_row), at(yj, k), counts, x_strides, w_strides,
                           x_next, w_row, y_next, LANES, outputs - k)  # fmt: skip
                if tail:
                    single_tail(xj, last, at(yj, whole), counts, x_strides, w_strides,
                                x_next, w_row, y_next, LANES, outputs - whole)  # fmt: skip
                j += 1

    return panel_of_images if images else panel_of_channels


def tiles_along_vectors(make, height: int, vectors: int, vector_tail: int, p_vector: int):
    """A function (x, g, p, runs, counts, x_strides, g_strides, p_row, again) for use in kernels.

    The loop over ``runs`` vectors of x for tiles of ``height`` rows of g, which are LANES elements apart; ``make`` is
    a maker of tiles.  ``vector_tail`` vectors, if that is not 0, get a tile of their own.
    """
    tile, narrow, column = make(height, vectors), make(height, max(vector_tail, 1)), make(height, 1)

    @inline
    def walk(x, g, p, runs, counts, x_strides, g_strides, p_row, again):
        v = 0
        while v < runs:
            xv, pv, left = at(x, v * LANES), at(p, v * p_vector), runs - v
            if left >= vectors:
                tile(g, xv, pv, counts, g_strides, x_strides, LANES, LANES, p_row, p_vector, again)
                v += vectors
            elif vector_tail and left == vector_tail:
                narrow(g, xv, pv, counts, g_strides, x_strides, LANES, LANES, p_row, p_vector, again)
                v += vector_tail
            else:
                column(g, xv, pv, counts, g_strides, x_strides, LANES, LANES, p_row, p_vector, again)
                v += 1

    return walk


def make_outer(rows: int, vectors: int, row_tail: int, vector_tail: int):
    """A function (a, b, p, outputs, runs, counts, a_strides, b_strides, a_row, p_row, again) for use in kernels.

    p[m, v] = the sums of a[m] b[v] that ``tile.product`` takes, for ``outputs`` numbers m of a, ``a_row`` apart, and
    ``runs`` vectors v of b; += if ``again``.  ``row_tail`` and ``vector_tail``: what whole tiles leave, if anything.
    """
    wide, narrow = product(rows, vectors), product(rows, max(vector_tail, 1))
    short, corner = product(max(row_tail, 1), vectors), product(max(row_tail, 1), max(vector_tail, 1))

    @inline
    def outer(a, b, p, outputs, runs, counts, a_strides, b_strides, a_row, p_row, again):
        for v in range(0, runs, vectors):
            bv, whole = at(b, v * LANES), outputs // rows * rows
            for m in range(0, whole, rows):
                am, pm = at(a, m * a_row), at(p, m * p_row + v * LANES)
                if runs - v >= vectors:
                    wide(am, bv, pm, counts, a_strides, b_strides, a_row, LANES, p_row, LANES, again)
                elif vector_tail:
                    narrow(am, bv, pm, counts, a_strides, b_strides, a_row, LANES, p_row, LANES, again)
            if row_tail and whole < outputs:
                am, pm = at(a, whole * a_row), at(p, whole * p_row + v * LANES)
                if runs - v >= vectors:
                    short(am, bv, pm, counts, a_strides, b_strides, a_row, LANES, p_row, LANES, again)
                elif vector_tail:
                    corner(am, bv, pm, counts, a_strides, b_strides, a_row, LANES, p_row, LANES, again)

    return outer


def _cycles(rows: int, vectors: int, depth: int = 64, registers: int = 1) -> float:
    """Cycles of a tile for each of ``depth`` steps: two multiply-adds and two loads a cycle, a latency of four cycles.

    Every row is one more line of memory to be followed, and a tile begins and ends; these numbers are measured.
    """
    sums = rows * vectors * registers
    return max(sums / 2, (rows + vectors * registers) / 2, 5.0) + 0.3 + 0.05 * rows + (20 + 1.5 * sums) / depth


def choose_tile(
    itemsize: int, rows: int, runs: list[tuple[int, int]], depth: int, cut_rows: bool, overlap: bool = False
) -> tuple[int, int]:
    """The register tile that takes the fewest cycles for ``rows`` x each of ``runs`` (length, how often).

    ``depth`` products are added up for each number.
    With images in lanes (``cut_rows``) a tail of rows is a tile of its own, and what is left of a run is done vector by
    vector or by a tile that repeats some; with channels in lanes a tail's rows are done one by one (or, where tiles may
    ``overlap``, by a tile that repeats some), and the vectors left at the end of a run are a tile of their own.
    """
    registers = 1 if itemsize == 4 else 2

    def cycles(m: int, v: int) -> float:
        return v and _cycles(m, v, max(depth, 1), registers)

    def cost(tile: tuple[int, int]) -> float:
        m, v = tile
        whole, tail = divmod(rows, m)
        if overlap and whole and tail:
            whole, tail = whole + 1, 0
        total = 0.0
        for length, often in runs:
            fits = length >= v or not cut_rows
            wide, single = divmod(length, v) if fits else (0, length)
            if cut_rows and wide and single * cycles(m, 1) > cycles(m, v):
                wide, single = wide + 1, 0
            for height, count in ((m, whole), (tail, 1 if tail and cut_rows else 0), (1, 0 if cut_rows else tail)):
                if count:
                    total += often * count * wide * cycles(height, v)
                    total += often * count * (single * cycles(height, 1) if cut_rows else cycles(height, single))
        return total

    return min(tiles_for(itemsize, lone=overlap), key=lambda tile: (cost(tile), tile[1]))
