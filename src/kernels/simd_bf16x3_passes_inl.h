// How products by tiles of bfloat16 go through their operands. Included per target, like simd.h.
//
// A's rows are split into parts ahead, as many as stay in L2 while one block of k runs; each panel
// of B then meets all of them. Tiles compute one block of sums while vectors add the one before to
// what waits for it, or bring it to its place.

#if defined(MEZZO_KERNELS_SIMD_BF16X3_PASSES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_BF16X3_PASSES_INL
#undef MEZZO_KERNELS_SIMD_BF16X3_PASSES_INL
#else
#define MEZZO_KERNELS_SIMD_BF16X3_PASSES_INL
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/scratch.h"
#include "kernels/simd_bf16x3_inl.h"
#include "kernels/simd_gemm_inl.h"
#include "kernels/task_grid.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Bytes of A's parts that a block of k reads.
inline constexpr std::int64_t kChunkBytes = std::int64_t{3} << 18;
// Steps of a block of k. Its sums are added to those of others in vectors, which bounds the error.
inline constexpr std::int64_t kMostDepth = 16;
// Rows of two tiles.
inline constexpr std::int64_t kBlockRows = 2 * kTileRows;
// Multiply-adds of tiles that take as long as one of vectors.
inline constexpr std::int64_t kTilesAreFaster = 2;

// Steps of a block of k, of so many in all.
inline std::int64_t depth_in_tiles(std::int64_t steps) {
  return ceil_div(steps, ceil_div(steps, kMostDepth));
}

// Rows in memory of so many that are split: those of parts and of steps are to fall on other sets
// of a cache, and tiles read beyond the last.
inline std::int64_t plane_rows(std::int64_t rows) {
  return round_up(checked_add(rows, kTileRows), kBlockRows) - kTileRows;
}

// How a product is divided: chunks of so many rows of A, whole units of them, times groups of
// panels. A thread splits the rows of a chunk itself, once for all groups that it takes: what
// another has written were far away.
struct TileGrid {
  TileGrid() = default;
  // `most` rows fit, `row_bytes` and `panel_bytes` are those of A's parts and of packed B.
  TileGrid(std::int64_t rows, std::int64_t unit, std::int64_t most, std::int64_t row_bytes,
           std::int64_t panels, std::int64_t panel_bytes, std::int64_t threads)
      : panels(panels) {
    const std::int64_t units = ceil_div(rows, unit);
    chunks = ceil_div(units, std::max<std::int64_t>(1, most / unit));
    const std::int64_t work = rows * panels * panel_bytes / 6 / kTilesAreFaster;
    if (threads > 1) {
      while (chunks * groups < 3 * threads && work / (chunks * groups) > 2 * kTaskWork) {
        const bool more_groups =
            chunks == units || rows / chunks * row_bytes * groups < panels * panel_bytes;
        std::int64_t& parts = more_groups ? groups : chunks;
        const std::int64_t most_parts = more_groups ? panels : units;
        if (parts == most_parts) break;
        parts = std::min(2 * parts, most_parts);
      }
    }
    chunk = ceil_div(units, chunks) * unit;
    chunks = ceil_div(rows, chunk);
  }

  std::int64_t panels = 0, chunk = 0, chunks = 1, groups = 1;
};

// A product of some rows of A, in parts, and packed B.
struct TileWork {
  const std::uint8_t* split;    // row 0
  const std::int64_t* offsets;  // of the steps, as SplitRows has them
  std::int64_t part_bytes, steps;
  const std::uint8_t* packed;
  std::int64_t rows;
  // Where this is not 0, rows that many apart begin parts, of `part_rows` rows, that are stored
  // before others are computed.
  std::int64_t part_stride, part_rows;
  // Not 0 for rows with numbers that tiles cannot take; empty where there are none.
  std::vector<std::uint8_t> large_rows;

  const std::uint8_t* weights(std::int64_t panel, std::int64_t step) const {
    return packed + (panel * steps + step) * kStepBytes;
  }
};

