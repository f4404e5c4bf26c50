// ByteTable (mezzo 1): a function of each byte by itself, y[i] = table[x[i]], which the pass
// `byte_table` puts in the place of what stands between a quantised tensor and another one made of
// it element by element. `table` has 256 numbers, those of the bytes 0 to 255 (int8: 0 to 127, -128
// to -1), in the range of y's type, which `is_signed` says.

#include "kernels/elementwise_f32.h"
#include "kernels/table_i8.h"
#include "ops/element_runs.h"
#include "ops/quantization.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

DType result_type(const Op& op) { return op.attr_int("is_signed") != 0 ? DType::i8 : DType::u8; }

void infer(Op& op) {
  const std::vector<std::int64_t> table = op.attr_ints("table");
  if (table.size() != kernels::ByteTable().size()) {
    throw invalid("the table has not one number for each byte")
        .at("attribute 'table'")
        .expected("256")
        .got(std::to_string(table.size()));
  }
  const IntRange range = range_of(result_type(op));
  for (const std::int64_t number : table) {
    if (number >= range.least && number <= range.most) continue;
    throw invalid("a number does not fit the type")
        .at("attribute 'table'")
        .expected(std::to_string(range.least) + " to " + std::to_string(range.most))
        .got(std::to_string(number));
  }
  op.set_out(0, result_type(op), op.in_shape(0));
}

// compute(table, x, y, n) for shares of the elements.
template <class Compute>
Kernel by_shares(const Op& op, const Compute& compute) {
  kernels::ByteTable table{};
  const std::vector<std::int64_t> numbers = op.attr_ints("table");
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(numbers[i]);
  return [runs = ElementRuns(op), table, compute](Run& run) {
    runs.each<std::uint8_t>(run, [&](const std::uint8_t* x, std::uint8_t* y, std::int64_t n) {
      run.pool().parallel_for(n, kernels::kCheapGrain, [&](std::int64_t begin, std::int64_t end) {
        compute(table, x + begin, y + begin, end - begin);
      });
    });
  };
}

Choice simd(Op& op) { return by_shares(op, kernels::look_up); }

Choice reference(Op& op) {
  return by_shares(op, [](const kernels::ByteTable& table, const std::uint8_t* x, std::uint8_t* y,
                          std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = table[x[i]];
  });
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(byte_table) {
  op("ByteTable", "mezzo")
      .since(1)
      .required("table", FormalAttribute::Kind::ints)
      .attr("is_signed", 0)
      .in("x", kQuantized8)
      .out("y", kQuantized8)
      .infer(infer)
      .in_place(0)
      .batched({0})
      .banded([](const Op& op) { return rows_of_types(op, kQuantized8); })
      .simd_kernel("simd", simd)
      .kernel("reference", reference);
}
