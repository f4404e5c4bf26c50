// A request compiled for given shapes: a list of steps, and where every tensor lies.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.h"
#include "plan/request.h"

namespace mezzo::plan {

/// One tensor of a plan.
struct Slot {
  enum class Place {
    feed,      ///< given by the caller
    constant,  ///< an initializer, or computed when planning
    arena,     ///< at `offset` of the memory that a run takes
    own,       ///< a tensor of its own, made for each run: it leaves the plan, or holds strings
    made,      ///< made by the step, since its shape was not known
  };
  graph::ValueId value = graph::kNone;
  DType dtype = DType::undefined;
  /// The value's own type where the plan keeps it in another: 16-bit floats between steps that
  /// compute in f32 anyway stay f32.
  DType kept_for = DType::undefined;
  Shape shape;
  Place place = Place::arena;
  int alias_of = -1;  ///< this slot is another one's memory (a view); `place` is then that slot's
  std::int64_t alias_begin = 0;  ///< bytes between that slot's start and this one's
  std::int64_t offset = 0;       ///< arena
  std::int64_t lane_stride = 0;  ///< arena: bytes to the next part (see MicroBatches, RowBands)
  int feed = -1;                 ///< feed: its number in Plan::feeds
  std::shared_ptr<const Tensor> constant;               ///< constant
  bool of_file = false;                                 ///< see ops::Operand
  std::shared_ptr<const ops::Recipe> recipe = nullptr;  ///< likewise
};

/// What the slot is to an operator that sees it under `shape`.
inline ops::Operand operand_of(const Slot& slot, Shape shape) {
  const bool known = slot.place != Slot::Place::made;
  return {slot.value,          slot.dtype,   std::move(shape), known,
          slot.constant.get(), slot.of_file, slot.recipe};
}
inline ops::Operand operand_of(const Slot& slot) { return operand_of(slot, slot.shape); }

/// Some bytes of each plane of a slot that a band copies to its own memory of another slot.
struct RowCopy {
  int from_slot = -1, to_slot = -1;
  int from_band = 0;
  std::int64_t from = 0, to = 0;  ///< bytes behind the start of either slot
  std::int64_t bytes = 0, planes = 0;
  std::int64_t from_plane = 0, to_plane = 0;  ///< bytes from one plane to the next
};

/// A step's part for one thread: some rows of the image.
struct BandStep {
  std::shared_ptr<ops::Op> op;
  std::shared_ptr<const ops::Chosen> chosen;
  std::vector<RowCopy> before, after;             ///< to be made ahead of the step, and behind it
  std::vector<std::int64_t> in_begin, out_begin;  ///< bytes behind each operand's start
};

/// One kernel call, one conversion, or one call of a patch or observer.
struct Step {
  enum class Kind { kernel, convert, patch, observe };
  Kind kind = Kind::kernel;
  graph::NodeId node = graph::kNone;    ///< kernel
  graph::ValueId value = graph::kNone;  ///< patch, observe: whose patches and observers are called
  std::shared_ptr<ops::Op> op;          ///< kernel
  std::shared_ptr<const ops::Chosen> chosen;  ///< kernel
  /// Of a step that passes made of several: the model's nodes that it stands for (`node` is the
  /// first), the node that `op` is of, and the passes.
  std::vector<graph::NodeId> nodes;
  std::shared_ptr<const graph::Node> fused;
  std::vector<std::string> passes;
  std::vector<std::string> misses;  ///< passes that did not apply, and why
  std::vector<int> in, out;   ///< slots; -1: omitted. convert, patch: one each; observe: one in
  std::vector<int> captures;  ///< slots that the node's bodies use
  bool placed = false;  ///< the inputs are written where the output lies: nothing is left to do
  std::int64_t scratch_bytes = 0;   ///< that the kernel wants, or each band's
  std::int64_t scratch_offset = 0;  ///< in the arena
  std::int64_t scratch_stride = 0;  ///< bytes to the next lane's or band's
  std::vector<BandStep> bands;      ///< each on a thread of its own (see RowBands); or none
  /// Of a step that runs in micro-batches: bytes from one's part of each operand to the next one's.
  /// 0: all take the same, or it is a slot for one part at a time.
  std::vector<std::int64_t> in_strides, out_strides;
};

/// Steps [begin, end) of a plan that run for one part of the batch after the other, or for several
/// parts side by side, each on a thread of its own.
struct MicroBatches {
  int begin = 0, end = 0;
  int count = 1;
  int lanes = 1;            ///< parts at a time
  std::vector<int> inside;  ///< slots that hold one part for each lane: no other step knows them
};

/// Steps [begin, end) of a plan of which each thread computes a band of rows: always the same, in
/// memory of its own, so that what it writes and reads is in its own caches.
struct RowBands {
  /// Steps that a thread runs one after the other without waiting for the others.
  struct Stage {
    int begin = 0, end = 0;
    std::vector<int> edges;  ///< slots for rows that the others will read in the next stage
  };

