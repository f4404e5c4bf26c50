#include "ops/integer_conv.h"

#include <algorithm>
#include <string>

#include "base/rounding.h"
#include "kernels/tap_sums_i8.h"
#include "ops/im2col.h"
#include "ops/integer_product.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

std::int64_t to_lines(std::int64_t bytes) { return checked_round_up(bytes, 64); }

bool is_empty(const IntegerConv& conv) { return element_count(conv.shape()) == 0; }

// Shares `tasks` out to at most `slots` threads, each with its own part of the scratch memory:
// body(task, slot).
template <class Body>
void for_each_task(std::int64_t tasks, std::int64_t slots, ThreadPool& pool, const Body& body) {
  pool.parallel_for(slots, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = begin; slot < end; ++slot) {
      for (std::int64_t task = slot; task < tasks; task += slots) body(task, slot);
    }
  });
}

// One channel's input as differences from the zero point, padded, with the columns that one tap
// meets made contiguous: [row][column % stride][column / stride]. What each output row then needs
// is a sum of scaled rows.
struct PaddedPlane {
  std::int64_t rows, columns, phases, phase_size;

  PaddedPlane(const WindowAxis& h, const WindowAxis& w)
      : rows((h.out - 1) * h.stride + h.extent()),
        columns((w.out - 1) * w.stride + w.extent()),
        phases(w.out > 1 ? w.stride : 1),
        phase_size((columns + phases - 1) / phases) {}

  std::int64_t row_size() const { return phases * phase_size; }
  std::int64_t at(std::int64_t row, std::int64_t column) const {
    return row * row_size() + column % phases * phase_size + column / phases;
  }

  // The bytes at x, a channel's input, less their zero point; zeros around it.
  void fill(const WindowAxis& h, const WindowAxis& w, const std::uint8_t* x, bool is_signed,
            int zero_point, float* plane) const {
    std::fill_n(plane, rows * row_size(), 0.0F);
    const std::int64_t first_row = std::max<std::int64_t>(0, h.pad_begin);
    const std::int64_t last_row = std::min(rows, h.in + h.pad_begin);
    kernels::SpreadRows spread;
    spread.is_signed = is_signed;
    spread.zero_point = zero_point;
    spread.rows = std::max<std::int64_t>(0, last_row - first_row);
    spread.x_step = w.in;
    // In the padded plane.
    spread.first = std::max<std::int64_t>(0, w.pad_begin);
    spread.columns =
        std::max<std::int64_t>(0, std::min(columns, w.in + w.pad_begin) - spread.first);
    spread.phases = phases;
    spread.phase_size = phase_size;
    kernels::spread_rows(spread, x + (first_row - h.pad_begin) * w.in + spread.first - w.pad_begin,
                         plane + first_row * row_size());
  }
};

// Widened weights, less their zero points: [out_channels][taps].
std::vector<float> centred_weights(Run& run, const IntegerConv& conv) {
  const std::vector<std::int32_t> zero_points = ints_of(run, conv.inputs.w_zero_point);
  const std::int64_t terms = conv.terms();
  std::vector<float> weights(static_cast<std::size_t>(conv.out_channels * terms));
  with_quantized8(run.op().in(conv.inputs.w).dtype, [&](auto zero) {
    const auto* w = run.in<decltype(zero)>(conv.inputs.w);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::size_t channel = i / static_cast<std::size_t>(terms);
      weights[i] = static_cast<float>(w[i] - zero_point_at(zero_points, channel));
    }
  });
  return weights;
}

// The weights of a group as they are in the file, [m, k].
kernels::GemmI8Operand weights_of(const IntegerConv& conv, DType dtype, const void* weights,
                                  const std::vector<std::int32_t>& zero_points,
                                  std::int64_t group) {
  const std::int64_t m = conv.group_out(), k = conv.terms();
  kernels::GemmI8Operand a;
  a.data = static_cast<const char*>(weights) + group * m * k;
  a.is_signed = dtype == DType::i8;
  a.row_stride = k;
  if (zero_points.size() == 1) a.zero_point = zero_points[0];
  if (zero_points.size() > 1) a.zero_points = zero_points.data() + group * m;
  return a;
}

