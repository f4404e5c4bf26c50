// Convolutions in the blocked layout nChw8c, in regions where that saves more than it costs to
// convert what enters and leaves them. What works element by element follows its convolutions, so
// that a region ends only where somebody wants the plain tensor: another kernel, or the caller, for
// whom a tapped tensor is converted while the region goes on.
//
// Transformers have images whose pixels are tokens, [N, L, C], and a Transpose ahead of what
// convolves them and one behind it. Converting does what these do.
//
// Each region is decided as a whole. Convolutions give what is tapped in them and right behind them
// plain by themselves (conv_stages.h); many other taps make conversions many, and the region stays
// plain.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/memory.h"
#include "base/shape.h"
#include "ops/blocked.h"
#include "passes/layout_part.h"
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

class Layout {
 public:
  explicit Layout(Program& program)
      : program_(program),
        parts_(static_cast<std::size_t>(program.size())),
        regions_(parts_.size()) {
    std::iota(regions_.begin(), regions_.end(), 0);
  }

  void run() {
    // Of two convolutions whose sum is taken the later one has it behind itself.
    for (int i = program_.size() - 1; i >= 0; --i) {
      if (alone(i) && is_float_convolution(program_, i)) convolution(i);
    }
    for (int i = 0; i < program_.size(); ++i) {
      if (is_free(i) && !is_float_convolution(program_, i)) part(i) = layout_part(program_, i);
    }
    join();
    for (auto& [slot, uses] : uses_) {
      if (uses.given && tokens_behind(slot)) uses.kept = false;
    }
    std::map<int, double> gains;
    for (int i = 0; i < program_.size(); ++i) {
      if (part(i).takes_part()) gains[region(i)] += part(i).gain;
    }
    for (const auto& [slot, uses] : uses_) {
      if (uses.region < 0 || (!uses.given && tokens_ahead(slot))) continue;
      gains[region(uses.region)] -= uses.conversions() * cost(slot);
    }
    const auto pays = [&](int i) { return part(i).takes_part() && gains[region(i)] > 0; };
    for (int i = 0; i < program_.size(); ++i) {
      if (pays(i) && program_.is(i, "Concat")) join_copies(i);
    }
    for (int i = 0; i < program_.size(); ++i) {
      if (!part(i).takes_part()) continue;
      if (pays(i)) {
        convert(i);
      } else if (part(i).gain > 0) {
        program_.miss(part(i).stages ? part(i).stages->members[0] : i,
                      "converting to the blocked layout and back would cost more than it saves");
      }
    }
  }

 private:
  // Who deals with a slot in which layout.
  struct Uses {
    int region = -1;      // a step that takes it or gives it in blocks
    bool given = false;   // in blocks
    bool staged = false;  // by a convolution that can give it plain as well
    bool kept = false;    // plain, by whoever runs the plan
    bool read = false;    // plain, by a step
    // A step that reads it finds it in the caches if it was converted, not if a stage gave it.
    bool by_stage() const { return staged && kept && !read; }
    bool converted() const { return (kept || read) && !by_stage(); }
    // What is only kept goes to memory that is in no cache. That costs a plain kernel as well,
    // which has the lines read first; to convert it past the caches costs little more.
    double conversions() const {
      if (!given || read) return 1;
      return by_stage() ? 0.1 : kept ? 0.25 : 0;
    }
  };

  LayoutPart& part(int i) { return parts_[static_cast<std::size_t>(i)]; }
  int region(int i) {
    int& parent = regions_[static_cast<std::size_t>(i)];
    return parent == i ? i : parent = region(parent);
  }

  double cost(int slot) const { return ops::reorder_cost(program_.slot(slot).operand); }

  // Whether step i is none of those that a convolution takes in.
  bool is_free(int i) {
    const Step& step = program_.step(i);
    if (step.removed || step.op == nullptr || step.out.empty() || step.out[0] < 0) return false;
    return !absorbed_.contains(i) && !part(i).stages;
  }

