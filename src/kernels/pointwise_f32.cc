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
  for (std::size_t i = 0; i < steps_.size(); ++i) gelus_.push_back(gelu_at(i, last));
  fetches_ = std::any_of(steps_.begin(), steps_.end(), [](const auto& s) { return s.streamed; });
  grain_ = std::max<std::int64_t>(1, kCheapGrain / kBlock / std::max<std::int64_t>(cost, 1));
}

std::optional<Pointwise::Gelu> Pointwise::gelu_at(std::size_t first,
                                                  const std::vector<int>& last) const {
  constexpr int kCount = GeluParts::kCount;
  if (first + kCount > steps_.size()) return std::nullopt;
  // The operand of one element of a function whose other one is `full`, which may be any (-1).
  const auto scalar_of = [&](int part, Binary function, int full) {
    const PointwiseStep& step = steps_[first + static_cast<std::size_t>(part)];
    const auto* two = std::get_if<PointwiseStep::OfTwo>(&step.function);
    if (two == nullptr || two->function != function ||
        two->broadcast.form != Broadcast::Form::scalar ||
        (two->broadcast.swapped && function == Binary::div))
      return -1;
    const int other = two->broadcast.swapped ? step.b : step.a;
    return full < 0 || other == full ? (two->broadcast.swapped ? step.a : step.b) : -1;
  };
  const int results = inputs_ + static_cast<int>(first);
  Gelu gelu;
  gelu.divided = scalar_of(0, Binary::div, -1) >= 0;
  gelu.scale = scalar_of(0, gelu.divided ? Binary::div : Binary::mul, -1);
  gelu.x = gelu.scale == steps_[first].a ? steps_[first].b : steps_[first].a;
  gelu.shift = scalar_of(2, Binary::add, results + 1);
  gelu.factor = scalar_of(4, Binary::mul, results + 3);
  gelu.is_read = last[first + kCount - 1] >= 0;
  const auto* erf = std::get_if<PointwiseStep::OfOne>(&steps_[first + 1].function);
  const auto* product = std::get_if<PointwiseStep::OfTwo>(&steps_[first + 3].function);
  const auto [a, b] = std::minmax(steps_[first + 3].a, steps_[first + 3].b);
  if (gelu.scale < 0 || gelu.shift < 0 || gelu.factor < 0 || erf == nullptr ||
      erf->function != Unary::erf || steps_[first + 1].a != results || product == nullptr ||
      product->function != Binary::mul || product->broadcast.form != Broadcast::Form::none ||
      a != gelu.x || b != results + 2)
    return std::nullopt;
  for (std::size_t part = 0; part + 1 < kCount; ++part) {
    if (last[first + part] >= static_cast<int>(first) + kCount) return std::nullopt;
  }
  return gelu;
}

float* Pointwise::result(std::size_t step, const Block& block) const {
  return buffers_[step] >= 0 ? block.buffers + buffers_[step] * kBlock
                             : block.out[steps_[step].output] + block.begin;
}

const float* Pointwise::operand(int number, bool is_repeated, const Block& block) const {
  if (number >= inputs_) return result(static_cast<std::size_t>(number - inputs_), block);
  return is_repeated ? block.in[number] : block.in[number] + block.begin;
}

void Pointwise::run_gelu(const RangeKernels& kernels, std::size_t first, const Block& block) const {
  const Gelu& gelu = *gelus_[first];
  GeluParts parts;
  parts.x = operand(gelu.x, false, block);
  parts.divided = gelu.divided;
  parts.scale = *block.in[gelu.scale];
  parts.shift = *block.in[gelu.shift];
  parts.factor = *block.in[gelu.factor];
  for (std::size_t part = 0; part < GeluParts::kCount; ++part) {
    const PointwiseStep& step = steps_[first + part];
    const bool is_kept = part + 1 == GeluParts::kCount && (gelu.is_read || step.output < 0);
    if (is_kept) {
      parts.to[part] = result(first + part, block);
    } else if (step.output >= 0) {
      parts.to[part] = block.out[step.output] + block.begin;
      parts.streamed[part] = step.streamed;
      if (fetches_ && !step.streamed) fetch_lines(parts.to[part] + kBlock, block.n);
    }
  }
  kernels.gelu(parts, block.n);
  const PointwiseStep& last = steps_[first + GeluParts::kCount - 1];
  if (gelu.is_read && last.streamed)
    kernels.stream(parts.to[GeluParts::kCount - 1], block.out[last.output] + block.begin, block.n);
}

void Pointwise::run_block(const RangeKernels& kernels, const Block& block) const {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (gelus_[i]) {
      run_gelu(kernels, i, block);
      i += GeluParts::kCount - 1;
      continue;
    }
    const PointwiseStep& step = steps_[i];
    float* y = result(i, block);
    if (fetches_ && step.output >= 0 && !step.streamed) fetch_lines(y + kBlock, block.n);
    if (const auto* unary = std::get_if<PointwiseStep::OfOne>(&step.function)) {
      kernels.unary(unary->function, unary->args, operand(step.a, false, block), y, block.n);
    } else {
      const auto& [function, broadcast] = std::get<PointwiseStep::OfTwo>(step.function);
      kernels.binary(function, broadcast, operand(step.a, broadcast.repeats_a(), block),
                     operand(step.b, broadcast.repeats_b(), block), y, block.begin, block.n);
    }
    if (step.streamed) kernels.stream(y, block.out[step.output] + block.begin, block.n);
  }
}

void Pointwise::run(const float* const* in, float* const* out, ThreadPool& pool) const {
  const std::int64_t blocks = (n_ + kBlock - 1) / kBlock;
  const RangeKernels kernels = RangeKernels::find();
  pool.parallel_for(blocks, grain_, [&](std::int64_t first, std::int64_t last) {
    float* buffers = thread_scratch<Buffers>(buffer_count_ * kBlock);
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t begin = block * kBlock;
      run_block(kernels, {in, out, buffers, begin, std::min(kBlock, n_ - begin)});
    }
    hwy::FlushStream();
  });
}

}  // namespace mezzo::kernels
