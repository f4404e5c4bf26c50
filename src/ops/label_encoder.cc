// Maps from elements to elements. Spec: ai.onnx.ml LabelEncoder-1 (strings and their positions),
// -2 (lists of keys and values), -4 (tensors, too), CategoryMapper-1.
//
// Of equal keys the last counts in version 4, as the spec says, and in CategoryMapper; the first in
// the older versions of LabelEncoder, as in ONNX Runtime. Float keys are compared by their bits in
// version 2; in version 4 -0 equals 0, and any NaN any NaN.

#include <bit>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "ops/dispatch.h"
#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
constexpr TypeSet kTypes1 = {DType::i64, DType::string};
constexpr TypeSet kTypes2 = kTypes1 | DType::f32;
constexpr TypeSet kTypes4 = kTypes2 | TypeSet{DType::f64, DType::i16, DType::i32};

using KeyTypes = Types<float, double, std::int16_t, std::int32_t, std::int64_t, std::string>;

enum class Repeated { first, last };
enum class FloatKeys { by_bits, by_value };

// Numbers are looked up by what is the same for all that count as equal.
template <class T>
auto normal_form(const T& key, FloatKeys floats) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    T value = key;
    if (floats == FloatKeys::by_value && std::isnan(value)) {
      value = std::numeric_limits<T>::quiet_NaN();
    } else if (floats == FloatKeys::by_value && value == 0) {
      value = 0;
    }
    return std::bit_cast<Bits>(value);
  } else {
    return key;
  }
}

struct Mapping {
  Tensor keys, values;  // [n] each
  Tensor fallback;      // one element
  Repeated repeated = Repeated::first;
  FloatKeys floats = FloatKeys::by_bits;
};

template <class T>
Kernel map_kernel(const Mapping& mapping, std::int64_t count) {
  using Form = decltype(normal_form(T(), FloatKeys::by_bits));
  auto positions = std::make_shared<std::unordered_map<Form, std::int64_t>>();
  std::int64_t position = 0;
  for (const T& key : mapping.keys.values<T>()) {
    const auto [found, is_new] = positions->try_emplace(normal_form(key, mapping.floats), position);
    if (!is_new && mapping.repeated == Repeated::last) found->second = position;
    ++position;
  }
  return [positions, count, mapping](Run& run) {
    with_element(mapping.values.dtype(), [&](auto element) {
      using Element = decltype(element);
      const auto* values = static_cast<const Element*>(mapping.values.data());
      const auto& fallback = *static_cast<const Element*>(mapping.fallback.data());
      for (std::int64_t i = 0; i < count; ++i) {
        const auto found = positions->find(normal_form(run.in<T>(0)[i], mapping.floats));
        run.out<Element>(0)[i] = found != positions->end() ? values[found->second] : fallback;
      }
    });
  };
}

Choice choose(const Op& op, const Mapping& mapping) {
  Choice choice = refuse("no such keys");
  with_type(KeyTypes{}, op.in(0).dtype, [&](auto type) {
    choice = map_kernel<decltype(type)>(mapping, element_count(op.in_shape(0)));
  });
  return choice;
}

template <class T>
Tensor list_tensor(const std::vector<T>& list) {
  return Tensor::of({static_cast<std::int64_t>(list.size())}, list);
}

// ---- LabelEncoder-1 and CategoryMapper: strings to integers and back

void infer_other(Op& op) {
  op.set_out(0, op.in(0).dtype == DType::string ? DType::i64 : DType::string, op.in_shape(0));
}

Mapping between(const Op& op, Tensor ints, Tensor strings, Repeated repeated) {
  if (ints.size() != strings.size()) {
    throw invalid("there must be as many integers as strings")
        .expected(std::to_string(strings.size()))
        .got(std::to_string(ints.size()));
  }
  Mapping mapping;
  mapping.repeated = repeated;
  if (op.in(0).dtype == DType::string) {
    mapping.keys = std::move(strings);
    mapping.values = std::move(ints);
    mapping.fallback = Tensor::scalar(op.attr_int("default_int64"));
  } else {
    mapping.keys = std::move(ints);
    mapping.values = std::move(strings);
    mapping.fallback = Tensor::scalar(op.attr_string("default_string"));
  }
  return mapping;
}

Choice by_position(Op& op) {
  const std::vector<std::string> classes = op.attr_strings("classes_strings");
  std::vector<std::int64_t> positions(classes.size());
  std::iota(positions.begin(), positions.end(), std::int64_t{0});
  return choose(op, between(op, list_tensor(positions), list_tensor(classes), Repeated::first));
}

Choice category_mapper(Op& op) {
  return choose(op, between(op, list_tensor(op.attr_ints("cats_int64s")),
                            list_tensor(op.attr_strings("cats_strings")), Repeated::last));
}

// ---- LabelEncoder-2, -4

