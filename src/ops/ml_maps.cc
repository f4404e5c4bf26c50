// Maps and tensors. Spec: ai.onnx.ml CastMap-1, DictVectorizer-1, ZipMap-1.
//
// A map is two tensors, the keys [n] and the values. CastMap and DictVectorizer give a row [1, n],
// as ONNX Runtime does and as exporters rely on (of DictVectorizer the spec says [n]).

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>

#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

Error failed(std::string problem) { return Error(ErrorCode::runtime, std::move(problem)); }

// The two tensors of the map that is input 0, the keys of type `keys`, the values one for each.
struct MapView {
  const Tensor& keys;
  const Tensor& values;
};

MapView map_of(const Run& run, DType keys) {
  const auto* parts = run.in<Tensor>(0);
  if (parts[0].dtype() != keys || parts[1].size() != parts[0].size()) {
    throw failed("the map does not fit the operator")
        .expected("a value for each key, keys of " + std::string(name_of(keys)))
        .got(std::to_string(parts[1].size()) + " values, " + std::to_string(parts[0].size()) +
             " keys of " + std::string(name_of(parts[0].dtype())));
  }
  return {parts[0], parts[1]};
}

// ---- CastMap

enum class Target { to_float, to_int64, to_string };

Target target_of(const Op& op) {
  const std::string name = op.attr_string("cast_to");
  if (name == "TO_FLOAT") return Target::to_float;
  if (name == "TO_INT64") return Target::to_int64;
  if (name == "TO_STRING") return Target::to_string;
  throw invalid("an unknown cast_to")
      .expected("TO_FLOAT, TO_INT64 or TO_STRING")
      .got("'" + name + "'");
}

bool is_sparse(const Op& op) {
  const std::string form = op.attr_string("map_form");
  if (form == "SPARSE") return true;
  if (form == "DENSE") return false;
  throw invalid("an unknown map_form").expected("DENSE or SPARSE").got("'" + form + "'");
}

DType dtype_of(Target target) {
  switch (target) {
    case Target::to_float:
      return DType::f32;
    case Target::to_int64:
      return DType::i64;
    default:
      return DType::string;
  }
}

template <class T>
T number_from(const std::string& text) {
  const std::size_t first = std::min(text.find_first_not_of(" \t\r\n+"), text.size());
  T value = 0;
  const auto [end, error] = std::from_chars(text.data() + first, text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw failed("a string to be cast is no number").got("'" + text + "'");
  }
  return value;
}

// A number with six digits after the point, as printf("%f").
std::string text_of(float value) {
  char buffer[64];  // 39 digits at most stand before the point
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed, 6).ptr;
  return {buffer, end};
}

template <class To, class From>
To cast(const From& from) {
  if constexpr (std::is_same_v<To, From>) {
    return from;
  } else if constexpr (std::is_same_v<From, std::string>) {
    return number_from<To>(from);
  } else if constexpr (std::is_same_v<To, std::string>) {
    return text_of(from);
  } else {
    return saturate_to<To>(from);
  }
}

void infer_cast(Op& op) {
  const DType dtype = dtype_of(target_of(op));
  if (!is_sparse(op)) return op.set_out_unknown(0, dtype);
  const std::int64_t length = op.attr_int("max_map");
  if (length < 1) throw invalid("max_map must be at least 1").got(std::to_string(length));
  op.set_out(0, dtype, {1, length});
}

template <class To, class From>
void cast_map(Run& run, const MapView& map, bool sparse) {
  const auto keys = map.keys.values<std::int64_t>();
  const auto values = map.values.values<From>();
  std::vector<std::size_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  if (!sparse) {
    auto* out = static_cast<To*>(
        run.allocate(0, DTypeOf<To>::value, {1, static_cast<std::int64_t>(order.size())}));
    for (const std::size_t i : order) *out++ = cast<To>(values[i]);
    return;
  }
  const std::int64_t length = run.op().out_shape(0)[1];
  std::fill_n(run.out<To>(0), length, To());
  for (const std::size_t i : order) {
    if (keys[i] < 0) throw failed("a key of a sparse map is negative").got(std::to_string(keys[i]));
    if (keys[i] < length) run.out<To>(0)[keys[i]] = cast<To>(values[i]);
  }
}

Choice cast_kernel(Op& op) {
  return [dtype = dtype_of(target_of(op)), sparse = is_sparse(op)](Run& run) {
    const MapView map = map_of(run, DType::i64);
    const bool known = with_type(Types<float, std::int64_t, std::string>{}, dtype, [&](auto to) {
      const bool castable =
          with_type(Types<float, std::string>{}, map.values.dtype(),
                    [&](auto from) { cast_map<decltype(to), decltype(from)>(run, map, sparse); });
      if (!castable) {
        throw failed("the values of the map cannot be cast")
            .expected("float32 or string")
            .got(std::string(name_of(map.values.dtype())));
      }
    });
    if (!known) throw Error(ErrorCode::internal, "CastMap has no such output");
  };
}

