#include "kernels/scale_shift_f32.h"

#include <algorithm>

#include "kernels/blocked_f32.h"
#include "kernels/elementwise_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scale_shift_f32.cc"
#include "kernels/simd.h"
#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

constexpr auto kLaneCount = static_cast<int64_t>(kLanes);

// The factors or terms of a plane's elements, by vectors; the second one belongs to what is behind
// a vector, and to what is behind two of them the first one again.
struct Pattern {
  // Those of all channels, or null for `otherwise`; the plane has one channel or a block of them.
  Pattern(const float* of_all, int64_t channel, bool blocked, float otherwise) {
    const F32 d;
    HWY_ALIGN float values[2 * kLanes];
    if (of_all != nullptr && blocked) {
      for (int64_t i = 0; i < 2 * kLaneCount; i += kBlockChannels)
        std::copy_n(of_all + channel, kBlockChannels, values + i);
    } else {
      std::fill_n(values, 2 * kLaneCount, of_all == nullptr ? otherwise : of_all[channel]);
    }
    v[0] = hn::Load(d, values);
    v[1] = hn::Load(d, values + kLanes);
  }
  VecF32 v[2];
};

// f(elements, factors, terms) for all elements of planes [begin, end).
template <class F>
void each_plane(const ScaleShift& s, int64_t begin, int64_t end, const float* x, float* y,
                const F& f) {
  const F32 d;
  const int64_t channels = s.blocked ? kBlockChannels : 1;
  for (int64_t plane = begin; plane < end; ++plane) {
    const int64_t channel =
        plane / s.image_planes * s.image_step + plane % s.image_planes * channels;
    // -0 changes no sign of a zero.
    const Pattern scale(s.scale, channel, s.blocked, 1.0F),
        shift(s.shift, channel, s.blocked, -0.0F);
    const float* from = x + plane * s.x_step;
    float* to = y + plane * s.y_step;
    int64_t at = 0;
    for (; at + 2 * kLaneCount <= s.n; at += 2 * kLaneCount) {
      const VecF32 first = f(hn::LoadU(d, from + at), scale.v[0], shift.v[0]),
                   second = f(hn::LoadU(d, from + at + kLanes), scale.v[1], shift.v[1]);
      hn::StoreU(first, d, to + at);
      hn::StoreU(second, d, to + at + kLanes);
    }
    if (at + kLaneCount <= s.n) {
      hn::StoreU(f(hn::LoadU(d, from + at), scale.v[0], shift.v[0]), d, to + at);
      at += kLaneCount;
    }
    // Where a vector is half of a block, nothing is left.
    const auto rest = static_cast<std::size_t>(s.n - at);
    if (rest > 0) store_n(f(load_n(d, from + at, rest), scale.v[0], shift.v[0]), d, to + at, rest);
  }
}

}  // namespace

void run_scale_shift(const ScaleShift& s, int64_t begin, int64_t end, const float* x, float* y) {
  const F32 d;
  const VecF32 lo = hn::Set(d, s.min), hi = hn::Set(d, s.max);
  each_plane(s, begin, end, x, y, [&](VecF32 v, VecF32 scale, VecF32 shift) HWY_ATTR {
    return clamp(hn::MulAdd(v, scale, shift), lo, hi);
  });
}

void run_scale_negative(const ScaleShift& s, int64_t begin, int64_t end, const float* x, float* y) {
  each_plane(s, begin, end, x, y, [](VecF32 v, VecF32 scale, VecF32) HWY_ATTR {
    return hn::IfThenElse(hn::Lt(v, hn::Zero(F32())), hn::Mul(v, scale), v);
  });
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_scale_shift);
HWY_EXPORT(run_scale_negative);

template <class RunPlanes>
void share_planes(const ScaleShift& s, RunPlanes run, const float* x, float* y, ThreadPool& pool) {
  if (s.n <= 0) return;
  pool.parallel_for(s.planes, std::max<std::int64_t>(1, kCheapGrain / s.n),
                    [&](std::int64_t begin, std::int64_t end) { run(s, begin, end, x, y); });
}

}  // namespace

void scale_shift(const ScaleShift& s, const float* x, float* y, ThreadPool& pool) {
  share_planes(s, MEZZO_DISPATCH(run_scale_shift), x, y, pool);
}

void scale_negative(const ScaleShift& s, const float* x, float* y, ThreadPool& pool) {
  share_planes(s, MEZZO_DISPATCH(run_scale_negative), x, y, pool);
}

}  // namespace mezzo::kernels
#endif
