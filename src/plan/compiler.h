// The planner's workings, whose parts stand in several files: compile.cc walks through the nodes,
// branches.cc decides conditions, widen.cc keeps 16-bit floats as f32, fold.cc computes what is
// known, exports.cc says what leaves the plan, finish.cc drops dead steps and chooses kernels,
// fuse.cc lets the passes work in between, micro_batch.cc splits large batches, row_bands.cc
// (by threads) and row_turns.cc images.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plan/compile.h"
#include "plan/slice.h"

namespace mezzo::plan {

/// A slot's or step's number as an index.
inline std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// A double: no shape is too large for it.
inline double bytes_of_operand(const ops::Operand& operand) {
  return static_cast<double>(element_count(operand.shape)) * bits_of(operand.dtype) / 8;
}

/// A constant that lives longer than any plan.
inline std::shared_ptr<const Tensor> borrowed(const Tensor* tensor) {
  return {std::shared_ptr<const Tensor>(), tensor};
}

/// Compiles one request.
class Compiler {
 public:
  using ValueId = graph::ValueId;
  using NodeId = graph::NodeId;

  Compiler(const graph::Graph& graph, const Request& request, const std::vector<Tensor>& feeds,
           Resources& resources, std::set<ValueId>& contents_used,
           std::shared_ptr<const Slice>& undecided);
  ~Compiler() { resources_.planned(); }

  std::shared_ptr<Plan> run();

 private:
  class PassHost;

  // compile.cc
  bool is_planned(ValueId value) const { return slot_of_[at(value)] != kNotPlanned; }
  // One pass over the slice. False: a branch was decided, the slice must be taken anew.
  bool plan_forward();
  void add_feed(int i);
  const Tensor* constant_of_feed(graph::ValueId feed) const;
  // Of a node's outputs some may be fed, and stay what was fed.
  bool is_fed(ValueId value) const { return fed_[at(value)]; }
  static Slot new_slot(ValueId value, DType dtype, Shape shape, Slot::Place place);
  // Of a constant as it is.
  static Slot constant_slot(ValueId value, std::shared_ptr<const Tensor> constant);
  int add_slot(Slot slot);
  // From here on `value` lies in `slot`: after the caller's patch and observer have had it.
  // `version`: of a value that is as it was before.
  void define(ValueId value, int slot, Version version = 0);
  // The slot of a value that is available, or kNotPlanned.
  int slot_of(ValueId value);
  // The same in the value's own type.
  int plain_slot_of(ValueId value);
  // The contents of a value, if they can be had now: a constant, or a feed, of which the plan is
  // then special to these contents.
  const Tensor* contents(ValueId value);
  const ops::Row& row_of(NodeId id) const;
  // False: what the node needs is not known yet.
  bool plan_node(NodeId id);
  // Keeps how a node was planned for later plans.
  void remember(NodeId id, std::shared_ptr<ops::Op> op, const std::vector<int>& in);

  // late.cc
  // Plans a node whose results are known without computing them: as a constant each, which has a
  // slot only once somebody asks for it. `before`: the node's precedent, or null. `question_` is
  // then what they were looked for by, or empty.
  bool plan_late(NodeId id, const Precedent* before);
  // What the results of a node depend on, if that is known, and a few numbers; else nothing.
  void ask(NodeId id, const ops::Row& row);
  // What a value is whose slot waits.
  const std::shared_ptr<const Tensor>& late_result(ValueId value) const;
  static bool all_known(const ops::Op& op);
  // The op with its outputs' shapes; null where they depend on contents that are not known yet.
  std::shared_ptr<ops::Op> inferred(const graph::Node& node, const ops::Row& row,
                                    const std::vector<int>& in);
  std::vector<ops::Operand> operands(const graph::Node& node, const std::vector<int>& in) const;
  void add_step(NodeId id, std::shared_ptr<ops::Op> op, std::vector<int> in,
                std::vector<int> captures, bool as_before = false);

