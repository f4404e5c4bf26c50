// From a request and the shapes of what is fed to a plan.
#pragma once

#include <functional>
#include <set>

#include "passes/passes.h"
#include "plan/plan.h"
#include "plan/precedents.h"
#include "plan/slice.h"

namespace mezzo::plan {

/// What the planner takes from the session.
class Resources : public ops::PackStore {
 public:
  /// The result of folding a node whose inputs are all of the file: computed once for all plans.
  /// Null where it has not been.
  virtual const Tensor* folded(graph::ValueId value) = 0;
  virtual const Tensor* keep_folded(graph::ValueId value, Tensor tensor) = 0;
  /// The number, below graph::kNone, of a constant that a pass makes of others, as `key` says.
  virtual graph::ValueId derived(const std::string& key) = 0;
  /// What `make` gives, kept for later plans under `key`.
  virtual std::shared_ptr<const void> remembered(
      const std::string& key, const std::function<std::shared_ptr<const void>()>& make) = 0;
  /// What earlier plans have left to this one.
  virtual Precedents& precedents() = 0;
  /// A plan is done, or has failed: what only served to make it may go.
  virtual void planned() = 0;
  /// The passes that plans go through.
  virtual const std::vector<passes::Pass>& passes() const = 0;
  virtual ThreadPool& pool() = 0;
  /// The row of each node, null where the operator is not known, and which nodes are branches.
  virtual const ops::Row* row(graph::NodeId node) const = 0;
  virtual const std::set<graph::NodeId>& branch_nodes() const = 0;
};

/// Compiles `request` for the tensors given as its feeds, of which only types and shapes count, and
/// the contents where shapes depend on them: the feeds of which that is so are added to
/// `contents_used` (a plan holds only for those contents). `undecided`, null at first, keeps what
/// all plans of a request begin with. Throws Error where the request can't be met: a needed input
/// is not given, an operator is not supported, a shape is wrong; with the node's name.
std::shared_ptr<Plan> compile(const graph::Graph& graph, const Request& request,
                              const std::vector<Tensor>& feeds, Resources& resources,
                              std::set<graph::ValueId>& contents_used,
                              std::shared_ptr<const Slice>& undecided);

/// Runs a node whose inputs are all known (of a node that looks at shapes only, the contents may be
/// missing): its outputs, in order. (plan/fold.cc)
std::vector<Tensor> evaluate(ops::Op& op, ThreadPool& pool);

/// Has each of so many threads compute a band of rows of large images. (plan/row_bands.cc)
void split_rows(Plan& plan, int threads);

/// Has one thread compute bands of rows of large images, one through many steps after the other.
/// (plan/row_turns.cc)
void take_turns(Plan& plan);

/// Places every slot of `plan` that lives in the arena, so that slots which are needed at the same
/// time do not overlap. (plan/memory.cc)
void place_in_arena(Plan& plan);

}  // namespace mezzo::plan
