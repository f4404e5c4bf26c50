#include "ops/op.h"

#include <algorithm>
#include <cstring>

#include "base/memory.h"
#include "base/shape.h"
#include "ops/convert_elements.h"

namespace mezzo::ops {
namespace {

std::vector<std::int64_t> to_ints(const Tensor& tensor) {
  const Tensor wide = tensor.to(DType::i64);
  const auto values = wide.values<std::int64_t>();
  return {values.begin(), values.end()};
}

}  // namespace

std::vector<DType> TypeSet::list() const {
  std::vector<DType> dtypes;
  for (int i = 1; i < 64; ++i) {
    if (contains(static_cast<DType>(i))) dtypes.push_back(static_cast<DType>(i));
  }
  return dtypes;
}

Op::Op(const graph::Node& node, const Row& row, std::vector<Operand> inputs, PackStore* store,
       int threads)
    : node_(&node), row_(&row), inputs_(std::move(inputs)), store_(store), threads_(threads) {
  packed_.resize(inputs_.size(), false);
  outputs_.resize(node.outputs.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i) outputs_[i].value = node.outputs[i];
}

const Tensor* Op::constant(int i) const {
  if (!is_constant(i)) return nullptr;
  const Operand& operand = in(i);
  return store_ != nullptr ? &store_->aligned(operand) : operand.constant;
}

const Tensor& Op::value(int i) const {
  if (!is_constant(i)) throw NeedsValue{in(i).value};
  return *constant(i);
}

std::vector<std::int64_t> Op::ints(int i) const {
  return has_in(i) ? to_ints(value(i)) : std::vector<std::int64_t>{};
}

const FormalAttribute& Op::formal(std::string_view name) const {
  for (const FormalAttribute& attribute : row_->attributes()) {
    if (attribute.name == name) return attribute;
  }
  throw Error(ErrorCode::internal, "the operator's row does not declare this attribute")
      .at(row_->name())
      .got(std::string(name));
}

bool Op::declares(std::string_view name) const {
  const auto& attributes = row_->attributes();
  return std::any_of(attributes.begin(), attributes.end(),
                     [&](const FormalAttribute& attribute) { return attribute.name == name; });
}

bool Op::has_attr(std::string_view name) const {
  return node_->attribute(name) != nullptr || formal(name).value.index() != 0;
}

std::int64_t Op::attr_int(std::string_view name) const {
  if (const auto* attribute = node_->attribute(name)) return attribute->i;
  const auto* value = std::get_if<std::int64_t>(&formal(name).value);
  return value != nullptr ? *value : 0;
}

float Op::attr_float(std::string_view name) const {
  if (const auto* attribute = node_->attribute(name)) return attribute->f;
  const auto* value = std::get_if<float>(&formal(name).value);
  return value != nullptr ? *value : 0.0F;
}

std::string Op::attr_string(std::string_view name) const {
  if (const auto* attribute = node_->attribute(name)) return attribute->s;
  const auto* value = std::get_if<std::string>(&formal(name).value);
  return value != nullptr ? *value : std::string();
}

std::vector<std::int64_t> Op::attr_ints(std::string_view name) const {
  if (const auto* attribute = node_->attribute(name)) return attribute->ints;
  const auto* value = std::get_if<std::vector<std::int64_t>>(&formal(name).value);
  return value != nullptr ? *value : std::vector<std::int64_t>();
}

std::vector<float> Op::attr_floats(std::string_view name) const {
  if (const auto* attribute = node_->attribute(name)) return attribute->floats;
  const auto* value = std::get_if<std::vector<float>>(&formal(name).value);
  return value != nullptr ? *value : std::vector<float>();
}

std::vector<std::string> Op::attr_strings(std::string_view name) const {
  if (const auto* attribute = node_->attribute(name)) return attribute->strings;
  const auto* value = std::get_if<std::vector<std::string>>(&formal(name).value);
  return value != nullptr ? *value : std::vector<std::string>();
}

const Tensor* Op::attr_tensor(std::string_view name) const {
  const auto* attribute = node_->attribute(name);
  return attribute != nullptr ? &attribute->t.tensor : nullptr;
}

const onnx::SparseTensor* Op::attr_sparse(std::string_view name) const {
  const auto* attribute = node_->attribute(name);
  return attribute != nullptr && !attribute->sparse_tensors.empty()
             ? &attribute->sparse_tensors.front()
             : nullptr;
}

graph::BodyId Op::attr_body(std::string_view name) const {
  const auto found = node_->bodies.find(std::string(name));
  return found != node_->bodies.end() ? found->second : graph::kNone;
}

void Op::set_out(int i, DType dtype, Shape shape) {
  if (!has_out(i)) return;
  element_count(shape);  // refuses what overflows
  Operand& out = outputs_[static_cast<std::size_t>(i)];
  out.dtype = dtype;
  out.shape = std::move(shape);
  out.known = true;
}

void Op::set_out_unknown(int i, DType dtype) {
  if (!has_out(i)) return;
  Operand& out = outputs_[static_cast<std::size_t>(i)];
  out.dtype = dtype;
  out.shape.clear();
  out.known = false;
}

Tensor Op::packed(int i, const std::string& key,
                  const std::function<Tensor(const Tensor&)>& make) const {
  const Operand& operand = in(i);
  packed_[static_cast<std::size_t>(i)] = true;
  if (store_ == nullptr) return make(*operand.constant);
  return store_->packed(operand, is_widened_ ? "f32 " + key : key, make);
}

std::shared_ptr<Op> Op::widened() const {
  auto op = std::make_shared<Op>(*this);
  op->is_widened_ = true;
  op->chosen_ = nullptr;
  for (Operand& operand : op->inputs_) {
    if (!is_16_bit_float(operand.dtype)) continue;
    if (operand.constant != nullptr) {
      const auto widen = [](const Tensor& tensor) { return tensor.to(DType::f32); };
      op->widened_constants_.push_back(
          std::make_shared<Tensor>(store_ != nullptr ? store_->packed(operand, "as f32", widen)
                                                     : widen(*operand.constant)));
      operand.constant = op->widened_constants_.back().get();
      operand.recipe = nullptr;
    }
    operand.dtype = DType::f32;
  }
  for (Operand& operand : op->outputs_) {
    if (is_16_bit_float(operand.dtype)) operand.dtype = DType::f32;
  }
  return op;
}

Tensor Run::in_tensor(int i) const {
  if (!op_.has_in(i)) return {};
  const Operand& operand = op_.in(i);
  return Tensor::view(operand.dtype, operand.shape, in_[i]);
}

std::vector<std::int64_t> Run::in_ints(int i) const {
  return op_.has_in(i) ? to_ints(in_tensor(i)) : std::vector<std::int64_t>{};
}

void* Run::allocate(int i, DType dtype, Shape shape) {
  give(i, Tensor::uninitialized(dtype, std::move(shape)));
  return made_[static_cast<std::size_t>(i)].mutable_data();
}

void Run::give(int i, Tensor tensor) {
  made_.resize(static_cast<std::size_t>(op_.outputs()));
  made_[static_cast<std::size_t>(i)] = std::move(tensor);
}

namespace {

// Runs a kernel that was chosen for the widened op: converts the 16-bit inputs, gives it f32 memory
// for the 16-bit outputs, converts those back.
Kernel narrowed(const Op& op, std::shared_ptr<Op> wide, Kernel kernel) {
  std::vector<int> wide_in, wide_out;
  for (int i = 0; i < op.inputs(); ++i) {
    // A constant was converted once, with the plan; what a kernel reads of it at run time must be
    // that copy.
    if (op.has_in(i) && is_16_bit_float(op.in(i).dtype)) wide_in.push_back(i);
  }
  for (int i = 0; i < op.outputs(); ++i) {
    if (op.has_out(i) && is_16_bit_float(op.out(i).dtype)) wide_out.push_back(i);
  }
  return [wide, kernel = std::move(kernel), wide_in, wide_out](Run& run) {
    const Op& narrow = run.op();
    std::vector<const void*> in(static_cast<std::size_t>(narrow.inputs()));
    std::vector<void*> out(static_cast<std::size_t>(narrow.outputs()));
    for (int i = 0; i < narrow.inputs(); ++i) in[static_cast<std::size_t>(i)] = run.in_data(i);
    for (int i = 0; i < narrow.outputs(); ++i) out[static_cast<std::size_t>(i)] = run.out_data(i);
    std::vector<Tensor> kept;
    for (const int i : wide_in) {
      const auto at = static_cast<std::size_t>(i);
      if (wide->in(i).constant != nullptr) {
        in[at] = wide->in(i).constant->data();
        continue;
      }
      kept.push_back(Tensor::uninitialized(DType::f32, narrow.in_shape(i)));
      convert_elements(narrow.in(i).dtype, in[at], DType::f32, kept.back().mutable_data(),
                       kept.back().size(), run.pool());
      in[at] = kept.back().data();
    }
    std::vector<Tensor> results(wide_out.size());
    for (std::size_t k = 0; k < wide_out.size(); ++k) {
      if (!narrow.out(wide_out[k]).known) continue;
      results[k] = Tensor::uninitialized(DType::f32, narrow.out_shape(wide_out[k]));
      out[static_cast<std::size_t>(wide_out[k])] = results[k].mutable_data();
    }
    Run inner(*wide, in.data(), out.data(), run.scratch(), run.pool());
    kernel(inner);
    for (int i = 0; i < narrow.outputs(); ++i) {
      if (!narrow.has_out(i) || narrow.out(i).known) continue;
      const Tensor& made = inner.made()[static_cast<std::size_t>(i)];
      run.give(i, is_16_bit_float(narrow.out(i).dtype) ? made.to(narrow.out(i).dtype) : made);
    }
    for (std::size_t k = 0; k < wide_out.size(); ++k) {
      if (!results[k].has_value()) continue;
      convert_elements(DType::f32, results[k].data(), narrow.out(wide_out[k]).dtype,
                       run.out_data(wide_out[k]), results[k].size(), run.pool());
    }
  };
}

bool has_16_bit_float(const Op& op) {
  for (int i = 0; i < op.inputs(); ++i) {
    if (op.has_in(i) && is_16_bit_float(op.in(i).dtype)) return true;
  }
  for (int i = 0; i < op.outputs(); ++i) {
    if (op.has_out(i) && is_16_bit_float(op.out(i).dtype)) return true;
  }
  return false;
}

// The first kernel that takes the op; an empty `kernel` where none does.
Chosen ask(Op& op) {
  Chosen chosen;
  for (const Row::NamedChooser& candidate : op.row().kernels()) {
    op.set_scratch(0);
    op.forget_packed();
    if (candidate.simd && !simd_allowed()) {
      chosen.refused.emplace_back(candidate.name,
                                  "MEZZO_TARGET=scalar asks for the reference kernels");
      continue;
    }
    Choice choice = candidate.choose(op);
    if (auto* refusal = std::get_if<Refusal>(&choice)) {
      chosen.refused.emplace_back(candidate.name, std::move(refusal->reason));
      continue;
    }
    chosen.kernel_name = candidate.name;
    chosen.kernel = std::move(std::get<Kernel>(choice));
    chosen.scratch_bytes = op.scratch_bytes();
    break;
  }
  return chosen;
}

Chosen first_choice(Op& op) {
  Chosen chosen = ask(op);
  if (chosen.kernel) return chosen;
  if (has_16_bit_float(op)) {
    const std::shared_ptr<Op> wide = op.widened();
    Chosen widened = ask(*wide);
    if (widened.kernel) {
      widened.kernel_name += ", computed in float32";
      widened.kernel = narrowed(op, wide, std::move(widened.kernel));
      return widened;
    }
  }
  Error error(ErrorCode::unsupported,
              "no kernel for this operator with these types and attributes");
  std::string reasons;
  for (const auto& [kernel, reason] : chosen.refused) {
    reasons += (reasons.empty() ? "" : "; ") + kernel + ": " + reason;
  }
  throw std::move(error).got(reasons.empty() ? "an operator without kernels" : reasons);
}

}  // namespace

std::shared_ptr<const Chosen> choose(Op& op) {
  if (op.chosen() == nullptr) op.set_chosen(std::make_shared<Chosen>(first_choice(op)));
  return op.chosen();
}

}  // namespace mezzo::ops
