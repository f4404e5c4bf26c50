// Conv (ai.onnx 1, 11, 22) and FusedConv (com.microsoft 1): y = activation(conv(x, w) + b + z).
// The versions of Conv differ in their types only.

#include <algorithm>
#include <string>

#include "base/memory.h"
#include "base/rounding.h"
#include "kernels/conv_f32.h"
#include "kernels/gemm_f32.h"
#include "kernels/target.h"
#include "kernels/winograd_f32.h"
#include "ops/conv_slices.h"
#include "ops/convolution.h"
#include "ops/dispatch.h"
#include "ops/named_activation.h"
#include "ops/op.h"
#include "ops/shapes.h"
#include "ops/window.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  const Convolution conv = convolution_of(op, op.in_shape(0));
  set_result(op, shape_of(conv.batch, conv.out_c, conv.windows));
}

std::int64_t multiply_adds(const Op& op) {
  return multiply_adds_of(convolution_of(op, op.in_shape(0)));
}

// 3x3 convolutions with a quarter of the multiplications.
Choice winograd(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Convolution conv = convolution_of(op, op.in_shape(0));
  if (conv.windows.size() != 2) return refuse("not two spatial axes");
  const kernels::ConvShape shape = conv_shape(conv);
  return winograd_by({kernels::winograd_conv, packed_winograd_weights}, op, conv, shape,
                     winograd_refusal(shape));
}

// Convolutions along one or two axes, by the SIMD kernels.
Choice direct(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Convolution conv = convolution_of(op, op.in_shape(0));
  if (conv.windows.size() > 2) return refuse("more than two spatial axes");
  if (conv.empty()) return refuse("an empty tensor");
  const kernels::ConvShape shape = conv_shape(conv);
  const std::size_t packed_bytes = kernels::packed_weights_bytes(shape);
  Tensor packed;
  if (op.is_constant(1)) {
    packed = packed_weights(op, packing_key(shape), shape, packed_bytes, kernels::pack_weights);
  }
  const std::int64_t own_scratch =
      checked_round_up(static_cast<std::int64_t>(kernels::scratch_bytes(shape)),
                       static_cast<std::int64_t>(kAlignment));
  op.set_scratch(packed.has_value()
                     ? own_scratch
                     : checked_add(own_scratch, static_cast<std::int64_t>(packed_bytes)));
  return [shape, packed, own_scratch, finish = finish_of(conv.activation)](Run& run) {
    const float* weights = static_cast<const float*>(packed.data());
    if (weights == nullptr) {
      auto* own = reinterpret_cast<float*>(static_cast<char*>(run.scratch()) + own_scratch);
      kernels::pack_weights(shape, run.in<float>(1), own, run.pool());
      weights = own;
    }
    kernels::conv(shape, conv_args(run, weights, finish), run.scratch(), run.pool());
    apply_rest(finish, shape, run);
  };
}

// Copies the input elements that output rows [row, row + rows) (along the last axis) meet into
// columns [channel * taps + tap][rows * out_w], zeros for the padding.
void im2col(const Windows& windows, const float* x, std::int64_t channels, std::int64_t row,
            std::int64_t rows, float* columns, ThreadPool& pool) {
  const WindowAxis& last = windows.back();
  const int lead = static_cast<int>(windows.size()) - 1;
  const std::int64_t taps = kernel_size(windows), width = rows * last.out;
  const std::int64_t plane = in_size(windows);
  pool.parallel_for(
      channels * taps, 1 + 32768 / (width + 1), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const float* source = x + i / taps * plane;
          float* target = columns + i * width;
          std::fill(target, target + width, 0.0F);
          const std::int64_t tap = i % taps, lead_tap = tap / last.kernel,
                             last_tap = tap % last.kernel;
          const Taps inside = outputs_inside(last, last_tap);
          const std::int64_t shift = last_tap * last.dilation - last.pad_begin;
          for (std::int64_t r = 0; r < rows; ++r, target += last.out) {
            const std::int64_t in_row =
                input_index(windows, lead, output_position(windows, lead, row + r), lead_tap);
            if (in_row < 0 || inside.begin == inside.end) continue;
            const float* from = source + in_row * last.in;
            if (last.stride == 1) {
              std::copy(from + inside.begin + shift, from + inside.end + shift,
                        target + inside.begin);
              continue;
            }
            for (std::int64_t o = inside.begin; o < inside.end; ++o) {
              target[o] = from[o * last.stride + shift];
            }
          }
        }
      });
}

