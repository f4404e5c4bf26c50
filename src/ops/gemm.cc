// Gemm: Y = alpha A' B' + beta C. Spec: ai.onnx Gemm-1, -6 (C broadcasts where the attribute says
// so), -7 (it always may), -9 (integers), -11 (C is optional), -13 (bfloat16), and com.microsoft
// FusedGemm-1, which applies an activation to Y.
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "base/shape.h"
#include "kernels/elementwise_f32.h"
#include "ops/axis_split.h"
#include "ops/matrix_product.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr TypeSet kTypes9 = kFloats | TypeSet{DType::i32, DType::i64, DType::u32, DType::u64};
constexpr TypeSet kTypes13 = kTypes9 | DType::bf16;

struct Gemm {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_row = 0, a_col = 0, b_row = 0, b_col = 0;
  std::int64_t c_row = 0, c_col = 0;  // strides with which C is read; 0 along what it repeats
  bool has_c = false;
  float alpha = 1, beta = 1;
};

Gemm gemm_of(const Op& op) {
  for (int i = 0; i < 2; ++i) require_rank(op, i, 2, 2);
  const Shape &a = op.in_shape(0), &b = op.in_shape(1);
  const bool trans_a = op.attr_int("transA") != 0, trans_b = op.attr_int("transB") != 0;
  Gemm gemm;
  gemm.m = a[trans_a ? 1 : 0];
  gemm.k = a[trans_a ? 0 : 1];
  gemm.n = b[trans_b ? 0 : 1];
  if (gemm.k != b[trans_b ? 1 : 0]) {
    throw invalid("the two matrices do not fit each other")
        .expected("as many columns in A' as rows in B'")
        .got(to_string(a) + (trans_a ? " transposed" : "") + " and " + to_string(b) +
             (trans_b ? " transposed" : ""));
  }
  gemm.a_row = trans_a ? 1 : gemm.k;
  gemm.a_col = trans_a ? gemm.m : 1;
  gemm.b_row = trans_b ? 1 : gemm.n;
  gemm.b_col = trans_b ? gemm.k : 1;
  gemm.alpha = op.attr_float("alpha");
  gemm.beta = op.attr_float("beta");
  if (op.has_in(2)) {
    const Shape y = {gemm.m, gemm.n};
    const Shape& c = op.in_shape(2);
    if (!broadcasts_to(c, y)) {
      throw invalid("C does not broadcast to the product")
          .expected(to_string(y) + " or what broadcasts to it")
          .got(to_string(c));
    }
    // As in BLAS, beta = 0 means that C is not read.
    gemm.has_c = gemm.beta != 0;
    const std::vector<std::int64_t> strides = broadcast_strides(c, y);
    gemm.c_row = strides[0];
    gemm.c_col = strides[1];
  }
  return gemm;
}

void infer(Op& op) {
  const Gemm gemm = gemm_of(op);
  op.set_out(0, op.in(0).dtype, {gemm.m, gemm.n});
}

// Up to opset 6, C has the shape of Y unless the attribute `broadcast` is set.
void infer_6(Op& op) {
  infer(op);
  const Gemm gemm = gemm_of(op);
  const Shape y = {gemm.m, gemm.n};
  if (op.attr_int("broadcast") == 0 && op.in_shape(2) != y) {
    throw invalid("C has not the shape of the product, and the attribute 'broadcast' is not set")
        .expected(to_string(y))
        .got(to_string(op.in_shape(2)));
  }
}

// The activations of FusedGemm, with their spec's defaults where they have parameters.
struct Activation {
  kernels::Unary function;
  float alpha = 0, beta = 0;
};

const std::map<std::string, Activation>& activations() {
  using kernels::Unary;
  static const std::map<std::string, Activation> table = {
      {"Relu", {Unary::relu}},
      {"LeakyRelu", {Unary::leaky_relu, 0.01F}},
      {"Sigmoid", {Unary::sigmoid}},
      {"Tanh", {Unary::tanh}},
      {"HardSigmoid", {Unary::hard_sigmoid, 0.2F, 0.5F}},
      {"Elu", {Unary::elu, 1.0F}},
      {"Softplus", {Unary::softplus}},
      {"Softsign", {Unary::softsign}},
      {"ThresholdedRelu", {Unary::thresholded_relu, 1.0F}},
  };
  return table;
}

// Nothing where the node names no activation.
std::optional<Activation> activation_of(const Op& op) {
  if (op.attr_string("activation").empty()) return std::nullopt;
  const auto found = activations().find(op.attr_string("activation"));
  if (found == activations().end()) {
    throw Error(ErrorCode::unsupported, "an activation that is not known")
        .at("attribute 'activation'")
        .got("'" + op.attr_string("activation") + "'");
  }
  Activation activation = found->second;
  if (op.has_attr("activation_alpha")) activation.alpha = op.attr_float("activation_alpha");
  if (op.has_attr("activation_beta")) activation.beta = op.attr_float("activation_beta");
  return activation;
}

