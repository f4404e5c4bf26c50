// The blocked layout nChw8c, as operators of the domain "mezzo" that the pass `layout` puts in
// place of others. A blocked tensor has the shape [N, C / 8, H, W, 8], so that what works element
// by element takes it as it is. What has one spatial axis, [N, C, L], is an image of one row.
#pragma once

#include <optional>
#include <string>

#include "ops/op.h"

namespace mezzo::ops {

/// The shape of [N, C, H, W] or [N, C, L] in blocks. C must be a multiple of 8.
Shape blocked_shape(const Shape& plain);
/// Whether that is a float32 tensor, or one of 8-bit integers, that can be in blocks.
bool can_be_blocked(const Operand& tensor);
bool bytes_can_be_blocked(const Operand& tensor);

/// Why a Conv or FusedConv is not to become a BlockedConv; empty where that would be faster, were
/// all tensors in blocks.
std::string stays_plain(const Op& conv);
/// The microseconds that it would save on one thread, and those that a conversion of a tensor
/// costs: rough figures of the machines that this was measured on, of which the ratio matters.
double blocked_gain(const Op& conv);
double reorder_cost(const Operand& plain);
/// The same of a Conv or FusedConv that would become a BlockedFewConv, which takes x in blocks and
/// gives few channels, plain; nothing where there is none.
std::optional<double> few_gain(const Op& conv);

}  // namespace mezzo::ops
