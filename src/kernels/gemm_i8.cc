#include "kernels/gemm_i8.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_i8.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_gemm_quads_inl.h"

// Where the CPU multiplies bytes, a B that is packed ahead stays bytes: see
// simd_gemm_quads_inl.h; its first line says how it is packed. Else packing widens the bytes
// to int16 and takes the zero points off, so that any mix of signs and zero points is the same
// product afterwards. The differences are at most 255 in magnitude: the sum of two products fits
// int32 easily, and sums wrap as int32 does.
//
// Two steps of k lie side by side as pairs, for the multiply-add of pairs that x86 (pmaddwd) and
// Highway have.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int16_t;
using std::int32_t;
using std::int64_t;
using std::uint32_t;

using I32 = hn::ScalableTag<int32_t>;
using I16 = hn::Repartition<int16_t, I32>;
using VecI32 = hn::Vec<I32>;

constexpr int64_t kLaneCount = HWY_LANES(int32_t);
constexpr int64_t kTileCols = 2 * kLaneCount;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
constexpr int64_t kMaxRows = 12;
#elif HWY_ARCH_X86
constexpr int64_t kMaxRows = 6;
#else
constexpr int64_t kMaxRows = 4;  // each sum takes two registers
#endif
constexpr int64_t kTaskWork = int64_t{1} << 19;

// What a packed B begins with: its kind and, of quads, how many rounds of steps it has.
constexpr int64_t kHeaderBytes = 64;
enum Kind : int32_t { kPairs, kQuads, kQuadsAndRests };

struct ScratchA {};
struct ScratchB {};

int64_t pairs_of(int64_t k) { return ceil_div(k, 2); }

// Two 16-bit numbers, the first one in the lower half.
int32_t pair_of(int32_t first, int32_t second) {
  return static_cast<int32_t>((static_cast<uint32_t>(first) & 0xffff) |
                              static_cast<uint32_t>(second) << 16);
}

// Packs `valid` of `width` rows (or columns) as pairs, [pair][width], zeros behind the last step of
// k and the last row. `zeros` is null, or one zero point each.
template <class Byte>
void pack_panel(const Byte* data, int64_t stride_i, int64_t stride_k, int32_t zero,
                const int32_t* zeros, int64_t valid, int64_t width, int64_t k, int32_t* packed) {
  if (valid < width) std::fill(packed, packed + pairs_of(k) * width, 0);
  for (int64_t i = 0; i < valid; ++i) {
    const Byte* src = data + i * stride_i;
    const int32_t less = zero + (zeros == nullptr ? 0 : zeros[i]);
    int32_t* to = packed + i;
    int64_t p = 0;
    for (; p + 2 <= k; p += 2, src += 2 * stride_k, to += width)
      *to = pair_of(src[0] - less, src[stride_k] - less);
    if (p < k) *to = pair_of(src[0] - less, 0);
  }
}

// The same for columns beside each other, `width` being whole vectors; those behind the last hold
// anything.
template <class Byte>
void pack_columns(const Byte* data, int64_t stride_k, int32_t zero, const int32_t* zeros,
                  int64_t valid, int64_t width, int64_t k, int32_t* packed) {
  const I32 d;
  const hn::Rebind<Byte, I32> bytes;
  for (int64_t column = 0; column < width; column += kLaneCount) {
    const int64_t count = std::clamp<int64_t>(valid - column, 0, kLaneCount);
    HWY_ALIGN int32_t less[HWY_LANES(int32_t)] = {};
    for (int64_t i = 0; i < count; ++i) less[i] = zero + (zeros == nullptr ? 0 : zeros[column + i]);
    const VecI32 points = hn::Load(d, less);
    const auto differences = [&](const Byte* row) HWY_ATTR {
      if (count == kLaneCount) return hn::Sub(hn::PromoteTo(d, hn::LoadU(bytes, row)), points);
      HWY_ALIGN Byte rest[HWY_LANES(int32_t)] = {};
      std::copy_n(row, count, rest);
      return hn::Sub(hn::PromoteTo(d, hn::Load(bytes, rest)), points);
    };
    const Byte* src = data + column;
    int32_t* to = packed + column;
    for (int64_t p = 0; p < k; p += 2, src += 2 * stride_k, to += width) {
      const VecI32 first = hn::And(differences(src), hn::Set(d, 0xffff));
      const VecI32 second = p + 1 < k ? differences(src + stride_k) : hn::Zero(d);
      hn::StoreU(hn::Or(first, hn::ShiftLeft<16>(second)), d, to);
    }
  }
}

