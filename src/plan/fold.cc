#include "base/memory.h"
#include "plan/compile.h"

namespace mezzo::plan {

std::vector<Tensor> evaluate(ops::Op& op, ThreadPool& pool) {
  const ops::Chosen chosen = ops::choose(op);
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
  const std::shared_ptr<void> scratch = allocate(static_cast<std::size_t>(chosen.scratch_bytes));
  ops::Run run(op, in.data(), out.data(), scratch.get(), pool);
  chosen.kernel(run);
  for (std::size_t i = 0; i < run.made().size(); ++i) {
    if (run.made()[i].has_value()) results[i] = run.made()[i];
  }
  return results;
}

}  // namespace mezzo::plan
