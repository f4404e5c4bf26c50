// CumSum and CumProd. Spec: ai.onnx CumSum-11, -14 (16-bit floats), CumProd-26.
#include <algorithm>

#include "kernels/cumulative_f32.h"
#include "ops/axis_split.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

int axis_of(const Op& op, const std::vector<std::int64_t>& axis) {
  if (axis.size() != 1) {
    throw invalid("the axis must be one number")
        .at("input 1")
        .got(std::to_string(axis.size()) + " numbers");
  }
  return normalize_axis(axis[0], op.in_rank(0));
}

void infer(Op& op) {
  if (element_count(op.in_shape(1)) != 1) {
    throw invalid("the axis must be one number").at("input 1").got(to_string(op.in_shape(1)));
  }
  if (op.constant(1) != nullptr) axis_of(op, op.ints(1));
  same_shape(op);
}

AxisSplit split_of(const Run& run) {
  return split_at(run.op().in_shape(0), axis_of(run.op(), run.in_ints(1)));
}

// Columns of x and y, at most kColumns side by side, [n] of them `stride` apart; y may be x.
constexpr std::int64_t kColumns = 64;
template <class T, bool product>
void accumulate(const T* x, T* y, std::int64_t n, std::int64_t stride, std::int64_t columns,
                bool exclusive) {
  if (columns == 1) {  // whose state stays in a register
    Accumulator<T> one = product ? 1 : 0;
    for (std::int64_t i = 0; i < n; ++i, x += stride, y += stride) {
      const auto element = static_cast<Accumulator<T>>(*x);
      const Accumulator<T> next = product ? one * element : one + element;
      *y = static_cast<T>(exclusive ? one : next);
      one = next;
    }
    return;
  }
  Accumulator<T> state[kColumns];
  std::fill_n(state, columns, static_cast<Accumulator<T>>(product ? 1 : 0));
  for (std::int64_t i = 0; i < n; ++i, x += stride, y += stride) {
    for (std::int64_t q = 0; q < columns; ++q) {
      const auto element = static_cast<Accumulator<T>>(x[q]);
      const Accumulator<T> next = product ? state[q] * element : state[q] + element;
      y[q] = static_cast<T>(exclusive ? state[q] : next);
      state[q] = next;
    }
  }
}

// Calls columns_of(first element, n, stride, columns) for groups of at most `most` columns of x.
template <class Columns>
void each_group(Run& run, const AxisSplit& split, bool reverse, std::int64_t most,
                const Columns& columns_of) {
  const std::int64_t n = split.n, inner = split.inner;
  if (n == 0) return;
  const std::int64_t first = reverse ? (n - 1) * inner : 0, stride = reverse ? -inner : inner;
  run.pool().parallel_for(
      split.outer * inner, grain_for(n), [&](std::int64_t begin, std::int64_t end) {
        for_columns(split, begin, end, most, [&](std::int64_t at, std::int64_t columns) {
          columns_of(at + first, n, stride, columns);
        });
      });
}

template <bool product>
Choice simd(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const bool exclusive = op.attr_int("exclusive") != 0, reverse = op.attr_int("reverse") != 0;
  return Kernel([exclusive, reverse](Run& run) {
    const AxisSplit split = split_of(run);
    if (split.inner == 1 && split.n > 0) {
      const std::int64_t n = split.n, first = reverse ? n - 1 : 0;
      const auto rows = [&](std::int64_t begin, std::int64_t end) {
        const std::int64_t at = begin * n + first;
        kernels::cumulate({product, exclusive, n, reverse ? -1 : 1, end - begin, n},
                          run.in<float>(0) + at, run.out<float>(0) + at);
      };
      return run.pool().parallel_for(split.outer, grain_for(n), rows);
    }
    constexpr std::int64_t kMost = 1 << 20;
    each_group(run, split, reverse, kMost,
               [&](std::int64_t at, std::int64_t n, std::int64_t stride, std::int64_t columns) {
                 kernels::cumulate({product, exclusive, n, stride, columns}, run.in<float>(0) + at,
                                   run.out<float>(0) + at);
               });
  });
}

template <bool product>
Choice reference(Op& op) {
  const bool exclusive = op.attr_int("exclusive") != 0, reverse = op.attr_int("reverse") != 0;
  Kernel kernel;
  with_type(Types<float, double, std::uint32_t, std::uint64_t>{}, ring_type(op.in(0).dtype),
            [&](auto type) {
              using T = decltype(type);
              kernel = [exclusive, reverse](Run& run) {
                each_group(run, split_of(run), reverse, kColumns,
                           [&](std::int64_t at, std::int64_t n, std::int64_t stride,
                               std::int64_t columns) {
                             accumulate<T, product>(run.in<T>(0) + at, run.out<T>(0) + at, n,
                                                    stride, columns, exclusive);
                           });
              };
            });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

template <bool product>
void declare(Row& row) {
  row.attr("exclusive", 0)
      .attr("reverse", 0)
      .in("x", kFloatsBf16 | TypeSet{DType::i32, DType::i64, DType::u32, DType::u64})
      .in("axis", kIndices)
      .out("y", like(0))
      .infer(infer)
      .in_place(0)
      .simd_kernel("simd columns", simd<product>)
      .kernel("reference", reference<product>);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(cumsum) {
  declare<false>(op("CumSum").since(11, 14));
  declare<true>(op("CumProd").since(26));
}
