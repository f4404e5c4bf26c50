// Large images, in bands of rows: where several steps in a row can compute some rows of an image
// for themselves, each thread takes the same rows in all of them, with memory of its own for what
// the steps hand to each other. It then finds in its own caches what it reads and, which costs
// more, what it writes: lines that another core wrote last must be fetched from there. Threads wait
// for each other only where windows see rows beyond a thread's own: ahead of that, each leaves
// copies of its outermost rows, its edges, from which the others fetch what they need.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/rounding.h"
#include "base/shape.h"
#include "plan/row_steps.h"

namespace mezzo::plan {
namespace {

using ops::Band;
using ops::RowWindow;

// What has fewer elements is computed before threads have met.
constexpr std::int64_t kLeastElements = 32 << 10;
// Each thread reads all weights: these are to be so many times smaller than x and y.
constexpr double kLeastReuse = 2;
// Percent that the threads together may wait for the one with the most rows.
constexpr std::int64_t kMostUneven = 20;
// Lines of the cache that a band has of each plane, from which on it does not matter that the first
// and the last are another band's as well: each costs as much as ten to forty whole ones. Nor does
// it where there are few of them in all.
constexpr std::int64_t kLeastLines = 256, kFewSharedLines = 256;

// What so many rows cost.
std::int64_t units_of(const RowWindow& window, std::int64_t rows) {
  return ceil_div(rows, window.unit);
}

class RowSplitter : RowSteps {
 public:
  RowSplitter(Plan& plan, int threads) : RowSteps(plan), count_(threads) {}

  void run() {
    const int steps = static_cast<int>(plan_.steps.size());
    for (const Step& step : plan_.steps) shared_lines_ += shared_lines(step);
    find_steps();
    for (int begin = 0, end; begin < steps; begin = end) {
      for (end = begin; end < steps && is_splittable(end);) ++end;
      if (end > begin) split(begin, end);
      end = std::max(end, begin + 1);
    }
  }

 private:
  // Rows in a band's memory ahead of its own and behind them, and all of them.
  struct Halo {
    std::int64_t before = 0, behind = 0, rows = 0;
  };

  // The first row of a band of an image with so many rows.
  std::int64_t border(std::int64_t rows, int band) const { return rows * band / count_; }

  // What a band's windows see.
  Band band_of(const RowWindow& window, int band) const {
    return RowSteps::band_of(window, border(window.out, band), border(window.out, band + 1));
  }

  std::string refusal(const Step& step, const RowWindow& window) const override {
    const ops::Op& op = *step.op;
    const double bytes = bytes_of_operand(op.in(0)) + bytes_of_operand(op.out(0));
    const std::int64_t elements = element_count(op.in_shape(0)) + element_count(op.out_shape(0));
    if (elements < kLeastElements) return "a small image";
    if (bytes < kLeastReuse * bytes_of_weights(op)) return "as many weights as pixels";
    // All bands must have something to do, and about as much.
    std::int64_t most = 0;
    for (int b = 0; b < count_; ++b) {
      const Band band = band_of(window, b);
      if (band.begin >= band.end || band.in_begin >= band.in_end) return "too few rows";
      most = std::max(most, units_of(window, band.end - band.begin));
    }
    if (100 * most * count_ > (100 + kMostUneven) * units_of(window, window.out))
      return "the rows do not divide well";
    if (shared_lines_ > kFewSharedLines && shared_lines(step) > 0)
      return "threads would write into the same cache lines";
    return "";
  }

  // Lines that two bands have a part of, in what a step gives plain: those that matter.
  std::int64_t shared_lines(const Step& step) const {
    std::int64_t lines = 0;
    for (const int number : step.out) {
      if (number < 0 || plan_.slots[at(number)].shape.size() != 4) continue;
      const Slot& slot = plan_.slots[at(number)];
      const Shape& shape = slot.shape;
      if (shape[2] < count_ || plane_bytes(slot) >= count_ * kLeastLines * kCacheLine) continue;
      for (int b = 1; b < count_; ++b) {
        if (border(shape[2], b) * row_bytes(slot) % kCacheLine != 0) lines += shape[0] * shape[1];
      }
    }
    return lines;
  }

  // Steps [begin, end), all of which can be split.
  void split(int begin, int end) {
    begin_ = begin;
    end_ = end;
    RowBands group{begin, end, count_, slots_inside(), {}, {}};
    if (group.inside.empty() || !find_halos()) return;
    for (int i = begin; i < end; ++i) {
      if (!windows_[at(i)]) continue;
      for (int b = 0; b < count_; ++b)
        plan_.steps[at(i)].bands.push_back(band_step(i, b, band_of(*windows_[at(i)], b)));
      plan_.steps[at(i)].passes.emplace_back("row_bands");
    }
    const std::vector<int> banded = group.inside;
    make_stages(group);
    make_bands_of(banded);
    plan_.row_bands.push_back(std::move(group));
  }

