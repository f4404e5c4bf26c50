"""OrtValue: a value as ONNX Runtime's users hold it, bound to sessions and handed on without a copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, errors, memory
from .devices import OrtDevice, OrtMemoryInfo, require_cpu
from .hooks import Array

if TYPE_CHECKING:
    from .sparse import SparseTensor

_NOT_NUMERIC = "Creation of OrtValues is currently only supported from numpy arrays of types that ONNX has"


class OrtValue:
    """A tensor, a sequence, a map, a sparse tensor or nothing.

    >>> import numpy as np
    >>> value = OrtValue.ortvalue_from_numpy(np.zeros((2, 3), np.float32))
    >>> value.data_type(), value.shape()
    ('tensor(float)', [2, 3])

    A tensor lies in a numpy array: the one that was given, where that is contiguous.
    """

    __slots__ = ("_value", "_type", "__weakref__")

    def __init__(self, ortvalue: OrtValue, numpy_obj: Any = None, session: Any = None) -> None:
        """Another handle of a value. New values are made by the class's methods."""
        if not isinstance(ortvalue, OrtValue):
            raise ValueError("`Provided ortvalue` needs to be an OrtValue; see OrtValue.ortvalue_from_numpy")
        self._value: Any = ortvalue._value
        self._type: str = ortvalue._type

    @classmethod
    def _of(cls, value: Any, type_text: str = "") -> OrtValue:
        """Of what a run gives; `type_text` as in 'seq(tensor(float))', where the value alone does not tell."""
        made = cls.__new__(cls)
        made._value = value
        made._type = type_text
        return made

    # ---- making

    @classmethod
    def ortvalue_from_numpy(
        cls, numpy_obj: Array, /, device_type: str | OrtDevice = "cpu", device_id: int = 0, vendor_id: int = -1
    ) -> OrtValue:
        """The array as a value, in the array's memory where that is contiguous."""
        require_cpu(device_type, device_id, vendor_id)
        if not isinstance(numpy_obj, np.ndarray) or _core.dtype_name(numpy_obj.dtype) is None:
            raise RuntimeError(_NOT_NUMERIC)
        return cls._of(_plain(numpy_obj))

    @classmethod
    def ortvalue_from_numpy_with_onnx_type(cls, data: Array, /, onnx_element_type: int) -> OrtValue:
        """The array's memory read as elements of another type of the same size, as in TensorProto.BFLOAT16."""
        dtype = memory.element_dtype(onnx_element_type)
        if _is_sub_byte(dtype) and data.dtype != dtype:
            raise errors.unavailable("A tensor of packed elements", f"give an array of ml_dtypes.{dtype.name}")
        if data.dtype.itemsize != dtype.itemsize or dtype.hasobject:
            sizes = f"{data.dtype.itemsize} specified by onnxtype: {dtype.itemsize}"
            raise RuntimeError(f"Items size in the incoming array: {sizes}")
        return cls._of(_plain(data).view(dtype))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls,
        shape: Sequence[int],
        element_type: Any,
        device_type: str | OrtDevice = "cpu",
        device_id: int = 0,
        vendor_id: int = -1,
        memory_info: OrtMemoryInfo | None = None,
    ) -> OrtValue:
        """A tensor of memory that nobody has written yet. `element_type`: numpy's, or TensorProto's number."""
        require_cpu(device_type, device_id, vendor_id)
        extents = [int(extent) for extent in shape]
        dtype = memory.element_dtype(element_type)
        if dtype.kind in "OUS":
            raise RuntimeError(f"{_NOT_NUMERIC}; strings are made from an array")
        if any(extent < 0 for extent in extents):
            raise RuntimeError(f"Tensor shape.Size() must be >= 0: {extents}")
        if math.prod(extents) * dtype.itemsize >= 2**63:
            raise RuntimeError(f"Integer overflow: a tensor of shape {extents} does not fit in memory")
        return cls._of(np.empty(extents, dtype))

    ortvalue_from_shape_and_onnx_type = ortvalue_from_shape_and_type

    @classmethod
    def ort_value_from_sparse_tensor(cls, sparse_tensor: SparseTensor) -> OrtValue:
        """The sparse tensor as a value."""
        return cls._of(sparse_tensor)

    @classmethod
    def from_dlpack(cls, data: Any, /) -> OrtValue:
        """A tensor of another library (PyTorch, JAX, NumPy), or its DLPack capsule, in the same memory.

        >>> import numpy as np
        >>> OrtValue.from_dlpack(np.ones(2)).numpy()
        array([1., 1.])
        """
        return cls._of(memory.from_capsule(data.__dlpack__() if hasattr(data, "__dlpack__") else data))

    # ---- what it is

    def is_tensor(self) -> bool:
        """Whether it is a dense tensor."""
        return isinstance(self._value, np.ndarray)

    def is_sparse_tensor(self) -> bool:
        """Whether it is a SparseTensor."""
        return hasattr(self._value, "dense_shape")

    def is_tensor_sequence(self) -> bool:
        """Whether it is a sequence of tensors."""
        return isinstance(self._value, list) and not self.data_type().startswith("seq(map")

    def has_value(self) -> bool:
        """False for an optional that is empty, and for an output before the run."""
        return self._value is not None

    def data_type(self) -> str:
        """'tensor(float)', 'seq(tensor(int64))', ..."""
        return type_of(self._value) if self.is_tensor() or not self._type else self._type

    def element_type(self) -> int:
        """TensorProto's number of the elements' type."""
        text = self.data_type()
        if "map(" in text or "(" not in text:
            raise RuntimeError("Tensor proto_type is unavailable for this value.")
        return int(_core.onnx_type_number(f"tensor({text.rsplit('(', 1)[1].split(')')[0]})"))

    def shape(self) -> list[int]:
        """The extents of a tensor."""
        if self.is_sparse_tensor():
            return list(self._value.dense_shape())
        return list(self._tensor().shape)

    def device_name(self) -> str:
        """'cpu'."""
        if not self.is_sparse_tensor():
            self._tensor()
        return "cpu"

    def tensor_size_in_bytes(self) -> int:
        """How much memory the elements take. Types below one byte take a byte for each element."""
        return int(self._numbers("tensor_size_in_bytes").nbytes)

    def data_ptr(self) -> int:
        """The address of the first element; valid as long as this value lives."""
        return int(self._numbers("data_ptr").ctypes.data)

    # ---- its contents

    def numpy(self) -> Array:
        """The tensor as an array of the same memory. RuntimeError for what is no tensor."""
        return self._tensor().view()

    def as_sparse_tensor(self) -> SparseTensor:
        """The sparse tensor that this value holds."""
        if not self.is_sparse_tensor():
            raise RuntimeError("This OrtValue does not contain SparseTensor. Check data_type() value.")
        return self._value  # type: ignore[no-any-return]

    def update_inplace(self, data: Array | OrtValue) -> None:
        """Copies elements into this tensor's memory. The number of elements and their type must be the same."""
        source = data._tensor() if isinstance(data, OrtValue) else data
        if not isinstance(source, np.ndarray):
            raise TypeError("data must be a numpy.ndarray or an OrtValue.")
        target = self._tensor()
        if source.dtype != target.dtype and not (source.dtype.kind == "U" and target.dtype.hasobject):
            types = f"{source.dtype} and {target.dtype}"
            raise RuntimeError(f"The source and destination must have the same data type, not {types}")
        if source.size != target.size:
            sizes = f"{source.size} and {target.size}"
            raise RuntimeError(f"The input size of numpy arrays does not match the size of the OrtValue: {sizes}")
        if not target.flags.writeable:
            raise RuntimeError("the OrtValue was made of an array that cannot be written to")
        np.copyto(target, source.reshape(target.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"a copy is needed to make {np.dtype(dtype)} of {array.dtype}")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, *, stream: Any = None) -> Any:
        if not self.is_tensor():
            raise RuntimeError("Only tensor type OrtValues are supported")
        return memory.to_capsule(self._numbers("DLPack"))

    def to_dlpack(self) -> Any:
        """A DLPack capsule of the tensor's memory."""
        return self.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        self._tensor()
        return (1, 0)

    # ---- ONNX Runtime splits its class in two; code in the field reaches for the inner one

    @property
    def _ortvalue(self) -> OrtValue:
        return self

    def _get_c_value(self) -> OrtValue:
        return self

    def _tensor(self) -> Array:
        if not isinstance(self._value, np.ndarray):
            what = self.data_type() if self.has_value() else "nothing"
            raise RuntimeError(f"Only OrtValues that are Tensors are convertible to Numpy objects; this one holds {what}")
        return self._value

    def _numbers(self, what: str) -> Array:
        array = self._tensor()
        if array.dtype.hasobject:
            raise RuntimeError(f"{what} is for numeric tensors; strings have no fixed place in memory")
        return array

    def __repr__(self) -> str:
        return f"<mezzo.OrtValue {self.data_type() or 'empty'}{self.shape() if self.is_tensor() else ''}>"


