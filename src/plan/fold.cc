// Nodes whose inputs are all known are computed when planning.
#include <algorithm>

#include "base/memory.h"
#include "base/shape.h"
#include "plan/compiler.h"

namespace mezzo::plan {

using graph::kNone;
using graph::NodeId;
using graph::ValueId;

namespace {

// What folding may keep: results that all plans share, and results of a single plan (shape
// arithmetic is a few numbers).
constexpr std::int64_t kMaxSharedFold = std::int64_t{256} << 20;
constexpr std::int64_t kMaxPlanFold = std::int64_t{1} << 20;
// Elements of a weight that is worth not dequantising.
constexpr std::int64_t kLeastDeferred = 1024;

}  // namespace

bool Compiler::fold(NodeId id, const ops::Row& row, ops::Op& op, const std::vector<int>& in) {
  const graph::Node& node = graph_.node(id);
  if (row.is_random() || !node.bodies.empty()) return false;
  bool shared = true;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] < 0) continue;
    if (plan_->slots[at(in[i])].constant == nullptr && !row.is_from_shapes()) return false;
    shared = shared && plan_->slots[at(in[i])].of_file;
  }
  std::int64_t bytes = 0;
  for (int i = 0; i < op.outputs(); ++i) {
    if (!op.has_out(i)) continue;
    const std::int64_t count = op.out(i).known ? element_count(op.out(i).shape) : 0;
    bytes = checked_add(bytes, checked_mul(count, 16));
  }
  if (bytes > (shared ? kMaxSharedFold : kMaxPlanFold)) return false;
  if (shared && fold_when_read(node, row, op, in)) return true;
  const Results results = results_of(id, op, shared);
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueId value = node.outputs[i];
    if (value == kNone || is_fed(value)) continue;
    Slot slot = constant_slot(value, results[i]);
    slot.of_file = shared;
    define(value, add_slot(std::move(slot)));
  }
  return true;
}

// A quantised weight is a float32 tensor only for kernels that want it so, and for them, mostly, to
// be packed; the others read the integers. Where kernels alone see it, nothing is computed here.
bool Compiler::fold_when_read(const graph::Node& node, const ops::Row& row, const ops::Op& op,
                              const std::vector<int>& in) {
  if (node.op_type != "DequantizeLinear" || op.out(0).dtype != DType::f32) return false;
  const ValueId value = node.outputs[0];
  if (element_count(op.out(0).shape) < kLeastDeferred || resources_.folded(value) != nullptr)
    return false;
  const std::vector<ValueId>& fetched = request_.fetches;
  if (graph_.value(value).is_output || patched_.contains(value) || observed_.contains(value) ||
      std::find(fetched.begin(), fetched.end(), value) != fetched.end())
    return false;
  for (const NodeId reader : graph_.value(value).consumers) {
    const std::string& name = graph_.node(reader).op_type;
    if (graph_.node(reader).body != node.body) return false;  // it is handed to a body
    if (name != "Conv" && name != "ConvTranspose" && name != "Gemm" && name != "MatMul")
      return false;
  }
  std::vector<ops::Operand> operands;
  for (int i = 0; i < op.inputs(); ++i) {
    operands.push_back(op.in(i));
    if (i > 0 && op.has_in(i)) operands.back().constant = op.constant(i);
  }
  const auto recipe = [&resources = resources_, &node, &row, operands](Tensor q) {
    std::vector<ops::Operand> all = operands;
    all[0].constant = &q;
    all[0].of_file = false;
    ops::Op dequantize(node, row, std::move(all), &resources, resources.pool().size());
    row.infer_outputs(dequantize);
    return evaluate(dequantize, resources.pool())[0];
  };
  Slot slot = new_slot(value, DType::f32, op.out(0).shape, Slot::Place::constant);
  slot.constant = plan_->slots[at(in[0])].constant;
  slot.of_file = true;
  slot.recipe = std::make_shared<const ops::Recipe>(recipe);
  define(value, add_slot(std::move(slot)));
  return true;
}

Compiler::Results Compiler::results_of(NodeId id, ops::Op& op, bool of_file) {
  const Precedent& precedent = resources_.precedents().of(id);
  if (precedent.op.get() == &op && !precedent.results.empty()) return precedent.results;
  const graph::Node& node = graph_.node(id);
  Results results = of_file ? folded_before(node) : Results();
  if (results.empty()) {
    const bool view = op.row().is_view(op) && op.outputs() == 1;
    std::vector<Tensor> tensors = view ? std::vector{op.constant(0)->reshaped(op.out_shape(0))}
                                       : evaluate(op, resources_.pool());
    for (Tensor& tensor : tensors) results.push_back(std::make_shared<Tensor>(std::move(tensor)));
    for (std::size_t i = 0; of_file && i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNone) continue;
      results[i] = borrowed(resources_.keep_folded(node.outputs[i], *results[i]));
    }
  }
  return results;
}

Compiler::Results Compiler::folded_before(const graph::Node& node) {
  Results results;
  for (const ValueId value : node.outputs) {
    const Tensor* tensor = value == kNone ? nullptr : resources_.folded(value);
    if (value != kNone && tensor == nullptr) return {};
    results.push_back(borrowed(tensor));
  }
  return results;
}

std::vector<Tensor> evaluate(ops::Op& op, ThreadPool& pool) {
  const std::shared_ptr<const ops::Chosen> chosen = ops::choose(op);
  std::vector<const void*> in;
  for (int i = 0; i < op.inputs(); ++i) {
    const Tensor* constant = op.constant(i);
    in.push_back(constant != nullptr ? constant->data() : nullptr);
  }
  std::vector<Tensor> results(static_cast<std::size_t>(op.outputs()));
  std::vector<void*> out(results.size());
  for (int i = 0; i < op.outputs(); ++i) {
    const ops::Operand& operand = op.out(i);
    const auto at = static_cast<std::size_t>(i);
    if (!operand.present() || !operand.known) continue;
    results[at] = Tensor::uninitialized(operand.dtype, operand.shape);
    out[at] = results[at].mutable_data();
  }
  const std::shared_ptr<void> scratch = allocate(static_cast<std::size_t>(chosen->scratch_bytes));
  ops::Run run(op, in.data(), out.data(), scratch.get(), pool);
  chosen->kernel(run);
  for (std::size_t i = 0; i < run.made().size(); ++i) {
    if (run.made()[i].has_value()) results[i] = run.made()[i];
  }
  return results;
}

}  // namespace mezzo::plan
