// MaxPool (ai.onnx 1, 8, 10, 11, 12, 22) and AveragePool (1, 7, 10, 11, 19, 22). Attributes came
// with the versions: Indices and storage_order with 8, ceil_mode with 10, dilations with 10 (max)
// and 19 (average), count_include_pad with 7.

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/pool_f32.h"
#include "kernels/pool_i8.h"
#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/pooling.h"
#include "ops/quantization.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;
using PooledTypes = Types<float, double, std::int8_t, std::uint8_t>;

std::int64_t planes_of(const Op& op) { return op.in_shape(0)[0] * op.in_shape(0)[1]; }

Windows pool_windows(const Op& op) { return windows_of(op, op.in_shape(0), {}, false); }

void infer(Op& op) {
  const Shape& x = op.in_shape(0);
  const Windows windows = pool_windows(op);
  op.set_out(0, op.in(0).dtype, shape_of(x[0], x[1], windows));
  op.set_out(1, DType::i64, shape_of(x[0], x[1], windows));
}

// The SIMD kernels' description of pools along one or two axes of such a type; a refusal for
// others.
std::variant<Refusal, kernels::PoolShape> simd_shape(const Op& op, TypeSet types) {
  if (!types.contains(op.in(0).dtype))
    return refuse(types == DType::f32 ? "not float32" : "not 8-bit integers");
  const Windows windows = pool_windows(op);
  if (windows.size() > 2) return refuse("more than two spatial axes");
  const std::int64_t planes = planes_of(op);
  if (planes == 0 || in_size(windows) == 0 || out_size(windows) == 0) {
    return refuse("an empty tensor");
  }
  return pool_shape(planes, windows);
}

Choice max_simd(Op& op) {
  if (op.has_out(1)) return refuse("the indices are wanted");
  auto shape = simd_shape(op, DType::f32);
  if (auto* refusal = std::get_if<Refusal>(&shape)) return std::move(*refusal);
  return [shape = std::get<kernels::PoolShape>(shape)](Run& run) {
    kernels::max_pool(shape, run.in<float>(0), run.out<float>(0), run.pool());
  };
}

Choice max_of_bytes(Op& op) {
  if (op.has_out(1)) return refuse("the indices are wanted");
  auto shape = simd_shape(op, kQuantized8);
  if (auto* refusal = std::get_if<Refusal>(&shape)) return std::move(*refusal);
  return [shape = std::get<kernels::PoolShape>(shape),
          is_signed = op.in(0).dtype == DType::i8](Run& run) {
    kernels::max_pool_i8(shape, 1, is_signed, run.in<std::uint8_t>(0), run.out<std::uint8_t>(0),
                         run.pool());
  };
}

// A pool along three axes, as one of each slice and then one of the slices.
struct SlicePools {
  kernels::PoolShape image, depth;
  kernels::WindowShares image_shares, depth_shares;  // of means

  // float32 between the two.
  std::int64_t elements() const { return image.planes * image.out_h * image.out_w; }
};

std::variant<Refusal, SlicePools> slice_pools(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Windows windows = pool_windows(op);
  if (windows.size() != 3) return refuse("not three spatial axes");
  const std::int64_t planes = planes_of(op);
  if (planes == 0 || in_size(windows) == 0 || out_size(windows) == 0) {
    return refuse("an empty tensor");
  }
  const Windows image = {windows[1], windows[2]};
  WindowAxis pixels;
  pixels.in = pixels.out = image[0].out * image[1].out;
  const Windows depth = {windows[0], pixels};
  SlicePools pools{pool_shape(checked_mul(planes, windows[0].in), image), pool_shape(planes, depth),
                   window_shares_of(op, image), window_shares_of(op, depth)};
  op.set_scratch(checked_mul(pools.elements(), sizeof(float)));
  return pools;
}

