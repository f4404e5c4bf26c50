// Linear models. Spec: ai.onnx.ml LinearClassifier-1, LinearRegressor-1.
//
// One set of coefficients with two labels is what a binary classifier has: its score is that of the
// second label, which wins where it is positive, and the first label's is 1 - s (so ONNX Runtime;
// the spec is silent).

#include <memory>

#include "kernels/gemm_f32.h"
#include "ops/scores.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
constexpr std::int64_t kGrain = 1 << 12;  // multiply-adds and transforms that are worth a thread

// y = x * coefficients^T + intercepts.
struct Linear {
  FeatureRows rows;
  std::int64_t outputs = 0;
  std::vector<float> coefficients;  // [outputs, features]
  std::vector<float> intercepts;    // [outputs]
};

// `outputs` of 0: as many as there are intercepts, or sets of coefficients.
Linear linear_of(const Op& op, std::int64_t outputs) {
  Linear linear;
  linear.rows = feature_rows(op);
  linear.coefficients = op.attr_floats("coefficients");
  linear.intercepts = op.attr_floats("intercepts");
  const auto given = static_cast<std::int64_t>(linear.coefficients.size());
  if (outputs == 0) outputs = static_cast<std::int64_t>(linear.intercepts.size());
  if (outputs == 0 && linear.rows.features > 0) outputs = given / linear.rows.features;
  if (outputs == 0 || given % outputs != 0 || given / outputs != linear.rows.features) {
    throw invalid("the coefficients do not fit the features")
        .expected(std::to_string(linear.rows.features) + " for each of " + std::to_string(outputs) +
                  " outputs")
        .got(std::to_string(given));
  }
  linear.outputs = outputs;
  if (linear.intercepts.empty()) {
    linear.intercepts.assign(static_cast<std::size_t>(outputs), 0.0F);
  }
  if (static_cast<std::int64_t>(linear.intercepts.size()) != outputs) {
    throw invalid("there must be one intercept for each output")
        .expected(std::to_string(outputs))
        .got(std::to_string(linear.intercepts.size()));
  }
  return linear;
}

// Writes what a row's sums come to.
using Finish = std::function<void(const Run& run, std::int64_t row, std::vector<double>& scores)>;

Kernel in_float32(Linear made, Finish finish) {
  const auto linear = std::make_shared<const Linear>(std::move(made));
  return [linear, finish = std::move(finish)](Run& run) {
    const auto [rows, features] = linear->rows;
    const std::int64_t n = linear->outputs;
    std::vector<float> sums(static_cast<std::size_t>(rows * n));
    kernels::GemmEpilogue epilogue;
    epilogue.col_bias = linear->intercepts.data();
    kernels::gemm(rows, n, features, {run.in<float>(0), features, 1},
                  {linear->coefficients.data(), 1, features}, sums.data(), n, epilogue, run.pool());
    run.pool().parallel_for(rows, std::max<std::int64_t>(kGrain / n, 1),
                            [&](std::int64_t begin, std::int64_t end) {
                              std::vector<double> scores;
                              for (std::int64_t row = begin; row < end; ++row) {
                                scores.assign(sums.begin() + row * n, sums.begin() + (row + 1) * n);
                                finish(run, row, scores);
                              }
                            });
  };
}

Kernel in_float64(Linear made, Finish finish) {
  const auto linear = std::make_shared<const Linear>(std::move(made));
  return [linear, finish = std::move(finish)](Run& run) {
    const std::int64_t rows = linear->rows.count, features = linear->rows.features;
    const std::int64_t cost = std::max<std::int64_t>(linear->outputs * features, 1);
    run.pool().parallel_for(rows, std::max<std::int64_t>(kGrain / cost, 1),
                            [&](std::int64_t begin, std::int64_t end) {
                              std::vector<double> buffer, scores;
                              for (std::int64_t row = begin; row < end; ++row) {
                                const double* x = rows_as(run, features, row, row + 1, buffer);
                                const float* coefficient = linear->coefficients.data();
                                scores.assign(linear->intercepts.begin(), linear->intercepts.end());
                                for (double& score : scores) {
                                  for (std::int64_t i = 0; i < features; ++i)
                                    score += x[i] * *coefficient++;
                                }
                                finish(run, row, scores);
                              }
                            });
  };
}

