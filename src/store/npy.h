// .npy: one tensor in a file, as NumPy stores it.
//
// How element types are stored:
//   - bool, integers, float16/32/64, complex: as NumPy's own;
//   - strings: as UTF-32 ('<U'), which np.load turns into str; where one is not UTF-8, all as bytes
//   ('|S');
//   - bfloat16: as '<V2', the 8-, 6- and 4-bit floats: as '|V1', one element a byte. NumPy has no
//   type for them, and ml_dtypes
//     stores its own this way: `np.load(path).view(ml_dtypes.bfloat16)`;
//   - int4, uint4, int2, uint2: as int8 or uint8, the same numbers.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "mezzo/tensor.h"

namespace mezzo::store {

/// Reads `path`. Either byte order and either axis order is read; strings become UTF-8, without the
/// zeros that fill them up.
///
/// `expected` is the element type that the caller has use for. It matters only where the file
/// cannot say it: for raw bytes
/// ('V'), which are refused without it, and for int8 or uint8 that stand for a type of fewer bits.
/// Otherwise the tensor has the type that the file says.
///
/// Throws Error(file_error) for a file that is missing or damaged, Error(unsupported) for one that
/// holds no tensor (records, dates, objects), Error(limit) for sizes that cannot be.
Tensor read_npy(const std::string& path, DType expected = DType::undefined);

/// The same for a file's bytes in memory.
Tensor decode_npy(std::string_view bytes, DType expected = DType::undefined);

/// Writes `path` whole or not at all. Throws Error(file_error) where that fails, Error(unsupported)
/// for strings that end in a zero character (the format fills strings up with them).
void write_npy(const std::string& path, const Tensor& tensor);

/// What a .npy file of a tensor consists of: `header`, then `data`.
struct NpyEncoding {
  std::string header;
  /// A view of `buffer`; without one, of the tensor's own memory, which must live as long.
  std::string_view data;
  std::shared_ptr<const void> buffer;
};
NpyEncoding encode_npy(const Tensor& tensor);

}  // namespace mezzo::store
