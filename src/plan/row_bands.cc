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

#include "base/shape.h"
#include "plan/compiler.h"

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

// Bytes of a row (of axis 2) of a tensor, in blocks or not, and of its planes.
std::int64_t row_bytes(const Slot& slot) {
  const Shape row(slot.shape.begin() + 3, slot.shape.end());
  return static_cast<std::int64_t>(bytes_of(slot.dtype, element_count(row)));
}
std::int64_t plane_bytes(const Slot& slot) { return slot.shape[2] * row_bytes(slot); }

// What so many rows cost.
std::int64_t units_of(const RowWindow& window, std::int64_t rows) {
  return (rows + window.unit - 1) / window.unit;
}

class RowSplitter {
 public:
  RowSplitter(Plan& plan, int threads)
      : plan_(plan), count_(threads), windows_(plan.steps.size()), uses_(plan.slots.size()) {}

  void run() {
    const int steps = static_cast<int>(plan_.steps.size());
    for (int i = 0; i < steps; ++i) {
      const std::optional<RowWindow> window = window_of(i);
      if (!window) continue;
      Step& step = plan_.steps[at(i)];
      const std::string reason = refusal(*step.op, *window);
      if (reason.empty()) {
        windows_[at(i)] = window;
      } else {
        step.misses.push_back("row_bands: " + reason);
      }
    }
    find_uses();
    for (int begin = 0, end; begin < steps; begin = end) {
      for (end = begin; end < steps && is_splittable(end);) ++end;
      if (end > begin) split(begin, end);
      end = std::max(end, begin + 1);
    }
  }

 private:
  // The steps that use a root slot or its views, the last that writes it, and whether all can do so
  // by bands.
  struct Uses {
    int first = -1, last = -1, written = -1;
    bool by_bands = true;
  };
  // Rows in a band's memory ahead of its own and behind them, and all of them.
  struct Halo {
    std::int64_t before = 0, behind = 0, rows = 0;
  };

  // The first row of a band of an image with so many rows.
  std::int64_t border(std::int64_t rows, int band) const { return rows * band / count_; }

  // What a band's windows see.
  Band band_of(const RowWindow& window, int band) const {
    Band part;
    part.begin = border(window.out, band);
    part.end = border(window.out, band + 1);
    const auto inside = [&](std::int64_t row) {
      return std::clamp<std::int64_t>(row, 0, window.in);
    };
    part.in_begin = inside(part.begin * window.stride - window.pad);
    part.in_end = inside((part.end - 1) * window.stride - window.pad + window.extent);
    return part;
  }

  // Whether input i has a band of its own for each one of the output, row for row.
  static bool is_summand(const ops::Op& op, int i) {
    return i > 0 && op.row().is_batched(op, i) && op.in_shape(i) == op.out_shape(0);
  }

  bool in_micro_batches(int step) const {
    return std::any_of(plan_.micro_batches.begin(), plan_.micro_batches.end(),
                       [&](const MicroBatches& b) { return step >= b.begin && step < b.end; });
  }

  // The window of a step that can be split.
  std::optional<RowWindow> window_of(int i) const {
    const Step& step = plan_.steps[at(i)];
    if (step.kind != Step::Kind::kernel || !step.captures.empty() || in_micro_batches(i)) return {};
    const ops::Op& op = *step.op;
    const std::optional<RowWindow> window = op.row().row_window(op);
    if (!window || op.out_shape(0)[0] != 1 || op.is_constant(0)) return {};
    return window;
  }

  // Why that would not pay; empty where it does.
  std::string refusal(const ops::Op& op, const RowWindow& window) const {
    const double bytes = bytes_of_operand(op.in(0)) + bytes_of_operand(op.out(0));
    double weights = 0;
    for (int k = 1; k < op.inputs(); ++k) {
      if (op.is_constant(k) && !is_summand(op, k)) weights += bytes_of_operand(op.in(k));
    }
    const std::int64_t elements = element_count(op.in_shape(0)) + element_count(op.out_shape(0));
    if (elements < kLeastElements) return "a small image";
    if (bytes < kLeastReuse * weights) return "as many weights as pixels";
    // All bands must have something to do, and about as much.
    std::int64_t most = 0;
    for (int b = 0; b < count_; ++b) {
      const Band band = band_of(window, b);
      if (band.begin >= band.end || band.in_begin >= band.in_end) return "too few rows";
      most = std::max(most, units_of(window, band.end - band.begin));
    }
    if (100 * most * count_ > (100 + kMostUneven) * units_of(window, window.out))
      return "the rows do not divide well";
    return "";
  }

  bool is_splittable(int i) const { return windows_[at(i)] || plan_.steps[at(i)].placed; }

