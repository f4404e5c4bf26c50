// Convolutions along one axis, windows of 1 x k or k x 1, with half of the multiplications or a few
// more, by Winograd's method.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/conv_f32.h"

namespace mezzo::kernels {

/// Whether the method applies: a window of three elements or more along one axis and of one along
/// the other, which is not padded; steps of 1, any dilation, one group, whole blocks of channels.
bool axis_winograd_applies(const ConvShape& shape);
/// Multiply-adds of a direct convolution that would take as long as the method does, about.
double axis_winograd_work(const ConvShape& shape);
/// Whether it is faster than `blocked_conv` for a shape it applies to: it needs enough channels and
/// pixels to hide its transforms, and not so many channels and taps that those outgrow the caches.
bool axis_winograd_pays(const ConvShape& shape);

/// Bytes of the packed weights, which depend on the active target, the channels and the window.
std::size_t axis_winograd_weights_bytes(const ConvShape& shape);
/// Packs weights [out_c, in_c, k_h, k_w] once, for any number of runs.
void pack_axis_winograd_weights(const ConvShape& shape, const float* weights, float* packed,
                                ThreadPool& pool);
/// As `blocked_conv`, with the weights of pack_axis_winograd_weights: x, y and `add` are blocked.
/// The error is less than winograd_conv's. An infinity or NaN in x spreads over the tiles of four
/// results beside each other that read it.
void axis_winograd_conv(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool);

}  // namespace mezzo::kernels
