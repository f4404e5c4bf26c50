// DepthToSpace, SpaceToDepth. Spec: DepthToSpace-1, -11 (mode), -13, -28; SpaceToDepth-1, -13, -28
// (mode).

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

std::int64_t block_of(const Op& op) {
  const std::int64_t block = op.attr_int("blocksize");
  if (block < 1) throw invalid("blocksize must be positive").got(std::to_string(block));
  return block;
}

bool depth_first(const Op& op) {
  const bool is_depth_to_space = op.node().op_type == "DepthToSpace";
  if (op.opset() < (is_depth_to_space ? 11 : 28)) return true;
  const std::string mode = op.attr_string("mode");
  if (mode != "DCR" && mode != "CRD") {
    throw invalid("an unknown mode").expected("DCR or CRD").got("'" + mode + "'");
  }
  return mode == "DCR";
}

void require_divisible(std::int64_t extent, std::int64_t divisor, const char* axis) {
  if (extent % divisor == 0) return;
  throw invalid("an extent does not fit blocksize")
      .at(axis)
      .expected("a multiple of " + std::to_string(divisor))
      .got(std::to_string(extent));
}

void infer_depth_to_space(Op& op) {
  require_rank(op, 0, 4, 4);
  depth_first(op);
  const std::int64_t block = block_of(op);
  const Shape& in = op.in_shape(0);
  require_divisible(in[1], checked_mul(block, block), "the depth");
  op.set_out(
      0, op.in(0).dtype,
      {in[0], in[1] / (block * block), checked_mul(in[2], block), checked_mul(in[3], block)});
}

void infer_space_to_depth(Op& op) {
  require_rank(op, 0, 4, 4);
  depth_first(op);
  const std::int64_t block = block_of(op);
  const Shape& in = op.in_shape(0);
  require_divisible(in[2], block, "the height");
  require_divisible(in[3], block, "the width");
  op.set_out(0, op.in(0).dtype,
             {in[0], checked_mul(in[1], checked_mul(block, block)), in[2] / block, in[3] / block});
}

// Both go between a deep tensor [N, depth of the blocks, H, W] and a flat one [N, C, H * block, W *
// block]; the depth is (row in the block, column in it, C) for DCR and (C, row, column) for CRD.
// The copy goes over N, C, row, column, H, W.
Kernel between(const Op& op, const Shape& deep, const Shape& flat, bool to_flat) {
  const std::int64_t block = block_of(op);
  const std::int64_t plane = deep[2] * deep[3];
  const std::int64_t channels = flat[1];
  const bool dcr = depth_first(op);
  const std::int64_t column = dcr ? channels * plane : plane;
  const Shape extents = {deep[0], channels, block, block, deep[2], deep[3]};
  const std::vector<std::int64_t> in_deep = {
      deep[1] * plane, dcr ? plane : block * block * plane, block * column, column, deep[3], 1};
  const std::vector<std::int64_t> in_flat = {
      flat[1] * flat[2] * flat[3], flat[2] * flat[3], flat[3], 1, block * flat[3], block};
  return [mover = Mover(op.in(0).dtype, extents, to_flat ? in_deep : in_flat,
                        to_flat ? in_flat : in_deep)](Run& run) {
    mover.run(run.in_data(0), run.out_data(0), run.pool());
  };
}

Choice depth_to_space(Op& op) {
  if (element_count(op.in_shape(0)) == 0) return [](Run&) {};
  return between(op, op.in_shape(0), op.out_shape(0), true);
}

Choice space_to_depth(Op& op) {
  if (element_count(op.in_shape(0)) == 0) return [](Run&) {};
  return between(op, op.out_shape(0), op.in_shape(0), false);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(depth_space) {
  op("DepthToSpace")
      .since(1)
      .required("blocksize", Kind::int_)
      .in("input", kAllNoBf16)
      .out("output", like(0))
      .infer(infer_depth_to_space)
      .kernel_by_size(depth_to_space);
  op("DepthToSpace")
      .since(11, 13, 28)
      .required("blocksize", Kind::int_)
      .attr("mode", "DCR")
      .in("input", kAllWithBf16)
      .out("output", like(0))
      .infer(infer_depth_to_space)
      .kernel_by_size(depth_to_space);
  op("SpaceToDepth")
      .since(1, 13)
      .required("blocksize", Kind::int_)
      .in("input", kAllWithBf16)
      .out("output", like(0))
      .infer(infer_space_to_depth)
      .kernel_by_size(space_to_depth);
  op("SpaceToDepth")
      .since(28)
      .required("blocksize", Kind::int_)
      .attr("mode", "DCR")
      .in("input", kAllWithBf16)
      .out("output", like(0))
      .infer(infer_space_to_depth)
      .kernel_by_size(space_to_depth);
}
