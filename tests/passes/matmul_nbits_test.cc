// Weights of a few bits that a DequantizeLinear makes floats of.

#include "passes/fusion.h"

namespace mezzo::tests {
namespace {

using G = GraphBuilder;

constexpr std::int64_t kColumns = 37;

struct Form {
  DType dtype = DType::i4;
  std::int64_t rows = 5, k = 64, block = 32, axis = 0;
  bool zeros = false, bias = true;
};

Tensor packed(DType dtype, const Shape& shape, unsigned seed) {
  Tensor tensor = Tensor::uninitialized(dtype, shape);
  auto* bytes = static_cast<std::uint8_t*>(tensor.mutable_data());
  for (std::size_t i = 0; i < tensor.bytes(); ++i)
    bytes[i] = static_cast<std::uint8_t>((i + seed) * 2654435761U >> 11);
  return tensor;
}

Feeds rows(const Form& form) { return {{"x", G::random({form.rows, form.k}, 5)}}; }

// MatMul, and an Add of a row.
Model model(const Form& form) {
  const std::int64_t blocks = (form.k + form.block - 1) / form.block;
  const Shape scales = form.axis == 1 ? Shape{form.k, (kColumns + form.block - 1) / form.block}
                                      : Shape{blocks, kColumns};
  G g;
  g.input("x", DType::f32, {form.rows, form.k});
  g.constant("q", packed(form.dtype, {form.k, kColumns}, 1)).weight("s", scales);
  if (form.zeros) g.constant("z", packed(form.dtype, scales, 9));
  std::vector<std::string> inputs = {"q", "s"};
  if (form.zeros) inputs.emplace_back("z");
  g.node("DequantizeLinear", inputs, {"w"},
         {G::number("axis", form.axis), G::number("block_size", form.block)});
  g.node("MatMul", {"x", "w"}, {form.bias ? "m" : "y"});
  if (form.bias) g.weight("b", {kColumns}).node("Add", {"m", "b"}, {"y"});
  return g.output("y").finish(25);
}

TEST(MatMulNbitsPass, TypesAndZeroPoints) {
  for (const DType dtype : {DType::i4, DType::u4, DType::i2, DType::u2}) {
    for (const bool zeros : {false, true}) {
      for (const std::int64_t count : {1, 5, 20}) {
        SCOPED_TRACE(std::string(name_of(dtype)) + (zeros ? " with zeros" : ""));
        Form form;
        form.dtype = dtype;
        form.rows = count;
        form.zeros = zeros;
        const std::string plan =
            expect_fusion({"matmul_nbits", model(form), rows(form), "m", 1e-5});
        EXPECT_EQ(plan.rfind("1 steps", 0), 0U) << plan;
      }
    }
  }
}

TEST(MatMulNbitsPass, ALastBlockThatIsShort) {
  Form form;
  form.k = 77;
  form.zeros = true;
  form.block = 16;
  expect_fusion({"matmul_nbits", model(form), rows(form), "m", 1e-5});
}

// The weights themselves are still there for whoever asks for them.
TEST(MatMulNbitsPass, WeightsThatAreFetched) {
  for (const bool zeros : {false, true}) {
    Form form;
    form.zeros = zeros;
    const Session fused(model(form), {.threads = 1});
    const Session plain(model(form), {.threads = 1, .disabled_passes = {"matmul_nbits"}});
    const Outputs first = fused.run(rows(form)), got = fused.run(rows(form), {"w", "m", "y"}),
                  expected = plain.run(rows(form), {"w", "m", "y"});
    expect_near(first[0], expected[2], 1e-5);
    expect_near(got[0], expected[0], 0);
    expect_near(got[1], expected[1], 1e-5);
    expect_near(got[2], expected[2], 1e-5);
  }
}

// Blocks along the other axis, or of a size that MatMulNBits has not.
TEST(MatMulNbitsPass, OtherBlocksStay) {
  Form along_columns, odd, small;
  along_columns.axis = 1;
  odd.block = 24;
  small.block = 8;
  for (const Form& form : {along_columns, odd, small}) {
    const Session session(model(form), {.threads = 1});
    EXPECT_FALSE(is_by(session.explain(rows(form)), "matmul_nbits"));
    EXPECT_EQ(session.run(rows(form))[0].shape(), (Shape{form.rows, kColumns}));
  }
}

}  // namespace
}  // namespace mezzo::tests