// ---- regression

void infer_regressor(Op& op) {
  const std::int64_t targets = op.attr_int("targets");
  if (targets < 1) throw invalid("targets must be at least 1").got(std::to_string(targets));
  op.set_out(0, DType::f32, {feature_rows(op).count, targets});
}

Finish regressor(const Op& op) {
  return [transform = post_transform(op.attr_string("post_transform"))](
             const Run& run, std::int64_t row, std::vector<double>& scores) {
    apply(transform, scores);
    std::transform(scores.begin(), scores.end(),
                   run.out<float>(0) + row * static_cast<std::int64_t>(scores.size()),
                   [](double score) { return static_cast<float>(score); });
  };
}

Choice regressor_f32(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  return in_float32(linear_of(op, op.attr_int("targets")), regressor(op));
}

Choice regressor_reference(Op& op) {
  return in_float64(linear_of(op, op.attr_int("targets")), regressor(op));
}

// ---- classification

ClassLabels labels_of(const Op& op) {
  return ClassLabels(op, "classlabels_ints", "classlabels_strings");
}

bool is_pair(const Linear& linear, const ClassLabels& labels) {
  return linear.outputs == 1 && labels.size() == 2;
}

void infer_classifier(Op& op) {
  const Linear linear = linear_of(op, 0);
  const ClassLabels labels = labels_of(op);
  if (labels.size() < linear.outputs) {
    throw invalid("there are not enough labels")
        .expected(std::to_string(linear.outputs))
        .got(std::to_string(labels.size()));
  }
  op.set_out(0, labels.dtype(), {linear.rows.count});
  op.set_out(1, DType::f32, {linear.rows.count, is_pair(linear, labels) ? 2 : linear.outputs});
}

Finish classifier(const Op& op) {
  return [transform = post_transform(op.attr_string("post_transform")), labels = labels_of(op),
          pair = is_pair(linear_of(op, 0), labels_of(op))](const Run& run, std::int64_t row,
                                                           std::vector<double>& scores) {
    if (pair) {
      labels.write(run, 0, row, scores[0] > 0 ? 1 : 0);
      apply_to_pair(transform, Pairing::complement, scores[0], scores);
    } else {
      labels.write(run, 0, row, top_class(scores));
      apply(transform, scores);
    }
    if (!run.op().has_out(1)) return;
    std::transform(scores.begin(), scores.end(),
                   run.out<float>(1) + row * static_cast<std::int64_t>(scores.size()),
                   [](double score) { return static_cast<float>(score); });
  };
}

Choice classifier_f32(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  return in_float32(linear_of(op, 0), classifier(op));
}

Choice classifier_reference(Op& op) { return in_float64(linear_of(op, 0), classifier(op)); }

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(ml_linear) {
  op("LinearClassifier", "ai.onnx.ml")
      .since(1)
      .attr("classlabels_ints", Kind::ints)
      .attr("classlabels_strings", Kind::strings)
      .required("coefficients", Kind::floats)
      .attr("intercepts", Kind::floats)
      .attr("multi_class", 0)
      .attr("post_transform", "NONE")
      .in("X", kFeatures)
      .out("Y", {DType::i64, DType::string})
      .out("Z", DType::f32)
      .infer(infer_classifier)
      .simd_kernel("simd f32", classifier_f32)
      .kernel("reference", classifier_reference);
  op("LinearRegressor", "ai.onnx.ml")
      .since(1)
      .attr("coefficients", Kind::floats)
      .attr("intercepts", Kind::floats)
      .attr("post_transform", "NONE")
      .attr("targets", 1)
      .in("X", kFeatures)
      .out("Y", DType::f32)
      .infer(infer_regressor)
      .simd_kernel("simd f32", regressor_f32)
      .kernel("reference", regressor_reference);
}
