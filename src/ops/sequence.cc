// Sequences. Spec: SequenceConstruct-11, SequenceEmpty-11, SequenceInsert-11, SequenceErase-11,
// SequenceAt-11, SequenceLength-11, SplitToSequence-11, -24, ConcatFromSequence-11, SequenceMap-17.
//
// A sequence is a tensor [n] whose elements are tensors. They are shared, not copied, when one
// sequence is made of another.

#include <algorithm>

#include "ops/movement.h"
#include "ops/shapes.h"
#include "ops/stacking.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

Error failed(std::string problem) { return Error(ErrorCode::runtime, std::move(problem)); }

// The position that input `i` names among `count` places, or `fallback` where it is omitted.
std::int64_t position(const Run& run, int i, std::int64_t count, std::int64_t fallback) {
  const std::vector<std::int64_t> index = run.in_ints(i);
  if (!run.op().has_in(i)) return fallback;
  if (index.size() != 1) {
    throw failed("the position must be one number").got(std::to_string(index.size()) + " numbers");
  }
  return checked_index(index[0], count);
}

std::int64_t length_of(const Op& op, int i) { return element_count(op.in_shape(i)); }

Choice construct(Op&) {
  return [](Run& run) {
    Tensor* out = run.out<Tensor>(0);
    for (int i = 0; i < run.op().inputs(); ++i) {
      if (run.op().in(i).dtype != run.op().in(0).dtype) {
        throw failed("the tensors of a sequence must have one type")
            .at("input " + std::to_string(i))
            .expected(std::string(name_of(run.op().in(0).dtype)))
            .got(std::string(name_of(run.op().in(i).dtype)));
      }
      out[i] = run.in_tensor(i).clone();
    }
  };
}

Choice nothing(Op&) {
  return [](Run&) {};
}

Choice insert(Op&) {
  return [](Run& run) {
    const std::int64_t length = length_of(run.op(), 0);
    const Tensor* in = run.in<Tensor>(0);
    Tensor* out = run.out<Tensor>(0);
    if (length > 0 && in[0].dtype() != run.op().in(1).dtype) {
      throw failed("the tensors of a sequence must have one type")
          .at("input 1")
          .expected(std::string(name_of(in[0].dtype())))
          .got(std::string(name_of(run.op().in(1).dtype)));
    }
    // Counted from the back, -1 is before the last; the position behind it has no negative number.
    const std::vector<std::int64_t> given = run.in_ints(2);
    const std::int64_t at =
        given == std::vector<std::int64_t>{length} ? length : position(run, 2, length, length);
    std::copy_n(in, at, out);
    out[at] = run.in_tensor(1).clone();
    std::copy_n(in + at, length - at, out + at + 1);
  };
}

void infer_insert(Op& op) { op.set_out(0, DType::sequence, {checked_add(length_of(op, 0), 1)}); }

Choice erase(Op&) {
  return [](Run& run) {
    const std::int64_t length = length_of(run.op(), 0);
    const std::int64_t at = position(run, 1, length, length - 1);
    const Tensor* in = run.in<Tensor>(0);
    std::copy_n(in + at + 1, length - at - 1, std::copy_n(in, at, run.out<Tensor>(0)));
  };
}

void infer_erase(Op& op) {
  if (length_of(op, 0) == 0) throw failed("nothing can be erased from an empty sequence");
  op.set_out(0, DType::sequence, {length_of(op, 0) - 1});
}

void infer_unknown(Op& op) { op.set_out_unknown(0, DType::undefined); }

Choice element(Op&) {
  return [](Run& run) {
    const std::int64_t at = position(run, 1, length_of(run.op(), 0), 0);
    run.give(0, run.in<Tensor>(0)[at].owned());
  };
}

Choice length(Op&) {
  return [](Run& run) { *run.out<std::int64_t>(0) = length_of(run.op(), 0); };
}

// How SplitToSequence cuts: the parts' lengths along `axis`, and whether the parts keep it.
struct Cut {
  int axis = 0;
  bool keep = true;
  std::vector<std::int64_t> lengths;
};

