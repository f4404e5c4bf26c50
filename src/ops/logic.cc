// Boolean and bitwise operators of two tensors. Spec: ai.onnx And/Or/Xor-1/7,
// BitwiseAnd/BitwiseOr/BitwiseXor-18, BitShift-11/28. Before opset 7 the boolean ones broadcast by
// the attributes `broadcast` and `axis`. BitShift takes signed integers since opset 28.

#include "ops/broadcast.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};

// Booleans are bytes, of which any but 0 is true.
template <class F>
Choice boolean(Op& op) {
  return broadcast_kernel<std::uint8_t, std::uint8_t, std::uint8_t>(
      binary_loop(op), [](std::uint8_t a, std::uint8_t b) -> std::uint8_t {
        return F{}(a != 0 ? 1U : 0U, b != 0 ? 1U : 0U) != 0;
      });
}

template <class F>
Choice bitwise(Op& op, F f = {}) {
  Choice choice = refuse("no plain loop for this element type");
  with_type(IntTypes{}, op.in(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    choice = broadcast_kernel<T, T, T>(
        BroadcastLoop({op.in_shape(0), op.in_shape(1)}, op.out_shape(0)), f);
  });
  return choice;
}

// A shift by less than 0 or by all bits and more leaves what the sign extends to.
struct ShiftLeft {
  template <class T>
  T operator()(T x, T by) const {
    if (by < 0 || by >= static_cast<T>(8 * sizeof(T))) return 0;
    return static_cast<T>(static_cast<Wrapping<T>>(x) << by);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T x, T by) const {
    if (by < 0 || by >= static_cast<T>(8 * sizeof(T))) return x < 0 ? static_cast<T>(-1) : T{0};
    return static_cast<T>(x >> by);
  }
};

void infer_shift(Op& op) {
  const std::string direction = op.attr_string("direction");
  if (direction != "LEFT" && direction != "RIGHT") {
    throw invalid("an unknown direction of BitShift")
        .at("attribute 'direction'")
        .expected("'LEFT' or 'RIGHT'")
        .got("'" + direction + "'");
  }
  broadcast_shape(op);
}

Choice shift(Op& op) {
  return op.attr_string("direction") == "LEFT" ? bitwise(op, ShiftLeft{})
                                               : bitwise(op, ShiftRight{});
}

void infer_boolean(Op& op) { op.set_out(0, DType::boolean, binary_shape(op)); }

void declare_boolean(Registry& op, const char* name, const Chooser& kernel) {
  const auto row = [&]() -> Row& {
    return op(name)
        .in("A", DType::boolean)
        .in("B", like(0))
        .out("C", like(0))
        .infer(infer_boolean)
        .in_place(0)
        .in_place(1)
        .kernel("reference", kernel);
  };
  row().since(1).attr("axis", Kind::int_).attr("broadcast", 0);
  row().since(7);
}

void declare_bitwise(Registry& op, const char* name, const Chooser& kernel) {
  op(name)
      .since(18)
      .in("A", kInts)
      .in("B", like(0))
      .out("C", like(0))
      .infer(broadcast_shape)
      .in_place(0)
      .in_place(1)
      .kernel("reference", kernel);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(logic) {
  declare_boolean(op, "And", boolean<And>);
  declare_boolean(op, "Or", boolean<Or>);
  declare_boolean(op, "Xor", boolean<Xor>);
  declare_bitwise(op, "BitwiseAnd", [](Op& node) { return bitwise(node, And{}); });
  declare_bitwise(op, "BitwiseOr", [](Op& node) { return bitwise(node, Or{}); });
  declare_bitwise(op, "BitwiseXor", [](Op& node) { return bitwise(node, Xor{}); });
  op("BitShift")
      .since(11, 28)
      .required("direction", Kind::string)
      .in("X", kInts)
      .in("Y", like(0))
      .out("Z", like(0))
      .infer(infer_shift)
      .in_place(0)
      .in_place(1)
      .kernel("reference", shift);
}
