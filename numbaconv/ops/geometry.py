"""Where filters and windows fit."""


def output_size(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """Positions of a filter along one dimension (Dumoulin & Visin, arXiv 1603.07285, relationship 6)."""
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
