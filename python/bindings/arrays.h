// NumPy arrays and what ONNX's other values are in Python, to tensors and back.
//
//     tensor     numpy.ndarray: of ml_dtypes' types where NumPy has none, of str objects for
//     strings sequence   list map        dict optional   its value, or None
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "mezzo/tensor.h"
#include "onnx/model.h"

namespace mezzo::python {

/// Loads NumPy's and ml_dtypes' types; called once, when the module is imported.
void init_arrays();

/// A value from Python as `type` says it (Kind::none: as it looks). An array is looked at, not
/// copied, where it lies as mezzo needs it: contiguous, aligned, in native byte order, in whole
/// bytes. What was made on the way is added to `alive` and must outlive the tensor.
/// Throws Error(invalid_argument).
Tensor to_tensor(nanobind::handle value, const onnx::Type& type,
                 std::vector<nanobind::object>& alive);

/// The Python value of a tensor. The array owns its memory, and is writable; large tensors are
/// handed over without a copy where nobody else has them.
nanobind::object from_tensor(Tensor tensor);

/// numpy.dtype of an element type; object for strings. Throws Error(unsupported).
nanobind::object numpy_dtype(DType dtype);

/// The element type of a numpy.dtype (or what numpy.dtype takes); undefined where there is none.
DType dtype_of(nanobind::handle numpy_dtype);

}  // namespace mezzo::python
