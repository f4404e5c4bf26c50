// Support vector machines. Spec: ai.onnx.ml SVMClassifier-1, SVMRegressor-1.
//
// Where the spec is silent, as ONNX Runtime and LIBSVM have it: between two classes i < j of a
// classifier with support vectors a positive sum is a vote for i, and the label is the class with
// most votes, the first of equal ones. Without prob_a the scores are these sums, [-s, s] of
// two classes (1 - s with a post_transform that is not LOGISTIC). Without support vectors the
// coefficients are those of a linear model.

#include <cmath>
#include <memory>
#include <numeric>

#include "ops/scores.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
constexpr std::int64_t kGrain = 1 << 14;  // multiply-adds that are worth a thread

enum class KernelType { linear, poly, rbf, sigmoid };

KernelType kernel_type(const Op& op) {
  const std::string name = op.attr_string("kernel_type");
  if (name == "LINEAR") return KernelType::linear;
  if (name == "POLY") return KernelType::poly;
  if (name == "RBF") return KernelType::rbf;
  if (name == "SIGMOID") return KernelType::sigmoid;
  throw invalid("an unknown kernel_type")
      .expected("LINEAR, POLY, RBF or SIGMOID")
      .got("'" + name + "'");
}

// K(x, v) for all of a set of vectors v.
class Vectors {
 public:
  Vectors(const Op& op, KernelType type, const std::vector<float>& vectors, std::int64_t count)
      : type_(type), count_(count), features_(feature_rows(op).features) {
    const auto given = static_cast<std::int64_t>(vectors.size());
    if (count < 1 || given % count != 0 || given / count != features_) {
      throw invalid("the support vectors or coefficients do not fit the features")
          .expected(std::to_string(features_) + " for each of " + std::to_string(count))
          .got(std::to_string(given));
    }
    const std::vector<float> parameters = op.attr_floats("kernel_params");
    if (!parameters.empty() && parameters.size() != 3) {
      throw invalid("kernel_params must be gamma, coef0 and degree")
          .got(std::to_string(parameters.size()) + " numbers");
    }
    if (!parameters.empty()) {
      gamma_ = parameters[0];
      coef0_ = parameters[1];
      degree_ = parameters[2];
    }
    by_feature_.resize(vectors.size());
    for (std::int64_t v = 0; v < count; ++v) {
      for (std::int64_t f = 0; f < features_; ++f) {
        by_feature_[static_cast<std::size_t>(f * count + v)] =
            vectors[static_cast<std::size_t>(v * features_ + f)];
      }
    }
  }

  std::int64_t count() const { return count_; }
  std::int64_t features() const { return features_; }

  /// `out` has `count` elements.
  void evaluate(const float* x, double* out) const {
    // Vectors side by side in registers, feature after feature.
    constexpr std::int64_t kBlock = 32;
    for (std::int64_t first = 0; first < count_; first += kBlock) {
      const std::int64_t width = std::min(kBlock, count_ - first);
      float sums[kBlock] = {};
      for (std::int64_t f = 0; f < features_; ++f) {
        const float* vectors = by_feature_.data() + f * count_ + first;
        if (type_ == KernelType::rbf) {
          for (std::int64_t v = 0; v < width; ++v) {
            sums[v] += (x[f] - vectors[v]) * (x[f] - vectors[v]);
          }
        } else {
          for (std::int64_t v = 0; v < width; ++v) sums[v] += x[f] * vectors[v];
        }
      }
      for (std::int64_t v = 0; v < width; ++v) out[first + v] = of_sum(sums[v]);
    }
  }

 private:
  double of_sum(double sum) const {
    switch (type_) {
      case KernelType::poly:
        return std::pow(gamma_ * sum + coef0_, degree_);
      case KernelType::rbf:
        return std::exp(-gamma_ * sum);
      case KernelType::sigmoid:
        return std::tanh(gamma_ * sum + coef0_);
      default:
        return sum;
    }
  }

  KernelType type_;
  std::int64_t count_, features_;
  double gamma_ = 0, coef0_ = 0, degree_ = 0;
  std::vector<float> by_feature_;  // [features, count]
};

void require_length(const std::vector<float>& list, std::int64_t length, const char* name) {
  if (static_cast<std::int64_t>(list.size()) < length) {
    throw invalid("a list of the support vector machine is too short")
        .at("attribute '" + std::string(name) + "'")
        .expected("at least " + std::to_string(length))
        .got(std::to_string(list.size()));
  }
}

