#include "ops/named_activation.h"

#include <cctype>
#include <iterator>
#include <optional>
#include <string>

#include "kernels/elementwise_f32.h"
#include "mezzo/error.h"

namespace mezzo::ops {
namespace {

using Kind = Activation::Kind;

struct Entry {
  const char* name;
  Activation defaults;
  bool has_alpha;
  bool has_beta;
};

// The defaults of the ONNX operators of these names (Affine and ScaledTanh: neutral parameters).
constexpr Entry kEntries[] = {
    {"relu", {Kind::relu, 0, 0}, false, false},
    {"tanh", {Kind::tanh, 0, 0}, false, false},
    {"sigmoid", {Kind::sigmoid, 0, 0}, false, false},
    {"affine", {Kind::affine, 1.0F, 0}, true, true},
    {"leakyrelu", {Kind::leaky_relu, 0.01F, 0}, true, false},
    {"thresholdedrelu", {Kind::thresholded_relu, 1.0F, 0}, true, false},
    {"scaledtanh", {Kind::scaled_tanh, 1.0F, 1.0F}, true, true},
    {"hardsigmoid", {Kind::hard_sigmoid, 0.2F, 0.5F}, true, true},
    {"elu", {Kind::elu, 1.0F, 0}, true, false},
    {"softsign", {Kind::softsign, 0, 0}, false, false},
    {"softplus", {Kind::softplus, 0, 0}, false, false},
    {"clip", {Kind::clip, -3.402823466e+38F, 3.402823466e+38F}, true, true},
};

const Entry* entry_of(Kind kind) {
  for (const Entry& entry : kEntries) {
    if (entry.defaults.kind == kind) return &entry;
  }
  return nullptr;
}

// The SIMD kernel that computes the function with these parameters.
std::optional<kernels::Unary> unary_of(Kind kind) {
  switch (kind) {
    case Kind::relu:
      return kernels::Unary::relu;
    case Kind::tanh:
      return kernels::Unary::tanh;
    case Kind::sigmoid:
      return kernels::Unary::sigmoid;
    case Kind::leaky_relu:
      return kernels::Unary::leaky_relu;
    case Kind::hard_sigmoid:
      return kernels::Unary::hard_sigmoid;
    case Kind::elu:
      return kernels::Unary::elu;
    case Kind::softsign:
      return kernels::Unary::softsign;
    case Kind::softplus:
      return kernels::Unary::softplus;
    case Kind::clip:
      return kernels::Unary::clip;
    default:
      return std::nullopt;
  }
}

}  // namespace

bool Activation::has_alpha() const {
  const Entry* entry = entry_of(kind);
  return entry != nullptr && entry->has_alpha;
}

bool Activation::has_beta() const {
  const Entry* entry = entry_of(kind);
  return entry != nullptr && entry->has_beta;
}

Activation Activation::named(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Entry& entry : kEntries) {
    if (lower == entry.name) return entry.defaults;
  }
  throw Error(ErrorCode::invalid_model, "an activation function that does not exist")
      .expected(
          "Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, "
          "Elu, Softsign, Softplus or Clip")
      .got(std::string(name));
}

void apply_simd(const Activation& activation, float* data, std::int64_t n, ThreadPool& pool) {
  if (activation.kind == Kind::identity) return;
  if (const auto unary = unary_of(activation.kind)) {
    kernels::unary(*unary, {activation.alpha, activation.beta}, data, data, n, pool);
  } else {
    apply_plain(activation, data, n);
  }
}

}  // namespace mezzo::ops
