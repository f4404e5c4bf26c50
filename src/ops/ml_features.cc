// Preparing features. Spec: ai.onnx.ml ArrayFeatureExtractor-1, Binarizer-1, FeatureVectorizer-1,
// Imputer-1, Normalizer-1, OneHotEncoder-1, Scaler-1.

#include <cmath>
#include <memory>
#include <unordered_map>

#include "ops/elementwise.h"
#include "ops/movement.h"
#include "ops/scores.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

Error failed(std::string problem) { return Error(ErrorCode::runtime, std::move(problem)); }

void infer_float(Op& op) { op.set_out(0, DType::f32, op.in_shape(0)); }

// A list of one element for all features, or of one for each of `count`.
template <class T>
T element_of(const std::vector<T>& list, std::int64_t feature) {
  return list[list.size() == 1 ? 0 : static_cast<std::size_t>(feature)];
}

template <class T>
void require_features(const std::vector<T>& list, std::int64_t count, const char* name) {
  const auto size = static_cast<std::int64_t>(list.size());
  if (size != 1 && size != count) {
    throw invalid("a list does not fit the features")
        .at("attribute '" + std::string(name) + "'")
        .expected(count == 1 ? "1" : "1 or " + std::to_string(count))
        .got(std::to_string(size));
  }
}

// ---- ArrayFeatureExtractor: along the last axis; one axis alone gives a row

void infer_extractor(Op& op) {
  require_rank(op, 0, 1);
  Shape shape = op.in_shape(0);
  if (shape.size() == 1) shape.insert(shape.begin(), 1);
  shape.back() = element_count(op.in_shape(1));
  op.set_out(0, op.in(0).dtype, std::move(shape));
}

Choice extract(Op& op) {
  const std::int64_t features = op.in_shape(0).back();
  return [features, rows = product(op.in_shape(0), 0, op.in_rank(0) - 1),
          count = product(op.in_shape(1))](Run& run) {
    const auto* index = run.in<std::int64_t>(1);
    for (std::int64_t i = 0; i < count; ++i) {
      if (index[i] >= 0 && index[i] < features) continue;
      throw failed("there is no feature with this index")
          .expected("0 to " + std::to_string(features - 1))
          .got(std::to_string(index[i]));
    }
    with_element(run.op().in(0).dtype, [&](auto element) {
      using Element = decltype(element);
      const Element* x = run.in<Element>(0);
      Element* y = run.out<Element>(0);
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t i = 0; i < count; ++i) *y++ = x[row * features + index[i]];
      }
    });
  };
}

// ---- Binarizer

Choice binarize(Op& op) {
  Choice choice = refuse("no number");
  with_type(FeatureTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    choice = unary_kernel<T, T>(element_count(op.in_shape(0)),
                                [threshold = double{op.attr_float("threshold")}](T x) {
                                  return static_cast<double>(x) > threshold;
                                });
  });
  return choice;
}

// ---- FeatureVectorizer: [N, C] side by side, cut or filled with zeros to the widths of the
// attribute. As in ONNX Runtime an input's further axes are one with its second.

void infer_vectorizer(Op& op) {
  const std::vector<std::int64_t> widths = op.attr_ints("inputdimensions");
  if (static_cast<int>(widths.size()) != op.inputs()) {
    throw invalid("inputdimensions must have an entry for each input")
        .expected(std::to_string(op.inputs()))
        .got(std::to_string(widths.size()));
  }
  std::int64_t width = 0;
  const auto rows = [&](int i) { return op.in_rank(i) == 1 ? 1 : op.in_shape(i)[0]; };
  for (int i = 0; i < op.inputs(); ++i) {
    require_rank(op, i, 1);
    const std::int64_t own = widths[static_cast<std::size_t>(i)];
    if (rows(i) != rows(0) || own < 0) {
      throw invalid("the inputs must have the same number of rows, and widths not negative")
          .at("input " + std::to_string(i))
          .expected(std::to_string(rows(0)) + " rows")
          .got(std::to_string(rows(i)) + " rows and width " + std::to_string(own));
    }
    width = checked_add(width, own);
  }
  op.set_out(0, DType::f32, {rows(0), width});
}

Choice vectorize(Op& op) {
  return [widths = op.attr_ints("inputdimensions"), shape = op.out_shape(0)](Run& run) {
    float* column = run.out<float>(0);
    for (int i = 0; i < run.op().inputs(); ++i) {
      const std::int64_t width = widths[static_cast<std::size_t>(i)];
      const Shape& in = run.op().in_shape(i);
      const std::int64_t own = product(in, in.size() == 1 ? 0 : 1, static_cast<int>(in.size()));
      with_type(FeatureTypes{}, run.op().in(i).dtype, [&](auto type) {
        const auto* x = run.in<decltype(type)>(i);
        for (std::int64_t row = 0; row < shape[0]; ++row) {
          for (std::int64_t j = 0; j < width; ++j) {
            column[row * shape[1] + j] = j < own ? static_cast<float>(x[row * own + j]) : 0.0F;
          }
        }
      });
      column += width;
    }
  };
}

