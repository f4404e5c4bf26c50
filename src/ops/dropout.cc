// Dropout. Spec: Dropout-1, -6 (is_test), -7, -10 (the mask is bool), -12 (ratio and training_mode
// are inputs), -13, -22 (types).
//
// Up to opset 10 it always does what inference wants, whatever is_test says: that is how the
// official version converter reads those models, too.

#include <algorithm>

#include "base/convert.h"
#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/random_bits.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

void infer_dropout(Op& op) {
  same_shape(op);
  op.set_out(1, op.opset() >= 10 ? DType::boolean : op.in(0).dtype, op.in_shape(0));
  for (const int i : {1, 2}) {
    if (op.has_in(i) && element_count(op.in_shape(i)) != 1) {
      throw invalid("ratio and training_mode must be scalars").got(to_string(op.in_shape(i)));
    }
  }
}

// Keeps everything: the mask, if asked for, is all ones.
void keep_all(Run& run) {
  const Op& op = run.op();
  const std::int64_t count = element_count(op.in_shape(0));
  copy_all(op.in(0).dtype, run.in_data(0), run.out_data(0), count, run.pool());
  if (run.out_data(1) == nullptr) return;
  if (op.out(1).dtype == DType::boolean) {
    std::fill_n(run.out<bool>(1), count, true);
    return;
  }
  if (count == 0) return;
  const float one = 1;
  const std::int64_t bytes = moved_bytes(op.out(1).dtype);
  auto* mask = run.out<char>(1);
  convert(DType::f32, &one, op.out(1).dtype, mask, 1);
  // What is filled already is copied behind itself.
  for (std::int64_t filled = 1; filled < count;) {
    const std::int64_t more = std::min(filled, count - filled);
    std::copy_n(mask, more * bytes, mask + filled * bytes);
    filled += more;
  }
}

bool is_inference(const Op& op) {
  if (op.opset() < 12 || !op.has_in(2)) return true;
  const Tensor* training = op.constant(2);
  return training != nullptr && !training->values<bool>()[0];
}

Choice inference(Op& op) {
  if (!is_inference(op)) return refuse("training_mode may be true");
  return keep_all;
}

double ratio_of(const Run& run) {
  if (!run.op().has_in(1)) return 0.5;
  const Tensor wide = run.in_tensor(1).to(DType::f64);
  const double ratio = wide.values<double>()[0];
  if (!(ratio >= 0.0 && ratio < 1.0)) {
    throw Error(ErrorCode::runtime, "Dropout's ratio is out of range")
        .expected("0 <= ratio < 1")
        .got(std::to_string(ratio));
  }
  return ratio;
}

template <class T>
void drop(Run& run, double ratio) {
  const Op& op = run.op();
  const auto scale = static_cast<T>(1.0 / (1.0 - ratio));
  RandomBits random = op.has_attr("seed")
                          ? RandomBits(static_cast<std::uint64_t>(op.attr_int("seed")))
                          : RandomBits();
  const T* in = run.in<T>(0);
  T* out = run.out<T>(0);
  bool* mask = run.out<bool>(1);
  const std::int64_t count = element_count(op.in_shape(0));
  for (std::int64_t i = 0; i < count; ++i) {
    const bool kept = random.uniform() >= ratio;
    out[i] = kept ? in[i] * scale : T{0};
    if (mask != nullptr) mask[i] = kept;
  }
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    choice = [](Run& run) {
      const bool training = *run.in<bool>(2);
      const double ratio = training ? ratio_of(run) : 0.0;
      ratio > 0.0 ? drop<T>(run, ratio) : keep_all(run);
    };
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(dropout) {
  op("Dropout")
      .since(1)
      .attr("consumed_inputs", Kind::ints)
      .attr("is_test", 0)
      .attr("ratio", 0.5F)
      .in("data", kFloats)
      .out("output", like(0))
      .out("mask", like(0), Arity::optional)
      .infer(infer_dropout)
      .kernel("inference", inference)
      .view();
  op("Dropout")
      .since(6)
      .attr("is_test", 0)
      .attr("ratio", 0.5F)
      .in("data", kFloats)
      .out("output", like(0))
      .out("mask", like(0), Arity::optional)
      .infer(infer_dropout)
      .kernel("inference", inference)
      .view();
  op("Dropout")
      .since(7)
      .attr("ratio", 0.5F)
      .in("data", kFloats)
      .out("output", like(0))
      .out("mask", like(0), Arity::optional)
      .infer(infer_dropout)
      .kernel("inference", inference)
      .view();
  op("Dropout")
      .since(10)
      .attr("ratio", 0.5F)
      .in("data", kFloats)
      .out("output", like(0))
      .out("mask", DType::boolean, Arity::optional)
      .infer(infer_dropout)
      .kernel("inference", inference)
      .view();
  op("Dropout")
      .since(12, 13, 22)
      .attr("seed", Kind::int_)
      .in("data", kFloatsBf16 | kFloat8)
      .in("ratio", kFloatsBf16 | kFloat8, Arity::optional)
      .in("training_mode", DType::boolean, Arity::optional)
      .out("output", like(0))
      .out("mask", DType::boolean, Arity::optional)
      .infer(infer_dropout)
      .kernel("inference", inference)
      .kernel("reference", reference)
      .in_place(0)
      .random()
      .view_where(is_inference);
}
