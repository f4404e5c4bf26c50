#include "kernels/gemm_nbits_f32.h"

#include <algorithm>
#include <cstring>

#include "base/shape.h"
#include "kernels/gemm_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_nbits_f32.cc"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_gemm_nbits_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

using Words = hn::RebindToSigned<F32>;
using VecWords = hn::Vec<Words>;

struct ScratchRows {};
struct ScratchPackedRows {};
struct ScratchPanel {};

// Rows of A that go through the weights together, and up to which they do: with more of them it
// pays to make floats of the weights once.
constexpr int kRows = 4;
constexpr int64_t kFewRows = 12;

HWY_INLINE VecWords load_words(const std::uint32_t* words) {
  return hn::LoadU(Words(), reinterpret_cast<const std::int32_t*>(words));
}

// Elements j of words, times 2^(bits * j) but for the last, whose bits are the sign's.
template <int bits, int j>
HWY_INLINE VecF32 elements(VecWords words) {
  const Words d;
  if constexpr (bits * (j + 1) == 32) {
    const hn::RebindToUnsigned<Words> u;
    return hn::ConvertTo(F32(), hn::BitCast(d, hn::ShiftRight<32 - bits>(hn::BitCast(u, words))));
  } else {
    return hn::ConvertTo(F32(), hn::And(words, hn::Set(d, ((1 << bits) - 1) << (bits * j))));
  }
}

// What makes up for that.
constexpr float factor_of(int bits, int j) {
  const int shift = bits * (j + 1) == 32 ? 0 : bits * j;
  return 1.0f / static_cast<float>(int64_t{1} << shift);
}

// Calls f(0), ..., f(n - 1) with constants.
template <int n, int i = 0, class F>
HWY_INLINE void unrolled(const F& f) {
  if constexpr (i < n) {
    f(std::integral_constant<int, i>());
    unrolled<n, i + 1>(f);
  }
}

// A few rows of A: elements as `elements` wants them, zeros behind the last, and their sums by
// blocks, which the zeros of B are multiplied by.
struct FewRows {
  const float* a;
  const float* sums;
  int64_t stride, blocks;  // from row to row
};

FewRows prepare_rows(int64_t m, const float* a, const NbitsMatrix& b) {
  const int64_t blocks = b.blocks(), stride = checked_mul(blocks, b.block);
  float* rows = thread_scratch<ScratchRows>(checked_mul(m, checked_add(stride, blocks)));
  float* sums = rows + m * stride;
  const int per = 32 / b.bits;
  float factors[16];
  for (int j = 0; j < per; ++j) factors[j] = factor_of(b.bits, j);
  for (int64_t i = 0; i < m; ++i) {
    float* row = rows + i * stride;
    std::copy_n(a + i * b.k, b.k, row);
    std::fill(row + b.k, row + stride, 0.0f);
    for (int64_t block = 0; block < blocks; ++block) {
      float* of_block = row + block * b.block;
      float sum = 0;
      for (int64_t p = 0; p < b.block; ++p) sum += of_block[p];
      sums[i * blocks + block] = sum;
      for (int64_t p = 0; p < b.block; p += per) {
        for (int j = 0; j < per; ++j) of_block[p + j] *= factors[j];
      }
    }
  }
  return {rows, sums, stride, blocks};
}