// By pool(shape, shares, x, y) of planes.
template <class Pool>
Choice by_slices(Op& op, const Pool& pool) {
  auto pools = slice_pools(op);
  if (auto* refusal = std::get_if<Refusal>(&pools)) return std::move(*refusal);
  return [s = std::get<SlicePools>(std::move(pools)), pool](Run& run) {
    auto* slices = static_cast<float*>(run.scratch());
    pool(s.image, s.image_shares, run.in<float>(0), slices, run.pool());
    pool(s.depth, s.depth_shares, slices, run.out<float>(0), run.pool());
  };
}

Choice max_by_slices(Op& op) {
  if (op.has_out(1)) return refuse("the indices are wanted");
  return by_slices(op,
                   [](const kernels::PoolShape& shape, const kernels::WindowShares&, const float* x,
                      float* y, ThreadPool& pool) { kernels::max_pool(shape, x, y, pool); });
}

Choice average_by_slices(Op& op) { return by_slices(op, kernels::average_pool); }

// What becomes of an index in a plane, row-major, when it is to be counted column-major.
std::int64_t column_major(const Windows& windows, std::int64_t index) {
  std::int64_t result = 0;
  std::int64_t size = in_size(windows);
  if (size == 0) return 0;
  for (auto axis = windows.rbegin(); axis != windows.rend(); ++axis) {
    size /= axis->in;
    result += index % axis->in * size;
    index /= axis->in;
  }
  return result;
}

template <class T>
void max_reference_run(const Windows& windows, bool by_columns, Run& run) {
  constexpr T kLowest = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                             : std::numeric_limits<T>::lowest();
  const std::int64_t in_plane = in_size(windows);
  const int axes = static_cast<int>(windows.size());
  const T* x = run.in<T>(0);
  T* y = run.out<T>(0);
  auto* indices = run.out<std::int64_t>(1);
  for_each_window(windows, planes_of(run.op()), run.pool(),
                  [&](std::int64_t plane, const Position& position, std::int64_t o) {
                    // A window altogether in the padding has the first element's index.
                    T best = kLowest;
                    std::int64_t best_index = 0;
                    bool first = true;
                    for_each_tap(windows, axes, position, [&](std::int64_t in, std::int64_t) {
                      const T value = x[plane * in_plane + in];
                      // The first of equals; a NaN stays.
                      if (first || value > best || (value != value && best == best)) {
                        best = value;
                        best_index = in;
                      }
                      first = false;
                    });
                    if (y != nullptr) y[o] = best;
                    if (indices != nullptr) {
                      indices[o] = plane * in_plane +
                                   (by_columns ? column_major(windows, best_index) : best_index);
                    }
                  });
}

// The maxima of a row of windows, and where in their plane they stand (-1: nowhere yet). Tap by
// tap, each for the whole row: without a branch, for vectors.
template <class T>
struct RowMaxima {
  std::vector<T> values;
  std::vector<std::int32_t> indices;

  // The elements at row[o * stride] for o of `outputs`, of which the first has number `at`.
  template <class Stride>
  void take(const T* row, std::int64_t at, Stride stride, Taps outputs) {
    T* best = values.data();
    std::int32_t* index = indices.data();
    for (std::int64_t o = outputs.begin; o < outputs.end; ++o) {
      const T value = row[o * stride];
      // The first of equals; a NaN stays.
      const bool is_better =
          (value > best[o]) | (index[o] < 0) | ((value != value) & (best[o] == best[o]));
      best[o] = is_better ? value : best[o];
      index[o] = is_better ? static_cast<std::int32_t>(at + o * stride) : index[o];
    }
  }
};

