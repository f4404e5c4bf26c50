// BlockedMaxPool, BlockedAveragePool, BlockedGlobalAveragePool, BlockedSlice, BlockedNearest
// (mezzo 1): what is done to images in the blocked layout besides convolving them.

#include "ops/blocked_image.h"

#include <algorithm>
#include <string>

#include "kernels/pool_i8.h"
#include "ops/blocked.h"
#include "ops/element_runs.h"
#include "ops/pooling.h"
#include "ops/quantization.h"

namespace mezzo::ops {
namespace {

// Floats that are worth handing to another thread.
constexpr std::int64_t kCopyGrain = 1 << 14;

// What a pool sees: [N, C, H, W], or [N, C, L] where its windows have one axis.
Shape pooled_shape(const Op& op) {
  return plain_shape(op.in_shape(0),
                     static_cast<std::int64_t>(op.attr_ints("kernel_shape").size()));
}

void infer_pool(Op& op) {
  const Shape x = pooled_shape(op);
  op.set_out(0, op.in(0).dtype, blocked_shape(shape_of(x[0], x[1], windows_of(op, x, {}, false))));
}

std::optional<RowWindow> rows_of_pool(const Op& op) {
  return row_window(windows_of(op, pooled_shape(op), {}, false));
}

// By pool(batch, shape, run), where shape is the band's.
template <class Pool>
Choice blocked_pool(const Op& op, const Pool& pool) {
  const Shape x = pooled_shape(op);
  if (element_count(x) == 0 || element_count(op.out_shape(0)) == 0) {
    return refuse("an empty tensor");
  }
  const kernels::PoolShape shape =
      banded_shape(op, pool_shape(x[0] * x[1] / kBlock, windows_of(op, x, {}, false)));
  return [batch = x[0], shape, pool](Run& run) { pool(batch, shape, run); };
}

Choice blocked_max(Op& op) {
  if (const DType dtype = op.in(0).dtype; dtype != DType::f32) {
    return blocked_pool(op, [is_signed = dtype == DType::i8](
                                std::int64_t, const kernels::PoolShape& shape, Run& run) {
      kernels::max_pool_i8(shape, kBlock, is_signed, run.in<std::uint8_t>(0),
                           run.out<std::uint8_t>(0), run.pool());
    });
  }
  return blocked_pool(op, [](std::int64_t batch, const kernels::PoolShape& shape, Run& run) {
    kernels::blocked_max_pool(batch, shape, run.in<float>(0), run.out<float>(0), run.pool());
  });
}

Choice blocked_average(Op& op) {
  const Windows windows = windows_of(op, pooled_shape(op), {}, false);
  const std::int64_t first_row = op.band() ? op.band()->begin : 0;
  return blocked_pool(op, [shares = window_shares_of(op, windows), first_row](
                              std::int64_t batch, const kernels::PoolShape& shape, Run& run) {
    kernels::blocked_average_pool(batch, shape, shares.rows.data() + first_row, shares.cols.data(),
                                  run.in<float>(0), run.out<float>(0), run.pool());
  });
}

void infer_mean(Op& op) {
  const Shape x = plain_shape(op.in_shape(0));
  Shape y = {x[0], x[1]};
  y.resize(static_cast<std::size_t>(2 + op.attr_int("axes")), 1);
  op.set_out(0, op.in(0).dtype, y);
}

Choice blocked_mean(Op& op) {
  const Shape x = plain_shape(op.in_shape(0));
  if (element_count(x) == 0) return refuse("an empty tensor");
  return [planes = x[0] * x[1] / kBlock, pixels = x[2] * x[3]](Run& run) {
    kernels::blocked_mean(planes, pixels, run.in<float>(0), run.out<float>(0), run.pool());
  };
}

// Some of the channels.
void infer_slice(Op& op) {
  Shape x = op.in_shape(0);
  plain_shape(x);
  const std::int64_t begin = op.attr_int("begin"), blocks = op.attr_int("blocks");
  if (begin < 0 || blocks < 0 || blocks > x[1] || begin > x[1] - blocks) {
    throw invalid("the blocks are not all there")
        .expected("at most " + std::to_string(x[1]))
        .got(std::to_string(blocks) + " from " + std::to_string(begin) + " on");
  }
  x[1] = blocks;
  op.set_out(0, op.in(0).dtype, x);
}

Choice blocked_slice(Op& op) {
  const Shape& y = op.out_shape(0);
  const std::int64_t first = op.attr_int("begin"), blocks = y[1], x_blocks = op.in_shape(0)[1],
                     planes = y[0] * blocks;
  return [=, runs = PlaneRuns(op)](Run& run) {
    const std::int64_t grain = std::max<std::int64_t>(1, kCopyGrain / std::max(kBlock, runs.n));
    run.pool().parallel_for(planes, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t from = i / blocks * x_blocks + first + i % blocks;
        std::copy_n(run.in<float>(0) + from * runs.x_step, runs.n,
                    run.out<float>(0) + i * runs.y_step);
      }
    });
  };
}

