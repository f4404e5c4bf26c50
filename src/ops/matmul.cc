// MatMul: the product of NumPy's matmul. Spec: ai.onnx MatMul-1, -9 (integers), -13 (bfloat16), and
// com.microsoft FusedMatMul-1, which also transposes its inputs and scales the product. mezzo
// MatMulAdd-1 is what a pass makes of MatMul and Add: a row, or a tensor like Y, is added to Y.
#include "base/shape.h"
#include "ops/axis_split.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr TypeSet kProductTypes =
    kFloatsBf16 | TypeSet{DType::i32, DType::i64, DType::u32, DType::u64};

// A stack of matrices.
struct Stack {
  Shape batch;
  std::vector<std::int64_t> batch_strides;
  std::int64_t rows = 1, cols = 1, row_stride = 0, col_stride = 0;
};

struct Transposition {
  bool matrix = false;  // swap the last two axes
  bool batch = false;   // then move the first axis behind the other batch axes
};

Stack stack_of(const Shape& shape, bool is_left, Transposition transposition) {
  const std::vector<std::int64_t> strides = strides_of(shape);
  Stack stack;
  if (shape.size() == 1) {
    // A vector is a row on the left and a column on the right.
    (is_left ? stack.cols : stack.rows) = shape[0];
    (is_left ? stack.col_stride : stack.row_stride) = 1;
    return stack;
  }
  // Axes in the order in which the product sees them: batch axes, rows, columns.
  const std::size_t rank = shape.size();
  std::vector<std::size_t> axes(rank);
  for (std::size_t i = 0; i < rank; ++i) axes[i] = i;
  if (transposition.batch) std::rotate(axes.begin(), axes.begin() + 1, axes.end() - 1);
  if (transposition.matrix) std::swap(axes[rank - 2], axes[rank - 1]);
  for (std::size_t i = 0; i + 2 < rank; ++i) {
    stack.batch.push_back(shape[axes[i]]);
    stack.batch_strides.push_back(strides[axes[i]]);
  }
  stack.rows = shape[axes[rank - 2]];
  stack.row_stride = strides[axes[rank - 2]];
  stack.cols = shape[axes[rank - 1]];
  stack.col_stride = strides[axes[rank - 1]];
  return stack;
}

// Reads `stack` as if it had the batch axes `batch`.
void broadcast_batch(Stack& stack, const Shape& batch) {
  const std::size_t lead = batch.size() - stack.batch.size();
  std::vector<std::int64_t> strides(batch.size(), 0);
  for (std::size_t i = 0; i < stack.batch.size(); ++i) {
    if (stack.batch[i] != 1) strides[lead + i] = stack.batch_strides[i];
  }
  stack.batch = batch;
  stack.batch_strides = std::move(strides);
}

std::int64_t offset_of(const Stack& stack, std::int64_t index) {
  std::int64_t offset = 0;
  for (std::size_t i = stack.batch.size(); i-- > 0;) {
    offset += index % stack.batch[i] * stack.batch_strides[i];
    index /= stack.batch[i];
  }
  return offset;
}

struct Product {
  Stack a, b;
  std::int64_t batch = 1, m = 1, n = 1, k = 1;
  float alpha = 1;
};

Product product_of(const Op& op) {
  Transposition left, right;
  Product product;
  if (!op.row().attributes().empty()) {
    left = {op.attr_int("transA") != 0, op.attr_int("transBatchA") != 0};
    right = {op.attr_int("transB") != 0, op.attr_int("transBatchB") != 0};
    product.alpha = op.attr_float("alpha");
  }
  for (int i = 0; i < 2; ++i) require_rank(op, i, 1);
  product.a = stack_of(op.in_shape(0), true, left);
  product.b = stack_of(op.in_shape(1), false, right);
  product.m = product.a.rows;
  product.n = product.b.cols;
  product.k = product.a.cols;
  if (product.b.rows != product.k) {
    throw invalid("the two matrices do not fit each other")
        .expected("as many columns in A as rows in B")
        .got(to_string(op.in_shape(0)) + " and " + to_string(op.in_shape(1)));
  }
  const Shape batch = broadcast(product.a.batch, product.b.batch);
  product.batch = element_count(batch);
  broadcast_batch(product.a, batch);
  broadcast_batch(product.b, batch);
  return product;
}

void infer(Op& op) {
  const Product product = product_of(op);
  Shape shape = product.a.batch;
  if (op.in_rank(0) > 1) shape.push_back(product.m);
  if (op.in_rank(1) > 1) shape.push_back(product.n);
  op.set_out(0, op.in(0).dtype, std::move(shape));
}

void infer_sum(Op& op) {
  for (int i = 0; i < 2; ++i) require_rank(op, i, 2);
  infer(op);
  const Shape& y = op.out_shape(0);
  if (op.in_shape(2) != y && op.in_shape(2) != Shape{y.back()}) {
    throw invalid("C is neither like the product nor one of its rows")
        .at("input 'C'")
        .expected(to_string(y) + " or [" + std::to_string(y.back()) + "]")
        .got(to_string(op.in_shape(2)));
  }
}

// Whether one row is added to all.
bool adds_row(const Op& op) { return op.has_in(2) && op.in_rank(2) == 1; }

