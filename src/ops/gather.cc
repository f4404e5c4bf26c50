// Gather, GatherElements, GatherND. Spec: Gather-1, -11, -13; GatherElements-11, -13; GatherND-11,
// -12 (batch_dims), -13. Negative indices count from the end in all of them.

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

// Calls fn(pointer) with input `i`, an index tensor, as what it is.
template <class Fn>
void with_indices(const Run& run, int i, Fn&& fn) {
  if (run.op().in(i).dtype == DType::i32) return fn(run.in<std::int32_t>(i));
  fn(run.in<std::int64_t>(i));
}

int axis_of(const Op& op) { return normalize_axis(op.attr_int("axis"), op.in_rank(0)); }

void infer_gather(Op& op) {
  require_rank(op, 0, 1);
  const Shape& data = op.in_shape(0);
  const Shape& indices = op.in_shape(1);
  const int axis = axis_of(op);
  Shape out(data.begin(), data.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + axis + 1, data.end());
  op.set_out(0, op.in(0).dtype, std::move(out));
}

// Output [outer, indices, inner] from data [outer, extent, inner].
Choice gather(Op& op) {
  const Shape& shape = op.in_shape(0);
  const int axis = axis_of(op);
  const DType dtype = op.in(0).dtype;
  const std::int64_t extent = shape[static_cast<std::size_t>(axis)];
  const std::int64_t inner = product(shape, axis + 1, op.in_rank(0));
  const std::int64_t count = product(op.in_shape(1));
  const std::int64_t runs = inner == 0 ? 0 : product(op.out_shape(0)) / inner;
  return [=](Run& run) {
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      with_indices(run, 1, [&](const auto* indices) {
        const Element* data = run.in<Element>(0);
        Element* out = run.out<Element>(0);
        run.pool().parallel_for(
            runs, runs_per_task(dtype, inner), [&](std::int64_t begin, std::int64_t end) {
              std::int64_t outer = begin / count, k = begin % count;
              for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t from = outer * extent + checked_index(indices[k], extent);
                if (inner == 1) {
                  out[i] = data[from];
                } else {
                  copy_run(data + from * inner, out + i * inner, inner);
                }
                if (++k == count) k = 0, ++outer;
              }
            });
      });
    });
  };
}

void infer_gather_elements(Op& op) {
  require_rank(op, 0, 1);
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const Shape& data = op.in_shape(0);
  const Shape& indices = op.in_shape(1);
  bool fits = data.size() == indices.size();
  for (std::size_t a = 0; fits && a < data.size(); ++a) fits = a == axis || indices[a] <= data[a];
  if (!fits) {
    throw invalid("GatherElements' indices do not fit the data")
        .expected("extents of at most " + to_string(data) + " but for axis " + std::to_string(axis))
        .got(to_string(indices));
  }
  op.set_out(0, op.in(0).dtype, indices);
}

// to[j] = from[j * column_stride + indices[j] * axis_stride] for j < n. By value: elements that are
// written must not be what is read here.
template <class Element, class Index>
void gather_row(const Element* from, std::int64_t column_stride, std::int64_t axis_stride,
                std::int64_t extent, const Index* indices, std::int64_t n, Element* to) {
  if (column_stride == 0 && axis_stride == 1) {
    for (std::int64_t j = 0; j < n; ++j) to[j] = from[checked_index(indices[j], extent)];
    return;
  }
  for (std::int64_t j = 0; j < n; ++j, from += column_stride)
    to[j] = from[checked_index(indices[j], extent) * axis_stride];
}

// Goes through the rows (last axis) of the indices.
Choice gather_elements(Op& op) {
  const Shape& indices_shape = op.in_shape(1);
  const auto axis = static_cast<std::size_t>(axis_of(op));
  const std::size_t last = indices_shape.size() - 1;
  const std::int64_t width = indices_shape[last];
  const std::int64_t rows = product(indices_shape, 0, static_cast<int>(last));
  const std::int64_t extent = op.in_shape(0)[axis];
  const DType dtype = op.in(0).dtype;
  const std::vector<std::int64_t> strides = strides_of(op.in_shape(0));
  const std::int64_t axis_stride = strides[axis];
  const std::int64_t column_stride = axis == last ? 0 : 1;
  return [=](Run& run) {
    if (width == 0) return;
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      with_indices(run, 1, [&](const auto* indices) {
        const Element* data = run.in<Element>(0);
        Element* out = run.out<Element>(0);
        run.pool().parallel_for(rows, runs_per_task(dtype, width * 8),
                                [&](std::int64_t begin, std::int64_t end) {
                                  for (std::int64_t row = begin; row < end; ++row) {
                                    std::int64_t base = 0, rest = row;
                                    for (std::size_t a = last; a-- > 0;) {
                                      if (a != axis) base += rest % indices_shape[a] * strides[a];
                                      rest /= indices_shape[a];
                                    }
                                    gather_row(data + base, column_stride, axis_stride, extent,
                                               indices + row * width, width, out + row * width);
                                  }
                                });
      });
    });
  };
}

