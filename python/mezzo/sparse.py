"""SparseTensor: sparse tensors as ONNX Runtime's users make and read them. No operator of mezzo takes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core, errors
from .devices import OrtDevice, require_cpu
from .enums import OrtSparseFormat
from .hooks import Array
from .ortvalue import type_of


class SparseCooView:
    """Where the values of a COO tensor are."""

    def __init__(self, indices: Array) -> None:
        self._indices = indices

    def indices(self) -> Array:
        """Positions in the flattened tensor, or a row of coordinates for each value."""
        return self._indices


class SparseCsrView:
    """Where the values of a CSR matrix are."""

    def __init__(self, inner: Array, outer: Array) -> None:
        self._inner, self._outer = inner, outer

    def inner(self) -> Array:
        """The column of each value."""
        return self._inner

    def outer(self) -> Array:
        """Where in the values each row begins, and the end."""
        return self._outer


class SparseTensor:
    """A tensor of which only some values are stored.

    >>> import numpy as np
    >>> cpu = OrtDevice.make("cpu", 0)
    >>> sparse = SparseTensor.sparse_coo_from_numpy([3, 3], np.array([1.0, 2.0]), np.array([1, 5]), cpu)
    >>> sparse.as_coo_view().indices()
    array([1, 5])
    """

    __slots__ = ("_shape", "_values", "_view")

    def __init__(self, sparse_tensor: SparseTensor) -> None:
        """Another handle of a sparse tensor. New ones are made by the class's methods."""
        if not isinstance(sparse_tensor, SparseTensor):
            raise ValueError("`Provided object` needs to be a SparseTensor; see SparseTensor.sparse_coo_from_numpy")
        self._shape: list[int] = sparse_tensor._shape
        self._values: Array = sparse_tensor._values
        self._view: SparseCooView | SparseCsrView = sparse_tensor._view

    @classmethod
    def _of(cls, shape: Sequence[int], values: Array, view: SparseCooView | SparseCsrView) -> SparseTensor:
        if values.ndim != 1 or _core.dtype_name(values.dtype) is None:
            got = f"{values.ndim}-D of {values.dtype}"
            raise RuntimeError(f"Expecting values 1-D numpy values array for a type that ONNX has, not {got}")
        made = cls.__new__(cls)
        made._shape = [int(extent) for extent in shape]
        made._values = values.astype(object) if values.dtype.kind in "US" else values
        made._view = view
        return made

    @classmethod
    def sparse_coo_from_numpy(
        cls, dense_shape: Sequence[int], values: Array, coo_indices: Array, ort_device: OrtDevice
    ) -> SparseTensor:
        """Of values and their positions: one number each, in the flattened tensor, or a pair."""
        require_cpu(ort_device)
        indices = np.asarray(coo_indices, np.int64)
        if indices.size not in (values.size, 2 * values.size):
            raise RuntimeError(f"Index size: {indices.size} must be equal to or twice the values size: {values.size}")
        extents = [int(extent) for extent in dense_shape]
        limits = np.prod(extents) if indices.ndim == 1 else np.asarray(extents)
        if indices.size and (indices.min() < 0 or np.any(indices >= limits)):
            raise RuntimeError(f"an index lies outside of the shape {extents}")
        return cls._of(extents, values, SparseCooView(indices))

    @classmethod
    def sparse_csr_from_numpy(
        cls,
        dense_shape: Sequence[int],
        values: Array,
        inner_indices: Array,
        outer_indices: Array,
        ort_device: OrtDevice,
    ) -> SparseTensor:
        """Of a matrix's values row by row, the column of each, and where each row begins."""
        require_cpu(ort_device)
        inner, outer = np.asarray(inner_indices, np.int64), np.asarray(outer_indices, np.int64)
        if len(dense_shape) != 2:
            raise RuntimeError(f"a CSR tensor has two dimensions, not {len(dense_shape)}")
        rows, columns = (int(extent) for extent in dense_shape)
        if inner.size != values.size or outer.size != rows + 1:
            raise RuntimeError(
                f"Expecting inner index size: {values.size} and outer index size: {rows + 1}, not {inner.size} and {outer.size}"
            )
        rows_fit = outer[0] == 0 and outer[-1] == values.size and not np.any(np.diff(outer) < 0)
        if np.any(inner < 0) or np.any(inner >= columns) or not rows_fit:
            raise RuntimeError(f"CSR indices do not fit the shape {[rows, columns]} and {values.size} values")
        return cls._of([rows, columns], values, SparseCsrView(inner, outer))

    def format(self) -> OrtSparseFormat:
        """COO or CSR."""
        is_coo = isinstance(self._view, SparseCooView)
        return OrtSparseFormat.ORT_SPARSE_COO if is_coo else OrtSparseFormat.ORT_SPARSE_CSRC

    def dense_shape(self) -> list[int]:
        """The extents, as of the dense tensor."""
        return list(self._shape)

    def data_type(self) -> str:
        """'sparse_tensor(float)', ..."""
        return f"sparse_{type_of(self._values)}"

    def device_name(self) -> str:
        """'cpu'."""
        return "cpu"

    def values(self) -> Array:
        """The values that are stored."""
        return self._values

    def as_coo_view(self) -> SparseCooView:
        """The positions; RuntimeError where the format is another."""
        if not isinstance(self._view, SparseCooView):
            raise RuntimeError("This sparse tensor does not contain COO format")
        return self._view

    def as_csrc_view(self) -> SparseCsrView:
        """The positions; RuntimeError where the format is another."""
        if not isinstance(self._view, SparseCsrView):
            raise RuntimeError("This sparse tensor does not contain CSR(C) format")
        return self._view

    def as_blocksparse_view(self) -> Any:
        """RuntimeError: no tensor has that format."""
        raise RuntimeError("This sparse tensor does not contain BlockSparse format")

    get_coo_data = as_coo_view
    get_csrc_data = as_csrc_view
    get_blocksparse_data = as_blocksparse_view

    @staticmethod
    def blocksparse_from_numpy(*arguments: Any) -> SparseTensor:
        """NotImplemented: ONNX has no block-sparse tensors."""
        raise errors.unavailable("SparseTensor.blocksparse_from_numpy", "ONNX has no block-sparse tensors; use COO")

    def to_cuda(self, ort_device: OrtDevice) -> SparseTensor:
        """RuntimeError: there is no CUDA."""
        raise RuntimeError("Cuda is not available in this build")

    def _get_c_tensor(self) -> SparseTensor:
        return self