Cut cut_of(const Op& op) {
  Cut cut;
  cut.axis = normalize_axis(op.attr_int("axis"), op.in_rank(0));
  const std::int64_t extent = op.in_shape(0)[static_cast<std::size_t>(cut.axis)];
  if (op.has_in(1) && op.in_rank(1) > 0) {
    cut.lengths = op.ints(1);
    std::int64_t sum = 0;
    for (const std::int64_t part : cut.lengths) {
      if (part < 0) throw failed("a part cannot have a negative length").got(std::to_string(part));
      sum = checked_add(sum, part);
    }
    if (sum != extent) {
      throw failed("the lengths of the parts do not fit the input")
          .expected("a sum of " + std::to_string(extent))
          .got(std::to_string(sum));
    }
    return cut;
  }
  const std::int64_t step = op.has_in(1) ? op.ints(1)[0] : 1;
  if (step <= 0) throw failed("a part must be at least 1 long").got(std::to_string(step));
  cut.keep = op.has_in(1) || op.attr_int("keepdims") != 0;
  for (std::int64_t at = 0; at < extent; at += step) {
    cut.lengths.push_back(std::min(step, extent - at));
  }
  return cut;
}

void infer_split(Op& op) {
  op.set_out(0, DType::sequence, {static_cast<std::int64_t>(cut_of(op).lengths.size())});
}

Choice split(Op& op) {
  return [cut = cut_of(op)](Run& run) {
    const Shape& shape = run.op().in_shape(0);
    const std::vector<std::int64_t> strides = strides_of(shape);
    const auto axis = static_cast<std::size_t>(cut.axis);
    Tensor* out = run.out<Tensor>(0);
    std::int64_t offset = 0;
    for (const std::int64_t part_length : cut.lengths) {
      Shape part = shape;
      part[axis] = part_length;
      Tensor tensor = Tensor::uninitialized(run.op().in(0).dtype, part);
      Mover(tensor.dtype(), part, strides, strides_of(part), offset * strides[axis])
          .run(run.in_data(0), tensor.mutable_data(), run.pool());
      if (!cut.keep) part.erase(part.begin() + cut.axis);
      *out++ = tensor.reshaped(std::move(part));
      offset += part_length;
    }
  };
}

Tensor joined(const std::vector<Tensor>& parts, std::int64_t attribute, ThreadPool& pool) {
  const Tensor& first = parts.front();
  const auto axis = static_cast<std::size_t>(normalize_axis(attribute, first.rank()));
  Shape shape = first.shape();
  shape[axis] = 0;
  for (const Tensor& part : parts) {
    Shape rest = part.shape();
    if (part.rank() == first.rank()) rest[axis] = first.shape()[axis];
    if (part.dtype() != first.dtype() || rest != first.shape()) {
      throw failed("the tensors of the sequence cannot be joined")
          .expected(std::string(name_of(first.dtype())) + to_string(first.shape()) +
                    " but for axis " + std::to_string(axis))
          .got(std::string(name_of(part.dtype())) + to_string(part.shape()));
    }
    shape[axis] = checked_add(shape[axis], part.shape()[axis]);
  }
  Tensor result = Tensor::uninitialized(first.dtype(), shape);
  const std::vector<std::int64_t> strides = strides_of(shape);
  std::int64_t offset = 0;
  for (const Tensor& part : parts) {
    Mover(part.dtype(), part.shape(), strides_of(part.shape()), strides, 0, offset * strides[axis])
        .run(part.data(), result.mutable_data(), pool);
    offset += part.shape()[axis];
  }
  return result;
}

Choice concat(Op&) {
  return [](Run& run) {
    const Op& op = run.op();
    const Tensor* in = run.in<Tensor>(0);
    const std::vector<Tensor> parts(in, in + length_of(op, 0));
    if (parts.empty()) throw failed("an empty sequence cannot be concatenated");
    const std::int64_t axis = op.attr_int("axis");
    run.give(0,
             op.attr_int("new_axis") != 0 ? stack(parts, axis) : joined(parts, axis, run.pool()));
  };
}

