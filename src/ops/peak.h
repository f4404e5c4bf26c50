// The measure that speeds are compared with, for those who do not see the kernels.
#pragma once

namespace mezzo::ops {

/// kernels::peak_gflops_f32, or 0 where only the reference kernels may run.
double peak_gflops();

}  // namespace mezzo::ops