// The one of keys_floats, keys_int64s, keys_strings and keys_tensor that is given, or of the
// values.
Tensor given_list(const Op& op, const std::string& prefix) {
  std::vector<Tensor> given;
  const auto add = [&](Tensor list) {
    if (list.size() > 0) given.push_back(std::move(list));
  };
  add(list_tensor(op.attr_floats(prefix + "_floats")));
  add(list_tensor(op.attr_ints(prefix + "_int64s")));
  add(list_tensor(op.attr_strings(prefix + "_strings")));
  if (op.declares(prefix + "_tensor")) {
    if (const Tensor* tensor = op.attr_tensor(prefix + "_tensor")) {
      // A copy: the file may have it misaligned.
      add(tensor->clone().reshaped({tensor->size()}));
    }
  }
  if (given.size() != 1 || !kTypes4.contains(given[0].dtype())) {
    throw invalid("the lists of a LabelEncoder are wrong")
        .expected("exactly one of " + prefix + "_floats, _int64s, _strings, _tensor")
        .got(given.size() == 1 ? std::string(name_of(given[0].dtype()))
                               : std::to_string(given.size()) + " of them");
  }
  return given[0];
}

Tensor fallback_for(const Op& op, DType dtype) {
  if (op.declares("default_tensor")) {
    if (const Tensor* tensor = op.attr_tensor("default_tensor")) {
      if (tensor->size() != 1 || tensor->dtype() != dtype) {
        throw invalid("default_tensor does not fit the values")
            .expected("one element of " + std::string(name_of(dtype)))
            .got(std::string(name_of(tensor->dtype())) + to_string(tensor->shape()));
      }
      return tensor->clone();
    }
  }
  if (dtype == DType::string) return Tensor::scalar(op.attr_string("default_string"));
  // The defaults of tensors of other types are said by the spec alone: -1 and -0.
  if (dtype == DType::f64) return Tensor::scalar(-0.0);
  if (dtype == DType::f32) return Tensor::scalar(op.attr_float("default_float"));
  if (dtype == DType::i64) return Tensor::scalar(op.attr_int("default_int64"));
  return Tensor::scalar(std::int64_t{-1}).to(dtype);
}

Mapping mapping_of(const Op& op) {
  Mapping mapping;
  mapping.keys = given_list(op, "keys");
  mapping.values = given_list(op, "values");
  if (mapping.keys.size() != mapping.values.size()) {
    throw invalid("there must be as many keys as values")
        .expected(std::to_string(mapping.keys.size()))
        .got(std::to_string(mapping.values.size()));
  }
  if (mapping.keys.dtype() != op.in(0).dtype) {
    throw invalid("the keys do not have the type of the input")
        .expected(std::string(name_of(op.in(0).dtype)))
        .got(std::string(name_of(mapping.keys.dtype())));
  }
  mapping.fallback = fallback_for(op, mapping.values.dtype());
  if (op.row().versions().front() >= 4) {
    mapping.repeated = Repeated::last;
    mapping.floats = FloatKeys::by_value;
  }
  return mapping;
}

void infer_encoder(Op& op) { op.set_out(0, mapping_of(op).values.dtype(), op.in_shape(0)); }

Choice encode(Op& op) { return choose(op, mapping_of(op)); }

Row& declare_lists(Row& row) {
  for (const char* prefix : {"keys", "values"}) {
    row.attr(std::string(prefix) + "_floats", Kind::floats)
        .attr(std::string(prefix) + "_int64s", Kind::ints)
        .attr(std::string(prefix) + "_strings", Kind::strings);
  }
  return row.attr("default_float", -0.0F)
      .attr("default_int64", -1)
      .attr("default_string", "_Unused")
      .infer(infer_encoder)
      .kernel("hash table", encode);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(label_encoder) {
  op("LabelEncoder", "ai.onnx.ml")
      .since(1)
      .attr("classes_strings", Kind::strings)
      .attr("default_int64", -1)
      .attr("default_string", "_Unused")
      .in("X", kTypes1)
      .out("Y", kTypes1)
      .infer(infer_other)
      .kernel("hash table", by_position);
  declare_lists(op("LabelEncoder", "ai.onnx.ml").since(2).in("X", kTypes2).out("Y", kTypes2));
  declare_lists(op("LabelEncoder", "ai.onnx.ml")
                    .since(4)
                    .attr("default_tensor", Kind::tensor)
                    .attr("keys_tensor", Kind::tensor)
                    .attr("values_tensor", Kind::tensor)
                    .in("X", kTypes4)
                    .out("Y", kTypes4));
  op("CategoryMapper", "ai.onnx.ml")
      .since(1)
      .attr("cats_int64s", Kind::ints)
      .attr("cats_strings", Kind::strings)
      .attr("default_int64", -1)
      .attr("default_string", "_Unused")
      .in("X", kTypes1)
      .out("Y", kTypes1)
      .infer(infer_other)
      .kernel("hash table", category_mapper);
}
