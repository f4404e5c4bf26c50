// Steps of a large batch, in micro-batches: where the tensors of several steps are larger than the
// caches, the steps run for a few images of the batch after the other, so that what they hand to
// each other is still in the caches when it is read, and needs memory for those images only.
#include <algorithm>
#include <optional>

#include "base/shape.h"
#include "plan/compiler.h"

namespace mezzo::plan {
namespace {

// A step whose operands are larger together is worth splitting: about what one process has of a
// third-level cache. Those of a micro-batch are to fit half of it.
constexpr double kLargeBytes = 16 << 20;
// So many smaller ones may lie between two that are.
constexpr int kMostBetween = 3;

// The batch of a step that can be split, and the bytes of what it reads and gives of it.
struct Batch {
  std::int64_t size = 0;
  double bytes = 0;
};

std::optional<Batch> batch_of(const Step& step) {
  if (step.kind != Step::Kind::kernel || !step.captures.empty() || !step.op->has_out(0))
    return std::nullopt;
  const ops::Op& op = *step.op;
  if (!op.out(0).known || !is_plain(op.out(0).dtype) || op.out_shape(0).empty())
    return std::nullopt;
  Batch batch{op.out_shape(0)[0], bytes_of_operand(op.out(0))};
  const auto holds_all = [&](const ops::Operand& operand) {
    return operand.known && is_plain(operand.dtype) && !operand.shape.empty() &&
           operand.shape[0] == batch.size;
  };
  bool found = false;
  for (int i = 0; i < op.inputs(); ++i) {
    if (!op.row().is_batched(op, i)) continue;
    if (op.is_constant(i) || !holds_all(op.in(i))) return std::nullopt;
    batch.bytes += bytes_of_operand(op.in(i));
    found = true;
  }
  for (int i = 1; i < op.outputs(); ++i) {
    if (op.has_out(i) && !holds_all(op.out(i))) return std::nullopt;
  }
  if (!found || batch.size < 2) return std::nullopt;
  return batch;
}

// How `size` images, of which so many fit the caches, are split for so many threads; a count of 1:
// not at all.
MicroBatches micro_batches(std::int64_t size, double fitting, int threads) {
  const auto whole_parts = [&](std::int64_t most) {
    std::int64_t images = std::clamp<std::int64_t>(most, 1, size);
    while (size % images != 0) --images;
    return images;
  };
  MicroBatches batches;
  // A thread that runs all steps for images of its own finds in its own caches what it wrote, and
  // waits for nobody: as long as all have as much to do, nearly.
  if (threads > 1) {
    const std::int64_t images = whole_parts(static_cast<std::int64_t>(fitting / threads));
    const std::int64_t count = size / images, turns = (count + threads - 1) / threads;
    if (10 * turns * threads <= 11 * count) {
      batches.count = static_cast<int>(count);
      batches.lanes = threads;
      return batches;
    }
  }
  // Else all threads share each image; there are to be enough of them that each has work.
  const std::int64_t least = (threads + 1) / 2;
  const std::int64_t images = whole_parts(std::max(least, static_cast<std::int64_t>(fitting)));
  if (images >= least) batches.count = static_cast<int>(size / images);
  return batches;
}

}  // namespace

void Compiler::split_batches() {
  if (!has_pass("micro_batch")) return;
  // Views lie in other slots' memory, in an order of their own.
  std::vector<bool> is_view(plan_->slots.size(), false);
  for (std::size_t i = 0; i < plan_->slots.size(); ++i) {
    if (plan_->slots[i].alias_of < 0) continue;
    is_view[i] = is_view[at(root_of(static_cast<int>(i)))] = true;
  }
  const auto batch_at = [&](int i) -> std::optional<Batch> {
    const Step& step = plan_->steps[at(i)];
    for (const std::vector<int>* slots : {&step.in, &step.out}) {
      for (const int slot : *slots) {
        if (slot >= 0 && is_view[at(slot)]) return std::nullopt;
      }
    }
    return batch_of(step);
  };
  // Whether step i reads as a whole what steps [begin, i) give image by image.
  const auto needs_all_of = [&](int begin, int i) {
    const Step& step = plan_->steps[at(i)];
    for (int k = 0; k < step.op->inputs(); ++k) {
      if (step.in[at(k)] < 0 || step.op->row().is_batched(*step.op, k)) continue;
      for (int before = begin; before < i; ++before) {
        const std::vector<int>& out = plan_->steps[at(before)].out;
        if (std::find(out.begin(), out.end(), step.in[at(k)]) != out.end()) return true;
      }
    }
    return false;
  };
  const int count = static_cast<int>(plan_->steps.size());
  for (int begin = 0, end; begin < count; begin = end) {
    end = begin + 1;
    const std::optional<Batch> first = batch_at(begin);
    if (!first || first->bytes <= kLargeBytes) continue;
    double most = first->bytes;
    for (int i = end; i < count && i <= end + kMostBetween; ++i) {
      const std::optional<Batch> batch = batch_at(i);
      if (!batch || batch->size != first->size || needs_all_of(begin, i)) break;
      if (batch->bytes <= kLargeBytes) continue;
      most = std::max(most, batch->bytes);
      end = i + 1;
    }
    if (end - begin < 2) continue;
    const double fitting = static_cast<double>(first->size) * (kLargeBytes / 2) / most;
    MicroBatches batches = micro_batches(first->size, fitting, resources_.pool().size());
    batches.begin = begin;
    batches.end = end;
    if (batches.count > 1) split(std::move(batches));
  }
}

void Compiler::split(MicroBatches batches) {
  const int begin = batches.begin, end = batches.end, count = batches.count;
  // What only these steps know is there for one micro-batch at a time.
  std::vector<bool> inside(plan_->slots.size(), false);
  for (int i = begin; i < end; ++i) {
    for (const int slot : plan_->steps[at(i)].out) {
      if (slot >= 0) inside[at(slot)] = plan_->slots[at(slot)].place == Slot::Place::arena;
    }
  }
  for (int i = 0; i < static_cast<int>(plan_->steps.size()); ++i) {
    if (i >= begin && i < end) continue;
    for (const std::vector<int>* slots : {&plan_->steps[at(i)].in, &plan_->steps[at(i)].captures}) {
      for (const int slot : *slots) {
        if (slot >= 0) inside[at(slot)] = false;
      }
    }
  }
  const auto stride = [&](int slot) -> std::int64_t {
    if (slot < 0 || inside[at(slot)]) return 0;
    const Slot& facts = plan_->slots[at(slot)];
    return static_cast<std::int64_t>(bytes_of(facts.dtype, element_count(facts.shape))) / count;
  };
  for (int i = begin; i < end; ++i) {
    Step& step = plan_->steps[at(i)];
    const ops::Op& whole = *step.op;
    const std::int64_t batch = whole.out_shape(0)[0];
    std::vector<ops::Operand> operands;
    for (int k = 0; k < whole.inputs(); ++k) operands.push_back(whole.in(k));
    step.in_strides.assign(step.in.size(), 0);
    for (int k = 0; k < whole.inputs(); ++k) {
      if (!whole.row().is_batched(whole, k)) continue;
      operands[at(k)].shape[0] /= count;
      step.in_strides[at(k)] = stride(step.in[at(k)]);
    }
    step.out_strides.clear();
    for (const int slot : step.out) step.out_strides.push_back(stride(slot));
    step.op = std::make_shared<ops::Op>(whole.node(), whole.row(), std::move(operands), &resources_,
                                        resources_.pool().size());
    step.op->set_whole_batch(batch);
    step.op->row().infer_outputs(*step.op);
    step.passes.emplace_back("micro_batch");
  }
  for (std::size_t i = 0; i < inside.size(); ++i) {
    if (!inside[i]) continue;
    plan_->slots[i].shape[0] /= count;
    batches.inside.push_back(static_cast<int>(i));
  }
  plan_->micro_batches.push_back(std::move(batches));
}

}  // namespace mezzo::plan
