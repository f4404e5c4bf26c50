// .npz: named tensors in one file, as NumPy's savez stores them: a ZIP archive with a .npy file for
// each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "mezzo/tensor.h"
#include "store/zip.h"

namespace mezzo::store {

/// Reads what np.savez and np.savez_compressed write. Tensors are read when they are asked for.
/// Immutable: may be used from several threads.
class NpzReader {
 public:
  /// Throws Error(file_error) where the file is missing or damaged.
  explicit NpzReader(const std::string& path);

  /// The keys that np.load shows, in the file's order. Members that are no .npy files are left out.
  const std::vector<std::string>& names() const noexcept { return names_; }
  /// Throws Error(invalid_argument) where there is no such name, and what `decode_npy` throws;
  /// `expected` as there.
  Tensor read(const std::string& name, DType expected = DType::undefined) const;

 private:
  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  ZipReader archive_;
  std::vector<std::string> names_;
};

/// Writes an uncompressed .npz file, one tensor after the other: none needs to be kept. The file's
/// bytes depend on names and tensors alone. Not thread-safe.
class NpzWriter {
 public:
  explicit NpzWriter(std::string path) : archive_(std::move(path)) {}

  /// `name` is any value's name; slashes stay as they are. Throws Error(invalid_argument) for a
  /// name that was used before or is not UTF-8, Error(file_error) where it cannot be written, and
  /// what `encode_npy` throws.
  void add(const std::string& name, const Tensor& tensor);
  /// Only now the file appears.
  void finish() { archive_.finish(); }

 private:
  ZipWriter archive_;
};

}  // namespace mezzo::store