// Convolutions along any number of axes, as matrix products of the weights and blocks of columns.
Choice by_gemm(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Convolution conv = convolution_of(op, op.in_shape(0));
  if (conv.empty()) return refuse("an empty tensor");
  const std::int64_t k = checked_mul(conv.group_in(), kernel_size(conv.windows));
  const std::int64_t m = conv.group_out(), out_w = conv.windows.back().out;
  const std::int64_t all_rows = out_size(conv.windows) / out_w;
  // A block of columns stays in the second-level cache.
  const std::int64_t row_bytes = checked_mul(checked_mul(k, out_w), sizeof(float));
  const std::int64_t rows =
      std::clamp<std::int64_t>((std::int64_t{1} << 20) / row_bytes, 1, all_rows);
  op.set_scratch(checked_mul(rows, row_bytes));
  Tensor packed;
  const auto group_floats =
      static_cast<std::int64_t>((kernels::packed_a_bytes(m, k) + 63) / 64 * 16);
  if (op.is_constant(1)) {
    const std::string key = "conv gemm " + std::string(kernels::name_of(kernels::active_target())) +
                            ' ' + std::to_string(conv.groups);
    packed = op.packed(1, key, [&](const Tensor& weights) {
      Tensor result = Tensor::uninitialized(DType::f32, {checked_mul(conv.groups, group_floats)});
      ThreadPool pool = packing_pool(op, result.bytes());
      for (std::int64_t g = 0; g < conv.groups; ++g) {
        kernels::pack_a(m, k, {weights.values<float>().data() + g * m * k, k, 1, false},
                        static_cast<float*>(result.mutable_data()) + g * group_floats, pool);
      }
      return result;
    });
  }
  return [conv, k, m, rows, all_rows, out_w, packed, group_floats,
          finish = finish_of(conv.activation)](Run& run) {
    const std::int64_t in_plane = in_size(conv.windows), out_plane = all_rows * out_w;
    auto* columns = static_cast<float*>(run.scratch());
    const float *bias = run.in<float>(2), *add = run.in<float>(3);
    for (std::int64_t image = 0; image < conv.batch * conv.groups; ++image) {
      const std::int64_t g = image % conv.groups;
      const kernels::GemmOperand weights =
          packed.has_value()
              ? kernels::GemmOperand{packed.values<float>().data() + g * group_floats, 0, 1, true}
              : kernels::GemmOperand{run.in<float>(1) + g * m * k, k, 1, false};
      for (std::int64_t row = 0; row < all_rows; row += rows) {
        const std::int64_t count = std::min(rows, all_rows - row), n = count * out_w;
        im2col(conv.windows, run.in<float>(0) + image * conv.group_in() * in_plane, conv.group_in(),
               row, count, columns, run.pool());
        const std::int64_t at = image * m * out_plane + row * out_w;
        kernels::GemmEpilogue epilogue;
        epilogue.row_bias = bias != nullptr ? bias + g * m : nullptr;
        epilogue.add = add != nullptr ? add + at : nullptr;
        epilogue.add_row_stride = out_plane;
        epilogue.min = finish.min;
        epilogue.max = finish.max;
        kernels::gemm(m, n, k, weights, {columns, n, 1, false}, run.out<float>(0) + at, out_plane,
                      epilogue, run.pool());
      }
    }
    apply_simd(finish.rest, run.out<float>(0), conv.batch * conv.out_c * out_plane, run.pool());
  };
}

