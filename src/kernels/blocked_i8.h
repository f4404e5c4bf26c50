// Kernels of images of 8-bit integers in the blocked layout: [batch, channels / 8, height, width,
// 8], as in blocked_f32.h.
//
// Four channels of a pixel are multiplied by four weights and summed in one lane of 32 bits, which
// CPUs have an instruction for (vpdpbusd): four times the products of a float32 kernel. Without it
// AVX2 makes them of sums of four in 16 bits: up to 2.3 times the products, if most weights are such
// that these fit. Sums are exact either way: weights that do not fit, or are no int8 without their zero
// points, are parted, and what is left of them is added apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/blocked_f32.h"
#include "kernels/packed_bytes.h"

namespace mezzo::kernels {

/// Whether the layout is the faster one for integers on the active target.
bool blocked_i8_pays();

/// Whether it has the instruction, or makes its sums of those of two products.
bool multiplies_quads();

/// Whether `blocked_conv_i8` takes that shape: whole blocks of channels, or up to four input
/// channels in plain NCHW; one group, or as many as channels; strides of 1 or 2 along the rows.
bool blocked_conv_i8_applies(const ConvShape& shape);

/// Packs weights [out_c, in_c / groups, k_h, k_w], bytes less their zero points. The layout depends
/// on the active target, on the channels, on the window and on the weights alone.
void pack_blocked_i8_weights(const ConvShape& shape, const std::int16_t* weights,
                             const AllocatePacked& allocate, ThreadPool& pool);
/// Bytes of scratch memory that `blocked_conv_i8` needs; may be 0. Throws Error(limit) on overflow.
std::size_t blocked_i8_scratch_bytes(const ConvShape& shape, bool x_signed);

/// What becomes of the sums of an output channel.
struct ChannelScale {
  std::int32_t offset = 0;  ///< of the sum, modulo 2^32
  float multiplier = 1, addend = 0;
};
/// The same of all output channels in the order in which the active target's kernels want them.
struct ChannelScales {
  std::vector<std::int32_t> offsets;
  std::vector<float> multipliers, addends;
};
ChannelScales ordered_scales(const ConvShape& shape, const std::vector<ChannelScale>& channels);

/// y = round_half_even((conv(x, weights) + offset) * multiplier + addend) + y_zero_point, at least
/// `low` and at most `high`. Where a window sees no element of x, it sees `x_zero_point`, so that
/// `offset` can take off what the zero point adds; of int8 x counts as x + 128.
struct BlockedConvI8 {
  const std::uint8_t* x = nullptr;
  bool x_signed = false;
  std::int32_t x_zero_point = 0;
  const void* packed_weights = nullptr;
  const ChannelScales* scales = nullptr;
  /// Not null: only conv(x, weights) + offset is wanted, as [batch, blocks, pixels, 8] here.
  std::int32_t* sums = nullptr;
  std::uint8_t* y = nullptr;
  bool y_signed = false;
  std::int32_t y_zero_point = 0;
  std::int32_t low = 0, high = 255;  ///< in the range of y's type
};
void blocked_conv_i8(const ConvShape& shape, const BlockedConvI8& args, void* scratch,
                     ThreadPool& pool);

/// y [blocks, pixels, 8] = x [blocks, 8, pixels], bytes; and the way back.
void to_blocked_i8(std::int64_t blocks, std::int64_t pixels, const std::uint8_t* x, std::uint8_t* y,
                   ThreadPool& pool);
void from_blocked_i8(const BlockedPlanes& planes, const std::uint8_t* x, std::uint8_t* y,
                     ThreadPool& pool);

}  // namespace mezzo::kernels
