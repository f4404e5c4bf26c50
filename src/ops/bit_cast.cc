// BitCast: the same bits as another type of the same width. Spec: BitCast-26.

#include <algorithm>
#include <cstring>

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr TypeSet kBits =
    kNumbers | kComplex | kFloat8 | TypeSet{DType::boolean, DType::f4e2m1, DType::f8e8m0, DType::i2,
                                            DType::u2,      DType::i4,     DType::u4};

void infer_bit_cast(Op& op) {
  const std::int64_t number = op.attr_int("to");
  const auto to = static_cast<DType>(number);
  if (number <= 0 || number >= kDTypeCount || !kBits.contains(to) ||
      bits_of(to) != bits_of(op.in(0).dtype)) {
    throw invalid("BitCast needs a type as wide as the input's")
        .at("attribute 'to'")
        .expected("a type of " + std::to_string(bits_of(op.in(0).dtype)) + " bits")
        .got(std::to_string(number));
  }
  op.set_out(0, to, op.in_shape(0));
}

Choice bit_cast(Op& op) {
  const std::size_t bytes = bytes_of(op.in(0).dtype, product(op.in_shape(0)));
  // A bool in memory is 0 or 1 and nothing else.
  const bool to_bool = op.out(0).dtype == DType::boolean;
  return [bytes, to_bool](Run& run) {
    const auto* x = run.in<std::uint8_t>(0);
    auto* y = run.out<std::uint8_t>(0);
    if (to_bool) {
      std::transform(x, x + bytes, y, [](std::uint8_t byte) { return byte != 0 ? 1 : 0; });
    } else if (bytes > 0) {
      std::memcpy(y, x, bytes);
    }
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(bit_cast) {
  op("BitCast")
      .since(26)
      .required("to", FormalAttribute::Kind::int_)
      .in("input", kBits)
      .out("output", kBits)
      .infer(infer_bit_cast)
      .kernel("reference", bit_cast);
}