def type_of(value: Any) -> str:
    """The ONNX type of a value of Python, as far as it tells.

    >>> import numpy as np
    >>> type_of([np.zeros(2)]), type_of({"a": 1})
    ('seq(tensor(double))', 'map(string,tensor(int64))')
    """
    if isinstance(value, np.ndarray):
        name = _core.dtype_name(value.dtype)
        return _core.onnx_type_name(name) if name is not None else ""
    if isinstance(value, list):
        return f"seq({type_of(value[0]) if value else 'tensor(float)'})"
    if isinstance(value, dict):
        keys, values = np.asarray(list(value)), np.asarray(list(value.values()))
        return f"map({type_of(keys)[len('tensor(') : -1]},{type_of(values)})" if value else "map(string,tensor(float))"
    return value.data_type() if hasattr(value, "data_type") else ""


def unwrap(value: Any) -> Any:
    """What the engine takes, of a value that may be an OrtValue."""
    if not isinstance(value, OrtValue):
        return value
    if value.is_sparse_tensor():
        raise errors.unavailable("Running with sparse inputs", "no operator of mezzo takes them; feed the dense tensor")
    return value._value


def _plain(array: Array) -> Array:
    """The array itself where it is contiguous and in the machine's byte order."""
    if array.dtype.kind in "US":
        array = array.astype(str).astype(object)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _is_sub_byte(dtype: np.dtype[Any]) -> bool:
    return dtype.name in ("int2", "uint2", "int4", "uint4", "float4_e2m1fn")


