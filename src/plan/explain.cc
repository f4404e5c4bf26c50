#include <algorithm>

#include "plan/plan.h"

namespace mezzo::plan {
namespace {

std::string describe(const Plan& plan, const graph::Graph& graph, int slot) {
  const Slot& facts = plan.slots[static_cast<std::size_t>(slot)];
  std::string text = graph.value(facts.value).name;
  if (facts.place == Slot::Place::made) return text + " (shape known when run)";
  return text + " " + std::string(name_of(facts.dtype)) + to_string(facts.shape);
}

std::string list(const Plan& plan, const graph::Graph& graph, const std::vector<int>& slots) {
  std::string text;
  for (const int slot : slots) {
    if (slot >= 0) text += (text.empty() ? "" : ", ") + describe(plan, graph, slot);
  }
  return text;
}

// Where the outputs of a step lie.
std::string memory_of(const Plan& plan, const graph::Graph& graph, const Step& step) {
  std::string text;
  for (const int slot : step.out) {
    if (slot < 0) continue;
    const int root = root_of(plan, slot);
    const Slot& facts = plan.slots[static_cast<std::size_t>(slot)];
    const Slot& place = plan.slots[static_cast<std::size_t>(root)];
    text += text.empty() ? "" : ", ";
    if (place.place == Slot::Place::made) {
      text += "made by the step";
      continue;
    }
    text += std::to_string(bytes_of(facts.dtype, element_count(facts.shape))) + " bytes ";
    if (root != slot) {
      text += "in '" + graph.value(place.value).name + "'";
    } else if (place.place == Slot::Place::arena) {
      text += "at " + std::to_string(place.offset);
    } else {
      text += "of its own";
    }
  }
  if (step.scratch_bytes > 0) {
    text += ", scratch " + std::to_string(step.scratch_bytes) + " bytes at " +
            std::to_string(step.scratch_offset);
  }
  return text;
}

}  // namespace

int root_of(const Plan& plan, int slot) {
  while (plan.slots[static_cast<std::size_t>(slot)].alias_of >= 0)
    slot = plan.slots[static_cast<std::size_t>(slot)].alias_of;
  return slot;
}

std::string describe(const Step& step, const graph::Graph& graph) {
  if (step.nodes.empty()) return graph.describe(step.node);
  std::string text;
  for (const graph::NodeId node : step.nodes) {
    text += (text.empty() ? "" : " + ") + graph.describe(node);
  }
  return text;
}

const char* conversion_name(const Plan& plan, const Step& step) {
  const auto type = [&](const std::vector<int>& slots) {
    return plan.slots[static_cast<std::size_t>(slots[0])].dtype;
  };
  return type(step.in) == type(step.out) ? "copy" : "convert";
}

std::string to_text(const Plan& plan, const graph::Graph& graph) {
  std::string text = std::to_string(plan.steps.size()) + " steps, " +
                     std::to_string(plan.node_count) + " nodes, " +
                     std::to_string(plan.arena_bytes) + " bytes of working memory\n";
  auto batches = plan.micro_batches.begin();
  auto bands = plan.row_bands.begin();
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (batches != plan.micro_batches.end() && i == static_cast<std::size_t>(batches->begin)) {
      text += "the next " + std::to_string(batches->end - batches->begin) + " steps for each of " +
              std::to_string(batches->count) + " micro-batches" +
              (batches->lanes > 1 ? ", " + std::to_string(batches->lanes) + " side by side" : "") +
              ":\n";
      ++batches;
    }
    if (bands != plan.row_bands.end() && i == static_cast<std::size_t>(bands->begin)) {
      text += "the next " + std::to_string(bands->end - bands->begin) + " steps in " +
              std::to_string(bands->count) + " bands of rows, " +
              (bands->in_turn() ? "one after the other"
                                : "each on a thread of its own, in " +
                                      std::to_string(bands->stages.size()) + " stages") +
              ":\n";
      ++bands;
    }
    if (step.kind == Step::Kind::patch) {
      text += "patch " + list(plan, graph, step.in) + "\n";
      continue;
    }
    if (step.kind == Step::Kind::convert) {
      text += list(plan, graph, step.out) + " = " + conversion_name(plan, step) + " " +
              list(plan, graph, step.in) + "\n";
      continue;
    }
    if (step.kind == Step::Kind::observe) {
      text += "observe " + list(plan, graph, step.in) + "\n";
      continue;
    }
    text += list(plan, graph, step.out) + " = " + describe(step, graph) + " by " +
            step.chosen->kernel_name + "\n";
    text += "    memory: " + memory_of(plan, graph, step) + "\n";
    if (!step.passes.empty()) {
      text += step.fused != nullptr ? "    as " + step.fused->op_type + ", by" : "    in place, by";
      for (const std::string& pass : step.passes) text += " " + pass;
      text += "\n";
    }
    for (const std::string& miss : step.misses) text += "    not " + miss + "\n";
    for (const auto& [kernel, reason] : step.chosen->refused) {
      text += "    not " + kernel + ": " + reason + "\n";
    }
  }
  if (!plan.complete) text += "the rest is planned when these steps have run\n";
  return text;
}

}  // namespace mezzo::plan
