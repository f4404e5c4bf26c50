// Plans take over what earlier plans of the session have found. They must be those of a session
// that was asked for nothing before.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "laws/small_models.h"
#include "mezzo/session.h"

namespace mezzo::tests {
namespace {

// Rows that are split, joined to a past, and laid out by shape arithmetic as exporters write it; a
// shape that is fed, a weight that may be, and a branch.
Model rows() {
  GraphBuilder g;
  g.input("x", DType::f32, {-1, 8}).input("past", DType::f32, {-1, 8});
  g.input("sizes", DType::i64, {2}).input("half", DType::f16, {-1, 8});
  g.input("more", DType::boolean, {});
  g.weight("w", {8, 8}).weight("bias", {8});
  g.constant("first", Tensor::of<std::int64_t>({1}, {0}));
  g.constant("two", Tensor::of<std::int64_t>({1}, {2}));
  g.constant("one", Tensor::scalar(1.0F));
  g.node("Concat", {"past", "x"}, {"all"}, {GraphBuilder::number("axis", 0)});
  g.node("MatMul", {"x", "w"}, {"product"}).node("Add", {"product", "bias"}, {"linear"});
  g.node("Sigmoid", {"linear"}, {"gate"}).node("Mul", {"linear", "gate"}, {"swish"});
  g.node("Shape", {"all"}, {"all_shape"});
  g.node("Split", {"all_shape"}, {"count", "width"}, {GraphBuilder::number("axis", 0)});
  g.node("Div", {"width", "two"}, {"four"});
  g.node("Concat", {"count", "two", "four"}, {"parts"}, {GraphBuilder::number("axis", 0)});
  g.node("Reshape", {"all", "parts"}, {"cubes"});
  g.node("Transpose", {"cubes"}, {"turned"}, {GraphBuilder::ints("perm", {1, 0, 2})});
  g.node("Split", {"turned"}, {"a", "b"}, {GraphBuilder::number("axis", 0)});
  g.node("Sub", {"a", "b"}, {"between"}).node("ReduceSum", {"between", "first"}, {"sums"});
  g.node("Reshape", {"swish", "sizes"}, {"shaped"}).node("Relu", {"shaped"}, {"y"}).output("y");
  g.node("Sigmoid", {"half"}, {"half_gate"}).node("Mul", {"half", "half_gate"}, {"half_swish"});
  g.node("Transpose", {"half_swish"}, {"half_y"}).output("half_y");
  g.node("Transpose", {"half"}, {"half_turned"}).output("half_turned");
  GraphBuilder then, otherwise;
  then.node("Add", {"sums", "one"}, {"added"}).output("added");
  otherwise.node("Mul", {"sums", "sums"}, {"squared"}).output("squared");
  g.node("If", {"more"}, {"z"},
         {GraphBuilder::body("then_branch", then), GraphBuilder::body("else_branch", otherwise)});
  g.output("z");
  return g.finish(17);
}

struct Asked {
  Feeds feeds;
  std::vector<std::string> fetches;
  RunOptions options;
};

class Requests {
 public:
  Asked next() {
    Asked asked;
    const std::int64_t n = 2 * below(2) + 2, past = below(2);
    add(asked, "x", random({n, 8})).add(asked, "past", random({past, 8}));
    const std::int64_t width = below(2) == 0 ? 4 : 16;
    add(asked, "sizes", Tensor::of<std::int64_t>({2}, {n * 8 / width, width}));
    add(asked, "half", random({n, 8}).to(DType::f16));
    add(asked, "more", Tensor::scalar<bool>(below(2) == 0));
    // Of two outputs one, or a weight, or what shapes are made of.
    if (below(4) == 0) add(asked, "a", random({1, n + past, 4}));
    if (below(4) == 0) add(asked, "bias", random({8}));
    if (below(4) == 0) add(asked, "w", random({8, 8}));
    if (below(4) == 0) add(asked, "count", Tensor::of<std::int64_t>({1}, {n + past}));
    if (below(6) == 0) add(asked, "parts", Tensor::of<std::int64_t>({3}, {n + past, 2, 4}));
    static const std::vector<std::string> values = {
        "y",    "half_y",    "z",         "half_turned", "product", "linear",
        "gate", "all_shape", "count",     "four",        "parts",   "cubes",
        "b",    "between",   "half_gate", "half_swish",  "sums",    "w"};
    for (const std::string& value : values) {
      if (below(4) == 0) asked.fetches.push_back(value);
    }
    if (asked.fetches.empty()) asked.fetches = {"y"};
    const std::string chosen = values[static_cast<std::size_t>(below(values.size()))];
    if (below(4) == 0) asked.options.patches.push_back({chosen, twice});
    if (below(4) == 0) {
      asked.options.observers.push_back(
          {values[static_cast<std::size_t>(below(values.size()))], [](const auto&...) {}});
    }
    return asked;
  }

