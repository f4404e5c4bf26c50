// mezzo inspect: what a model is made of.
#include "runtime/inspect.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/command.h"
#include "cli/feeds.h"
#include "cli/text.h"

namespace mezzo::cli {
namespace {

using nlohmann::ordered_json;

struct InspectArguments {
  std::string model;
  std::vector<std::string> taps, shapes;
  bool json = false, names = false, weights = false;
};

bool is_open(const ValueInfo& input) {
  return input.shape && std::any_of(input.shape->begin(), input.shape->end(),
                                    [](const Dim& dim) { return !dim.value || *dim.value <= 0; });
}

// A model, and what could be found out about it.
struct Subject {
  explicit Subject(const InspectArguments& arguments)
      : model(Model::load(arguments.model)), values(model.values()), nodes(model.nodes()) {
    const Shapes shapes = parse_shapes(model, arguments.shapes);
    try {
      facts = runtime::inspect(model, zero_feeds(model, shapes));
    } catch (const Error& error) {
      // Inputs whose shapes nobody tells: the rest of the model can still be shown.
      facts.values.resize(values.size());
      facts.multiply_adds.resize(nodes.size(), 0);
      facts.remarks.push_back(std::string("The model cannot be planned: ") + error.what());
    }
    for (const ValueInfo& input : model.inputs()) {
      if (is_open(input) && !shapes.contains(input.name)) {
        facts.remarks.push_back("Open extents of '" + input.name +
                                "' are taken for 1; see --shape.");
      }
    }
    for (const ValueInfo& value : values) {
      if (value.kind != ValueInfo::Kind::initializer || !value.shape) continue;
      Shape shape;
      for (const Dim& dim : *value.shape) shape.push_back(dim.value.value_or(0));
      weight_bytes += static_cast<std::int64_t>(bytes_of(value.dtype, element_count(shape)));
    }
  }

