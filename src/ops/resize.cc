// Resize (ai.onnx 10, 11, 13, 18, 19) and Upsample (1, 7, 9, 10).
// Upsample and Resize-10 have asymmetric coordinates and round them down (up when downsampling);
// since 11 attributes say how. axes, antialias and keep_aspect_ratio_policy came with 18.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "base/convert.h"
#include "base/shape.h"
#include "ops/dispatch.h"
#include "ops/nearest_copy.h"
#include "ops/op.h"
#include "ops/resampling.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using Mode = Resampling::Mode;
using Coordinates = Resampling::Coordinates;
using Nearest = Resampling::Nearest;

int version(const Op& op) { return op.row().versions().front(); }
bool is_upsample(const Op& op) { return op.row().name() == "Upsample"; }
bool is_modern(const Op& op) { return !is_upsample(op) && version(op) >= 11; }

template <class Value>
struct Named {
  const char* name;
  Value value;
};

// The value with the name that a string attribute holds.
template <class Value, std::size_t kCount>
Value choice_of(const Op& op, const char* attribute, const Named<Value> (&choices)[kCount]) {
  const std::string text = op.attr_string(attribute);
  std::string names;
  for (const Named<Value>& choice : choices) {
    if (text == choice.name) return choice.value;
    names += (names.empty() ? "" : ", ") + std::string(choice.name);
  }
  throw invalid("an attribute has an unknown value")
      .at("attribute '" + std::string(attribute) + "'")
      .expected("one of " + names)
      .got(text);
}

constexpr Named<Mode> kModes[] = {{"nearest", Mode::nearest},
                                  {"linear", Mode::linear},
                                  {"bilinear", Mode::linear},
                                  {"cubic", Mode::cubic}};
constexpr Named<Coordinates> kCoordinates[] = {
    {"half_pixel", Coordinates::half_pixel},
    {"half_pixel_symmetric", Coordinates::half_pixel_symmetric},
    {"pytorch_half_pixel", Coordinates::pytorch_half_pixel},
    {"align_corners", Coordinates::align_corners},
    {"asymmetric", Coordinates::asymmetric},
    {"tf_half_pixel_for_nn", Coordinates::tf_half_pixel_for_nn},
    {"tf_crop_and_resize", Coordinates::tf_crop_and_resize}};
constexpr Named<Nearest> kNearest[] = {{"round_prefer_floor", Nearest::round_prefer_floor},
                                       {"round_prefer_ceil", Nearest::round_prefer_ceil},
                                       {"floor", Nearest::floor},
                                       {"ceil", Nearest::ceil}};
enum class Policy { stretch, not_larger, not_smaller };
constexpr Named<Policy> kPolicies[] = {{"stretch", Policy::stretch},
                                       {"not_larger", Policy::not_larger},
                                       {"not_smaller", Policy::not_smaller}};

Resampling resampling_of(const Op& op) {
  Resampling how;
  how.mode = choice_of(op, "mode", kModes);
  if (!is_modern(op)) return how;
  how.coordinates = choice_of(op, "coordinate_transformation_mode", kCoordinates);
  how.nearest = choice_of(op, "nearest_mode", kNearest);
  how.exclude_outside = op.attr_int("exclude_outside") != 0;
  how.cubic_a = op.attr_float("cubic_coeff_a");
  how.extrapolation_value = op.attr_float("extrapolation_value");
  how.antialias = version(op) >= 18 && op.attr_int("antialias") != 0;
  return how;
}

// The axes that roi, scales and sizes speak of.
std::vector<std::size_t> listed_axes(const Op& op) {
  std::vector<std::size_t> axes;
  if (is_modern(op) && version(op) >= 18) {
    for (const std::int64_t axis : op.attr_ints("axes")) {
      axes.push_back(static_cast<std::size_t>(normalize_axis(axis, op.in_rank(0))));
    }
    std::vector<std::size_t> sorted = axes;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      throw invalid("an axis is listed twice").at("attribute 'axes'");
    }
  }
  if (axes.empty()) {
    axes.resize(op.in_shape(0).size());
    std::iota(axes.begin(), axes.end(), std::size_t{0});
  }
  return axes;
}

