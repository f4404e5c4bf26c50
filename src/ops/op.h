// What an operator is to mezzo. A family's file (softmax.cc, conv.cc, ...) declares its operators
// with MEZZO_FAMILY, a row for each group of opset versions:
//
//     MEZZO_FAMILY(softmax) {
//       op("Softmax").since(13).attr("axis", -1).in("input", kFloats).out("output", like(0))
//           .infer(same_shape).kernel("rows", rows_f32).kernel("reference", reference);
//     }
//
// At plan time the types and shapes of a node's inputs are concrete. `infer` sets those of its
// outputs; then the row's kernels are asked in turn, best first, and the first that does not refuse
// becomes a step of the plan.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graph/graph.h"
#include "mezzo/tensor.h"
#include "ops/node.h"

namespace mezzo::ops {

/// A set of element types.
class TypeSet {
 public:
  constexpr TypeSet() = default;
  constexpr TypeSet(DType dtype) : bits_(bit(dtype)) {}
  constexpr TypeSet(std::initializer_list<DType> dtypes) {
    for (const DType dtype : dtypes) bits_ |= bit(dtype);
  }
  constexpr bool contains(DType dtype) const { return (bits_ & bit(dtype)) != 0; }
  constexpr TypeSet operator|(TypeSet other) const { return TypeSet(bits_ | other.bits_, 0); }
  constexpr bool operator==(const TypeSet&) const = default;
  std::vector<DType> list() const;

 private:
  constexpr TypeSet(std::uint64_t bits, int) : bits_(bits) {}
  static constexpr std::uint64_t bit(DType dtype) {
    return std::uint64_t{1} << static_cast<unsigned>(dtype);
  }
  std::uint64_t bits_ = 0;
};

// clang-format off
inline constexpr TypeSet kFloats = {DType::f16, DType::f32, DType::f64};
inline constexpr TypeSet kFloatsBf16 = kFloats | DType::bf16;
inline constexpr TypeSet kSignedInts = {DType::i8, DType::i16, DType::i32, DType::i64};
inline constexpr TypeSet kUnsignedInts = {DType::u8, DType::u16, DType::u32, DType::u64};
inline constexpr TypeSet kInts = kSignedInts | kUnsignedInts;
inline constexpr TypeSet kNumbers = kInts | kFloatsBf16;                        ///< all numeric types since bfloat16
inline constexpr TypeSet kNumbersNoBf16 = kInts | kFloats;
inline constexpr TypeSet kIndices = {DType::i32, DType::i64};                   ///< the spec's usual "Tind"
inline constexpr TypeSet kComplex = {DType::c64, DType::c128};
inline constexpr TypeSet kAllNoBf16 = kNumbersNoBf16 | kComplex | TypeSet{DType::boolean, DType::string};
inline constexpr TypeSet kAllWithBf16 = kAllNoBf16 | DType::bf16;               ///< IR 4: "all_tensor_types_with_bfloat"
inline constexpr TypeSet kFloat8 = {DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz};
inline constexpr TypeSet kAllIr9 = kAllWithBf16 | kFloat8;
inline constexpr TypeSet kAllIr10 = kAllIr9 | TypeSet{DType::u4, DType::i4};
inline constexpr TypeSet kAllIr11 = kAllIr10 | DType::f4e2m1;
inline constexpr TypeSet kAllIr12 = kAllIr11 | DType::f8e8m0;
inline constexpr TypeSet kAllIr13 = kAllIr12 | TypeSet{DType::u2, DType::i2};
inline constexpr TypeSet kFloat6 = {DType::f6e2m3, DType::f6e3m2};
inline constexpr TypeSet kAllIr14 = kAllIr13 | kFloat6;
inline constexpr TypeSet kSequence = DType::sequence;                           ///< of tensors of any type
inline constexpr TypeSet kOptional = {DType::sequence, DType::none};            ///< what an optional is besides a tensor
// clang-format on

/// Marks an input or output whose element type is that of input `index`.
struct Like {
  int index;
};
constexpr Like like(int index) { return {index}; }

enum class Arity { required, optional, variadic };

/// A formal input or output of a row.
struct Formal {
  std::string name;
  TypeSet types;
  int like = -1;  ///< the input whose type it shares, or -1
  Arity arity = Arity::required;
  bool same_types = true;  ///< variadic: all of one type
};

using Kernel = std::function<void(Run&)>;

/// Why a kernel does not serve a node, in words.
struct Refusal {
  std::string reason;
};
inline Refusal refuse(std::string reason) { return {std::move(reason)}; }

/// What a chooser answers: a kernel or a refusal.
using Choice = std::variant<Refusal, Kernel>;
using Chooser = std::function<Choice(Op&)>;
using Infer = std::function<void(Op&)>;

/// An operator over a range of opset versions that share its definition.
class Row {
 public:
  Row(std::string name, std::string domain) : name_(std::move(name)), domain_(std::move(domain)) {}