  // Whether it gives one tensor besides.
  bool alone(int i) {
    const std::vector<int>& out = program_.step(i).out;
    return is_free(i) && std::all_of(out.begin() + 1, out.end(), [](int slot) { return slot < 0; });
  }

  void convolution(int i) {
    const Step& step = program_.step(i);
    if (!fits_blocks(program_, step.out[0])) return few_channels(i);
    if (const std::string reason = ops::stays_plain(program_.op(i)); !reason.empty())
      return program_.miss(i, reason);
    LayoutPart result{{}, {}, "BlockedConv"};
    result.gain = ops::blocked_gain(program_.op(i));
    if (ops::can_be_blocked(program_.op(i).in(0))) {
      if (!fits_blocks(program_, step.in[0])) return;
      result.taken.push_back(step.in[0]);
    }
    if (const int summand = program_.in(i, 3); summand >= 0 && !fits_blocks(program_, summand))
      return;
    result.stages = conv_stages(
        program_, i, [&](int slot) { return fits_blocks(program_, slot); },
        [&](int step) { return alone(step); });
    result.given = {result.stages->y};
    if (result.stages->summand >= 0) result.taken.push_back(result.stages->summand);
    const std::vector<int>& members = result.stages->members;
    absorbed_.insert(members.begin(), members.end() - 1);
    // Each that follows would have read and written the whole tensor.
    result.gain += static_cast<double>(members.size() - 1) * cost(result.stages->y);
    part(members.back()) = std::move(result);
  }

  // A convolution that ends a region.
  void few_channels(int i) {
    const int x = program_.step(i).in[0];
    if (!fits_blocks(program_, x)) return;
    if (const std::optional<double> gain = ops::few_gain(program_.op(i))) {
      part(i) = {{x}, {}, "BlockedFewConv"};
      part(i).gain = *gain;
    }
  }

  // The Transpose between an image and its tokens, and these.
  struct Tokens {
    int transpose, slot;
    Shape shape;  // as an image whose channels come last
  };

  std::optional<Tokens> tokens_of(int transpose, int slot, int image) const {
    const Shape& s = program_.slot(image).operand.shape;
    if (transpose < 0 || s.size() != 4 || !program_.op(transpose).has_attr("perm") ||
        program_.op(transpose).attr_ints("perm") != std::vector<std::int64_t>{0, 2, 1} ||
        program_.slot(slot).operand.shape != Shape{s[0], s[2] * s[3], s[1]})
      return std::nullopt;
    return Tokens{transpose, slot, {s[0], s[2], s[3], s[1]}};
  }

  // Of an image that is taken in blocks, a view of what a Transpose gives to nobody else.
  std::optional<Tokens> tokens_ahead(int image) const {
    const Slot& facts = program_.slot(image);
    const int transpose = program_.maker_of(facts.view_of, "Transpose");
    if (transpose < 0 || uses_.at(image).read || program_.is_wanted(facts.users, facts.view_of))
      return std::nullopt;
    return tokens_of(transpose, program_.in(transpose, 0), image);
  }

  // Of an image that is given in blocks: nobody reads it plain but a Transpose, under another name.
  std::optional<Tokens> tokens_behind(int image) const {
    const Slot& facts = program_.slot(image);
    std::vector<int> readers = facts.users;
    readers.push_back(facts.viewed);
    if (!program_.is(facts.viewed, "Transpose") || uses_.at(image).read ||
        program_.slot(program_.in(facts.viewed, 0)).view_of != image ||
        program_.is_wanted(readers, image))
      return std::nullopt;
    return tokens_of(facts.viewed, program_.step(facts.viewed).out[0], image);
  }

