// Max, Min, Sum and Mean of any number of tensors. Spec: ai.onnx Max/Min-1/6/8/12/13,
// Sum/Mean-1/6/8/13. They broadcast since opset 8; before, all shapes are equal.

#include "ops/broadcast_f32.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using kernels::Binary;

// NaN wins, as in numpy.maximum.
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a)) return a;
      if (std::isnan(b)) return b;
    }
    return a < b ? b : a;
  }
};

struct Min {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a)) return a;
      if (std::isnan(b)) return b;
    }
    return b < a ? b : a;
  }
};

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};

// Inputs are folded from the left: a first step combines inputs 0 and 1 into the output, the next
// combines that with input 2, ... One input alone is combined with nothing: copied.
std::vector<BroadcastLoop> folding(const Op& op) {
  const Shape& out = op.out_shape(0);
  std::vector<BroadcastLoop> loops;
  for (int i = 1; i < op.inputs(); ++i) {
    loops.emplace_back(std::vector<Shape>{i == 1 ? op.in_shape(0) : out, op.in_shape(i)}, out);
  }
  return loops;
}

template <class T>
void scale(T* y, std::int64_t n, int inputs, ThreadPool& pool) {
  pool.parallel_for(n, kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] /= static_cast<T>(inputs);
  });
}

template <class T>
void copy_first(Run& run) {
  std::copy_n(run.in<T>(0), element_count(run.op().in_shape(0)), run.out<T>(0));
}

template <class F, class T>
Kernel fold(const Op& op, bool mean) {
  return [loops = folding(op), mean](Run& run) {
    T* y = run.out<T>(0);
    if (loops.empty()) return copy_first<T>(run);
    for (std::size_t step = 0; step < loops.size(); ++step) {
      const T* a = step == 0 ? run.in<T>(0) : y;
      const T* b = run.in<T>(static_cast<int>(step) + 1);
      const BroadcastLoop& loop = loops[step];
      loop.run(run.pool(), [&](const std::int64_t* at, std::int64_t to, std::int64_t n) {
        apply_run(F{}, a + at[0], loop.step(0), b + at[1], loop.step(1), y + to, n);
      });
    }
    static_cast<void>(mean);  // of integers there is none
    if constexpr (std::is_floating_point_v<T>) {
      if (mean) scale(y, loops[0].size(), run.op().inputs(), run.pool());
    }
  };
}

template <class F, class TypeList>
Choice reference(Op& op, bool mean = false) {
  Choice choice = refuse("no plain loop for this element type");
  with_type(TypeList{}, op.in(0).dtype,
            [&](auto zero) { choice = fold<F, decltype(zero)>(op, mean); });
  return choice;
}

// Elements that all steps take before the next: they stay in L1.
constexpr std::int64_t kBlock = 2048;

Choice fold_f32(Op& op, Binary kernel, bool mean) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  std::vector<kernels::Broadcast> steps;
  for (const BroadcastLoop& loop : folding(op)) {
    const std::optional<kernels::Broadcast> step = broadcast_of(loop);
    if (!step) return refuse("a broadcast that is neither of a scalar, a row nor a column");
    steps.push_back(*step);
  }
  return Kernel([steps, kernel, mean, size = element_count(op.out_shape(0))](Run& run) {
    if (steps.empty()) return copy_first<float>(run);
    const auto ranges = kernels::RangeKernels::find();
    const auto inputs = static_cast<float>(run.op().inputs());
    run.pool().parallel_for(size, kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin; at < end; at += kBlock) {
        const std::int64_t n = std::min(kBlock, end - at);
        float* y = run.out<float>(0) + at;
        for (std::size_t step = 0; step < steps.size(); ++step) {
          const auto *a = run.in<float>(0), *b = run.in<float>(static_cast<int>(step) + 1);
          if (!steps[step].repeats_a()) a += at;
          if (!steps[step].repeats_b()) b += at;
          ranges.binary(kernel, steps[step], step == 0 ? a : y, b, y, at, n);
        }
        if (mean)
          ranges.binary(Binary::div, {kernels::Broadcast::Form::scalar}, y, &inputs, y, at, n);
      }
    });
  });
}

void infer_variadic(Op& op) {
  for (int i = 0; i < op.inputs(); ++i) {
    if (!op.has_in(i)) throw invalid("an input is omitted").expected("all inputs given");
  }
  if (op.inputs() == 0) throw invalid("no inputs").expected("at least one");
  broadcast_shape(op);
}

void declare(Registry& op, const char* name, const char* out, TypeSet types, Binary simd, bool mean,
             const Chooser& plain) {
  const auto row = [&](TypeSet set) -> Row& {
    return op(name)
        .in("data_0", set, Arity::variadic)
        .out(out, like(0))
        .infer(infer_variadic)
        .simd_kernel("simd f32", [simd, mean](Op& node) { return fold_f32(node, simd, mean); })
        .kernel("reference", plain);
  };
  row(kFloats).since(1).attr("consumed_inputs", Kind::ints);
  if (types.contains(DType::i32)) {
    row(types).since(6, 8, 12, 13);
  } else {
    row(types).since(6, 8, 13);
  }
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(variadic) {
  declare(op, "Max", "max", kNumbers, Binary::max, false,
          [](Op& node) { return reference<Max, NumberTypes>(node); });
  declare(op, "Min", "min", kNumbers, Binary::min, false,
          [](Op& node) { return reference<Min, NumberTypes>(node); });
  declare(op, "Sum", "sum", kFloatsBf16, Binary::add, false,
          [](Op& node) { return reference<Add, FloatTypes>(node); });
  declare(op, "Mean", "mean", kFloatsBf16, Binary::add, true,
          [](Op& node) { return reference<Add, FloatTypes>(node, true); });
}
