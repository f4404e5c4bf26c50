// Stores that go past the caches. Included per target, like simd.h.

#if defined(MEZZO_KERNELS_SIMD_STREAM_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef MEZZO_KERNELS_SIMD_STREAM_INL
#undef MEZZO_KERNELS_SIMD_STREAM_INL
#else
#define MEZZO_KERNELS_SIMD_STREAM_INL
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/simd_tail_inl.h"

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {

// Floats from `to` to the begin of a line of the cache, at it or behind it.
inline std::int64_t to_line(const float* to) {
  const auto past = reinterpret_cast<std::uintptr_t>(to) / sizeof(float);
  return static_cast<std::int64_t>(-past % kCacheLine);
}

// Whole lines, which go past the cache; `to` is the begin of one. hwy::FlushStream() must follow.
HWY_INLINE void stream_lines(const float* from, std::int64_t lines, float* to) {
  const F32 d;
  for (const float* end = from + lines * kCacheLine; from != end;
       from += kCacheLine, to += kCacheLine) {
    MEZZO_UNROLL
    for (int part = 0; part < int{kCacheLine}; part += int{kLanes})
      hn::Stream(hn::LoadU(d, from + part), d, to + part);
  }
}

// to[i] = from[i] for i < count. Whole lines of the cache go past it, which does not read them
// first: for what nobody reads soon. hwy::FlushStream() must follow.
inline void stream(const float* from, std::int64_t count, float* to) {
  const std::int64_t begin = std::min(count, to_line(to)), lines = (count - begin) / kCacheLine;
  std::copy(from, from + begin, to);
  stream_lines(from + begin, lines, to + begin);
  const std::int64_t end = begin + lines * kCacheLine;
  std::copy(from + end, from + count, to + end);
}

// The same for floats that come in parts: a part of a line costs as much as several lines, so what
// is left of a part waits for the next one, which mostly goes where the one before has ended.
class LineStream {
 public:
  // What is added goes so many floats further, too: a number of lines. 0: it does not.
  void give_also(std::int64_t further) { further_ = further; }

  // What waits, put ahead of `from` if it goes ahead of `to`: to be called before what add() takes
  // is written there, with the same arguments. The kCacheLine floats ahead of `from` are written
  // over. (What is written just ahead of a load that needs it and more makes the load wait until
  // all lines on their way have left.)
  void lead(float* from, const float* to) const {
    if (to == end_) std::copy_n(rest_, kCacheLine, from - kCacheLine);
  }

  void add(const float* from, std::int64_t count, float* to) {
    const float* const end = from + count;
    if (to == end_) {
      from -= rest_count_;
      to -= rest_count_;
    } else {
      finish();
      const std::int64_t begin = std::min(count, to_line(to));
      each(to, [&](float* place) { std::copy_n(from, begin, place); });
      if (begin == count) return;
      from += begin;
      to += begin;
    }
    const std::int64_t lines = (end - from) / kCacheLine;
    each(to, [&](float* place) HWY_ATTR { stream_lines(from, lines, place); });
    rest_count_ = end - from - lines * kCacheLine;
    std::copy_n(end - kCacheLine, kCacheLine, rest_);
    end_ = to + (end - from);
  }

  void finish() {
    each(end_ - rest_count_,
         [&](float* place) { std::copy_n(rest_ + kCacheLine - rest_count_, rest_count_, place); });
    rest_count_ = 0;
    end_ = nullptr;
  }

 private:
  template <class Write>
  HWY_INLINE void each(float* place, const Write& write) const {
    write(place);
    if (further_ != 0) write(place + further_);
  }

  HWY_ALIGN float rest_[kCacheLine];  // the last of them wait
  std::int64_t rest_count_ = 0, further_ = 0;
  float* end_ = nullptr;  // of all that was added; null where the next part begins anew
};

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