void infer_fused(Op& op) {
  infer(op);
  activation_of(op);
}

Kernel gemm_kernel(Op& op, const Gemm& g, float least) {
  const GemmFactor a{{nullptr, g.a_row, g.a_col, false}, {}};
  const GemmFactor b = gemm_b(op, 1, g.m, g.k, g.n, g.b_row, g.b_col);
  // C comes as a whole, a row or a column; a single number is spread to a row first.
  const bool is_number = g.has_c && g.c_row == 0 && g.c_col == 0;
  if (is_number) op.set_scratch(checked_mul(g.n, sizeof(float)));
  return [g, a, b, is_number, least](Run& run) {
    kernels::GemmEpilogue epilogue;
    epilogue.min = least;
    epilogue.alpha = g.alpha;
    epilogue.beta = g.beta;
    const auto* c = run.in<float>(2);
    if (is_number) {
      auto* row = static_cast<float*>(run.scratch());
      std::fill_n(row, g.n, *c);
      epilogue.col_bias = row;
    } else if (g.has_c && g.c_row == 0) {
      epilogue.col_bias = c;
    } else if (g.has_c && g.c_col == 0) {
      epilogue.row_bias = c;
    } else if (g.has_c) {
      epilogue.add = c;
      epilogue.add_row_stride = g.c_row;
    }
    kernels::gemm(g.m, g.n, g.k, a.at(run.in<float>(0)), b.at(run.in<float>(1)), run.out<float>(0),
                  g.n, epilogue, run.pool());
  };
}

// Y is at least `least`.
Choice bounded_gemm(Op& op, float least) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Gemm g = gemm_of(op);
  if (g.m * g.n == 0) return refuse("nothing to compute");
  return gemm_kernel(op, g, least);
}

Choice gemm(Op& op) { return bounded_gemm(op, -std::numeric_limits<float>::infinity()); }

Choice fused_gemm(Op& op) {
  const std::optional<Activation> activation = activation_of(op);
  if (activation && activation->function == kernels::Unary::relu) return bounded_gemm(op, 0);
  Choice product = gemm(op);
  if (std::holds_alternative<Refusal>(product) || !activation) return product;
  return [product = std::get<Kernel>(product), activation](Run& run) {
    product(run);
    auto* y = run.out<float>(0);
    kernels::unary(activation->function, {activation->alpha, activation->beta}, y, y,
                   element_count(run.op().out_shape(0)), run.pool());
  };
}

// The same by tiles, for which B is packed.
template <Choice (*Product)(Op&)>
Choice by_tiles(Op& op) {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const Gemm g = gemm_of(op);
  const std::string refusal = tiles_refusal(op, 1, g.m, g.k, g.n);
  return refusal.empty() ? Product(op) : refuse(refusal);
}

double activate(const Activation& activation, double x) {
  const double a = activation.alpha, b = activation.beta;
  switch (activation.function) {
    case kernels::Unary::relu:
      return x < 0 ? 0 : x;
    case kernels::Unary::leaky_relu:
      return x < 0 ? a * x : x;
    case kernels::Unary::sigmoid:
      return 1 / (1 + std::exp(-x));
    case kernels::Unary::tanh:
      return std::tanh(x);
    case kernels::Unary::hard_sigmoid:
      return std::max(0.0, std::min(1.0, a * x + b));
    case kernels::Unary::elu:
      return x < 0 ? a * std::expm1(x) : x;
    case kernels::Unary::softplus:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    case kernels::Unary::softsign:
      return x / (1 + std::abs(x));
    case kernels::Unary::thresholded_relu:
      return x > a ? x : 0;
    default:
      throw Error(ErrorCode::internal, "an activation without a formula");
  }
}

// alpha * sum + beta * c, in integers where both factors are integers.
template <class T>
struct Scale {
  double alpha, beta;
  bool is_signed;

