// Convolutions of groups of several channels, as convolutions of their own.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// Whether there are groups, and not one for each channel of x.
inline bool is_grouped(const ConvShape& s) { return s.groups > 1 && s.groups != s.in_c; }

/// Groups that are convolutions of their own.
inline std::int64_t groups_of(const ConvShape& s) { return is_grouped(s) ? s.groups : 1; }

/// One of them, of one image; where there are none, the whole convolution.
inline ConvShape group_of(ConvShape s) {
  if (!is_grouped(s)) return s;
  s.in_c /= s.groups;
  s.out_c /= s.groups;
  s.batch = s.groups = 1;
  s.whole_batch = 0;
  return s;
}

/// Group g of image n, but for its weights.
inline ConvArgs group_of(const ConvShape& s, ConvArgs args, std::int64_t n, std::int64_t g) {
  const ConvShape group = group_of(s);
  const std::int64_t channel = g * group.out_c, plane = n * s.out_c + channel;
  const std::int64_t y_stride =
      args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  const auto move = [](auto*& pointer, std::int64_t by) {
    if (pointer != nullptr) pointer += by;
  };
  args.x += (n * s.in_c + g * group.in_c) * s.x_plane();
  args.y += n * y_stride + channel * s.y_plane();
  move(args.add, plane * s.add_plane());
  for (const float** of_channel :
       {&args.bias, &args.stages.scale, &args.stages.unscale, &args.stages.shift})
    move(*of_channel, channel);
  for (float** stage : args.stages.given()) move(*stage, plane * s.stage_plane());
  return args;
}

/// Packs the weights of all groups, `floats` apart, by pack(shape, weights, packed).
template <class Pack>
void pack_groups(const ConvShape& s, const float* weights, float* packed, std::int64_t floats,
                 const Pack& pack) {
  const ConvShape group = group_of(s);
  for (std::int64_t g = 0; g < groups_of(s); ++g) {
    pack(group, weights, packed);
    weights += group.out_c * (group.in_c / group.groups) * group.k_h * group.k_w;
    packed += floats;
  }
}

/// Runs conv(shape, args) for each group of each image, whose weights are `floats` apart. Threads
/// take whole groups, where there are enough.
template <class Conv>
void run_groups(const ConvShape& s, const ConvArgs& args, std::int64_t floats, ThreadPool& pool,
                const Conv& conv) {
  // Multiply-adds that are worth handing to another thread.
  constexpr std::int64_t kGrain = 1 << 19;
  if (!is_grouped(s)) return conv(s, args);
  const ConvShape group = group_of(s);
  const std::int64_t all = s.batch * s.groups;
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      ConvArgs of_group = group_of(s, args, i / s.groups, i % s.groups);
      of_group.packed_weights += i % s.groups * floats;
      conv(group, of_group);
    }
  };
  if (all < pool.available()) return run(0, all);
  const std::int64_t work =
      group.out_c * group.out_h * group.out_w * group.in_c * group.k_h * group.k_w;
  pool.parallel_for(all, std::max<std::int64_t>(1, kGrain / work), run);
}

}  // namespace mezzo::kernels
