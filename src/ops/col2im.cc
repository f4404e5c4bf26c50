// Col2Im: adds blocks up to an image. Spec: Col2Im-18.

#include <algorithm>

#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

struct Axis {
  std::int64_t image, block, stride, dilation, pad_begin;
  std::int64_t positions;  // of the block along this axis
};

std::vector<std::int64_t> per_axis(const Op& op, const char* attribute, std::size_t count,
                                   std::int64_t without, std::int64_t least) {
  if (!op.has_attr(attribute)) return std::vector<std::int64_t>(count, without);
  const std::vector<std::int64_t> values = op.attr_ints(attribute);
  const bool valid =
      values.size() == count && std::all_of(values.begin(), values.end(), [&](std::int64_t v) {
        return v >= least && v <= (std::int64_t{1} << 31);
      });
  if (!valid) {
    throw invalid(std::string("invalid ") + attribute)
        .expected(std::to_string(count) + " values from " + std::to_string(least) + " on")
        .got(to_string(values));
  }
  return values;
}

std::vector<Axis> axes_of(const Op& op) {
  const std::vector<std::int64_t> image = op.ints(1), block = op.ints(2);
  const std::size_t count = image.size();
  if (count == 0 || block.size() != count) {
    throw invalid("image_shape and block_shape must be equally long")
        .got(to_string(image) + " and " + to_string(block));
  }
  element_count(image);
  if (element_count(block) == 0) throw invalid("an empty block").got(to_string(block));
  const auto strides = per_axis(op, "strides", count, 1, 1);
  const auto dilations = per_axis(op, "dilations", count, 1, 1);
  const auto pads = per_axis(op, "pads", 2 * count, 0, 0);
  std::vector<Axis> axes;
  for (std::size_t a = 0; a < count; ++a) {
    const std::int64_t padded = checked_add(image[a], pads[a] + pads[a + count]);
    const std::int64_t reach = checked_add(checked_mul(dilations[a], block[a] - 1), 1);
    if (reach > padded) {
      throw invalid("a block is larger than the padded image")
          .at("axis " + std::to_string(a))
          .expected("at most " + std::to_string(padded))
          .got(std::to_string(reach));
    }
    axes.push_back(
        {image[a], block[a], strides[a], dilations[a], pads[a], (padded - reach) / strides[a] + 1});
  }
  return axes;
}

void infer(Op& op) {
  require_rank(op, 0, 3, 3);
  std::int64_t block = 1, positions = 1;
  Shape out = {op.in_shape(0)[0], 0};
  for (const Axis& axis : axes_of(op)) {
    block = checked_mul(block, axis.block);
    positions = checked_mul(positions, axis.positions);
    out.push_back(axis.image);
  }
  const Shape& in = op.in_shape(0);
  if (in[1] % block != 0 || in[2] != positions) {
    throw invalid("Col2Im's input does not fit the shapes")
        .expected("[N, C * " + std::to_string(block) + ", " + std::to_string(positions) + "]")
        .got(to_string(in));
  }
  out[1] = in[1] / block;
  op.set_out(0, op.in(0).dtype, std::move(out));
}

// Image positions of the elements of one column (a place in the block, for all positions of the
// block), -1 for what falls into the padding.
std::vector<std::int64_t> column_targets(const std::vector<Axis>& axes, std::int64_t place) {
  std::vector<std::int64_t> in_block(axes.size());
  for (std::size_t a = axes.size(); a-- > 0;) {
    in_block[a] = place % axes[a].block;
    place /= axes[a].block;
  }
  std::vector<std::int64_t> targets = {0};
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const Axis& axis = axes[a];
    std::vector<std::int64_t> next;
    for (const std::int64_t outer : targets) {
      for (std::int64_t p = 0; p < axis.positions; ++p) {
        const std::int64_t at = p * axis.stride + in_block[a] * axis.dilation - axis.pad_begin;
        const bool inside = outer >= 0 && at >= 0 && at < axis.image;
        next.push_back(inside ? outer * axis.image + at : -1);
      }
    }
    targets = std::move(next);
  }
  return targets;
}

template <class T>
void add_up(Run& run, const std::vector<Axis>& axes) {
  const Shape& in = run.op().in_shape(0);
  const Shape& out = run.op().out_shape(0);
  const std::int64_t images = out[0] * out[1], pixels = product(out);
  std::fill_n(run.out<T>(0), pixels, T{0});
  if (images == 0) return;
  const std::int64_t block = in[1] / out[1], positions = in[2];
  for (std::int64_t place = 0; place < block; ++place) {
    const std::vector<std::int64_t> targets = column_targets(axes, place);
    for (std::int64_t image = 0; image < images; ++image) {
      const T* column = run.in<T>(0) + (image * block + place) * positions;
      T* target = run.out<T>(0) + image * (pixels / images);
      for (std::int64_t p = 0; p < positions; ++p) {
        const std::int64_t at = targets[static_cast<std::size_t>(p)];
        if (at < 0) continue;
        if constexpr (std::is_integral_v<T>) {
          target[at] = static_cast<T>(static_cast<std::uint64_t>(target[at]) +
                                      static_cast<std::uint64_t>(column[p]));
        } else {
          target[at] += column[p];
        }
      }
    }
  }
}

Choice reference(Op& op) {
  Choice choice = refuse("elements of this type are not added");
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto type) {
    using T = decltype(type);
    choice = [axes = axes_of(op)](Run& run) { add_up<T>(run, axes); };
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(col2im) {
  op("Col2Im")
      .since(18)
      .attr("dilations", Kind::ints)
      .attr("pads", Kind::ints)
      .attr("strides", Kind::ints)
      .in("input", kAllWithBf16)
      .in("image_shape", DType::i64)
      .in("block_shape", DType::i64)
      .out("output", like(0))
      .infer(infer)
      .kernel("reference", reference);
}
