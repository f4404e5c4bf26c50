// Forests of decision trees. Spec: ai.onnx.ml TreeEnsembleClassifier-1, -3 (doubles in tensors), -5
// (deprecated, unchanged), TreeEnsembleRegressor-1, -3, -5 (the same), TreeEnsemble-5 (leaves apart
// from nodes, sets).
//
// Of two classes where only one is ever voted for, the spec says nothing; the result is ONNX
// Runtime's (see class Classifier).

#include <array>
#include <functional>
#include <memory>

#include "ops/scores.h"
#include "ops/shapes.h"
#include "ops/tree_tables.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
constexpr std::int64_t kMostTotals = 1 << 16;  // of the rows that a thread has in hand
constexpr std::int64_t kMostRows = 64;

// Takes the totals of a row's votes, which it may use up, and writes the outputs.
using Finish = std::function<void(const Run& run, std::int64_t row, std::vector<double>& totals)>;

template <class T>
void finish_rows(const Run& run, const Forest<T>& forest, const Finish& finish, std::int64_t begin,
                 std::int64_t end, const std::vector<double>& totals, std::vector<double>& scores) {
  for (std::int64_t row = begin; row < end; ++row) {
    const auto first = totals.begin() + (row - begin) * forest.targets();
    scores.assign(first, first + forest.targets());
    finish(run, row, scores);
  }
}

template <class T>
void evaluate_block(const Run& run, const Forest<T>& forest, const FeatureRows& rows,
                    const Finish& finish, std::int64_t begin, std::int64_t end) {
  const std::int64_t targets = forest.targets();
  const std::int64_t block = std::clamp(kMostTotals / targets, std::int64_t{1}, kMostRows);
  std::vector<T> buffer;
  std::vector<double> totals(static_cast<std::size_t>(std::min(block, end - begin) * targets));
  std::vector<double> scores;
  for (std::int64_t first = begin; first < end; first += block) {
    const std::int64_t last = std::min(first + block, end);
    const T* x = rows_as(run, rows.features, first, last, buffer);
    forest.evaluate(x, last - first, totals.data());
    finish_rows(run, forest, finish, first, last, totals, scores);
  }
}

template <class T>
Kernel forest_kernel(const ForestTables& tables, Aggregate aggregate, std::int64_t targets,
                     FeatureRows rows, Finish finish) {
  // Shared: kernels are copied.
  const auto forest = std::make_shared<const Forest<T>>(tables, aggregate, targets, rows.features);
  return [forest, rows, finish = std::move(finish)](Run& run) {
    if (forest->prefers_trees(rows.count)) {
      std::vector<T> buffer;
      std::vector<double> totals(static_cast<std::size_t>(rows.count * forest->targets())), scores;
      const T* x = rows_as(run, rows.features, 0, rows.count, buffer);
      forest->evaluate_by_trees(x, rows.count, totals.data(), run.pool());
      return finish_rows(run, *forest, finish, 0, rows.count, totals, scores);
    }
    run.pool().parallel_for(rows.count, forest->grain(), [&](std::int64_t begin, std::int64_t end) {
      evaluate_block(run, *forest, rows, finish, begin, end);
    });
  };
}

// float32 is compared as it is, everything else in double.
Kernel forest_kernel(const Op& op, const ForestTables& tables, Aggregate aggregate,
                     std::int64_t targets, Finish finish) {
  const FeatureRows rows = feature_rows(op);
  return op.in(0).dtype == DType::f32
             ? forest_kernel<float>(tables, aggregate, targets, rows, std::move(finish))
             : forest_kernel<double>(tables, aggregate, targets, rows, std::move(finish));
}

std::vector<double> base_values(const Op& op, std::int64_t targets, bool one_will_do) {
  std::vector<double> base = float_list(op, "base_values");
  const auto size = static_cast<std::int64_t>(base.size());
  if (size != 0 && size != targets && !(size == 1 && one_will_do)) {
    throw invalid("base_values has the wrong length")
        .expected(std::to_string(targets))
        .got(std::to_string(size));
  }
  return base;
}

void add(const std::vector<double>& base, std::vector<double>& scores) {
  for (std::size_t i = 0; i < base.size(); ++i) scores[i] += base[i];
}

// ---- regression

std::int64_t target_count(const Op& op) {
  const std::int64_t targets = op.attr_int("n_targets");
  if (targets < 1) throw invalid("n_targets must be at least 1").got(std::to_string(targets));
  return targets;
}

