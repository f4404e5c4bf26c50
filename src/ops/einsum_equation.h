// The equation of an Einsum, read and checked.
#pragma once

#include <string>
#include <vector>

#include "mezzo/tensor.h"

namespace mezzo::ops {

/// Which index each axis of each operand runs over. Indices are numbered: first those that "..."
/// stands for, outermost first, then the letters as they appear.
struct EinsumEquation {
  std::vector<std::vector<int>> operands;
  std::vector<int> output;
  Shape extents;  ///< by index

  Shape output_shape() const;
};

/// Reads `equation` for operands of these shapes. As in NumPy, an extent of 1 is repeated where
/// another operand has a larger one under the same index. Throws Error(invalid_model).
EinsumEquation read_einsum(const std::string& equation, const std::vector<Shape>& shapes);

}  // namespace mezzo::ops
