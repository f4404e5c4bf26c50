// Protobuf messages made by hand, with protozero's own writer: independent of what is tested.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <protozero/pbf_writer.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "mezzo/error.h"
#include "onnx/model.h"
#include "onnx/reader.h"

namespace mezzo::onnx {

using Writer = protozero::pbf_writer;

/// The bytes of the message whose fields `fill(Writer&)` adds.
template <class Fill>
std::string message(Fill&& fill) {
  std::string bytes;
  Writer writer(bytes);
  fill(writer);
  return bytes;
}

/// A GraphProto that has but one initializer.
inline std::string graph_with_initializer(const std::string& tensor) {
  return message([&](Writer& w) { w.add_message(5, tensor); });
}

/// A ModelProto around a GraphProto.
inline std::string model_with_graph(const std::string& graph) {
  return message([&](Writer& w) {
    w.add_int64(1, 8);
    w.add_message(7, graph);
  });
}

inline Model read(const std::string& bytes, const std::string& folder = "") {
  auto owner = std::make_shared<std::string>(bytes);
  return read_memory(owner->data(), owner->size(), owner, folder);
}

/// The only initializer of a model that has nothing else.
inline NamedTensor read_one(const std::string& tensor, const std::string& folder = "") {
  return read(model_with_graph(graph_with_initializer(tensor)), folder).graph.initializers.at(0);
}

inline std::string tensor_header(std::initializer_list<std::int64_t> dims, std::int32_t type,
                                 const std::string& name = "w") {
  return message([&](Writer& w) {
    for (const std::int64_t dim : dims) w.add_int64(1, dim);
    w.add_int32(2, type);
    w.add_string(8, name);
  });
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::string raw_field(const std::string& bytes) {
  return message([&](Writer& w) { w.add_bytes(9, bytes); });
}

/// A TensorProto of one element, named t.
inline const std::string kTensor = tensor_header({1}, 2, "t") + raw_field("a");

inline std::string entry(const std::string& key, const std::string& value) {
  return message([&](Writer& w) {
    w.add_string(1, key);
    w.add_string(2, value);
  });
}

inline std::vector<std::uint8_t> bytes_of_tensor(const Tensor& tensor) {
  const auto* begin = static_cast<const std::uint8_t*>(tensor.data());
  return {begin, begin + tensor.bytes()};
}

/// Elements of a tensor that may be misaligned.
template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  EXPECT_EQ(tensor.dtype(), DTypeOf<T>::value);
  std::vector<T> values(static_cast<std::size_t>(tensor.size()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data(), tensor.bytes());
  return values;
}

/// Expects that `run` throws an Error with that code, whose message contains `text`.
template <class Run>
void expect_error(ErrorCode code, std::string_view text, Run&& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(text), std::string_view::npos)
        << "'" << text << "' is not in: " << error.what();
    return;
  }
  ADD_FAILURE() << "no error, where one was expected with: " << text;
}

/// A folder that goes away at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "mezzo-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return *this / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string file_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The .onnx files of $MEZZO_SHARED/models; none where the folder is absent.
inline std::vector<std::string> shared_models() {
  const char* shared = std::getenv("MEZZO_SHARED");
  const std::filesystem::path folder =
      std::filesystem::path(shared != nullptr ? shared : "../shared") / "models";
  std::vector<std::string> paths;
  if (!std::filesystem::is_directory(folder)) return paths;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() == ".onnx") paths.push_back(file.path().string());
  }
  return paths;
}

}  // namespace mezzo::onnx
