// What passes know of a Pad.
#pragma once

#include <cstdint>
#include <vector>

#include "passes/program.h"

namespace mezzo::passes {

/// What step `pad` puts before and behind each axis, as in ONNX; empty where that is not known.
std::vector<std::int64_t> pads_of(const Program& program, int pad);

}  // namespace mezzo::passes
