#include "ops/conv_slices.h"

#include <algorithm>

#include "base/rounding.h"
#include "kernels/conv_f32.h"
#include "kernels/winograd_f32.h"
#include "ops/convolution.h"

namespace mezzo::ops {
namespace {

// Copies planes between a tensor [N, C, depth, plane] and slices [count][C][plane].
struct Planes {
  std::int64_t channels, depth, plane;

  // The plane of image n at slice d.
  std::int64_t at(std::int64_t n, std::int64_t channel, std::int64_t d) const {
    return ((n * channels + channel) * depth + d) * plane;
  }
};

struct Slices {
  Convolution conv;
  kernels::ConvShape shape;  // of so many slices
  bool winograd = false;
  Tensor packed;

  const WindowAxis& depth() const { return conv.windows[0]; }
  Planes x() const { return {conv.in_c, depth().in, shape.in_h * shape.in_w}; }
  Planes y() const { return {conv.out_c, depth().out, shape.out_h * shape.out_w}; }
  std::int64_t x_floats() const { return shape.in_c * x().plane; }  // of a slice
  std::int64_t y_floats() const { return shape.out_c * y().plane; }
};

// Planes that are worth handing to another thread.
std::int64_t grain_of(std::int64_t plane) { return std::max<std::int64_t>(1, (1 << 14) / plane); }

// The planes of x that slices [first, first + count) of y see, [count][C][depth's kernel][plane].
void gather(const Slices& s, const float* x, std::int64_t n, std::int64_t first, std::int64_t count,
            float* to, ThreadPool& pool) {
  const WindowAxis& depth = s.depth();
  const Planes planes = s.x();
  const std::int64_t plane = planes.plane;
  pool.parallel_for(
      count * s.shape.in_c, grain_of(plane), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t tap = i % depth.kernel, channel = i / depth.kernel % planes.channels,
                             d = depth.start(first + i / s.shape.in_c) + tap * depth.dilation;
          if (d < 0 || d >= depth.in) {
            std::fill_n(to + i * plane, plane, 0.0F);
          } else {
            std::copy_n(x + planes.at(n, channel, d), plane, to + i * plane);
          }
        }
      });
}

// copy(plane of a tensor like y, plane of slices) for slices [first, first + count) of image n.
template <class Copy>
void each_plane(const Slices& s, std::int64_t n, std::int64_t first, std::int64_t count,
                ThreadPool& pool, const Copy& copy) {
  const Planes planes = s.y();
  pool.parallel_for(
      count * planes.channels, grain_of(planes.plane), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          copy(planes.at(n, i % planes.channels, first + i / planes.channels), i * planes.plane);
        }
      });
}

// Floats, up to the end of a line of the cache.
std::int64_t to_lines(std::int64_t floats) { return checked_round_up(floats, 16); }

// Slices [begin, end), counted through all images, in working memory of their own.
void run_slices(const Slices& s, const kernels::ConvArgs& given, std::int64_t begin,
                std::int64_t end, float* memory, ThreadPool& pool) {
  float* x = memory;
  float* y = x + to_lines(s.shape.batch * s.x_floats());
  float* own = y + to_lines(s.shape.batch * s.y_floats());
  const std::int64_t plane = s.y().plane, per_image = s.depth().out;
  kernels::ConvArgs args = given;
  args.x = x;
  args.y = y;
  args.add = given.add != nullptr ? y : nullptr;
  kernels::ConvShape shape = s.shape;
  for (; begin < end; begin += shape.batch) {
    const std::int64_t n = begin / per_image, first = begin % per_image;
    shape.batch = std::min({s.shape.batch, end - begin, per_image - first});
    gather(s, given.x, n, first, shape.batch, x, pool);
    if (given.add != nullptr) {
      each_plane(s, n, first, shape.batch, pool, [&](std::int64_t from, std::int64_t to) {
        std::copy_n(given.add + from, plane, y + to);
      });
    }
    if (s.winograd) {
      kernels::winograd_conv(shape, args, pool);
    } else {
      kernels::conv(shape, args, own, pool);
    }
    each_plane(s, n, first, shape.batch, pool, [&](std::int64_t to, std::int64_t from) {
      std::copy_n(y + from, plane, given.y + to);
    });
  }
}

}  // namespace

Choice conv_by_slices(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  Slices s{convolution_of(op, op.in_shape(0)), {}, false, {}};
  if (s.conv.windows.size() != 3) return refuse("not three spatial axes");
  if (s.conv.empty()) return refuse("an empty tensor");
  if (!op.is_constant(1)) return refuse("the weights are computed");
  Convolution image = s.conv;
  image.windows.erase(image.windows.begin());
  image.in_c = checked_mul(image.in_c, s.depth().kernel);
  s.shape = conv_shape(image);
  // Threads take slices of their own, where there are enough, and as many at a time as stay in the
  // second-level cache.
  constexpr std::int64_t kFloats = 1 << 18;
  const std::int64_t floats = checked_add(s.x_floats(), s.y_floats()),
                     slices = checked_mul(s.conv.batch, s.depth().out),
                     shares = slices >= op.threads() ? op.threads() : 1;
  s.shape.batch =
      std::clamp<std::int64_t>(kFloats / floats, 1, std::min(s.depth().out, slices / shares));
  s.winograd = winograd_refusal(s.shape).empty();
  std::int64_t own = 0;
  if (s.winograd) {
    s.packed = packed_winograd_weights(op, s.shape);
  } else {
    s.packed = packed_weights(op, packing_key(s.shape), s.shape,
                              kernels::packed_weights_bytes(s.shape), kernels::pack_weights);
    own = static_cast<std::int64_t>(kernels::scratch_bytes(s.shape));
  }
  const std::int64_t memory = checked_add(to_lines(checked_mul(s.shape.batch, s.x_floats())) +
                                              to_lines(checked_mul(s.shape.batch, s.y_floats())),
                                          to_lines(own / static_cast<std::int64_t>(sizeof(float))));
  op.set_scratch(checked_mul(checked_mul(shares, memory), sizeof(float)));
  const Finish finish = finish_of(s.conv.activation);
  return [s = std::move(s), finish, slices, shares, memory](Run& run) {
    const kernels::ConvArgs args =
        conv_args(run, static_cast<const float*>(s.packed.data()), finish);
    auto* scratch = static_cast<float*>(run.scratch());
    const auto share = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        run_slices(s, args, slices * i / shares, slices * (i + 1) / shares, scratch + i * memory,
                   run.pool());
      }
    };
    // Inside of a share there are no other threads.
    if (shares == 1) {
      share(0, 1);
    } else {
      run.pool().parallel_for(shares, 1, share);
    }
    apply_simd(finish.rest, args.y, slices * s.y_floats(), run.pool());
  };
}

}  // namespace mezzo::ops