  // Regions: steps that hand tensors in blocks to each other. Steps that work element by element
  // are worth nothing by themselves, so that they join only what makes their input in blocks.
  void join() {
    for (int i = 0; i < program_.size(); ++i) {
      if (part(i).takes_part() && !may_begin(i) && !any_given(i)) part(i) = {};
      const LayoutPart& own = part(i);
      if (absorbed_.contains(i) || program_.step(i).removed) continue;
      const std::vector<int> members = own.stages ? own.stages->members : std::vector<int>{i};
      for (const int member : members) {
        for (const int slot : program_.step(member).in) {
          if (slot < 0) continue;
          if (own.takes(slot)) {
            meet(slot, i);
          } else {
            uses_[slot].read = true;
          }
        }
      }
      for (const int slot : own.given) {
        uses_[slot].given = true;
        uses_[slot].staged = own.stages && own.stages->gives_plain;
        uses_[slot].kept = !program_.slot(slot).kept.empty();
        meet(slot, i);
      }
    }
  }

  // What reads a plain image may be slower in blocks (a convolution), or do what a conversion does
  // (a Transpose), and yet be worth it: nobody has to convert what it gives.
  bool may_begin(int i) {
    const LayoutPart& own = part(i);
    const bool reads_plain = own.taken.empty();
    return own.gain + (reads_plain ? cost(own.given[0]) : 0) > 0;
  }

  bool any_given(int i) {
    const std::vector<int>& taken = part(i).taken;
    return std::any_of(taken.begin(), taken.end(), [&](int slot) { return uses_[slot].given; });
  }

  void meet(int slot, int i) {
    int& other = uses_[slot].region;
    if (other >= 0) {
      regions_[static_cast<std::size_t>(region(i))] = region(other);
    } else {
      other = i;
    }
  }

  // Where what a Concat gives is kept, and so are its parts, which convolutions give plain, these
  // give them once more where they lie in the whole: a third of what converting that costs. (A view
  // would cost nothing, but whoever wrote into one result would change another.)
  void join_copies(int i) {
    const std::vector<int>& parts = part(i).taken;
    const int whole = part(i).given[0];
    if (!uses_[whole].kept || uses_[whole].read) return;
    std::int64_t end = 0;
    std::map<int, std::int64_t> begins;
    for (const int slot : parts) {
      const ops::Operand& tensor = program_.slot(slot).operand;
      const bool once = !copies_.contains(slot) && begins.emplace(slot, end).second;
      // Kernels write whole lines of the cache.
      const bool at_line = end % static_cast<std::int64_t>(kAlignment) == 0;
      if (!once || !at_line || !uses_[slot].by_stage() || tensor.shape[0] != 1) return;
      end += static_cast<std::int64_t>(bytes_of(tensor.dtype, element_count(tensor.shape)));
    }
    for (const int slot : parts) {
      copies_[slot] = program_.add_slot_inside(whole, begins[slot], slot);
      joined_[whole].push_back(copies_[slot]);
    }
  }

  int blocked(int slot) {
    int& made = blocked_.try_emplace(slot, -1).first->second;
    if (made < 0) {
      made = program_.add_slot(slot, ops::blocked_shape(program_.slot(slot).operand.shape));
    }
    return made;
  }

  // The step with its inputs and outputs still plain.
  Replacement replacement_of(int i) {
    const LayoutPart& own = part(i);
    if (own.stages) return convolution_of(*own.stages);
    const ops::Op& op = program_.op(i);
    Replacement result;
    result.op_type = op.row().name();
    result.domain = op.row().domain();
    result.opset = op.opset();
    result.attributes = op.node().attributes;
    result.in = program_.step(i).in;
    result.out = program_.step(i).out;
    if (!own.op_type.empty()) {
      result.op_type = own.op_type;
      result.domain = kBlockedDomain;
      result.opset = 1;
      if (!own.in.empty()) {
        result.in = own.in;
        result.out.resize(1);
        result.attributes = own.attributes;
      }
    } else if (program_.is(i, "Concat") || program_.is(i, "QLinearConcat", "com.microsoft")) {
      result.attributes = {attribute("axis", std::int64_t{1})};
    }
    return result;
  }

