// LpPool (ai.onnx 1, 2, 11, 18, 22) and GlobalLpPool (1, 2, 22): the Lp norm of windows or whole
// planes. In version 1 the exponent p was a float and kernel_shape formally optional; ceil_mode and
// dilations came with 18.

#include <cmath>
#include <string>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

double exponent_of(const Op& op) {
  const double p = op.row().versions().front() == 1 ? static_cast<double>(op.attr_float("p"))
                                                    : static_cast<double>(op.attr_int("p"));
  if (!(p > 0) || std::isinf(p)) {
    throw invalid("a norm without sense")
        .at("attribute 'p'")
        .expected("a positive number")
        .got(std::to_string(p));
  }
  return p;
}

// The windows of LpPool; those of GlobalLpPool cover a plane each.
Windows windows_of_norm(const Op& op) {
  const Shape& x = op.in_shape(0);
  if (op.row().name() == "LpPool") return windows_of(op, x, {}, false);
  require_rank(op, 0, 2, 2 + kMaxSpatialAxes);
  Windows windows(x.size() - 2);
  for (std::size_t d = 0; d < windows.size(); ++d) windows[d].in = windows[d].kernel = x[d + 2];
  return windows;
}

void infer(Op& op) {
  exponent_of(op);
  const Shape& x = op.in_shape(0);
  const Windows windows = windows_of_norm(op);
  op.set_out(0, op.in(0).dtype, shape_of(x[0], x[1], windows));
}

template <class T>
void reference_run(const Windows& windows, double p, Run& run) {
  const std::int64_t in_plane = in_size(windows);
  const int axes = static_cast<int>(windows.size());
  const std::int64_t planes = product(run.op().in_shape(0), 0, 2);
  for_each_window(windows, planes, run.pool(),
                  [&](std::int64_t plane, const Position& position, std::int64_t o) {
                    const T* x = run.in<T>(0) + plane * in_plane;
                    double sum = 0;
                    for_each_tap(windows, axes, position, [&](std::int64_t in, std::int64_t) {
                      const auto value = static_cast<double>(x[in]);
                      sum += p == 2 ? value * value : std::pow(std::abs(value), p);
                    });
                    run.out<T>(0)[o] =
                        static_cast<T>(p == 2 ? std::sqrt(sum) : std::pow(sum, 1 / p));
                  });
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [windows = windows_of_norm(op), p = exponent_of(op)](Run& run) {
      reference_run<T>(windows, p, run);
    };
  });
  return choice;
}

using Kind = FormalAttribute::Kind;

Row& norm(Row& row, TypeSet types) {
  return row.in("X", types).out("Y", like(0)).infer(infer).kernel("reference", reference);
}

Row& lp_pool(Registry& op, TypeSet types) {
  return norm(op("LpPool"), types)
      .attr("auto_pad", "NOTSET")
      .attr("pads", Kind::ints)
      .attr("strides", Kind::ints);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(lp_pool) {
  lp_pool(op, kFloats).since(1).attr("p", 2.0F).attr("kernel_shape", Kind::ints);
  lp_pool(op, kFloats).since(2, 11).attr("p", 2).required("kernel_shape", Kind::ints);
  lp_pool(op, kFloatsBf16)
      .since(18, 22)
      .attr("p", 2)
      .required("kernel_shape", Kind::ints)
      .attr("ceil_mode", 0)
      .attr("dilations", Kind::ints);
  norm(op("GlobalLpPool").since(1), kFloats).attr("p", 2.0F);
  norm(op("GlobalLpPool").since(2, 22), kFloatsBf16).attr("p", 2);
}
