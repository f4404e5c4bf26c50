#include "kernels/target.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "kernels/simd_targets.h"
#include "kernels/tiles.h"
#include "mezzo/error.h"

namespace mezzo::kernels {
namespace {

struct Row {
  Target target;
  std::string_view name;
  std::int64_t bit;  // Highway's
};

constexpr Row kRows[] = {
    {Target::scalar, "scalar", 0},    {Target::sse4, "sse4", HWY_SSE4},
    {Target::avx2, "avx2", HWY_AVX2}, {Target::avx512, "avx512", HWY_AVX3},
    {Target::amx, "amx", HWY_AVX3},   {Target::neon, "neon", HWY_NEON},
};

const Row& row_of(Target target) { return kRows[static_cast<int>(target)]; }

// Asked once, before SetSupportedTargetsForTest below changes the answer.
std::int64_t machine_targets() {
  static const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return targets;
}

bool is_available(const Row& row) {
  if (row.target == Target::amx && !has_amx()) return false;
  return row.bit == 0 || (machine_targets() & row.bit) != 0;
}

std::string available_names() {
  std::string names;
  for (const Row& row : kRows) {
    if (is_available(row)) names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return names;
}

Error unavailable(std::string_view name) {
  return Error(ErrorCode::invalid_argument, "no such instruction set here")
      .expected("one of " + available_names())
      .got("'" + std::string(name) + "'");
}

void restrict_highway(const Row& row) {
  machine_targets();
  if (row.target == Target::amx && !enable_amx()) {
    throw Error(ErrorCode::unsupported, "the system does not let this process use tiles")
        .hint("choose another of " + available_names());
  }
  if (row.bit == 0) return;
  hwy::SetSupportedTargetsForTest(row.bit);
  hwy::GetChosenTarget().Update(row.bit);
}

Target initial_target() {
  const Row* best = kRows;
  const char* wanted = std::getenv("MEZZO_TARGET");
  for (const Row& row : kRows) {
    const bool fits = wanted == nullptr ? row.target != Target::amx : row.name == wanted;
    if (fits && is_available(row)) best = &row;
  }
  if (wanted != nullptr && best->name != wanted)
    throw unavailable(wanted).at("environment variable MEZZO_TARGET");
  restrict_highway(*best);
  return best->target;
}

std::atomic<Target>& current_target() {
  static std::atomic<Target> target{initial_target()};
  return target;
}

}  // namespace

std::vector<Target> available_targets() {
  std::vector<Target> targets;
  for (const Row& row : kRows) {
    if (is_available(row)) targets.push_back(row.target);
  }
  return targets;
}

Target active_target() { return current_target().load(std::memory_order_relaxed); }

std::string tiles_refusal() {
  if (active_target() == Target::amx) return "";
  return has_amx() ? "not asked for (MEZZO_TARGET=amx)" : "this CPU has no tiles";
}

bool simd_enabled() { return active_target() != Target::scalar; }

void set_active_target(Target target) {
  const Row& row = row_of(target);
  if (!is_available(row)) throw unavailable(row.name);
  std::atomic<Target>& current = current_target();
  restrict_highway(row);
  current.store(target);
}

std::string_view name_of(Target target) noexcept { return row_of(target).name; }

}  // namespace mezzo::kernels
