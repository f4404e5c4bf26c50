// AffineGrid (ai.onnx 20): the positions of an affine map's image, as GridSample takes them.

#include <array>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer_affine(Op& op) {
  const Shape& theta = op.in_shape(0);
  const std::vector<std::int64_t> size = op.ints(1);
  const auto axes = static_cast<std::int64_t>(size.size()) - 2;
  if ((axes != 2 && axes != 3) || theta != Shape{size[0], axes, axes + 1}) {
    throw invalid("theta does not fit the size")
        .expected("theta [N, 2, 3] for a size [N, C, H, W], [N, 3, 4] for [N, C, D, H, W]")
        .got("theta " + to_string(theta) + ", size " + to_string(size));
  }
  Shape grid = {size[0]};
  grid.insert(grid.end(), size.begin() + 2, size.end());
  grid.push_back(axes);
  op.set_out(0, op.in(0).dtype, grid);
}

template <class T>
void affine_run(bool align_corners, Run& run) {
  const Shape& grid = run.op().out_shape(0);
  const std::size_t axes = grid.size() - 2;
  const std::int64_t positions = product(grid, 1, static_cast<int>(axes) + 1);
  for (std::int64_t i = 0; i < grid[0] * positions; ++i) {
    // The innermost axis comes first, as in the grid.
    std::array<double, 4> from{};
    std::int64_t rest = i % positions;
    for (std::size_t d = axes; d-- > 0; rest /= grid[d + 1]) {
      const auto at = static_cast<double>(rest % grid[d + 1]);
      const auto n = static_cast<double>(grid[d + 1]);
      const double position =
          align_corners ? (n > 1 ? 2 * at / (n - 1) - 1 : 0) : (2 * at + 1) / n - 1;
      from[axes - 1 - d] = position;
    }
    from[axes] = 1;
    const T* theta = run.in<T>(0) + i / positions * static_cast<std::int64_t>(axes * (axes + 1));
    for (std::size_t row = 0; row < axes; ++row) {
      double sum = 0;
      for (std::size_t k = 0; k <= axes; ++k) {
        sum += static_cast<double>(theta[row * (axes + 1) + k]) * from[k];
      }
      run.out<T>(0)[static_cast<std::size_t>(i) * axes + row] = static_cast<T>(sum);
    }
  }
}

Choice affine_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [align = op.attr_int("align_corners") != 0](Run& run) { affine_run<T>(align, run); };
  });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(affine_grid) {
  op("AffineGrid")
      .since(20)
      .attr("align_corners", 0)
      .in("theta", kFloatsBf16)
      .in("size", DType::i64)
      .out("grid", like(0))
      .infer(infer_affine)
      .kernel("reference", affine_reference);
}
