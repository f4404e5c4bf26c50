#include "ops/broadcast.h"

#include <string>

#include "ops/shapes.h"

namespace mezzo::ops {

BroadcastLoop::BroadcastLoop(const std::vector<Shape>& inputs, const Shape& output)
    : size_(element_count(output)), strides_(inputs.size()) {
  std::vector<std::vector<std::int64_t>> full;
  for (const Shape& input : inputs) full.push_back(broadcast_strides(input, output));
  // Axes are gathered innermost first: one is merged into the last gathered where, for every
  // input, a step along it is the same as running through the last gathered to its end.
  for (std::size_t axis = output.size(); axis-- > 0;) {
    if (output[axis] == 1) continue;
    bool merges = !extents_.empty();
    for (std::size_t k = 0; merges && k < full.size(); ++k) {
      merges = full[k][axis] == strides_[k].back() * extents_.back();
    }
    if (merges) {
      extents_.back() *= output[axis];
      continue;
    }
    extents_.push_back(output[axis]);
    for (std::size_t k = 0; k < full.size(); ++k) strides_[k].push_back(full[k][axis]);
  }
  if (extents_.empty()) {
    extents_.push_back(1);
    for (auto& strides : strides_) strides.push_back(0);
  }
  std::reverse(extents_.begin(), extents_.end());
  for (auto& strides : strides_) std::reverse(strides.begin(), strides.end());
}

void BroadcastLoop::run(ThreadPool& pool, const Body& body, std::int64_t grain) const {
  if (size_ == 0) return;
  const std::size_t inner = extents_.size() - 1;
  pool.parallel_for(size_, grain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> index(extents_.size());
    std::vector<std::int64_t> row(strides_.size(), 0), offsets(strides_.size());
    std::int64_t rest = begin;
    for (std::size_t axis = extents_.size(); axis-- > 0;) {
      index[axis] = rest % extents_[axis];
      rest /= extents_[axis];
    }
    for (std::size_t k = 0; k < row.size(); ++k) {
      for (std::size_t axis = 0; axis < inner; ++axis) row[k] += index[axis] * strides_[k][axis];
    }
    std::int64_t column = index[inner];
    for (std::int64_t to = begin; to < end;) {
      const std::int64_t count = std::min(extents_[inner] - column, end - to);
      for (std::size_t k = 0; k < row.size(); ++k) {
        offsets[k] = row[k] + column * strides_[k][inner];
      }
      body(offsets.data(), to, count);
      to += count;
      column = 0;
      for (std::size_t axis = inner; axis-- > 0;) {
        const bool carry = ++index[axis] == extents_[axis];
        for (std::size_t k = 0; k < row.size(); ++k) {
          row[k] += carry ? -(extents_[axis] - 1) * strides_[k][axis] : strides_[k][axis];
        }
        if (!carry) break;
        index[axis] = 0;
      }
    }
  });
}

Shape second_operand_shape(const Op& op) {
  const Shape& a = op.in_shape(0);
  const Shape& b = op.in_shape(1);
  if (op.opset() >= 7 || a == b) return b;
  if (op.attr_int("broadcast") == 0) {
    throw invalid("the inputs differ in shape, but the attribute 'broadcast' is not set")
        .expected(to_string(a))
        .got(to_string(b))
        .hint("Before opset 7, broadcasting must be asked for");
  }
  if (element_count(b) == 1) return {};
  const auto rank = static_cast<std::int64_t>(a.size());
  const auto length = static_cast<std::int64_t>(b.size());
  std::int64_t axis = op.has_attr("axis") ? op.attr_int("axis") : rank - length;
  if (axis < 0 && op.has_attr("axis")) axis += rank;
  Shape aligned = b;
  if (axis >= 0 && axis <= rank - length) {
    aligned.resize(static_cast<std::size_t>(rank - axis), 1);
    if (broadcasts_to(aligned, a)) return aligned;
  }
  throw invalid("the second input does not match a run of the first input's axes")
      .expected("axes of " + to_string(a) + " from axis " + std::to_string(axis))
      .got(to_string(b));
}

Shape binary_shape(const Op& op) { return broadcast(op.in_shape(0), second_operand_shape(op)); }

BroadcastLoop binary_loop(const Op& op) {
  return {{op.in_shape(0), second_operand_shape(op)}, op.out_shape(0)};
}

}  // namespace mezzo::ops