// Whether an optional list is there; up to opset 12 an empty tensor stood for one that is not.
bool has_list(const Op& op, int i) { return op.has_in(i) && product(op.in_shape(i)) > 0; }

void check_length(std::size_t length, std::size_t expected, const char* what) {
  if (length == expected) return;
  throw invalid("a list has the wrong length")
      .at(what)
      .expected(std::to_string(expected) + ", one for each axis")
      .got(std::to_string(length));
}

std::vector<float> scales_of(const Op& op) {
  if (is_upsample(op) && version(op) == 1) {
    return {1, 1, op.attr_float("height_scale"), op.attr_float("width_scale")};
  }
  if (is_upsample(op) && version(op) == 7) return op.attr_floats("scales");
  const int i = is_modern(op) ? 2 : 1;
  const auto values = op.value(i).values<float>();
  return {values.begin(), values.end()};
}

void set_scales(const Op& op, const std::vector<std::size_t>& axes,
                std::vector<ResampledAxis>& all) {
  const std::vector<float> scales = scales_of(op);
  check_length(scales.size(), axes.size(), "scales");
  for (std::size_t i = 0; i < axes.size(); ++i) {
    ResampledAxis& axis = all[axes[i]];
    // In float32, as shape inference everywhere does: 0.7 times 10 is 7, not 6.
    const float out = std::floor(static_cast<float>(axis.in) * scales[i]);
    if (!(scales[i] > 0) || !(out < 1e18F)) {
      throw invalid("a scale that makes no sense")
          .expected("a positive number")
          .got(std::to_string(scales[i]));
    }
    axis.scale = static_cast<double>(scales[i]);
    axis.out = static_cast<std::int64_t>(out);
  }
}

void set_sizes(const Op& op, const std::vector<std::size_t>& axes,
               std::vector<ResampledAxis>& all) {
  const std::vector<std::int64_t> sizes = op.ints(3);
  check_length(sizes.size(), axes.size(), "sizes");
  const Policy policy =
      version(op) >= 18 ? choice_of(op, "keep_aspect_ratio_policy", kPolicies) : Policy::stretch;
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    ResampledAxis& axis = all[axes[i]];
    if (sizes[i] < 0 || (axis.in == 0 && sizes[i] > 0)) {
      throw invalid("an axis cannot have that size")
          .at("axis " + std::to_string(axes[i]) + " with " + std::to_string(axis.in) + " elements")
          .got(std::to_string(sizes[i]));
    }
    axis.out = sizes[i];
    if (axis.in == 0) continue;
    axis.scale = static_cast<double>(sizes[i]) / static_cast<double>(axis.in);
    least = std::min(least, axis.scale);
    most = std::max(most, axis.scale);
  }
  if (policy == Policy::stretch) return;
  for (const std::size_t a : axes) {
    if (all[a].in == 0) continue;
    all[a].scale = policy == Policy::not_larger ? least : most;
    const double out = std::floor(all[a].scale * static_cast<double>(all[a].in) + 0.5);
    if (!(out < 1e18)) throw Error(ErrorCode::limit, "an output beyond all bounds");
    all[a].out = static_cast<std::int64_t>(out);
  }
}

