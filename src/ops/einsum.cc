// Einsum. Spec: ai.onnx Einsum-12, -28 (bfloat16).
//
// Operands are multiplied from left to right, two at a time. Of the indices of two factors, those
// in both that are still needed make a batch; those in both that are needed no more are summed, as
// the inner extent of a matrix product; those in one only are its rows and columns. Indices that
// are in one factor and nowhere else are summed before.
#include <algorithm>

#include "base/shape.h"
#include "ops/axis_split.h"
#include "ops/einsum_equation.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

EinsumEquation equation_of(const Op& op) {
  std::vector<Shape> shapes;
  for (int i = 0; i < op.inputs(); ++i) {
    if (!op.has_in(i)) throw invalid("an input is missing").at("input " + std::to_string(i));
    shapes.push_back(op.in_shape(i));
  }
  return read_einsum(op.attr_string("equation"), shapes);
}

void infer(Op& op) { op.set_out(0, op.in(0).dtype, equation_of(op).output_shape()); }

using Indices = std::vector<int>;

bool contains(const Indices& indices, int index) {
  return std::find(indices.begin(), indices.end(), index) != indices.end();
}

// A tensor whose axes run over indices: the element at x lies at sum(strides[i] * x[i]).
template <class T>
struct Factor {
  const T* data = nullptr;
  Indices indices;                    // each once
  std::vector<std::int64_t> strides;  // by index number; 0 for those it does not have
  Tensor memory;                      // of an intermediate result
};

// What is needed of the numbering: extents, and walks over some of the indices.
struct Space {
  Shape extents;

  std::int64_t extent(int index) const { return extents[static_cast<std::size_t>(index)]; }

  std::int64_t count(const Indices& indices) const {
    std::int64_t result = 1;
    for (const int index : indices) result = checked_mul(result, extent(index));
    return result;
  }

  // The offset of position number `at` of a row-major walk over `indices`.
  std::int64_t offset(const Indices& indices, const std::vector<std::int64_t>& strides,
                      std::int64_t at) const {
    std::int64_t offset = 0;
    for (std::size_t i = indices.size(); i-- > 0;) {
      offset += at % extent(indices[i]) * strides[static_cast<std::size_t>(indices[i])];
      at /= extent(indices[i]);
    }
    return offset;
  }

  // Strides, by index number, of a row-major tensor with these axes.
  std::vector<std::int64_t> row_major(const Indices& indices) const {
    std::vector<std::int64_t> strides(extents.size(), 0);
    std::int64_t stride = 1;
    for (std::size_t i = indices.size(); i-- > 0;) {
      strides[static_cast<std::size_t>(indices[i])] = stride;
      stride *= extent(indices[i]);
    }
    return strides;
  }

  // The stride of a walk over `indices`, where there is only one; -1 where not.
  std::int64_t single_stride(const Indices& indices,
                             const std::vector<std::int64_t>& strides) const {
    std::int64_t stride = 0, next = -1;
    for (std::size_t i = indices.size(); i-- > 0;) {
      if (extent(indices[i]) == 1) continue;
      const std::int64_t own = strides[static_cast<std::size_t>(indices[i])];
      if (next < 0) {
        stride = own;
      } else if (own != next) {
        return -1;
      }
      next = own * extent(indices[i]);
    }
    return stride;
  }
};

template <class T>
Factor<T> factor_of(const EinsumEquation& equation, std::size_t i, const Shape& shape,
                    const T* data) {
  Factor<T> factor;
  factor.data = data;
  factor.strides.assign(equation.extents.size(), 0);
  const std::vector<std::int64_t> strides = strides_of(shape);
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const int index = equation.operands[i][axis];
    if (!contains(factor.indices, index)) factor.indices.push_back(index);
    // A repeated index walks the diagonal; an extent of 1 is repeated.
    if (shape[axis] != 1) factor.strides[static_cast<std::size_t>(index)] += strides[axis];
  }
  return factor;
}

