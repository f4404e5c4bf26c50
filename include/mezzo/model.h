// A model as it stands in its file: its values, nodes and metadata; and models made from it.
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
  std::string name = {};
  std::string denotation = {};  ///< what it counts, as in "DATA_BATCH", where the file says so
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
  std::string onnx_type;  ///< "tensor(float)", "seq(tensor(int64))", ""; the spec's names of types
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

struct SaveOptions {
  /// Whether initializers of 4096 bytes or more go to a second file, PATH.data. Where the model
  /// would pass 2 GB, protobuf's limit, they do in any case.
  bool external_data = false;
};

/// A loaded model. Cheap to copy (copies share it), immutable, free to be used from any number of
/// threads.
class Model {
 public:
  /// Maps the file at `path`; weights are read when they are first needed. Throws
  /// Error(file_error), Error(damaged_file) or Error(invalid_model).
  static Model load(const std::string& path);
  /// Reads from memory, which is copied unless `owner` keeps it alive. External data is looked for
  /// in `folder`.
  static Model from_memory(const void* data, std::size_t size,
                           std::shared_ptr<const void> owner = nullptr,
                           const std::string& folder = "");

  /// Inputs that a run must be given (those without an initializer), as declared in the file.
  std::vector<ValueInfo> inputs() const;
  std::vector<ValueInfo> outputs() const;
  /// Inputs that a run may be given instead of their initializer, with the type that the input
  /// declares. (Up to IR version 3 that was every initializer.)
  std::vector<ValueInfo> overridable_initializers() const;
  /// Every value of the model, those inside control-flow bodies included, in the file's order.
  std::vector<ValueInfo> values() const;
  std::vector<NodeInfo> nodes() const;
  /// The names of the values that a selector names (the README lists the forms).
  /// Throws Error(invalid_argument) with the nearest names where nothing matches.
  std::vector<std::string> select(std::string_view selector) const;

  /// This model with the values that `selectors` name as outputs, after those that it has. Types
  /// are the file's, or, where it declares none, what planning finds; where that finds none the
  /// output has but its name, which ONNX Runtime accepts and onnx.checker does not. Weights are
  /// shared. Throws Error(invalid_argument) for values inside bodies and functions, which only a
  /// session can fetch.
  Model expose(const std::vector<std::string>& selectors) const;
  /// The part of this model that computes `outputs` from `inputs` (selectors), which become its
  /// inputs and outputs in that order. Without `inputs`: from the model's own, as far as they are
  /// needed; without `outputs`: all of the model's own. An input that has an initializer keeps it
  /// as its default. Types as for `expose`; ONNX Runtime refuses an input without. Throws
  /// Error(invalid_argument) as `expose` does, and where an output needs an input of the model that
  /// is not among `inputs`.
  Model extract(const std::vector<std::string>& inputs,
                const std::vector<std::string>& outputs) const;
  /// Writes the model as an ONNX file, through a temporary file that is renamed at the end: it may
  /// replace the file that it was loaded from. Throws Error(file_error).
  void save(const std::string& path, const SaveOptions& options = {}) const;
  /// The same bytes, with all data inside. Throws Error(limit) above 2 GB.
  std::string to_bytes() const;

  std::string graph_name() const;
  std::string graph_doc_string() const;
  std::string producer_name() const;
  std::string producer_version() const;
  std::int64_t ir_version() const;
  std::string domain() const;
  std::string doc_string() const;
  /// The producer's own number for this model.
  std::int64_t model_version() const;
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
