// Scatter, ScatterElements, ScatterND. Spec: Scatter-9 (and -11, deprecated there);
// ScatterElements-11, -13, -16 (reduction add, mul), -18 (max, min); ScatterND-11, -13, -16, -18
// likewise. Indices may be negative; where one occurs twice without a reduction, the last wins.

#include <algorithm>
#include <cmath>

#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum class Reduction { none, add, mul, max, min };

Reduction reduction_of(const Op& op) {
  if (op.opset() < 16 || op.node().op_type == "Scatter") return Reduction::none;
  const std::string name = op.attr_string("reduction");
  if (name == "none") return Reduction::none;
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "max" && op.opset() >= 18) return Reduction::max;
  if (name == "min" && op.opset() >= 18) return Reduction::min;
  throw invalid("an unknown reduction")
      .expected(op.opset() >= 18 ? "none, add, mul, max or min" : "none, add or mul")
      .got("'" + name + "'");
}

// Combines `count` elements. Integers wrap; for bool, add is or, mul is and.
template <class T>
void combine(Reduction reduction, const T* updates, T* target, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T a = target[i], b = updates[i];
    switch (reduction) {
      case Reduction::none:
        target[i] = b;
        break;
      case Reduction::add:
        if constexpr (std::is_same_v<T, bool>) {
          target[i] = a || b;
        } else if constexpr (std::is_integral_v<T>) {
          target[i] = static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
        } else {
          target[i] = a + b;
        }
        break;
      case Reduction::mul:
        if constexpr (std::is_same_v<T, bool>) {
          target[i] = a && b;
        } else if constexpr (std::is_integral_v<T>) {
          target[i] = static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
        } else {
          target[i] = a * b;
        }
        break;
      case Reduction::max:
        target[i] = b > a || b != b ? b : a;  // NaN goes through
        break;
      case Reduction::min:
        target[i] = b < a || b != b ? b : a;
        break;
    }
  }
}

// Write updates, from number `from` on, to where they belong; of the data's type. Null where there
// is no such reduction.
struct Writers {
  // `count` of them to `to` and what follows it.
  void (*run)(Reduction, const void* updates, std::int64_t from, void* target, std::int64_t to,
              std::int64_t count) = nullptr;
  // Each of `count` to a place of its own.
  void (*each)(Reduction, const void* updates, std::int64_t from, void* target,
               const std::int64_t* places, std::int64_t count) = nullptr;
};

template <class T>
constexpr Writers kNumberWriters = {
    [](Reduction reduction, const void* updates, std::int64_t from, void* target, std::int64_t to,
       std::int64_t count) {
      combine(reduction, static_cast<const T*>(updates) + from, static_cast<T*>(target) + to,
              count);
    },
    [](Reduction reduction, const void* updates, std::int64_t from, void* target,
       const std::int64_t* places, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        combine(reduction, static_cast<const T*>(updates) + from + i,
                static_cast<T*>(target) + places[i], 1);
      }
    }};

template <class Element>
constexpr Writers kElementWriters = {
    [](Reduction, const void* updates, std::int64_t from, void* target, std::int64_t to,
       std::int64_t count) {
      copy_run(static_cast<const Element*>(updates) + from, static_cast<Element*>(target) + to,
               count);
    },
    [](Reduction, const void* updates, std::int64_t from, void* target, const std::int64_t* places,
       std::int64_t count) {
      const Element* update = static_cast<const Element*>(updates) + from;
      for (std::int64_t i = 0; i < count; ++i) static_cast<Element*>(target)[places[i]] = update[i];
    }};

Writers writers_for(DType dtype, Reduction reduction) {
  Writers write;
  if (reduction == Reduction::none) {
    with_element(dtype, [&](auto element) { write = kElementWriters<decltype(element)>; });
    return write;
  }
  if (dtype == DType::boolean) return kNumberWriters<bool>;
  with_type(NumberTypes{}, dtype, [&](auto type) { write = kNumberWriters<decltype(type)>; });
  return write;
}

constexpr const char* kNoReduction = "this reduction is not for this type";

int axis_of(const Op& op) { return normalize_axis(op.attr_int("axis"), op.in_rank(0)); }

void infer_elements(Op& op) {
  require_rank(op, 0, 1);
  reduction_of(op);
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const Shape& data = op.in_shape(0);
  const Shape& indices = op.in_shape(1);
  bool fits = data.size() == indices.size();
  for (std::size_t a = 0; fits && a < data.size(); ++a) fits = a == axis || indices[a] <= data[a];
  if (!fits) {
    throw invalid("the indices do not fit the data")
        .expected("extents of at most " + to_string(data) + " but for axis " + std::to_string(axis))
        .got(to_string(indices));
  }
  if (op.in_shape(2) != indices) {
    throw invalid("indices and updates differ in shape")
        .expected(to_string(indices))
        .got(to_string(op.in_shape(2)));
  }
  same_shape(op);
}