// Calls finish(run, row, values) with the values K of each row.
template <class Finish>
Kernel over_rows(const Op& op, Vectors made, Finish made_finish) {
  const auto vectors = std::make_shared<const Vectors>(std::move(made));
  const auto finish = std::make_shared<const Finish>(std::move(made_finish));
  return [vectors, finish, rows = feature_rows(op).count](Run& run) {
    const std::int64_t cost =
        std::max<std::int64_t>(vectors->count() * (vectors->features() + 8), 1);
    run.pool().parallel_for(
        rows, std::max<std::int64_t>(kGrain / cost, 1), [&](std::int64_t begin, std::int64_t end) {
          std::vector<float> buffer;
          std::vector<double> values(static_cast<std::size_t>(vectors->count()));
          auto work = finish->work();
          for (std::int64_t row = begin; row < end; ++row) {
            vectors->evaluate(rows_as(run, vectors->features(), row, row + 1, buffer),
                              values.data());
            (*finish)(run, row, values, work);
          }
        });
  };
}

// ---- regression

void infer_regressor(Op& op) { op.set_out(0, DType::f32, {feature_rows(op).count, 1}); }

class Regressor {
 public:
  explicit Regressor(const Op& op, bool linear)
      : one_class_(op.attr_int("one_class") != 0),
        transform_(post_transform(op.attr_string("post_transform"))) {
    const std::vector<float> rho = op.attr_floats("rho");
    require_length(rho, 1, "rho");
    rho_ = rho[0];
    if (linear) {
      coefficients_ = {1};
      return;
    }
    coefficients_ = op.attr_floats("coefficients");
    require_length(coefficients_, op.attr_int("n_supports"), "coefficients");
  }

  std::vector<double> work() const { return {0}; }

  void operator()(const Run& run, std::int64_t row, const std::vector<double>& values,
                  std::vector<double>& score) const {
    score[0] = std::inner_product(values.begin(), values.end(), coefficients_.begin(), rho_);
    if (one_class_) {
      score[0] = score[0] > 0 ? 1 : -1;
    } else {
      apply(transform_, score);
    }
    run.out<float>(0)[row] = static_cast<float>(score[0]);
  }

 private:
  bool one_class_;
  PostTransform transform_;
  double rho_ = 0;
  std::vector<float> coefficients_;
};

Choice regressor(Op& op) {
  const std::int64_t supports = op.attr_int("n_supports");
  if (supports < 0) throw invalid("n_supports is negative").got(std::to_string(supports));
  Vectors vectors = supports == 0
                        ? Vectors(op, KernelType::linear, op.attr_floats("coefficients"), 1)
                        : Vectors(op, kernel_type(op), op.attr_floats("support_vectors"), supports);
  return over_rows(op, std::move(vectors), Regressor(op, supports == 0));
}

// ---- classification

ClassLabels labels_of(const Op& op) {
  return ClassLabels(op, "classlabels_ints", "classlabels_strings");
}

// The number of support vectors of all classes; 0 of a linear model.
std::int64_t support_count(const Op& op) {
  std::int64_t sum = 0;
  for (const std::int64_t count : op.attr_ints("vectors_per_class")) {
    if (count < 0) throw invalid("vectors_per_class is negative").got(std::to_string(count));
    sum = checked_add(sum, count);
  }
  return sum;
}

std::int64_t pairs_of(std::int64_t classes) { return checked_mul(classes, classes - 1) / 2; }

void infer_classifier(Op& op) {
  const ClassLabels labels = labels_of(op);
  const bool by_pair = support_count(op) > 0 && op.attr_floats("prob_a").empty();
  const std::int64_t rows = feature_rows(op).count, classes = labels.size();
  op.set_out(0, labels.dtype(), {rows});
  op.set_out(1, DType::f32, {rows, by_pair && classes > 2 ? pairs_of(classes) : classes});
}

void write_scores(const Run& run, std::int64_t row, const std::vector<double>& scores) {
  if (!run.op().has_out(1)) return;
  std::transform(scores.begin(), scores.end(),
                 run.out<float>(1) + row * static_cast<std::int64_t>(scores.size()),
                 [](double score) { return static_cast<float>(score); });
}