template <class T>
void max_by_rows(const WindowAxis& down, const WindowAxis& across, bool by_columns, Run& run) {
  constexpr T kLowest = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                             : std::numeric_limits<T>::lowest();
  std::vector<Taps> outputs;  // that see each tap
  for (std::int64_t tap = 0; tap < across.kernel; ++tap)
    outputs.push_back(outputs_inside(across, tap));
  const std::int64_t in_plane = down.in * across.in;
  const auto one_row = [&](std::int64_t plane, std::int64_t o, RowMaxima<T>& maxima) {
    maxima.values.assign(static_cast<std::size_t>(across.out), kLowest);
    maxima.indices.assign(static_cast<std::size_t>(across.out), -1);
    const Taps rows = taps_inside(down, o);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      const std::int64_t in_row = (down.start(o) + r * down.dilation) * across.in;
      const T* x = run.in<T>(0) + plane * in_plane + in_row;
      for (std::int64_t tap = 0; tap < across.kernel; ++tap) {
        const std::int64_t shift = tap * across.dilation - across.pad_begin;
        const Taps& seen = outputs[static_cast<std::size_t>(tap)];
        if (across.stride == 1) {
          maxima.take(x + shift, in_row + shift, std::integral_constant<int, 1>(), seen);
        } else if (across.stride == 2) {
          maxima.take(x + shift, in_row + shift, std::integral_constant<int, 2>(), seen);
        } else {
          maxima.take(x + shift, in_row + shift, across.stride, seen);
        }
      }
    }
    const std::int64_t to = (plane * down.out + o) * across.out;
    if (T* y = run.out<T>(0)) std::copy(maxima.values.begin(), maxima.values.end(), y + to);
    std::int64_t* indices = run.out<std::int64_t>(1) + to;
    for (const std::int32_t index : maxima.indices) {
      // A window altogether in the padding has the first element's.
      const std::int64_t i = std::max<std::int64_t>(index, 0);
      *indices++ = plane * in_plane + (by_columns ? i % across.in * down.in + i / across.in : i);
    }
  };
  const std::int64_t work = across.out * down.kernel * across.kernel;
  run.pool().parallel_for(planes_of(run.op()) * down.out, grain_for(2 * work),
                          [&](std::int64_t begin, std::int64_t end) {
                            RowMaxima<T> maxima;
                            for (std::int64_t i = begin; i < end; ++i)
                              one_row(i / down.out, i % down.out, maxima);
                          });
}

Choice max_with_indices(Op& op) {
  if (!op.has_out(1)) return refuse("the indices are not wanted");
  const Windows windows = pool_windows(op);
  if (windows.size() != 2) return refuse("not two spatial axes");
  if (in_size(windows) > std::numeric_limits<std::int32_t>::max()) return refuse("a large plane");
  if (product(op.in_shape(0)) == 0) return refuse("an empty tensor");
  Choice choice = refuse("not float32, float64, int8 or uint8");
  with_type(PooledTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [windows, by_columns = op.attr_int("storage_order") == 1](Run& run) {
      max_by_rows<T>(windows[0], windows[1], by_columns, run);
    };
  });
  return choice;
}

Choice max_reference(Op& op) {
  Choice choice = refuse("not float32, float64, int8 or uint8");
  const bool by_columns = op.has_out(1) && op.attr_int("storage_order") == 1;
  with_type(PooledTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [windows = pool_windows(op), by_columns](Run& run) {
      max_reference_run<T>(windows, by_columns, run);
    };
  });
  return choice;
}

bool counts_padding(const Op& op) {
  return op.declares("count_include_pad") && op.attr_int("count_include_pad") != 0;
}

Choice average_simd(Op& op) {
  auto shape = simd_shape(op, DType::f32);
  if (auto* refusal = std::get_if<Refusal>(&shape)) return std::move(*refusal);
  return [shape = std::get<kernels::PoolShape>(shape),
          shares = window_shares_of(op, pool_windows(op))](Run& run) {
    kernels::average_pool(shape, shares, run.in<float>(0), run.out<float>(0), run.pool());
  };
}

// Taps of the window at `position` that lie inside the padded input. What a ceil-mode window has
// beyond that counts nowhere.
std::int64_t padded_taps(const Windows& windows, const Position& position) {
  std::int64_t count = 1;
  for (std::size_t d = 0; d < windows.size(); ++d) {
    const WindowAxis& axis = windows[d];
    const std::int64_t room = axis.in + axis.pad_end - 1 - axis.start(position[d]);
    count *= room < 0 ? 0 : std::min(axis.kernel, room / axis.dilation + 1);
  }
  return count;
}

