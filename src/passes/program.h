// What a plan shows its passes: steps that read and write slots. A pass recognises several steps
// and has them replaced by one, whose operator is one that the registry knows. What may be replaced
// is decided here, once for all passes: a value that somebody asks for stays.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/op.h"

namespace mezzo::passes {

/// Whether a list of slots or steps has that one.
inline bool contains(const std::vector<int>& list, int item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

/// Of a tensor that would not stay in the nearest caches until whoever runs the plan reads it.
inline constexpr std::int64_t kStreamedElements = 16 << 10;

/// A tensor of the plan.
struct Slot {
  ops::Operand operand;
  int producer = -1;       ///< the step that writes it; -1: a feed, a constant, or a view
  std::vector<int> users;  ///< the steps that read it, each once
  int viewed = -1;         ///< the first step that reads its memory under another name; -1: none
  int captured = -1;       ///< the first step with a body that reads it, under whatever name
  int view_of = -1;        ///< the slot whose memory it is under another name; -1: none
  bool kept_for_views = false;  ///< `kept` is so only because others are views of it
  std::string kept;             ///< why it must be there whoever reads it ("is fetched"), or empty
  bool in_arena = false;        ///< it lives only inside the run, in memory of its own
  int inside = -1;  ///< the slot in whose memory it is to lie, `begin` bytes behind its start
  std::int64_t begin = 0;
};

struct Step {
  std::shared_ptr<ops::Op> op;       ///< null: a conversion, a patch or an observer
  std::string kind;                  ///< of such a step, for messages: "patched", "converted", ...
  std::vector<int> in, out;          ///< slots; -1: omitted
  std::vector<graph::NodeId> nodes;  ///< the model's nodes that it stands for
  std::shared_ptr<const graph::Node> node;  ///< what `op` is of, where a pass made it
  std::vector<std::string> passes;          ///< those that made it
  std::vector<std::string> misses;          ///< which other did not apply, and why
  int planned = -1;  ///< which of the plan's steps it was; -1: a pass has put it in
  bool removed = false;
  bool placed = false;  ///< all inputs are written where the output lies: nothing is left to do
  std::vector<Step> before, after;  ///< that run just ahead of it and behind it; no pass sees them
};

/// The node that a pass puts in place of others.
struct Replacement {
  std::string op_type, domain;
  int opset = 1;
  std::vector<graph::AttributePointer> attributes = {};
  std::vector<int> in = {}, out = {};  ///< slots; -1: omitted
  /// Inputs and outputs, by number, that the operator sees under another shape, which has as many
  /// elements: Reshape has no step that could be replaced.
  std::vector<std::pair<int, Shape>> in_as = {}, out_as = {};
  bool of_any_type = false;  ///< the members' values need not be float32
  bool placed = false;       ///< see Step; of one that runs behind another
  /// Asked of the new operator: why it is not to be, or nothing.
  std::function<std::string(const ops::Op&)> refuse = nullptr;
};

/// What a constant was computed from when planning.
struct Origin {
  const graph::Node* node = nullptr;
  std::vector<int> in;  ///< slots; -1: omitted
};

using ops::Recipe;

/// What passes take from the planner.
class Host {
 public:
  virtual ~Host() = default;
  virtual ops::PackStore& store() = 0;
  virtual int threads() = 0;
  virtual std::string name_of(graph::ValueId value) = 0;
  virtual std::string describe(graph::NodeId node) = 0;
  /// Of a slot that a node gave whose inputs were all known; else nothing.
  virtual std::optional<Origin> origin(int slot) = 0;
  /// The operand of a new slot in the working memory: another form of what slot `of` holds.
  virtual ops::Operand add_slot(int of, Shape shape) = 0;
  /// The operand of a new slot: a constant of `shape` that is made from `base` when somebody reads
  /// it, once for all plans, which know it by `key`. Nothing where `base` or one of `others` (on
  /// which the recipe depends as well) is not of the file alone. Its type is that of `base`, unless
  /// `dtype` tells another.
  virtual std::optional<ops::Operand> derive(int base, const std::vector<int>& others,
                                             const std::string& key, Shape shape, Recipe recipe,
                                             DType dtype) = 0;
  /// What `op` gives, output 0, for other inputs: `in`, or, where that is null, the constant that
  /// the input is.
  virtual Tensor evaluate(const ops::Op& op, const std::vector<const Tensor*>& in) = 0;
  /// What `make` makes of those slots' contents, under `key`: kept for later plans where they are
  /// constants of the file.
  virtual std::shared_ptr<const void> remembered(
      const std::vector<int>& of, const std::string& key,
      const std::function<std::shared_ptr<const void>()>& make) = 0;
};

class Program {
 public:
  Program(std::vector<Slot> slots, std::vector<Step> steps, Host& host)
      : slots_(std::move(slots)), steps_(std::move(steps)), host_(host) {}

  int size() const { return static_cast<int>(steps_.size()); }
  const Step& step(int i) const { return steps_[static_cast<std::size_t>(i)]; }
  const ops::Op& op(int i) const { return *step(i).op; }
  const Slot& slot(int i) const { return slots_[static_cast<std::size_t>(i)]; }
  std::vector<Step>& steps() { return steps_; }
  std::vector<Slot>& slots() { return slots_; }

  /// Whether step `i` (-1: no) is of that operator.
  bool is(int i, std::string_view op_type, std::string_view domain = "") const;
  /// The slot of input `input` of step `i`; -1 where it is omitted.
  int in(int i, int input) const;
  /// The step that computes input `input` of step `i`, if it is of that operator; else -1.
  int maker(int i, int input, std::string_view op_type, std::string_view domain = "") const;
  /// The same of a slot.
  int maker_of(int slot, std::string_view op_type, std::string_view domain = "") const;
  /// Of a step that takes `slot` and one thing more, that other slot; else -1.
  int other(int i, int slot) const;
  /// Of a step with two inputs of which one is that number, the other slot; else -1.
  int beside_number(int i, double value) const;
  bool is_constant(int slot) const;
  /// Of a constant: see Host::origin.
  std::optional<Origin> origin(int slot) const { return host_.origin(slot); }
  /// The number that a slot is known to hold in its only element, if it is a float32.
  std::optional<float> number(int slot) const;
  /// The contents of a constant.
  const Tensor& contents(int slot) const;
  /// Whether the slot is known to hold just that number, up to the rounding of a float32.
  bool is_number(int slot, double value) const;
  /// The contents of input `input` of step `i`, a constant.
  const Tensor& constant(int i, int input) const;
  /// The first step of that operator that reads a slot; else -1.
  int user(int slot, std::string_view op_type, std::string_view domain = "") const;

  /// Whether anybody but `members` wants what a slot holds, under whatever name.
  bool is_wanted(const std::vector<int>& members, int slot) const;

  /// Whether a step that is none of `members` reads a slot, or reads it under another name.
  bool is_read_besides(const std::vector<int>& members, int slot) const;

  /// Replaces `members` by one step, in the place of the last of them, unless a value between them
  /// is wanted elsewhere or the new node does not give just what the members gave. Only for
  /// float32, but where Replacement::of_any_type. The reason of a refusal is noted for `explain`.
  bool fuse(std::vector<int> members, Replacement replacement);

  /// Drops step `i`, nobody reading what it gives any more, under whatever name, and counts its
  /// nodes among those of step `other`. Where somebody does, nothing happens.
  void drop_unread(int i, int other);

  /// Drops step `i`, whose results another step is to give, and counts its nodes among those of
  /// step `other`.
  void drop(int i, int other);

  /// Has the steps that read slot `slot` read `other`, which holds the same.
  void read_instead(int slot, int other);

  /// Puts a step in ahead of step `i`, which moves on with those behind it, for the nodes of step
  /// `of` (as numbered before).
  void insert(int i, Replacement replacement, int of);

  /// A new slot: another form of what slot `of` holds, of that shape.
  int add_slot(int of, Shape shape);
  /// The same in the same shape, `begin` bytes behind where slot `whole` begins.
  int add_slot_inside(int whole, std::int64_t begin, int of);
  /// Replaces steps, in ascending order, by one in the place of the last that may give other slots,
  /// with others that run just ahead of it and behind it. All of this must fit: it is not asked
  /// whether somebody misses a slot.
  void replace(const std::vector<int>& members, Replacement replacement,
               std::vector<Replacement> before, std::vector<Replacement> after);
  /// Notes for `explain` why the pass leaves step `i` alone.
  void miss(int step, const std::string& reason);

  /// Has `part` written by its step where it lies in `whole`, which step `joiner` makes. False
  /// where that cannot be.
  bool place_inside(int part, int whole, std::int64_t begin, int joiner);

  /// Notes that this is so of all inputs of step `i`, which need not be copied.
  void set_placed(int i) { step_at(i).placed = true; }

  /// A new slot with a constant (see Host::derive), or -1.
  int derive(int base, const std::vector<int>& others, const std::string& key, Shape shape,
             Recipe recipe, DType dtype = DType::undefined);

  /// What step `i` gives for other inputs: see Host::evaluate.
  Tensor evaluate(int i, const std::vector<const Tensor*>& in) const {
    return host_.evaluate(op(i), in);
  }

  /// See Host::remembered.
  template <class T>
  std::shared_ptr<const T> remembered(const std::vector<int>& of, const std::string& key,
                                      const std::function<std::shared_ptr<const T>()>& make) const {
    return std::static_pointer_cast<const T>(host_.remembered(of, key, make));
  }

  /// Notes for `explain` that the pass has a part in step `i`, which stays what it is.
  void mark(int i) { step_at(i).passes.push_back(pass_); }

  /// In whose name `fuse` writes its notes.
  void set_pass(std::string name) { pass_ = std::move(name); }

 private:
  Slot& slot_at(int i) { return slots_[static_cast<std::size_t>(i)]; }
  Step& step_at(int i) { return steps_[static_cast<std::size_t>(i)]; }
  std::vector<int> names_of(int number) const;
  std::string obstacle(const std::vector<int>& members, const std::vector<int>& out) const;
  std::string early_reader(const std::vector<int>& members, const std::vector<int>& out) const;
  // Takes the attributes.
  std::shared_ptr<const graph::Node> node_of(Replacement& replacement) const;
  std::shared_ptr<ops::Op> make(const graph::Node& node, const Replacement& replacement) const;
  Step made(Replacement& replacement) const;
  // Step `i` neither reads nor writes a slot from here on.
  void remove(int i);
  // Puts `fused` in the place of the last of `members`, and notes who reads and writes what.
  void install(const std::vector<int>& members, Step fused);

  std::vector<Slot> slots_;
  std::vector<Step> steps_;
  Host& host_;
  std::string pass_;
};

/// Attributes of a replacement.
graph::AttributePointer attribute(std::string name, std::int64_t value);
graph::AttributePointer attribute(std::string name, float value);
graph::AttributePointer attribute(std::string name, std::string value);
graph::AttributePointer attribute(std::string name, std::vector<std::int64_t> values);
graph::AttributePointer attribute(std::string name, std::vector<float> values);

}  // namespace mezzo::passes
