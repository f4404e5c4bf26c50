// What the operators that pool share.
#pragma once

#include "kernels/pool_f32.h"
#include "ops/window.h"

namespace mezzo::ops {

/// A pool of `planes` planes as kernels know it: along one or two axes.
kernels::PoolShape pool_shape(std::int64_t planes, const Windows& windows);

}  // namespace mezzo::ops