  Replacement convolution_of(const ConvStages& stages) {
    const int conv = stages.members[0];
    Replacement result = as_fused_conv(program_, conv);
    result.domain = kBlockedDomain;
    result.op_type = "BlockedConv";
    result.in[3] = stages.summand;
    if (stages.activation) add_activation(*stages.activation, result);
    result.out = {stages.y};
    const bool gives_result = uses_[stages.y].by_stage();
    if (stages.members.size() == 1 && !gives_result) return result;
    result.op_type = "BlockedStagedConv";
    if (stages.weights >= 0) result.in[1] = stages.weights;
    result.in.insert(result.in.end(), {stages.scale, stages.unscale, stages.shift});
    const auto copy = copies_.find(stages.y);
    result.out.insert(result.out.end(),
                      {stages.conv, stages.scaled, stages.sum, gives_result ? stages.y : -1,
                       copy == copies_.end() ? -1 : copy->second});
    return result;
  }

  void convert(int i) {
    const LayoutPart& own = part(i);
    Replacement replacement = replacement_of(i);
    std::vector<Replacement> before, after;
    std::vector<int> unread;
    for (int& slot : replacement.in) {
      if (!own.takes(slot)) continue;
      if (!uses_[slot].given && !blocked_.contains(slot)) {
        before.push_back({"ToBlocked", kBlockedDomain, 1, {}, {slot}, {blocked(slot)}});
        if (const std::optional<Tokens> tokens = tokens_ahead(slot)) {
          before.back().attributes = {attribute("channels_last", std::int64_t{1})};
          before.back().in = {tokens->slot};
          before.back().in_as = {{0, tokens->shape}};
          unread.push_back(tokens->transpose);
        }
      }
      slot = blocked(slot);
    }
    std::int64_t begin = 0;
    for (std::size_t k = 0; k < own.given.size(); ++k) {
      const int slot = own.given[k], in_blocks = blocked(slot);
      if (k == 0) {
        replacement.out[0] = in_blocks;
      } else {
        after.push_back({"BlockedSlice",
                         kBlockedDomain,
                         1,
                         slice_of(program_, begin, slot),
                         replacement.in,
                         {in_blocks}});
      }
      begin += blocks_of(program_, slot);
      if (const auto joined = joined_.find(slot); joined != joined_.end()) {
        after.push_back(
            {"Concat", "", 13, {attribute("axis", std::int64_t{1})}, joined->second, {slot}});
        after.back().placed = true;
        continue;
      }
      if (const std::optional<Tokens> tokens = tokens_behind(slot)) {
        program_.drop(tokens->transpose, i);
        after.push_back({"FromBlocked",
                         kBlockedDomain,
                         1,
                         {attribute("channels_last", std::int64_t{1})},
                         {in_blocks},
                         {tokens->slot}});
        after.back().out_as = {{0, tokens->shape}};
        continue;
      }
      const Uses& uses = uses_[slot];
      if (!uses.converted()) continue;
      const Shape& plain = program_.slot(slot).operand.shape;
      const bool streamed = !uses.read && element_count(plain) >= kStreamedElements;
      const auto axes = static_cast<std::int64_t>(plain.size()) - 2;
      after.push_back({"FromBlocked",
                       kBlockedDomain,
                       1,
                       {attribute("streamed", std::int64_t{streamed}), attribute("axes", axes)},
                       {in_blocks},
                       {slot}});
    }
    const std::vector<int> members = own.stages ? own.stages->members : std::vector<int>{i};
    program_.replace(members, std::move(replacement), std::move(before), std::move(after));
    for (const int transpose : unread) program_.drop_unread(transpose, i);
  }

  Program& program_;
  std::vector<LayoutPart> parts_;
  std::set<int> absorbed_;      // steps that a later one takes in
  std::vector<int> regions_;    // by step: another one of its region, in the end the same for all
  std::map<int, Uses> uses_;    // by slot
  std::map<int, int> blocked_;  // the form in blocks of a slot
  std::map<int, int> copies_;   // what a convolution gives of it besides, inside another slot
  std::map<int, std::vector<int>> joined_;  // the copies that fill a slot
};

}  // namespace

void layout(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (may_gain(program, i)) return Layout(program).run();
  }
}

}  // namespace mezzo::passes
