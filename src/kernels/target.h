// Which instruction set the kernels use: chosen once at run time, and forced down by MEZZO_TARGET.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mezzo::kernels {

/// Instruction sets, the weakest first. `scalar` means that the kernels of this folder are not to
/// be called at all: the operators then use their plain C++ references. `amx` is avx512 with the
/// tiles of tiles.h.
enum class Target { scalar, sse4, avx2, avx512, amx, neon };

/// What this machine can run and this build contains, the weakest first; `scalar` always.
std::vector<Target> available_targets();

/// What the kernels use: the best available but for `amx`, whose speed nobody can foretell on a
/// host that is shared, or what the environment variable MEZZO_TARGET (scalar, sse4, avx2, avx512,
/// amx or neon) says. Read once; throws Error(invalid_argument) at each call where the variable
/// names no available target. Thread-safe.
Target active_target();

/// Why tiles are not used: the CPU has none, or nobody asked for them. Empty where they are.
std::string tiles_refusal();

/// Whether the kernels may be called: active_target() is not `scalar`.
bool simd_enabled();

/// Overrides the choice, for tests and benchmarks; throws Error(invalid_argument) where `target` is
/// not available. Call it while no kernel runs. Packed operands belong to the target under which
/// they were packed.
void set_active_target(Target target);

/// "scalar", "sse4", "avx2", "avx512", "amx", "neon".
std::string_view name_of(Target target) noexcept;

}  // namespace mezzo::kernels
