// Tensors cut into slices along an axis, and put together from slices, as loops do.
#pragma once

#include <vector>

#include "mezzo/tensor.h"

namespace mezzo::ops {

/// Slice `index` of `tensor` along `axis`, which the result has no more.
Tensor slice_at(const Tensor& tensor, int axis, std::int64_t index);

/// The slices side by side along a new axis. `slices` is not empty; they must agree in type and
/// shape (Error runtime). `axis` counts in the result, and may be negative.
Tensor stack(const std::vector<Tensor>& slices, std::int64_t axis);

/// `tensor` [n, ...] with zeros (empty strings) behind, to [length, ...].
Tensor padded(const Tensor& tensor, std::int64_t length);

}  // namespace mezzo::ops
