// A Pad with zeros along the spatial axes, and the Conv behind it, which pads itself.
#include "passes/pad.h"

#include <algorithm>

#include "passes/passes.h"

namespace mezzo::passes {
namespace {

// Whether it is known that zeros are put in.
bool pads_with_zeros(const Program& program, int pad) {
  const ops::Op& op = program.op(pad);
  if (op.attr_string("mode") != "constant") return false;
  if (op.opset() < 11) return op.attr_float("value") == 0;
  return program.in(pad, 2) < 0 || program.number(program.in(pad, 2)) == 0.0F;
}

void join(Program& program, int pad, int conv) {
  const std::vector<std::int64_t> added = pads_of(program, pad);
  const auto rank = static_cast<std::size_t>(program.op(pad).in_rank(0));
  const ops::Op& op = program.op(conv);
  if (added.size() != 2 * rank || rank < 3 || op.attr_string("auto_pad") != "NOTSET") return;
  const bool is_negative =
      std::any_of(added.begin(), added.end(), [](std::int64_t count) { return count < 0; });
  if (is_negative || added[0] != 0 || added[1] != 0 || added[rank] != 0 || added[rank + 1] != 0) {
    return;
  }
  std::vector<std::int64_t> pads = op.attr_ints("pads");
  const std::size_t spatial = rank - 2;
  pads.resize(2 * spatial, 0);
  for (std::size_t i = 0; i < spatial; ++i) {
    pads[i] += added[2 + i];
    pads[spatial + i] += added[rank + 2 + i];
  }
  Replacement padded{.op_type = "Conv", .domain = "", .opset = op.opset()};
  for (const graph::AttributePointer& old : op.node().attributes) {
    if (old->name != "pads") padded.attributes.push_back(old);
  }
  padded.attributes.push_back(attribute("pads", std::move(pads)));
  padded.in = program.step(conv).in;
  padded.in[0] = program.in(pad, 0);
  padded.out = program.step(conv).out;
  program.fuse({pad, conv}, std::move(padded));
}

}  // namespace

std::vector<std::int64_t> pads_of(const Program& program, int pad) {
  const ops::Op& op = program.op(pad);
  if (op.opset() < 2 || op.has_in(3)) return {};
  if (op.opset() < 11) return op.attr_ints("pads");
  return op.is_constant(1) ? op.ints(1) : std::vector<std::int64_t>();
}

void pad(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    if (!program.is(i, "Conv")) continue;
    const int before = program.maker(i, 0, "Pad");
    if (before >= 0 && pads_with_zeros(program, before)) join(program, before, i);
  }
}

}  // namespace mezzo::passes