  // What bands of images of each height must have room for; images of a height are alike, since one
  // may take another's place. False: a window sees more than the neighbours' rows.
  bool find_halos() {
    halos_.clear();
    for (int i = begin_; i < end_; ++i) {
      if (!windows_[at(i)]) continue;
      const Step& step = plan_.steps[at(i)];
      const RowWindow& window = *windows_[at(i)];
      Halo& of_out = halos_[window.out];
      Halo& halo = halos_[window.in];
      for (int b = 0; b < count_; ++b) {
        of_out.rows = std::max(of_out.rows, border(window.out, b + 1) - border(window.out, b));
        const std::int64_t own = border(window.in, b), own_end = border(window.in, b + 1);
        halo.rows = std::max(halo.rows, own_end - own);
        if (!is_inside(step.in[0])) continue;
        const Band band = band_of(window, b);
        halo.before = std::max(halo.before, own - band.in_begin);
        halo.behind = std::max(halo.behind, band.in_end - own_end);
      }
    }
    for (auto& [height, halo] : halos_) {
      if (std::max(halo.before, halo.behind) > height / count_) return false;
      halo.rows += halo.before + halo.behind;
    }
    return true;
  }

  // Whether windows of a step see rows beyond their band's own.
  bool sees_others(int i) const {
    const RowWindow& window = *windows_[at(i)];
    for (int b = 0; b < count_; ++b) {
      const Band band = band_of(window, b);
      if (band.in_begin < border(window.in, b) || band.in_end > border(window.in, b + 1))
        return true;
    }
    return false;
  }

  void make_stages(RowBands& group) {
    std::set<int> complete;  // slots of which bands have their neighbours' rows
    group.stages.push_back({begin_, end_, {}});
    for (int i = begin_; i < end_; ++i) {
      if (!windows_[at(i)] || !sees_others(i)) continue;
      const int x = plan_.steps[at(i)].in[0];
      if (uses_[at(root_of(plan_, x))].written >= group.stages.back().begin) {
        group.stages.back().end = i;
        group.stages.push_back({i, end_, {}});
      }
      if (is_inside(x) && complete.insert(x).second) exchange_edges(group, x);
    }
  }

  // Has all bands copy the outermost rows of a slot at the end of the last stage but one, and fetch
  // the neighbours' when the last one begins.
  void exchange_edges(RowBands& group, int slot) {
    RowBands::Stage& source = group.stages[group.stages.size() - 2];
    int last = source.end - 1;
    while (!windows_[at(last)]) --last;
    const Slot facts = plan_.slots[at(slot)];
    const std::int64_t height = facts.shape[2], row = row_bytes(facts);
    const Halo& halo = halos_.at(height);
    const int edge = static_cast<int>(plan_.slots.size());
    Slot edges;
    edges.dtype = facts.dtype;
    edges.shape = facts.shape;
    edges.shape[2] = halo.behind + halo.before;
    plan_.slots.push_back(edges);
    uses_.emplace_back();
    source.edges.push_back(edge);
    group.inside.push_back(edge);
    for (int b = 0; b < count_; ++b) {
      const std::int64_t own = border(height, b), own_end = border(height, b + 1);
      // The first rows are behind those of the band ahead, and so on.
      const auto copy = [&](int from_slot, int from_band, std::int64_t from, int to_slot,
                            std::int64_t to, std::int64_t rows) {
        const auto plane = [&](int of) { return (of == slot ? halo.rows : edges.shape[2]) * row; };
        return RowCopy{from_slot,  to_slot,        from_band,        from,          to,
                       rows * row, facts.shape[1], plane(from_slot), plane(to_slot)};
      };
      std::vector<RowCopy>& leave = plan_.steps[at(last)].bands[at(b)].after;
      std::vector<RowCopy>& fetch = plan_.steps[at(source.end)].bands[at(b)].before;
      if (b > 0) {
        leave.push_back(copy(slot, b, begin_of(slot, b, own), edge, 0, halo.behind));
        fetch.push_back(copy(edge, b - 1, halo.behind * row, slot,
                             begin_of(slot, b, own - halo.before), halo.before));
      }
      if (b + 1 < count_) {
        leave.push_back(copy(slot, b, begin_of(slot, b, own_end - halo.before), edge,
                             halo.behind * row, halo.before));
        fetch.push_back(copy(edge, b + 1, 0, slot, begin_of(slot, b, own_end), halo.behind));
      }
    }
  }

  std::int64_t rows_in_memory(int slot) const override {
    const std::int64_t height = plan_.slots[at(slot)].shape[2];
    return is_inside(slot) ? halos_.at(height).rows : height;
  }
  std::int64_t first_row(int slot, int band) const override {
    const std::int64_t height = plan_.slots[at(slot)].shape[2];
    return is_inside(slot) ? border(height, band) - halos_.at(height).before : 0;
  }

  const int count_;
  std::int64_t shared_lines_ = 0;       // of all steps
  std::map<std::int64_t, Halo> halos_;  // by the height of its images
};

}  // namespace

void split_rows(Plan& plan, int threads) { RowSplitter(plan, threads).run(); }

}  // namespace mezzo::plan
