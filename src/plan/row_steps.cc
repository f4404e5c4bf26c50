#include "plan/row_steps.h"

#include <algorithm>

#include "base/shape.h"

namespace mezzo::plan {

ops::Band RowSteps::band_of(const RowWindow& window, std::int64_t begin, std::int64_t end) {
  ops::Band band;
  band.begin = begin;
  band.end = end;
  const auto inside = [&](std::int64_t row) { return std::clamp<std::int64_t>(row, 0, window.in); };
  band.in_begin = inside(begin * window.stride - window.pad);
  band.in_end = inside((end - 1) * window.stride - window.pad + window.extent);
  return band;
}

double bytes_of_weights(const ops::Op& op) {
  double bytes = 0;
  for (int k = 1; k < op.inputs(); ++k) {
    if (op.is_constant(k) && !is_summand(op, k)) bytes += bytes_of_operand(op.in(k));
  }
  return bytes;
}

// The window of a step that can be split.
std::optional<ops::RowWindow> RowSteps::window_of(int i) const {
  const Step& step = plan_.steps[at(i)];
  const bool in_micro_batches =
      std::any_of(plan_.micro_batches.begin(), plan_.micro_batches.end(),
                  [&](const MicroBatches& b) { return i >= b.begin && i < b.end; });
  if (step.kind != Step::Kind::kernel || !step.captures.empty() || in_micro_batches) return {};
  const ops::Op& op = *step.op;
  const std::optional<RowWindow> window = op.row().row_window(op);
  if (!window || op.out_shape(0)[0] != 1 || op.is_constant(0)) return {};
  return window;
}

void RowSteps::find_steps() {
  for (int i = 0; i < static_cast<int>(plan_.steps.size()); ++i) {
    const std::optional<RowWindow> window = window_of(i);
    if (!window) continue;
    Step& step = plan_.steps[at(i)];
    const std::string reason = refusal(step, *window);
    if (reason.empty()) {
      windows_[at(i)] = window;
    } else {
      step.misses.push_back("row_bands: " + reason);
    }
  }
  find_uses();
}

void RowSteps::find_uses() {
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

std::vector<int> RowSteps::slots_inside() const {
  std::vector<int> slots;
  for (int i = 0; i < static_cast<int>(plan_.slots.size()); ++i) {
    if (is_inside(i)) slots.push_back(i);
  }
  return slots;
}

BandStep RowSteps::band_step(int i, int number, ops::Band band) const {
  const Step& step = plan_.steps[at(i)];
  band.in_rows = rows_in_memory(step.in[0]);
  band.out_rows = rows_in_memory(step.out[0]);
  BandStep part;
  part.in_begin.assign(step.in.size(), 0);
  part.out_begin.assign(step.out.size(), 0);
  part.in_begin[0] = begin_of(step.in[0], number, band.in_begin);
  for (std::size_t k = 0; k < step.out.size(); ++k) {
    if (step.out[k] >= 0) part.out_begin[k] = begin_of(step.out[k], number, band.begin);
  }
  for (int k = 1; k < step.op->inputs(); ++k) {
    if (!is_summand(*step.op, k)) continue;
    band.add_rows = rows_in_memory(step.in[at(k)]);
    part.in_begin[at(k)] = begin_of(step.in[at(k)], number, band.begin);
  }
  part.op = std::make_shared<ops::Op>(*step.op);
  part.op->set_band(band);
  return part;
}

void RowSteps::make_bands_of(const std::vector<int>& slots) {
  for (const int i : slots) {
    Slot& slot = plan_.slots[at(i)];
    const std::int64_t planes = slot.alias_begin / plane_bytes(slot);
    slot.shape[2] = rows_in_memory(i);
    slot.alias_begin = planes * plane_bytes(slot);
  }
}

}  // namespace mezzo::plan
