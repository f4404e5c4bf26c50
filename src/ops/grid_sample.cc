// GridSample (ai.onnx 16, 20, 22) and AffineGrid (20). Version 16 knew two spatial axes and called
// its modes bilinear and bicubic.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr int kMaxAxes = 8;
enum class Mode { nearest, linear, cubic };
enum class Padding { zeros, border, reflection };

struct GridSampling {
  Mode mode;
  Padding padding;
  bool align_corners;
};

GridSampling grid_sampling_of(const Op& op) {
  const std::string mode = op.attr_string("mode"), padding = op.attr_string("padding_mode");
  GridSampling how{Mode::nearest, Padding::zeros, op.attr_int("align_corners") != 0};
  if (mode == "linear" || mode == "bilinear") {
    how.mode = Mode::linear;
  } else if (mode == "cubic" || mode == "bicubic") {
    how.mode = Mode::cubic;
  } else if (mode != "nearest") {
    throw invalid("an unknown mode")
        .at("attribute 'mode'")
        .expected("nearest, linear or cubic")
        .got(mode);
  }
  if (padding == "border") {
    how.padding = Padding::border;
  } else if (padding == "reflection") {
    how.padding = Padding::reflection;
  } else if (padding != "zeros") {
    throw invalid("an unknown mode")
        .at("attribute 'padding_mode'")
        .expected("zeros, border or reflection")
        .got(padding);
  }
  return how;
}

void infer_sample(Op& op) {
  grid_sampling_of(op);
  require_rank(op, 0, 3, 2 + kMaxAxes);
  const Shape &x = op.in_shape(0), &grid = op.in_shape(1);
  if (grid.size() != x.size() || grid[0] != x[0] ||
      grid.back() != static_cast<std::int64_t>(x.size()) - 2) {
    throw invalid("the grid does not fit the input")
        .at("input 'grid'")
        .expected("[N, D1_out, ..., " + std::to_string(x.size() - 2) + "] for X " + to_string(x))
        .got(to_string(grid));
  }
  Shape y = {x[0], x[1]};
  y.insert(y.end(), grid.begin() + 1, grid.end() - 1);
  op.set_out(0, op.in(0).dtype, y);
}

// Folds `x` back and forth at the borders until it lies between them.
template <class G>
G reflected(G x, G least, G most) {
  const G range = most - least;
  if (!(range > 0)) return least;
  const G beyond = std::fmod(std::abs(x - least), 2 * range);
  return least + (beyond > range ? 2 * range - beyond : beyond);
}

// Elements of one axis and their weights; index -1 stands for a zero.
template <class G>
struct AxisTaps {
  int count = 1;
  std::array<std::int64_t, 4> index;
  std::array<G, 4> weight;
};

template <class G>
std::int64_t padded_index(const GridSampling& how, std::int64_t index, std::int64_t extent) {
  if (index >= 0 && index < extent) return index;
  if (how.padding == Padding::zeros) return -1;
  if (how.padding == Padding::reflection) {
    const G least = how.align_corners ? G{0} : static_cast<G>(-0.5);
    const G most = static_cast<G>(extent - 1) - least;
    index = static_cast<std::int64_t>(reflected(static_cast<G>(index), least, most));
  }
  return std::clamp<std::int64_t>(index, 0, extent - 1);
}

