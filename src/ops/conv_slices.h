// Convolutions along three axes, as those of images.
#pragma once

#include "ops/op.h"

namespace mezzo::ops {

/// A chooser for Conv and FusedConv of float32 with constant weights. A slice of y (an index of the
/// first spatial axis) is the convolution of an image whose channels are those of all slices of x
/// that its windows see, with the weights as they are in the file.
Choice conv_by_slices(Op& op);

}  // namespace mezzo::ops