// One plane of the result, summed in double.
template <class T>
void reference_plane(const Convolution& conv, const T* x, const T* w, double bias, const T* z,
                     T* y) {
  const WindowAxis& last = conv.windows.back();
  const int lead = static_cast<int>(conv.windows.size()) - 1;
  const std::int64_t rows = out_size(conv.windows) / last.out, in_plane = in_size(conv.windows);
  const std::int64_t taps = kernel_size(conv.windows);
  std::vector<double> sums(static_cast<std::size_t>(last.out));
  for (std::int64_t row = 0; row < rows; ++row) {
    std::fill(sums.begin(), sums.end(), bias);
    const Position position = output_position(conv.windows, lead, row);
    for (std::int64_t c = 0; c < conv.group_in(); ++c) {
      for_each_tap(conv.windows, lead, position, [&](std::int64_t in_row, std::int64_t lead_tap) {
        const T* from = x + c * in_plane + in_row * last.in;
        const T* factors = w + c * taps + lead_tap * last.kernel;
        for (std::int64_t tap = 0; tap < last.kernel; ++tap) {
          const Taps inside = outputs_inside(last, tap);
          const std::int64_t shift = tap * last.dilation - last.pad_begin;
          const double factor = factors[tap];
          for (std::int64_t o = inside.begin; o < inside.end; ++o) {
            sums[static_cast<std::size_t>(o)] += factor * from[o * last.stride + shift];
          }
        }
      });
    }
    for (std::int64_t o = 0; o < last.out; ++o) {
      const std::int64_t at = row * last.out + o;
      const double sum = sums[static_cast<std::size_t>(o)] + (z != nullptr ? z[at] : 0.0);
      y[at] = static_cast<T>(evaluate(conv.activation, sum));
    }
  }
}

template <class T>
void reference_run(const Convolution& conv, Run& run) {
  const std::int64_t out_plane = out_size(conv.windows);
  if (out_plane == 0) return;
  const std::int64_t filter = conv.group_in() * kernel_size(conv.windows);
  const std::int64_t image = conv.group_in() * in_size(conv.windows);
  run.pool().parallel_for(
      conv.batch * conv.out_c, 1 + 20000 / (out_plane * filter + 1),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t n = i / conv.out_c, m = i % conv.out_c, g = m / conv.group_out();
          const T *bias = run.in<T>(2), *z = run.in<T>(3);
          reference_plane(
              conv, run.in<T>(0) + (n * conv.groups + g) * image, run.in<T>(1) + m * filter,
              bias != nullptr ? static_cast<double>(bias[m]) : 0.0,
              z != nullptr ? z + i * out_plane : nullptr, run.out<T>(0) + i * out_plane);
        }
      });
}

Choice reference(Op& op) {
  Choice choice = refuse("not float32 or float64");
  with_type(FloatTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = [conv = convolution_of(op, op.in_shape(0))](Run& run) { reference_run<T>(conv, run); };
  });
  return choice;
}

void declare(Row& row, TypeSet types) {
  convolution_attributes(row)
      .in("X", types)
      .in("W", like(0))
      .in("B", like(0), Arity::optional)
      .out("Y", like(0))
      .infer(infer)
      .batched({0})
      .simd_kernel("Winograd", winograd)
      .simd_kernel("direct", direct)
      .simd_kernel("slices", conv_by_slices)
      .simd_kernel("im2col and GEMM", by_gemm)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(conv) {
  declare(op("Conv").since(1, 11), kFloats);
  declare(op("Conv").since(22), kFloatsBf16);
  Row& fused = op("FusedConv", "com.microsoft").since(1);
  declare(fused, kFloats);
  fused.in_place(3)
      .batched({0, 3})
      .in("Z", like(0), Arity::optional)
      .attr("activation", FormalAttribute::Kind::string)
      .attr("activation_params", FormalAttribute::Kind::floats);
}