std::int64_t batch_dims_of(const Op& op) {
  return op.opset() >= 12 ? op.attr_int("batch_dims") : 0;
}

void infer_gather_nd(Op& op) {
  require_rank(op, 0, 1);
  require_rank(op, 1, 1);
  const Shape& data = op.in_shape(0);
  const Shape& indices = op.in_shape(1);
  const std::int64_t batch_dims = batch_dims_of(op);
  const auto least = static_cast<std::int64_t>(std::min(data.size(), indices.size()));
  if (batch_dims < 0 || batch_dims >= least) {
    throw invalid("batch_dims is out of range")
        .expected("0 to " + std::to_string(least - 1))
        .got(std::to_string(batch_dims));
  }
  const auto batch = static_cast<std::size_t>(batch_dims);
  for (std::size_t a = 0; a < batch; ++a) {
    if (data[a] != indices[a]) {
      throw invalid("GatherND's batch extents differ")
          .expected(to_string(data))
          .got(to_string(indices));
    }
  }
  const std::int64_t depth = indices.back();
  if (depth < 1 || depth > static_cast<std::int64_t>(data.size()) - batch_dims) {
    throw invalid("GatherND's index tuples have a wrong length")
        .expected("1 to " + std::to_string(static_cast<std::int64_t>(data.size()) - batch_dims))
        .got(std::to_string(depth));
  }
  Shape out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + batch_dims + depth, data.end());
  op.set_out(0, op.in(0).dtype, std::move(out));
}

Choice gather_nd(Op& op) {
  const Shape& shape = op.in_shape(0);
  const Shape& indices_shape = op.in_shape(1);
  const int batch = static_cast<int>(batch_dims_of(op));
  const auto depth = static_cast<std::size_t>(indices_shape.back());
  const DType dtype = op.in(0).dtype;
  const int looked_up_end = batch + static_cast<int>(depth);
  const std::int64_t inner = product(shape, looked_up_end, op.in_rank(0));
  const std::int64_t batch_size = product(shape, batch, op.in_rank(0));
  const std::int64_t tuples =
      product(indices_shape, batch, static_cast<int>(indices_shape.size()) - 1);
  const std::int64_t runs = product(indices_shape, 0, static_cast<int>(indices_shape.size()) - 1);
  const Shape extents(shape.begin() + batch, shape.begin() + looked_up_end);
  return [=](Run& run) {
    if (inner == 0) return;
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      const Element* data = run.in<Element>(0);
      const auto* indices = run.in<std::int64_t>(1);
      Element* out = run.out<Element>(0);
      run.pool().parallel_for(
          runs, runs_per_task(dtype, inner), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
              const std::int64_t* tuple = indices + i * static_cast<std::int64_t>(depth);
              std::int64_t from = 0;
              for (std::size_t a = 0; a < depth; ++a) {
                from = from * extents[a] + checked_index(tuple[a], extents[a]);
              }
              copy_run(data + i / tuples * batch_size + from * inner, out + i * inner, inner);
            }
          });
    });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(gather) {
  op("Gather")
      .since(1, 11, 13)
      .attr("axis", 0)
      .in("data", kAllWithBf16)
      .in("indices", kIndices)
      .out("output", like(0))
      .infer(infer_gather)
      .kernel_by_size(gather);
  op("GatherElements")
      .since(11, 13)
      .attr("axis", 0)
      .in("data", kAllWithBf16)
      .in("indices", kIndices)
      .out("output", like(0))
      .infer(infer_gather_elements)
      .kernel_by_size(gather_elements);
  op("GatherND")
      .since(11)
      .in("data", kAllNoBf16)
      .in("indices", DType::i64)
      .out("output", like(0))
      .infer(infer_gather_nd)
      .kernel_by_size(gather_nd);
  op("GatherND")
      .since(12, 13)
      .attr("batch_dims", 0)
      .in("data", kAllWithBf16)
      .in("indices", DType::i64)
      .out("output", like(0))
      .infer(infer_gather_nd)
      .kernel_by_size(gather_nd);
}
