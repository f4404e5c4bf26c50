// TopK. Spec: ai.onnx TopK-1 (k is an attribute), -10 (k is an input), -11 (largest, sorted, all
// numbers), -24 (bfloat16). Of equal elements the one with the lower index comes first; NaN counts
// as larger than any number. The result is sorted whether or not that is asked for.

#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

std::int64_t k_of(const Op& op) {
  if (op.row().inputs().size() == 1) return op.attr_int("k");
  const std::vector<std::int64_t> k = op.ints(1);
  if (k.size() != 1) {
    throw invalid("K must be one number").at("input 1").got(std::to_string(k.size()) + " numbers");
  }
  return k[0];
}

void infer(Op& op) {
  Shape shape = op.in_shape(0);
  std::int64_t& extent =
      shape[static_cast<std::size_t>(normalize_axis(op.attr_int("axis"), op.in_rank(0)))];
  const std::int64_t k = k_of(op);
  if (k < 0 || k > extent) {
    throw invalid("there are not that many elements to choose from")
        .expected("k from 0 to " + std::to_string(extent))
        .got(std::to_string(k));
  }
  extent = k;
  op.set_out(0, op.in(0).dtype, shape);
  op.set_out(1, DType::i64, std::move(shape));
}

template <class T>
struct Item {
  T value;
  std::int64_t index;
};

// Whether `a` comes before `b`.
template <class T, bool largest>
struct Before {
  // Whether `later` does not come before `value`, which stands at a lower index; false of NaN.
  static bool is_no_better(T later, T value) { return largest ? later <= value : later >= value; }
  bool operator()(const Item<T>& a, const Item<T>& b) const {
    if (largest ? a.value > b.value : a.value < b.value) return true;
    if (a.value == b.value) return a.index < b.index;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan && b_nan) return a.index < b.index;
    return largest ? a_nan : b_nan;
  }
};

// Whether none of n elements comes before `worst`, plainly: without a branch for each, so that the
// compiler takes vectors.
template <class T, class Before>
bool none_better(const T* x, std::int64_t n, T worst, Before before) {
  int better = 0;
  for (std::int64_t i = 0; i < n; ++i) better |= before.is_no_better(x[i], worst) ? 0 : 1;
  return better == 0;
}

// The first k of x [n], `stride` apart, in their order, as the first of `items` [n].
template <class T, class Before>
void choose(const T* x, std::int64_t n, std::int64_t stride, std::int64_t k, Before before,
            std::vector<Item<T>>& items) {
  const auto first = items.begin();
  if (k > n / 8) {
    for (std::int64_t i = 0; i < n; ++i) first[i] = {x[i * stride], i};
    if (k < n) std::nth_element(first, first + (k - 1), first + n, before);
  } else {
    // Few of many: a heap of the best so far, whose top is the worst of them.
    for (std::int64_t i = 0; i < k; ++i) first[i] = {x[i * stride], i};
    std::make_heap(first, first + k, before);
    constexpr std::int64_t kBlock = 32;
    for (std::int64_t begin = k; begin < n; begin += kBlock) {
      const std::int64_t end = std::min(n, begin + kBlock);
      if (stride == 1 && end == begin + kBlock &&
          none_better(x + begin, kBlock, first->value, before))
        continue;
      for (std::int64_t i = begin; i < end; ++i) {
        const Item<T> item = {x[i * stride], i};
        if (!before(item, *first)) continue;
        std::pop_heap(first, first + k, before);
        first[k - 1] = item;
        std::push_heap(first, first + k, before);
      }
    }
  }
  std::sort(first, first + k, before);
}

Choice reference(Op& op) {
  const AxisSplit split =
      split_at(op.in_shape(0), normalize_axis(op.attr_int("axis"), op.in_rank(0)));
  const std::int64_t k = k_of(op);
  const bool largest = op.row().versions().front() < 11 || op.attr_int("largest") != 0;
  Kernel kernel;
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    kernel = [split, k, largest](Run& run) {
      if (split.outer * k * split.inner == 0) return;
      const auto [outer, n, inner] = split;
      run.pool().parallel_for(outer * inner, grain_for(n * 8),
                              [&, n = n, inner = inner](std::int64_t begin, std::int64_t end) {
                                std::vector<Item<T>> items(static_cast<std::size_t>(n));
                                for (std::int64_t at = begin; at < end; ++at) {
                                  const T* x = run.in<T>(0) + at / inner * n * inner + at % inner;
                                  if (largest) {
                                    choose(x, n, inner, k, Before<T, true>(), items);
                                  } else {
                                    choose(x, n, inner, k, Before<T, false>(), items);
                                  }
                                  const std::int64_t to = at / inner * k * inner + at % inner;
                                  for (std::int64_t i = 0; i < k; ++i) {
                                    const Item<T>& item = items[static_cast<std::size_t>(i)];
                                    if (run.out<T>(0) != nullptr)
                                      run.out<T>(0)[to + i * inner] = item.value;
                                    if (auto* indices = run.out<std::int64_t>(1))
                                      indices[to + i * inner] = item.index;
                                  }
                                }
                              });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

Row& declare(Row& row) {
  return row.out("Values", like(0))
      .out("Indices", DType::i64)
      .attr("axis", -1)
      .infer(infer)
      .kernel("reference", reference);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(topk) {
  declare(op("TopK").since(1).required("k", FormalAttribute::Kind::int_).in("X", kFloats));
  declare(op("TopK").since(10).in("X", kFloats).in("K", DType::i64));
  declare(op("TopK")
              .since(11, 24)
              .attr("largest", 1)
              .attr("sorted", 1)
              .in("X", kNumbers)
              .in("K", DType::i64));
}