  /// The versions of the operator (as in the spec's "since version" list) that this row covers.
  template <class... Versions>
  Row& since(Versions... versions) {
    versions_ = {versions...};
    return *this;
  }
  // Optional attributes with a default; `attr(name, Kind)` has none.
  Row& attr(std::string name, int value) {
    return add_attr(std::move(name), FormalAttribute::Kind::int_, std::int64_t{value});
  }
  Row& attr(std::string name, float value) {
    return add_attr(std::move(name), FormalAttribute::Kind::float_, value);
  }
  Row& attr(std::string name, const char* value) {
    return add_attr(std::move(name), FormalAttribute::Kind::string, std::string(value));
  }
  Row& attr(std::string name, std::vector<std::int64_t> value) {
    return add_attr(std::move(name), FormalAttribute::Kind::ints, std::move(value));
  }
  Row& attr(std::string name, std::vector<float> value) {
    return add_attr(std::move(name), FormalAttribute::Kind::floats, std::move(value));
  }
  Row& attr(std::string name, std::vector<std::string> value) {
    return add_attr(std::move(name), FormalAttribute::Kind::strings, std::move(value));
  }
  Row& attr(std::string name, FormalAttribute::Kind kind) {
    return add_attr(std::move(name), kind, std::monostate{});
  }
  Row& required(std::string name, FormalAttribute::Kind kind);

  Row& in(std::string name, TypeSet types, Arity arity = Arity::required);
  Row& in(std::string name, Like like, Arity arity = Arity::required);
  /// A variadic input whose tensors may differ in type.
  Row& in_any(std::string name, TypeSet types);
  Row& out(std::string name, TypeSet types, Arity arity = Arity::required);
  Row& out(std::string name, Like like, Arity arity = Arity::required);
  Row& out_any(std::string name, TypeSet types);

  Row& infer(Infer infer);
  /// A kernel, by its name in `mezzo explain`. Best first; the last is the reference, which takes
  /// all that the row allows.
  Row& kernel(std::string name, Chooser chooser);
  /// The only kernel of what moves elements and never computes with them: it goes by their size.
  Row& kernel_by_size(Chooser chooser);
  /// A kernel that is also dropped when MEZZO_TARGET=scalar asks for the reference kernels only.
  Row& simd_kernel(std::string name, Chooser chooser);

  // What passes and the planner must know.
  /// Output 0 has the bytes of input 0, under another shape at most: no step is needed.
  Row& view();
  /// The same of nodes that `where` holds for.
  Row& view_where(bool (*where)(const Op&));
  /// Output 0 may lie where input `i` lies, when they have the same shape and type.
  Row& in_place(int i);
  /// The first axis is a batch: each image of the outputs depends on the same image of these
  /// inputs, and on the others as a whole.
  Row& batched(std::initializer_list<int> inputs);
  /// The same of all inputs but those that are broadcast along the first axis, as in NumPy.
  Row& batched_by_shape();
  /// Kernels can compute output 0 by bands of rows. `find` says which rows of input 0 they come
  /// from; nothing: not of such operands. Other batched inputs of output 0's shape, and outputs,
  /// have the rows of output 0.
  Row& banded(std::function<std::optional<RowWindow>(const Op&)> find);
  /// The outputs depend on the inputs' types and shapes only: computed when planning, without the
  /// inputs' data (whose pointers are null then).
  Row& from_shapes();
  /// The result differs from call to call: never folded.
  Row& random();
  /// The node is one of its bodies, chosen by the contents of input 0, which has one element:
  /// `then` where it is true, else `otherwise` (attribute names).
  Row& branch(std::string then, std::string otherwise);
  /// Multiply-adds of a node, for `inspect`.
  Row& multiply_adds(std::function<std::int64_t(const Op&)> count);

