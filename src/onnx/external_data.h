// Tensor data that lies in files beside the model.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "onnx/model.h"

namespace mezzo::onnx {

/// Finds and maps the files that `external_data` entries name. A model says where its data is, but
/// it may come from anywhere, so nothing outside its folder is ever opened. Each file is mapped
/// once.
class ExternalFiles {
 public:
  /// Files in `folder`; where it is empty, none.
  explicit ExternalFiles(std::string folder) : folder_(std::move(folder)) {}
  /// Files beside the model at `path`. Where that is a symbolic link (as in the caches of model
  /// hubs), links to files beside its target are good too.
  static ExternalFiles beside(const std::string& path);

  struct Bytes {
    const char* data;
    std::shared_ptr<const void> owner;
  };
  /// The `size` bytes that the entries describe. Throws Error(invalid_model) where they describe
  /// another number of bytes, or bytes that are not in the file, or a path that leads out of the
  /// folder; Error(file_error) where the file cannot be read.
  Bytes find(const StringPairs& entries, std::size_t size);

 private:
  std::shared_ptr<const MappedFile> open(const std::string& location);
  void resolve_folders();

  std::string folder_;
  std::string model_path_;
  std::vector<std::string> roots_;  // folders that a file may lie in, resolved when first needed
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;  // by location
};

}  // namespace mezzo::onnx