// ---- Imputer

template <class T>
Kernel impute_kernel(const Op& op) {
  using Value = std::conditional_t<std::is_floating_point_v<T>, float, std::int64_t>;
  std::vector<Value> values;
  Value replaced;
  if constexpr (std::is_floating_point_v<T>) {
    values = op.attr_floats("imputed_value_floats");
    replaced = op.attr_float("replaced_value_float");
  } else {
    values = op.attr_ints("imputed_value_int64s");
    replaced = op.attr_int("replaced_value_int64");
  }
  const std::int64_t features = op.in_rank(0) == 0 ? 1 : op.in_shape(0).back();
  require_features(values, features,
                   std::is_floating_point_v<T> ? "imputed_value_floats" : "imputed_value_int64s");
  for (const Value value : values) {
    if constexpr (std::is_same_v<T, std::int32_t>) {
      if (value != static_cast<T>(value)) {
        throw invalid("a value to impute does not fit the input's type")
            .expected("int32")
            .got(std::to_string(value));
      }
    }
  }
  return [values = std::move(values), replaced, features,
          count = element_count(op.in_shape(0))](Run& run) {
    const T* x = run.in<T>(0);
    T* y = run.out<T>(0);
    for (std::int64_t i = 0; i < count; ++i) {
      bool missing = false;
      if constexpr (std::is_floating_point_v<T>) {
        missing = std::isnan(replaced) ? std::isnan(x[i]) : x[i] == static_cast<T>(replaced);
      } else {
        missing = x[i] == replaced;
      }
      y[i] = missing ? static_cast<T>(element_of(values, i % features)) : x[i];
    }
  };
}

Choice impute(Op& op) {
  Choice choice = refuse("no number");
  with_type(FeatureTypes{}, op.in(0).dtype,
            [&](auto type) { choice = impute_kernel<decltype(type)>(op); });
  return choice;
}

// ---- Normalizer. The spec's sums are of magnitudes in L1; L2 keeps the signs (so
// ONNX Runtime and onnx.reference). The maximum is of the numbers themselves.

enum class Norm { max, l1, l2 };

Norm norm_of(const Op& op) {
  const std::string name = op.attr_string("norm");
  if (name == "MAX") return Norm::max;
  if (name == "L1") return Norm::l1;
  if (name == "L2") return Norm::l2;
  throw invalid("an unknown norm").expected("MAX, L1 or L2").got("'" + name + "'");
}

Choice normalize(Op& op) {
  return [norm = norm_of(op), rows = feature_rows(op)](Run& run) {
    run.pool().parallel_for(
        rows.count, std::max<std::int64_t>(4096 / std::max<std::int64_t>(rows.features, 1), 1),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<double> buffer;
          for (std::int64_t row = begin; row < end && rows.features > 0; ++row) {
            const double* x = rows_as(run, rows.features, row, row + 1, buffer);
            double divisor = norm == Norm::max ? *std::max_element(x, x + rows.features) : 0;
            for (std::int64_t i = 0; i < rows.features; ++i) {
              if (norm == Norm::l1) divisor += std::fabs(x[i]);
              if (norm == Norm::l2) divisor += x[i] * x[i];
            }
            if (norm == Norm::l2) divisor = std::sqrt(divisor);
            if (divisor == 0) divisor = 1;
            float* y = run.out<float>(0) + row * rows.features;
            for (std::int64_t i = 0; i < rows.features; ++i) {
              y[i] = static_cast<float>(x[i] / divisor);
            }
          }
        });
  };
}

// ---- OneHotEncoder

void infer_one_hot(Op& op) {
  const bool strings = op.in(0).dtype == DType::string;
  const std::size_t count =
      strings ? op.attr_strings("cats_strings").size() : op.attr_ints("cats_int64s").size();
  if (count == 0) {
    throw invalid("there are no categories for this type of input")
        .expected(strings ? "cats_strings" : "cats_int64s");
  }
  Shape shape = op.in_shape(0);
  shape.push_back(static_cast<std::int64_t>(count));
  op.set_out(0, DType::f32, std::move(shape));
}