// The weights packed ahead, group by group.
Tensor packed_weights(const Op& op, const IntegerConv& conv) {
  const std::int64_t m = conv.group_out(), k = conv.terms(), groups = conv.groups;
  const std::string key =
      "gemm i8 a, " + std::to_string(groups) + "x" + std::to_string(m) + "x" + std::to_string(k);
  const auto pack = [&](const Tensor& w, const std::vector<std::int32_t>& zero_points,
                        ThreadPool& pool) {
    const auto bytes = static_cast<std::int64_t>(kernels::packed_a_i8_bytes(m, k));
    Tensor packed = packed_memory(static_cast<std::size_t>(checked_mul(groups, bytes)));
    auto* to = static_cast<char*>(packed.mutable_data());
    for (std::int64_t group = 0; group < groups; ++group, to += bytes)
      kernels::pack_a_i8(m, k, weights_of(conv, w.dtype(), w.data(), zero_points, group), to, pool);
    return packed;
  };
  return packed_factor(op, conv.inputs.w, conv.inputs.w_zero_point, key, pack);
}

}  // namespace

std::int64_t IntegerConv::multiply_adds() const {
  return checked_mul(checked_mul(batch, out_channels), checked_mul(out_size(windows), terms()));
}

IntegerConv integer_conv_of(const Op& op, const IntegerConvInputs& inputs) {
  return integer_conv_of(op, inputs, op.in_shape(inputs.x));
}

IntegerConv integer_conv_of(const Op& op, const IntegerConvInputs& inputs, const Shape& x) {
  const Shape& w = op.in_shape(inputs.w);
  const std::int64_t groups = op.attr_int("group");
  if (w.size() != x.size() || x.size() < 3 || groups < 1 || w[0] % groups != 0 ||
      x[1] % groups != 0 || w[1] != x[1] / groups) {
    throw invalid("the weights do not fit the input")
        .expected("[M, C / group, k1, ...] for x [N, C, D1, ...], group dividing C and M")
        .got("w " + to_string(w) + ", x " + to_string(x) + ", group " + std::to_string(groups));
  }
  const std::vector<std::int64_t> kernel(w.begin() + 2, w.end());
  const auto declared = op.attr_ints("kernel_shape");
  if (!declared.empty() && declared != kernel) {
    throw invalid("kernel_shape is not that of the weights")
        .expected(to_string(kernel))
        .got(to_string(declared));
  }
  require_scalar(op, inputs.x_zero_point);
  require_scalar_or_vector(op, inputs.w_zero_point, w[0]);
  if (inputs.bias >= 0 && op.has_in(inputs.bias) && op.in_shape(inputs.bias) != Shape{w[0]}) {
    throw invalid("the bias does not fit the weights")
        .expected("[" + std::to_string(w[0]) + "]")
        .got(to_string(op.in_shape(inputs.bias)));
  }
  return {inputs, x[0], x[1], w[0], groups, windows_of(op, x, kernel, false)};
}

Choice depthwise_conv(Op& op, const IntegerConvInputs& inputs, MakeTakeSums finish) {
  const IntegerConv conv = integer_conv_of(op, inputs);
  if (conv.group_in() != 1) return refuse("more than one input channel in a group");
  if (conv.windows.size() > 2) return refuse("more than two spatial axes");
  // Up to that, sums of products of 9-bit numbers are exact in float32.
  if (conv.terms() > 256) return refuse("more than 256 weights in a channel");
  if (is_empty(conv)) return Kernel([](Run&) {});
  const WindowAxis h = conv.windows.size() == 2 ? conv.windows[0] : WindowAxis{};
  const WindowAxis w = conv.windows.back();
  const PaddedPlane plane(h, w);
  std::vector<std::int64_t> offsets;
  for (std::int64_t tap = 0; tap < conv.terms(); ++tap) {
    offsets.push_back(plane.at(tap / w.kernel * h.dilation, tap % w.kernel * w.dilation));
  }
  const std::int64_t out_plane = h.out * w.out;
  const std::int64_t plane_bytes =
      to_lines(checked_mul(checked_mul(plane.rows, plane.row_size()), 4));
  const std::int64_t slot_bytes = checked_add(plane_bytes, to_lines(checked_mul(out_plane, 4)));
  const std::int64_t tasks = conv.batch * conv.out_channels;
  const std::int64_t slots = std::min<std::int64_t>(op.threads(), tasks);
  op.set_scratch(checked_mul(slots, slot_bytes));
  return Kernel([=, offsets = std::move(offsets), finish = std::move(finish)](Run& run) {
    const TakeSums take = finish(run);
    const std::vector<float> weights = centred_weights(run, conv);
    const int zero_point = zero_point_of(run, inputs.x_zero_point);
    auto* scratch = static_cast<char*>(run.scratch());
    for_each_task(tasks, slots, run.pool(), [&](std::int64_t task, std::int64_t slot) {
      const std::int64_t channel = task % conv.out_channels;
      const std::int64_t in_channel =
          task / conv.out_channels * conv.in_channels + channel / conv.group_out();
      auto* data = reinterpret_cast<float*>(scratch + slot * slot_bytes);
      auto* sums = reinterpret_cast<std::int32_t*>(scratch + slot * slot_bytes + plane_bytes);
      plane.fill(h, w, run.in<std::uint8_t>(inputs.x) + in_channel * h.in * w.in,
                 run.op().in(inputs.x).dtype == DType::i8, zero_point, data);
      kernels::TapSums taps{h.out, w.out, h.stride * plane.row_size(), conv.terms(),
                            offsets.data()};
      taps.weights = weights.data() + channel * conv.terms();
      kernels::sum_taps(taps, data, sums);
      take(channel, sums, out_plane, task * out_plane);
    });
  });
}

