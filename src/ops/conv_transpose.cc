// ConvTranspose (ai.onnx 1, 11, 22): the transpose (adjoint) of Conv. The versions differ in their
// types, and in how version 1 words the shares of an odd padding, which implementations never did.

#include <algorithm>
#include <string>
#include <vector>

#include "base/rounding.h"
#include "base/shape.h"
#include "kernels/gemm_f32.h"
#include "kernels/target.h"
#include "ops/dispatch.h"
#include "ops/op.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

// `windows` are those of the convolution from Y to X: `in` is the extent of Y, `out` that of X.
struct Transposed {
  std::int64_t batch, in_c, out_c, groups;
  Windows windows;

  std::int64_t group_in() const { return in_c / groups; }
  std::int64_t group_out() const { return out_c / groups; }
  std::int64_t x_plane() const { return out_size(windows); }
  std::int64_t y_plane() const { return in_size(windows); }
  bool empty() const {
    return batch == 0 || in_c == 0 || out_c == 0 || x_plane() == 0 || y_plane() == 0;
  }
};

Transposed transposed_of(const Op& op) {
  const Shape &x = op.in_shape(0), &w = op.in_shape(1);
  const std::int64_t groups = op.attr_int("group");
  if (w.size() != x.size() || x.size() < 3 || groups < 1 || w[0] != x[1] || x[1] % groups != 0) {
    throw invalid("the weights do not fit the input")
        .expected("[C, M / group, k1, ...] for X [N, C, D1, ...], group dividing C")
        .got("W " + to_string(w) + ", X " + to_string(x) + ", group " + std::to_string(groups));
  }
  const std::vector<std::int64_t> kernel = kernel_of_weights(op);
  const std::int64_t out_c = checked_mul(w[1], groups);
  if (op.has_in(2) && op.in_shape(2) != Shape{out_c}) {
    throw invalid("the bias does not fit the weights")
        .expected("[" + std::to_string(out_c) + "]")
        .got(to_string(op.in_shape(2)));
  }
  return {x[0], x[1], out_c, groups, transposed_windows_of(op, x, kernel)};
}

void infer(Op& op) {
  const Transposed conv = transposed_of(op);
  Shape y = {conv.batch, conv.out_c};
  for (const WindowAxis& axis : conv.windows) y.push_back(axis.in);
  op.set_out(0, op.in(0).dtype, y);
}

std::int64_t multiply_adds(const Op& op) {
  const Transposed conv = transposed_of(op);
  return checked_mul(conv.batch * conv.in_c * conv.x_plane(),
                     checked_mul(conv.group_out(), kernel_size(conv.windows)));
}

// How sums meet the elements of Y that they belong to.
enum class Placing { add, set };

// to[o * stride] = what is there, or `base`, + from[o] for o of [begin, end).
template <Placing kPlacing>
void place_apart(const float* __restrict from, float base, float* __restrict to,
                 std::int64_t stride, std::int64_t begin, std::int64_t end) {
  for (std::int64_t o = begin; o < end; ++o) {
    float& element = to[o * stride];
    element = (kPlacing == Placing::add ? element : base) + from[o];
  }
}

// The same of first[o] at to[2 * o] and second[o] behind it: whole vectors, unlike one after the
// other.
template <Placing kPlacing>
void place_pairs(const float* __restrict first, const float* __restrict second, float base,
                 float* __restrict to, std::int64_t begin, std::int64_t end) {
  for (std::int64_t o = begin; o < end; ++o) {
    float* pair = to + 2 * o;
    pair[0] = (kPlacing == Placing::add ? pair[0] : base) + first[o];
    pair[1] = (kPlacing == Placing::add ? pair[1] : base) + second[o];
  }
}

// The same of Count rows `width` apart.
template <Placing kPlacing, int Count>
void place_groups(const float* __restrict from, std::int64_t width, float base,
                  float* __restrict to, std::int64_t begin, std::int64_t end) {
  for (std::int64_t o = begin; o < end; ++o) {
    float* group = to + Count * o;
    for (int i = 0; i < Count; ++i)
      group[i] = (kPlacing == Placing::add ? group[i] : base) + from[i * width + o];
  }
}

