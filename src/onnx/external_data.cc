#include "onnx/external_data.h"

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "mezzo/error.h"

namespace mezzo::onnx {
namespace {

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// The path without links and dots; none where nothing is there.
std::optional<std::string> real_path(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return std::nullopt;
  std::string result = resolved;
  std::free(resolved);
  return result;
}

bool is_inside(const std::string& path, const std::string& root) {
  return path.starts_with(root == "/" ? root : root + "/");
}

bool has_parent_component(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (path.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
}

std::uint64_t parse_number(const char* key, const std::string& text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || text.empty()) {
    throw Error(ErrorCode::invalid_model,
                "the " + std::string(key) + " of external data is no valid number")
        .expected("a non-negative integer")
        .got("'" + text + "'");
  }
  return value;
}

}  // namespace

ExternalFiles ExternalFiles::beside(const std::string& path) {
  ExternalFiles files(folder_of(path));
  files.model_path_ = path;
  return files;
}

ExternalFiles::Bytes ExternalFiles::find(const StringPairs& entries, std::size_t size) {
  std::string location;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
  for (const auto& [key, value] : entries) {
    if (key == "location") location = value;
    if (key == "offset") offset = parse_number("offset", value);
    if (key == "length") length = parse_number("length", value);
  }
  if (length && *length != size) {
    throw Error(ErrorCode::invalid_model, "external data of another length than the tensor needs")
        .at("'" + location + "'")
        .expected(std::to_string(size) + " bytes")
        .got(std::to_string(*length));
  }
  const std::shared_ptr<const MappedFile> file = open(location);
  if (offset > file->size() || size > file->size() - offset) {
    throw Error(ErrorCode::invalid_model, "external data beyond the end of its file")
        .at("'" + location + "'")
        .expected("a file of at least " + std::to_string(offset) + " + " + std::to_string(size) +
                  " bytes")
        .got(std::to_string(file->size()))
        .hint("The data file may have been cut off, or belong to another model");
  }
  return {file->data() + offset, file};
}

std::shared_ptr<const MappedFile> ExternalFiles::open(const std::string& location) {
  const auto known = files_.find(location);
  if (known != files_.end()) return known->second;
  const auto refuse = [&](std::string problem) {
    return Error(ErrorCode::invalid_model, std::move(problem)).at("'" + location + "'");
  };
  if (location.empty()) throw refuse("external data without a location");
  if (location.find('\0') != std::string::npos) {
    throw Error(ErrorCode::invalid_model, "the location of external data has a zero byte");
  }
  if (location.front() == '/' || has_parent_component(location)) {
    throw refuse("external data outside the model's folder")
        .expected("a relative path without '..'");
  }
  if (folder_.empty()) {
    throw refuse("the model's weights are in another file, and no folder is known to look in")
        .hint("Read the model from its file, or say which folder the data is in");
  }
  resolve_folders();
  const std::string path = folder_ + "/" + location;
  const std::optional<std::string> real = real_path(path);
  const int error = errno;
  if (!real) {
    throw Error(ErrorCode::file_error, "the file with the model's external data cannot be opened")
        .at("'" + path + "'")
        .got(std::strerror(error))
        .hint("It belongs beside the model");
  }
  bool inside = false;
  for (const std::string& root : roots_) inside = inside || is_inside(*real, root);
  if (!inside) {
    throw refuse("external data that a symbolic link leads out of the model's folder to")
        .got("'" + *real + "'");
  }
  return files_[location] = MappedFile::open(*real);
}

void ExternalFiles::resolve_folders() {
  if (!roots_.empty()) return;
  if (std::optional<std::string> folder = real_path(folder_)) roots_.push_back(*folder);
  if (model_path_.empty()) return;
  if (std::optional<std::string> model = real_path(model_path_)) {
    roots_.push_back(folder_of(*model));
  }
}

}  // namespace mezzo::onnx
