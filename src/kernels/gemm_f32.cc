#include "kernels/gemm_f32.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/shape.h"
#include "kernels/gemm_bf16x3.h"
#include "kernels/task_grid.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_gemm_finish_inl.h"
#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_gemv_inl.h"
#include "kernels/simd_pack_inl.h"

// The product is computed in tasks: blocks of C of some panels of rows by some panels of columns,
// whose operands stay in L2 while one block of k runs. A packed operand is [k
// block][panel][k][width], so that a task reads it in one stream.
//
// Operands that are not packed ahead are packed in chunks of bounded size, all threads together,
// before the tasks that use them.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// Floats of an operand packed on the fly. Of A a thread is to find its part in its L2, but for so
// many rows the whole of B is read; of B it is of the order of a shared L2 or L3 slice.
constexpr int64_t kRowFloats = int64_t{160} << 10, kLeastRows = 72;
constexpr int64_t kColFloats = int64_t{2} << 20;
// Panels of a task: about 128 columns and about 96 rows, or 168 of the high tiles. Groups of rows
// are rounded to the nearest number, so that 128 rows are one.
constexpr int64_t kTaskCols = 128 / kTileCols, kTaskRows = kMaxRows >= 12 ? 12 : 96 / kMaxRows;
// Columns of C up to which it does not pay to pack A.
constexpr int64_t kFewCols = 256;

struct ScratchA {};
struct ScratchB {};

// Where panel `index` of the block of k that begins at k0 starts; `extent` is the sum of all
// panels' widths.
int64_t panel_offset(int64_t extent, int64_t k0, int64_t depth, int64_t index, int64_t width) {
  return extent * k0 + index * width * depth;
}

// Packs `extent` rows (or columns) in panels of `width`, the last one narrower or, where `padded`,
// filled up with zeros.
void pack_operand(const float* data, int64_t stride_i, int64_t stride_k, int64_t extent,
                  int64_t width, bool padded, int64_t k, float* packed, ThreadPool& pool) {
  const int64_t panels = ceil_div(extent, width), block = depth_block(k),
                blocks = ceil_div(k, block);
  const int64_t packed_extent = padded ? panels * width : extent;
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / (width * block));
  pool.parallel_for(panels * blocks, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t k0 = t / panels * block, depth = std::min(block, k - k0), panel = t % panels;
      const int64_t valid = std::min(width, extent - panel * width);
      pack_panel(data + panel * width * stride_i + k0 * stride_k, stride_i, stride_k, valid,
                 padded ? width : valid, depth,
                 packed + panel_offset(packed_extent, k0, depth, panel, width));
    }
  });
}

// Few rows wait for B, as long as for some rows' work.
constexpr int64_t kRowsOfWaiting = 8;

struct Chunk {
  int64_t rows, cols, k;
  const float* a;        // packed, or in place
  int64_t a_row_stride;  // 0: packed
  const float* b;        // packed, or in place
  int64_t b_extent;
  int64_t b_row_stride;  // 0: packed
  float* c;
  int64_t ldc;
  int64_t row0, col0;  // of C, for the epilogue's vectors
  const GemmEpilogue* epilogue;
};

TilePlace place_of(const Chunk& g, int64_t row, int64_t col) {
  return {g.c + row * g.ldc + col, g.ldc, g.row0 + row, g.col0 + col, *g.epilogue};
}

// Whether tiles can finish their sums themselves: what they start from is one bias, or a matrix
// whose rows lie as far apart as C's.
bool has_plain_epilogue(const GemmEpilogue& e, int64_t ldc) {
  const int starts = (e.row_bias != nullptr) + (e.col_bias != nullptr) + (e.add != nullptr);
  return e.alpha == 1 && (starts == 0 || (starts == 1 && e.beta == 1)) &&
         (e.add == nullptr || e.add_row_stride == ldc);
}

// Packed B from that column on, in the block of k from k0 on.
const float* packed_columns(const Chunk& g, int64_t k0, int64_t depth, int64_t col) {
  return g.b + panel_offset(g.b_extent, k0, depth, col / kTileCols, kTileCols);
}