  const std::string& name() const { return name_; }
  const std::string& domain() const { return domain_; }
  const std::vector<int>& versions() const { return versions_; }
  const std::vector<FormalAttribute>& attributes() const { return attributes_; }
  const std::vector<Formal>& inputs() const { return inputs_; }
  const std::vector<Formal>& outputs() const { return outputs_; }
  bool is_view() const { return view_; }
  bool is_view(const Op& op) const { return view_ || (view_where_ != nullptr && view_where_(op)); }
  /// Whether the outputs' elements are those of inputs, as they are: a view, or what is done by
  /// size.
  bool moves_elements() const { return view_ || by_size_; }
  bool is_random() const { return random_; }
  bool is_from_shapes() const { return from_shapes_; }
  const std::vector<int>& in_place_inputs() const { return in_place_; }
  /// Whether input `i` of `op` holds an image for each of the batch.
  bool is_batched(const Op& op, int i) const;
  /// See `banded`.
  std::optional<RowWindow> row_window(const Op& op) const {
    return find_rows_ ? find_rows_(op) : std::nullopt;
  }
  bool is_branch() const { return !then_.empty(); }
  const std::string& then_attribute() const { return then_; }
  const std::string& else_attribute() const { return else_; }
  std::int64_t count_multiply_adds(const Op& op) const {
    return multiply_adds_ ? multiply_adds_(op) : 0;
  }

  /// Checks the node's arity, attributes and operand types against this row. Throws
  /// Error(invalid_model).
  void check(const Op& op) const;
  /// `check`, then the family's own shape inference.
  void infer_outputs(Op& op) const;

  struct NamedChooser {
    std::string name;
    Chooser choose;
    bool simd = false;
  };
  const std::vector<NamedChooser>& kernels() const { return kernels_; }

 private:
  template <class T>
  Row& add_attr(std::string name, FormalAttribute::Kind kind, T value) {
    attributes_.push_back({std::move(name), kind, false, std::move(value)});
    return *this;
  }

  std::string name_, domain_;
  std::vector<int> versions_;
  std::vector<FormalAttribute> attributes_;
  std::vector<Formal> inputs_, outputs_;
  Infer infer_;
  std::vector<NamedChooser> kernels_;
  bool (*view_where_)(const Op&) = nullptr;
  bool view_ = false, by_size_ = false, random_ = false, from_shapes_ = false,
       batched_by_shape_ = false;
  std::vector<int> in_place_, batched_;
  std::string then_, else_;
  std::function<std::int64_t(const Op&)> multiply_adds_;
  std::function<std::optional<RowWindow>(const Op&)> find_rows_;
};

/// All rows. Filled once from the families; immutable afterwards.
class Registry {
 public:
  static const Registry& get();

  /// Declares an operator: what `op("Softmax")` in a family calls.
  Row& operator()(std::string name, std::string domain = "");

  /// The row for an operator under an opset version of its domain, or null. "ai.onnx" and "" are
  /// the same domain.
  const Row* find(std::string_view domain, std::string_view op_type, int opset) const;
  const std::deque<Row>& rows() const { return rows_; }

 private:
  Registry() = default;
  std::deque<Row> rows_;
};

/// The kernel chosen for a node, and why the better ones were refused.
struct Chosen {
  std::string kernel_name;
  Kernel kernel;
  std::int64_t scratch_bytes = 0;
  std::vector<std::pair<std::string, std::string>> refused;  ///< kernel, reason
};

/// Asks the row's kernels in order. Where all refuse and an operand is a 16-bit float, they are
/// asked again for the node in f32, with conversions around it: so a family needs no kernels of its
/// own for f16 and bf16. Throws Error(unsupported) with all reasons where none takes it.
std::shared_ptr<const Chosen> choose(Op& op);

/// Whether kernels other than the reference ones may be chosen (MEZZO_TARGET is not "scalar").
bool simd_allowed();

}  // namespace mezzo::ops

/// Opens the declaration of a family; its name is that of the file.
#define MEZZO_FAMILY(family)            \
  namespace mezzo::ops {                \
  void register_##family(Registry& op); \
  }                                     \
  void mezzo::ops::register_##family(mezzo::ops::Registry& op)
