// Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same elements under another shape.
// Spec: Reshape-1 (attribute), -5 (input), -14 (allowzero), -13, -19 ... -25 (types); Flatten-1, -9
// ... -25; Squeeze-1, -11, Unsqueeze-1, -11 (attribute), -13 ... -25 (input); Identity-1 ... -25.

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

// The shape that Reshape asks for: 0 copies an extent of the input (unless `allow_zero`), -1 stands
// for whatever makes the number of elements right.
Shape reshaped(const Shape& from, std::vector<std::int64_t> wanted, bool allow_zero) {
  const auto fail = [&](const char* problem) {
    return invalid(problem).expected("a shape for " + to_string(from)).got(to_string(wanted));
  };
  const Shape given = wanted;
  int unknown = -1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == -1) {
      if (unknown >= 0) throw fail("Reshape's shape has more than one -1");
      unknown = static_cast<int>(i);
    } else if (wanted[i] < 0) {
      throw fail("Reshape's shape has a negative extent");
    } else if (wanted[i] == 0 && !allow_zero) {
      if (i >= from.size()) throw fail("Reshape's shape copies an axis that the input has not");
      wanted[i] = from[i];
    }
  }
  const std::int64_t count = element_count(from);
  if (unknown >= 0) {
    wanted[static_cast<std::size_t>(unknown)] = 1;
    const std::int64_t others = element_count(wanted);
    if (others == 0 || count % others != 0) {
      wanted = given;
      throw fail("Reshape cannot tell what -1 stands for");
    }
    wanted[static_cast<std::size_t>(unknown)] = count / others;
  } else if (element_count(wanted) != count) {
    wanted = given;
    throw fail("Reshape would change the number of elements");
  }
  return wanted;
}

void infer_reshape_attribute(Op& op) {
  op.set_out(0, op.in(0).dtype, reshaped(op.in_shape(0), op.attr_ints("shape"), false));
}

void infer_reshape_input(Op& op) {
  require_rank(op, 1, 1, 1);
  const bool allow_zero = op.opset() >= 14 && op.attr_int("allowzero") != 0;
  op.set_out(0, op.in(0).dtype, reshaped(op.in_shape(0), op.ints(1), allow_zero));
}

void infer_flatten(Op& op) {
  const Shape& shape = op.in_shape(0);
  const int rank = op.in_rank(0);
  const std::int64_t given = op.attr_int("axis");
  // Unlike other axes, this one may be the rank.
  const int axis = given == rank ? rank : normalize_axis(given, rank);
  const auto middle = shape.begin() + axis;
  op.set_out(0, op.in(0).dtype,
             {element_count({shape.begin(), middle}), element_count({middle, shape.end()})});
}

// Which of `rank` axes the list names. Throws where it names one twice.
std::vector<bool> marked_axes(const std::vector<std::int64_t>& axes, std::int64_t rank) {
  if (rank > (1 << 16)) throw Error(ErrorCode::limit, "too many axes").got(std::to_string(rank));
  std::vector<bool> marked(static_cast<std::size_t>(rank), false);
  for (const std::int64_t given : axes) {
    const auto axis = static_cast<std::size_t>(normalize_axis(given, static_cast<int>(rank)));
    if (marked[axis]) throw invalid("an axis is named twice").got(to_string(axes));
    marked[axis] = true;
  }
  return marked;
}

void squeeze(Op& op, bool axes_given, const std::vector<std::int64_t>& axes) {
  const Shape& shape = op.in_shape(0);
  const std::vector<bool> marked = marked_axes(axes, op.in_rank(0));
  Shape out;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (axes_given && marked[i] && shape[i] != 1) {
      throw invalid("Squeeze of an axis whose extent is not 1")
          .at("axis " + std::to_string(i))
          .got(to_string(shape));
    }
    if (axes_given ? !marked[i] : shape[i] != 1) out.push_back(shape[i]);
  }
  op.set_out(0, op.in(0).dtype, std::move(out));
}

void infer_squeeze_attribute(Op& op) { squeeze(op, op.has_attr("axes"), op.attr_ints("axes")); }
void infer_squeeze_input(Op& op) { squeeze(op, op.has_in(1), op.ints(1)); }

void unsqueeze(Op& op, const std::vector<std::int64_t>& axes) {
  const Shape& shape = op.in_shape(0);
  const std::vector<bool> marked =
      marked_axes(axes, op.in_rank(0) + static_cast<std::int64_t>(axes.size()));
  Shape out(marked.size(), 1);
  std::size_t next = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!marked[i]) out[i] = shape[next++];
  }
  op.set_out(0, op.in(0).dtype, std::move(out));
}

void infer_unsqueeze_attribute(Op& op) { unsqueeze(op, op.attr_ints("axes")); }
void infer_unsqueeze_input(Op& op) { unsqueeze(op, op.ints(1)); }

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(reshape) {
  op("Reshape")
      .since(1)
      .attr("consumed_inputs", Kind::ints)
      .attr("shape", Kind::ints)
      .in("data", kFloats)
      .out("reshaped", like(0))
      .infer(infer_reshape_attribute)
      .view();
  op("Reshape")
      .since(5, 13)
      .in("data", kAllWithBf16)
      .in("shape", DType::i64)
      .out("reshaped", like(0))
      .infer(infer_reshape_input)
      .view();
  op("Reshape")
      .since(14, 19, 21, 23, 24, 25)
      .attr("allowzero", 0)
      .in("data", kAllIr13)
      .in("shape", DType::i64)
      .out("reshaped", like(0))
      .infer(infer_reshape_input)
      .view();

  op("Flatten")
      .since(1, 9, 11, 13, 21, 23, 24, 25)
      .attr("axis", 1)
      .in("input", kAllIr13)
      .out("output", like(0))
      .infer(infer_flatten)
      .view();

  op("Squeeze")
      .since(1, 11)
      .attr("axes", Kind::ints)
      .in("data", kAllNoBf16)
      .out("squeezed", like(0))
      .infer(infer_squeeze_attribute)
      .view();
  op("Squeeze")
      .since(13, 21, 23, 24, 25)
      .in("data", kAllIr13)
      .in("axes", DType::i64, Arity::optional)
      .out("squeezed", like(0))
      .infer(infer_squeeze_input)
      .view();

  op("Unsqueeze")
      .since(1, 11)
      .required("axes", Kind::ints)
      .in("data", kAllNoBf16)
      .out("expanded", like(0))
      .infer(infer_unsqueeze_attribute)
      .view();
  op("Unsqueeze")
      .since(13, 21, 23, 24, 25)
      .in("data", kAllIr13)
      .in("axes", DType::i64)
      .out("expanded", like(0))
      .infer(infer_unsqueeze_input)
      .view();

  op("Identity")
      .since(1, 13, 14, 16, 19, 21, 23, 24, 25)
      .in("input", kAllIr13 | kOptional)
      .out("output", like(0))
      .infer(same_shape)
      .view();
}
