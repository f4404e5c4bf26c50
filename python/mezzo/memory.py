"""Memory by its address, and tensors handed over by DLPack (https://dmlc.github.io/dlpack/latest/)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from . import _core
from .hooks import Array

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_CPU = (1, 0)  # DLPack's kind and number of the device


def element_dtype(element_type: Any) -> np.dtype[Any]:
    """The numpy type of an element type given as TensorProto's number or as whatever numpy.dtype takes.

    >>> element_dtype(1), element_dtype("int64")
    (dtype('float32'), dtype('int64'))
    """
    if isinstance(element_type, int) and not isinstance(element_type, bool):
        found = _core.numpy_dtype(element_type)
        if found is None:
            raise RuntimeError(f"tensor type {element_type} is not supported")
        return np.dtype(found)
    dtype: np.dtype[Any] = np.dtype(element_type)
    if _core.dtype_name(dtype) is None:
        raise RuntimeError(f"ONNX has no tensors of {dtype}")
    return dtype


def at_address(address: int, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
    """The array at an address, of which the caller keeps the memory."""
    extents = tuple(int(extent) for extent in shape)
    if any(extent < 0 for extent in extents):
        raise ValueError(f"extents of a buffer must not be negative: {extents}")
    if dtype.hasobject:
        raise RuntimeError("Only binding non-string Tensors is currently supported: strings have no fixed place")
    size = dtype.itemsize
    for extent in extents:
        size *= extent
    if size == 0:
        return np.empty(extents, dtype)
    if not address:
        raise ValueError(f"the address of a buffer of {size} bytes is 0")
    buffer = memoryview((ctypes.c_char * size).from_address(int(address)))
    return np.frombuffer(buffer, dtype=np.uint8).view(dtype).reshape(extents)


class _Tensor(ctypes.Structure):
    """The beginning of DLPack's DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_kind", ctypes.c_int32),
        ("device_number", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
    )


_CODE_UINT, _CODE_BFLOAT = 1, 4

_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


def _tensor_in(capsule: Any) -> _Tensor:
    try:
        return _Tensor.from_address(_get_pointer(capsule, b"dltensor"))
    except ValueError:
        raise TypeError("from_dlpack expected a valid DLPack capsule named 'dltensor'") from None


class _Exporter:
    """A capsule, as NumPy wants to be given it."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


def to_capsule(array: Array) -> Any:
    """A DLPack capsule of the array's memory. NumPy cannot say bfloat16, so it goes as uint16 and is renamed."""
    if array.dtype != _BFLOAT16:
        return array.__dlpack__()
    capsule = array.view(np.uint16).__dlpack__()
    _tensor_in(capsule).code = _CODE_BFLOAT
    return capsule


def from_capsule(capsule: Any) -> Array:
    """The array in a DLPack capsule, writable, of the same memory."""
    tensor = _tensor_in(capsule)
    if (tensor.device_kind, tensor.device_number) != _CPU:
        raise RuntimeError(f"mezzo computes on the CPU; the tensor lies on DLPack's device kind {tensor.device_kind}")
    is_bfloat = tensor.code == _CODE_BFLOAT and tensor.bits == 16
    if is_bfloat:
        tensor.code = _CODE_UINT
    given = np.from_dlpack(_Exporter(capsule))
    if not given.flags.c_contiguous:
        raise RuntimeError("only contiguous tensors can be taken over; copy this one")
    array = _writable(given)
    return array.view(_BFLOAT16) if is_bfloat else array


class _Memory:
    """Somebody else's memory as an array, which keeps its owner alive."""

    def __init__(self, owner: Array) -> None:
        self._owner = owner
        self.__array_interface__ = {**owner.__array_interface__, "data": (owner.ctypes.data, False)}


def _writable(array: Array) -> Array:
    """NumPy marks what comes by DLPack as read-only, as it cannot know better."""
    return array if array.flags.writeable else np.asarray(_Memory(array))