  Model model;
  std::vector<ValueInfo> values;
  std::vector<NodeInfo> nodes;
  runtime::Inspection facts;
  std::int64_t weight_bytes = 0;
};

// Number of nodes and whether the operator is supported, by domain and operator.
struct OperatorUse {
  std::int64_t count = 0;
  bool supported = true;
};

std::map<std::pair<std::string, std::string>, OperatorUse> operators_of(const Subject& subject) {
  std::map<std::pair<std::string, std::string>, OperatorUse> uses;
  for (const NodeInfo& node : subject.nodes) {
    OperatorUse& use = uses[{node.domain, node.op_type}];
    ++use.count;
    use.supported = use.supported && node.supported;
  }
  return uses;
}

// The concrete type where it is known, else what the file declares.
std::string type_text(const ValueInfo& value, const runtime::ValueFacts& facts) {
  if (facts.dtype != DType::undefined && facts.shape) {
    return std::string(name_of(facts.dtype)) + to_string(*facts.shape);
  }
  if (value.type_text == "?" && facts.dtype != DType::undefined) {
    return std::string(name_of(facts.dtype)) + "[...]";
  }
  return printable(value.type_text);
}

// ---- as text

std::string facts_text(const Subject& subject) {
  const Model& model = subject.model;
  Table table;
  const auto add = [&](const std::string& what, const std::string& text) {
    if (!text.empty()) table.add({what, printable(text)});
  };
  add("graph", model.graph_name());
  std::string producer = model.producer_name();
  if (!model.producer_version().empty()) producer += " " + model.producer_version();
  add("producer", producer);
  std::string opsets = "IR " + std::to_string(model.ir_version());
  for (const auto& [domain, version] : model.opsets()) {
    opsets += ", " + (domain.empty() ? "ai.onnx" : domain) + " " + std::to_string(version);
  }
  add("versions", opsets);
  const std::string bytes = " (" + byte_count(subject.weight_bytes) + " of initializers)";
  add("parameters", grouped(model.parameters()) + (subject.weight_bytes > 0 ? bytes : ""));
  const auto& total = subject.facts.total_multiply_adds;
  add("multiply-adds", total ? grouped(*total) : "unknown");
  for (const std::string& remark : subject.facts.remarks) add("remark", remark);
  for (const auto& [key, value] : model.metadata()) add("metadata", key + ": " + value);
  return table.text();
}

std::string ends_text(const std::vector<ValueInfo>& infos) {
  Table table("  ");
  for (const ValueInfo& info : infos) table.add({printable(info.name), printable(info.type_text)});
  return table.text();
}

std::string operators_text(const Subject& subject) {
  Table table("  ");
  table.align_right(0);
  for (const auto& [name, use] : operators_of(subject)) {
    const std::string domain = name.first.empty() ? "" : printable(name.first) + ".";
    table.add({grouped(use.count), domain + printable(name.second),
               use.supported ? "" : "not supported"});
  }
  return table.text();
}

std::string values_text(const Subject& subject, const std::set<std::string>& shown) {
  std::map<std::string, std::int64_t> work;  // by value, of the node whose first output it is
  for (std::size_t i = 0; i < subject.nodes.size(); ++i) {
    for (const std::string& output : subject.nodes[i].outputs) {
      if (output.empty()) continue;
      work[output] = subject.facts.multiply_adds[i];
      break;
    }
  }
  Table table("  ");
  table.align_right(2);
  table.add({"VALUE", "TYPE", "MULTIPLY-ADDS", "BY", "NODE"});
  for (std::size_t i = 0; i < subject.values.size(); ++i) {
    const ValueInfo& value = subject.values[i];
    if (!shown.contains(value.name)) continue;
    const runtime::ValueFacts& facts = subject.facts.values[i];
    std::string by = printable(value.producer_op);
    if (value.kind == ValueInfo::Kind::input) by = "input";
    if (value.kind == ValueInfo::Kind::initializer) by = "initializer";
    if (facts.folded) by += ", constant";
    std::string node = printable(value.producer);
    if (!value.body.empty()) node += (node.empty() ? "in " : " in ") + printable(value.body);
    const std::int64_t count = work[value.name];
    table.add({printable(value.name), type_text(value, facts), count > 0 ? grouped(count) : "", by,
               node});
  }
  return table.text();
}

// ---- as JSON

ordered_json shape_json(const std::vector<Dim>& dims) {
  ordered_json json = ordered_json::array();
  for (const Dim& dim : dims) {
    if (dim.value) {
      json.push_back(*dim.value);
    } else if (!dim.name.empty()) {
      json.push_back(dim.name);
    } else {
      json.push_back(nullptr);
    }
  }
  return json;
}

ordered_json dtype_json(DType dtype) {
  return dtype == DType::undefined ? ordered_json(nullptr) : ordered_json(name_of(dtype));
}

ordered_json declared_json(const ValueInfo& value) {
  ordered_json json;
  json["name"] = value.name;
  json["declared_type"] = value.type_text;
  json["declared_dtype"] = dtype_json(value.dtype);
  json["declared_shape"] = value.shape ? shape_json(*value.shape) : ordered_json(nullptr);
  return json;
}

ordered_json value_json(const ValueInfo& value, const runtime::ValueFacts& facts) {
  static constexpr const char* kKinds[] = {"input", "initializer", "node_output"};
  ordered_json json = declared_json(value);
  json["kind"] = kKinds[static_cast<std::size_t>(value.kind)];
  json["is_graph_output"] = value.is_graph_output;
  json["dtype"] = dtype_json(facts.dtype != DType::undefined ? facts.dtype : value.dtype);
  json["shape"] = facts.shape ? ordered_json(*facts.shape) : ordered_json(nullptr);
  json["folded"] = facts.folded;
  json["producer"] = value.producer;
  json["producer_op"] = value.producer_op;
  json["body"] = value.body;
  return json;
}

ordered_json node_json(const NodeInfo& node, std::int64_t multiply_adds) {
  ordered_json json;
  json["name"] = node.name;
  json["domain"] = node.domain;
  json["op_type"] = node.op_type;
  json["inputs"] = node.inputs;
  json["outputs"] = node.outputs;
  json["supported"] = node.supported;
  json["multiply_adds"] = multiply_adds;
  return json;
}

ordered_json json_of(const Subject& subject, const std::set<std::string>& shown) {
  const Model& model = subject.model;
  const runtime::Inspection& facts = subject.facts;
  ordered_json json;
  json["graph"] = model.graph_name();
  json["ir_version"] = model.ir_version();
  json["opsets"] = ordered_json::array();
  for (const auto& [domain, version] : model.opsets()) {
    json["opsets"].push_back({{"domain", domain}, {"version", version}});
  }
  json["producer"] = {{"name", model.producer_name()}, {"version", model.producer_version()}};
  json["metadata"] = ordered_json::object();
  for (const auto& [key, value] : model.metadata()) json["metadata"][key] = value;
  json["parameters"] = model.parameters();
  json["initializer_bytes"] = subject.weight_bytes;
  json["multiply_adds"] =
      facts.total_multiply_adds ? ordered_json(*facts.total_multiply_adds) : ordered_json(nullptr);
  json["remarks"] = facts.remarks;
  json["inputs"] = ordered_json::array();
  for (const ValueInfo& input : model.inputs()) json["inputs"].push_back(declared_json(input));
  json["outputs"] = ordered_json::array();
  for (const ValueInfo& output : model.outputs()) json["outputs"].push_back(declared_json(output));
  json["operators"] = ordered_json::array();
  for (const auto& [name, use] : operators_of(subject)) {
    json["operators"].push_back({{"domain", name.first},
                                 {"op_type", name.second},
                                 {"count", use.count},
                                 {"supported", use.supported}});
  }
  json["nodes"] = ordered_json::array();
  for (std::size_t i = 0; i < subject.nodes.size(); ++i) {
    json["nodes"].push_back(node_json(subject.nodes[i], facts.multiply_adds[i]));
  }
  json["values"] = ordered_json::array();
  for (std::size_t i = 0; i < subject.values.size(); ++i) {
    if (shown.contains(subject.values[i].name)) {
      json["values"].push_back(value_json(subject.values[i], facts.values[i]));
    }
  }
  return json;
}

// ---- the command

// The names of what is listed: what the selectors say, or all; text leaves out initializers, of
// which there are many, unless they are asked for.
std::set<std::string> names_shown(const Model& model, const InspectArguments& arguments) {
  std::set<std::string> names;
  for (const std::string& selector : arguments.taps) {
    for (std::string& name : model.select(selector)) names.insert(std::move(name));
  }
  if (!arguments.taps.empty()) return names;
  for (const ValueInfo& value : model.values()) {
    const bool weight = value.kind == ValueInfo::Kind::initializer;
    if (!weight || arguments.weights || arguments.json) names.insert(value.name);
  }
  return names;
}

void print_names(const InspectArguments& arguments) {
  const Model model = Model::load(arguments.model);
  const std::set<std::string> shown = names_shown(model, arguments);
  for (const ValueInfo& value : model.values()) {
    if (shown.contains(value.name)) std::cout << printable(value.name) << "\n";
  }
}

void inspect(const InspectArguments& arguments) {
  if (arguments.names) return print_names(arguments);
  const Subject subject(arguments);
  const std::set<std::string> shown = names_shown(subject.model, arguments);
  if (arguments.json) {
    // Names need not be UTF-8; JSON must be.
    std::cout << json_of(subject, shown).dump(1, ' ', false, ordered_json::error_handler_t::replace)
              << "\n";
    return;
  }
  std::cout << facts_text(subject);
  std::cout << "\ninputs\n" << ends_text(subject.model.inputs());
  std::cout << "\noutputs\n" << ends_text(subject.model.outputs());
  std::cout << "\noperators\n" << operators_text(subject);
  std::cout << "\nvalues\n" << values_text(subject, shown);
}

}  // namespace

void add_inspect(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "inspect", "Show a model: its inputs, outputs, operators, and every value with its shape");
  const auto arguments = std::make_shared<InspectArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file")->required();
  add_repeated(command, "-t,--tap,--values", arguments->taps,
               "List these values only: a selector, as for `mezzo run`")
      ->type_name("SELECTOR");
  add_repeated(command, "--shape", arguments->shapes,
               "NAME=1x3x224x224: an input's shape. Without it: the declared one, open extents 1")
      ->type_name("NAME=SHAPE");
  command.add_flag("--json", arguments->json, "All of it as JSON, with nodes and initializers");
  command.add_flag("--names", arguments->names, "Only the values' names, one a line");
  command.add_flag("--weights", arguments->weights, "List the initializers, too");
  command.callback([arguments] { inspect(*arguments); });
}

}  // namespace mezzo::cli
