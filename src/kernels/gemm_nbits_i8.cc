#include <algorithm>
#include <cmath>

#include "base/shape.h"
#include "kernels/gemm_nbits_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_nbits_i8.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_gemm_nbits_inl.h"
#include "kernels/simd_quads_inl.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

struct ScratchQuads {};

// Rows of A that go through the weights together, as many as there are registers for.
constexpr int kRows = kLanes >= 16 ? 4 : 2;
constexpr int64_t kPer = 8;  // elements of a word

// A [m, k] in bytes, a scale for each block: of the 8 elements of a word of weights the even ones,
// then the odd ones, as masks leave them there; zeros behind the last. All by rows.
struct Bytes {
  std::int8_t* q;
  float* scales;
  std::int32_t* sums;  // of a block's bytes
  int64_t stride, blocks;
};

// One block, of which `count` elements are there.
void quantise(const float* x, int64_t count, int64_t block, std::int8_t* q, float& scale,
              std::int32_t& sum) {
  const F32 d;
  const hn::Rebind<std::int8_t, F32> d8;
  alignas(16) static constexpr std::int8_t kEvenOdd[16] = {0, 2,  4,  6,  1, 3,  5,  7,
                                                           8, 10, 12, 14, 9, 11, 13, 15};
  const auto even_odd = hn::Load(d8, kEvenOdd);
  float largest = 0, poison = 0;  // what is not finite makes all of the block's results NaN
  for (int64_t p = 0; p < count; ++p) {
    largest = std::max(largest, std::abs(x[p]));
    poison += x[p] * 0.0f;
  }
  scale = largest / 127 + poison;
  const VecF32 inverse = hn::Set(d, largest > 0 ? 127 / largest : 0.0f);
  sum = 0;
  for (int64_t p = 0; p < block; p += kLanes) {
    const int64_t there = std::clamp<int64_t>(count - p, 0, kLanes);
    const VecF32 v = there == static_cast<int64_t>(kLanes)
                         ? hn::LoadU(d, x + p)
                         : load_n(d, x + std::min(p, count), static_cast<std::size_t>(there));
    const auto whole = nearest_quads(hn::Mul(v, inverse));
    sum += hn::GetLane(hn::SumOfLanes(QuadI32(), whole));
    hn::StoreU(hn::TableLookupBytes(hn::DemoteTo(d8, whole), even_odd), d8, q + p);
  }
}

Bytes quantised(int64_t m, const float* a, const NbitsMatrix& b, ThreadPool& pool) {
  const int64_t blocks = b.blocks(), stride = checked_mul(blocks, b.block);
  const int64_t floats = checked_mul(m, checked_add(stride / 4, 2 * blocks));
  float* memory = thread_scratch<ScratchQuads>(floats);
  const Bytes bytes{reinterpret_cast<std::int8_t*>(memory), memory + m * stride / 4,
                    reinterpret_cast<std::int32_t*>(memory + m * stride / 4 + m * blocks), stride,
                    blocks};
  constexpr int64_t kLeastWork = int64_t{1} << 15;
  pool.parallel_for(m, std::max<int64_t>(1, kLeastWork / b.k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t at = block * b.block;
        quantise(a + i * b.k + at, std::min(b.block, b.k - at), b.block, bytes.q + i * stride + at,
                 bytes.scales[i * blocks + block], bytes.sums[i * blocks + block]);
      }
    }
  });
  return bytes;
}

HWY_INLINE VecQuads quad_of(const std::int8_t* q) {
  return broadcast_quad(reinterpret_cast<const std::uint8_t*>(q));
}

// Products of 4 bits and bytes on their way to sums of 32 bits.
template <QuadSums kSums>
struct LaneSums {
  static constexpr int64_t kMostWords = int64_t{1} << 40;
  HWY_INLINE void begin() {}
  HWY_INLINE void add(VecQuads x, VecQuads w, VecQuads& sum) { add_quads<kSums>(sum, x, w); }
  HWY_INLINE void finish(VecQuads&) {}
};

#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
// As long as 16 bits hold them: two products of 15 and -128, twice for each word.
template <>
struct LaneSums<QuadSums::kPairs> {
  static constexpr int64_t kMostWords = 32768 / (2 * 2 * 15 * 128);
  HWY_INLINE void begin() { pairs = hn::Zero(QuadI16()); }
  HWY_INLINE void add(VecQuads x, VecQuads w, VecQuads&) {
    add_pairs(pairs, x, hn::BitCast(QuadU8(), w));
  }
  HWY_INLINE void finish(VecQuads& sum) { add_lanes(sum, pairs); }
  hn::Vec<QuadI16> pairs;
};
#endif

