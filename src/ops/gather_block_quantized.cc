// com.microsoft GatherBlockQuantized (1): a Gather of what is stored in 2, 4 or 8 bits, with a
// scale and a zero point for each block along one axis, as decoders keep their words. Spec: the
// schema in ONNX Runtime. An index out of range gives zeros.

#include <algorithm>
#include <string>

#include "base/convert.h"
#include "base/rounding.h"
#include "base/shape.h"
#include "ops/axis_split.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

enum In { kData, kIndices, kScales, kZeros };

struct BlockGather {
  Shape data;  // in elements
  int bits = 4;
  bool is_signed = false, in_bytes = false;  // uint8 whose rows are packed one by one
  std::int64_t gather_axis = 0, axis = 1, block = 128, blocks = 0;  // of the quantised axis
  std::int64_t outer = 1, inner = 1;  // around the axis that is gathered
  std::int64_t after = 1;             // behind the quantised one

  std::int64_t extent() const { return data[static_cast<std::size_t>(gather_axis)]; }
  std::int64_t quantised() const { return data[static_cast<std::size_t>(axis)]; }

  // Element `i` of a tensor whose rows have `row` elements.
  int element(const std::uint8_t* bytes, std::int64_t i, std::int64_t row) const {
    if (!in_bytes) return read_packed(is_signed ? DType::i4 : DType::u4, bytes, i);
    return packed_field(bits, bytes + i / row * ceil_div(row * bits, 8), i % row);
  }
  // Of the scale of element `i`.
  std::int64_t block_of(std::int64_t i) const {
    const std::int64_t before = i / (quantised() * after), q = i / after % quantised();
    return (before * blocks + q / block) * after + i % after;
  }
};

BlockGather gather_of(const Op& op) {
  BlockGather g;
  g.data = op.in_shape(kData);
  require_rank(op, kData, 1);
  const DType dtype = op.in(kData).dtype;
  g.in_bytes = dtype == DType::u8;
  g.is_signed = dtype == DType::i4;
  if (g.in_bytes) {
    const std::int64_t bits = op.attr_int("bits");
    if (bits != 2 && bits != 4 && bits != 8) {
      throw invalid("elements have 2, 4 or 8 bits")
          .at("attribute 'bits'")
          .got(std::to_string(bits));
    }
    g.bits = static_cast<int>(bits);
    g.data.back() = checked_mul(g.data.back(), 8 / g.bits);
  }
  g.gather_axis = normalize_axis(op.attr_int("gather_axis"), op.in_rank(kData));
  g.axis = normalize_axis(op.attr_int("quantize_axis"), op.in_rank(kData));
  g.block = op.attr_int("block_size");
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (g.block < 16 || g.block > kMost || (g.block & (g.block - 1)) != 0) {
    throw invalid("a block is a power of two from 16 on")
        .at("attribute 'block_size'")
        .got(std::to_string(g.block));
  }
  g.blocks = ceil_div(g.quantised(), g.block);
  g.outer = product(g.data, 0, static_cast<int>(g.gather_axis));
  g.inner = product(g.data, static_cast<int>(g.gather_axis) + 1, static_cast<int>(g.data.size()));
  g.after = product(g.data, static_cast<int>(g.axis) + 1, static_cast<int>(g.data.size()));
  Shape scales = g.data;
  scales[static_cast<std::size_t>(g.axis)] = g.blocks;
  expect_shape(op, kScales, scales);
  if (g.in_bytes) scales.back() = ceil_div(scales.back() * g.bits, 8);
  expect_shape(op, kZeros, scales);
  return g;
}

void infer(Op& op) {
  const BlockGather g = gather_of(op);
  Shape shape(g.data.begin(), g.data.begin() + g.gather_axis);
  const Shape& indices = op.in_shape(kIndices);
  shape.insert(shape.end(), indices.begin(), indices.end());
  shape.insert(shape.end(), g.data.begin() + g.gather_axis + 1, g.data.end());
  op.set_out(0, op.in(kScales).dtype, shape);
}

Choice reference(Op& op) {
  if (op.in(kScales).dtype != DType::f32) return refuse("not float32");
  return Kernel([g = gather_of(op)](Run& run) {
    const std::vector<std::int64_t> indices = run.in_ints(kIndices);
    const auto *data = run.in<std::uint8_t>(kData), *zeros = run.in<std::uint8_t>(kZeros);
    const float* scales = run.in<float>(kScales);
    const auto count = static_cast<std::int64_t>(indices.size());
    // Of the zero points, which are packed like the data.
    const std::int64_t last =
        g.axis + 1 == static_cast<std::int64_t>(g.data.size()) ? g.blocks : g.data.back();
    const int middle = g.in_bytes ? 1 << (g.bits - 1) : 0;
    const auto slices = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t slice = begin; slice < end; ++slice) {
        float* y = run.out<float>(0) + slice * g.inner;
        std::int64_t index = indices[static_cast<std::size_t>(slice % count)];
        if (index < 0) index += g.extent();
        if (index < 0 || index >= g.extent()) {
          std::fill_n(y, g.inner, 0.0F);
          continue;
        }
        const std::int64_t first = (slice / count * g.extent() + index) * g.inner;
        for (std::int64_t i = first; i < first + g.inner; ++i) {
          const std::int64_t block = g.block_of(i);
          const int zero = zeros != nullptr ? g.element(zeros, block, last) : middle;
          *y++ = static_cast<float>(g.element(data, i, g.data.back()) - zero) * scales[block];
        }
      }
    };
    if (count > 0) run.pool().parallel_for(g.outer * count, grain_for(4 * g.inner), slices);
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(gather_block_quantized) {
  op("GatherBlockQuantized", "com.microsoft")
      .since(1)
      .attr("bits", 4)
      .attr("block_size", 128)
      .attr("gather_axis", 0)
      .attr("quantize_axis", 1)
      .in("data", {DType::u8, DType::u4, DType::i4})
      .in("indices", {DType::i32, DType::i64})
      .in("scales", {DType::f32, DType::f16, DType::bf16})
      .in("zero_points", like(0), Arity::optional)
      .out("output", like(2))
      .infer(infer)
      .kernel("reference", reference);
}
