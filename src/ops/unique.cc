// Unique: the distinct elements, or slices along an axis. Spec: Unique-11, -28 (types).

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// The tensor as [outer, count, inner]: `count` items of outer * inner elements each. Without an
// axis every element is an item.
struct Items {
  std::int64_t outer = 1, count = 1, inner = 1;
};

Items items_of(const Op& op) {
  const Shape& shape = op.in_shape(0);
  if (!op.has_attr("axis")) return {1, product(shape), 1};
  const int axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  return {product(shape, 0, axis), shape[static_cast<std::size_t>(axis)],
          product(shape, axis + 1, op.in_rank(0))};
}

// A total order, as NumPy sorts: NaN comes last, and all NaN are one; complex by real part first.
template <class T>
int order(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, Complex64> || std::is_same_v<T, Complex128>) {
    const int by_real = order(a.re, b.re);
    return by_real != 0 ? by_real : order(a.im, b.im);
  } else {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) || std::isnan(b)) return int{std::isnan(a)} - int{std::isnan(b)};
    }
    return a < b ? -1 : b < a ? 1 : 0;
  }
}

using Compare = int (*)(const void* data, const Items& items, std::int64_t a, std::int64_t b);

template <class T>
int compare(const void* data, const Items& items, std::int64_t a, std::int64_t b) {
  const auto* elements = static_cast<const T*>(data);
  for (std::int64_t o = 0; o < items.outer; ++o) {
    const T* x = elements + (o * items.count + a) * items.inner;
    const T* y = elements + (o * items.count + b) * items.inner;
    for (std::int64_t i = 0; i < items.inner; ++i) {
      if (const int result = order(x[i], y[i])) return result;
    }
  }
  return 0;
}

struct Found {
  std::vector<std::int64_t> firsts;   // item of first occurrence, by output position
  std::vector<std::int64_t> inverse;  // output position, by item
  std::vector<std::int64_t> counts;   // by output position
};

Found find(const void* data, const Items& items, Compare compare, bool sorted) {
  const auto count = static_cast<std::size_t>(items.count);
  std::vector<std::int64_t> by_value(count);
  std::iota(by_value.begin(), by_value.end(), 0);
  // Stable: the first of equal items is the one that occurs first.
  std::stable_sort(by_value.begin(), by_value.end(),
                   [&](std::int64_t a, std::int64_t b) { return compare(data, items, a, b) < 0; });
  Found found;
  found.inverse.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i == 0 || compare(data, items, by_value[i - 1], by_value[i]) != 0) {
      found.firsts.push_back(by_value[i]);
      found.counts.push_back(0);
    }
    ++found.counts.back();
    found.inverse[static_cast<std::size_t>(by_value[i])] =
        static_cast<std::int64_t>(found.firsts.size()) - 1;
  }
  if (sorted) return found;
  // In order of first occurrence.
  std::vector<std::size_t> order(found.firsts.size()), rank(order.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return found.firsts[a] < found.firsts[b]; });
  Found reordered;
  for (std::size_t i = 0; i < order.size(); ++i) {
    rank[order[i]] = i;
    reordered.firsts.push_back(found.firsts[order[i]]);
    reordered.counts.push_back(found.counts[order[i]]);
  }
  for (const std::int64_t position : found.inverse) {
    reordered.inverse.push_back(
        static_cast<std::int64_t>(rank[static_cast<std::size_t>(position)]));
  }
  return reordered;
}

void infer(Op& op) {
  if (op.has_attr("axis")) normalize_axis(op.attr_int("axis"), op.in_rank(0));
  op.set_out_unknown(0, op.in(0).dtype);
  for (int i = 1; i < 4; ++i) op.set_out_unknown(i, DType::i64);
}

void give_list(Run& run, int i, const std::vector<std::int64_t>& list) {
  if (run.op().has_out(i)) run.give(i, Tensor::of({static_cast<std::int64_t>(list.size())}, list));
}

Choice reference(Op& op) {
  using Ordered =
      Types<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t,
            std::uint16_t, std::uint32_t, std::uint64_t, bool, std::string, Complex64, Complex128>;
  const DType dtype = op.in(0).dtype;
  Compare by_type = nullptr;
  with_type(Ordered{}, dtype, [&](auto type) { by_type = compare<decltype(type)>; });
  if (by_type == nullptr) return refuse("elements of this type have no order");
  return [by_type, dtype, items = items_of(op), sorted = op.attr_int("sorted") != 0](Run& run) {
    const Op& op = run.op();
    const Found found = find(run.in_data(0), items, by_type, sorted);
    const auto count = static_cast<std::int64_t>(found.firsts.size());
    if (op.has_out(0)) {
      Shape shape = {count};
      if (op.has_attr("axis")) {
        shape = op.in_shape(0);
        shape[static_cast<std::size_t>(normalize_axis(op.attr_int("axis"), op.in_rank(0)))] = count;
      }
      void* made = run.allocate(0, dtype, std::move(shape));
      with_element(dtype, [&](auto element) {
        using Element = decltype(element);
        auto* out = static_cast<Element*>(made);
        for (std::int64_t o = 0; o < items.outer; ++o) {
          for (const std::int64_t first : found.firsts) {
            copy_run(run.in<Element>(0) + (o * items.count + first) * items.inner, out,
                     items.inner);
            out += items.inner;
          }
        }
      });
    }
    give_list(run, 1, found.firsts);
    give_list(run, 2, found.inverse);
    give_list(run, 3, found.counts);
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(unique) {
  op("Unique")
      .since(11, 28)
      .attr("axis", FormalAttribute::Kind::int_)
      .attr("sorted", 1)
      .in("X", kAllWithBf16)
      .out("Y", like(0))
      .out("indices", DType::i64, Arity::optional)
      .out("inverse_indices", DType::i64, Arity::optional)
      .out("counts", DType::i64, Arity::optional)
      .infer(infer)
      .kernel("reference", reference);
}