template <class T>
void average_reference_run(const Windows& windows, bool with_padding, Run& run) {
  const std::int64_t in_plane = in_size(windows);
  const int axes = static_cast<int>(windows.size());
  for_each_window(windows, planes_of(run.op()), run.pool(),
                  [&](std::int64_t plane, const Position& position, std::int64_t o) {
                    const T* x = run.in<T>(0) + plane * in_plane;
                    double sum = 0;
                    std::int64_t count = 0;
                    for_each_tap(windows, axes, position, [&](std::int64_t in, std::int64_t) {
                      sum += static_cast<double>(x[in]);
                      ++count;
                    });
                    if (with_padding) count = padded_taps(windows, position);
                    run.out<T>(0)[o] =
                        count == 0 ? T{0} : static_cast<T>(sum / static_cast<double>(count));
                  });
}

Choice average_reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [windows = pool_windows(op), with_padding = counts_padding(op)](Run& run) {
      average_reference_run<T>(windows, with_padding, run);
    };
  });
  return choice;
}

Row& windowed(Row& row) {
  return row.attr("auto_pad", "NOTSET").attr("pads", Kind::ints).attr("strides", Kind::ints);
}

Row& max_pool(Registry& op, TypeSet types) {
  return windowed(op("MaxPool"))
      .required("kernel_shape", Kind::ints)
      .in("X", types)
      .out("Y", like(0))
      .infer(infer)
      .simd_kernel("simd", max_simd)
      .simd_kernel("simd i8", max_of_bytes)
      .simd_kernel("slices", max_by_slices)
      .simd_kernel("rows with indices", max_with_indices)
      .kernel("reference", max_reference);
}

Row& with_indices(Row& row) {
  return row.attr("storage_order", 0).out("Indices", DType::i64, Arity::optional);
}

Row& average_pool(Registry& op, TypeSet types) {
  return windowed(op("AveragePool"))
      .required("kernel_shape", Kind::ints)
      .in("X", types)
      .out("Y", like(0))
      .infer(infer)
      .simd_kernel("simd", average_simd)
      .simd_kernel("slices", average_by_slices)
      .kernel("reference", average_reference);
}

}  // namespace

kernels::PoolShape pool_shape(std::int64_t planes, const Windows& windows) {
  const WindowAxis one;
  const WindowAxis& h = windows.size() == 2 ? windows[0] : one;
  const WindowAxis& w = windows.back();
  return {.planes = planes,
          .in_h = h.in,
          .in_w = w.in,
          .out_h = h.out,
          .out_w = w.out,
          .k_h = h.kernel,
          .k_w = w.kernel,
          .stride_h = h.stride,
          .stride_w = w.stride,
          .pad_top = h.pad_begin,
          .pad_left = w.pad_begin,
          .dilation_h = h.dilation,
          .dilation_w = w.dilation};
}

kernels::WindowShares window_shares_of(const Op& op, const Windows& windows) {
  return kernels::window_shares(pool_shape(1, windows), counts_padding(op),
                                windows.size() == 2 ? windows[0].pad_end : 0,
                                windows.back().pad_end);
}

}  // namespace mezzo::ops

MEZZO_FAMILY(pool) {
  max_pool(op, kFloats).since(1);
  with_indices(max_pool(op, kFloats)).since(8);
  with_indices(max_pool(op, kFloats))
      .since(10, 11)
      .attr("ceil_mode", 0)
      .attr("dilations", Kind::ints);
  with_indices(max_pool(op, kFloatsBf16 | TypeSet{DType::i8, DType::u8}))
      .since(12, 22)
      .attr("ceil_mode", 0)
      .attr("dilations", Kind::ints);

  average_pool(op, kFloats).since(1);
  average_pool(op, kFloats).since(7).attr("count_include_pad", 0);
  average_pool(op, kFloats).since(10, 11).attr("count_include_pad", 0).attr("ceil_mode", 0);
  average_pool(op, kFloatsBf16)
      .since(19, 22)
      .attr("count_include_pad", 0)
      .attr("ceil_mode", 0)
      .attr("dilations", Kind::ints);
}
