// One block of memory for all tensors that live only inside a run. Each slot is needed from the
// step that writes it to the last that reads it; the largest are placed first, each at the lowest
// address where nothing that is needed at the same time lies ("greedy by size", Pisarchyk & Lee,
// "Efficient Memory Management for Deep Neural Net Inference", 2020).

#include "base/memory.h"

#include <algorithm>

#include "base/shape.h"
#include "plan/compile.h"

namespace mezzo::plan {
namespace {

struct Block {
  int slot = -1;  // -1: the scratch memory of step `first`, or all lanes
  int first = 0, last = 0;
  std::int64_t bytes = 0;
  std::int64_t offset = 0;
  // What one lane of a plan's micro-batches, or a thread of its bands of rows, has to itself. The
  // blocks of each lie as those of the first do: one lane may be at a step that another has left
  // long ago.
  std::vector<Block> lane = {};
  std::int64_t lane_bytes = 0;
};

std::size_t at(int i) { return static_cast<std::size_t>(i); }

std::int64_t rounded(std::int64_t bytes) {
  constexpr auto kUnit = static_cast<std::int64_t>(kAlignment);
  return checked_add(bytes, kUnit - 1) / kUnit * kUnit;
}

class Placement {
 public:
  explicit Placement(Plan& plan)
      : plan_(plan), first_(plan.slots.size(), -1), last_(plan.slots.size(), -1) {}

  void run() {
    find_lifetimes();
    share_in_place();
    std::vector<Block> blocks = collect();
    for (const MicroBatches& batches : plan_.micro_batches) {
      if (batches.lanes > 1)
        make_lanes(batches.begin, batches.end, batches.lanes, batches.inside, blocks);
    }
    for (const RowBands& bands : plan_.row_bands)
      make_lanes(bands.begin, bands.end, bands.in_turn() ? 1 : bands.count, bands.inside, blocks);
    plan_.arena_bytes = place(blocks);
    for (const Block& block : blocks) settle(block, 0, 0);
    // What took over an input's place lies there in each lane.
    for (Slot& slot : plan_.slots) {
      if (slot.alias_of >= 0)
        slot.lane_stride = plan_.slots[at(root_of(plan_, slot.alias_of))].lane_stride;
    }
    for (int slot = 0; slot < static_cast<int>(plan_.slots.size()); ++slot)
      plan_.locations.push_back(location_of(slot));
  }

 private:
  void touch(int slot, int step) {
    if (slot < 0) return;
    const int root = root_of(plan_, slot);
    if (first_[at(root)] < 0 || step < first_[at(root)]) first_[at(root)] = step;
    last_[at(root)] = std::max(last_[at(root)], step);
  }

  void find_lifetimes() {
    for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
      const Step& step = plan_.steps[at(i)];
      for (const int slot : step.in) touch(slot, i);
      for (const int slot : step.captures) touch(slot, i);
      for (const int slot : step.out) touch(slot, i);
    }
    // What is there for all micro-batches is needed until the last one is done.
    for (const MicroBatches& batches : plan_.micro_batches) {
      keep_throughout(batches.begin, batches.end, batches.inside);
    }
    // One thread may be at the end of a stage while another is at its begin.
    for (const RowBands& bands : plan_.row_bands) {
      for (std::size_t k = 0; k < bands.stages.size(); ++k) {
        const RowBands::Stage& stage = bands.stages[k];
        keep_throughout(stage.begin, stage.end, bands.inside);
        for (const int slot : stage.edges) {
          touch(slot, stage.begin);
          touch(slot, bands.stages[k + 1].end - 1);
        }
      }
      if (!bands.in_turn()) continue;
      keep_throughout(bands.begin, bands.end, bands.inside);
      for (const std::vector<RowCopy>& band : bands.kept) {
        for (const RowCopy& copy : band) {
          touch(copy.to_slot, bands.begin);
          touch(copy.to_slot, bands.end - 1);
        }
      }
    }
  }

  // What steps [begin, end) use, but for the slots `inside`, is needed from the first to the last.
  void keep_throughout(int begin, int end, const std::vector<int>& inside) {
    for (int i = begin; i < end; ++i) {
      for (const std::vector<int>* slots : {&plan_.steps[at(i)].in, &plan_.steps[at(i)].out}) {
        for (const int slot : *slots) {
          if (is_in(inside, slot)) continue;
          touch(slot, begin);
          touch(slot, end - 1);
        }
      }
    }
  }

  static bool is_in(const std::vector<int>& inside, int slot) {
    return std::binary_search(inside.begin(), inside.end(), slot);
  }

  // Whether other micro-batches or bands than the one that step i runs for may read the slot, or
  // its rows lie elsewhere than those of what step i writes.
  bool is_shared(int i, int slot) const {
    for (const MicroBatches& batches : plan_.micro_batches) {
      if (i >= batches.begin && i < batches.end) return !is_in(batches.inside, slot);
    }
    for (const RowBands& bands : plan_.row_bands) {
      if (i >= bands.begin && i < bands.end) return bands.in_turn() || !is_in(bands.inside, slot);
    }
    return false;
  }

  // Whether the slots are both in the memory of the same bands, or both in that of none.
  bool lie_alike(int a, int b) const {
    return std::all_of(plan_.row_bands.begin(), plan_.row_bands.end(), [&](const RowBands& bands) {
      return is_in(bands.inside, a) == is_in(bands.inside, b);
    });
  }

