// GridSample (ai.onnx 16, 20, 22). Version 16 knew two spatial axes and called its modes bilinear
// and bicubic.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/shape.h"
#include "kernels/strided_copy.h"
#include "kernels/weighted_rows_f32.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr int kMaxAxes = 8;
// Channels from which on images are sampled channels last.
constexpr std::int64_t kLeastChannels = 8;
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

// An element of a plane and its share: a row of the image that has its channels last.
template <class G>
using Share = kernels::WeightedRow<G>;

// What the values at some positions are made of, in any plane.
template <class G>
struct Recipe {
  std::vector<Share<G>> shares;
  std::vector<kernels::RowRange> positions;  // the shares of each
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
        shares.push_back({whole.row * x[d + 2] + taps.index[k], whole.weight * taps.weight[k]});
      }
    }
  }
  recipe.positions.push_back({begin, shares.size()});
}

// Of `count` positions of the grid.
template <class G>
Recipe<G> recipe_of(const GridSampling& how, const Shape& x, const G* grid, std::int64_t count) {
  const auto axes = static_cast<std::int64_t>(x.size()) - 2;
  Recipe<G> recipe;
  recipe.shares.reserve(static_cast<std::size_t>(8 * count));  // of bilinear sampling: 7
  recipe.positions.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) add_position(how, x, grid + i * axes, recipe);
  return recipe;
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
      const T* from = planes + share.row;
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

struct Sizes {
  std::int64_t images, channels, in_plane, positions, axes, blocks;

  explicit Sizes(const Op& op)
      : images(op.in_shape(0)[0]),
        channels(op.in_shape(0)[1]),
        in_plane(product(op.in_shape(0), 2, op.in_rank(0))),
        positions(product(op.in_shape(1), 1, op.in_rank(1) - 1)),
        axes(op.in_rank(0) - 2),
        blocks((positions + kBlock - 1) / kBlock) {}
};

template <class T, class G>
void sample_run(const GridSampling& how, Run& run) {
  const Shape& x = run.op().in_shape(0);
  const Sizes sizes(run.op());
  if (product(run.op().out_shape(0)) == 0) return;
  if (sizes.in_plane == 0) {
    std::fill_n(run.out<T>(0), product(run.op().out_shape(0)), T{0});
    return;
  }
  // Some positions at a time, plane by plane: what they are made of lies close together.
  const auto sample = [&](std::int64_t n, std::int64_t first, std::int64_t count) {
    const Recipe<G> recipe =
        recipe_of(how, x, run.in<G>(1) + (n * sizes.positions + first) * sizes.axes, count);
    const T* planes = run.in<T>(0) + n * sizes.channels * sizes.in_plane;
    T* to = run.out<T>(0) + n * sizes.channels * sizes.positions + first;
    constexpr std::array kSamplers = {sample_planes<1, T, G>, sample_planes<2, T, G>,
                                      sample_planes<3, T, G>, sample_planes<4, T, G>};
    constexpr auto kMost = static_cast<std::int64_t>(kSamplers.size());
    for (std::int64_t c = 0, at_once; c < sizes.channels; c += at_once) {
      at_once = std::min(kMost, sizes.channels - c);
      kSamplers[static_cast<std::size_t>(at_once) - 1](recipe, planes + c * sizes.in_plane,
                                                       sizes.in_plane, to + c * sizes.positions,
                                                       sizes.positions);
    }
  };
  run.pool().parallel_for(sizes.images * sizes.blocks, 1 + 2048 / (kBlock * (sizes.channels + 1)),
                          [&](std::int64_t begin, std::int64_t end) {
                            for (std::int64_t i = begin; i < end; ++i) {
                              const std::int64_t first = i % sizes.blocks * kBlock;
                              sample(i / sizes.blocks, first,
                                     std::min(kBlock, sizes.positions - first));
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

// Images whose channels come last, where each share is a row of them: with the copies there and
// back a fraction of what picking single elements takes.
class ByRows {
 public:
  explicit ByRows(const Op& op)
      : how_(grid_sampling_of(op)),
        sizes_(op),
        in_(sizeof(float), {sizes_.channels, sizes_.in_plane}, {sizes_.in_plane, 1},
            {1, sizes_.channels}),
        out_(sizeof(float), {sizes_.channels, sizes_.positions}, {1, sizes_.channels},
             {sizes_.positions, 1}) {}

  std::int64_t scratch_bytes() const {
    return checked_mul(checked_mul(checked_add(sizes_.in_plane, sizes_.positions), sizes_.channels),
                       sizeof(float));
  }

  void operator()(Run& run) const {
    auto* rows = static_cast<float*>(run.scratch());
    float* sums = rows + sizes_.in_plane * sizes_.channels;
    for (std::int64_t n = 0; n < sizes_.images; ++n) {
      in_.run(run.in<float>(0) + n * sizes_.channels * sizes_.in_plane, rows, run.pool());
      const float* grid = run.in<float>(1) + n * sizes_.positions * sizes_.axes;
      run.pool().parallel_for(sizes_.blocks, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t first = begin * kBlock; first < std::min(end * kBlock, sizes_.positions);
             first += kBlock) {
          const std::int64_t count = std::min(kBlock, sizes_.positions - first);
          const Recipe<float> recipe =
              recipe_of(how_, run.op().in_shape(0), grid + first * sizes_.axes, count);
          kernels::sum_weighted_rows(recipe.shares.data(), recipe.positions.data(), count, rows,
                                     sizes_.channels, sums + first * sizes_.channels);
        }
      });
      out_.run(sums, run.out<float>(0) + n * sizes_.channels * sizes_.positions, run.pool());
    }
  }

 private:
  GridSampling how_;
  Sizes sizes_;
  kernels::StridedCopy in_, out_;
};

Choice sample_by_rows(Op& op) {
  if (op.in(0).dtype != DType::f32 || op.in(1).dtype != DType::f32) return refuse("not float32");
  const Sizes sizes(op);
  if (sizes.channels < kLeastChannels) return refuse("few channels");
  if (sizes.in_plane == 0 || sizes.positions < sizes.in_plane / 8)
    return refuse("few positions for the image's size");
  const ByRows sample(op);
  op.set_scratch(sample.scratch_bytes());
  return Kernel(sample);
}

void grid_sample(Row& row, const char* mode, TypeSet types, TypeSet grid_types) {
  row.attr("align_corners", 0)
      .attr("mode", mode)
      .attr("padding_mode", "zeros")
      .in("X", types)
      .in("grid", grid_types)
      .out("Y", like(0))
      .infer(infer_sample)
      .simd_kernel("by rows of channels", sample_by_rows)
      .kernel("reference", sample_reference);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(grid_sample) {
  grid_sample(op("GridSample").since(16), "bilinear", kAllNoBf16, kFloats);
  grid_sample(op("GridSample").since(20), "linear", kAllNoBf16, kFloats);
  grid_sample(op("GridSample").since(22), "linear", kAllWithBf16, kFloatsBf16);
}
