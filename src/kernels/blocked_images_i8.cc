#include <algorithm>
#include <cstring>

#include "kernels/blocked_i8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/blocked_images_i8.cc"
#include "kernels/simd.h"

// What is done to images of bytes in the blocked layout besides convolving them.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using std::int64_t;
using std::uint8_t;

using Bytes = hn::Full128<uint8_t>;
using VecBytes = hn::Vec<Bytes>;
constexpr int64_t kRun = 16;  // pixels, as many as a vector of bytes has
constexpr int kChannels = kBlockChannels;

// Eight vectors as one list of 128 bytes: the byte at a goes to where a's seven bits, turned left
// by one, say.
HWY_INLINE void turn(VecBytes (&v)[kChannels]) {
  const Bytes d;
  VecBytes turned[kChannels];
  MEZZO_UNROLL
  for (int i = 0; i < kChannels / 2; ++i) {
    turned[2 * i] = hn::InterleaveLower(d, v[i], v[i + kChannels / 2]);
    turned[2 * i + 1] = hn::InterleaveUpper(d, v[i], v[i + kChannels / 2]);
  }
  MEZZO_UNROLL
  for (int i = 0; i < kChannels; ++i) v[i] = turned[i];
}

// `pixels` of [8][plane] to [plane][8], or back: the three bits of the channel change sides with
// the four of the pixel.
template <bool kToBlocks>
void transpose_block(const uint8_t* x, int64_t pixels, int64_t plane, uint8_t* y) {
  const Bytes d;
  const auto plain_at = [&](int64_t p, int c) { return c * plane + p; };
  const auto blocked_at = [&](int64_t p, int c) { return p * kChannels + c * kRun; };
  int64_t p = 0;
  for (; p + kRun <= pixels; p += kRun) {
    VecBytes v[kChannels];
    MEZZO_UNROLL
    for (int i = 0; i < kChannels; ++i)
      v[i] = hn::LoadU(d, x + (kToBlocks ? plain_at(p, i) : blocked_at(p, i)));
    turn(v);
    turn(v);
    turn(v);
    if constexpr (!kToBlocks) turn(v);
    MEZZO_UNROLL
    for (int i = 0; i < kChannels; ++i)
      hn::StoreU(v[i], d, y + (kToBlocks ? blocked_at(p, i) : plain_at(p, i)));
  }
  for (; p < pixels; ++p) {
    for (int c = 0; c < kChannels; ++c) {
      const int64_t plain = plain_at(p, c), blocked = p * kChannels + c;
      if constexpr (kToBlocks) {
        y[blocked] = x[plain];
      } else {
        y[plain] = x[blocked];
      }
    }
  }
}

// For each of the planes of a block.
template <bool kToBlocks>
void transpose_planes(const BlockedPlanes& s, const uint8_t* x, uint8_t* y, ThreadPool& pool) {
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / (s.pixels * kChannels));
  pool.parallel_for(s.planes, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i)
      transpose_block<kToBlocks>(x + i * s.x_plane * kChannels, s.pixels,
                                 kToBlocks ? s.x_plane : s.y_plane, y + i * s.y_plane * kChannels);
  });
}

}  // namespace

void run_to_blocked_i8(int64_t blocks, int64_t pixels, const uint8_t* x, uint8_t* y,
                       ThreadPool& pool) {
  transpose_planes<true>({blocks, pixels, pixels, pixels}, x, y, pool);
}

void run_from_blocked_i8(const BlockedPlanes& planes, const uint8_t* x, uint8_t* y,
                         ThreadPool& pool) {
  transpose_planes<false>(planes, x, y, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_to_blocked_i8);
HWY_EXPORT(run_from_blocked_i8);
}  // namespace

void to_blocked_i8(std::int64_t blocks, std::int64_t pixels, const std::uint8_t* x, std::uint8_t* y,
                   ThreadPool& pool) {
  MEZZO_DISPATCH(run_to_blocked_i8)(blocks, pixels, x, y, pool);
}

void from_blocked_i8(const BlockedPlanes& planes, const std::uint8_t* x, std::uint8_t* y,
                     ThreadPool& pool) {
  MEZZO_DISPATCH(run_from_blocked_i8)(planes, x, y, pool);
}

}  // namespace mezzo::kernels
#endif