  int begin = 0, end = 0;
  int count = 1;            ///< bands
  std::vector<int> inside;  ///< slots that hold one band for each thread: no other step knows them
  std::vector<Stage> stages;  ///< all steps, in order
  /// Without stages one thread computes all bands, each through all steps, in the same memory. By
  /// band: the rows that it reads again, moved when it begins.
  std::vector<std::vector<RowCopy>> kept;

  bool in_turn() const { return stages.empty(); }
};

/// Where a slot's contents lie in a run, all in one place: what a run needs of slots before its
/// first step.
struct Location {
  Slot::Place place = Slot::Place::arena;
  int root = -1;           ///< the slot whose memory it is: itself, unless it is a view
  std::int64_t begin = 0;  ///< bytes from there; in the arena: from the arena's start
  std::int64_t bytes = 0;  ///< own, of plain elements: of the root
  const void* constant = nullptr;
};

/// What a plan hands on: to the caller, or to the plan that continues it.
struct Export {
  graph::ValueId value = graph::kNone;
  int slot = -1;
  bool last = false;  ///< no later export is of the same memory
  // The slot's, here as well: a run that ends reads one place instead of several.
  DType dtype = DType::undefined;
  Shape shape = {};
};

/// Plain data but for the plans that continue it; immutable once compiled.
struct Plan {
  std::vector<graph::ValueId> feeds;  ///< the values given, in order
  std::vector<Slot> slots;
  std::vector<Location> locations;  ///< by slot
  std::vector<Step> steps;
  std::vector<MicroBatches> micro_batches;  ///< in order, of different steps
  std::vector<RowBands> row_bands;          ///< likewise
  std::int64_t arena_bytes = 0;
  int node_count = 0;  ///< nodes that a run executes, views included
  std::vector<Export>
      exports;  ///< every fetch that this plan can give, and what a continuation needs
  std::vector<graph::ValueId>
      not_taken;  ///< fetches that lie in a branch that was not taken: they have no value
  /// By loop node: values of its bodies that are fetched, collected from all iterations.
  std::map<graph::NodeId, std::vector<graph::ValueId>> inner_fetches;

  /// Whether every fetch is answered. If not, the rest is planned when this plan has run: as a
  /// request of its own that is fed what was exported.
  bool complete = true;
  Request continuation;  ///< feeds: those of this plan, then `exports` and `carried`
  std::vector<graph::ValueId>
      needed_contents;  ///< feeds of the continuation on whose contents its shapes depend
  std::vector<std::pair<graph::ValueId, Tensor>>
      carried;  ///< constants computed here that the continuation needs
};

/// The slot whose memory a slot is, or is a view of.
int root_of(const Plan& plan, int slot);

/// "node 'conv1' (Conv)" of a kernel's step, of all its nodes joined by " + ".
std::string describe(const Step& step, const graph::Graph& graph);

/// What a conversion is called: "convert", or "copy" where the type stays.
const char* conversion_name(const Plan& plan, const Step& step);

/// The plan as text: a line for each step. For people.
std::string to_text(const Plan& plan, const graph::Graph& graph);

}  // namespace mezzo::plan