// ---- DictVectorizer

template <class Key>
Kernel vectorizer_kernel(const std::vector<Key>& vocabulary) {
  auto positions = std::make_shared<std::unordered_map<Key, std::size_t>>();
  for (std::size_t i = 0; i < vocabulary.size(); ++i) positions->try_emplace(vocabulary[i], i);
  return [positions, length = static_cast<std::int64_t>(vocabulary.size())](Run& run) {
    const MapView map = map_of(run, DTypeOf<Key>::value);
    const auto keys = map.keys.values<Key>();
    const bool known = with_type(
        Types<float, double, std::int64_t, std::string>{}, map.values.dtype(), [&](auto type) {
          using T = decltype(type);
          const auto values = map.values.values<T>();
          auto* out = static_cast<T*>(run.allocate(0, DTypeOf<T>::value, {1, length}));
          std::fill_n(out, length, T());
          for (std::size_t i = 0; i < keys.size(); ++i) {
            const auto found = positions->find(keys[i]);
            if (found != positions->end()) out[found->second] = values[i];
          }
        });
    if (!known) {
      throw failed("the values of the map have a wrong type")
          .expected("float32, float64, int64 or string")
          .got(std::string(name_of(map.values.dtype())));
    }
  };
}

Choice vectorizer(Op& op) {
  const std::vector<std::int64_t> ints = op.attr_ints("int64_vocabulary");
  const std::vector<std::string> strings = op.attr_strings("string_vocabulary");
  if (ints.empty() == strings.empty()) {
    throw invalid("a DictVectorizer needs one vocabulary")
        .got(ints.empty() ? "none" : "one of integers and one of strings");
  }
  if (strings.empty()) return vectorizer_kernel(ints);
  return vectorizer_kernel(strings);
}

// ---- ZipMap

template <class Key>
Tensor keys_of(const std::vector<Key>& labels) {
  if (std::set<Key>(labels.begin(), labels.end()).size() != labels.size()) {
    throw invalid("a label occurs twice: it cannot be the key of two values");
  }
  return Tensor::of({static_cast<std::int64_t>(labels.size())}, labels);
}

Tensor keys_of(const Op& op) {
  const std::vector<std::int64_t> ints = op.attr_ints("classlabels_int64s");
  const std::vector<std::string> strings = op.attr_strings("classlabels_strings");
  if (ints.empty() == strings.empty()) {
    throw invalid("a ZipMap needs labels, either integers or strings")
        .got(ints.empty() ? "neither" : "both");
  }
  return strings.empty() ? keys_of(ints) : keys_of(strings);
}

void infer_zip(Op& op) {
  require_rank(op, 0, 1, 2);
  const Shape& shape = op.in_shape(0);
  const std::int64_t labels = keys_of(op).size();
  if (shape.back() != labels) {
    throw invalid("there must be a label for each column")
        .expected(std::to_string(labels))
        .got(to_string(shape));
  }
  op.set_out(0, DType::sequence, {shape.size() == 1 ? 1 : shape[0]});
}

Choice zip(Op& op) {
  return [keys = keys_of(op), rows = op.out_shape(0)[0]](Run& run) {
    const auto* x = run.in<float>(0);
    for (std::int64_t row = 0; row < rows; ++row, x += keys.size()) {
      Tensor values = Tensor::uninitialized(DType::f32, {keys.size()});
      std::copy_n(x, keys.size(), values.mutable_values<float>().data());
      run.out<Tensor>(0)[row] = Tensor::map(keys, std::move(values));
    }
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(ml_maps) {
  op("CastMap", "ai.onnx.ml")
      .since(1)
      .attr("cast_to", "TO_FLOAT")
      .attr("map_form", "DENSE")
      .attr("max_map", 1)
      .in("X", DType::map)
      .out("Y", {DType::f32, DType::i64, DType::string})
      .infer(infer_cast)
      .kernel("reference", cast_kernel);
  op("DictVectorizer", "ai.onnx.ml")
      .since(1)
      .attr("int64_vocabulary", Kind::ints)
      .attr("string_vocabulary", Kind::strings)
      .in("X", DType::map)
      .out("Y", {DType::f32, DType::f64, DType::i64, DType::string})
      .infer([](Op& node) { node.set_out_unknown(0, DType::undefined); })
      .kernel("hash table", vectorizer);
  op("ZipMap", "ai.onnx.ml")
      .since(1)
      .attr("classlabels_int64s", Kind::ints)
      .attr("classlabels_strings", Kind::strings)
      .in("X", DType::f32)
      .out("Z", kSequence)
      .infer(infer_zip)
      .kernel("shared keys", zip);
}
