#include <algorithm>
#include <map>

#include "kernels/target.h"
#include "ops/families.h"
#include "ops/op.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

std::string_view canonical(std::string_view domain) { return domain == "ai.onnx" ? "" : domain; }

const char* name_of_kind(Kind kind) {
  static constexpr const char* kNames[] = {
      "undefined",      "float",      "int",        "string",  "tensor", "graph",
      "floats",         "ints",       "strings",    "tensors", "graphs", "sparse_tensor",
      "sparse_tensors", "type_proto", "type_protos"};
  const auto index = static_cast<std::size_t>(kind);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

std::string names_of(TypeSet types) {
  std::string names;
  for (const DType dtype : types.list()) {
    names += (names.empty() ? "" : ", ") + std::string(name_of(dtype));
  }
  return names;
}

// The formal of operand number `i`, the last one standing for all that a variadic list holds; null
// beyond the end.
const Formal* formal_of(const std::vector<Formal>& formals, int i) {
  if (i < static_cast<int>(formals.size())) return &formals[static_cast<std::size_t>(i)];
  return !formals.empty() && formals.back().arity == Arity::variadic ? &formals.back() : nullptr;
}

std::string operand_name(const Formal& formal, int i) {
  return "'" + formal.name + "' (number " + std::to_string(i) + ")";
}

void check_arity(const Row& row, const std::vector<Formal>& formals, int count, bool is_input,
                 const std::function<bool(int)>& present) {
  const char* what = is_input ? "input" : "output";
  for (int i = static_cast<int>(formals.size()); i < count; ++i) {
    if (formal_of(formals, i) == nullptr && present(i)) {
      throw Error(ErrorCode::invalid_model, std::string("the node has too many ") + what + "s")
          .expected("at most " + std::to_string(formals.size()) + " for " + row.name())
          .got(std::to_string(count));
    }
  }
  if (is_input && !formals.empty() && formals.back().arity == Arity::variadic) {
    const int first = static_cast<int>(formals.size()) - 1;
    // Where the types may differ (loops), there may be none.
    if (formals.back().same_types && count <= first) {
      throw Error(ErrorCode::invalid_model, "a required input is missing")
          .expected("at least one for " + operand_name(formals.back(), first));
    }
    for (int i = first; i < count; ++i) {
      if (present(i)) continue;
      throw Error(ErrorCode::invalid_model, "an input of a list is omitted")
          .expected(operand_name(formals.back(), i));
    }
  }
  for (int i = 0; i < static_cast<int>(formals.size()); ++i) {
    const Formal& formal = formals[static_cast<std::size_t>(i)];
    if (formal.arity == Arity::required && is_input && !(i < count && present(i))) {
      throw Error(ErrorCode::invalid_model, std::string("a required ") + what + " is missing")
          .expected(operand_name(formal, i));
    }
  }
}

void check_attributes(const Row& row, const graph::Node& node) {
  for (const graph::AttributePointer& attribute : node.attributes) {
    const auto formal =
        std::find_if(row.attributes().begin(), row.attributes().end(),
                     [&](const FormalAttribute& f) { return f.name == attribute->name; });
    if (formal == row.attributes().end()) {
      throw Error(ErrorCode::invalid_model, "the operator has no such attribute")
          .at("attribute '" + attribute->name + "'")
          .hint("Check the model's opset version");
    }
    if (attribute->kind != formal->kind) {
      throw Error(ErrorCode::invalid_model, "an attribute of the wrong kind")
          .at("attribute '" + attribute->name + "'")
          .expected(name_of_kind(formal->kind))
          .got(name_of_kind(attribute->kind));
    }
  }
  for (const FormalAttribute& formal : row.attributes()) {
    if (formal.required && node.attribute(formal.name) == nullptr) {
      throw Error(ErrorCode::invalid_model, "a required attribute is missing")
          .expected("attribute '" + formal.name + "'");
    }
  }
}

}  // namespace

bool simd_allowed() { return kernels::simd_enabled(); }

Row& Row::required(std::string name, Kind kind) {
  attributes_.push_back({std::move(name), kind, true, std::monostate{}});
  return *this;
}

Row& Row::in(std::string name, TypeSet types, Arity arity) {
  inputs_.push_back({std::move(name), types, -1, arity, true});
  return *this;
}

Row& Row::in(std::string name, Like like, Arity arity) {
  inputs_.push_back({std::move(name), inputs_.at(static_cast<std::size_t>(like.index)).types,
                     like.index, arity, true});
  return *this;
}

Row& Row::in_any(std::string name, TypeSet types) {
  inputs_.push_back({std::move(name), types, -1, Arity::variadic, false});
  return *this;
}

Row& Row::out(std::string name, TypeSet types, Arity arity) {
  outputs_.push_back({std::move(name), types, -1, arity, true});
  return *this;
}

Row& Row::out(std::string name, Like like, Arity arity) {
  outputs_.push_back({std::move(name), inputs_.at(static_cast<std::size_t>(like.index)).types,
                      like.index, arity, true});
  return *this;
}

