// A model as it stands in its file: its values, nodes and metadata.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mezzo/tensor.h"

namespace mezzo {

namespace runtime {
class LoadedModel;
}

/// One extent of a declared shape: a number, or a name such as "batch", or (both empty) unknown.
struct Dim {
  std::optional<std::int64_t> value;
  std::string name;
};

/// What the file says of a value.
struct ValueInfo {
  enum class Kind { input, initializer, node_output };
  std::string name;
  Kind kind = Kind::node_output;
  bool is_graph_output = false;
  DType dtype = DType::undefined;         ///< undefined: not declared, or no tensor
  std::optional<std::vector<Dim>> shape;  ///< absent: not declared
  std::string type_text;                  ///< "float32[1, 3, H, W]", "sequence(int64[?])", "?"
  std::string
      producer;  ///< the producing node's name; empty for inputs, initializers and unnamed nodes
  std::string producer_op;  ///< its operator, e.g. "Conv"
  std::string
      body;  ///< for a value inside a control-flow node: that body's name; empty in the main graph
};

/// A node, for listings.
struct NodeInfo {
  std::string name, op_type, domain;
  std::vector<std::string> inputs, outputs;
  bool supported = false;  ///< whether mezzo has the operator in this version
};

/// A loaded model. Cheap to copy (copies share it), immutable, free to be used from any number of
/// threads.
class Model {
 public:
  /// Maps the file at `path`; weights are read when they are first needed. Throws Error(file_error)
  /// or Error(invalid_model).
  static Model load(const std::string& path);
  /// Reads from memory, which is copied unless `owner` keeps it alive. External data is looked for
  /// in `folder`.
  static Model from_memory(const void* data, std::size_t size,
                           std::shared_ptr<const void> owner = nullptr,
                           const std::string& folder = "");

  /// Inputs that a run must be given (those without an initializer), as declared in the file.
  std::vector<ValueInfo> inputs() const;
  std::vector<ValueInfo> outputs() const;
  /// Every value of the model, those inside control-flow bodies included, in the file's order.
  std::vector<ValueInfo> values() const;
  std::vector<NodeInfo> nodes() const;
  /// The names of the values that a selector names (the README lists the forms).
  /// Throws Error(invalid_argument) with the nearest names where nothing matches.
  std::vector<std::string> select(std::string_view selector) const;

  std::string graph_name() const;
  std::string producer_name() const;
  std::string producer_version() const;
  std::int64_t ir_version() const;
  /// (domain, version) of every operator set that the file imports; "" is ONNX's own.
  std::vector<std::pair<std::string, std::int64_t>> opsets() const;
  std::vector<std::pair<std::string, std::string>> metadata() const;
  /// Number of weights: the elements of all initializers and constant tensors.
  std::int64_t parameters() const;
  /// The graph as text, a line a node.
  std::string to_text() const;

  const runtime::LoadedModel& internals() const { return *loaded_; }
  std::shared_ptr<const runtime::LoadedModel> shared_internals() const { return loaded_; }

 private:
  explicit Model(std::shared_ptr<const runtime::LoadedModel> loaded) : loaded_(std::move(loaded)) {}
  std::shared_ptr<const runtime::LoadedModel> loaded_;
};

}  // namespace mezzo
