#include "ops/scores.h"

#include <cmath>
#include <numbers>

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

double sigmoid(double x) {
  const double y = 1 / (1 + std::exp(-std::fabs(x)));
  return x < 0 ? 1 - y : y;
}

// sqrt(2) erfinv(2p - 1), with the inverse error function of S. Winitzki, "A handy approximation
// for the error function and its inverse" (2008), a = 0.147: what onnx.reference and ONNX Runtime
// compute, too. Of what is no probability it is NaN.
double probit(double p) {
  constexpr double kA = 0.147;
  const double x = 2 * p - 1;
  const double log = std::log((1 - x) * (1 + x));
  const double half = 2 / (std::numbers::pi * kA) + log / 2;
  const double root = std::sqrt(std::sqrt(half * half - log / kA) - half);
  return std::numbers::sqrt2 * std::copysign(root, x);
}

// With `keep_zeros`, scores of zero stay zero and do not take part.
void softmax(std::vector<double>& scores, bool keep_zeros) {
  constexpr double kZero = 1e-7;
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) {
    const bool zero = keep_zeros && std::fabs(score) <= kZero;
    score = zero ? 0 : std::exp(score - top);
    sum += score;
  }
  if (sum == 0) return;  // all of them are zeros to keep
  for (double& score : scores) score /= sum;
}

}  // namespace

FeatureRows feature_rows(const Op& op) {
  require_rank(op, 0, 1, 2);
  const Shape& shape = op.in_shape(0);
  return {shape.size() == 1 ? 1 : shape[0], shape.back()};
}

PostTransform post_transform(const std::string& name) {
  static constexpr const char* kNames[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<PostTransform>(i);
  }
  throw invalid("an unknown post_transform")
      .expected("NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT")
      .got("'" + name + "'");
}

PostTransform post_transform(std::int64_t number) {
  if (number < 0 || number > static_cast<std::int64_t>(PostTransform::probit)) {
    throw invalid("an unknown post_transform").expected("0 to 4").got(std::to_string(number));
  }
  return static_cast<PostTransform>(number);
}

void apply(PostTransform transform, std::vector<double>& scores) {
  if (scores.empty()) return;
  switch (transform) {
    case PostTransform::none:
      return;
    case PostTransform::softmax:
      return softmax(scores, false);
    case PostTransform::softmax_zero:
      return softmax(scores, true);
    case PostTransform::logistic:
      std::transform(scores.begin(), scores.end(), scores.begin(), sigmoid);
      return;
    case PostTransform::probit:
      std::transform(scores.begin(), scores.end(), scores.begin(), probit);
      return;
  }
}

void apply_to_pair(PostTransform transform, Pairing pairing, double score,
                   std::vector<double>& scores) {
  switch (transform) {
    case PostTransform::logistic:
      scores = {sigmoid(-score), sigmoid(score)};
      return;
    case PostTransform::probit:
      scores = {probit(1 - score), probit(score)};
      return;
    default:
      scores = {pairing == Pairing::complement ? 1 - score : -score, score};
  }
}

ClassLabels::ClassLabels(const Op& op, std::string_view ints, std::string_view strings)
    : ints_(op.attr_ints(ints)), strings_(op.attr_strings(strings)) {
  if (ints_.empty() == strings_.empty()) {
    throw invalid("the labels must be either integers or strings")
        .expected("one of '" + std::string(ints) + "' and '" + std::string(strings) + "'")
        .got(ints_.empty() ? "neither" : "both");
  }
}

void ClassLabels::write(const Run& run, int out, std::int64_t row, std::int64_t index) const {
  if (!run.op().has_out(out)) return;
  const auto i = static_cast<std::size_t>(index);
  if (strings_.empty()) {
    run.out<std::int64_t>(out)[row] = ints_[i];
  } else {
    run.out<std::string>(out)[row] = strings_[i];
  }
}

}  // namespace mezzo::ops
