// What the models of ai.onnx.ml share: rows of features, scores with their post_transform, class
// labels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ops/dispatch.h"
#include "ops/op.h"

namespace mezzo::ops {

/// The element types of features.
using FeatureTypes = Types<float, double, std::int32_t, std::int64_t>;
inline constexpr TypeSet kFeatures = {DType::f32, DType::f64, DType::i32, DType::i64};

/// Input 0 as rows of features. One axis alone is one row.
struct FeatureRows {
  std::int64_t count = 0;
  std::int64_t features = 0;
};
FeatureRows feature_rows(const Op& op);

/// Rows [begin, end) of input 0 as T: where they lie if they are T, else converted into `buffer`.
template <class T>
const T* rows_as(const Run& run, std::int64_t features, std::int64_t begin, std::int64_t end,
                 std::vector<T>& buffer) {
  const DType dtype = run.op().in(0).dtype;
  if (dtype == DTypeOf<T>::value) return run.in<T>(0) + begin * features;
  buffer.resize(static_cast<std::size_t>((end - begin) * features));
  with_type(FeatureTypes{}, dtype, [&](auto type) {
    const auto* from = run.in<decltype(type)>(0) + begin * features;
    std::transform(from, from + (end - begin) * features, buffer.begin(),
                   [](auto x) { return static_cast<T>(x); });
  });
  return buffer.data();
}

/// What is done to the scores of a row. The numbers are TreeEnsemble-5's.
enum class PostTransform { none = 0, softmax = 1, logistic = 2, softmax_zero = 3, probit = 4 };

/// What an attribute `post_transform` says, by name or (TreeEnsemble-5) by number.
PostTransform post_transform(const std::string& name);
PostTransform post_transform(std::int64_t number);

/// Applies it to the scores of a row, in place.
void apply(PostTransform transform, std::vector<double>& scores);

/// What the score of the second of two classes says of the first.
enum class Pairing { complement, negation };  // 1 - s, -s

/// Makes two scores of one, as ONNX Runtime does where the spec is silent: [1 - s, s] or [-s, s];
/// LOGISTIC gives [sigmoid(-s), sigmoid(s)] in either case, PROBIT [probit(1 - s), probit(s)], and
/// the softmax transforms do nothing.
void apply_to_pair(PostTransform transform, Pairing pairing, double score,
                   std::vector<double>& scores);

/// The labels of a classifier's classes.
class ClassLabels {
 public:
  /// From two attributes, of which exactly one must have elements.
  ClassLabels(const Op& op, std::string_view ints, std::string_view strings);

  std::int64_t size() const {
    return static_cast<std::int64_t>(std::max(ints_.size(), strings_.size()));
  }
  DType dtype() const { return strings_.empty() ? DType::i64 : DType::string; }
  const std::vector<std::int64_t>& ints() const { return ints_; }
  const std::vector<std::string>& strings() const { return strings_; }

  /// Writes the label of class `index` at element `row` of output `out`, if the node has that.
  void write(const Run& run, int out, std::int64_t row, std::int64_t index) const;

 private:
  std::vector<std::int64_t> ints_;
  std::vector<std::string> strings_;
};

/// The position of the largest score; of equal ones the first.
inline std::int64_t top_class(const std::vector<double>& scores) {
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

}  // namespace mezzo::ops