void infer_regressor(Op& op) {
  op.set_out(0, op.declares("leaf_weights") ? op.in(0).dtype : DType::f32,
             {feature_rows(op).count, target_count(op)});
}

template <class T>
Finish regressor_finish(std::vector<double> base, PostTransform transform) {
  return [base = std::move(base), transform](const Run& run, std::int64_t row,
                                             std::vector<double>& scores) {
    add(base, scores);
    apply(transform, scores);
    std::transform(scores.begin(), scores.end(),
                   run.out<T>(0) + row * static_cast<std::int64_t>(scores.size()),
                   [](double score) { return static_cast<T>(score); });
  };
}

Aggregate aggregate_by_name(const std::string& name) {
  static constexpr std::array kNames = {"AVERAGE", "SUM", "MIN", "MAX"};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<Aggregate>(i);
  }
  throw invalid("an unknown aggregate_function")
      .expected("AVERAGE, SUM, MIN or MAX")
      .got("'" + name + "'");
}

Choice regressor(Op& op) {
  const std::int64_t targets = target_count(op);
  return forest_kernel(op, tables_by_id(op, "target"),
                       aggregate_by_name(op.attr_string("aggregate_function")), targets,
                       regressor_finish<float>(base_values(op, targets, false),
                                               post_transform(op.attr_string("post_transform"))));
}

Choice ensemble(Op& op) {
  if (op.in(0).dtype != DType::f32 && op.in(0).dtype != DType::f64) {
    return refuse("computed in float32");
  }
  const std::int64_t aggregate = op.attr_int("aggregate_function");
  if (aggregate < 0 || aggregate > static_cast<std::int64_t>(Aggregate::max)) {
    throw invalid("an unknown aggregate_function")
        .expected("0 to 3")
        .got(std::to_string(aggregate));
  }
  const PostTransform transform = post_transform(op.attr_int("post_transform"));
  return forest_kernel(op, tables_by_index(op), static_cast<Aggregate>(aggregate), target_count(op),
                       op.in(0).dtype == DType::f32 ? regressor_finish<float>({}, transform)
                                                    : regressor_finish<double>({}, transform));
}

// ---- classification

ClassLabels labels_of(const Op& op) {
  return ClassLabels(op, "classlabels_int64s", "classlabels_strings");
}

void infer_classifier(Op& op) {
  const ClassLabels labels = labels_of(op);
  const std::int64_t rows = feature_rows(op).count;
  op.set_out(0, labels.dtype(), {rows});
  op.set_out(1, DType::f32, {rows, labels.size()});
}

// Scores and label of a row. Usually the label is that of the largest score. Where there are two
// classes and all votes are for one of them, the spec doesn't say what the score of the other is.
// As in ONNX Runtime, the votes speak for the second label if they exceed a half, or zero where
// some are negative. Votes for class 0 (what the exporters write) give [1 - s, s] or [-s, s],
// votes for class 1, or with two base values, leave the other score at zero.
class Classifier {
 public:
  Classifier(const Op& op, const std::vector<ForestTables::Vote>& votes)
      : labels_(labels_of(op)),
        base_(base_values(op, labels_.size(), labels_.size() == 2)),
        transform_(post_transform(op.attr_string("post_transform"))),
        in_float_(op.has_attr("class_weights")) {
    bool negative = false, one_class = labels_.size() == 2 && !votes.empty();
    for (const ForestTables::Vote& vote : votes) {
      negative = negative || vote.weight < 0;
      one_class = one_class && vote.target == votes.front().target;
    }
    if (one_class) voted_ = votes.front().target;
    if (negative) {
      threshold_ = 0;
      pairing_ = Pairing::negation;
    }
  }

  void operator()(const Run& run, std::int64_t row, std::vector<double>& scores) const {
    std::int64_t label = 0;
    if (voted_ < 0) {
      add(base_, scores);
      round(scores);
      label = top_class(scores);
      apply(transform_, scores);
    } else {
      const auto voted = static_cast<std::size_t>(voted_);
      if (voted < base_.size()) scores[voted] += base_[voted];
      round(scores);
      label = scores[voted] > threshold_ ? 1 : 0;
      if (voted == 0 && base_.size() < 2) {
        apply_to_pair(transform_, pairing_, scores[0], scores);
      } else {
        apply(transform_, scores);
      }
    }
    labels_.write(run, 0, row, label);
    if (!run.op().has_out(1)) return;
    std::transform(scores.begin(), scores.end(), run.out<float>(1) + row * labels_.size(),
                   [](double score) { return static_cast<float>(score); });
  }

