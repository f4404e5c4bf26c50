// Which instruction set the kernels use: chosen once at run time, and forced down by MEZZO_TARGET.
#pragma once

#include <string_view>
#include <vector>

namespace mezzo::kernels {

/// Instruction sets, the weakest first. `scalar` means that the kernels of this folder are not to
/// be called at all: the operators then use their plain C++ references.
enum class Target { scalar, sse4, avx2, avx512, neon };

/// What this machine can run and this build contains, the weakest first; `scalar` always.
std::vector<Target> available_targets();

/// What the kernels use: the best available, or what the environment variable MEZZO_TARGET (scalar,
/// sse4, avx2, avx512 or neon) says. Read once; throws Error(invalid_argument) at each call where
/// the variable names no available target. Thread-safe.
Target active_target();

/// Whether the kernels may be called: active_target() is not `scalar`.
bool simd_enabled();

/// Overrides the choice, for tests and benchmarks; throws Error(invalid_argument) where `target` is
/// not available. Call it while no kernel runs. Packed operands belong to the target under which
/// they were packed.
void set_active_target(Target target);

/// "scalar", "sse4", "avx2", "avx512", "neon".
std::string_view name_of(Target target) noexcept;

}  // namespace mezzo::kernels
