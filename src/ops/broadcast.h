// The loop over broadcast operands that all element-wise operators share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/shape.h"
#include "base/thread_pool.h"
#include "ops/op.h"

namespace mezzo::ops {

/// Elements of a cheap element-wise operation that are worth a thread (about 20 microseconds).
inline constexpr std::int64_t kElementwiseGrain = 32768;

/// A walk over the elements of an output in row-major order, in contiguous runs, with the place of
/// every input's element under broadcasting. Axes that behave alike are merged first, so that the
/// runs are as long as they can be. Immutable once made.
class BroadcastLoop {
 public:
  /// Each shape must broadcast (unidirectionally) to `output`.
  BroadcastLoop(const std::vector<Shape>& inputs, const Shape& output);

  std::int64_t size() const { return size_; }
  /// The merged axes, outermost first; at least one.
  const std::vector<std::int64_t>& extents() const { return extents_; }
  /// The strides of input `k` along the merged axes: 0 where it is repeated.
  const std::vector<std::int64_t>& strides(int k) const {
    return strides_[static_cast<std::size_t>(k)];
  }
  /// From one element of a run to the next in input `k`: 1, or 0 where one element serves the run.
  std::int64_t step(int k) const { return strides(k).back(); }

  /// Element `to` + i of the output takes from input k the element at offsets[k] + i * step(k).
  using Body =
      std::function<void(const std::int64_t* offsets, std::int64_t to, std::int64_t count)>;
  void run(ThreadPool& pool, const Body& body, std::int64_t grain = kElementwiseGrain) const;

 private:
  std::int64_t size_;
  std::vector<std::int64_t> extents_;
  std::vector<std::vector<std::int64_t>> strides_;
};

/// The shape under which the second operand of a binary operator is broadcast to the first's rank:
/// before opset 7 the attributes `broadcast` and `axis` say how ("limited broadcasting"), from then
/// on it is NumPy's way. Throws Error(invalid_model) where the old rules do not allow the shapes.
Shape second_operand_shape(const Op& op);

/// Output 0 is the broadcast of inputs 0 and 1 under those rules.
Shape binary_shape(const Op& op);

/// The loop over inputs 0 and 1 into output 0.
BroadcastLoop binary_loop(const Op& op);

/// y[i] = f(a[i], b[i]) over one run. Y is f's result type. (f comes by value: as a reference, what
/// it holds might change with each byte stored, for all that the compiler knows.)
template <class A, class B, class Y, class F>
void apply_run(F f, const A* a, std::int64_t a_step, const B* b, std::int64_t b_step, Y* y,
               std::int64_t n) {
  if (a_step == 1 && b_step == 1) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
  } else if (a_step == 1) {
    const B scalar = *b;
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(a[i], scalar);
  } else if (b_step == 1) {
    const A scalar = *a;
    for (std::int64_t i = 0; i < n; ++i) y[i] = f(scalar, b[i]);
  } else {
    std::fill_n(y, n, static_cast<Y>(f(*a, *b)));
  }
}

/// The kernel of y = f(a, b) for a binary operator with elements A, B and Y in memory.
template <class A, class B, class Y, class F>
Kernel broadcast_kernel(BroadcastLoop loop, F f) {
  return [loop = std::move(loop), f](Run& run) {
    const A* a = run.in<A>(0);
    const B* b = run.in<B>(1);
    Y* y = run.out<Y>(0);
    loop.run(run.pool(), [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
      apply_run(f, a + at[0], loop.step(0), b + at[1], loop.step(1), y + to, n);
    });
  };
}

}  // namespace mezzo::ops
