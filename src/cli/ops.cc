// mezzo ops: the operators that this build has.
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/text.h"
#include "ops/op.h"

namespace mezzo::cli {
namespace {

using nlohmann::ordered_json;

// AttributeProto's names of the kinds, in the order of their numbers.
constexpr const char* kKinds[] = {"UNDEFINED",      "FLOAT",      "INT",        "STRING",
                                  "TENSOR",         "GRAPH",      "FLOATS",     "INTS",
                                  "STRINGS",        "TENSORS",    "GRAPHS",     "SPARSE_TENSOR",
                                  "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS"};

const char* name_of_arity(ops::Arity arity) {
  switch (arity) {
    case ops::Arity::required:
      return "required";
    case ops::Arity::optional:
      return "optional";
    case ops::Arity::variadic:
      return "variadic";
  }
  return "unknown";
}

ordered_json json_of(const ops::Formal& formal) {
  ordered_json types = ordered_json::array();
  for (const DType dtype : formal.types.list()) types.push_back(onnx_name_of(dtype));
  ordered_json json;
  json["name"] = formal.name;
  json["arity"] = name_of_arity(formal.arity);
  json["types"] = std::move(types);
  json["like_input"] = formal.like >= 0 ? ordered_json(formal.like) : ordered_json(nullptr);
  json["homogeneous"] = formal.same_types;
  return json;
}

ordered_json json_of(const ops::FormalAttribute& attribute) {
  ordered_json json;
  json["name"] = attribute.name;
  json["kind"] = kKinds[static_cast<std::size_t>(attribute.kind)];
  json["required"] = attribute.required;
  json["default"] = std::visit(
      [](const auto& value) -> ordered_json {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) {
          return nullptr;
        } else {
          return value;
        }
      },
      attribute.value);
  return json;
}

template <class List, class Convert>
ordered_json list_of(const List& list, const Convert& convert) {
  ordered_json json = ordered_json::array();
  for (const auto& item : list) json.push_back(convert(item));
  return json;
}

ordered_json json_of(const ops::Row& row) {
  const auto convert = [](const auto& item) { return json_of(item); };
  ordered_json json;
  json["name"] = row.name();
  json["domain"] = row.domain();
  json["versions"] = row.versions();
  json["attributes"] = list_of(row.attributes(), convert);
  json["inputs"] = list_of(row.inputs(), convert);
  json["outputs"] = list_of(row.outputs(), convert);
  json["kernels"] = list_of(row.kernels(), [](const auto& kernel) { return kernel.name; });
  return json;
}

void print_json() {
  ordered_json json;
  json["mezzo"] = MEZZO_VERSION;
  json["operators"] =
      list_of(ops::Registry::get().rows(), [](const auto& row) { return json_of(row); });
  std::cout << json.dump(1) << "\n";
}

// One line an operator, whatever rows its versions are spread over.
void print_table() {
  std::map<std::pair<std::string, std::string>, std::vector<int>> operators;
  for (const ops::Row& row : ops::Registry::get().rows()) {
    auto& versions = operators[{row.domain(), row.name()}];
    versions.insert(versions.end(), row.versions().begin(), row.versions().end());
  }
  Table table;
  table.add({"DOMAIN", "OPERATOR", "VERSIONS"});
  for (auto& [name, versions] : operators) {
    std::sort(versions.begin(), versions.end());
    std::string list;
    for (const int version : versions) list += (list.empty() ? "" : ", ") + std::to_string(version);
    table.add({name.first.empty() ? "ai.onnx" : name.first, name.second, list});
  }
  std::cout << table.text();
}

}  // namespace

void add_ops(CLI::App& program) {
  CLI::App& command =
      *program.add_subcommand("ops", "List the operators and versions that this build has");
  const auto as_json = std::make_shared<bool>(false);
  command.add_flag("--json", *as_json,
                   "With attributes, inputs, outputs, types and kernels, as JSON");
  command.callback([as_json] { *as_json ? print_json() : print_table(); });
}

}  // namespace mezzo::cli
