// What becomes of the scores of attention, [keys][kTileCols] with queries along the vectors, on
// their way to weights. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_ATTENTION_SCORES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_ATTENTION_SCORES_INL
#undef MEZZO_KERNELS_SIMD_ATTENTION_SCORES_INL
#else
#define MEZZO_KERNELS_SIMD_ATTENTION_SCORES_INL
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/simd_gemm_inl.h"
#include "kernels/simd_math_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// The bits of a fill that leaves a score as it is: a NaN that no calculation gives.
inline constexpr std::int32_t kScoreIsLeft = -1;

// What is done to scaled scores [keys][kTileCols] ahead of their exponentials.
struct ScoreMasks {
  // Rows like the scores': what these become, or kScoreIsLeft.
  const float* fills = nullptr;
  // Then added: an element for a key, `key_stride` apart, or (`dense`) such rows.
  const float* added = nullptr;
  std::int64_t key_stride = 0;
  bool dense = false;
};

// A score, or what it becomes.
template <class D>
HWY_INLINE hn::Vec<D> chosen_score(D d, hn::Vec<D> score, const float* fill) {
  const hn::RebindToSigned<D> di;
  const auto other = hn::LoadU(d, fill);
  const auto is_left = hn::Eq(hn::BitCast(di, other), hn::Set(di, kScoreIsLeft));
  return hn::IfThenElse(hn::RebindMask(d, is_left), score, other);
}

// What is replaced by so little, or gets it added, counts as hidden: -inf, the lowest number, and
// such. Beside a score that is not, its weight is 0.
inline constexpr float kHidden = -1e30f;

// How many keys, from the first one on, have all that one of `count` queries sees; all of them
// where a query sees none, whose weights are others.
inline std::int64_t seen_keys(const ScoreMasks& masks, std::int64_t keys, std::int64_t count) {
  const F32 d;
  const VecF32 hidden = hn::Set(d, kHidden);
  std::int64_t end = keys;
  if (masks.fills == nullptr && !masks.dense) {
    while (masks.added != nullptr && end > 0 &&
           masks.added[(end - 1) * masks.key_stride] <= kHidden)
      --end;
    return end > 0 ? end : keys;
  }
  // Which of a vector of queries see a key. NaN hides nothing.
  const auto sees = [&](std::int64_t key, std::int64_t q) HWY_ATTR {
    const std::int64_t at = key * kTileCols + q;
    auto see = hn::Lt(hn::Iota(d, static_cast<float>(q)), hn::Set(d, static_cast<float>(count)));
    if (masks.fills != nullptr)
      see = hn::AndNot(hn::Le(hn::LoadU(d, masks.fills + at), hidden), see);
    if (masks.added != nullptr) {
      const VecF32 added = masks.dense ? hn::LoadU(d, masks.added + at)
                                       : hn::Set(d, masks.added[key * masks.key_stride]);
      see = hn::AndNot(hn::Le(added, hidden), see);
    }
    return see;
  };
  const auto nobody_sees = [&](std::int64_t key) HWY_ATTR {
    for (std::int64_t q = 0; q < count; q += kLanes) {
      if (!hn::AllFalse(d, sees(key, q))) return false;
    }
    return true;
  };
  while (end > 0 && nobody_sees(end - 1)) --end;
  for (std::int64_t q = 0; end < keys && q < count; q += kLanes) {
    auto some = sees(0, q);
    for (std::int64_t key = 1; key < end; ++key) some = hn::Or(some, sees(key, q));
    const auto queries = std::min<std::int64_t>(count - q, kLanes);
    if (static_cast<std::int64_t>(hn::CountTrue(d, some)) < queries) return keys;
  }
  return end > 0 ? end : keys;
}

// Scales products in place, and replaces what is to be replaced.
inline void scale_and_fill(float* products, std::int64_t keys, float scale, const float* fills) {
  const F32 d;
  const VecF32 factor = hn::Set(d, scale);
  for (std::int64_t i = 0; i < keys * kTileCols; i += kLanes) {
    const VecF32 score = hn::Mul(hn::LoadU(d, products + i), factor);
    hn::StoreU(chosen_score(d, score, fills + i), d, products + i);
  }
}

// Adds the mask to the scaled scores of `vectors` vectors of queries, takes their exponentials
// relative to the largest of each query, and writes 1 / sum of those.
template <int vectors>
void softmax_columns(float* scores, std::int64_t keys, float scale, const ScoreMasks& masks,
                     float* inverse) {
  const F32 d;
  const bool dense = masks.dense;
  const VecF32 factor = hn::Set(d, scale);
  // Two rows at a time, so that the maxima do not wait for each other.
  VecF32 top[2][vectors];
  for (auto& row : top) {
    for (VecF32& v : row) v = hn::Set(d, -std::numeric_limits<float>::infinity());
  }
  const auto add_row = [&](std::int64_t key, VecF32* HWY_RESTRICT largest) HWY_ATTR {
    float* row = scores + key * kTileCols;
    const VecF32 repeated =
        hn::Set(d, masks.added == nullptr || dense ? 0.0f : masks.added[key * masks.key_stride]);
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const std::int64_t at = key * kTileCols + v * kLanes;
      const VecF32 bias = dense ? hn::LoadU(d, masks.added + at) : repeated;
      const VecF32 score = hn::Add(hn::Mul(hn::LoadU(d, row + v * kLanes), factor), bias);
      hn::StoreU(score, d, row + v * kLanes);
      largest[v] = hn::Max(largest[v], score);
    }
  };
  std::int64_t key = 0;
  for (; key + 2 <= keys; key += 2) {
    add_row(key, top[0]);
    add_row(key + 1, top[1]);
  }
  if (key < keys) add_row(key, top[0]);
  VecF32 sum[vectors];
  for (int v = 0; v < vectors; ++v) {
    // A NaN that the maximum has lost comes back through the exponentials.
    top[0][v] = hn::Max(top[0][v], top[1][v]);
    sum[v] = hn::Zero(d);
  }
  for (key = 0; key < keys; ++key) {
    float* row = scores + key * kTileCols;
    MEZZO_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const VecF32 e = exp_of_negative(hn::Sub(hn::LoadU(d, row + v * kLanes), top[0][v]));
      hn::StoreU(e, d, row + v * kLanes);
      sum[v] = hn::Add(sum[v], e);
    }
  }
  for (int v = 0; v < vectors; ++v) {
    hn::StoreU(hn::Div(hn::Set(d, 1.0f), sum[v]), d, inverse + v * kLanes);
  }
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