class LinearClassifier {
 public:
  explicit LinearClassifier(const Op& op)
      : labels_(labels_of(op)), transform_(post_transform(op.attr_string("post_transform"))) {
    const std::vector<float> rho = op.attr_floats("rho"), weights = op.attr_floats("coefficients");
    require_length(rho, 1, "rho");
    rho_ = rho[0];
    positive_ = std::all_of(weights.begin(), weights.end(), [](float w) { return w >= 0; });
  }

  std::vector<double> work() const { return {}; }

  void operator()(const Run& run, std::int64_t row, const std::vector<double>& values,
                  std::vector<double>& scores) const {
    scores.assign(values.begin(), values.end());
    for (double& score : scores) score += rho_;
    std::int64_t label = top_class(scores);
    // ONNX Runtime's rule for two classes, of which either score speaks for the second.
    if (labels_.size() == 2) {
      const double top = scores[static_cast<std::size_t>(label)];
      if (positive_ ? top >= 0.5 : top > 0) label = 1;
    }
    labels_.write(run, 0, row, label);
    apply(transform_, scores);
    write_scores(run, row, scores);
  }

 private:
  ClassLabels labels_;
  PostTransform transform_;
  double rho_ = 0;
  bool positive_ = false;
};

class PairwiseClassifier {
 public:
  struct Work {
    std::vector<double> sums, scores, pairwise, gradient;
    std::vector<int> votes;
  };

  explicit PairwiseClassifier(const Op& op)
      : labels_(labels_of(op)),
        transform_(post_transform(op.attr_string("post_transform"))),
        classes_(static_cast<std::size_t>(labels_.size())),
        counts_(op.attr_ints("vectors_per_class")),
        coefficients_(op.attr_floats("coefficients")),
        rho_(op.attr_floats("rho")),
        prob_a_(op.attr_floats("prob_a")),
        prob_b_(op.attr_floats("prob_b")),
        supports_(static_cast<std::size_t>(support_count(op))) {
    if (counts_.size() != classes_ || classes_ < 2) {
      throw invalid("vectors_per_class must have an entry for each of two classes or more")
          .expected(std::to_string(classes_))
          .got(std::to_string(counts_.size()));
    }
    const std::int64_t pairs = pairs_of(labels_.size());
    require_length(coefficients_, checked_mul(support_count(op), labels_.size() - 1),
                   "coefficients");
    require_length(rho_, pairs, "rho");
    if (!prob_a_.empty() || !prob_b_.empty()) {
      require_length(prob_a_, pairs, "prob_a");
      require_length(prob_b_, pairs, "prob_b");
    }
  }

  Work work() const { return {}; }

  void operator()(const Run& run, std::int64_t row, const std::vector<double>& values,
                  Work& work) const {
    vote(values, work);
    const auto most = std::max_element(work.votes.begin(), work.votes.end());
    labels_.write(run, 0, row, most - work.votes.begin());
    if (!prob_a_.empty()) {
      couple(work);
      apply(transform_, work.scores);
    } else if (classes_ == 2) {
      apply_to_pair(transform_,
                    transform_ == PostTransform::none ? Pairing::negation : Pairing::complement,
                    work.sums[0], work.scores);
    } else {
      work.scores = work.sums;
      apply(transform_, work.scores);
    }
    write_scores(run, row, work.scores);
  }

 private:
  // The decision between each pair of classes. Of the coefficients [classes - 1, supports], a
  // column belongs to a support vector and has a row for each class that is not its own.
  void vote(const std::vector<double>& values, Work& work) const {
    work.sums.clear();
    work.votes.assign(classes_, 0);
    std::size_t begin_i = 0;
    for (std::size_t i = 0; i + 1 < classes_; ++i) {
      const std::size_t end_i = begin_i + static_cast<std::size_t>(counts_[i]);
      std::size_t begin_j = end_i;
      for (std::size_t j = i + 1; j < classes_; ++j) {
        const std::size_t end_j = begin_j + static_cast<std::size_t>(counts_[j]);
        const double sum = part(values, j - 1, begin_i, end_i) + part(values, i, begin_j, end_j) +
                           rho_[work.sums.size()];
        work.sums.push_back(sum);
        ++work.votes[sum > 0 ? i : j];
        begin_j = end_j;
      }
      begin_i = end_i;
    }
  }

  double part(const std::vector<double>& values, std::size_t row, std::size_t begin,
              std::size_t end) const {
    double sum = 0;
    for (std::size_t v = begin; v < end; ++v) sum += coefficients_[row * supports_ + v] * values[v];
    return sum;
  }