// One block of C over all of k. `col_after` is the first column of the next one, or less than 0.
void run_task(const Chunk& g, int64_t height, int64_t row_begin, int64_t row_end, int64_t col_begin,
              int64_t col_end, int64_t col_after) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  HWY_ALIGN float tile[kMaxRows * kTileCols];
  const GemmEpilogue& e = *g.epilogue;
  const bool plain = has_plain_epilogue(e, g.ldc), in_place = g.a_row_stride != 0;
  const int64_t block = depth_block(g.k);
  int64_t k0 = 0;
  do {
    const int64_t depth = std::min(block, g.k - k0);
    const bool first = k0 == 0, last = k0 + depth >= g.k;
    for (int64_t col = col_begin; col < col_end; col += kTileCols) {
      const int64_t cols = std::min(kTileCols, g.cols - col);
      const bool b_packed = g.b_row_stride == 0;
      const float* b =
          b_packed ? packed_columns(g, k0, depth, col) : g.b + k0 * g.b_row_stride + col;
      const int64_t ldb = b_packed ? kTileCols : g.b_row_stride;
      const float* next =
          !b_packed                   ? nullptr
          : col + kTileCols < col_end ? b + kTileCols * depth
          : !last ? packed_columns(g, k0 + depth, std::min(block, g.k - k0 - depth), col_begin)
          : col_after >= 0 ? packed_columns(g, 0, block, col_after)
                           : nullptr;
      TileOut out{
          nullptr, g.ldc, Start::c, nullptr, last ? e.min : -kInfinity, last ? e.max : kInfinity,
          {}};
      out.a_stride = g.a_row_stride;
      for (int64_t row = row_begin; row < row_end; row += out.tiles * height) {
        if (!in_place) out.fetch = fetch_part(next, kTileCols, depth, (row - row_begin) / height);
        const int64_t rows = std::min(height, g.rows - row);
        const float* a = in_place ? g.a + row * g.a_row_stride + k0
                                  : g.a + panel_offset(g.rows, k0, depth, row / height, height);
        const TileKernel kernel = in_place ? tile_kernel<Tile::reads_a_rows>(rows, cols)
                                           : tile_kernel(rows, cols, out.fetch);
        out.tiles = 1;
        if (plain && cols % kLanes == 0) {
          out.c = g.c + row * g.ldc + col;
          if (first && e.col_bias != nullptr) {
            out.start = Start::col_bias;
            out.bias = e.col_bias + g.col0 + col;
          } else if (first) {
            out.start = Start::row_bias;
            out.bias = e.row_bias != nullptr ? e.row_bias + g.row0 + row : kZeros;
            if (e.add != nullptr) out.add = e.add + (g.row0 + row) * g.ldc + g.col0 + col;
          }
          // All that are of this height, where there is nothing to be fetched.
          if (out.fetch.step == 0)
            out.tiles = std::max<int64_t>(1, (std::min(row_end, g.rows) - row) / height);
          kernel(a, b, ldb, depth, out);
        } else {
          TileOut sums = sums_into(tile, false, out.fetch);
          sums.a_stride = g.a_row_stride;
          kernel(a, b, ldb, depth, sums);
          finish_tile(tile, kTileCols, place_of(g, row, col), rows, cols, first, last);
        }
      }
    }
    k0 += depth;
  } while (k0 < g.k);
}

void run_chunk(const Chunk& g, int64_t height, ThreadPool& pool) {
  const int64_t row_panels = ceil_div(g.rows, height), col_panels = ceil_div(g.cols, kTileCols);
  int64_t row_groups = std::max<int64_t>(1, (row_panels + kTaskRows / 2) / kTaskRows),
          col_groups = ceil_div(col_panels, kTaskCols);
  // Too few blocks for the threads: smaller ones, while they are worth it.
  const int64_t work = std::max(g.rows, kRowsOfWaiting) * g.cols * std::max<int64_t>(g.k, 1);
  if (pool.available() > 1)
    divide(3 * pool.available(), work, 2 * kTaskWork, col_groups, col_panels, row_groups,
           row_panels);
  const int64_t tasks = row_groups * col_groups;
  const int64_t grain = std::max<int64_t>(1, kTaskWork * tasks / std::max<int64_t>(work, 1));
  pool.parallel_for(tasks, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t r = t % row_groups, c = t / row_groups, c_after = (t + 1) / row_groups;
      const bool goes_on = t + 1 < end && c_after != c;
      run_task(g, height, row_panels * r / row_groups * height,
               std::min(row_panels * (r + 1) / row_groups * height, g.rows),
               col_panels * c / col_groups * kTileCols,
               std::min(col_panels * (c + 1) / col_groups * kTileCols, g.cols),
               goes_on ? col_panels * c_after / col_groups * kTileCols : -1);
    }
  });
}

