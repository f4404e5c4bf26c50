#include "ops/broadcast_f32.h"

namespace mezzo::ops {

std::optional<kernels::Broadcast> broadcast_of(const BroadcastLoop& loop) {
  using Form = kernels::Broadcast::Form;
  kernels::Broadcast broadcast;
  if (loop.size() <= 1) return broadcast;
  const std::vector<std::int64_t>& extents = loop.extents();
  const auto is_dense = [&](int k) { return loop.strides(k) == strides_of(extents); };
  broadcast.swapped = !is_dense(0);
  if (!is_dense(broadcast.swapped ? 1 : 0)) return std::nullopt;
  // What the other operand does along the merged axes decides. Since axes that behave alike were
  // merged, axes of repetition and of its own alternate.
  const std::vector<std::int64_t>& other = loop.strides(broadcast.swapped ? 0 : 1);
  broadcast.n = extents.back();
  if (extents.size() == 1) {
    broadcast.form = other[0] == 1 ? Form::none : Form::scalar;
  } else if (extents.size() == 2) {
    broadcast.form = other[1] == 1 ? Form::row : Form::column;
    broadcast.period = extents[0];
  } else if (extents.size() == 3 && other[2] == 0) {
    broadcast.form = Form::column;
    broadcast.period = extents[1];
  } else {
    return std::nullopt;
  }
  return broadcast;
}

std::optional<kernels::Broadcast> broadcast_of(const Shape& a, const Shape& b,
                                               const Shape& output) {
  using Form = kernels::Broadcast::Form;
  // What is most frequent needs no loop to be laid out: planning asks for each node several times.
  const std::int64_t n = product(output);
  const bool like_a = a == output, like_b = b == output;
  if (n > 1 && like_a && like_b) return kernels::Broadcast{Form::none, false, n};
  if (n > 1 && like_a && product(b) == 1) return kernels::Broadcast{Form::scalar, false, n};
  if (n > 1 && like_b && product(a) == 1) return kernels::Broadcast{Form::scalar, true, n};
  return broadcast_of(BroadcastLoop({a, b}, output));
}

Choice BinaryF32::operator()(Op& op) const {
  if (op.in(0).dtype != DType::f32) return refuse("not float32");
  const std::optional<kernels::Broadcast> broadcast =
      broadcast_of(op.in_shape(0), second_operand_shape(op), op.out_shape(0));
  if (!broadcast) return refuse("a broadcast that is neither of a scalar, a row nor a column");
  return Kernel(
      [function = function, broadcast = *broadcast, n = element_count(op.out_shape(0))](Run& run) {
        kernels::binary(function, broadcast, run.in<float>(0), run.in<float>(1), run.out<float>(0),
                        n, run.pool());
      });
}

}  // namespace mezzo::ops
