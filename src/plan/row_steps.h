// The steps of a plan that can compute some rows of an image for themselves, and what they share
// with others: what both ways of running by bands of rows need to know.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plan/compiler.h"

namespace mezzo::plan {

/// Bytes of a row (of axis 2) of a tensor, in blocks or not, and of its planes.
inline std::int64_t row_bytes(const Slot& slot) {
  const Shape row(slot.shape.begin() + 3, slot.shape.end());
  return static_cast<std::int64_t>(bytes_of(slot.dtype, element_count(row)));
}
inline std::int64_t plane_bytes(const Slot& slot) { return slot.shape[2] * row_bytes(slot); }

/// Bytes.
inline constexpr std::int64_t kCacheLine = 64;

/// Whether input i has a row of its own for each one of the output.
inline bool is_summand(const ops::Op& op, int i) {
  return i > 0 && op.row().is_batched(op, i) && op.in_shape(i) == op.out_shape(0);
}

/// Bytes of an operator's constants that all bands read.
double bytes_of_weights(const ops::Op& op);

/// Finds them, and what to ask about them.
class RowSteps {
 public:
  explicit RowSteps(Plan& plan)
      : plan_(plan), windows_(plan.steps.size()), uses_(plan.slots.size()) {}
  RowSteps(const RowSteps&) = delete;
  RowSteps& operator=(const RowSteps&) = delete;
  virtual ~RowSteps() = default;

 protected:
  using RowWindow = ops::RowWindow;
  // The steps that use a root slot or its views, the last that writes it, and whether all can do so
  // by bands.
  struct Uses {
    int first = -1, last = -1, written = -1;
    bool by_bands = true;
  };

  // To be called first: finds the steps that can be split, and for whom `refusal` gives no reason,
  // and who uses what.
  void find_steps();
  // Why it would not pay to split a step; empty where it does.
  virtual std::string refusal(const Step& step, const RowWindow& window) const = 0;

  bool is_splittable(int i) const { return windows_[at(i)] || plan_.steps[at(i)].placed; }
  // Whether only steps [begin_, end_) know the slot, and these by bands.
  bool is_inside(int slot) const {
    const Uses& uses = uses_[at(root_of(plan_, slot))];
    return uses.by_bands && uses.first >= begin_ && uses.last < end_;
  }
  // The rows of input 0 that windows see for rows [begin, end) of the output.
  static ops::Band band_of(const RowWindow& window, std::int64_t begin, std::int64_t end);
  // Of a slot in a band's memory: the rows of each plane, and the number of the first.
  virtual std::int64_t rows_in_memory(int slot) const = 0;
  virtual std::int64_t first_row(int slot, int band) const = 0;

  // Bytes from the start of the slot, in a band's memory where that is its own, to a row.
  std::int64_t begin_of(int slot, int band, std::int64_t row) const {
    return (row - first_row(slot, band)) * row_bytes(plan_.slots[at(slot)]);
  }
  // The slots of which is_inside() is so, in order.
  std::vector<int> slots_inside() const;
  // A step's part for a band with such windows.
  BandStep band_step(int i, int number, ops::Band band) const;
  // From here on these slots hold a band at a time.
  void make_bands_of(const std::vector<int>& slots);

  Plan& plan_;
  std::vector<std::optional<RowWindow>> windows_;  // by step
  std::vector<Uses> uses_;                         // by root slot
  int begin_ = 0, end_ = 0;                        // of the steps in work

 private:
  std::optional<RowWindow> window_of(int i) const;
  void find_uses();
};

}  // namespace mezzo::plan
