// Large images, in bands of rows that one thread computes one after the other. Where steps in a row
// hand each other more than the second-level cache holds, a band runs through all of them before
// the next one begins, so that each finds in that cache what the one before it wrote. The tensors
// between them need memory for some rows only: those of the band, and those of earlier bands that
// windows see again, which move to the front when a band begins. Nothing is computed twice: a step
// is ahead of those that read its rows by what their windows see.
#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "base/rounding.h"
#include "base/shape.h"
#include "plan/row_steps.h"

namespace mezzo::plan {
namespace {

using ops::RowWindow;

// A tensor that is larger is worth keeping in the cache between two steps.
constexpr double kLargeBytes = 1 << 20;
// What all tensors between the steps may take of the cache, with the steps' weights.
constexpr double kCacheBytes = 1 << 20;
// Multiply-adds for each byte of x and y, from which on it hardly matters where these lie.
constexpr double kMostWork = 8;
// The bands of the highest image have no fewer rows: kernels compute several at a time.
constexpr std::int64_t kLeastRows = 4;
// A row may be of any width: more rows than these are not put together for the sake of its end.
constexpr std::int64_t kMostTogether = 16;

class RowTurns : RowSteps {
 public:
  explicit RowTurns(Plan& plan) : RowSteps(plan) {}

  void run() {
    find_steps();
    const int steps = static_cast<int>(plan_.steps.size());
    for (begin_ = 0; begin_ < steps; begin_ = end_) {
      end_ = begin_ + 1;
      if (!windows_[at(begin_)]) continue;
      while (end_ < steps && is_splittable(end_) && gets_much(end_, steps) && can_follow(end_))
        ++end_;
      while (end_ > begin_ + 1 && !(gets_much(end_ - 1, end_) && find_bands())) --end_;
      if (end_ > begin_ + 1) split();
    }
  }

 private:
  // The rows of an image, by band: those that are there when it is done, and the first that it or a
  // later one reads; and how many there are at a time.
  struct Rows {
    std::int64_t height = 0, bytes = 0;  // of the whole image, and of a row of all planes
    std::int64_t unit = 1;               // computed together
    std::vector<std::int64_t> done, from;
    std::int64_t most = 0;
  };

  std::string refusal(const Step& step, const RowWindow&) const override {
    const ops::Op& op = *step.op;
    const double bytes = bytes_of_operand(op.in(0)) + bytes_of_operand(op.out(0));
    if (bytes < kLargeBytes) return "a small image";
    if (static_cast<double>(op.row().count_multiply_adds(op)) > kMostWork * bytes)
      return "much to compute for each pixel";
    return bytes_of_weights(op) > kCacheBytes / 4 ? "many weights" : "";
  }

  int root(int slot) const { return root_of(plan_, slot); }
  double bytes_of_root(int slot) const {
    const Slot& facts = plan_.slots[at(slot)];
    return static_cast<double>(bytes_of(facts.dtype, element_count(facts.shape)));
  }

  // Whether steps from begin_ on hand a large tensor to `step` or those behind, which no step needs
  // from `end` on.
  bool gets_much(int step, int end) const {
    for (int i = 0; i < static_cast<int>(uses_.size()); ++i) {
      const Uses& uses = uses_[at(i)];
      if (uses.by_bands && uses.first >= begin_ && uses.first < step && uses.last >= step &&
          uses.last < end && bytes_of_root(i) >= kLargeBytes)
        return true;
    }
    return false;
  }

  // Whether a step can run in the bands of those from begin_ on: of what they give it reads rows of
  // first outputs alone, and it writes to no tensor of which one of them has read a part.
  bool can_follow(int step) const {
    const Step& next = plan_.steps[at(step)];
    for (int i = begin_; i < step && !next.placed; ++i) {
      const Step& earlier = plan_.steps[at(i)];
      if (earlier.placed) continue;
      for (std::size_t k = 0; k < next.in.size(); ++k) {
        const int input = static_cast<int>(k);
        const bool reads_rows = k == 0 || is_summand(*next.op, input);
        for (std::size_t j = reads_rows ? 1 : 0; j < earlier.out.size(); ++j)
          if (lie_together(next.in[k], earlier.out[j])) return false;
      }
      for (const int in : earlier.in) {
        for (const int out : next.out)
          if (lie_together(in, out)) return false;
      }
    }
    return true;
  }
  bool lie_together(int a, int b) const { return a >= 0 && b >= 0 && root(a) == root(b); }

  // Few bands of steps [begin_, end_) that fit the cache. False: there are none.
  bool find_bands() {
    std::int64_t highest = 0;
    for (int i = begin_; i < end_; ++i) {
      if (windows_[at(i)]) highest = std::max({highest, windows_[at(i)]->in, windows_[at(i)]->out});
    }
    for (count_ = 2; highest / count_ >= kLeastRows; count_ += (count_ + 3) / 4) {
      if (bytes_in_cache() <= kCacheBytes) return true;
    }
    return false;
  }

  double bytes_in_cache() {
    find_rows();
    double bytes = 0;
    for (const auto& [slot, rows] : rows_) {
      if (is_inside(slot)) bytes += static_cast<double>(rows.most * rows.bytes);
    }
    for (int i = begin_; i < end_; ++i) {
      if (windows_[at(i)]) bytes += bytes_of_weights(*plan_.steps[at(i)].op);
    }
    return bytes;
  }

  // What there is of a tensor that the steps write, before anything is known of its rows.
  Rows no_rows(int slot) const {
    const Slot& facts = plan_.slots[at(slot)];
    Rows rows;
    rows.height = facts.shape[2];
    rows.bytes = facts.shape[1] * row_bytes(facts);
    rows.done.assign(at(count_), 0);
    rows.from.assign(at(count_), rows.height);
    return rows;
  }