  void find_uses() {
    const auto use = [&](int step, int slot, bool by_bands) {
      if (slot < 0) return;
      Uses& uses = uses_[at(root_of(plan_, slot))];
      if (uses.first < 0) uses.first = step;
      uses.last = step;
      uses.by_bands = uses.by_bands && by_bands;
    };
    for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
      const Step& step = plan_.steps[at(i)];
      for (std::size_t k = 0; k < step.in.size(); ++k) {
        const int input = static_cast<int>(k);
        use(i, step.in[k],
            step.placed || (windows_[at(i)] && (input == 0 || is_summand(*step.op, input))));
      }
      for (const int slot : step.captures) use(i, slot, false);
      for (const int slot : step.out) {
        use(i, slot, is_splittable(i));
        if (slot >= 0) uses_[at(root_of(plan_, slot))].written = i;
      }
    }
    // The memory of bands knows whole planes.
    for (std::size_t i = 0; i < plan_.slots.size(); ++i) {
      const Slot& slot = plan_.slots[i];
      const int root = root_of(plan_, static_cast<int>(i));
      const Slot& whole = plan_.slots[at(root)];
      const bool blocked = slot.shape.size() == 5 && whole.shape.size() == 5;
      if (whole.place != Slot::Place::arena || !blocked ||
          !std::equal(slot.shape.begin() + 2, slot.shape.end(), whole.shape.begin() + 2) ||
          slot.alias_begin % std::max<std::int64_t>(1, plane_bytes(slot)) != 0) {
        uses_[at(root)].by_bands = false;
      }
    }
  }

  bool is_inside(int slot) const {
    const Uses& uses = uses_[at(root_of(plan_, slot))];
    return uses.by_bands && uses.first >= begin_ && uses.last < end_;
  }

  // Steps [begin, end), all of which can be split.
  void split(int begin, int end) {
    begin_ = begin;
    end_ = end;
    RowBands group{begin, end, count_, {}, {}};
    for (int i = 0; i < static_cast<int>(plan_.slots.size()); ++i) {
      if (is_inside(i)) group.inside.push_back(i);
    }
    if (group.inside.empty() || !find_halos()) return;
    for (int i = begin; i < end; ++i) {
      if (!windows_[at(i)]) continue;
      for (int b = 0; b < count_; ++b) plan_.steps[at(i)].bands.push_back(band_step(i, b));
      plan_.steps[at(i)].passes.emplace_back("row_bands");
    }
    const std::vector<int> banded = group.inside;
    make_stages(group);
    for (const int i : banded) {
      Slot& slot = plan_.slots[at(i)];
      const std::int64_t planes = slot.alias_begin / plane_bytes(slot);
      slot.shape[2] = halos_.at(slot.shape[2]).rows;
      slot.alias_begin = planes * plane_bytes(slot);
    }
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

  // Rows of a plane in memory.
  std::int64_t rows_of(int slot) const {
    const std::int64_t height = plan_.slots[at(slot)].shape[2];
    return is_inside(slot) ? halos_.at(height).rows : height;
  }

  // Bytes from the start of the slot, in a band's memory where that is its own, to a row.
  std::int64_t begin_of(int slot, int band, std::int64_t row) const {
    const Slot& facts = plan_.slots[at(slot)];
    const std::int64_t height = facts.shape[2];
    if (is_inside(slot)) row += halos_.at(height).before - border(height, band);
    return row * row_bytes(facts);
  }

  BandStep band_step(int i, int b) const {
    const Step& step = plan_.steps[at(i)];
    const RowWindow& window = *windows_[at(i)];
    Band band = band_of(window, b);
    band.in_rows = rows_of(step.in[0]);
    band.out_rows = rows_of(step.out[0]);
    BandStep part;
    part.in_begin.assign(step.in.size(), 0);
    part.out_begin.assign(step.out.size(), 0);
    part.in_begin[0] = begin_of(step.in[0], b, band.in_begin);
    for (std::size_t k = 0; k < step.out.size(); ++k) {
      if (step.out[k] >= 0) part.out_begin[k] = begin_of(step.out[k], b, band.begin);
    }
    for (int k = 1; k < step.op->inputs(); ++k) {
      if (!is_summand(*step.op, k)) continue;
      band.add_rows = rows_of(step.in[at(k)]);
      part.in_begin[at(k)] = begin_of(step.in[at(k)], b, band.begin);
    }
    part.op = std::make_shared<ops::Op>(*step.op);
    part.op->set_band(band);
    return part;
  }

  Plan& plan_;
  const int count_;
  std::vector<std::optional<RowWindow>> windows_;  // by step
  std::vector<Uses> uses_;                         // by root slot
  int begin_ = 0, end_ = 0;                        // of the group in work
  std::map<std::int64_t, Halo> halos_;             // by the height of its images
};

}  // namespace

void split_rows(Plan& plan, int threads) {
  if (threads > 1) RowSplitter(plan, threads).run();
}

}  // namespace mezzo::plan