// Goes through the rows (last axis) of the indices.
Choice scatter_elements(Op& op) {
  const Reduction reduction = reduction_of(op);
  const DType dtype = op.in(0).dtype;
  const Writers write = writers_for(dtype, reduction);
  if (write.run == nullptr) return refuse(kNoReduction);
  const Shape& indices_shape = op.in_shape(1);
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const std::size_t last = indices_shape.size() - 1;
  const std::int64_t extent = op.in_shape(0)[axis], width = indices_shape[last];
  const std::int64_t rows = product(indices_shape, 0, static_cast<int>(last));
  const std::vector<std::int64_t> strides = strides_of(op.in_shape(0));
  const std::int64_t axis_stride = strides[axis], column_stride = axis == last ? 0 : 1;
  const std::int64_t count = product(op.in_shape(0));
  return [=](Run& run) {
    copy_all(dtype, run.in_data(0), run.out_data(0), count, run.pool());
    const auto scatter_row = [&](const auto* indices, std::int64_t row, std::int64_t base) {
      constexpr std::int64_t kBlock = 256;
      std::int64_t places[kBlock];
      for (std::int64_t begin = 0; begin < width; begin += kBlock) {
        const std::int64_t n = std::min(kBlock, width - begin);
        const auto* index = indices + row * width + begin;
        for (std::int64_t j = 0; j < n; ++j) {
          places[j] =
              base + (begin + j) * column_stride + checked_index(index[j], extent) * axis_stride;
        }
        write.each(reduction, run.in_data(2), row * width + begin, run.out_data(0), places, n);
      }
    };
    for (std::int64_t row = 0; row < rows; ++row) {
      std::int64_t base = 0, rest = row;
      for (std::size_t a = last; a-- > 0;) {
        if (a != axis) base += rest % indices_shape[a] * strides[a];
        rest /= indices_shape[a];
      }
      if (run.op().in(1).dtype == DType::i32) {
        scatter_row(run.in<std::int32_t>(1), row, base);
      } else {
        scatter_row(run.in<std::int64_t>(1), row, base);
      }
    }
  };
}

void infer_nd(Op& op) {
  require_rank(op, 0, 1);
  require_rank(op, 1, 1);
  reduction_of(op);
  const Shape& data = op.in_shape(0);
  const Shape& indices = op.in_shape(1);
  const std::int64_t depth = indices.back();
  if (depth < 0 || depth > op.in_rank(0)) {
    throw invalid("ScatterND's index tuples have a wrong length")
        .expected("at most " + std::to_string(data.size()))
        .got(std::to_string(depth));
  }
  Shape wanted(indices.begin(), indices.end() - 1);
  wanted.insert(wanted.end(), data.begin() + depth, data.end());
  if (op.in_shape(2) != wanted) {
    throw invalid("ScatterND's updates have a wrong shape")
        .expected(to_string(wanted))
        .got(to_string(op.in_shape(2)));
  }
  same_shape(op);
}

Choice scatter_nd(Op& op) {
  const Reduction reduction = reduction_of(op);
  const DType dtype = op.in(0).dtype;
  const Writers write = writers_for(dtype, reduction);
  if (write.run == nullptr) return refuse(kNoReduction);
  const Shape& shape = op.in_shape(0);
  const Shape& indices_shape = op.in_shape(1);
  const auto depth = static_cast<std::size_t>(indices_shape.back());
  const std::int64_t inner = product(shape, static_cast<int>(depth), op.in_rank(0));
  const std::int64_t tuples = product(indices_shape, 0, static_cast<int>(indices_shape.size()) - 1);
  const std::int64_t count = product(shape);
  const Shape extents(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(depth));
  return [=](Run& run) {
    copy_all(dtype, run.in_data(0), run.out_data(0), count, run.pool());
    if (inner == 0) return;
    // Each thread takes a part of every slice, since the same slice may be written twice.
    const std::int64_t grain = runs_per_task(dtype, 1) / std::max<std::int64_t>(1, tuples);
    run.pool().parallel_for(inner, std::max<std::int64_t>(64, grain),
                            [&](std::int64_t begin, std::int64_t end) {
                              const auto* tuple = run.in<std::int64_t>(1);
                              for (std::int64_t i = 0; i < tuples; ++i) {
                                std::int64_t to = 0;
                                for (std::size_t a = 0; a < depth; ++a) {
                                  to = to * extents[a] + checked_index(*tuple++, extents[a]);
                                }
                                write.run(reduction, run.in_data(2), i * inner + begin,
                                          run.out_data(0), to * inner + begin, end - begin);
                              }
                            });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(scatter) {
  op("Scatter")
      .since(9, 11)
      .attr("axis", 0)
      .in("data", kAllNoBf16)
      .in("indices", kIndices)
      .in("updates", like(0))
      .out("output", like(0))
      .infer(infer_elements)
      .kernel("reference", scatter_elements)
      .in_place(0);
  op("ScatterElements")
      .since(11, 13)
      .attr("axis", 0)
      .in("data", kAllWithBf16)
      .in("indices", kIndices)
      .in("updates", like(0))
      .out("output", like(0))
      .infer(infer_elements)
      .kernel("reference", scatter_elements)
      .in_place(0);
  op("ScatterElements")
      .since(16, 18)
      .attr("axis", 0)
      .attr("reduction", "none")
      .in("data", kAllWithBf16)
      .in("indices", kIndices)
      .in("updates", like(0))
      .out("output", like(0))
      .infer(infer_elements)
      .kernel("reference", scatter_elements)
      .in_place(0);
  op("ScatterND")
      .since(11, 13)
      .in("data", kAllWithBf16)
      .in("indices", DType::i64)
      .in("updates", like(0))
      .out("output", like(0))
      .infer(infer_nd)
      .kernel("reference", scatter_nd)
      .in_place(0);
  op("ScatterND")
      .since(16, 18)
      .attr("reduction", "none")
      .in("data", kAllWithBf16)
      .in("indices", DType::i64)
      .in("updates", like(0))
      .out("output", like(0))
      .infer(infer_nd)
      .kernel("reference", scatter_nd)
      .in_place(0);
}
