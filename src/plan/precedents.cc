#include "plan/precedents.h"

#include <algorithm>
#include <cstring>

namespace mezzo::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

bool is_same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && is_plain(a.dtype()) && a.shape() == b.shape() &&
         a.bytes() <= ShapeArithmetic::kFewBytes && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

}  // namespace

Precedents::Precedents(const graph::Graph& graph)
    : shape_arithmetic_(graph),
      initial_(graph.values().size()),
      facts_(graph.values().size()),
      nodes_(graph.nodes().size()) {
  for (std::size_t i = 0; i < initial_.size(); ++i) {
    if (graph.values()[i].initializer.has_value()) initial_[i] = ++last_;
  }
  for (const graph::Node& node : graph.nodes()) {
    add(inputs_, input_begins_, node.inputs);
    add(outputs_, output_begins_, node.outputs);
  }
}

void Precedents::add(std::vector<Known>& all, Begins& begins,
                     const std::vector<graph::ValueId>& values) {
  for (const graph::ValueId value : values) all.push_back({value});
  begins.push_back(all.size());
}

Version Precedents::note(graph::ValueId value, Slot& slot) {
  Fact& fact = facts_[at(value)];
  if (slot.constant != nullptr && fact.constant != nullptr && slot.of_file == fact.of_file &&
      slot.recipe == nullptr && is_same(*slot.constant, *fact.constant))
    slot.constant = fact.constant;
  if (fact.version != 0 && fact.constant == slot.constant && fact.of_file == slot.of_file &&
      fact.dtype == slot.dtype && fact.shape == slot.shape)
    return fact.version;
  fact = {slot.dtype, slot.shape, slot.constant, slot.of_file, ++last_};
  return fact.version;
}

const Precedent* Precedents::find(graph::NodeId node, const std::vector<Version>& versions) const {
  const Precedent& precedent = of(node);
  if (precedent.op == nullptr && precedent.results.empty()) return nullptr;
  const auto inputs = range(inputs_, input_begins_, node);
  const bool same = std::all_of(inputs.begin(), inputs.end(), [&](const Known& input) {
    return input.value == graph::kNone || input.version == versions[at(input.value)];
  });
  return same ? &precedent : nullptr;
}

void Precedents::set(graph::NodeId node, Precedent precedent,
                     const std::vector<Version>& versions) {
  nodes_[at(node)] = std::move(precedent);
  copy_versions(inputs_, input_begins_, node, versions);
  copy_versions(outputs_, output_begins_, node, versions);
}

void Precedents::copy_versions(std::vector<Known>& all, const Begins& begins, graph::NodeId node,
                               const std::vector<Version>& versions) {
  for (std::size_t i = begins[at(node)]; i < begins[at(node) + 1]; ++i) {
    if (all[i].value != graph::kNone) all[i].version = versions[at(all[i].value)];
  }
}

}  // namespace mezzo::plan
