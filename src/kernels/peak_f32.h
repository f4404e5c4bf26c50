// What the machine's multiply-adds allow: the measure that speeds are compared with.
#pragma once

namespace mezzo::kernels {

/// 10^9 float32 operations a second that one thread reaches with multiply-adds between registers
/// alone, under the active target; a multiply-add counts as two. Measured anew at each call, for
/// some 20 milliseconds.
double peak_gflops_f32();

}  // namespace mezzo::kernels