// Writes `from`, summed over what is not in `order`, as a row-major tensor with the axes `order`.
template <class T>
void write_sums(const Space& space, const Factor<T>& from, const Indices& order, T* to,
                ThreadPool& pool) {
  Indices summed;
  for (const int index : from.indices) {
    if (!contains(order, index)) summed.push_back(index);
  }
  // The innermost of the summed indices is a plain loop.
  int inner = -1;
  if (!summed.empty()) {
    inner = summed.back();
    summed.pop_back();
  }
  const std::int64_t run = inner < 0 ? 1 : space.extent(inner), runs = space.count(summed);
  const std::int64_t step = inner < 0 ? 0 : from.strides[static_cast<std::size_t>(inner)];
  Indices lead = order;
  int last = -1;
  if (!lead.empty()) {
    last = lead.back();
    lead.pop_back();
  }
  const std::int64_t width = last < 0 ? 1 : space.extent(last);
  const std::int64_t stride = last < 0 ? 0 : from.strides[static_cast<std::size_t>(last)];
  pool.parallel_for(space.count(lead), grain_for(width * std::min<std::int64_t>(run, 1 << 20)),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = begin; row < end; ++row) {
                        const T* source = from.data + space.offset(lead, from.strides, row);
                        T* target = to + row * width;
                        for (std::int64_t i = 0; i < width; ++i, source += stride) {
                          if (inner < 0) {
                            target[i] = *source;
                            continue;
                          }
                          Accumulator<T> sum = 0;
                          for (std::int64_t r = 0; r < runs; ++r) {
                            const T* element = source + space.offset(summed, from.strides, r);
                            for (std::int64_t k = 0; k < run; ++k) sum += element[k * step];
                          }
                          target[i] = static_cast<T>(sum);
                        }
                      }
                    });
}

template <class T>
Factor<T> arranged(const Space& space, const Factor<T>& from, const Indices& order,
                   ThreadPool& pool) {
  Factor<T> result;
  result.memory = Tensor::uninitialized(DTypeOf<T>::value, {space.count(order)});
  auto* data = static_cast<T*>(result.memory.mutable_data());
  result.data = data;
  result.indices = order;
  result.strides = space.row_major(order);
  if (result.memory.size() > 0) write_sums(space, from, order, data, pool);
  return result;
}

Indices joined(std::initializer_list<Indices> parts) {
  Indices all;
  for (const Indices& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// The indices of a product of two factors by their part in it.
struct Parts {
  Indices batch, rows, columns, summed;
};

Parts parts_of(const Indices& a, const Indices& b, const Indices& needed, const Indices& output) {
  Parts parts;
  for (const int index : a) {
    const bool shared = contains(b, index), kept = contains(needed, index);
    (shared ? (kept ? parts.batch : parts.summed) : parts.rows).push_back(index);
  }
  for (const int index : b) {
    if (!contains(a, index)) parts.columns.push_back(index);
  }
  // In the order of the output, so that the product may be the output.
  const auto by_output = [&](int x, int y) {
    return std::find(output.begin(), output.end(), x) < std::find(output.begin(), output.end(), y);
  };
  std::stable_sort(parts.batch.begin(), parts.batch.end(), by_output);
  std::stable_sort(parts.rows.begin(), parts.rows.end(), by_output);
  std::stable_sort(parts.columns.begin(), parts.columns.end(), by_output);
  return parts;
}

// y [batch, rows, columns] = a * b.
template <class T>
void matrix_products(const Space& space, Factor<T> a, Factor<T> b, const Parts& parts, bool simd,
                     T* y, ThreadPool& pool) {
  if (space.single_stride(parts.rows, a.strides) < 0 ||
      space.single_stride(parts.summed, a.strides) < 0) {
    a = arranged(space, a, joined({parts.batch, parts.rows, parts.summed}), pool);
  }
  if (space.single_stride(parts.summed, b.strides) < 0 ||
      space.single_stride(parts.columns, b.strides) < 0) {
    b = arranged(space, b, joined({parts.batch, parts.summed, parts.columns}), pool);
  }
  const std::int64_t m = space.count(parts.rows), n = space.count(parts.columns),
                     k = space.count(parts.summed), batch = space.count(parts.batch);
  if (batch == 0 || m == 0 || n == 0) return;
  const std::int64_t a_row = space.single_stride(parts.rows, a.strides),
                     a_col = space.single_stride(parts.summed, a.strides),
                     b_row = space.single_stride(parts.summed, b.strides),
                     b_col = space.single_stride(parts.columns, b.strides);
  // Products of a few numbers are not worth a call.
  const bool use_gemm = simd && m * n * std::min<std::int64_t>(k, 64) >= 64 && m * n > 1;
  const auto products = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* left = a.data + space.offset(parts.batch, a.strides, i);
      const T* right = b.data + space.offset(parts.batch, b.strides, i);
      T* target = y + i * m * n;
      if constexpr (std::is_same_v<T, float>) {
        if (use_gemm) {
          kernels::gemm(m, n, k, {left, a_row, a_col}, {right, b_row, b_col}, target, n, {}, pool);
          continue;
        }
      }
      multiply<T>(m, n, k, {left, a_row, a_col}, {right, b_row, b_col},
                  [&](std::int64_t r, std::int64_t c, Accumulator<T> sum) {
                    target[r * n + c] = static_cast<T>(sum);
                  });
    }
  };
  if (use_gemm && batch < 2 * pool.available()) {
    products(0, batch);
  } else {
    const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    pool.parallel_for(batch, grain_for(static_cast<std::int64_t>(std::min(work, 1e6))), products);
  }
}

