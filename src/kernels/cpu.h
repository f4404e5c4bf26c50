// What the instruction set does not tell of a CPU, and kernels must know.
#pragma once

namespace mezzo::kernels {

/// Whether AVX2's vectors have instructions that multiply and add four bytes (AVX-VNNI), which no
/// target of Highway's says. Thread-safe.
bool has_avx_vnni();

/// Whether lines that are written past the caches wait for others that lie a multiple of 1024 bytes
/// away. On a Zen 3 they do, and AMD's CPUs before it are taken to be like it; on a Zen 4 they do
/// not, and all others are taken to be like that. Thread-safe.
bool far_lines_wait();

}  // namespace mezzo::kernels
