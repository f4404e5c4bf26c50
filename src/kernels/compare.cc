#include "kernels/compare.h"

#include <algorithm>
#include <functional>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/compare.cc"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// Plain loops, of which compilers make the vectors of the target: without it, x86-64 has no
// comparison of 64-bit integers, and they take six times as long.
template <template <class> class F, class T>
void compare(const void* left, bool a_repeats, const void* right, bool b_repeats,
             bool* HWY_RESTRICT y, int64_t n) {
  const T *HWY_RESTRICT a = static_cast<const T*>(left),
                        *HWY_RESTRICT b = static_cast<const T*>(right);
  if (n == 0) return;
  const F<T> truth;
  const T first_a = *a, first_b = *b;
  if (a_repeats && b_repeats) {
    std::fill_n(y, n, truth(first_a, first_b));
  } else if (a_repeats) {
    for (int64_t i = 0; i < n; ++i) y[i] = truth(first_a, b[i]);
  } else if (b_repeats) {
    for (int64_t i = 0; i < n; ++i) y[i] = truth(a[i], first_b);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = truth(a[i], b[i]);
  }
}

template <template <class> class F>
CompareArrays comparison_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return compare<F, float>;
    case DType::f64:
      return compare<F, double>;
    case DType::i32:
      return compare<F, std::int32_t>;
    case DType::i64:
      return compare<F, int64_t>;
    default:
      return nullptr;
  }
}

}  // namespace

CompareArrays find_comparison(Comparison comparison, DType dtype) {
  switch (comparison) {
    case Comparison::equal:
      return comparison_of<std::equal_to>(dtype);
    case Comparison::less:
      return comparison_of<std::less>(dtype);
    case Comparison::less_or_equal:
      return comparison_of<std::less_equal>(dtype);
  }
  return nullptr;
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(find_comparison);
}  // namespace

CompareArrays array_comparison(Comparison comparison, DType dtype) {
  return MEZZO_DISPATCH(find_comparison)(comparison, dtype);
}

}  // namespace mezzo::kernels
#endif