// Rows and columns of other rows and columns.
void infer_nearest(Op& op) {
  Shape y = op.in_shape(0);
  plain_shape(y);
  const auto check = [&](const char* name, std::size_t axis) {
    const std::vector<std::int64_t> indices = op.attr_ints(name);
    for (const std::int64_t index : indices) {
      if (index >= 0 && index < y[axis]) continue;
      throw invalid("an index is outside of the image")
          .at(name)
          .expected("0 to " + std::to_string(y[axis] - 1))
          .got(std::to_string(index));
    }
    y[axis] = static_cast<std::int64_t>(indices.size());
  };
  check("rows", 2);
  check("columns", 3);
  op.set_out(0, op.in(0).dtype, y);
}

Choice blocked_nearest(Op& op) {
  const Shape &x = op.in_shape(0), &y = op.out_shape(0);
  if (element_count(y) == 0) return refuse("an empty tensor");
  return [planes = y[0] * y[1], x_row = x[3] * kBlock, x_rows = x[2], y_row = y[3] * kBlock,
          rows = op.attr_ints("rows"), columns = op.attr_ints("columns")](Run& run) {
    const auto floats = static_cast<std::int64_t>(rows.size()) * y_row;
    const std::int64_t grain = std::max<std::int64_t>(1, kCopyGrain / floats);
    run.pool().parallel_for(planes, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t plane = begin; plane < end; ++plane) {
        float* to = run.out<float>(0) + plane * floats;
        for (std::size_t r = 0; r < rows.size(); ++r, to += y_row) {
          if (r > 0 && rows[r] == rows[r - 1]) {
            std::copy_n(to - y_row, y_row, to);
            continue;
          }
          const float* from = run.in<float>(0) + (plane * x_rows + rows[r]) * x_row;
          for (std::size_t c = 0; c < columns.size(); ++c)
            std::copy_n(from + columns[c] * kBlock, kBlock, to + c * kBlock);
        }
      }
    });
  };
}

Row& declare_pool(Row& row, TypeSet types) {
  using Kind = FormalAttribute::Kind;
  return row.since(1)
      .attr("auto_pad", "NOTSET")
      .attr("ceil_mode", 0)
      .attr("dilations", Kind::ints)
      .attr("kernel_shape", Kind::ints)
      .attr("pads", Kind::ints)
      .attr("strides", Kind::ints)
      .in("X", types)
      .out("Y", like(0))
      .infer(infer_pool)
      .batched({0})
      .banded(rows_of_pool);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(blocked_image) {
  constexpr const char* kDomain = "mezzo";
  using Kind = FormalAttribute::Kind;
  declare_pool(op("BlockedMaxPool", kDomain), kQuantized8 | DType::f32)
      .attr("storage_order", 0)
      .simd_kernel("blocked", blocked_max);
  declare_pool(op("BlockedAveragePool", kDomain), DType::f32)
      .attr("count_include_pad", 0)
      .simd_kernel("blocked", blocked_average);
  op("BlockedGlobalAveragePool", kDomain)
      .since(1)
      .attr("axes", 2)  // of Y: [N, C, 1, 1], or with 1, of an image of one row, [N, C, 1]
      .in("X", DType::f32)
      .out("Y", like(0))
      .infer(infer_mean)
      .batched({0})
      .simd_kernel("blocked", blocked_mean);
  op("BlockedSlice", kDomain)
      .since(1)
      .attr("begin", 0)
      .attr("blocks", 0)
      .in("X", DType::f32)
      .out("Y", like(0))
      .infer(infer_slice)
      .batched({0})
      .banded(rows_of_image)
      .simd_kernel("blocked", blocked_slice);
  op("BlockedNearest", kDomain)
      .since(1)
      .attr("rows", Kind::ints)
      .attr("columns", Kind::ints)
      .in("X", DType::f32)
      .out("Y", like(0))
      .infer(infer_nearest)
      .batched({0})
      .simd_kernel("blocked", blocked_nearest);
}
