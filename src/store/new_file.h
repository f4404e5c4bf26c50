// A file in the making: it appears under its name when it is whole, or not at all.
#pragma once

#include <fstream>
#include <string>
#include <string_view>

namespace mezzo::store {

/// Writes PATH.partial and renames it to PATH on `commit`; destroyed before that, it removes what
/// it wrote. Not thread-safe.
class NewFile {
 public:
  /// Throws Error(file_error) where the file cannot be made.
  explicit NewFile(std::string path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// Appends. Failures show in `commit` at the latest.
  void write(std::string_view bytes);
  /// Throws Error(file_error) where anything could not be written.
  void commit();

 private:
  std::string path_, partial_;
  std::ofstream stream_;
  bool committed_ = false;
};

}  // namespace mezzo::store
