#include "passes/conv.h"

namespace mezzo::passes {

int conv_before(const Program& program, int slot) {
  const int plain = program.maker_of(slot, "Conv");
  if (plain >= 0) return plain;
  const int fused = program.maker_of(slot, "FusedConv", "com.microsoft");
  return fused >= 0 && program.op(fused).attr_string("activation").empty() ? fused : -1;
}

Replacement as_fused_conv(const Program& program, int conv) {
  Replacement fused;
  fused.op_type = "FusedConv";
  fused.domain = "com.microsoft";
  fused.attributes = program.op(conv).node().attributes;
  fused.in = program.step(conv).in;
  fused.in.resize(4, -1);
  return fused;
}

}  // namespace mezzo::passes