// One for each axis of X; roi is not read yet. (The output's extents leave it out of account, as
// shape inference and all implementations do.)
std::vector<ResampledAxis> axes_of(const Op& op) {
  const Shape& x = op.in_shape(0);
  std::vector<ResampledAxis> all(x.size());
  for (std::size_t d = 0; d < x.size(); ++d) all[d].in = all[d].out = x[d];
  const std::vector<std::size_t> axes = listed_axes(op);
  const bool modern = is_modern(op);
  const bool by_sizes = modern && has_list(op, 3);
  if (modern && by_sizes == has_list(op, 2)) {
    throw invalid("exactly one of scales and sizes must be given")
        .got(by_sizes ? "both" : "neither");
  }
  if (by_sizes) {
    set_sizes(op, axes, all);
  } else {
    set_scales(op, axes, all);
  }
  if (modern && resampling_of(op).coordinates == Coordinates::tf_crop_and_resize) {
    check_length(op.has_in(1) ? static_cast<std::size_t>(product(op.in_shape(1))) : 0,
                 2 * axes.size(), "roi");
  }
  return all;
}

void infer(Op& op) {
  if (is_upsample(op) && version(op) == 1) require_rank(op, 0, 4, 4);
  resampling_of(op);
  Shape y;
  for (const ResampledAxis& axis : axes_of(op)) y.push_back(axis.out);
  op.set_out(0, op.in(0).dtype, y);
}

// What a kernel keeps, and completes with the region of interest at each run.
struct Plan {
  Resampling how;
  std::vector<std::size_t> listed;
  std::vector<ResampledAxis> axes;

  explicit Plan(const Op& op)
      : how(resampling_of(op)), listed(listed_axes(op)), axes(axes_of(op)) {}

  std::vector<ResampledAxis> axes_at(const Run& run) const {
    if (how.coordinates != Coordinates::tf_crop_and_resize) return axes;
    std::vector<ResampledAxis> result = axes;
    const Tensor wide = run.in_tensor(1).to(DType::f64);
    const auto roi = wide.values<double>();
    for (std::size_t i = 0; i < listed.size(); ++i) {
      result[listed[i]].roi_begin = roi[i];
      result[listed[i]].roi_end = roi[listed.size() + i];
    }
    return result;
  }
};

template <class Element>
Kernel nearest_kernel(Plan plan, DType dtype) {
  Element extrapolation{};
  if (dtype != DType::string) {
    convert(DType::f32, &plan.how.extrapolation_value, dtype, &extrapolation, 1);
  }
  return [plan = std::move(plan), extrapolation](Run& run) {
    copy_nearest(plan.how, plan.axes_at(run), extrapolation, run.in<Element>(0),
                 run.out<Element>(0), run.pool());
  };
}

Choice nearest(Op& op) {
  Plan plan(op);
  if (plan.how.mode != Mode::nearest) return refuse("the mode is not nearest");
  const DType dtype = op.in(0).dtype;
  if (dtype == DType::string) return nearest_kernel<std::string>(std::move(plan), dtype);
  switch (bits_of(dtype)) {
    case 8:
      return nearest_kernel<std::uint8_t>(std::move(plan), dtype);
    case 16:
      return nearest_kernel<std::uint16_t>(std::move(plan), dtype);
    case 32:
      return nearest_kernel<std::uint32_t>(std::move(plan), dtype);
    case 64:
      return nearest_kernel<std::uint64_t>(std::move(plan), dtype);
    default:
      return nearest_kernel<Complex128>(std::move(plan), dtype);
  }
}

// What a node does: prepared when planning, unless an input says which part of the image is wanted,
// or the axes are so long that the result might be refused for its size.
template <class T>
class Prepared {
 public:
  explicit Prepared(const Plan& plan) : plan_(plan) {
    constexpr std::int64_t kLongest = 1 << 16;
    const bool usual =
        std::all_of(plan.axes.begin(), plan.axes.end(), [](const ResampledAxis& axis) {
          return axis.in > 0 && axis.out > 0 && axis.out <= kLongest;
        });
    if (usual && plan.how.coordinates != Coordinates::tf_crop_and_resize)
      resampler_.emplace(plan.how, plan.axes);
  }

  std::int64_t count() const { return out_count(plan_.axes); }

  void run(const T* x, T* y, Run& run) const {
    if (count() == 0) return;
    if (resampler_) return resampler_->run(x, y, run.pool());
    Resampler<T>(plan_.how, plan_.axes_at(run)).run(x, y, run.pool());
  }