// A panel's sums for rows [begin, end), in one block of k.
struct PanelPass {
  std::int64_t panel, begin, end;
  std::int64_t step, steps;   // the block of k
  float* waiting;             // sums of the blocks before, [block of rows][row][32]; null: the only
  bool last;                  // block
  const std::uint8_t* fetch;  // weights of the next pass, or null
};

// Runs passes, one after the other. `Store` takes sums to where they belong:
//   begin(panel, row, rows): those of rows [row, row + rows) are next;
//   store(sums, i, end): rows [i, end) of them;
//   part_done(panel, part): those of a part are stored.
template <class Tiles, class Store>
class PassRunner {
 public:
  PassRunner(const TileWork& work, Store& store) : work_(work), store_(store) {}

  void run(const PanelPass& pass) {
    const std::uint8_t *weights = work_.weights(pass.panel, pass.step), *fetch = pass.fetch;
    const std::int64_t blocks = ceil_div(pass.end - pass.begin, kBlockRows),
                       fetch_lines = ceil_div(kStepBytes / kFetchBytes, blocks),
                       rows_in_step = ceil_div(kBlockRows, pass.steps);
    float* waiting = pass.waiting;
    for (std::int64_t row = pass.begin; row < pass.end; row += kBlockRows) {
      const std::int64_t rows = std::min(kBlockRows, pass.end - row);
      const std::uint8_t* from = work_.split + row * kTileRowBytes;
      const SplitRows a{from, work_.offsets + pass.step, work_.part_bytes};
      const bool both = rows > kTileRows, stays = pass.step == 0 && !pass.last;
      float* sums = stays ? waiting : sums_[turn_];
      turn_ = 1 - turn_;
      const auto meanwhile = [&]() HWY_ATTR {
        finish(rows_in_step);
        if (fetch == nullptr) return;
        for (std::int64_t i = 0; i < fetch_lines; ++i, fetch += kFetchBytes)
          prefetch_l2(reinterpret_cast<const float*>(fetch));
      };
      multiply_rows(tiles_, a, pass.steps, weights, both, sums, meanwhile);
      if (!work_.large_rows.empty()) multiply_large_rows(a, pass, row, rows, sums);
      finish();
      if (!stays) {
        pending_ = {sums, pass.step == 0 ? nullptr : waiting, 0, rows, pass.last};
        if (pass.last) store_.begin(pass.panel, row, rows);
      }
      if (waiting != nullptr) waiting += kBlockRows * kPanelCols;
    }
  }

  // All sums go where they belong.
  void finish() { finish(kBlockRows); }

 private:
  static constexpr std::int64_t kFetchBytes = kCacheLine * sizeof(float);

  // A block of sums on its way: rows [row, rows) are still to be done.
  struct Pending {
    float* sums = nullptr;
    float* waiting = nullptr;
    std::int64_t row = 0, rows = 0;
    bool last = false;
  };

  void multiply_large_rows(SplitRows a, const PanelPass& pass, std::int64_t first,
                           std::int64_t rows, float* sums) {
    for (std::int64_t i = 0; i < rows; ++i, a.rows += kTileRowBytes, sums += kPanelCols) {
      if (work_.large_rows[static_cast<std::size_t>(first + i)] != 0)
        multiply_any_row(a, pass.steps, work_.weights(pass.panel, pass.step), sums);
    }
  }

  // So many rows of the pending block.
  HWY_INLINE void finish(std::int64_t rows) {
    Pending& p = pending_;
    const std::int64_t begin = p.row, end = std::min(p.rows, p.row + rows);
    if (begin == end) return;
    p.row = end;
    if (p.waiting != nullptr) {
      const HalfRowF32 d;
      float* to = p.last ? p.sums : p.waiting;
      for (std::int64_t i = begin * kPanelCols; i < end * kPanelCols; i += kHalfRowLanes)
        hn::StoreU(hn::Add(hn::LoadU(d, p.waiting + i), hn::LoadU(d, p.sums + i)), d, to + i);
    }
    if (p.last) store_.store(p.sums, begin, end);
  }

