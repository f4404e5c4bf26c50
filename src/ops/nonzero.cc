// NonZero: the positions of the elements that are not zero, in row-major order, as [rank, count].
// Spec: ai.onnx NonZero-9, -13 (bfloat16).
#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) { op.set_out_unknown(0, DType::i64); }

// 16-bit floats by their bits: all but the sign.
struct Bits16 {
  std::uint16_t bits;
};

bool is_set(Bits16 x) { return (x.bits & 0x7fffU) != 0; }
bool is_set(Complex64 x) { return x.re != 0 || x.im != 0; }
bool is_set(Complex128 x) { return x.re != 0 || x.im != 0; }
bool is_set(const std::string& x) { return !x.empty(); }
template <class T>
bool is_set(T x) {
  return x != T{0};
}

template <class T>
void find(Run& run) {
  const T* x = run.in<T>(0);
  const Shape& shape = run.op().in_shape(0);
  const std::int64_t size = element_count(shape);
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size; ++i) count += is_set(x[i]) ? 1 : 0;
  const auto rank = static_cast<std::int64_t>(shape.size());
  auto* y = static_cast<std::int64_t*>(run.allocate(0, DType::i64, {rank, count}));
  std::vector<std::int64_t> position(shape.size(), 0);
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (is_set(x[i])) {
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        y[static_cast<std::int64_t>(axis) * count + found] = position[axis];
      }
      ++found;
    }
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++position[axis] < shape[axis]) break;
      position[axis] = 0;
    }
  }
}

Choice reference(Op& op) {
  const DType dtype = op.in(0).dtype;
  if (dtype == DType::f16 || dtype == DType::bf16) return find<Bits16>;
  Kernel kernel;
  with_type(Types<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t,
                  std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t, bool, std::string,
                  Complex64, Complex128>{},
            dtype, [&](auto type) { kernel = find<decltype(type)>; });
  return kernel;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(nonzero) {
  op("NonZero")
      .since(9, 13)
      .in("X", kAllWithBf16)
      .out("Y", DType::i64)
      .infer(infer)
      .kernel("reference", reference);
}