// Panels of packed B that meet a row together. The row waits for B: memory gives several streams at
// once faster than one, and without being asked ahead for them.
constexpr int kPanelsAtOnce = 4;

// A row of A, all of k beside each other, times some panels from `panel` on.
template <int Panels>
void row_times_panels(const Chunk& g, int64_t panel, float* out) {
  const F32 d;
  VecF32 sums[Panels][kTileVectors];
  MEZZO_UNROLL
  for (int p = 0; p < Panels; ++p) {
    MEZZO_UNROLL
    for (int v = 0; v < kTileVectors; ++v) sums[p][v] = hn::Zero(d);
  }
  const int64_t block = depth_block(g.k);
  for (int64_t k0 = 0; k0 < g.k; k0 += block) {
    const int64_t depth = std::min(block, g.k - k0), panel_floats = depth * kTileCols;
    const float *a = g.a + k0, *b = packed_columns(g, k0, depth, panel * kTileCols);
    for (int64_t i = 0; i < depth; ++i, b += kTileCols) {
      const VecF32 shared = hn::Set(d, a[i]);
      MEZZO_UNROLL
      for (int p = 0; p < Panels; ++p) {
        MEZZO_UNROLL
        for (int v = 0; v < kTileVectors; ++v) {
          const VecF32 columns = hn::LoadU(d, b + p * panel_floats + v * kLanes);
          sums[p][v] = hn::MulAdd(shared, columns, sums[p][v]);
        }
      }
    }
  }
  MEZZO_UNROLL
  for (int p = 0; p < Panels; ++p) {
    MEZZO_UNROLL
    for (int v = 0; v < kTileVectors; ++v)
      hn::StoreU(sums[p][v], d, out + p * kTileCols + v * kLanes);
  }
}

template <int... P>
constexpr std::array<void (*)(const Chunk&, int64_t, float*), sizeof...(P)> row_kernels(
    std::integer_sequence<int, P...>) {
  return {row_times_panels<P + 1>...};
}

// A chunk of one row.
void run_row(const Chunk& g, ThreadPool& pool) {
  static constexpr auto kKernels = row_kernels(std::make_integer_sequence<int, kPanelsAtOnce>{});
  const int64_t panels = ceil_div(g.cols, kTileCols);
  const int64_t work = kPanelsAtOnce * kRowsOfWaiting * kTileCols * std::max<int64_t>(g.k, 1);
  pool.parallel_for(ceil_div(panels, kPanelsAtOnce), std::max<int64_t>(1, kTaskWork / work),
                    [&](int64_t begin, int64_t end) HWY_ATTR {
                      HWY_ALIGN float sums[kPanelsAtOnce * kTileCols];
                      for (int64_t panel = begin * kPanelsAtOnce;
                           panel < std::min(end * kPanelsAtOnce, panels); panel += kPanelsAtOnce) {
                        const int64_t count = std::min<int64_t>(kPanelsAtOnce, panels - panel);
                        kKernels[static_cast<std::size_t>(count - 1)](g, panel, sums);
                        const int64_t col = panel * kTileCols;
                        finish_tile(sums, kPanelsAtOnce * kTileCols, place_of(g, 0, col), 1,
                                    std::min(count * kTileCols, g.cols - col), true, true);
                      }
                    });
}

}  // namespace