def copy_tensors(src: Sequence[OrtValue], dst: Sequence[OrtValue], stream: Any = None) -> None:
    """Copies the contents of tensors into the memory of others."""
    if len(src) != len(dst):
        raise RuntimeError(f"Invalid arguments provided to CopyTensors: {len(src)} sources, {len(dst)} destinations")
    for source, target in zip(src, dst):
        target.update_inplace(source)


class OrtValueVector:
    """A list of values, in the form that `run_with_ortvaluevector` takes."""

    def __init__(self) -> None:
        self._values: list[OrtValue] = []
        self._owners: list[Any] = []  # of memory that values look at

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> OrtValue:
        return self._values[index]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def push_back(self, value: Any, *unused: Any) -> None:
        """Adds a value, or the tensor in a DLPack capsule."""
        self._values.append(value if isinstance(value, OrtValue) else OrtValue.from_dlpack(value))

    def push_back_batch(
        self,
        tensors: Sequence[Any],
        data_ptrs: Sequence[int],
        element_types: Sequence[Any],
        shapes: Sequence[Sequence[int]],
        devices: Sequence[OrtDevice],
    ) -> None:
        """Adds the tensors of another library by the addresses of their memory, which they keep."""
        for tensor, address, element_type, shape, device in zip(tensors, data_ptrs, element_types, shapes, devices):
            require_cpu(device)
            self._values.append(OrtValue._of(memory.at_address(address, memory.element_dtype(element_type), shape)))
            self._owners.append(tensor)

    def reserve(self, count: int) -> None:
        """Without effect: lists grow by themselves."""

    def shrink_to_fit(self) -> None:
        """Without effect."""

    def element_type_at(self, index: int) -> int:
        """TensorProto's number of the element type."""
        return self._values[index].element_type()

    def dlpack_at(self, index: int) -> Any:
        """A DLPack capsule of one tensor."""
        return self._values[index].to_dlpack()

    def to_dlpacks(self, to_tensor: Any) -> list[Any]:
        """Every tensor as a DLPack capsule, passed through `to_tensor`, where that is not None."""
        capsules = [value.to_dlpack() for value in self._values]
        return capsules if to_tensor is None else [to_tensor(capsule) for capsule in capsules]