void pack_operand(const GemmI8Operand& x, int64_t stride_i, int64_t stride_k, int64_t extent,
                  int64_t width, bool padded, int64_t k, int32_t* packed, ThreadPool& pool) {
  const int64_t panels = ceil_div(extent, width),
                grain = std::max<int64_t>(1, (1 << 16) / (width * std::max<int64_t>(k, 1)));
  pool.parallel_for(panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * width, valid = std::min(width, extent - first);
      const int32_t* zeros = x.zero_points == nullptr ? nullptr : x.zero_points + first;
      const auto pack = [&](const auto* data) {
        int32_t* target = packed + first * pairs_of(k);
        if (padded && stride_i == 1)
          return pack_columns(data + first, stride_k, x.zero_point, zeros, valid, width, k, target);
        pack_panel(data + first * stride_i, stride_i, stride_k, x.zero_point, zeros, valid,
                   padded ? width : valid, k, target);
      };
      if (x.is_signed) {
        pack(static_cast<const std::int8_t*>(x.data));
      } else {
        pack(static_cast<const std::uint8_t*>(x.data));
      }
    }
  });
}

// Whether the CPU has vpdpwssd (AVX512_VNNI), which multiplies and adds pairs in one go. Not all do
// that this target is for.
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
constexpr bool kMayHaveVnni = true;
bool has_vnni() {
  static const bool has = __builtin_cpu_supports("avx512vnni") != 0;
  return has;
}
#else
constexpr bool kMayHaveVnni = false;
constexpr bool has_vnni() { return false; }
#endif

// c [R][kTileCols], rows `ldc` apart, = A * B over `pairs`.
template <int R, bool kVnni>
HWY_NOINLINE void compute_tile(const int32_t* HWY_RESTRICT a, const int32_t* HWY_RESTRICT b,
                               int64_t pairs, int32_t* c, int64_t ldc) {
  const I32 d;
  const I16 d16;
  VecI32 sums[R][2], others[R][2];
  MEZZO_UNROLL
  for (int i = 0; i < R; ++i) sums[i][0] = sums[i][1] = others[i][0] = others[i][1] = hn::Zero(d);
  const auto add_products = [&](VecI32& sum, VecI32& other, auto x, auto y) HWY_ATTR {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3
    // No intrinsic: the target as a whole does without.
    if constexpr (kVnni) {
      asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(y.raw));
      return;
    }
#endif
    sum = hn::ReorderWidenMulAccumulate(d, x, y, sum, other);
  };
  for (int64_t p = 0; p < pairs; ++p, a += R, b += kTileCols) {
    const auto b0 = hn::BitCast(d16, hn::LoadU(d, b)),
               b1 = hn::BitCast(d16, hn::LoadU(d, b + kLaneCount));
    MEZZO_UNROLL
    for (int i = 0; i < R; ++i) {
      const auto ai = hn::BitCast(d16, hn::Set(d, a[i]));
      add_products(sums[i][0], others[i][0], ai, b0);
      add_products(sums[i][1], others[i][1], ai, b1);
    }
  }
  MEZZO_UNROLL
  for (int i = 0; i < R; ++i) {
    hn::StoreU(hn::RearrangeToOddPlusEven(sums[i][0], others[i][0]), d, c + i * ldc);
    hn::StoreU(hn::RearrangeToOddPlusEven(sums[i][1], others[i][1]), d, c + i * ldc + kLaneCount);
  }
}

using TileKernel = void (*)(const int32_t*, const int32_t*, int64_t, int32_t*, int64_t);

template <bool kVnni, int... R>
constexpr std::array<TileKernel, sizeof...(R)> tile_kernels(std::integer_sequence<int, R...>) {
  return {compute_tile<R + 1, kVnni>...};
}

int32_t* pairs_in(float* memory) { return reinterpret_cast<int32_t*>(memory); }

int64_t packed_a_pairs(int64_t m, int64_t k) { return checked_mul(m, pairs_of(k)); }
int64_t packed_b_pairs(int64_t k, int64_t n) {
  return checked_mul(checked_mul(ceil_div(n, kTileCols), kTileCols), pairs_of(k));
}
// Rows of a panel of A: spread evenly.
int64_t panel_height(int64_t m) { return m <= 0 ? 1 : ceil_div(m, ceil_div(m, kMaxRows)); }

}  // namespace

int64_t packed_a_size(int64_t m, int64_t k) {
  return checked_mul(packed_a_pairs(m, k), sizeof(int32_t));
}

void run_pack_a(int64_t m, int64_t k, const GemmI8Operand& a, void* packed, ThreadPool& pool) {
  pack_operand(a, a.row_stride, a.col_stride, m, panel_height(m), false, k,
               static_cast<int32_t*>(packed), pool);
}