void run_gemm(int64_t m, int64_t n, int64_t k, const GemmOperand& a, const GemmOperand& b, float* c,
              int64_t ldc, const GemmEpilogue& epilogue, ThreadPool& pool) {
  if (try_vector(m, n, k, a, b, c, ldc, epilogue, pool)) return;
  if (try_very_few_columns(m, n, k, a, b, c, ldc, epilogue, pool)) return;
  if (m == 1 && b.packed && (a.packed || a.col_stride == 1)) {
    return run_row({1, n, k, a.data, 0, b.data, round_up(n, kTileCols), 0, c, ldc, 0, 0, &epilogue},
                   pool);
  }
  const int64_t height = tile_rows(m), depth = std::max<int64_t>(k, 1);
  // With one panel of rows B is read once: in place, if its rows are contiguous and whole tiles of
  // it can be loaded.
  const bool b_in_place =
      !b.packed && m <= height && b.col_stride == 1 && b.row_stride >= kTileCols;
  const int64_t whole_cols = n / kTileCols * kTileCols;
  const bool a_in_place = !a.packed && a.col_stride == 1 && a.row_stride > 0 && n <= kFewCols;
  const int64_t most_rows = std::max(kLeastRows, kRowFloats * pool.available() / depth);
  const int64_t row_chunk = a.packed || a_in_place || m <= most_rows
                                ? m
                                : round_up(ceil_div(m, ceil_div(m, most_rows)), height);
  const int64_t col_chunk =
      b.packed ? n : std::min(n, std::max<int64_t>(1, kColFloats / depth / kTileCols) * kTileCols);
  int64_t packed_row = -1;  // the chunk of A that lies packed
  for (int64_t col = 0; col < n;) {
    const bool in_place = b_in_place && col < whole_cols;
    const int64_t cols = in_place ? whole_cols : std::min(col_chunk, n - col);
    const float* b_data = b.data;
    if (in_place) {
      b_data += col;
    } else if (!b.packed) {
      float* packed = thread_scratch<ScratchB>(round_up(cols, kTileCols) * k);
      pack_operand(b.data + col * b.col_stride, b.col_stride, b.row_stride, cols, kTileCols, true,
                   k, packed, pool);
      b_data = packed;
    }
    for (int64_t row = 0; row < m; row += row_chunk) {
      const int64_t rows = std::min(row_chunk, m - row);
      const float* a_data = a.data;
      if (!a.packed && !a_in_place) {
        float* packed = thread_scratch<ScratchA>(row_chunk * k);
        if (packed_row != row) {
          pack_operand(a.data + row * a.row_stride, a.row_stride, a.col_stride, rows, height, false,
                       k, packed, pool);
          packed_row = row;
        }
        a_data = packed;
      }
      run_chunk(
          {rows, cols, k, a_data, a_in_place ? a.row_stride : 0, b_data, round_up(cols, kTileCols),
           in_place ? b.row_stride : 0, c + row * ldc + col, ldc, row, col, &epilogue},
          height, pool);
    }
    col += cols;
  }
}

std::int64_t packed_a_floats(int64_t m, int64_t k) { return checked_mul(m, k); }
std::int64_t packed_b_floats(int64_t k, int64_t n) {
  return checked_mul(checked_mul(ceil_div(n, kTileCols), kTileCols), k);
}

void run_pack_a(int64_t m, int64_t k, const GemmOperand& a, float* packed, ThreadPool& pool) {
  pack_operand(a.data, a.row_stride, a.col_stride, m, tile_rows(m), false, k, packed, pool);
}

void run_pack_b(int64_t k, int64_t n, const GemmOperand& b, float* packed, ThreadPool& pool) {
  pack_operand(b.data, b.col_stride, b.row_stride, n, kTileCols, true, k, packed, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_gemm);
HWY_EXPORT(run_pack_a);
HWY_EXPORT(run_pack_b);
HWY_EXPORT(packed_a_floats);
HWY_EXPORT(packed_b_floats);

std::size_t bytes_of_floats(std::int64_t floats) {
  return static_cast<std::size_t>(checked_mul(floats, sizeof(float)));
}
}  // namespace

std::size_t packed_a_bytes(std::int64_t m, std::int64_t k) {
  return bytes_of_floats(MEZZO_DISPATCH(packed_a_floats)(m, k));
}
std::size_t packed_b_bytes(std::int64_t k, std::int64_t n) {
  return bytes_of_floats(MEZZO_DISPATCH(packed_b_floats)(k, n));
}

void pack_a(std::int64_t m, std::int64_t k, const GemmOperand& a, float* packed, ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_a)(m, k, a, packed, pool);
}

void pack_b(std::int64_t k, std::int64_t n, const GemmOperand& b, float* packed, ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_b)(k, n, b, packed, pool);
}

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const GemmOperand& a,
          const GemmOperand& b, float* c, std::int64_t ldc, const GemmEpilogue& epilogue,
          ThreadPool& pool) {
  if (m <= 0 || n <= 0) return;
  if (b.in_parts) return gemm_bf16x3(m, n, k, a, b.data, c, ldc, epilogue, pool);
  MEZZO_DISPATCH(run_gemm)(m, n, k, a, b, c, ldc, epilogue, pool);
}
}  // namespace mezzo::kernels
#endif