  // Where a kernel may write over an input that nobody reads afterwards, its output takes the
  // input's place.
  void share_in_place() {
    for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
      const Step& step = plan_.steps[at(i)];
      if (step.kind != Step::Kind::kernel || step.out.empty() || step.out[0] < 0) continue;
      const int out = step.out[0];
      if (!in_arena(out) || plan_.slots[at(out)].alias_of >= 0) continue;
      for (const int input : step.op->row().in_place_inputs()) {
        if (input >= static_cast<int>(step.in.size()) || step.in[at(input)] < 0) continue;
        if (is_shared(i, step.in[at(input)])) continue;
        const int in = root_of(plan_, step.in[at(input)]);
        if (!in_arena(in) || last_[at(in)] != i || in == out) continue;
        if (bytes_of_slot(in) != bytes_of_slot(out) ||
            plan_.slots[at(step.in[at(input)])].shape != plan_.slots[at(out)].shape ||
            plan_.slots[at(in)].dtype != plan_.slots[at(out)].dtype || !lie_alike(in, out)) {
          continue;
        }
        if (std::count_if(step.in.begin(), step.in.end(), [&](int other) {
              return other >= 0 && root_of(plan_, other) == in;
            }) > 1) {
          continue;
        }
        plan_.slots[at(out)].alias_of = in;
        last_[at(in)] = std::max(last_[at(in)], last_[at(out)]);
        break;
      }
    }
  }

  bool in_arena(int slot) const { return plan_.slots[at(slot)].place == Slot::Place::arena; }

  std::int64_t bytes_of_slot(int slot) const {
    const Slot& facts = plan_.slots[at(slot)];
    const std::int64_t count = element_count(facts.shape);
    checked_mul(count, 32);  // no element is larger, so bytes_of cannot overflow
    return static_cast<std::int64_t>(bytes_of(facts.dtype, count));
  }

  std::vector<Block> collect() const {
    std::vector<Block> blocks;
    for (int slot = 0; slot < static_cast<int>(plan_.slots.size()); ++slot) {
      if (!in_arena(slot) || plan_.slots[at(slot)].alias_of >= 0 || first_[at(slot)] < 0) continue;
      blocks.push_back({slot, first_[at(slot)], last_[at(slot)], rounded(bytes_of_slot(slot)), 0});
    }
    for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
      const std::int64_t scratch = plan_.steps[at(i)].scratch_bytes;
      if (scratch > 0) blocks.push_back({-1, i, i, rounded(scratch), 0});
    }
    return blocks;
  }

  // Of steps [begin, end): the slots `inside`, and scratch memory.
  static void make_lanes(int begin, int end, int count, const std::vector<int>& inside,
                         std::vector<Block>& blocks) {
    const auto own = std::stable_partition(blocks.begin(), blocks.end(), [&](const Block& block) {
      return block.slot < 0 ? block.first < begin || block.first >= end
                            : !is_in(inside, block.slot);
    });
    if (own == blocks.end()) return;
    Block lanes{-1, begin, end - 1};
    lanes.lane.assign(own, blocks.end());
    blocks.erase(own, blocks.end());
    lanes.lane_bytes = place(lanes.lane);
    lanes.bytes = checked_mul(lanes.lane_bytes, count);
    blocks.push_back(std::move(lanes));
  }

  // Gives each block an offset; how many bytes all take.
  static std::int64_t place(std::vector<Block>& blocks) {
    std::stable_sort(blocks.begin(), blocks.end(),
                     [](const Block& a, const Block& b) { return a.bytes > b.bytes; });
    std::int64_t bytes = 0;
    std::vector<const Block*> placed;  // by offset
    for (Block& block : blocks) {
      std::int64_t offset = 0;
      for (const Block* other : placed) {
        if (other->last < block.first || block.last < other->first) continue;
        if (other->offset >= checked_add(offset, block.bytes)) break;
        offset = std::max(offset, other->offset + other->bytes);
      }
      block.offset = offset;
      bytes = std::max(bytes, checked_add(offset, block.bytes));
      const auto position =
          std::upper_bound(placed.begin(), placed.end(), &block,
                           [](const Block* a, const Block* b) { return a->offset < b->offset; });
      placed.insert(position, &block);
    }
    return bytes;
  }

  // Writes down where a block lies; `lane_stride`: bytes from one lane's to the next one's.
  void settle(const Block& block, std::int64_t begin, std::int64_t lane_stride) {
    const std::int64_t offset = begin + block.offset;
    if (block.slot >= 0) {
      plan_.slots[at(block.slot)].offset = offset;
      plan_.slots[at(block.slot)].lane_stride = lane_stride;
    } else if (block.lane.empty()) {
      plan_.steps[at(block.first)].scratch_offset = offset;
      plan_.steps[at(block.first)].scratch_stride = lane_stride;
    }
    for (const Block& own : block.lane) settle(own, offset, block.lane_bytes);
  }

  Location location_of(int slot) const {
    Location location;
    location.root = slot;
    for (; plan_.slots[at(location.root)].alias_of >= 0;
         location.root = plan_.slots[at(location.root)].alias_of)
      location.begin += plan_.slots[at(location.root)].alias_begin;
    const Slot& root = plan_.slots[at(location.root)];
    location.place = root.place;
    if (root.place == Slot::Place::arena) location.begin += root.offset;
    if (root.place == Slot::Place::constant) location.constant = root.constant->data();
    if (root.place == Slot::Place::own && is_plain(root.dtype))
      location.bytes = bytes_of_slot(location.root);
    return location;
  }

  Plan& plan_;
  std::vector<int> first_, last_;  // by root slot: the steps that first and last touch it
};

}  // namespace

void place_in_arena(Plan& plan) { Placement(plan).run(); }

}  // namespace mezzo::plan
