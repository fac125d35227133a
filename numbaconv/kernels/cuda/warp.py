"""Sums and largest numbers over threads, the same for all of them and in the same order every time."""

from .intrinsics import barrier, maximum, read_shared, shared, shuffle_xor, thread, where, write_shared

WARP = 32


def sum_of_warp(x):
    for mask in (16, 8, 4, 2, 1):
        x = x + shuffle_xor(x, mask)
    return x


def largest(a, b):
    """The larger of a and b; NaN if either is."""
    return where(a != a, a, maximum(a, b))


def largest_of_warp(x):
    for mask in (16, 8, 4, 2, 1):
        x = largest(x, shuffle_xor(x, mask))
    return x


def over_block(of_warp, threads: int):
    """``sum_of_warp`` or ``largest_of_warp`` as a device function of a whole block.

    It takes shared memory's first words, one a warp; the number of warps is a power of two.
    """
    warps = threads // WARP
    share = warps / WARP if of_warp is sum_of_warp else 1.0  # every number is counted as often: a power of two

    def of_block(x):
        write_shared(shared() + thread() // WARP * 4, of_warp(x))
        barrier()
        found = of_warp(read_shared(shared() + thread() % warps * 4)) * share
        barrier()
        return found

    return of_block
