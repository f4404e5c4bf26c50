// QLinearConv and what passes make of it (domain "mezzo"): QuantizedConv, whose result may be
// clamped and whose bias may be float32, and BlockedQuantizedConv, the same of images in the
// blocked layout.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/blocked_i8.h"
#include "ops/integer_conv.h"
#include "ops/op.h"

namespace mezzo::ops {

/// The inputs of all three: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale,
/// y_zero_point, B.
inline constexpr IntegerConvInputs kQuantizedConv = {0, 2, 3, 5, 8};

/// Sets the output of a convolution whose shape is that, after checking its parameters.
void set_quantized_result(Op& op, const IntegerConv& conv, Shape y);

/// What is done to the sums of each output channel. `input` gives an input's contents, or no value
/// where it is omitted.
std::vector<kernels::ChannelScale> channel_scales(const std::function<Tensor(int)>& input,
                                                  std::int64_t channels);

/// The declaration of the inputs, but for their number, and the attributes of a QuantizedConv.
Row& declare_quantized_conv(Row& row);

/// Why a QLinearConv or QuantizedConv is not to become a BlockedQuantizedConv; empty where that
/// would be faster, were all tensors in blocks.
std::string quantized_stays_plain(const Op& conv);
/// Why a convolution between DequantizeLinear and QuantizeLinear is not to become a QuantizedConv;
/// empty where that would be faster.
std::string quantized_stays_float(const Op& conv);
/// The microseconds that it would save on one thread: see blocked_gain.
double quantized_gain(const Op& conv);

}  // namespace mezzo::ops
