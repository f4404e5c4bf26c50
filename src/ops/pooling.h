// What the operators that pool share.
#pragma once

#include "kernels/pool_f32.h"
#include "ops/op.h"
#include "ops/window.h"

namespace mezzo::ops {

/// A pool of `planes` planes as kernels know it: along one or two axes.
kernels::PoolShape pool_shape(std::int64_t planes, const Windows& windows);
/// What the means of an AveragePool are over, or of what a pass made of one.
kernels::WindowShares window_shares_of(const Op& op, const Windows& windows);

}  // namespace mezzo::ops