  T operator()(Accumulator<T> sum, T c) const {
    if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(beta == 0 ? alpha * sum : alpha * sum + beta * c);
    } else {
      if (alpha == 1 && (beta == 0 || beta == 1)) {
        return static_cast<T>(beta == 0 ? sum : sum + c);
      }
      using Signed = std::make_signed_t<T>;
      const auto value = [&](T bits) {
        return is_signed ? static_cast<double>(static_cast<Signed>(bits))
                         : static_cast<double>(bits);
      };
      const double y = alpha * value(static_cast<T>(sum)) + beta * value(c);
      // What the type cannot hold goes to its nearest value; 2^63 and 2^64 are exact as doubles.
      constexpr int kBits = 8 * sizeof(T);
      const double low = is_signed ? -std::ldexp(1.0, kBits - 1) : 0.0;
      const double high = std::ldexp(1.0, is_signed ? kBits - 1 : kBits);
      if (!(y > low)) return static_cast<T>(static_cast<Signed>(is_signed ? low : 0.0));
      if (y >= high) {
        return is_signed ? static_cast<T>(std::numeric_limits<Signed>::max())
                         : std::numeric_limits<T>::max();
      }
      return is_signed ? static_cast<T>(static_cast<Signed>(y)) : static_cast<T>(y);
    }
  }
};

Choice reference(Op& op) {
  const Gemm g = gemm_of(op);
  const DType dtype = op.in(0).dtype;
  Kernel kernel;
  with_type(Types<float, double, std::uint32_t, std::uint64_t>{}, ring_type(dtype), [&](auto type) {
    using T = decltype(type);
    const Scale<T> scale{g.alpha, g.has_c ? g.beta : 0.0, kSignedInts.contains(dtype)};
    kernel = [g, scale](Run& run) {
      if (g.m * g.n == 0) return;
      run.pool().parallel_for(g.m, grain_for(g.n * g.k), [&](std::int64_t begin, std::int64_t end) {
        Matrix<T> a{run.in<T>(0), g.a_row, g.a_col};
        if (g.k > 0) a.data += begin * g.a_row;
        const Matrix<T> b{run.in<T>(1), g.b_row, g.b_col};
        const T* c = g.has_c ? run.in<T>(2) : nullptr;
        multiply(end - begin, g.n, g.k, a, b,
                 [&](std::int64_t i, std::int64_t j, Accumulator<T> sum) {
                   i += begin;
                   run.out<T>(0)[i * g.n + j] =
                       scale(sum, c != nullptr ? c[i * g.c_row + j * g.c_col] : T{0});
                 });
      });
    };
  });
  if (!kernel) return refuse("computed in float32 or wider");
  return kernel;
}

Choice fused_reference(Op& op) {
  Choice product = reference(op);
  const std::optional<Activation> activation = activation_of(op);
  if (std::holds_alternative<Refusal>(product) || !activation) return product;
  return [product = std::get<Kernel>(product), activation, dtype = op.in(0).dtype](Run& run) {
    product(run);
    with_type(FloatTypes{}, dtype, [&](auto type) {
      auto* y = run.out<decltype(type)>(0);
      const std::int64_t count = element_count(run.op().out_shape(0));
      for (std::int64_t i = 0; i < count; ++i) {
        y[i] = static_cast<decltype(type)>(activate(*activation, y[i]));
      }
    });
  };
}

std::int64_t multiply_adds(const Op& op) {
  const Gemm gemm = gemm_of(op);
  return gemm.m * gemm.n * gemm.k;
}

Row& declare(Row& row, TypeSet types, Arity c) {
  return row.attr("alpha", 1.0F)
      .attr("beta", 1.0F)
      .attr("transA", 0)
      .attr("transB", 0)
      .in("A", types)
      .in("B", like(0))
      .in("C", like(0), c)
      .out("Y", like(0))
      .multiply_adds(multiply_adds);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(gemm) {
  declare(op("Gemm").since(1, 6).attr("broadcast", 0), kFloats, Arity::required)
      .infer(infer_6)
      .simd_kernel("AMX", by_tiles<gemm>)
      .simd_kernel("gemm", gemm)
      .kernel("reference", reference);
  declare(op("Gemm").since(7, 9), kTypes9, Arity::required)
      .infer(infer)
      .simd_kernel("AMX", by_tiles<gemm>)
      .simd_kernel("gemm", gemm)
      .kernel("reference", reference);
  declare(op("Gemm").since(11, 13), kTypes13, Arity::optional)
      .infer(infer)
      .simd_kernel("AMX", by_tiles<gemm>)
      .simd_kernel("gemm", gemm)
      .kernel("reference", reference);
  declare(op("FusedGemm", "com.microsoft")
              .since(1)
              .attr("activation", FormalAttribute::Kind::string)
              .attr("activation_alpha", FormalAttribute::Kind::float_)
              .attr("activation_beta", FormalAttribute::Kind::float_)
              .attr("activation_gamma", FormalAttribute::Kind::float_),
          kFloats, Arity::optional)
      .infer(infer_fused)
      .simd_kernel("AMX", by_tiles<fused_gemm>)
      .simd_kernel("gemm", fused_gemm)
      .kernel("reference", fused_reference);
}