// One product of tall matrices in place of a batch of low ones, where all share the same B and the
// rows of A lie at one stride.
void join_rows(Product& product) {
  for (std::size_t i = 0; i < product.b.batch.size(); ++i) {
    if (product.b.batch_strides[i] != 0 && product.b.batch[i] != 1) return;
  }
  std::int64_t next = product.a.row_stride * product.m;
  for (std::size_t i = product.a.batch.size(); i-- > 0;) {
    if (product.a.batch[i] == 1) continue;
    if (product.a.batch_strides[i] != next) return;
    next *= product.a.batch[i];
  }
  product.m *= product.batch;
  product.batch = 1;
  product.a.batch = product.b.batch = {};
  product.a.batch_strides = product.b.batch_strides = {};
}

bool is_single_matrix(const Op& op, int i) {
  return op.in_rank(i) <= 2 || element_count(op.in_shape(i)) ==
                                   op.in_shape(i)[static_cast<std::size_t>(op.in_rank(i)) - 1] *
                                       op.in_shape(i)[static_cast<std::size_t>(op.in_rank(i)) - 2];
}

Choice gemm(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  Product p = product_of(op);
  if (p.batch * p.m * p.n == 0) return refuse("nothing to compute");
  join_rows(p);
  GemmFactor a, b;
  a.operand = {nullptr, p.a.row_stride, p.a.col_stride, false};
  b.operand = {nullptr, p.b.row_stride, p.b.col_stride, false};
  if (is_single_matrix(op, 1)) {
    b = gemm_b(op, 1, p.m, p.k, p.n, p.b.row_stride, p.b.col_stride);
  }
  if (p.n > 1 && p.batch > 1 && is_single_matrix(op, 0)) {
    a = gemm_a(op, 0, p.m, p.k, p.a.row_stride, p.a.col_stride);
  }
  return [p, a, b, is_row = adds_row(op)](Run& run) {
    const float* c = run.in<float>(2);
    const auto batches = [&](std::int64_t begin, std::int64_t end) {
      kernels::GemmEpilogue epilogue;
      epilogue.alpha = p.alpha;
      if (is_row) epilogue.col_bias = c;
      epilogue.add_row_stride = p.n;
      for (std::int64_t i = begin; i < end; ++i) {
        if (!is_row && c != nullptr) epilogue.add = c + i * p.m * p.n;
        kernels::gemm(p.m, p.n, p.k, a.at(run.in<float>(0) + offset_of(p.a, i)),
                      b.at(run.in<float>(1) + offset_of(p.b, i)), run.out<float>(0) + i * p.m * p.n,
                      p.n, epilogue, run.pool());
      }
    };
    // Many products share the threads by product, few by their rows and columns.
    if (p.batch >= 2 * run.pool().size()) {
      run.pool().parallel_for(p.batch, grain_for(p.m * p.n * p.k / 32), batches);
    } else {
      batches(0, p.batch);
    }
  };
}

// The same by tiles, for which B is packed.
Choice amx(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  if (!is_single_matrix(op, 1)) return refuse("B is not one matrix");
  Product p = product_of(op);
  join_rows(p);
  const std::string refusal = tiles_refusal(op, 1, p.m, p.k, p.n);
  return refusal.empty() ? gemm(op) : refuse(refusal);
}

Choice reference(Op& op) {
  Kernel kernel;
  const Product p = product_of(op);
  with_type(RingTypes{}, ring_type(op.in(0).dtype), [&](auto type) {
    using T = decltype(type);
    kernel = [p, is_row = adds_row(op)](Run& run) {
      if (p.batch * p.m * p.n == 0) return;
      const T* c = run.in<T>(2);
      run.pool().parallel_for(
          p.batch * p.m, grain_for(p.n * p.k), [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t row = begin; row < end; ++row) {
              const std::int64_t i = row / p.m;
              Matrix<T> a{run.in<T>(0), p.a.row_stride, p.a.col_stride};
              Matrix<T> b{run.in<T>(1), p.b.row_stride, p.b.col_stride};
              if (p.k > 0) {
                a.data += offset_of(p.a, i) + row % p.m * p.a.row_stride;
                b.data += offset_of(p.b, i);
              }
              T* y = run.out<T>(0) + row * p.n;
              multiply(1, p.n, p.k, a, b, [&](std::int64_t, std::int64_t j, Accumulator<T> sum) {
                if constexpr (std::is_floating_point_v<T>) sum *= p.alpha;
                if (c != nullptr) sum += c[is_row ? j : row * p.n + j];
                y[j] = static_cast<T>(sum);
              });
            }
          });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

std::int64_t multiply_adds(const Op& op) {
  const Product p = product_of(op);
  return p.batch * p.m * p.n * p.k;
}

Row& declare(Row& row, TypeSet types) {
  return row.in("A", types)
      .in("B", like(0))
      .out("Y", like(0))
      .infer(infer)
      .simd_kernel("AMX", amx)
      .simd_kernel("gemm", gemm)
      .kernel("reference", reference)
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(matmul) {
  declare(op("MatMul").since(1, 9, 13), kProductTypes);
  declare(op("FusedMatMul", "com.microsoft")
              .since(1)
              .attr("alpha", 1.0F)
              .attr("transA", 0)
              .attr("transB", 0)
              .attr("transBatchA", 0)
              .attr("transBatchB", 0),
          kFloatsBf16);
  declare(op("MatMulAdd", "mezzo").since(1), kFloatsBf16)
      .in("C", like(0))
      .in_place(2)
      .infer(infer_sum);
}
