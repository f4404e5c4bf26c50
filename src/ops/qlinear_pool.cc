// com.microsoft QLinearAveragePool (1): AveragePool of an 8-bit quantised tensor, to one, with the
// channels last if asked for. Spec: ONNX Runtime's docs/ContribOperators.md. What is averaged is
// float32. Padding that counts is 0, and so is what a ceil-mode window has beyond it.

#include <array>

#include "ops/quantization.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

struct QuantizedPool {
  Windows windows;
  std::int64_t batch, channels;
  bool channels_last, with_padding;
};

QuantizedPool pool_of(const Op& op) {
  require_rank(op, 0, 3);
  Shape shape = op.in_shape(0);
  QuantizedPool pool;
  pool.channels_last = op.attr_int("channels_last") != 0;
  if (pool.channels_last) std::rotate(shape.begin() + 1, shape.end() - 1, shape.end());
  pool.windows = windows_of(op, shape, {}, false);
  pool.batch = shape[0];
  pool.channels = shape[1];
  pool.with_padding = op.attr_int("count_include_pad") != 0;
  return pool;
}

void infer(Op& op) {
  for (const int i : {1, 2, 3, 4}) require_scalar(op, i);
  const QuantizedPool pool = pool_of(op);
  Shape shape = shape_of(pool.batch, pool.channels, pool.windows);
  if (pool.channels_last) std::rotate(shape.begin() + 1, shape.begin() + 2, shape.end());
  op.set_out(0, op.in(0).dtype, shape);
}

template <class Q>
void average(const QuantizedPool& pool, Run& run) {
  const IntRange range = range_of(run.op().in(0).dtype);
  const float x_scale = scalar_of(run, 1), inverse_scale = 1 / scalar_of(run, 3);
  const int zero_point = zero_point_of(run, 2);
  std::array<float, 256> values{};
  for (int q = range.least; q <= range.most; ++q) {
    values[static_cast<std::uint8_t>(q)] = static_cast<float>(q - zero_point) * x_scale;
  }
  const Saturate saturate(run.op().out(0).dtype, zero_point_of(run, 4));
  const std::int64_t in_plane = in_size(pool.windows), out_plane = out_size(pool.windows);
  const std::int64_t step = pool.channels_last ? pool.channels : 1;
  const auto start = [&](std::int64_t plane, std::int64_t size) {
    return pool.channels_last ? plane / pool.channels * size * pool.channels + plane % pool.channels
                              : plane * size;
  };
  const int axes = static_cast<int>(pool.windows.size());
  for_each_window(pool.windows, pool.batch * pool.channels, run.pool(),
                  [&](std::int64_t plane, const Position& position, std::int64_t o) {
                    const auto* x = run.in<std::uint8_t>(0) + start(plane, in_plane);
                    float sum = 0;
                    std::int64_t count = 0;
                    for_each_tap(pool.windows, axes, position, [&](std::int64_t in, std::int64_t) {
                      sum += values[x[in * step]];
                      ++count;
                    });
                    if (pool.with_padding) count = kernel_size(pool.windows);
                    const float mean = count == 0 ? 0 : sum / static_cast<float>(count);
                    run.out<Q>(0)[start(plane, out_plane) + o % out_plane * step] =
                        static_cast<Q>(saturate(mean * inverse_scale));
                  });
}

Choice reference(Op& op) {
  return Kernel([pool = pool_of(op)](Run& run) {
    with_quantized8(run.op().in(0).dtype, [&](auto zero) { average<decltype(zero)>(pool, run); });
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(qlinear_pool) {
  op("QLinearAveragePool", "com.microsoft")
      .since(1)
      .attr("auto_pad", "NOTSET")
      .attr("ceil_mode", 0)
      .attr("channels_last", 0)
      .attr("count_include_pad", 0)
      .required("kernel_shape", Kind::ints)
      .attr("pads", Kind::ints)
      .attr("strides", Kind::ints)
      .in("X", kQuantized8)
      .in("x_scale", DType::f32)
      .in("x_zero_point", like(0), Arity::optional)
      .in("y_scale", DType::f32)
      .in("y_zero_point", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(infer)
      .kernel("reference", reference);
}
