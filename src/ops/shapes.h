// Shape inference that many families share.
#pragma once

#include "base/shape.h"
#include "ops/op.h"

namespace mezzo::ops {

/// Output 0 has the type and shape of input 0.
inline void same_shape(Op& op) { op.set_out(0, op.in(0).dtype, op.in_shape(0)); }

/// The NumPy broadcast of all inputs that are there.
inline Shape broadcast_inputs(const Op& op) {
  Shape shape;
  for (int i = 0; i < op.inputs(); ++i) {
    if (op.has_in(i)) shape = broadcast(shape, op.in_shape(i));
  }
  return shape;
}

/// Output 0 has the type of input 0 and the broadcast of all shapes.
inline void broadcast_shape(Op& op) { op.set_out(0, op.in(0).dtype, broadcast_inputs(op)); }

/// An Error about the node that `op` is, to be completed with expected and got. The planner adds
/// which node it was.
inline Error invalid(std::string problem) {
  return Error(ErrorCode::invalid_model, std::move(problem));
}

/// The error of an input whose shape the others do not allow.
inline Error misfit(const Op& op, int i, std::string expected) {
  return invalid("an input does not fit the others")
      .at("input '" + op.row().inputs()[static_cast<std::size_t>(i)].name + "'")
      .expected(std::move(expected))
      .got(to_string(op.in_shape(i)));
}

/// Throws unless input `i` is omitted or of that shape.
inline void expect_shape(const Op& op, int i, const Shape& shape) {
  if (op.has_in(i) && op.in_shape(i) != shape) throw misfit(op, i, to_string(shape));
}

/// Throws unless input `i` has at least (at most) so many axes.
inline void require_rank(const Op& op, int i, int least, int most = 1 << 20) {
  const int rank = op.in_rank(i);
  if (rank < least || rank > most) {
    throw invalid("an input has the wrong number of axes")
        .at("input " + std::to_string(i))
        .expected(least == most ? std::to_string(least)
                                : "at least " + std::to_string(least) +
                                      (most < (1 << 20) ? ", at most " + std::to_string(most) : ""))
        .got(to_string(op.in_shape(i)));
  }
}

}  // namespace mezzo::ops
