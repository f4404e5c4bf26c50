// y = f(x), element by element: how the families of such operators declare them.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernels/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/element_runs.h"
#include "ops/op.h"

namespace mezzo::ops {

/// y[i] = f(x[i]) for i < n. By value: what bytes are written to must not be the pointers.
template <class X, class Y, class F>
void map_run(const X* x, Y* y, std::int64_t n, F f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<Y>(f(x[i]));
}

/// The kernel of y = f(x) with elements X and Y in memory; f's result is cast to Y.
template <class X, class Y, class F>
Kernel unary_kernel(std::int64_t count, F f) {
  return [count, f](Run& run) {
    const X* x = run.in<X>(0);
    Y* y = run.out<Y>(0);
    run.pool().parallel_for(count, kElementwiseGrain / 4,
                            [&](std::int64_t begin, std::int64_t end) {
                              map_run(x + begin, y + begin, end - begin, f);
                            });
  };
}

/// A chooser of y = f(x) for the element types `Ts`, x and y of one type. `make(op)` reads the
/// attributes and gives f.
template <class... Ts, class Make>
Chooser unary_reference(Types<Ts...> types, Make make) {
  return [types, make](Op& op) -> Choice {
    Choice choice = refuse("no plain loop for this element type");
    with_type(types, op.in(0).dtype, [&](auto zero) {
      using T = decltype(zero);
      choice = unary_kernel<T, T>(element_count(op.in_shape(0)), make(std::as_const(op)));
    });
    return choice;
  };
}

/// The same for an f without attributes.
template <class... Ts, class F>
Chooser unary_function(Types<Ts...> types, F f) {
  return unary_reference(types, [f](const Op&) { return f; });
}

/// A chooser of a SIMD function of float32; `args(op)`, where given, reads the attributes.
struct UnaryF32 {
  kernels::Unary function;
  std::function<kernels::UnaryArgs(const Op&)> args = {};

  kernels::UnaryArgs args_of(const Op& op) const { return args ? args(op) : kernels::UnaryArgs{}; }

  Choice operator()(Op& op) const {
    if (op.in(0).dtype != DType::f32) return refuse("not float32");
    return Kernel([function = function, values = args_of(op), runs = ElementRuns(op)](Run& run) {
      runs.each(run, [&](const float* x, float* y, std::int64_t n) {
        kernels::unary(function, values, x, y, n, run.pool());
      });
    });
  }
};

/// `value` as T without undefined behaviour: integers saturate, and NaN gives 0.
template <class T>
T saturate_to(double value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    if (std::isnan(value)) return 0;
    // The type's maximum may round up on its way to double; what reaches that is too much already.
    if (value <= static_cast<double>(std::numeric_limits<T>::lowest())) {
      return std::numeric_limits<T>::lowest();
    }
    if (value >= static_cast<double>(std::numeric_limits<T>::max())) {
      return std::numeric_limits<T>::max();
    }
    return static_cast<T>(value);
  }
}

/// The unsigned type in which arithmetic on the integer type T wraps without being undefined.
template <class T>
using Wrapping =
    std::conditional_t<(sizeof(T) < sizeof(unsigned)), unsigned, std::make_unsigned_t<T>>;

}  // namespace mezzo::ops