// `vectors` vectors of columns from `column` on for `rows` rows of A, to out [rows][vectors].
template <int bits, int rows, int vectors>
void multiply_columns(const NbitsMatrix& b, int64_t column, const FewRows& of, int64_t first_row,
                      float* out) {
  const F32 d;
  constexpr int kPer = 32 / bits;
  // Few sums would wait for each other.
  constexpr int kSums = rows * vectors <= 2 ? 2 : 1;
  const int64_t words_of_block = b.words_of_block(), blocks = b.blocks();
  const int64_t panel_scales = blocks * kNbitsPanel, panel_words = panel_scales * words_of_block;
  const float* a = of.a + first_row * of.stride;
  const std::uint32_t* words = b.words + nbits_column(column, panel_words);
  const int64_t at = nbits_column(column, panel_scales);
  const float* scales = b.scales + at;
  const float* zeros = b.zeros != nullptr ? b.zeros + at : nullptr;
  const VecF32 middle = hn::Set(d, static_cast<float>(1 << (bits - 1)));
  VecF32 totals[rows][vectors];
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) totals[r][v] = hn::Zero(d);
  }
  for (int64_t block = 0; block < blocks; ++block) {
    VecF32 sums[rows][vectors][kSums];
    MEZZO_UNROLL
    for (int r = 0; r < rows; ++r) {
      MEZZO_UNROLL
      for (int v = 0; v < vectors; ++v) {
        MEZZO_UNROLL
        for (int s = 0; s < kSums; ++s) sums[r][v][s] = hn::Zero(d);
      }
    }
    for (int64_t word = 0; word < words_of_block; ++word, words += kNbitsPanel, a += kPer) {
      fetch_nbits_words<rows, vectors>(words, panel_words);
      VecWords x[vectors];
      MEZZO_UNROLL
      for (int v = 0; v < vectors; ++v) x[v] = load_words(words + nbits_vector(v, panel_words));
      unrolled<kPer>([&](auto j) HWY_ATTR {
        VecF32 q[vectors];
        MEZZO_UNROLL
        for (int v = 0; v < vectors; ++v) q[v] = elements<bits, j()>(x[v]);
        MEZZO_UNROLL
        for (int r = 0; r < rows; ++r) {
          const VecF32 of_row = hn::Set(d, a[r * of.stride + j()]);
          MEZZO_UNROLL
          for (int v = 0; v < vectors; ++v) {
            VecF32& sum = sums[r][v][j() % kSums];
            sum = hn::MulAdd(of_row, q[v], sum);
          }
        }
      });
    }
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const int64_t of_vector = nbits_vector(v, panel_scales);
      const VecF32 scale = hn::LoadU(d, scales + of_vector);
      const VecF32 zero = zeros != nullptr ? hn::LoadU(d, zeros + of_vector) : middle;
      MEZZO_UNROLL
      for (int r = 0; r < rows; ++r) {
        VecF32 sum = sums[r][v][0];
        if constexpr (kSums > 1) sum = hn::Add(sum, sums[r][v][1]);
        const VecF32 of_zeros = hn::Set(d, of.sums[(first_row + r) * blocks + block]);
        totals[r][v] = hn::MulAdd(scale, hn::NegMulAdd(zero, of_zeros, sum), totals[r][v]);
      }
    }
    scales += kNbitsPanel;
    if (zeros != nullptr) zeros += kNbitsPanel;
  }
  MEZZO_UNROLL
  for (int r = 0; r < rows; ++r) {
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v)
      hn::StoreU(totals[r][v], d, out + (r * vectors + v) * int64_t{kLanes});
  }
}

template <int bits>
void multiply_few(int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
                  ThreadPool& pool) {
  const FewRows of = prepare_rows(m, a, b);
  const auto multiply = [&](auto rows, auto vectors, int64_t column, int64_t row, float* sums) {
    multiply_columns<bits, rows(), vectors()>(b, column, of, row, sums);
  };
  for_nbits_columns<kRows>(m, b, bias, c, pool, multiply);
}

// kLanes columns of B from `column` on, as part of a packed factor of k rows.
template <int bits>
void unpack_vector(const NbitsMatrix& b, int64_t column, float* to) {
  const F32 d;
  constexpr int kPer = 32 / bits;
  const int64_t panel = column / kNbitsPanel, lane = column % kNbitsPanel;
  for (int64_t block = 0; block < b.blocks(); ++block) {
    const int64_t at = panel * b.blocks() + block, end = std::min(b.k, (block + 1) * b.block);
    const VecF32 scale = hn::LoadU(d, b.scales + at * kNbitsPanel + lane);
    const VecF32 zero = b.zeros != nullptr ? hn::LoadU(d, b.zeros + at * kNbitsPanel + lane)
                                           : hn::Set(d, static_cast<float>(1 << (bits - 1)));
    const std::uint32_t* words = b.words + at * b.words_of_block() * kNbitsPanel + lane;
    for (int64_t p = block * b.block; p < end; p += kPer, words += kNbitsPanel) {
      const VecWords x = load_words(words);
      float* row = to + p * kTileCols;
      unrolled<kPer>([&](auto j) HWY_ATTR {
        const VecF32 q = hn::Mul(elements<bits, j()>(x), hn::Set(d, factor_of(bits, j())));
        if (p + j() < end) hn::StoreU(hn::Mul(hn::Sub(q, zero), scale), d, row + j() * kTileCols);
      });
    }
  }
}