 private:
  static Tensor twice(const Tensor& tensor) {
    if (tensor.dtype() != DType::f32) return tensor.clone();
    Tensor changed = tensor.clone();
    for (float *x = static_cast<float*>(changed.mutable_data()), *end = x + changed.size();
         x != end; ++x)
      *x *= 2;
    return changed;
  }
  Requests& add(Asked& asked, const std::string& name, Tensor tensor) {
    asked.feeds.emplace_back(name, std::move(tensor));
    return *this;
  }
  Tensor random(const Shape& shape) {
    return GraphBuilder::random(shape, static_cast<std::size_t>(100 + below(3)));
  }
  std::int64_t below(std::size_t n) { return static_cast<std::int64_t>(random_() % n); }

  std::mt19937 random_{7};
};

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

TEST(Precedents, ChangeNoPlan) {
  const Model model = rows();
  Requests requests;
  const Session used(model, {.threads = 1});
  for (int i = 0; i < 1000; ++i) {
    const Asked asked = requests.next();
    const Session fresh(model, {.threads = 1});
    const Outputs expected = fresh.run(asked.feeds, asked.fetches, asked.options);
    const Outputs got = used.run(asked.feeds, asked.fetches, asked.options);
    for (std::size_t k = 0; k < asked.fetches.size(); ++k)
      ASSERT_TRUE(same_bits(got[k], expected[k])) << "request " << i << ": " << asked.fetches[k];
    ASSERT_EQ(used.explain(asked.feeds, asked.fetches), fresh.explain(asked.feeds, asked.fetches));
  }
}

TEST(Precedents, APatchedWeightIsAnother) {
  const Session session(rows(), {.threads = 1});
  const Feeds feeds = {{"x", GraphBuilder::random({2, 8}, 1)}};
  const Tensor plain = session.run(feeds, {"product"})[0];
  RunOptions options;
  options.patches.push_back({"w", [](const Tensor& w) { return Tensor(w.dtype(), w.shape()); }});
  EXPECT_NE(plain.values<float>()[0], 0);
  EXPECT_EQ(session.run(feeds, {"product"}, options)[0].values<float>()[0], 0);
  EXPECT_TRUE(same_bits(session.run(feeds, {"product"})[0], plain));
}

// y = a + b of two outputs of one node, z = -a.
TEST(Precedents, WhatIsFedStaysSo) {
  GraphBuilder g;
  g.input("x", DType::f32, {2});
  g.node("Split", {"x"}, {"a", "b"}, {GraphBuilder::number("axis", 0)});
  g.node("Add", {"a", "b"}, {"y"}).node("Neg", {"a"}, {"z"}).output("y").output("z");
  const Session session(g.finish(17));
  const Tensor x = Tensor::of<float>({2}, {1, 2}), ten = Tensor::of<float>({1}, {10});
  for (int i = 0; i < 2; ++i) {
    const Outputs fed = session.run({{"x", x}, {"a", ten}});
    EXPECT_EQ(fed["y"].values<float>()[0], 12);
    EXPECT_EQ(fed["z"].values<float>()[0], -10);
    EXPECT_EQ(session.run({{"x", x}})["y"].values<float>()[0], 3);
  }
}

}  // namespace
}  // namespace mezzo::tests