 private:
  // Weights that were rounded to float make sums that are wrong in the last bits of a double; a tie
  // must stay one.
  void round(std::vector<double>& scores) const {
    if (!in_float_) return;
    for (double& score : scores) score = static_cast<float>(score);
  }

  ClassLabels labels_;
  std::vector<double> base_;
  PostTransform transform_;
  bool in_float_;
  std::int64_t voted_ = -1;  // the one of two classes that has all votes, or -1
  double threshold_ = 0.5;
  Pairing pairing_ = Pairing::complement;
};

Choice classifier(Op& op) {
  const ForestTables tables = tables_by_id(op, "class");
  Classifier finish(op, tables.votes);
  return forest_kernel(op, tables, Aggregate::sum, labels_of(op).size(), std::move(finish));
}

// ---- rows

// The attributes that versions 1 and 3 of both operators share; `tensors` for version 3.
Row& declare_nodes(Row& row, bool tensors) {
  for (const char* name :
       {"nodes_falsenodeids", "nodes_featureids", "nodes_missing_value_tracks_true",
        "nodes_nodeids", "nodes_treeids", "nodes_truenodeids"}) {
    row.attr(name, Kind::ints);
  }
  for (const char* name : {"base_values", "nodes_hitrates", "nodes_values"}) {
    row.attr(name, Kind::floats);
    if (tensors) row.attr(std::string(name) + "_as_tensor", Kind::tensor);
  }
  return row.attr("nodes_modes", Kind::strings).attr("post_transform", "NONE").in("X", kFeatures);
}

Row& declare_votes(Row& row, const std::string& prefix, bool tensors) {
  for (const char* name : {"_ids", "_nodeids", "_treeids"}) row.attr(prefix + name, Kind::ints);
  row.attr(prefix + "_weights", Kind::floats);
  return tensors ? row.attr(prefix + "_weights_as_tensor", Kind::tensor) : row;
}

Row& declare_classifier(Row& row, bool tensors) {
  return declare_votes(declare_nodes(row, tensors), "class", tensors)
      .attr("classlabels_int64s", Kind::ints)
      .attr("classlabels_strings", Kind::strings)
      .out("Y", {DType::i64, DType::string})
      .out("Z", DType::f32)
      .infer(infer_classifier)
      .kernel("flat forest", classifier);
}

Row& declare_regressor(Row& row, bool tensors) {
  return declare_votes(declare_nodes(row, tensors), "target", tensors)
      .attr("aggregate_function", "SUM")
      .attr("n_targets", Kind::int_)
      .out("Y", DType::f32)
      .infer(infer_regressor)
      .kernel("flat forest", regressor);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(ml_tree_ensemble) {
  const std::string domain = "ai.onnx.ml";
  declare_classifier(op("TreeEnsembleClassifier", domain).since(1), false);
  declare_classifier(op("TreeEnsembleClassifier", domain).since(3, 5), true);
  declare_regressor(op("TreeEnsembleRegressor", domain).since(1), false);
  declare_regressor(op("TreeEnsembleRegressor", domain).since(3, 5), true);
  op("TreeEnsemble", domain)
      .since(5)
      .attr("aggregate_function", 1)
      .attr("membership_values", Kind::tensor)
      .attr("n_targets", Kind::int_)
      .attr("nodes_hitrates", Kind::tensor)
      .attr("nodes_missing_value_tracks_true", Kind::ints)
      .attr("post_transform", 0)
      .required("leaf_targetids", Kind::ints)
      .required("leaf_weights", Kind::tensor)
      .required("nodes_falseleafs", Kind::ints)
      .required("nodes_falsenodeids", Kind::ints)
      .required("nodes_featureids", Kind::ints)
      .required("nodes_modes", Kind::tensor)
      .required("nodes_splits", Kind::tensor)
      .required("nodes_trueleafs", Kind::ints)
      .required("nodes_truenodeids", Kind::ints)
      .required("tree_roots", Kind::ints)
      .in("X", kFloats)
      .out("Y", like(0))
      .infer(infer_regressor)
      .kernel("flat forest", ensemble);
}
