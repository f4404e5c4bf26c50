// CenterCropPad: to a given size, by cropping or padding with zeros on both sides alike. Spec:
// CenterCropPad-18.

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

Shape wanted_shape(const Op& op) {
  const bool has_axes = op.has_attr("axes");
  const std::vector<std::int64_t> axes = op.attr_ints("axes"), extents = op.ints(1);
  const std::size_t count = has_axes ? axes.size() : op.in_shape(0).size();
  if (extents.size() != count) {
    throw invalid("CenterCropPad's shape must be one extent an axis")
        .expected(std::to_string(count))
        .got(to_string(extents));
  }
  Shape shape = op.in_shape(0);
  for (std::size_t i = 0; i < count; ++i) {
    const auto axis = static_cast<std::size_t>(has_axes ? normalize_axis(axes[i], op.in_rank(0))
                                                        : static_cast<int>(i));
    shape[axis] = extents[i];
  }
  return shape;
}

void infer(Op& op) { op.set_out(0, op.in(0).dtype, wanted_shape(op)); }

Choice by_size(Op& op) {
  const Shape& in = op.in_shape(0);
  const Shape& out = op.out_shape(0);
  const std::vector<std::int64_t> source_strides = strides_of(in), target_strides = strides_of(out);
  Shape common(in.size());
  std::int64_t source_offset = 0, target_offset = 0;
  bool pads = false;
  for (std::size_t a = 0; a < in.size(); ++a) {
    common[a] = std::min(in[a], out[a]);
    // An odd margin is the longer one at the end.
    source_offset += std::max<std::int64_t>(in[a] - out[a], 0) / 2 * source_strides[a];
    target_offset += std::max<std::int64_t>(out[a] - in[a], 0) / 2 * target_strides[a];
    pads = pads || out[a] > in[a];
  }
  const DType dtype = op.in(0).dtype;
  const std::int64_t count = product(out);
  return [=, mover = Mover(dtype, common, source_strides, target_strides, source_offset,
                           target_offset)](Run& run) {
    if (pads) {
      with_element(dtype,
                   [&](auto element) { fill_run(element, run.out<decltype(element)>(0), count); });
    }
    mover.run(run.in_data(0), run.out_data(0), run.pool());
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(center_crop_pad) {
  op("CenterCropPad")
      .since(18)
      .attr("axes", FormalAttribute::Kind::ints)
      .in("input_data", kAllWithBf16)
      .in("shape", kIndices)
      .out("output_data", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
