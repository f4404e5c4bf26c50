// A node at plan time, as those see it who infer shapes and choose kernels, and a call of its step,
// as kernels see it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/thread_pool.h"
#include "graph/graph.h"
#include "mezzo/tensor.h"
#include "ops/band.h"

namespace mezzo::ops {

/// An attribute that an operator declares.
struct FormalAttribute {
  using Kind = onnx::Attribute::Kind;
  std::string name;
  Kind kind = Kind::undefined;
  bool required = false;
  /// The default, monostate where there is none. Of the C++ type that `kind` implies.
  std::variant<std::monostate, std::int64_t, float, std::string, std::vector<std::int64_t>,
               std::vector<float>, std::vector<std::string>>
      value;
};

/// Makes a constant from another one, `base`, which it may change, and what else it holds.
using Recipe = std::function<Tensor(Tensor base)>;

/// An actual input or output.
struct Operand {
  graph::ValueId value = graph::kNone;
  DType dtype = DType::undefined;  ///< undefined: omitted, or (an output) not known before the run
  Shape shape;
  bool known = true;  ///< false: an output whose shape is known only when the step has run
  const Tensor* constant = nullptr;  ///< for Op and the planner: kernels ask Op::constant
  bool of_file = false;  ///< a constant of the file alone: what is made of it serves all plans
  /// The constant is what this makes of `constant`, once somebody reads it. Of the file alone.
  std::shared_ptr<const Recipe> recipe = nullptr;
  bool present() const { return value != graph::kNone; }
};

/// Thrown by Op::value (and caught by the planner) when a shape depends on contents that are not
/// known yet: the node is then planned later.
struct NeedsValue {
  graph::ValueId value;
};

class Row;
struct Chosen;

/// What a session lends to its Ops.
class PackStore {
 public:
  virtual ~PackStore() = default;
  /// The packed form of a constant, made by `make` unless it is kept already.
  virtual Tensor packed(const Operand& constant, const std::string& key,
                        const std::function<Tensor(const Tensor&)>& make) = 0;
  /// The constant at an address that suits its type: itself, or a copy that is kept.
  virtual const Tensor& aligned(const Operand& constant) = 0;
};

/// One node at plan time: its attributes with the row's defaults filled in, and its operands. Kept
/// by the steps of all plans in which the node has these operands, so that kernels may read it
/// while they run: once its kernel is chosen, it stays as it is.
class Op {
 public:
  Op(const graph::Node& node, const Row& row, std::vector<Operand> inputs, PackStore* store,
     int threads);

  const graph::Node& node() const { return *node_; }
  const Row& row() const { return *row_; }
  int opset() const { return node_->opset; }
  /// Threads that a kernel will have.
  int threads() const { return threads_; }

  /// Number of inputs and outputs that the node lists, omitted ones in the middle included.
  int inputs() const { return static_cast<int>(inputs_.size()); }
  int outputs() const { return static_cast<int>(outputs_.size()); }
  bool has_in(int i) const {
    return i < inputs() && inputs_[static_cast<std::size_t>(i)].present();
  }
  bool has_out(int i) const {
    return i < outputs() && outputs_[static_cast<std::size_t>(i)].present();
  }
  const Operand& in(int i) const { return inputs_[static_cast<std::size_t>(i)]; }
  const Operand& out(int i) const { return outputs_[static_cast<std::size_t>(i)]; }
  const Shape& in_shape(int i) const { return in(i).shape; }
  const Shape& out_shape(int i) const { return out(i).shape; }
  int in_rank(int i) const { return static_cast<int>(in(i).shape.size()); }

  /// The contents of input `i` where they are known at plan time, else null. At an address that
  /// suits the type: of a weight that the file has misaligned a copy is made and kept, so a chooser
  /// that only packs it asks `is_constant` and calls `packed`.
  const Tensor* constant(int i) const;
  bool is_constant(int i) const { return has_in(i) && in(i).constant != nullptr; }
  /// The contents of input `i`; for `infer`, when a shape depends on them. Throws NeedsValue where
  /// they are not known yet.
  const Tensor& value(int i) const;
  /// The same as a list of integers, of an input of any integer type. Empty where the input is
  /// omitted.
  std::vector<std::int64_t> ints(int i) const;

  /// Attributes: the node's, or the row's default. Asking for one that the row doesn't declare is a
  /// defect of the family (Error internal); one that is absent and has no default gives 0, "" or an
  /// empty list: ask `has_attr` first where that matters.
  bool has_attr(std::string_view name) const;
  /// Whether the row has such an attribute at all; for code that serves several versions.
  bool declares(std::string_view name) const;
  std::int64_t attr_int(std::string_view name) const;
  float attr_float(std::string_view name) const;
  std::string attr_string(std::string_view name) const;
  std::vector<std::int64_t> attr_ints(std::string_view name) const;
  std::vector<float> attr_floats(std::string_view name) const;
  std::vector<std::string> attr_strings(std::string_view name) const;
  const Tensor* attr_tensor(std::string_view name) const;  ///< null where absent; may be misaligned
  const onnx::SparseTensor* attr_sparse(std::string_view name) const;
  graph::BodyId attr_body(std::string_view name) const;  ///< graph::kNone where absent

