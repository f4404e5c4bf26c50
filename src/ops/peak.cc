#include "ops/peak.h"

#include "kernels/peak_f32.h"
#include "kernels/target.h"

namespace mezzo::ops {

double peak_gflops() { return kernels::simd_enabled() ? kernels::peak_gflops_f32() : 0; }

}  // namespace mezzo::ops
