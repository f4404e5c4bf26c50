// Chains of element-wise float32 functions, taken block by block: each reads what the ones before
// it have left in the first-level cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "kernels/elementwise_f32.h"

namespace mezzo::kernels {

/// One function of a chain.
struct PointwiseStep {
  struct OfOne {
    Unary function;
    UnaryArgs args;
  };
  struct OfTwo {
    Binary function;
    Broadcast broadcast;
  };
  std::variant<OfOne, OfTwo> function;
  /// Operands: inputs of the chain, then the results of its steps. What is repeated is an input.
  int a = -1, b = -1;
  int output = -1;        ///< where the result goes, or -1: it is wanted by later steps alone
  bool streamed = false;  ///< nobody reads that output soon: it goes past the caches
};

/// A chain over n elements. Immutable once made.
class Pointwise {
 public:
  /// Each step may take the results of earlier ones; the last has an output.
  Pointwise(int inputs, std::vector<PointwiseStep> steps, std::int64_t n);

  /// The last step's output may be an input.
  void run(const float* const* in, float* const* out, ThreadPool& pool) const;

 private:
  // Five steps that one kernel computes: the operands' numbers, those but x of one element.
  struct Gelu {
    int x = -1, scale = -1, shift = -1, factor = -1;
    bool divided = true;
    bool is_read = false;  // the last result, by later steps
  };
  // A part of the elements, and the memory for it.
  struct Block {
    const float* const* in;
    float* const* out;
    float* buffers;
    std::int64_t begin, n;
  };
  void run_block(const RangeKernels& kernels, const Block& block) const;
  void run_gelu(const RangeKernels& kernels, std::size_t first, const Block& block) const;
  float* result(std::size_t step, const Block& block) const;
  // A repeated operand is wanted from its start on.
  const float* operand(int number, bool is_repeated, const Block& block) const;

  int inputs_;
  std::vector<PointwiseStep> steps_;
  std::vector<std::optional<Gelu>> gelus_;  // by their first step
  std::optional<Gelu> gelu_at(std::size_t first, const std::vector<int>& last) const;

  std::vector<int> buffers_;  // by step: the buffer that holds its result, or -1: its output does
  int buffer_count_ = 0;
  bool fetches_;  // lines of outputs that are not streamed, ahead of writing them
  std::int64_t n_, grain_;
};

}  // namespace mezzo::kernels
