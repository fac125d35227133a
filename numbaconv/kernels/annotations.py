"""What a kernel says of its arguments: annotations that the backends turn into types and argument blocks."""


class Pointer:
    """Annotation of a kernel's argument: pointer to elements of the kernel's dtype (``Pointer``) or of a fixed one."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Ints:
    """Annotation of a kernel's argument: a tuple of ``count`` integers."""

    def __init__(self, count: int) -> None:
        self.count = count


class Pointers:
    """Annotation of a kernel's argument: a tuple of ``count`` pointers to elements of the kernel's dtype."""

    def __init__(self, count: int) -> None:
        self.count = count


INT32 = Pointer("int32")
INT64 = Pointer("int64")
UINT8 = Pointer("uint8")
FLOAT32 = Pointer("float32")
FLOAT64 = Pointer("float64")

#: Annotation of a kernel's argument: a ``TensorMap`` (``device.py``), for copies of boxes.
TENSOR_MAP = Pointer("uint8")
