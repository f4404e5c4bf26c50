#include "ops/blocked_integer_conv.h"

#include <algorithm>
#include <cstdlib>

#include "base/rounding.h"
#include "base/shape.h"
#include "ops/blocked_image.h"
#include "ops/convolution.h"
#include "ops/integer_product.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// How far the zero points of weights may be from where they make int8 of them: those weights that
// are none then cost steps of their own.
constexpr int kMostOff = 48;

// By how much the weights' zero points are off: not at 0 of int8, or 128 of uint8.
int zero_points_off(const Op& op, const IntegerConvInputs& inputs) {
  const int middle = range_of(op.in(inputs.w).dtype).least + 128;
  const std::vector<std::int32_t> zero_points = ints_of(op.constant(inputs.w_zero_point));
  int off = zero_points.empty() ? std::abs(middle) : 0;
  for (const std::int32_t zero : zero_points) off = std::max(off, std::abs(zero - middle));
  return off;
}

}  // namespace

bool bytes_pay() { return kernels::blocked_i8_pays(); }

kernels::ConvShape blocked_kernel_shape(const IntegerConv& conv) {
  return conv_shape(
      {conv.batch, conv.in_channels, conv.out_channels, conv.groups, conv.windows, {}});
}

std::string blocked_shape_refusal(const IntegerConv& conv) {
  if (conv.windows.size() > 2) return "more than two spatial axes";
  if (element_count(conv.shape()) == 0 || conv.terms() == 0) return "an empty tensor";
  if (!kernels::blocked_conv_i8_applies(blocked_kernel_shape(conv)))
    return "not whole blocks of channels, or other groups or steps";
  return "";
}

std::string zero_points_refusal(const Op& op, const IntegerConvInputs& inputs) {
  return zero_points_off(op, inputs) > kMostOff ? "the weights' zero points are far from the middle"
                                                : "";
}

PackedBytes packed_bytes(const Op& op, const IntegerConv& conv, const kernels::ConvShape& shape) {
  // The weights follow the sums.
  const std::int64_t begin =
      round_up(checked_mul(conv.out_channels, sizeof(std::int32_t)), std::int64_t{64});
  const auto pack = [&](const Tensor& weights, const std::vector<std::int32_t>& zero_points,
                        ThreadPool& pool) {
    std::vector<std::int32_t> sums(static_cast<std::size_t>(conv.out_channels));
    std::vector<std::int16_t> differences(static_cast<std::size_t>(weights.size()));
    const auto take = [&](const auto* from) {
      auto* to = differences.data();
      for (std::size_t c = 0; c < sums.size(); ++c) {
        const int zero = zero_point_at(zero_points, c);
        for (const auto* end = from + conv.terms(); from != end; ++from, ++to) {
          *to = static_cast<std::int16_t>(*from - zero);
          sums[c] += *to;
        }
      }
    };
    weights.dtype() == DType::u8 ? take(weights.values<std::uint8_t>().data())
                                 : take(weights.values<std::int8_t>().data());
    return packed_by([&](const kernels::AllocatePacked& allocate) {
      const auto behind_sums = [&](std::size_t bytes) {
        auto* memory = allocate(static_cast<std::size_t>(begin) + bytes);
        std::copy(sums.begin(), sums.end(), static_cast<std::int32_t*>(memory));
        return static_cast<std::uint8_t*>(memory) + begin;
      };
      kernels::pack_blocked_i8_weights(shape, differences.data(), behind_sums, pool);
    });
  };
  const std::string key = "blocked i8 " + std::to_string(conv.groups) +
                          (conv.in_channels % kBlock == 0 ? "" : " plain");
  PackedBytes packed;
  packed.memory = packed_factor(op, conv.inputs.w, conv.inputs.w_zero_point, key, pack);
  packed.sums = static_cast<const std::int32_t*>(packed.memory.data());
  packed.weights = static_cast<const std::uint8_t*>(packed.memory.data()) + begin;
  return packed;
}

void take_zero_point(const PackedBytes& packed, std::int32_t zero_point, bool x_signed,
                     std::vector<kernels::ChannelScale>& channels) {
  const auto added = static_cast<std::uint32_t>(zero_point + (x_signed ? 128 : 0));
  for (std::size_t c = 0; c < channels.size(); ++c) {
    const std::uint32_t taken = added * static_cast<std::uint32_t>(packed.sums[c]);
    channels[c].offset =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(channels[c].offset) - taken);
  }
}