  const TileWork& work_;
  Store& store_;
  Tiles tiles_;
  Pending pending_;
  int turn_ = 0;
  HWY_ALIGN float sums_[2][kBlockRows * kPanelCols];
};

struct WaitingSums {};

// All rows times panels [panel_begin, panel_end).
template <class Tiles, class Store>
void run_passes(PassRunner<Tiles, Store>& runner, const TileWork& w, std::int64_t panel_begin,
                std::int64_t panel_end, Store& store) {
  const bool in_parts = w.part_stride != 0;
  const std::int64_t parts = in_parts ? ceil_div(w.rows, w.part_stride) : 1,
                     part_rows = in_parts ? w.part_rows : w.rows;
  const std::int64_t depth = depth_in_tiles(w.steps);
  const std::int64_t part_floats = ceil_div(part_rows, kBlockRows) * kBlockRows * kPanelCols;
  float* waiting = nullptr;
  if (depth < w.steps)
    waiting = thread_scratch<WaitingSums>((panel_end - panel_begin) * parts * part_floats);
  for (std::int64_t step = 0; step < w.steps; step += depth) {
    const std::int64_t steps = std::min(depth, w.steps - step);
    const bool last = step + steps == w.steps;
    float* sums = waiting;
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const std::uint8_t* next = panel + 1 < panel_end ? w.weights(panel + 1, step)
                                 : last                ? nullptr
                                                       : w.weights(panel_begin, step + steps);
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t begin = part * w.part_stride;
        runner.run(
            {panel, begin, begin + part_rows, step, steps, sums, last, part == 0 ? next : nullptr});
        if (sums != nullptr) sums += part_floats;
        if (last && in_parts) {
          runner.finish();
          store.part_done(panel, part);
        }
      }
    }
  }
  runner.finish();
}

struct SplitScratch {};

// What a thread's SplitScratch holds: a chunk of one of all products that were ever begun.
struct SplitMemo {
  std::uint64_t product = 0;
  std::int64_t chunk = 0;
  TileWork work = {};
};
inline SplitMemo& memo_of_thread() {
  thread_local SplitMemo memo;
  return memo;
}
inline std::uint64_t number_of_product() {
  static std::atomic<std::uint64_t> products{0};
  return ++products;
}

// The whole product. split(chunk, scratch) fills `split_bytes` of scratch and gives the chunk's
// TileWork; make_store(chunk) gives its Store.
template <class Tiles, class Split, class MakeStore>
void run_tiles(const TileGrid& grid, std::int64_t split_bytes, const Split& split,
               const MakeStore& make_store, ThreadPool& pool) {
  const std::uint64_t product = number_of_product();
  pool.parallel_for(
      grid.chunks * grid.groups, 1, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
        SplitMemo& memo = memo_of_thread();
        for_rectangles(begin, end, grid.groups, [&](const Rectangle& r) HWY_ATTR {
          for (std::int64_t chunk = r.major_begin; chunk < r.major_end; ++chunk) {
            if (memo.product != product || memo.chunk != chunk) {
              auto* scratch = reinterpret_cast<std::uint8_t*>(
                  thread_scratch<SplitScratch>(ceil_div(split_bytes, std::int64_t{4})));
              memo = {product, chunk, split(chunk, scratch)};
            }
            auto store = make_store(chunk);
            PassRunner<Tiles, decltype(store)> runner(memo.work, store);
            run_passes(runner, memo.work, grid.panels * r.minor_begin / grid.groups,
                       grid.panels * r.minor_end / grid.groups, store);
          }
        });
      });
}

// The same by the CPU's tiles, if it has them and they are asked for.
template <class Split, class MakeStore>
void run_any_tiles(const TileGrid& grid, std::int64_t split_bytes, const Split& split,
                   const MakeStore& make_store, ThreadPool& pool) {
#if defined(__x86_64__) && defined(__linux__)
  if (active_target() == Target::amx)
    return run_tiles<AmxTiles>(grid, split_bytes, split, make_store, pool);
#endif
  run_tiles<PlainTiles>(grid, split_bytes, split, make_store, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