  // branches.cc
  // True where the branch could be decided only now.
  bool decide_branch(NodeId id);
  bool defer(NodeId id);
  void join_branch(NodeId id);

  // widen.cc
  // The slot's value in its own type: the slot itself unless it is a 16-bit float that is kept as
  // f32.
  int narrow(int slot);
  // The slot's value in f32, where it is a 16-bit float.
  int widen(int slot);
  int converted(int slot, DType dtype, DType kept_for);
  int add_conversion(int slot, DType dtype, DType kept_for);
  // Whether the node means the same with f32 in place of its 16-bit floats: every type in question
  // follows from an input's.
  static bool can_widen(const graph::Node& node, const ops::Row& row);
  // Whether the node is to be, given the slots of its inputs.
  bool wants_wide(const graph::Node& node, const ops::Row& row, const std::vector<int>& in) const;
  DType own_type(int slot) const;
  // The own type of an output whose type is that of an input which was widened.
  DType output_kept_for(const ops::Row& row, int output, const std::vector<int>& in) const;

  // fold.cc
  bool fold(NodeId id, const ops::Row& row, ops::Op& op, const std::vector<int>& in);
  // False where the result is to be there. Else it is computed when a kernel reads it.
  bool fold_when_read(const graph::Node& node, const ops::Row& row, const ops::Op& op,
                      const std::vector<int>& in);
  using Results = std::vector<std::shared_ptr<const Tensor>>;
  Results results_of(NodeId id, ops::Op& op, bool of_file);
  // Those that all plans share, if some plan has computed them.
  Results folded_before(const graph::Node& node);

  // exports.cc
  int export_slot(ValueId value);
  // Gives a fetched view memory of its own where what it is a view of is fetched as well.
  void keep_apart(ValueId view);
  bool is_finished(ValueId value) const;
  void finish_exports();
  void note_facts_of_exports();
  void finish_continuation();

  // fuse.cc
  void read_through();
  void fuse();
  struct Kept {
    std::string reason;
    bool for_views = false;  // only because others are views of it
  };
  std::vector<Kept> reasons_to_keep() const;
  void take_over(passes::Program& program);

  // Whether the planner's own pass of that name is enabled.
  bool has_pass(std::string_view name) const;

  // micro_batch.cc
  void split_batches();
  // The steps are to run in such micro-batches.
  void split(MicroBatches batches);

  // finish.cc
  // Steps whose results only served to know shapes are dropped: the shapes are known.
  void remove_dead_steps();
  int root_of(int slot) const;
  void choose_kernels();
  // A constant that the kernel reads as it is must lie at an address that suits its type; one that
  // was packed need not.
  void align_constant(const Step& step, int i);

  const graph::Graph& graph_;
  const Request& request_;
  const std::vector<Tensor>& feeds_;
  Resources& resources_;
  std::set<ValueId>& contents_used_;
  std::shared_ptr<const Slice>& undecided_;  // of the request, while no branch is decided
  std::set<ValueId> patched_, observed_;
  std::vector<bool> fed_;  // by value

  Decisions decisions_;
  std::shared_ptr<const Slice> slice_;
  std::shared_ptr<Plan> plan_;
  static constexpr int kNotPlanned = -1, kLate = -2;
  // By value: where it lies if it can be planned on, or kNotPlanned. kLate: it is a constant whose
  // slot is made when somebody asks for it.
  std::vector<int> slot_of_;
  std::vector<Version> versions_;  // by value: of initializers always, of others when planned
  std::map<int, int> twins_;       // slots that hold the same value as f32 and as a 16-bit float
  std::map<ValueId, int> copies_;  // fetched views: slots that are no views
  std::map<ValueId, int> made_;    // values that exist only when the plan has run
  std::set<ValueId> needed_;       // whose contents decide how it goes on
  std::vector<NodeId> deferred_;
  std::string question_;  // see plan_late
};

}  // namespace mezzo::plan
