#include "kernels/gemm_bf16x3.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/shape.h"
#include "kernels/bf16x3.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_bf16x3.cc"
#include "kernels/simd.h"
#include "kernels/simd_bf16x3_passes_inl.h"
#include "kernels/simd_gemm_finish_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

struct Product {
  int64_t m, n, k;
  GemmOperand a;
  float* c;
  int64_t ldc;
  const GemmEpilogue& epilogue;
};

// Rows [begin, end) of A in parts, for each step those of all rows. Returns which rows have large
// numbers, if any has.
std::vector<std::uint8_t> split_rows(const Product& p, int64_t begin, int64_t end,
                                     std::uint8_t* scratch, int64_t part_bytes) {
  const HalfRowF32 d;
  const HalfRowU32 du;
  auto largest = hn::Zero(du);
  HWY_ALIGN float few[32];
  // 32 numbers from (row, k) on, zeros behind the last.
  const auto gather = [&](int64_t row, int64_t k) {
    const int64_t valid = std::min<int64_t>(32, p.k - k);
    const float* from = p.a.data + row * p.a.row_stride + k * p.a.col_stride;
    for (int64_t i = 0; i < 32; ++i) few[i] = i < valid ? from[i * p.a.col_stride] : 0;
  };
  const auto all = [&](const auto& of_row) HWY_ATTR {
    std::uint8_t* step = scratch;
    for (int64_t k = 0; k < p.k; k += 32, step += 3 * part_bytes) {
      std::uint8_t* to = step;
      for (int64_t row = begin; row < end; ++row, to += kTileRowBytes) of_row(row, k, to);
    }
  };
  all([&](int64_t row, int64_t k, std::uint8_t* to) HWY_ATTR {
    const float* from = p.a.data + row * p.a.row_stride + k;
    if (p.a.col_stride != 1 || k + 32 > p.k) {
      gather(row, k);
      from = few;
    }
    largest =
        split_row([&](int i) HWY_ATTR { return hn::LoadU(d, from + i); }, to, part_bytes, largest);
  });
  std::vector<std::uint8_t> large;
  if (hn::GetLane(hn::MaxOfLanes(du, largest)) < kLargeBits) return large;
  large.resize(static_cast<std::size_t>(end - begin));
  all([&](int64_t row, int64_t k, std::uint8_t* to) {
    gather(row, k);
    if (std::none_of(few, few + 32, is_large)) return;
    split_any_row(few, to, part_bytes);
    large[static_cast<std::size_t>(row - begin)] = 1;
  });
  return large;
}

// Takes sums to C.
class GemmStore {
 public:
  GemmStore(const Product& product, int64_t first_row) : p_(product), first_row_(first_row) {}

  void begin(int64_t panel, int64_t row, int64_t /*rows*/) {
    row_ = first_row_ + row;
    col_ = panel * kPanelCols;
  }

  void store(const float* sums, int64_t begin, int64_t end) {
    const int64_t row = row_ + begin;
    finish_tile(sums + begin * kPanelCols, kPanelCols,
                {p_.c + row * p_.ldc + col_, p_.ldc, row, col_, p_.epilogue}, end - begin,
                std::min(kPanelCols, p_.n - col_), true, true);
  }

  void part_done(int64_t, int64_t) {}

 private:
  const Product& p_;
  int64_t first_row_, row_ = 0, col_ = 0;
};

}  // namespace

void run_pack_b_bf16x3(int64_t k, int64_t n, const GemmOperand& b, std::uint8_t* packed,
                       ThreadPool& pool) {
  const auto place = [&](int64_t step) {
    return std::pair(step * 32 * b.row_stride, std::min<int64_t>(32, k - step * 32));
  };
  pack_bf16x3({b.data, n, bf16x3_steps(k), b.row_stride, b.col_stride}, place, packed, pool);
}

void run_gemm_bf16x3(int64_t m, int64_t n, int64_t k, const GemmOperand& a,
                     const std::uint8_t* packed, float* c, int64_t ldc,
                     const GemmEpilogue& epilogue, ThreadPool& pool) {
  const Product product{m, n, k, a, c, ldc, epilogue};
  const int64_t steps = bf16x3_steps(k), row_bytes = 3 * kTileRowBytes;
  const TileGrid grid(m, kBlockRows, kChunkBytes / (depth_in_tiles(steps) * row_bytes),
                      steps * row_bytes, ceil_div(n, kPanelCols), steps * kStepBytes,
                      pool.available());
  const int64_t plane = plane_rows(grid.chunk), part_bytes = plane * kTileRowBytes;
  std::vector<int64_t> offsets(static_cast<std::size_t>(steps));
  for (int64_t i = 0; i < steps; ++i) offsets[static_cast<std::size_t>(i)] = i * 3 * part_bytes;
  const bool large_b = has_large_numbers(packed, n, steps);
  const auto split = [&](int64_t chunk, std::uint8_t* scratch) {
    const int64_t begin = chunk * grid.chunk, end = std::min(m, begin + grid.chunk);
    std::vector<std::uint8_t> large = split_rows(product, begin, end, scratch, part_bytes);
    if (large_b) large.assign(static_cast<std::size_t>(end - begin), 1);
    return TileWork{scratch, offsets.data(),  part_bytes, steps, packed, end - begin, 0,
                    0,       std::move(large)};
  };
  const auto make_store = [&](int64_t chunk) { return GemmStore(product, chunk * grid.chunk); };
  run_any_tiles(grid, steps * 3 * part_bytes + kBlockRows * kTileRowBytes, split, make_store, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_pack_b_bf16x3);
HWY_EXPORT(run_gemm_bf16x3);
}  // namespace

bool gemm_bf16x3_pays(std::int64_t m, std::int64_t n, std::int64_t k) {
  return m >= 32 && n >= 64 && k >= 64;
}

std::size_t packed_b_bf16x3_bytes(std::int64_t k, std::int64_t n) {
  return static_cast<std::size_t>(packed_bf16x3_bytes(n, bf16x3_steps(k)));
}

void pack_b_bf16x3(std::int64_t k, std::int64_t n, const GemmOperand& b, float* packed,
                   ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_b_bf16x3)(k, n, b, reinterpret_cast<std::uint8_t*>(packed), pool);
}

void gemm_bf16x3(std::int64_t m, std::int64_t n, std::int64_t k, const GemmOperand& a,
                 const float* packed_b, float* c, std::int64_t ldc, const GemmEpilogue& epilogue,
                 ThreadPool& pool) {
  if (m <= 0 || n <= 0) return;
  MEZZO_DISPATCH(run_gemm_bf16x3)
  (m, n, k, a, reinterpret_cast<const std::uint8_t*>(packed_b), c, ldc, epilogue, pool);
}

}  // namespace mezzo::kernels
#endif