// `vectors` vectors of columns from `column` on for `rows` rows of A, to out [rows][vectors].
template <QuadSums kSums, int rows, int vectors>
void multiply_columns(const NbitsMatrix& b, int64_t column, const Bytes& of, int64_t first_row,
                      float* out) {
  const F32 d;
  const QuadI32 di;
  const VecQuads low = hn::Set(di, 0x0f0f0f0f);
  const int64_t words_of_block = b.words_of_block(), blocks = of.blocks;
  const int64_t panel_scales = blocks * kNbitsPanel, panel_words = panel_scales * words_of_block;
  const std::int8_t* q = of.q + first_row * of.stride;
  const auto* words =
      reinterpret_cast<const std::int32_t*>(b.words) + nbits_column(column, panel_words);
  VecF32 totals[rows][vectors];
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) totals[r][v] = hn::Zero(d);
  }
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t at = nbits_column(column, panel_scales) + block * kNbitsPanel;
    VecQuads sums[rows][vectors];
    MEZZO_UNROLL
    for (int r = 0; r < rows; ++r) {
      // Without zeros of their own all weights are 8 too large.
      const std::int32_t of_block = of.sums[(first_row + r) * blocks + block];
      MEZZO_UNROLL
      for (int v = 0; v < vectors; ++v)
        sums[r][v] = hn::Set(di, b.zeros != nullptr ? 0 : -8 * of_block);
    }
    for (int64_t word = 0; word < words_of_block;) {
      LaneSums<kSums> of_words[rows][vectors];
      MEZZO_UNROLL
      for (int r = 0; r < rows; ++r) {
        MEZZO_UNROLL
        for (int v = 0; v < vectors; ++v) of_words[r][v].begin();
      }
      const int64_t end = std::min(word + LaneSums<kSums>::kMostWords, words_of_block);
      for (; word < end; ++word, words += kNbitsPanel, q += kPer) {
        fetch_nbits_words<rows, vectors>(words, panel_words);
        VecQuads even[vectors], odd[vectors];
        MEZZO_UNROLL
        for (int v = 0; v < vectors; ++v) {
          const VecQuads x = hn::LoadU(di, words + nbits_vector(v, panel_words));
          even[v] = hn::And(x, low);
          odd[v] = hn::And(hn::ShiftRight<4>(x), low);
        }
        MEZZO_UNROLL
        for (int r = 0; r < rows; ++r) {
          const VecQuads evens = quad_of(q + r * of.stride), odds = quad_of(q + r * of.stride + 4);
          MEZZO_UNROLL
          for (int v = 0; v < vectors; ++v) {
            of_words[r][v].add(even[v], evens, sums[r][v]);
            of_words[r][v].add(odd[v], odds, sums[r][v]);
          }
        }
      }
      MEZZO_UNROLL
      for (int r = 0; r < rows; ++r) {
        MEZZO_UNROLL
        for (int v = 0; v < vectors; ++v) of_words[r][v].finish(sums[r][v]);
      }
    }
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const int64_t of_vector = at + nbits_vector(v, panel_scales);
      const VecF32 scale = hn::LoadU(d, b.scales + of_vector);
      MEZZO_UNROLL
      for (int r = 0; r < rows; ++r) {
        const int64_t row = (first_row + r) * blocks + block;
        VecF32 sum = hn::ConvertTo(d, sums[r][v]);
        if (b.zeros != nullptr) {
          const VecF32 zero = hn::LoadU(d, b.zeros + of_vector);
          sum = hn::NegMulAdd(zero, hn::Set(d, static_cast<float>(of.sums[row])), sum);
        }
        totals[r][v] = hn::MulAdd(hn::Mul(scale, hn::Set(d, of.scales[row])), sum, totals[r][v]);
      }
    }
  }
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v)
      hn::StoreU(totals[r][v], d, out + (r * vectors + v) * int64_t{kLanes});
  }
}

}  // namespace

bool run_has_nbits_i8() { return quad_sums() != QuadSums::kSlow; }

void run_gemm_nbits_i8(int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
                       ThreadPool& pool) {
  const Bytes of = quantised(m, a, b, pool);
  with_quad_sums([&](auto kind) {
    const auto multiply = [&](auto rows, auto vectors, int64_t column, int64_t row, float* sums) {
      multiply_columns<kind(), rows(), vectors()>(b, column, of, row, sums);
    };
    for_nbits_columns<kRows>(m, b, bias, c, pool, multiply);
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_has_nbits_i8);
HWY_EXPORT(run_gemm_nbits_i8);
}  // namespace

bool has_gemm_nbits_i8(const NbitsMatrix& b) {
  return b.bits == 4 && MEZZO_DISPATCH(run_has_nbits_i8)();
}

void gemm_nbits_i8(std::int64_t m, const float* a, const NbitsMatrix& b, const float* bias,
                   float* c, ThreadPool& pool) {
  if (m <= 0 || b.n <= 0) return;
  MEZZO_DISPATCH(run_gemm_nbits_i8)(m, a, b, bias, c, pool);
}

}  // namespace mezzo::kernels
#endif