void infer_map(Op& op) {
  for (int i = 1; i < op.inputs(); ++i) {
    if (op.in(i).dtype == DType::sequence && length_of(op, i) != length_of(op, 0)) {
      throw failed("the sequences have different lengths")
          .at("input " + std::to_string(i))
          .expected(std::to_string(length_of(op, 0)))
          .got(std::to_string(length_of(op, i)));
    }
  }
  for (int i = 0; i < op.outputs(); ++i) op.set_out(i, DType::sequence, op.in_shape(0));
}

Choice map(Op&) {
  return [](Run& run) {
    const Op& op = run.op();
    for (std::int64_t at = 0; at < length_of(op, 0); ++at) {
      std::vector<Tensor> inputs;
      for (int i = 0; i < op.inputs(); ++i) {
        const bool sequence = op.in(i).dtype == DType::sequence;
        inputs.push_back(sequence ? run.in<Tensor>(i)[at] : run.in_tensor(i));
      }
      const std::vector<Tensor> results = run.bodies().call(op.attr_body("body"), inputs);
      if (static_cast<int>(results.size()) != op.outputs()) {
        throw invalid("the body has another number of outputs than its node")
            .expected(std::to_string(op.outputs()))
            .got(std::to_string(results.size()));
      }
      for (int i = 0; i < op.outputs(); ++i) {
        if (!op.has_out(i)) continue;
        run.out<Tensor>(i)[at] = results[static_cast<std::size_t>(i)].owned();
      }
    }
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(sequence) {
  op("SequenceConstruct")
      .since(11)
      .in("inputs", kAllIr14, Arity::variadic)
      .out("output_sequence", kSequence)
      .infer([](Op& node) { node.set_out(0, DType::sequence, {node.inputs()}); })
      .kernel("copies", construct);
  op("SequenceEmpty")
      .since(11)
      .attr("dtype", Kind::int_)
      .out("output", kSequence)
      .infer([](Op& node) { node.set_out(0, DType::sequence, {0}); })
      .kernel("empty", nothing);
  op("SequenceInsert")
      .since(11)
      .in("input_sequence", kSequence)
      .in("tensor", kAllIr14)
      .in("position", kIndices, Arity::optional)
      .out("output_sequence", kSequence)
      .infer(infer_insert)
      .kernel("shared elements", insert);
  op("SequenceErase")
      .since(11)
      .in("input_sequence", kSequence)
      .in("position", kIndices, Arity::optional)
      .out("output_sequence", kSequence)
      .infer(infer_erase)
      .kernel("shared elements", erase);
  op("SequenceAt")
      .since(11)
      .in("input_sequence", kSequence)
      .in("position", kIndices)
      .out("tensor", kAllIr14)
      .infer(infer_unknown)
      .kernel("shared element", element);
  op("SequenceLength")
      .since(11)
      .in("input_sequence", kSequence)
      .out("length", DType::i64)
      .infer([](Op& node) { node.set_out(0, DType::i64, {}); })
      .from_shapes()
      .kernel("from the shape", length);
  op("SplitToSequence")
      .since(11, 24)
      .attr("keepdims", 1)
      .attr("axis", 0)
      .in("input", kAllIr14)
      .in("split", kIndices, Arity::optional)
      .out("output_sequence", kSequence)
      .infer(infer_split)
      .kernel_by_size(split);
  op("ConcatFromSequence")
      .since(11)
      .attr("new_axis", 0)
      .required("axis", Kind::int_)
      .in("input_sequence", kSequence)
      .out("concat_result", kAllIr14)
      .infer(infer_unknown)
      .kernel_by_size(concat);
  op("SequenceMap")
      .since(17)
      .required("body", Kind::graph)
      .in("input_sequence", kSequence)
      .in_any("additional_inputs", kAllIr14 | kSequence)
      .out_any("out_sequence", kSequence)
      .infer(infer_map)
      .kernel("one element after the other", map);
}