  /// `infer` calls one of these for each output that the node has (for one that it has not, they do
  /// nothing).
  void set_out(int i, DType dtype, Shape shape);
  /// The shape (with dtype undefined: the type, too) is known only when the step has run; the
  /// kernel gives it with Run::allocate or Run::give.
  void set_out_unknown(int i, DType dtype);

  /// A chooser calls this when its kernel wants memory that is only its own while it runs, aligned
  /// to 64 bytes.
  void set_scratch(std::int64_t bytes) { scratch_bytes_ = bytes; }
  std::int64_t scratch_bytes() const { return scratch_bytes_; }

  /// The packed form of the constant input `i`: kept with the session and shared by all its plans.
  /// `key` names the packing with all that it depends on.
  Tensor packed(int i, const std::string& key,
                const std::function<Tensor(const Tensor&)>& make) const;

  /// Whether the kernel packed input `i`, and so does not read it when it runs.
  bool is_packed(int i) const { return packed_[static_cast<std::size_t>(i)]; }
  void forget_packed() { packed_.assign(inputs_.size(), false); }

  /// Asks the chooser for a kernel that computes some rows only (see Row::banded).
  void set_band(const Band& band) {
    band_ = band;
    chosen_ = nullptr;
  }
  const std::optional<Band>& band() const { return band_; }

  /// The batch that this step runs a part of; 0: no other. What numbers depend on is chosen by
  /// that, so that they are the same whether a plan has micro-batches or not.
  void set_whole_batch(std::int64_t size) { whole_batch_ = size; }
  std::int64_t whole_batch() const { return whole_batch_; }

  /// The answer of `choose`, which is asked once.
  const std::shared_ptr<const Chosen>& chosen() const { return chosen_; }
  void set_chosen(std::shared_ptr<const Chosen> chosen) { chosen_ = std::move(chosen); }

  /// This op as it would be with f32 in place of every 16-bit float (constants converted). See
  /// Registry::choose.
  std::shared_ptr<Op> widened() const;

 private:
  const FormalAttribute& formal(std::string_view name) const;

  const graph::Node* node_;
  const Row* row_;
  std::vector<Operand> inputs_, outputs_;
  PackStore* store_;
  int threads_;
  std::int64_t scratch_bytes_ = 0;
  mutable std::vector<bool> packed_;
  std::vector<std::shared_ptr<Tensor>> widened_constants_;
  bool is_widened_ = false;
  std::optional<Band> band_;
  std::int64_t whole_batch_ = 0;
  std::shared_ptr<const Chosen> chosen_;
};

/// Runs the bodies of control-flow nodes; given to kernels by the runtime.
class Bodies {
 public:
  virtual ~Bodies() = default;
  /// Runs `body` on its inputs and gives its outputs. What the body takes from outer graphs, the
  /// runtime gives it.
  virtual std::vector<Tensor> call(graph::BodyId body, std::vector<Tensor> inputs) = 0;
  /// The most iterations that one loop may make.
  virtual std::int64_t iteration_limit() const = 0;
  /// What the file declares about output `i` of `body`, for loops that run no iteration: Kind::none
  /// where that is nothing.
  virtual onnx::Type declared_output(graph::BodyId /*body*/, int /*i*/) const { return {}; }
};

/// One call of a step: where its operands lie. Pointers of omitted operands are null.
class Run {
 public:
  Run(const Op& op, const void* const* in, void* const* out, void* scratch, ThreadPool& pool)
      : op_(op), in_(in), out_(out), scratch_(scratch), pool_(pool) {}

  const Op& op() const { return op_; }
  template <class T>
  const T* in(int i) const {
    return i < op_.inputs() ? static_cast<const T*>(in_[i]) : nullptr;
  }
  template <class T>
  T* out(int i) const {
    return i < op_.outputs() ? static_cast<T*>(out_[i]) : nullptr;
  }
  const void* in_data(int i) const { return in<void>(i); }
  void* out_data(int i) const { return out<void>(i); }
  /// Input `i` as a tensor: a view, valid during the call. No value where it is omitted.
  Tensor in_tensor(int i) const;
  /// Input `i` as integers, of any integer type.
  std::vector<std::int64_t> in_ints(int i) const;
  void* scratch() const { return scratch_; }
  ThreadPool& pool() const { return pool_; }

  /// Makes the output `i`, whose shape `infer` could not tell, and returns its memory. (Strings:
  /// constructed and empty.)
  void* allocate(int i, DType dtype, Shape shape);
  /// Gives a finished tensor as such an output.
  void give(int i, Tensor tensor);
  /// What was made by `allocate` or `give`, by output; for the runtime.
  std::vector<Tensor>& made() { return made_; }

  /// Control flow only.
  Bodies& bodies() const { return *bodies_; }
  void set_bodies(Bodies* bodies) { bodies_ = bodies; }

 private:
  const Op& op_;
  const void* const* in_;
  void* const* out_;
  void* scratch_;
  ThreadPool& pool_;
  Bodies* bodies_ = nullptr;
  std::vector<Tensor> made_;
};

}  // namespace mezzo::ops
