#include "onnx/values.h"

#include <algorithm>
#include <utility>

#include "mezzo/error.h"

namespace mezzo::onnx {
namespace {

Type tensor_type(DType dtype, const Shape& shape) {
  Type type;
  type.kind = Type::Kind::tensor;
  type.dtype = dtype;
  type.shape.emplace();
  for (const std::int64_t extent : shape) type.shape->emplace_back().value = extent;
  return type;
}

std::string describe(const Node& node) {
  if (!node.name.empty()) return "node '" + node.name + "' (" + node.op_type + ")";
  const std::string output = node.outputs.empty() ? "" : " of '" + node.outputs.front() + "'";
  return "the " + node.op_type + output;
}

// Where a value lies that is not in the main graph; empty where it is nowhere.
std::string whereabouts(const Model& model, const std::string& name) {
  std::string place;
  const auto look = [&](const Node& node, const Attribute& attribute, const Graph& body) {
    if (place.empty() && defined_in(body).contains(name)) {
      place = "a value in the body '" + attribute.name + "' of " + describe(node);
    }
  };
  each_body(model.graph.nodes, look);
  for (const Function& function : model.functions) {
    bool is_inside = false;
    const auto compare = [&](const std::string& each) { is_inside = is_inside || each == name; };
    std::for_each(function.inputs.begin(), function.inputs.end(), compare);
    for (const Node& node : function.nodes) {
      std::for_each(node.outputs.begin(), node.outputs.end(), compare);
    }
    each_body(function.nodes, [&](const Node&, const Attribute&, const Graph& body) {
      is_inside = is_inside || defined_in(body).contains(name);
    });
    if (place.empty() && is_inside) place = "a value in the function '" + function.name + "'";
  }
  return place;
}

}  // namespace

Values::Values(const Graph& graph) {
  for (const ValueInfo& input : graph.inputs) values_[input.name].input = &input;
  for (const NamedTensor& each : graph.initializers) values_[each.name].initializer = &each;
  for (const SparseTensor& each : graph.sparse_initializers) {
    values_[each.values.name].sparse = &each;
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const std::string& output : graph.nodes[i].outputs) {
      if (!output.empty()) values_[output].producer = i;
    }
  }
  declare(graph.outputs, &Origin::output);
  declare(graph.value_infos, &Origin::info);
}

const Origin* Values::find(std::string_view name) const {
  const auto found = values_.find(name);
  return found != values_.end() ? &found->second : nullptr;
}

// Does not make a value of a name that nothing produces.
void Values::declare(const std::vector<ValueInfo>& list, const ValueInfo* Origin::*member) {
  for (const ValueInfo& each : list) {
    const auto found = values_.find(each.name);
    if (found != values_.end()) found->second.*member = &each;
  }
}

const Origin& find(const Model& model, const Values& values, const std::string& name) {
  if (const Origin* origin = values.find(name)) return *origin;
  Error error(ErrorCode::invalid_argument, "no such value in the model's main graph");
  error.add_place("value '" + name + "'");
  const std::string place = whereabouts(model, name);
  if (place.empty()) throw error;
  throw std::move(error)
      .expected("a value of the main graph")
      .got(place)
      .hint(
          "A body or function may run any number of times, so its values are no inputs or "
          "outputs of the graph; a session can fetch them without an edit");
}

ValueInfo declaration(const std::string& name, const Origin& origin, const ValueInfo* own) {
  const ValueInfo* best = nullptr;
  for (const ValueInfo* each : {own, origin.input, origin.output, origin.info}) {
    if (each == nullptr) continue;
    if (best == nullptr) best = each;
    if (each->type.kind != Type::Kind::none) {
      best = each;
      break;
    }
  }
  ValueInfo result;
  if (best != nullptr) result = *best;
  result.name = name;
  if (result.type.kind != Type::Kind::none) return result;
  if (origin.initializer != nullptr) {
    const Tensor& tensor = origin.initializer->tensor;
    result.type = tensor_type(tensor.dtype(), tensor.shape());
  } else if (origin.sparse != nullptr) {
    result.type = tensor_type(origin.sparse->values.tensor.dtype(), origin.sparse->dims);
  }
  return result;
}

Names defined_in(const Graph& graph) {
  Names names;
  for (const ValueInfo& input : graph.inputs) names.insert(input.name);
  for (const NamedTensor& each : graph.initializers) names.insert(each.name);
  for (const SparseTensor& each : graph.sparse_initializers) names.insert(each.values.name);
  for (const Node& node : graph.nodes) names.insert(node.outputs.begin(), node.outputs.end());
  return names;
}

void add_needs(const Node& node, std::vector<Names>& scopes, std::vector<std::string>& needs) {
  const auto add = [&](const std::string& name) {
    const auto has_it = [&](const Names& scope) { return scope.contains(name); };
    if (!name.empty() && std::none_of(scopes.begin(), scopes.end(), has_it)) needs.push_back(name);
  };
  for (const std::string& input : node.inputs) add(input);
  for (const Attribute& attribute : node.attributes) {
    for (const auto& body : attribute.graphs) {
      scopes.push_back(defined_in(*body));
      for (const Node& inner : body->nodes) add_needs(inner, scopes, needs);
      for (const ValueInfo& output : body->outputs) add(output.name);
      scopes.pop_back();
    }
  }
}

}  // namespace mezzo::onnx
