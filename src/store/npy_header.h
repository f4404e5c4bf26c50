// The header of a .npy file.
//
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: "\x93NUMPY", major and
// minor version, the length of what follows (two bytes in version 1, four in 2 and 3), and a Python
// dictionary with the keys descr, fortran_order and shape.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mezzo/tensor.h"

namespace mezzo::store {

struct NpyHeader {
  bool big_endian = false;
  /// As in NumPy's array protocol: 'f' float, 'i', 'u', 'b' bool, 'c' complex, 'U' UTF-32, 'S'
  /// bytes, 'V' raw.
  char kind = 0;
  /// Bytes that an element takes in the file; never 0.
  std::size_t item_size = 0;
  /// The first axis is the one that runs fastest.
  bool fortran_order = false;
  Shape shape;
  /// Where the elements begin, from the file's start.
  std::size_t data_begin = 0;
};

/// Reads versions 1 to 3. Throws Error(file_error) where it is damaged, Error(unsupported) for
/// records, dates and objects, Error(limit) for sizes that do not fit.
NpyHeader parse_npy_header(std::string_view file);

/// A version 1 header (2 where the shape makes it long) for row-major little-endian elements;
/// `descr` as in "<f4". As long as a multiple of 64 bytes, so that the elements are aligned in a
/// mapped file.
std::string make_npy_header(std::string_view descr, const Shape& shape);

}  // namespace mezzo::store
