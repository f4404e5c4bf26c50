// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss. Spec: ai.onnx
// NegativeLogLikelihoodLoss-12, -13, -22 and SoftmaxCrossEntropyLoss-12, -13 (bfloat16).
#include <cmath>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum class Reduction { none, mean, sum };

struct Loss {
  bool takes_scores = false;  // not logarithms of probabilities
  Reduction reduction = Reduction::mean;
  bool ignores = false;
  std::int64_t ignored = 0;                       // the class that does not count
  std::int64_t batch = 1, classes = 1, rest = 1;  // of input 0
};

Loss loss_of(const Op& op, bool takes_scores) {
  require_rank(op, 0, 2);
  const Shape& shape = op.in_shape(0);
  Loss loss;
  loss.takes_scores = takes_scores;
  loss.batch = shape[0];
  loss.classes = shape[1];
  loss.rest = product(shape, 2, op.in_rank(0));
  Shape labels = shape;
  labels.erase(labels.begin() + 1);
  if (op.in_shape(1) != labels) {
    throw invalid("there must be one label for each place")
        .at("input 1")
        .expected(to_string(labels))
        .got(to_string(op.in_shape(1)));
  }
  if (op.has_in(2) && op.in_shape(2) != Shape{loss.classes}) {
    throw invalid("there must be one weight for each class")
        .at("input 2")
        .expected(to_string({loss.classes}))
        .got(to_string(op.in_shape(2)));
  }
  const std::string reduction = op.attr_string("reduction");
  if (reduction == "none") {
    loss.reduction = Reduction::none;
  } else if (reduction == "sum") {
    loss.reduction = Reduction::sum;
  } else if (reduction != "mean") {
    throw invalid("an unknown reduction")
        .at("attribute 'reduction'")
        .expected("none, mean or sum")
        .got("'" + reduction + "'");
  }
  loss.ignores = op.has_attr("ignore_index");
  loss.ignored = op.attr_int("ignore_index");
  return loss;
}

void infer(Op& op, bool takes_scores) {
  const Loss loss = loss_of(op, takes_scores);
  op.set_out(0, op.in(0).dtype, loss.reduction == Reduction::none ? op.in_shape(1) : Shape{});
  if (takes_scores) op.set_out(1, op.in(0).dtype, op.in_shape(0));
}

// log(sum(exp(x))) over n elements, `stride` apart.
template <class T>
double log_sum_exp(const T* x, std::int64_t n, std::int64_t stride) {
  double top = x[0], sum = 0;
  for (std::int64_t i = 1; i < n; ++i) top = std::max(top, static_cast<double>(x[i * stride]));
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i * stride] - top);
  return top + std::log(sum);
}

template <class T>
void compute(Run& run, const Loss& loss) {
  const T *x = run.in<T>(0), *weights = run.in<T>(2);
  T *y = run.out<T>(0), *log_probabilities = loss.takes_scores ? run.out<T>(1) : nullptr;
  const std::vector<std::int64_t> labels = run.in_ints(1);
  double sum = 0, total_weight = 0;
  for (std::int64_t i = 0; i < loss.batch * loss.rest && loss.classes > 0; ++i) {
    const std::int64_t at = i / loss.rest * loss.classes * loss.rest + i % loss.rest;
    const double normalizer =
        loss.takes_scores ? log_sum_exp(x + at, loss.classes, loss.rest) : 0.0;
    if (log_probabilities != nullptr) {
      for (std::int64_t c = 0; c < loss.classes; ++c) {
        log_probabilities[at + c * loss.rest] = static_cast<T>(x[at + c * loss.rest] - normalizer);
      }
    }
    const std::int64_t label = labels[static_cast<std::size_t>(i)];
    double value = 0;
    if (!loss.ignores || label != loss.ignored) {
      if (label < 0 || label >= loss.classes) {
        throw Error(ErrorCode::runtime, "a label is out of range")
            .expected("0 to " + std::to_string(loss.classes - 1))
            .got(std::to_string(label));
      }
      const double weight = weights != nullptr ? weights[label] : 1.0;
      value = weight * (normalizer - x[at + label * loss.rest]);
      total_weight += weight;
    }
    sum += value;
    if (loss.reduction == Reduction::none && y != nullptr) y[i] = static_cast<T>(value);
  }
  if (y == nullptr || loss.reduction == Reduction::none) return;
  *y = static_cast<T>(loss.reduction == Reduction::mean ? sum / total_weight : sum);
}

Choice reference(Op& op, bool takes_scores) {
  const Loss loss = loss_of(op, takes_scores);
  if (loss.classes == 0 && loss.batch * loss.rest > 0) return refuse("there are no classes");
  Kernel kernel;
  with_type(FloatTypes{}, op.in(0).dtype,
            [&](auto type) { kernel = [loss](Run& run) { compute<decltype(type)>(run, loss); }; });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

Row& declare(Row& row, bool takes_scores) {
  return row.attr("reduction", "mean")
      .attr("ignore_index", FormalAttribute::Kind::int_)
      .in(takes_scores ? "scores" : "input", kFloatsBf16)
      .in(takes_scores ? "labels" : "target", kIndices)
      .in(takes_scores ? "weights" : "weight", like(0), Arity::optional)
      .out(takes_scores ? "output" : "loss", like(0))
      .infer([takes_scores](Op& op) { infer(op, takes_scores); })
      .kernel("reference", [takes_scores](Op& op) { return reference(op, takes_scores); });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(loss) {
  declare(op("NegativeLogLikelihoodLoss").since(12, 13, 22), false);
  declare(op("SoftmaxCrossEntropyLoss").since(12, 13), true)
      .out("log_prob", like(0), Arity::optional);
}