Row& Row::out_any(std::string name, TypeSet types) {
  outputs_.push_back({std::move(name), types, -1, Arity::variadic, false});
  return *this;
}

Row& Row::infer(Infer infer) {
  infer_ = std::move(infer);
  return *this;
}

Row& Row::kernel(std::string name, Chooser chooser) {
  kernels_.push_back({std::move(name), std::move(chooser), false});
  return *this;
}

Row& Row::simd_kernel(std::string name, Chooser chooser) {
  kernels_.push_back({std::move(name), std::move(chooser), true});
  return *this;
}

Row& Row::kernel_by_size(Chooser chooser) {
  by_size_ = true;
  return kernel("moving elements", std::move(chooser));
}

Row& Row::view() {
  view_ = true;
  return *this;
}

Row& Row::view_where(bool (*where)(const Op&)) {
  view_where_ = where;
  return *this;
}

Row& Row::in_place(int i) {
  in_place_.push_back(i);
  return *this;
}

Row& Row::batched(std::initializer_list<int> inputs) {
  batched_ = inputs;
  return *this;
}

Row& Row::batched_by_shape() {
  batched_by_shape_ = true;
  return *this;
}

bool Row::is_batched(const Op& op, int i) const {
  if (!op.has_in(i)) return false;
  if (!batched_by_shape_) return std::find(batched_.begin(), batched_.end(), i) != batched_.end();
  const Shape &in = op.in_shape(i), &out = op.out_shape(0);
  return in.size() == out.size() && !in.empty() && in[0] == out[0];
}

Row& Row::banded(std::function<std::optional<RowWindow>(const Op&)> find) {
  find_rows_ = std::move(find);
  return *this;
}

Row& Row::from_shapes() {
  from_shapes_ = true;
  return *this;
}

Row& Row::random() {
  random_ = true;
  return *this;
}

Row& Row::branch(std::string then, std::string otherwise) {
  then_ = std::move(then);
  else_ = std::move(otherwise);
  return *this;
}

Row& Row::multiply_adds(std::function<std::int64_t(const Op&)> count) {
  multiply_adds_ = std::move(count);
  return *this;
}

void Row::check(const Op& op) const {
  check_arity(*this, inputs_, op.inputs(), true, [&](int i) { return op.has_in(i); });
  check_arity(*this, outputs_, op.outputs(), false, [&](int i) { return op.has_out(i); });
  check_attributes(*this, op.node());
  for (int i = 0; i < op.inputs(); ++i) {
    if (!op.has_in(i)) continue;
    const Formal& formal = *formal_of(inputs_, i);
    const DType dtype = op.in(i).dtype;
    if (!formal.types.contains(dtype)) {
      throw Error(ErrorCode::invalid_model, "an input has a type that the operator does not take")
          .at("input " + operand_name(formal, i))
          .expected(names_of(formal.types))
          .got(std::string(name_of(dtype)));
    }
    int twin = formal.like;
    if (twin < 0 && formal.arity == Arity::variadic && formal.same_types) {
      twin = static_cast<int>(inputs_.size()) - 1;
    }
    if (twin >= 0 && op.has_in(twin) && op.in(twin).dtype != dtype) {
      throw Error(ErrorCode::invalid_model, "two inputs must have the same type")
          .at("input " + operand_name(formal, i))
          .expected(std::string(name_of(op.in(twin).dtype)))
          .got(std::string(name_of(dtype)));
    }
  }
}

void Row::infer_outputs(Op& op) const {
  check(op);
  infer_(op);
  for (int i = 0; i < op.outputs(); ++i) {
    if (!op.has_out(i)) continue;
    const Operand& out = op.out(i);
    const bool dynamic = !out.known && out.dtype == DType::undefined;
    if (!dynamic && !formal_of(outputs_, i)->types.contains(out.dtype)) {
      throw Error(ErrorCode::internal, "shape inference gave an output no type or a wrong one")
          .at(name_ + " output " + std::to_string(i))
          .got(std::string(name_of(out.dtype)));
    }
  }
}

const Registry& Registry::get() {
  static const Registry registry = [] {
    Registry filled;
    register_families(filled);
    return filled;
  }();
  return registry;
}

Row& Registry::operator()(std::string name, std::string domain) {
  return rows_.emplace_back(std::move(name), std::move(domain));
}

const Row* Registry::find(std::string_view domain, std::string_view op_type, int opset) const {
  // There is one registry, and it is complete before anybody looks something up.
  static const std::multimap<std::string_view, const Row*> by_name = [this] {
    std::multimap<std::string_view, const Row*> rows;
    for (const Row& row : rows_) rows.emplace(row.name(), &row);
    return rows;
  }();
  const Row* best = nullptr;
  int best_version = 0;
  const auto [first, last] = by_name.equal_range(op_type);
  for (auto named = first; named != last; ++named) {
    const Row* row = named->second;
    if (canonical(row->domain()) != canonical(domain)) continue;
    for (const int version : row->versions()) {
      if (version <= opset && version > best_version) {
        best = row;
        best_version = version;
      }
    }
  }
  return best;
}

}  // namespace mezzo::ops
