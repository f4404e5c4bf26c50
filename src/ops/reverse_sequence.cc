// ReverseSequence: reverses the first part of each sequence of a batch. Spec: ReverseSequence-10,
// -28 (types).

#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  require_rank(op, 0, 2);
  const std::int64_t time = op.attr_int("time_axis"), batch = op.attr_int("batch_axis");
  if (time < 0 || time > 1 || batch != 1 - time) {
    throw invalid("time_axis and batch_axis must be 0 and 1, in either order")
        .got(std::to_string(time) + " and " + std::to_string(batch));
  }
  const Shape wanted = {op.in_shape(0)[static_cast<std::size_t>(batch)]};
  if (op.in_shape(1) != wanted) {
    throw invalid("sequence_lens must be one a batch")
        .expected(to_string(wanted))
        .got(to_string(op.in_shape(1)));
  }
  same_shape(op);
}

Choice by_size(Op& op) {
  const Shape& shape = op.in_shape(0);
  const bool time_first = op.attr_int("time_axis") == 0;
  const std::int64_t times = time_first ? shape[0] : shape[1];
  const std::int64_t inner = product(shape, 2, op.in_rank(0));
  const std::int64_t runs = inner == 0 ? 0 : shape[0] * shape[1];
  const std::int64_t columns = shape[1];
  const DType dtype = op.in(0).dtype;
  return [=](Run& run) {
    with_element(dtype, [&](auto element) {
      using Element = decltype(element);
      const auto reverse = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t row = i / columns, column = i % columns;
          const std::int64_t time = time_first ? row : column, batch = time_first ? column : row;
          const std::int64_t length = run.in<std::int64_t>(1)[batch];
          if (length < 0 || length > times) {
            throw Error(ErrorCode::runtime, "a sequence is longer than the tensor")
                .expected("0 to " + std::to_string(times))
                .got(std::to_string(length));
          }
          const std::int64_t from = time < length ? length - 1 - time : time;
          const std::int64_t source = time_first ? from * columns + column : row * columns + from;
          copy_run(run.in<Element>(0) + source * inner, run.out<Element>(0) + i * inner, inner);
        }
      };
      run.pool().parallel_for(runs, runs_per_task(dtype, inner), reverse);
    });
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(reverse_sequence) {
  op("ReverseSequence")
      .since(10, 28)
      .attr("batch_axis", 1)
      .attr("time_axis", 0)
      .in("input", kAllWithBf16)
      .in("sequence_lens", DType::i64)
      .out("Y", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