  // Probabilities p of the classes from those of the pairs, r(i, j) = P(i | i or j): T.-F. Wu,
  // C.-J. Lin, R. C. Weng, "Probability Estimates for Multi-class Classification by Pairwise
  // Coupling" (2004), algorithm 2, with LIBSVM's tolerance and limit. It minimises p'Qp over the
  // simplex, one coordinate after the other, where Q(i, i) is the sum of r(j, i)^2 and Q(i, j) =
  // -r(j, i) r(i, j).
  void couple(Work& work) const {
    constexpr double kLeast = 1e-7;
    constexpr int kMostRounds = 100;
    const std::size_t k = classes_;
    std::vector<double>&p = work.scores, &r = work.pairwise, &qp = work.gradient;
    p.assign(k, 1.0 / static_cast<double>(k));
    r.assign(k * k, 0);
    for (std::size_t i = 0, pair = 0; i < k; ++i) {
      for (std::size_t j = i + 1; j < k; ++j, ++pair) {
        const double exponent = work.sums[pair] * prob_a_[pair] + prob_b_[pair];
        r[i * k + j] = std::clamp(1 / (1 + std::exp(exponent)), kLeast, 1 - kLeast);
        r[j * k + i] = 1 - r[i * k + j];
      }
    }
    const auto q = [&](std::size_t i, std::size_t j) {
      if (i != j) return -r[j * k + i] * r[i * k + j];
      double sum = 0;
      for (std::size_t other = 0; other < k; ++other) sum += r[other * k + i] * r[other * k + i];
      return sum;  // r(i, i) is 0
    };
    for (int round = 0; round < kMostRounds; ++round) {
      qp.assign(k, 0);
      for (std::size_t i = 0; i < k; ++i) {
        for (std::size_t j = 0; j < k; ++j) qp[i] += q(i, j) * p[j];
      }
      double pqp = std::inner_product(p.begin(), p.end(), qp.begin(), 0.0);
      double error = 0;
      for (const double gradient : qp) error = std::max(error, std::fabs(gradient - pqp));
      if (error < 0.005 / static_cast<double>(k)) return;
      for (std::size_t i = 0; i < k; ++i) {
        const double step = (pqp - qp[i]) / q(i, i);
        p[i] += step;
        for (std::size_t j = 0; j < k; ++j) {
          qp[j] = (qp[j] + step * q(j, i)) / (1 + step);
          p[j] /= 1 + step;
        }
        pqp = std::inner_product(p.begin(), p.end(), qp.begin(), 0.0);
      }
    }
  }

  ClassLabels labels_;
  PostTransform transform_;
  std::size_t classes_;
  std::vector<std::int64_t> counts_;
  std::vector<float> coefficients_, rho_, prob_a_, prob_b_;
  std::size_t supports_;
};

Choice classifier(Op& op) {
  const std::int64_t supports = support_count(op);
  if (supports == 0) {
    return over_rows(
        op, Vectors(op, KernelType::linear, op.attr_floats("coefficients"), labels_of(op).size()),
        LinearClassifier(op));
  }
  return over_rows(op, Vectors(op, kernel_type(op), op.attr_floats("support_vectors"), supports),
                   PairwiseClassifier(op));
}

Row& declare(Row& row) {
  return row.since(1)
      .attr("coefficients", Kind::floats)
      .attr("kernel_params", Kind::floats)
      .attr("kernel_type", "LINEAR")
      .attr("post_transform", "NONE")
      .attr("rho", Kind::floats)
      .attr("support_vectors", Kind::floats)
      .in("X", kFeatures);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(ml_svm) {
  declare(op("SVMClassifier", "ai.onnx.ml"))
      .attr("classlabels_ints", Kind::ints)
      .attr("classlabels_strings", Kind::strings)
      .attr("prob_a", Kind::floats)
      .attr("prob_b", Kind::floats)
      .attr("vectors_per_class", Kind::ints)
      .out("Y", {DType::i64, DType::string})
      .out("Z", DType::f32)
      .infer(infer_classifier)
      .kernel("by rows", classifier);
  declare(op("SVMRegressor", "ai.onnx.ml"))
      .attr("n_supports", 0)
      .attr("one_class", 0)
      .out("Y", DType::f32)
      .infer(infer_regressor)
      .kernel("by rows", regressor);
}