template <class T>
void evaluate(const EinsumEquation& equation, const std::vector<Factor<T>>& operands, bool simd,
              T* y, ThreadPool& pool) {
  const Space space{equation.extents};
  if (space.count(equation.output) == 0) return;
  Factor<T> product = operands[0];
  for (std::size_t i = 1; i < operands.size(); ++i) {
    Indices needed = equation.output;
    for (std::size_t later = i + 1; later < operands.size(); ++later) {
      needed.insert(needed.end(), operands[later].indices.begin(), operands[later].indices.end());
    }
    const auto without_lonely = [&](const Factor<T>& factor, const Factor<T>& other) {
      Indices kept;
      for (const int index : factor.indices) {
        if (contains(other.indices, index) || contains(needed, index)) kept.push_back(index);
      }
      return kept.size() == factor.indices.size() ? factor : arranged(space, factor, kept, pool);
    };
    Factor<T> a = without_lonely(product, operands[i]);
    Factor<T> b = without_lonely(operands[i], product);
    Parts parts = parts_of(a.indices, b.indices, needed, equation.output);
    // Rows and columns change places where only so the result is in the order of the output.
    if (joined({parts.batch, parts.columns, parts.rows}) == equation.output) {
      std::swap(a, b);
      std::swap(parts.rows, parts.columns);
    }
    Factor<T> result;
    result.indices = joined({parts.batch, parts.rows, parts.columns});
    result.strides = space.row_major(result.indices);
    T* target = y;
    const bool is_output = i + 1 == operands.size() && result.indices == equation.output;
    if (!is_output) {
      result.memory = Tensor::uninitialized(DTypeOf<T>::value, {space.count(result.indices)});
      target = static_cast<T*>(result.memory.mutable_data());
    }
    result.data = target;
    matrix_products(space, std::move(a), std::move(b), parts, simd, target, pool);
    if (is_output) return;
    product = std::move(result);
  }
  write_sums(space, product, equation.output, y, pool);
}

template <class T>
Kernel kernel_of(const EinsumEquation& equation, bool simd) {
  return [equation, simd](Run& run) {
    std::vector<Factor<T>> operands;
    for (int i = 0; i < run.op().inputs(); ++i) {
      operands.push_back(
          factor_of(equation, static_cast<std::size_t>(i), run.op().in_shape(i), run.in<T>(i)));
    }
    evaluate(equation, operands, simd, run.out<T>(0), run.pool());
  };
}

Choice gemm(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  if (op.inputs() < 2) return refuse("no product: one input only");
  return kernel_of<float>(equation_of(op), true);
}

Choice reference(Op& op) {
  Kernel kernel;
  with_type(RingTypes{}, ring_type(op.in(0).dtype),
            [&](auto type) { kernel = kernel_of<decltype(type)>(equation_of(op), false); });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

// Of the products from left to right.
std::int64_t multiply_adds(const Op& op) {
  const EinsumEquation equation = equation_of(op);
  const Space space{equation.extents};
  std::int64_t total = 0;
  Indices indices = equation.operands[0];
  for (std::size_t i = 1; i < equation.operands.size(); ++i) {
    Indices all;
    for (const int index : joined({indices, equation.operands[i]})) {
      if (!contains(all, index)) all.push_back(index);
    }
    total = checked_add(total, space.count(all));
    indices.clear();
    for (const int index : all) {
      bool needed = contains(equation.output, index);
      for (std::size_t later = i + 1; later < equation.operands.size(); ++later) {
        needed |= contains(equation.operands[later], index);
      }
      if (needed) indices.push_back(index);
    }
  }
  return total;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(einsum) {
  op("Einsum")
      .since(12, 28)
      .required("equation", FormalAttribute::Kind::string)
      .in("Inputs", kNumbers, Arity::variadic)
      .out("Output", like(0))
      .infer(infer)
      .simd_kernel("gemm", gemm)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}