// Successive taps of the last axis that go together, and the elements of a row of X which all of
// them take to places in Y.
struct TapGroup {
  std::int64_t tap, count;
  Taps all;
};

// Whether each element of Y belongs to one tap of one element of X.
bool is_tiled(const Windows& windows) {
  return std::all_of(windows.begin(), windows.end(), [](const WindowAxis& axis) {
    return axis.dilation == 1 && axis.kernel == axis.stride &&
           axis.in + axis.pad_begin <= axis.out * axis.kernel;
  });
}

// Rows of X, whole ones or a part of one.
struct Part {
  std::int64_t row, rows, begin, length;  // begin: of each row
};

// Brings columns [channel * taps + tap][rows * length] of a part of X to the places of Y that they
// belong to. `bias` (of each channel, or null) counts where they are set.
template <Placing kPlacing>
void col2im(const Windows& windows, const float* columns, std::int64_t channels, const Part& part,
            const float* bias, float* y, ThreadPool& pool) {
  const WindowAxis& last = windows.back();
  const int lead = static_cast<int>(windows.size()) - 1;
  const std::int64_t rows = part.rows, taps = kernel_size(windows), width = rows * part.length;
  const std::int64_t plane = in_size(windows), lead_taps = taps / last.kernel;
  // Taps go together that fill all places between those of the first.
  const bool dense = last.dilation == 1 && last.kernel >= last.stride &&
                     (last.stride == 2 || last.stride == 4 || last.stride == 8);
  const std::int64_t together = dense ? last.stride : 1;
  // What is the same for all channels: the places of each tap in a row of Y, and the row of Y for
  // each other tap and row of columns, or -1.
  std::vector<Taps> in_row;
  for (std::int64_t tap = 0; tap < last.kernel; ++tap) {
    const Taps inside = outputs_inside(last, tap);
    const std::int64_t end = std::min(inside.end, part.begin + part.length);
    in_row.push_back({std::min(end, std::max(inside.begin, part.begin)), end});
  }
  std::vector<std::int64_t> y_rows;
  for (std::int64_t tap = 0; tap < lead_taps; ++tap) {
    for (std::int64_t r = 0; r < rows; ++r) {
      y_rows.push_back(
          input_index(windows, lead, output_position(windows, lead, part.row + r), tap));
    }
  }
  std::vector<TapGroup> groups;
  for (std::int64_t tap = 0; tap < last.kernel; tap += together) {
    TapGroup group = {tap, std::min(together, last.kernel - tap),
                      in_row[static_cast<std::size_t>(tap)]};
    for (std::int64_t i = 1; i < group.count; ++i) {
      const Taps& inside = in_row[static_cast<std::size_t>(tap + i)];
      group.all = {std::max(group.all.begin, inside.begin), std::min(group.all.end, inside.end)};
    }
    if (together == 1 || group.count < together || group.all.end < group.all.begin)
      group.all.end = group.all.begin;
    groups.push_back(group);
  }
  // A group, of a row of Y and of columns.
  const auto place = [&](const TapGroup& group, const float* from, float base, float* to) {
    from -= part.begin;
    to += group.tap * last.dilation - last.pad_begin;
    const auto [begin, end] = group.all;
    if (together == 2) place_pairs<kPlacing>(from, from + width, base, to, begin, end);
    if (together == 4) place_groups<kPlacing, 4>(from, width, base, to, begin, end);
    if (together == 8) place_groups<kPlacing, 8>(from, width, base, to, begin, end);
    for (std::int64_t i = 0; i < group.count; ++i) {
      const Taps& own = in_row[static_cast<std::size_t>(group.tap + i)];
      const auto rest = [&](std::int64_t first, std::int64_t behind) {
        if (first >= behind) return;
        place_apart<kPlacing>(from + i * width, base, to + i * last.dilation, last.stride, first,
                              behind);
      };
      rest(own.begin, std::min(group.all.begin, own.end));
      rest(std::max(group.all.end, own.begin), own.end);
    }
  };
  pool.parallel_for(
      channels, 1 + 32768 / (taps * width + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin * lead_taps; i < end * lead_taps; ++i) {
          const std::int64_t channel = i / lead_taps, lead_tap = i % lead_taps;
          const float base = bias != nullptr ? bias[channel] : 0.0F;
          for (const TapGroup& group : groups) {
            const float* from = columns + (i * last.kernel + group.tap) * width;
            for (std::int64_t r = 0; r < rows; ++r, from += part.length) {
              const std::int64_t y_row = y_rows[static_cast<std::size_t>(lead_tap * rows + r)];
              if (y_row < 0) continue;
              place(group, from, base, y + channel * plane + y_row * last.in);
            }
          }
        }
      });
}