Choice blocked_sums_conv(Op& op, const IntegerConvInputs& inputs, MakeTakeSums finish) {
  if (!bytes_pay()) return refuse("this target has no kernels for products of bytes");
  const IntegerConv conv = integer_conv_of(op, inputs);
  if (std::string reason = blocked_shape_refusal(conv); !reason.empty()) return refuse(reason);
  if (conv.groups > 1) return refuse("groups");
  if (!op.is_constant(inputs.w) ||
      (op.has_in(inputs.w_zero_point) && !op.is_constant(inputs.w_zero_point)))
    return refuse("weights or their zero points are computed");
  if (std::string reason = zero_points_refusal(op, inputs); !reason.empty()) return refuse(reason);
  kernels::ConvShape shape = blocked_kernel_shape(conv);
  shape.batch = 1;
  kernels::BlockedConvI8 args;
  args.x_signed = op.in(inputs.x).dtype == DType::i8;
  const PackedBytes packed = packed_bytes(op, conv, shape);
  // An image in blocks, the kernel's own memory, and sums in blocks.
  const auto lines = [](std::int64_t bytes) { return checked_round_up(bytes, 64); };
  const bool goes_into_blocks = conv.in_channels % kBlock == 0;
  const std::int64_t plane = shape.x_plane(), pixels = shape.y_plane(),
                     image_bytes = checked_mul(conv.in_channels, plane),
                     kernel_at = goes_into_blocks ? lines(image_bytes) : 0,
                     sums_at = checked_add(
                         kernel_at, lines(static_cast<std::int64_t>(
                                        kernels::blocked_i8_scratch_bytes(shape, args.x_signed))));
  op.set_scratch(checked_add(sums_at, checked_mul(checked_mul(conv.out_channels, pixels), 4)));
  return Kernel([=, finish = std::move(finish)](Run& run) {
    const TakeSums take = finish(run);
    auto* scratch = static_cast<std::uint8_t*>(run.scratch());
    auto* sums = reinterpret_cast<std::int32_t*>(scratch + sums_at);
    kernels::BlockedConvI8 all = args;
    all.packed_weights = packed.weights;
    all.x_zero_point = zero_point_of(run, inputs.x_zero_point);
    std::vector<kernels::ChannelScale> channels(static_cast<std::size_t>(conv.out_channels));
    take_zero_point(packed, all.x_zero_point, all.x_signed, channels);
    const kernels::ChannelScales scales = kernels::ordered_scales(shape, channels);
    all.scales = &scales;
    all.sums = sums;
    // Pixels of a block that become rows of its channels in the first-level cache.
    constexpr std::int64_t kPixels = 512;
    const std::int64_t parts = ceil_div(pixels, kPixels);
    for (std::int64_t image = 0; image < conv.batch; ++image) {
      all.x = run.in<std::uint8_t>(inputs.x) + image * image_bytes;
      if (goes_into_blocks) {
        kernels::to_blocked_i8(conv.in_channels / kBlock, plane, all.x, scratch, run.pool());
        all.x = scratch;
      }
      kernels::blocked_conv_i8(shape, all, scratch + kernel_at, run.pool());
      run.pool().parallel_for(
          conv.out_channels / kBlock * parts, 32, [&](std::int64_t begin, std::int64_t end) {
            alignas(64) std::int32_t rows[kBlock * kPixels];
            for (std::int64_t i = begin; i < end; ++i) {
              const std::int64_t block = i / parts, first = i % parts * kPixels,
                                 count = std::min(kPixels, pixels - first);
              kernels::from_blocked(
                  {1, count, count, count},
                  reinterpret_cast<const float*>(sums + (block * pixels + first) * kBlock),
                  reinterpret_cast<float*>(rows), false, run.pool());
              for (std::int64_t c = 0; c < kBlock; ++c) {
                const std::int64_t channel = block * kBlock + c;
                take(channel, rows + c * count, count,
                     (image * conv.out_channels + channel) * pixels + first);
              }
            }
          });
    }
  });
}

}  // namespace mezzo::ops
