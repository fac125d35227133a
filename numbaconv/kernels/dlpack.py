"""DLPack for arrays of a GPU, out and in, without copies.

The protocol hands a C structure over in a capsule; whoever takes it renames the capsule and calls the structure's
deleter when it is done (dmlc.github.io/dlpack, version 0.8 of the structure, which everybody reads).
"""

import ctypes
from typing import Any

import numpy as np

#: kDLCUDA and the first GPU.
DEVICE = (2, 0)

_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
_FRESH, _USED = b"dltensor", b"used_dltensor"


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(("PyCapsule_New", _api))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _api))
_is_valid_at = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

#: What is on its way or in use elsewhere: structure, shape and array, by the structure's address.
_lent: dict[int, tuple] = {}


@_Deleter
def _give_back(managed: Any) -> None:
    _lent.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _drop(capsule: int) -> None:
    if _is_valid_at(capsule, _FRESH):  # nobody has taken it
        _lent.pop(_pointer_at(capsule, _FRESH), None)


def export(array: Any) -> Any:
    """A capsule for an array with ``address``, ``shape`` and ``dtype``, which is held until it is given back."""
    shape = (ctypes.c_int64 * max(len(array.shape), 1))(*array.shape)
    code, bits = _CODES[array.dtype.kind], array.dtype.itemsize * 8
    managed = _Managed(deleter=_give_back)
    managed.tensor = _Tensor(array.address, *DEVICE, len(array.shape), code, bits, 1, shape, None, 0)
    where = ctypes.addressof(managed)
    _lent[where] = managed, shape, array
    return _new(where, _FRESH, _drop)


class Taken:
    """What a capsule held; the memory is given back when this object goes."""

    def __init__(self, capsule: Any) -> None:
        if not _is_valid(capsule, _FRESH):
            raise ValueError("the DLPack capsule was taken before")
        self._managed = _Managed.from_address(_pointer(capsule, _FRESH))
        _rename(capsule, _USED)
        tensor = self._managed.tensor
        if (tensor.device_type, tensor.lanes) != (DEVICE[0], 1) or tensor.code not in _KINDS:
            raise ValueError("a DLPack tensor of numbers on a CUDA device is wanted")
        self.shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
        self.dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
        self.strides: tuple[int, ...] | None = None
        if tensor.strides:
            self.strides = tuple(tensor.strides[i] * self.dtype.itemsize for i in range(tensor.ndim))
        self.address = (tensor.data or 0) + tensor.byte_offset

    def __del__(self) -> None:
        if hasattr(self, "_managed") and self._managed.deleter:
            self._managed.deleter(ctypes.byref(self._managed))