void fill_with_bias(const Transposed& conv, const float* bias, float* y, ThreadPool& pool) {
  const std::int64_t plane = conv.y_plane();
  pool.parallel_for(
      conv.batch * conv.out_c, 1 + 65536 / (plane + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          std::fill_n(y + i * plane, plane, bias != nullptr ? bias[i % conv.out_c] : 0.0F);
        }
      });
}

// What each element of X gives to Y, as a matrix product, then added up.
Choice by_gemm(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Transposed conv = transposed_of(op);
  if (conv.empty()) return refuse("an empty tensor");
  const std::int64_t m = checked_mul(conv.group_out(), kernel_size(conv.windows));
  const std::int64_t k = conv.group_in(), row_length = conv.windows.back().out;
  const std::int64_t all_rows = conv.x_plane() / row_length;
  const std::int64_t row_bytes = checked_mul(checked_mul(m, row_length), sizeof(float));
  // So many at a time, or parts of one, that their product stays in a second-level cache.
  constexpr std::int64_t kBytes = std::int64_t{1} << 18;
  const std::int64_t rows = std::clamp<std::int64_t>(kBytes / row_bytes, 1, all_rows),
                     parts = std::clamp<std::int64_t>(row_bytes / kBytes, 1, row_length),
                     length = ceil_div(row_length, parts);
  // Where nothing is added up twice, threads take blocks of rows of their own.
  const bool tiled = is_tiled(conv.windows);
  const std::int64_t blocks = checked_mul(ceil_div(all_rows, rows), parts),
                     tasks = checked_mul(conv.batch * conv.groups, blocks),
                     shares = tiled && tasks >= op.threads() ? op.threads() : 1;
  const std::int64_t share_floats = rows * m * length;
  op.set_scratch(checked_mul(shares, checked_mul(share_floats, sizeof(float))));
  const auto group_floats =
      static_cast<std::int64_t>((kernels::packed_a_bytes(m, k) + 63) / 64 * 16);
  Tensor packed;
  if (op.is_constant(1)) {
    const std::string key = "conv transpose " +
                            std::string(kernels::name_of(kernels::active_target())) + ' ' +
                            std::to_string(conv.groups);
    packed = op.packed(1, key, [&](const Tensor& weights) {
      Tensor result = Tensor::uninitialized(DType::f32, {checked_mul(conv.groups, group_floats)});
      ThreadPool pool(1);
      for (std::int64_t g = 0; g < conv.groups; ++g) {
        kernels::pack_a(m, k, {weights.values<float>().data() + g * k * m, 1, m, false},
                        static_cast<float*>(result.mutable_data()) + g * group_floats, pool);
      }
      return result;
    });
  }
  return [=](Run& run) {
    const std::int64_t x_plane = conv.x_plane(), y_plane = conv.y_plane();
    const auto* bias = run.in<float>(2);
    if (!tiled) fill_with_bias(conv, bias, run.out<float>(0), run.pool());
    const auto block = [&](std::int64_t task, float* columns) {
      const std::int64_t image = task / blocks, g = image % conv.groups;
      const std::int64_t row = task % blocks / parts * rows, begin = task % parts * length;
      const Part part = {row, std::min(rows, all_rows - row), begin,
                         std::min(length, row_length - begin)};
      if (part.length <= 0) return;
      const kernels::GemmOperand weights =
          packed.has_value()
              ? kernels::GemmOperand{packed.values<float>().data() + g * group_floats, 0, 1, true}
              : kernels::GemmOperand{run.in<float>(1) + g * k * m, 1, m, false};
      const float* x = run.in<float>(0) + image * k * x_plane + row * row_length + begin;
      const std::int64_t n = part.rows * part.length;
      kernels::gemm(m, n, k, weights, {x, x_plane, 1, false}, columns, n, {}, run.pool());
      const auto to_image = tiled ? col2im<Placing::set> : col2im<Placing::add>;
      to_image(conv.windows, columns, conv.group_out(), part,
               bias != nullptr ? bias + g * conv.group_out() : nullptr,
               run.out<float>(0) + image * conv.group_out() * y_plane, run.pool());
    };
    const auto share = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        float* columns = static_cast<float*>(run.scratch()) + i * share_floats;
        for (std::int64_t task = tasks * i / shares; task < tasks * (i + 1) / shares; ++task)
          block(task, columns);
      }
    };
    // Inside of a share there are no other threads.
    if (shares == 1) {
      share(0, 1);
    } else {
      run.pool().parallel_for(shares, 1, share);
    }
  };
}

