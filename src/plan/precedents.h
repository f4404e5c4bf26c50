// What plans take over from those before them. Of a model's nodes most have, for other shapes or
// another set of taps, the operands that they had before: a decoder's next token finds a longer
// past, and all but the attention as it was.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "plan/plan.h"
#include "plan/shape_arithmetic.h"

namespace mezzo::plan {

/// A number for what a value is in a plan: its type, its shape, and its contents where they are
/// known. No two have the same. 0: nothing yet.
using Version = std::int64_t;

/// A node as it was planned last.
struct Precedent {
  std::shared_ptr<ops::Op> op;  ///< null: never, or `results` were known without it
  /// The constants that `op` names, as far as plans own them.
  std::vector<std::shared_ptr<const Tensor>> constants = {};
  /// What it gave, where it was computed when planning.
  std::vector<std::shared_ptr<const Tensor>> results = {};
  bool of_file = false;  ///< the results are of the file alone
};

/// Those of a session's nodes.
class Precedents {
 public:
  explicit Precedents(const graph::Graph& graph);

  /// Held as long as a plan is made: plans share what they find here.
  std::mutex& mutex() { return mutex_; }

  /// By value: the versions of the initializers, 0 of all others.
  const std::vector<Version>& initial() const { return initial_; }

  ShapeArithmetic& shape_arithmetic() { return shape_arithmetic_; }

  /// The version of `slot`, in which `value` lies: the one that it had last, if it is what it was.
  /// A constant of a few bytes that equals the one before becomes that one, so that the nodes
  /// behind it find their inputs the same.
  Version note(graph::ValueId value, Slot& slot);

  /// The node as it was, if its inputs have the versions that they had then; else null.
  const Precedent* find(graph::NodeId node, const std::vector<Version>& versions) const;
  /// From now on `precedent` is how the node was planned last. `versions` are those of its inputs
  /// and outputs.
  void set(graph::NodeId node, Precedent precedent, const std::vector<Version>& versions);

  const Precedent& of(graph::NodeId node) const { return nodes_[static_cast<std::size_t>(node)]; }

  /// Of output `i` of the node, as it was.
  Version version(graph::NodeId node, std::size_t i) const {
    return range(outputs_, output_begins_, node)[i].version;
  }
  /// Calls visit(output, version) for the outputs that the node gave.
  template <class Visit>
  void each_output(graph::NodeId node, const Visit& visit) const {
    for (const Known& output : range(outputs_, output_begins_, node)) {
      if (output.value != graph::kNone) visit(output.value, output.version);
    }
  }

 private:
  struct Fact {
    DType dtype = DType::undefined;
    Shape shape;
    std::shared_ptr<const Tensor> constant;
    bool of_file = false;
    Version version = 0;
  };
  struct Known {
    graph::ValueId value = graph::kNone;
    Version version = 0;
  };
  // Those of all nodes one behind the other: a plan looks at each, and at little else of most.
  using Begins = std::vector<std::size_t>;
  static std::span<const Known> range(const std::vector<Known>& all, const Begins& begins,
                                      graph::NodeId node) {
    const std::size_t begin = begins[static_cast<std::size_t>(node)];
    return {all.data() + begin, begins[static_cast<std::size_t>(node) + 1] - begin};
  }
  static void add(std::vector<Known>& all, Begins& begins,
                  const std::vector<graph::ValueId>& values);
  static void copy_versions(std::vector<Known>& all, const Begins& begins, graph::NodeId node,
                            const std::vector<Version>& versions);

  std::mutex mutex_;
  ShapeArithmetic shape_arithmetic_;
  Version last_ = 0;
  std::vector<Version> initial_;
  std::vector<Fact> facts_;  // by value: what it was last
  std::vector<Precedent> nodes_;
  std::vector<Known> inputs_, outputs_;
  Begins input_begins_ = {0}, output_begins_ = {0};
};

}  // namespace mezzo::plan
