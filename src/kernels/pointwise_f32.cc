#include "kernels/pointwise_f32.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <utility>

#include "kernels/scratch.h"

namespace mezzo::kernels {
namespace {

// Elements of a block: whole lines, and few enough that what one step sends to memory is on its way
// while the next ones compute.
constexpr std::int64_t kBlock = 256, kLine = 64 / sizeof(float);

struct Buffers {};

// Lines that are about to be written. Stores stand in line: one that waits for its line of memory
// holds up the streamed ones behind it.
void fetch_lines(const float* to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kLine) __builtin_prefetch(to + i, 1);
}

std::int64_t cost_of(const PointwiseStep& step) {
  const auto* unary = std::get_if<PointwiseStep::OfOne>(&step.function);
  return unary != nullptr ? cost_of(unary->function) : 1;
}

}  // namespace

Pointwise::Pointwise(int inputs, std::vector<PointwiseStep> steps, std::int64_t n)
    : inputs_(inputs), steps_(std::move(steps)), n_(n) {
  // A buffer is free again behind the last step that reads it.
  std::vector<int> last(steps_.size(), -1), free;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const int operand : {steps_[i].a, steps_[i].b}) {
      if (operand >= inputs_)
        last[static_cast<std::size_t>(operand - inputs_)] = static_cast<int>(i);
    }
  }
  std::int64_t cost = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    cost += cost_of(steps_[i]);
    int buffer = -1;
    if (steps_[i].output < 0 || steps_[i].streamed) {
      if (free.empty()) free.push_back(buffer_count_++);
      buffer = free.back();
      free.pop_back();
    }
    buffers_.push_back(buffer);
    for (std::size_t j = 0; j <= i; ++j) {
      const bool ends = last[j] == static_cast<int>(i) || (j == i && last[j] < 0);
      if (ends && buffers_[j] >= 0) free.push_back(buffers_[j]);
    }
  }
  fetches_ = std::any_of(steps_.begin(), steps_.end(), [](const auto& s) { return s.streamed; });
  grain_ = std::max<std::int64_t>(1, kCheapGrain / kBlock / std::max<std::int64_t>(cost, 1));
}

void Pointwise::run_block(const RangeKernels& kernels, const float* const* in, float* const* out,
                          float* buffers, std::int64_t begin, std::int64_t n) const {
  const auto result = [&](std::size_t step) {
    return buffers_[step] >= 0 ? buffers + buffers_[step] * kBlock
                               : out[steps_[step].output] + begin;
  };
  // A repeated operand is wanted from its start on.
  const auto operand = [&](int number, bool is_repeated) -> const float* {
    if (number >= inputs_) return result(static_cast<std::size_t>(number - inputs_));
    return is_repeated ? in[number] : in[number] + begin;
  };
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const PointwiseStep& step = steps_[i];
    float* y = result(i);
    if (fetches_ && step.output >= 0 && !step.streamed) fetch_lines(y + kBlock, n);
    if (const auto* unary = std::get_if<PointwiseStep::OfOne>(&step.function)) {
      kernels.unary(unary->function, unary->args, operand(step.a, false), y, n);
    } else {
      const auto& [function, broadcast] = std::get<PointwiseStep::OfTwo>(step.function);
      kernels.binary(function, broadcast, operand(step.a, broadcast.repeats_a()),
                     operand(step.b, broadcast.repeats_b()), y, begin, n);
    }
    if (step.streamed) kernels.stream(y, out[step.output] + begin, n);
  }
}

void Pointwise::run(const float* const* in, float* const* out, ThreadPool& pool) const {
  const std::int64_t blocks = (n_ + kBlock - 1) / kBlock;
  const RangeKernels kernels = RangeKernels::find();
  pool.parallel_for(blocks, grain_, [&](std::int64_t first, std::int64_t last) {
    float* buffers = thread_scratch<Buffers>(buffer_count_ * kBlock);
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t begin = block * kBlock;
      run_block(kernels, in, out, buffers, begin, std::min(kBlock, n_ - begin));
    }
    hwy::FlushStream();
  });
}

}  // namespace mezzo::kernels