// One plane of Y, summed in double.
template <class T>
void reference_plane(const Transposed& conv, const T* x, const T* w, double bias, T* y) {
  const WindowAxis& last = conv.windows.back();
  const int lead = static_cast<int>(conv.windows.size()) - 1;
  const std::int64_t x_plane = conv.x_plane(), taps = kernel_size(conv.windows);
  std::vector<double> sums(static_cast<std::size_t>(conv.y_plane()), bias);
  for (std::int64_t at = 0; at < conv.group_in() * x_plane; at += last.out) {
    const std::int64_t c = at / x_plane, row = at % x_plane / last.out;
    const T* filter = w + c * conv.group_out() * taps;
    for_each_tap(conv.windows, lead, output_position(conv.windows, lead, row),
                 [&](std::int64_t y_row, std::int64_t lead_tap) {
                   double* to = sums.data() + y_row * last.in;
                   for (std::int64_t tap = 0; tap < last.kernel; ++tap) {
                     const Taps inside = outputs_inside(last, tap);
                     const std::int64_t shift = tap * last.dilation - last.pad_begin;
                     const double factor = filter[lead_tap * last.kernel + tap];
                     for (std::int64_t o = inside.begin; o < inside.end; ++o) {
                       to[o * last.stride + shift] += factor * x[at + o];
                     }
                   }
                 });
  }
  for (std::size_t i = 0; i < sums.size(); ++i) y[i] = static_cast<T>(sums[i]);
}

template <class T>
void reference_run(const Transposed& conv, Run& run) {
  const std::int64_t x_plane = conv.x_plane(), y_plane = conv.y_plane();
  const std::int64_t taps = kernel_size(conv.windows);
  run.pool().parallel_for(
      conv.batch * conv.out_c, 1 + 20000 / (x_plane * taps * conv.group_in() + 1),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t n = i / conv.out_c, m = i % conv.out_c, g = m / conv.group_out();
          const T* bias = run.in<T>(2);
          const std::int64_t c = g * conv.group_in();
          reference_plane(conv, run.in<T>(0) + (n * conv.in_c + c) * x_plane,
                          run.in<T>(1) + (c * conv.group_out() + m % conv.group_out()) * taps,
                          bias != nullptr ? static_cast<double>(bias[m]) : 0.0,
                          run.out<T>(0) + i * y_plane);
        }
      });
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [conv = transposed_of(op)](Run& run) { reference_run<T>(conv, run); };
  });
  return choice;
}

void declare(Row& row, TypeSet types) {
  using Kind = FormalAttribute::Kind;
  convolution_attributes(row)
      .attr("output_padding", Kind::ints)
      .attr("output_shape", Kind::ints)
      .in("X", types)
      .in("W", like(0))
      .in("B", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(infer)
      .simd_kernel("GEMM and col2im", by_gemm)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(conv_transpose) {
  declare(op("ConvTranspose").since(1, 11), kFloats);
  declare(op("ConvTranspose").since(22), kFloatsBf16);
}