template <class Category, class T>
Kernel one_hot_kernel(const Op& op, const std::vector<Category>& categories) {
  auto positions = std::make_shared<std::unordered_map<Category, std::size_t>>();
  for (std::size_t i = 0; i < categories.size(); ++i) (*positions)[categories[i]] = i;
  return [positions, zeros = op.attr_int("zeros") != 0, width = categories.size(),
          count = element_count(op.in_shape(0))](Run& run) {
    float* row = run.out<float>(0);
    std::fill_n(row, static_cast<std::size_t>(count) * width, 0.0F);
    for (std::int64_t i = 0; i < count; ++i, row += width) {
      const T& x = run.in<T>(0)[i];
      auto found = positions->end();
      if constexpr (std::is_floating_point_v<T>) {
        // Truncated; what no integer is, is no category.
        constexpr T kLimit = static_cast<T>(0x1p63);
        if (x >= -kLimit && x < kLimit) found = positions->find(static_cast<std::int64_t>(x));
      } else {
        found = positions->find(x);
      }
      if (found != positions->end()) {
        row[found->second] = 1;
      } else if (!zeros) {
        throw failed("an element is of no category, and the attribute 'zeros' is not set")
            .at("element " + std::to_string(i));
      }
    }
  };
}

Choice one_hot(Op& op) {
  if (op.in(0).dtype == DType::string) {
    return one_hot_kernel<std::string, std::string>(op, op.attr_strings("cats_strings"));
  }
  Choice choice = refuse("no number");
  with_type(FeatureTypes{}, op.in(0).dtype, [&](auto type) {
    choice = one_hot_kernel<std::int64_t, decltype(type)>(op, op.attr_ints("cats_int64s"));
  });
  return choice;
}

// ---- Scaler: (x - offset) * scale. The features are the second axis (of one axis, that).

Choice scale(Op& op) {
  const Shape& shape = op.in_shape(0);
  const int axis = std::min(1, op.in_rank(0) - 1);
  const std::int64_t features = axis < 0 ? 1 : shape[static_cast<std::size_t>(axis)];
  std::vector<float> scales = op.attr_floats("scale"), offsets = op.attr_floats("offset");
  require_features(scales, features, "scale");
  require_features(offsets, features, "offset");
  Choice choice = refuse("no number");
  with_type(FeatureTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    using Wide = std::conditional_t<std::is_same_v<T, float>, float, double>;
    choice = Kernel([scales, offsets, features, inner = product(shape, axis + 1, op.in_rank(0)),
                     count = element_count(shape)](Run& run) {
      const T* x = run.in<T>(0);
      float* y = run.out<float>(0);
      run.pool().parallel_for(count, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t feature = i / inner % features;
          y[i] = static_cast<float>((static_cast<Wide>(x[i]) - element_of(offsets, feature)) *
                                    element_of(scales, feature));
        }
      });
    });
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(ml_features) {
  const std::string domain = "ai.onnx.ml";
  op("ArrayFeatureExtractor", domain)
      .since(1)
      .in("X", kFeatures | DType::string)
      .in("Y", DType::i64)
      .out("Z", like(0))
      .infer(infer_extractor)
      .kernel_by_size(extract);
  op("Binarizer", domain)
      .since(1)
      .attr("threshold", 0.0F)
      .in("X", kFeatures)
      .out("Y", like(0))
      .infer(same_shape)
      .in_place(0)
      .kernel("reference", binarize);
  op("FeatureVectorizer", domain)
      .since(1)
      .attr("inputdimensions", Kind::ints)
      .in("X", kFeatures, Arity::variadic)
      .out("Y", DType::f32)
      .infer(infer_vectorizer)
      .kernel("reference", vectorize);
  op("Imputer", domain)
      .since(1)
      .attr("imputed_value_floats", Kind::floats)
      .attr("imputed_value_int64s", Kind::ints)
      .attr("replaced_value_float", 0.0F)
      .attr("replaced_value_int64", 0)
      .in("X", kFeatures)
      .out("Y", like(0))
      .infer(same_shape)
      .in_place(0)
      .kernel("reference", impute);
  op("Normalizer", domain)
      .since(1)
      .attr("norm", "MAX")
      .in("X", kFeatures)
      .out("Y", DType::f32)
      .infer(infer_float)
      .kernel("reference", normalize);
  op("OneHotEncoder", domain)
      .since(1)
      .attr("cats_int64s", Kind::ints)
      .attr("cats_strings", Kind::strings)
      .attr("zeros", 1)
      .in("X", kFeatures | DType::string)
      .out("Y", DType::f32)
      .infer(infer_one_hot)
      .kernel("hash table", one_hot);
  op("Scaler", domain)
      .since(1)
      .attr("offset", Kind::floats)
      .attr("scale", Kind::floats)
      .in("X", kFeatures)
      .out("Y", DType::f32)
      .infer(infer_float)
      .kernel("reference", scale);
}
