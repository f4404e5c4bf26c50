// What the instruction set does not tell of a CPU, and kernels must know.
#pragma once

namespace mezzo::kernels {

/// Whether lines that are written past the caches wait for others that lie a multiple of 1024 bytes
/// away: AMD's CPUs up to Zen 3 (measured there; not on Zen 4 and 5, nor on Intel's).
bool far_lines_wait();

}  // namespace mezzo::kernels
