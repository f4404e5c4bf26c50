#include "mezzo/model.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "classes.h"
#include "runtime/inspect.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace mezzo::python {
namespace {

// As ONNX Runtime has it: an int, a name, or None.
nb::object shape_of(const ValueInfo& info) {
  if (!info.shape) return nb::none();
  nb::list shape;
  for (const Dim& dim : *info.shape) {
    if (dim.value) {
      shape.append(*dim.value);
    } else if (!dim.name.empty()) {
      shape.append(dim.name);
    } else {
      shape.append(nb::none());
    }
  }
  return shape;
}

std::vector<std::string> denotations_of(const ValueInfo& info) {
  std::vector<std::string> denotations;
  if (info.shape) {
    for (const Dim& dim : *info.shape) denotations.push_back(dim.denotation);
  }
  return denotations;
}

const char* kind_of(const ValueInfo& info) {
  switch (info.kind) {
    case ValueInfo::Kind::input:
      return "input";
    case ValueInfo::Kind::initializer:
      return "initializer";
    case ValueInfo::Kind::node_output:
      break;
  }
  return "node";
}

nb::object dtype_name(DType dtype) {
  return dtype == DType::undefined ? nb::none() : nb::cast(std::string(name_of(dtype)));
}

Model from_bytes(const nb::bytes& data, const std::string& folder) {
  // The bytes object is kept, not copied; the model may let go of it on any thread.
  auto* kept = new nb::bytes(data);
  const std::shared_ptr<const void> owner(kept, [](nb::bytes* held) {
    const nb::gil_scoped_acquire gil;
    delete held;
  });
  const void* bytes = data.c_str();
  const std::size_t size = data.size();
  const nb::gil_scoped_release released;
  return Model::from_memory(bytes, size, owner, folder);
}

// The types and shapes of all values for inputs of these shapes: a list of (dtype, shape), in the
// order of values(), and the remarks.
nb::tuple inspect(const Model& model, const std::vector<std::pair<std::string, Shape>>& shapes) {
  Feeds feeds;
  for (const ValueInfo& input : model.inputs()) {
    for (const auto& [name, shape] : shapes) {
      if (name == input.name && input.dtype != DType::undefined)
        feeds.emplace_back(name, Tensor(input.dtype, shape));
    }
  }
  runtime::Inspection facts;
  {
    const nb::gil_scoped_release released;
    facts = runtime::inspect(model, feeds);
  }
  nb::list values;
  for (const runtime::ValueFacts& value : facts.values) {
    const nb::object shape = value.shape ? nb::object(nb::cast(*value.shape)) : nb::none();
    values.append(nb::make_tuple(dtype_name(value.dtype), shape));
  }
  return nb::make_tuple(values, facts.remarks);
}

}  // namespace

void bind_model(nb::module_& module) {
  nb::class_<ValueInfo>(module, "ValueInfo")
      .def_ro("name", &ValueInfo::name)
      .def_prop_ro("kind", &kind_of)
      .def_ro("is_graph_output", &ValueInfo::is_graph_output)
      .def_prop_ro(
          "dtype", [](const ValueInfo& info) { return dtype_name(info.dtype); },
          nb::sig("def dtype(self) -> str | None"))
      .def_prop_ro("shape", &shape_of, nb::sig("def shape(self) -> list[int | str | None] | None"))
      .def_prop_ro("denotations", &denotations_of)
      .def_ro("type_text", &ValueInfo::type_text)
      .def_ro("onnx_type", &ValueInfo::onnx_type)
      .def_ro("producer", &ValueInfo::producer)
      .def_ro("producer_op", &ValueInfo::producer_op)
      .def_ro("body", &ValueInfo::body);
  nb::class_<NodeInfo>(module, "NodeInfo")
      .def_ro("name", &NodeInfo::name)
      .def_ro("op_type", &NodeInfo::op_type)
      .def_ro("domain", &NodeInfo::domain)
      .def_ro("inputs", &NodeInfo::inputs)
      .def_ro("outputs", &NodeInfo::outputs)
      .def_ro("supported", &NodeInfo::supported);
  nb::class_<Model>(module, "Model")
      .def_static("load", &Model::load, "path"_a, nb::call_guard<nb::gil_scoped_release>())
      .def_static("from_bytes", &from_bytes, "data"_a, "folder"_a = "")
      .def("inputs", &Model::inputs)
      .def("outputs", &Model::outputs)
      .def("overridable_initializers", &Model::overridable_initializers)
      .def("values", &Model::values)
      .def("nodes", &Model::nodes)
      .def(
          "select",
          [](const Model& model, const std::string& selector) { return model.select(selector); },
          "selector"_a)
      .def("inspect", &inspect, "shapes"_a,
           nb::sig("def inspect(self, shapes: collections.abc.Sequence[tuple[str, "
                   "collections.abc.Sequence[int]]]) -> tuple[list[tuple[str | None, list[int] | "
                   "None]], list[str]]"))
      .def("expose", &Model::expose, "selectors"_a)
      .def("extract", &Model::extract, "inputs"_a, "outputs"_a)
      .def(
          "save", [](const Model& model, const std::string& path) { model.save(path); }, "path"_a,
          nb::call_guard<nb::gil_scoped_release>())
      .def("to_bytes",
           [](const Model& model) {
             const std::string bytes = model.to_bytes();
             return nb::bytes(bytes.data(), bytes.size());
           })
      .def("opsets", &Model::opsets)
      .def("metadata", &Model::metadata)
      .def_prop_ro("graph_name", &Model::graph_name)
      .def_prop_ro("producer_name", &Model::producer_name)
      .def_prop_ro("producer_version", &Model::producer_version)
      .def_prop_ro("domain", &Model::domain)
      .def_prop_ro("doc_string", &Model::doc_string)
      .def_prop_ro("graph_doc_string", &Model::graph_doc_string)
      .def_prop_ro("model_version", &Model::model_version)
      .def_prop_ro("ir_version", &Model::ir_version)
      .def_prop_ro("parameters", &Model::parameters)
      .def("to_text", &Model::to_text);
  module.def(
      "dtype_name", [](nb::handle dtype) { return dtype_name(dtype_of(dtype)); }, "dtype"_a,
      nb::sig("def dtype_name(dtype: typing.Any) -> str | None"),
      "The name of the element type that a numpy.dtype is, or None.");
  module.def(
      "onnx_type_name", [](const std::string& name) { return onnx_name_of(dtype_from_name(name)); },
      "dtype"_a, "'float32' to 'tensor(float)'.");
  module.def(
      "onnx_type_number",
      [](const std::string& name) { return static_cast<int>(dtype_from_name(name)); }, "dtype"_a,
      "'float32' or 'tensor(float)' to TensorProto.FLOAT; 0 where there is no such type.");
  module.def(
      "numpy_dtype",
      [](int number) {
        const bool known = number > 0 && number < kDTypeCount;
        return known ? numpy_dtype(static_cast<DType>(number)) : nb::none();
      },
      "number"_a, nb::sig("def numpy_dtype(number: int) -> numpy.dtype[typing.Any] | None"),
      "TensorProto.FLOAT to numpy.dtype('float32'); None where there is no such type.");
}

}  // namespace mezzo::python
