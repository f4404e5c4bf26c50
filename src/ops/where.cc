// Where: elements of X where the condition holds, else of Y. Spec: ai.onnx Where-9/16. Elements are
// moved by their size, whatever their type; the three inputs broadcast.

#include <string>
#include <type_traits>

#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// With the steps known to the compiler the common cases become vector loops.
template <std::int64_t kXStep, std::int64_t kYStep, class T>
void select_run(const std::uint8_t* condition, std::int64_t step, const T* x, const T* y, T* out,
                std::int64_t n) {
  if (step == 1) {
    for (std::int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_trivially_copyable_v<T>) {
        // Both are read whatever the condition: no branch.
        const T a = x[i * kXStep], b = y[i * kYStep];
        out[i] = condition[i] != 0 ? a : b;
      } else {
        out[i] = condition[i] != 0 ? x[i * kXStep] : y[i * kYStep];
      }
    }
  } else if (*condition != 0) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = x[i * kXStep];
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = y[i * kYStep];
  }
}

template <class T>
Kernel select(const Op& op) {
  return [loop = BroadcastLoop({op.in_shape(0), op.in_shape(1), op.in_shape(2)}, op.out_shape(0))](
             Run& run) {
    const auto* condition = run.in<std::uint8_t>(0);
    const T* x = run.in<T>(1);
    const T* y = run.in<T>(2);
    T* out = run.out<T>(0);
    const std::int64_t step = loop.step(0);
    const bool x_moves = loop.step(1) == 1, y_moves = loop.step(2) == 1;
    const auto select_runs = x_moves   ? (y_moves ? select_run<1, 1, T> : select_run<1, 0, T>)
                             : y_moves ? select_run<0, 1, T>
                                       : select_run<0, 0, T>;
    loop.run(run.pool(), [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
      select_runs(condition + at[0], step, x + at[1], y + at[2], out + to, n);
    });
  };
}

Choice where(Op& op) {
  const DType dtype = op.in(1).dtype;
  if (dtype == DType::string) return select<std::string>(op);
  switch (bits_of(dtype)) {
    case 8:
      return select<std::uint8_t>(op);
    case 16:
      return select<std::uint16_t>(op);
    case 32:
      return select<std::uint32_t>(op);
    case 64:
      return select<std::uint64_t>(op);
    case 128:
      return select<Complex128>(op);
    default:
      return refuse("elements of no whole number of bytes");
  }
}

void infer(Op& op) { op.set_out(0, op.in(1).dtype, broadcast_inputs(op)); }

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(where) {
  op("Where")
      .since(9, 16)
      .in("condition", DType::boolean)
      .in("X", kAllWithBf16)
      .in("Y", like(1))
      .out("output", like(1))
      .infer(infer)
      .in_place(1)
      .in_place(2)
      .kernel_by_size(where);
}