  void find_rows() {
    rows_.clear();
    for (int i = begin_; i < end_; ++i) {
      if (!windows_[at(i)]) continue;
      const int out = root(plan_.steps[at(i)].out[0]);
      Rows& rows = rows_.try_emplace(out, no_rows(out)).first->second;
      rows.unit = std::lcm(rows.unit, unit_of(i));
    }
    // There are to be enough for all that read them, so the last come first.
    for (int i = end_ - 1; i >= begin_; --i) {
      if (!windows_[at(i)]) continue;
      Rows& out = rows_.at(root(plan_.steps[at(i)].out[0]));
      const bool is_read = out.done.back() > 0;
      for (int b = 0; b < count_; ++b) {
        std::int64_t& done = out.done[at(b)];
        if (!is_read) done = out.height * (b + 1) / count_;
        done = std::min(round_up(done, out.unit), out.height);
      }
      out.done.back() = out.height;
      for_each_read(i, [&](Rows& in, const RowWindow& window) {
        for (int b = 0; b < count_; ++b)
          in.done[at(b)] = std::max(in.done[at(b)], band_of(window, 0, out.done[at(b)]).in_end);
      });
    }
    for (int i = begin_; i < end_; ++i) {
      if (!windows_[at(i)]) continue;
      const Rows& out = rows_.at(root(plan_.steps[at(i)].out[0]));
      for_each_read(i, [&](Rows& in, const RowWindow& window) {
        for (int b = 0; b < count_; ++b) {
          const std::int64_t next = before(out, b);
          if (next == out.height) continue;
          in.from[at(b)] = std::min(in.from[at(b)], band_of(window, next, next + 1).in_begin);
        }
      });
    }
    for (auto& [slot, rows] : rows_) {
      for (int b = 0; b < count_; ++b) {
        rows.from[at(b)] = std::min(rows.from[at(b)], before(rows, b));
        rows.most = std::max(rows.most, rows.done[at(b)] - rows.from[at(b)]);
      }
    }
  }

  // The rows of what a step reads and others of [begin_, end_) write, and the window that sees
  // them.
  template <class Visit>
  void for_each_read(int i, const Visit& visit) {
    const Step& step = plan_.steps[at(i)];
    const RowWindow& window = *windows_[at(i)];
    const auto see = [&](int slot, const RowWindow& seen) {
      const auto found = rows_.find(root(slot));
      if (found != rows_.end()) visit(found->second, seen);
    };
    see(step.in[0], window);
    for (int k = 1; k < step.op->inputs(); ++k) {
      if (is_summand(*step.op, k)) see(step.in[at(k)], {window.out, window.out});
    }
  }

  // How many rows a step should compute together: as its kernel does, and so that what it writes
  // for others ends where a cache line does.
  std::int64_t unit_of(int i) const {
    std::int64_t unit = windows_[at(i)]->unit;
    for (const int slot : plan_.steps[at(i)].out) {
      if (slot < 0 || is_inside(slot)) continue;
      const std::int64_t bytes = row_bytes(plan_.slots[at(slot)]);
      while (unit < kMostTogether && unit * bytes % kCacheLine != 0) unit *= 2;
    }
    return unit;
  }

  // The rows that are there when band b begins.
  static std::int64_t before(const Rows& rows, int b) { return b > 0 ? rows.done[at(b - 1)] : 0; }

  void split() {
    RowBands group{begin_, end_, count_, slots_inside(), {}, {}};
    group.kept.resize(at(count_));
    for (int i = begin_; i < end_; ++i) {
      if (!windows_[at(i)]) continue;
      for (int b = 0; b < count_; ++b) plan_.steps[at(i)].bands.push_back(part_of(i, b));
      plan_.steps[at(i)].passes.emplace_back("row_bands");
    }
    for (const auto& [slot, rows] : rows_) {
      if (is_inside(slot)) keep_rows(group, slot, rows);
    }
    make_bands_of(group.inside);
    plan_.row_bands.push_back(std::move(group));
  }

  // Has the rows that a band reads again moved to the front.
  void keep_rows(RowBands& group, int slot, const Rows& rows) const {
    const Slot& facts = plan_.slots[at(slot)];
    const std::int64_t row = row_bytes(facts);
    for (int b = 1; b < count_; ++b) {
      const std::int64_t kept = before(rows, b) - rows.from[at(b)];
      const std::int64_t begin = rows.from[at(b)] - rows.from[at(b - 1)];
      if (kept <= 0) continue;
      group.kept[at(b)].push_back({slot, slot, 0, begin * row, 0, kept * row, facts.shape[1],
                                   rows.most * row, rows.most * row});
    }
  }

  std::int64_t rows_in_memory(int slot) const override {
    return is_inside(slot) ? rows_.at(root(slot)).most : plan_.slots[at(slot)].shape[2];
  }
  std::int64_t first_row(int slot, int band) const override {
    return is_inside(slot) ? rows_.at(root(slot)).from[at(band)] : 0;
  }

  // Without an operator where nothing is left to do.
  BandStep part_of(int i, int b) const {
    const Rows& out = rows_.at(root(plan_.steps[at(i)].out[0]));
    const std::int64_t begin = before(out, b), end = out.done[at(b)];
    return begin < end ? band_step(i, b, band_of(*windows_[at(i)], begin, end)) : BandStep();
  }

  int count_ = 1;
  std::map<int, Rows> rows_;  // by root slot that steps [begin_, end_) write
};

}  // namespace

void take_turns(Plan& plan) { RowTurns(plan).run(); }

}  // namespace mezzo::plan