// `normalized`: -1 to 1 from one end of the axis to the other.
template <class G>
AxisTaps<G> taps_at(const GridSampling& how, G normalized, std::int64_t extent) {
  const G n = static_cast<G>(extent);
  G x = how.align_corners ? (normalized + 1) / 2 * (n - 1) : ((normalized + 1) * n - 1) / 2;
  if (how.mode == Mode::nearest) x = std::nearbyint(x);
  const G least = how.align_corners ? G{0} : static_cast<G>(-0.5), most = n - 1 - least;
  if (std::isnan(x)) x = -1;
  if (std::isinf(x) || how.padding == Padding::zeros) {
    x = std::clamp(x, G{-4}, n + 4);  // all the same out there
  }
  if (x < least || x > most) {
    if (how.padding == Padding::border) x = std::clamp(x, G{0}, n - 1);
    if (how.padding == Padding::reflection) x = reflected(x, least, most);
  }
  AxisTaps<G> taps;
  const G base = std::floor(x), t = x - base;
  auto first = static_cast<std::int64_t>(base);
  if (how.mode == Mode::nearest) {
    taps.weight[0] = 1;
  } else if (how.mode == Mode::linear) {
    taps.count = 2;
    taps.weight = {1 - t, t};
  } else {
    taps.count = 4;
    --first;
    const G a = static_cast<G>(-0.75);  // as PyTorch and the official tests have it
    const auto near = [&](G d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
    const auto far = [&](G d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
    taps.weight = {far(t + 1), near(t), near(1 - t), far(2 - t)};
  }
  for (int k = 0; k < taps.count; ++k) {
    taps.index[static_cast<std::size_t>(k)] = padded_index<G>(how, first + k, extent);
  }
  return taps;
}

// An element of a plane and its share.
template <class G>
struct Share {
  std::int64_t at;
  G weight;
};

// What the values at some positions are made of, in any plane.
template <class G>
struct Recipe {
  struct Range {
    std::size_t begin, end;
  };
  std::vector<Share<G>> shares;
  std::vector<Range> positions;  // the shares of each
};

// `normalized` is a position of the grid, which lists the innermost axis first.
template <class G>
void add_position(const GridSampling& how, const Shape& x, const G* normalized, Recipe<G>& recipe) {
  auto& shares = recipe.shares;
  std::size_t begin = shares.size();
  shares.push_back({0, G{1}});
  // Each axis splits the shares so far into its own, behind them.
  const std::size_t axes = x.size() - 2;
  for (std::size_t d = 0; d < axes; ++d) {
    const AxisTaps<G> taps = taps_at(how, normalized[axes - 1 - d], x[d + 2]);
    const std::size_t end = shares.size();
    for (; begin < end; ++begin) {
      const Share<G> whole = shares[begin];
      for (std::size_t k = 0; k < static_cast<std::size_t>(taps.count); ++k) {
        if (taps.index[k] < 0) continue;
        shares.push_back({whole.at * x[d + 2] + taps.index[k], whole.weight * taps.weight[k]});
      }
    }
  }
  recipe.positions.push_back({begin, shares.size()});
}

template <class T, class G>
T as_element(G value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    constexpr auto kLeast = std::numeric_limits<T>::min(), kMost = std::numeric_limits<T>::max();
    if (!(value > static_cast<G>(kLeast))) return kLeast;
    return value >= static_cast<G>(kMost) ? kMost : static_cast<T>(value);
  }
}

// Values in kPlanes planes: several at once, since where the shares lie is the same in each.
template <std::int64_t kPlanes, class T, class G>
void sample_planes(const Recipe<G>& recipe, const T* planes, std::int64_t plane_step, T* to,
                   std::int64_t to_step) {
  for (const auto [begin, end] : recipe.positions) {
    std::array<G, kPlanes> sums{};
    for (std::size_t k = begin; k < end; ++k) {
      const Share<G> share = recipe.shares[k];
      const T* from = planes + share.at;
      for (G& sum : sums) {
        sum += share.weight * static_cast<G>(*from);
        from += plane_step;
      }
    }
    T* out = to++;
    for (const G sum : sums) {
      *out = as_element<T>(sum);
      out += to_step;
    }
  }
}

// Positions that are sampled together.
constexpr std::int64_t kBlock = 64;

template <class T, class G>
void sample_run(const GridSampling& how, Run& run) {
  const Shape& x = run.op().in_shape(0);
  const auto axes = static_cast<std::int64_t>(x.size()) - 2;
  const std::int64_t channels = x[1], in_plane = product(x, 2, static_cast<int>(x.size()));
  const std::int64_t positions = product(run.op().in_shape(1), 1, static_cast<int>(axes) + 1);
  if (product(run.op().out_shape(0)) == 0) return;
  if (in_plane == 0) {
    std::fill_n(run.out<T>(0), product(run.op().out_shape(0)), T{0});
    return;
  }
  // Some positions at a time, plane by plane: what they are made of lies close together.
  const auto sample = [&](std::int64_t n, std::int64_t first, std::int64_t count) {
    Recipe<G> recipe;
    for (std::int64_t i = 0; i < count; ++i)
      add_position(how, x, run.in<G>(1) + (n * positions + first + i) * axes, recipe);
    const T* planes = run.in<T>(0) + n * channels * in_plane;
    T* to = run.out<T>(0) + n * channels * positions + first;
    constexpr std::array kSamplers = {sample_planes<1, T, G>, sample_planes<2, T, G>,
                                      sample_planes<3, T, G>, sample_planes<4, T, G>};
    constexpr auto kMost = static_cast<std::int64_t>(kSamplers.size());
    for (std::int64_t c = 0, at_once; c < channels; c += at_once) {
      at_once = std::min(kMost, channels - c);
      kSamplers[static_cast<std::size_t>(at_once) - 1](recipe, planes + c * in_plane, in_plane,
                                                       to + c * positions, positions);
    }
  };
  const std::int64_t blocks = (positions + kBlock - 1) / kBlock;
  run.pool().parallel_for(x[0] * blocks, 1 + 2048 / (kBlock * (channels + 1)),
                          [&](std::int64_t begin, std::int64_t end) {
                            for (std::int64_t i = begin; i < end; ++i) {
                              const std::int64_t first = i % blocks * kBlock;
                              sample(i / blocks, first, std::min(kBlock, positions - first));
                            }
                          });
}

Choice sample_reference(Op& op) {
  Choice choice = refuse("sampling is defined for numbers only");
  with_type(NumberTypes{}, op.in(0).dtype, [&](auto element) {
    with_type(FloatTypes{}, op.in(1).dtype, [&](auto coordinate) {
      using T = decltype(element);
      using G = decltype(coordinate);
      choice = [how = grid_sampling_of(op)](Run& run) { sample_run<T, G>(how, run); };
    });
  });
  return choice;
}

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

void grid_sample(Row& row, const char* mode, TypeSet types, TypeSet grid_types) {
  row.attr("align_corners", 0)
      .attr("mode", mode)
      .attr("padding_mode", "zeros")
      .in("X", types)
      .in("grid", grid_types)
      .out("Y", like(0))
      .infer(infer_sample)
      .kernel("reference", sample_reference);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(grid_sample) {
  grid_sample(op("GridSample").since(16), "bilinear", kAllNoBf16, kFloats);
  grid_sample(op("GridSample").since(20), "linear", kAllNoBf16, kFloats);
  grid_sample(op("GridSample").since(22), "linear", kAllWithBf16, kFloatsBf16);
  op("AffineGrid")
      .since(20)
      .attr("align_corners", 0)
      .in("theta", kFloatsBf16)
      .in("size", DType::i64)
      .out("grid", like(0))
      .infer(infer_affine)
      .kernel("reference", affine_reference);
}