void run_pack_b(int64_t k, int64_t n, const GemmI8Operand& b, const AllocatePacked& allocate,
                ThreadPool& pool) {
  if (quad_sums() != QuadSums::kSlow) {
    const PackedPanels packed = pack_quads(kHeaderBytes, k, n, b, allocate, pool);
    auto* header = reinterpret_cast<int32_t*>(packed.memory);
    header[0] = packed.rests ? kQuadsAndRests : kQuads;
    header[1] = static_cast<int32_t>(packed.rounds);
    return;
  }
  const int64_t bytes = kHeaderBytes + checked_mul(packed_b_pairs(k, n), sizeof(int32_t));
  auto* memory = static_cast<int32_t*>(allocate(static_cast<std::size_t>(bytes)));
  *memory = kPairs;
  pack_operand(b, b.col_stride, b.row_stride, n, kTileCols, true, k,
               memory + kHeaderBytes / sizeof(int32_t), pool);
}

void run_gemm(int64_t m, int64_t n, int64_t k, const GemmI8Operand& a, const GemmI8Operand& b,
              int32_t* c, int64_t ldc, ThreadPool& pool) {
  constexpr auto kHeights = std::make_integer_sequence<int, kMaxRows>{};
  static constexpr auto kPlain = tile_kernels<false>(kHeights),
                        kVnni = tile_kernels<kMayHaveVnni>(kHeights);
  const auto* header = static_cast<const int32_t*>(b.data);
  const void* data_b = header + kHeaderBytes / sizeof(int32_t);
  if (b.packed && *header != kPairs)
    return gemm_quads(m, n, k, a, data_b, *header == kQuadsAndRests, header[1], c, ldc, pool);
  const auto& tiles = has_vnni() ? kVnni : kPlain;
  const int64_t pairs = pairs_of(k), height = panel_height(m);
  const int32_t* packed_a = static_cast<const int32_t*>(a.data);
  if (!a.packed) {
    int32_t* target = pairs_in(thread_scratch<ScratchA>(packed_a_pairs(m, k)));
    run_pack_a(m, k, a, target, pool);
    packed_a = target;
  }
  const int32_t* packed_b = static_cast<const int32_t*>(data_b);
  if (!b.packed) {
    int32_t* target = pairs_in(thread_scratch<ScratchB>(packed_b_pairs(k, n)));
    pack_operand(b, b.col_stride, b.row_stride, n, kTileCols, true, k, target, pool);
    packed_b = target;
  }
  // A task is one panel of B with some panels of A, about 96 rows.
  const int64_t row_panels = ceil_div(m, height), row_groups = ceil_div(m, 96),
                col_panels = ceil_div(n, kTileCols);
  const int64_t work = std::max<int64_t>(1, std::min<int64_t>(m, 96) * kTileCols * k);
  pool.parallel_for(row_groups * col_panels, std::max<int64_t>(1, kTaskWork / work),
                    [&](int64_t begin, int64_t end) HWY_ATTR {
                      HWY_ALIGN int32_t tile[kMaxRows * kTileCols];
                      for (int64_t t = begin; t < end; ++t) {
                        const int64_t col = t / row_groups * kTileCols, group = t % row_groups,
                                      cols = std::min(kTileCols, n - col);
                        for (int64_t panel = row_panels * group / row_groups;
                             panel < row_panels * (group + 1) / row_groups; ++panel) {
                          const int64_t row = panel * height, rows = std::min(height, m - row);
                          const TileKernel kernel = tiles[static_cast<std::size_t>(rows - 1)];
                          const int32_t *pa = packed_a + row * pairs, *pb = packed_b + col * pairs;
                          int32_t* to = c + row * ldc + col;
                          if (cols == kTileCols) {
                            kernel(pa, pb, pairs, to, ldc);
                            continue;
                          }
                          kernel(pa, pb, pairs, tile, kTileCols);
                          for (int64_t i = 0; i < rows; ++i)
                            std::copy_n(tile + i * kTileCols, cols, to + i * ldc);
                        }
                      }
                    });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(packed_a_size);
HWY_EXPORT(run_pack_a);
HWY_EXPORT(run_pack_b);
HWY_EXPORT(run_gemm);
}  // namespace

std::size_t packed_a_i8_bytes(std::int64_t m, std::int64_t k) {
  return static_cast<std::size_t>(MEZZO_DISPATCH(packed_a_size)(m, k));
}

void pack_a_i8(std::int64_t m, std::int64_t k, const GemmI8Operand& a, void* packed,
               ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_a)(m, k, a, packed, pool);
}

void pack_b_i8(std::int64_t k, std::int64_t n, const GemmI8Operand& b,
               const AllocatePacked& allocate, ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_b)(k, n, b, allocate, pool);
}

void gemm_i8(std::int64_t m, std::int64_t n, std::int64_t k, const GemmI8Operand& a,
             const GemmI8Operand& b, std::int32_t* c, std::int64_t ldc, ThreadPool& pool) {
  if (m <= 0 || n <= 0) return;
  MEZZO_DISPATCH(run_gemm)(m, n, k, a, b, c, ldc, pool);
}

}  // namespace mezzo::kernels
#endif