 private:
  Plan plan_;
  std::optional<Resampler<T>> resampler_;
};

// Integers: computed in float64, cut off towards zero, and kept in the range of the type.
template <class T>
T narrowed(double value) {
  constexpr auto kLeast = std::numeric_limits<T>::min(), kMost = std::numeric_limits<T>::max();
  if (!(value > static_cast<double>(kLeast))) return kLeast;
  return value >= static_cast<double>(kMost) ? kMost : static_cast<T>(value);
}

Choice separable(Op& op) {
  const Plan plan(op);
  if (plan.how.mode == Mode::nearest) return refuse("the mode is nearest");
  Choice choice = refuse("interpolation is defined for numbers only");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [work = Prepared<T>(plan)](Run& run) { work.run(run.in<T>(0), run.out<T>(0), run); };
  });
  with_type(IntTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [work = Prepared<double>(plan)](Run& run) {
      const Tensor wide = run.in_tensor(0).to(DType::f64);
      std::vector<double> result(static_cast<std::size_t>(work.count()));
      work.run(wide.values<double>().data(), result.data(), run);
      std::transform(result.begin(), result.end(), run.out<T>(0), narrowed<T>);
    };
  });
  return choice;
}

Row& common(Row& row, TypeSet types) {
  return row.attr("mode", "nearest")
      .in("X", types)
      .infer(infer)
      .kernel("nearest", nearest)
      .kernel("separable", separable);
}

Row& modern(Row& row, TypeSet types) {
  return common(row, types)
      .attr("coordinate_transformation_mode", "half_pixel")
      .attr("cubic_coeff_a", -0.75F)
      .attr("exclude_outside", 0)
      .attr("extrapolation_value", 0.0F)
      .attr("nearest_mode", "round_prefer_floor")
      .out("Y", like(0));
}

}  // namespace

std::optional<NearestImage> nearest_image(const Op& op) {
  const bool is_resize =
      op.row().domain().empty() && (op.row().name() == "Resize" || op.row().name() == "Upsample");
  if (!is_resize || op.in_rank(0) != 4) return std::nullopt;
  const Plan plan(op);
  if (plan.how.mode != Mode::nearest || plan.how.coordinates == Coordinates::tf_crop_and_resize ||
      !plan.axes[0].is_identity(plan.how) || !plan.axes[1].is_identity(plan.how)) {
    return std::nullopt;
  }
  return NearestImage{nearest_indices(plan.how, plan.axes[2]),
                      nearest_indices(plan.how, plan.axes[3])};
}

}  // namespace mezzo::ops

MEZZO_FAMILY(resize) {
  common(op("Upsample"), kFloats | TypeSet{DType::boolean, DType::i32, DType::i64})
      .since(1)
      .required("height_scale", Kind::float_)
      .required("width_scale", Kind::float_)
      .out("Y", like(0));
  common(op("Upsample"), kAllNoBf16).since(7).required("scales", Kind::floats).out("Y", like(0));
  common(op("Upsample"), kAllNoBf16).since(9, 10).in("scales", DType::f32).out("Y", like(0));

  common(op("Resize"), kAllNoBf16).since(10).in("scales", DType::f32).out("Y", like(0));
  const auto optional_lists = [](Row& row) -> Row& {
    return row.in("roi", kFloats, Arity::optional)
        .in("scales", DType::f32, Arity::optional)
        .in("sizes", DType::i64, Arity::optional);
  };
  // Version 11 requires roi and scales, but exporters leave out what is not used.
  optional_lists(modern(op("Resize"), kAllNoBf16)).since(11);
  optional_lists(modern(op("Resize"), kAllWithBf16)).since(13);
  optional_lists(modern(op("Resize"), kAllWithBf16))
      .since(18, 19)
      .attr("antialias", 0)
      .attr("axes", Kind::ints)
      .attr("keep_aspect_ratio_policy", "stretch");
}