Choice product_conv(Op& op, const IntegerConvInputs& inputs, MakeTakeSums finish, bool simd) {
  const IntegerConv conv = integer_conv_of(op, inputs);
  if (is_empty(conv)) return Kernel([](Run&) {});
  const std::int64_t k = conv.terms(), m = conv.group_out(), n = out_size(conv.windows);
  const bool needs_columns =
      std::any_of(conv.windows.begin(), conv.windows.end(), [](const WindowAxis& axis) {
        return axis.kernel != 1 || axis.stride != 1 || axis.in != axis.out;
      });
  // Blocks of output positions whose columns and sums stay in the second-level cache, and as many
  // for each thread, where there are enough.
  constexpr std::int64_t kColumnBytes = 256 << 10, kSumBytes = 512 << 10, kLeast = 32;
  const std::int64_t fitting =
      std::max(kLeast, std::min(kColumnBytes / std::max<std::int64_t>(k, 1), kSumBytes / (4 * m)));
  std::int64_t blocks = ceil_div(n, fitting);
  if (conv.batch * conv.groups < op.threads() && n >= kLeast * op.threads())
    blocks = round_up(blocks, op.threads());
  const std::int64_t block = std::min(n, round_up(ceil_div(n, blocks), kLeast));
  blocks = ceil_div(n, block);
  const std::int64_t column_bytes = needs_columns ? to_lines(checked_mul(k, block)) : 0;
  const std::int64_t slot_bytes =
      checked_add(column_bytes, to_lines(checked_mul(checked_mul(m, block), 4)));
  const std::int64_t tasks = checked_mul(conv.batch * conv.groups, blocks);
  // With fewer tasks than threads, the threads share each task instead.
  const std::int64_t slots = tasks >= op.threads() ? op.threads() : 1;
  op.set_scratch(checked_mul(slots, slot_bytes));
  const Tensor packed = simd ? packed_weights(op, conv) : Tensor();
  return Kernel([=, finish = std::move(finish)](Run& run) {
    const TakeSums take = finish(run);
    const std::vector<std::int32_t> w_zero_points = ints_of(run, inputs.w_zero_point);
    const int x_zero_point = zero_point_of(run, inputs.x_zero_point);
    const auto* x = run.in<std::uint8_t>(inputs.x);
    const std::int64_t plane = in_size(conv.windows);
    auto* scratch = static_cast<char*>(run.scratch());
    for_each_task(tasks, slots, run.pool(), [&](std::int64_t task, std::int64_t slot) {
      const std::int64_t first = task % blocks * block, count = std::min(block, n - first);
      const std::int64_t image = task / blocks / conv.groups, group = task / blocks % conv.groups;
      const std::uint8_t* source = x + (image * conv.in_channels + group * conv.group_in()) * plane;
      const kernels::GemmI8Operand a =
          packed.has_value() ? packed_operand(static_cast<const char*>(packed.data()) +
                                              group * (packed.size() / conv.groups))
                             : weights_of(conv, run.op().in(inputs.w).dtype, run.in_data(inputs.w),
                                          w_zero_points, group);
      kernels::GemmI8Operand b{source + first, run.op().in(inputs.x).dtype == DType::i8, plane, 1};
      b.zero_point = x_zero_point;
      if (needs_columns) {
        auto* columns = reinterpret_cast<std::uint8_t*>(scratch + slot * slot_bytes);
        im2col(conv.windows, source, conv.group_in(), first, count,
               static_cast<std::uint8_t>(x_zero_point), columns, run.pool());
        b.data = columns;
        b.row_stride = count;
      }
      auto* sums = reinterpret_cast<std::int32_t*>(scratch + slot * slot_bytes + column_bytes);
      multiply_i8(m, count, k, a, b, sums, count, run.pool(), simd);
      run.pool().parallel_for(m, 1 + 65536 / count, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t channel = group * m + i;
          take(channel, sums + i * count, count, (image * conv.out_channels + channel) * n + first);
        }
      });
    });
  });
}

}  // namespace mezzo::ops
