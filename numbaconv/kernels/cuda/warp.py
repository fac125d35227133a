"""Sums and largest numbers over the threads of a warp, the same for all of them and in the same order every time."""

from .intrinsics import maximum, shuffle_xor, where

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