// kTileCols columns from `column` on, those after the last one zeros.
template <int bits>
void unpack_columns(const NbitsMatrix& b, int64_t column, float* to) {
  const F32 d;
  for (int64_t v = 0; v < kTileCols; v += kLanes) {
    if (column + v < b.panels() * kNbitsPanel) {
      unpack_vector<bits>(b, column + v, to + v);
    } else {
      for (int64_t p = 0; p < b.k; ++p) hn::StoreU(hn::Zero(d), d, to + p * kTileCols + v);
    }
  }
}

template <int bits>
void multiply_many(int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
                   ThreadPool& pool) {
  float* packed = thread_scratch<ScratchPackedRows>(
      static_cast<int64_t>(packed_a_bytes(m, b.k) / sizeof(float)));
  pack_a(m, b.k, {a, b.k, 1, false}, packed, pool);
  pool.parallel_for(ceil_div(b.n, kTileCols), 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    float* columns = thread_scratch<ScratchPanel>(checked_mul(b.k, kTileCols));
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t column = tile * kTileCols;
      unpack_columns<bits>(b, column, columns);
      GemmEpilogue epilogue;
      if (bias != nullptr) epilogue.col_bias = bias + column;
      gemm(m, std::min(kTileCols, b.n - column), b.k, {packed, 0, 1, true}, {columns, 0, 1, true},
           c + column, b.n, epilogue, pool);
    }
  });
}

template <int bits>
void multiply(int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
              ThreadPool& pool) {
  (m <= kFewRows ? multiply_few<bits> : multiply_many<bits>)(m, a, b, bias, c, pool);
}

}  // namespace

void run_gemm_nbits(int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
                    ThreadPool& pool) {
  (b.bits == 2 ? multiply<2> : b.bits == 4 ? multiply<4> : multiply<8>)(m, a, b, bias, c, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {

HWY_EXPORT(run_gemm_nbits);

// From rows of `count` things each to panels.
template <class T>
void into_panels(const NbitsMatrix& b, const void* rows, std::int64_t count, T* panels) {
  const auto* bytes = static_cast<const char*>(rows);
  for (std::int64_t panel = 0; panel < b.panels(); ++panel) {
    T* to = panels + panel * count * kNbitsPanel;
    const std::int64_t first = panel * kNbitsPanel, columns = std::min(kNbitsPanel, b.n - first);
    for (std::int64_t p = 0; p < count; ++p, to += kNbitsPanel) {
      for (std::int64_t i = 0; i < columns; ++i)
        std::memcpy(to + i, bytes + ((first + i) * count + p) * std::int64_t{sizeof(T)}, sizeof(T));
      std::fill(to + columns, to + kNbitsPanel, T{});
    }
  }
}

}  // namespace

void pack_nbits(const NbitsMatrix& b, const std::uint8_t* rows, std::uint32_t* words) {
  into_panels(b, rows, b.blocks() * b.words_of_block(), words);
}

void pack_nbits(const NbitsMatrix& b, const float* rows, float* panels) {
  into_panels(b, rows, b.blocks(), panels);
}

void gemm_nbits(std::int64_t m, const float* a, const NbitsMatrix& b, const float* bias, float* c,
                ThreadPool& pool) {
  if (m <= 0 || b.n <= 0) return;
  MEZZO_DISPATCH(run_gemm_nbits)(m, a, b, bias, c, pool);
}

}  // namespace mezzo::kernels
#endif
