// One node that is wrong, of an operator that moves or makes elements: impossible shapes, indices
// out of range, outputs of terabytes. Each must be an Error.
#include <gtest/gtest.h>

#include <limits>

#include "operator_cases.h"

namespace mezzo::malformed {
namespace {

TEST(MalformedOperators, ShapesAndMovement) {
  const In x = Shape{2, 3, 4};
  std::vector<Case> cases;
  for (const Ints& shape : std::vector<Ints>{{7},
                                             {-1, -1},
                                             {-2, 12},
                                             {2, 3, 4, 0},
                                             {5, -1},
                                             {kHuge, 4},
                                             {kHuge, kHuge, -1},
                                             {INT64_MIN},
                                             {},
                                             {24, -1, 0, 0}}) {
    cases.push_back({"Reshape", {x, In(ints(shape))}});
  }
  for (const Ints& perm : std::vector<Ints>{{0, 0, 1}, {0, 1, 5}, {-4, 0, 1}, {0}, {0, 1, 2, 3}}) {
    cases.push_back({"Transpose", {x}, {l("perm", perm)}});
  }
  for (const std::int64_t axis : {std::int64_t{9}, std::int64_t{-9}, INT64_MAX, INT64_MIN, kTera}) {
    cases.push_back({"Concat", {x, x}, {i("axis", axis)}});
    cases.push_back({"Split", {x}, {i("axis", axis), i("num_outputs", 2)}, 2});
    cases.push_back({"Gather", {x, In(ints({0}))}, {i("axis", axis)}});
    cases.push_back({"GatherElements", {x, In(Tensor(DType::i64, {1, 1, 1}))}, {i("axis", axis)}});
    cases.push_back({"Flatten", {x}, {i("axis", axis)}});
    cases.push_back({"Softmax", {x}, {i("axis", axis)}});
    cases.push_back({"LogSoftmax", {x}, {i("axis", axis)}, 1, 11});
    cases.push_back({"ArgMax", {x}, {i("axis", axis)}});
    cases.push_back({"CumSum", {x, In(scalar(axis))}});
    cases.push_back({"ReduceSum", {x, In(ints({axis}))}});
    cases.push_back({"ReduceMean", {x}, {l("axes", {axis})}, 1, 13});
    cases.push_back({"Squeeze", {x, In(ints({axis}))}});
    cases.push_back({"Unsqueeze", {x, In(ints({axis}))}});
    cases.push_back({"Unique", {x}, {i("axis", axis)}});
    cases.push_back({"TopK", {x, In(ints({1}))}, {i("axis", axis)}, 2});
    cases.push_back({"OneHot", {In(ints({1})), In(scalar(3)), In(ramp({2}))}, {i("axis", axis)}});
    cases.push_back({"LayerNormalization", {x, In(ramp({4}))}, {i("axis", axis)}});
    cases.push_back({"Compress", {x, In(Tensor(DType::boolean, {2}))}, {i("axis", axis)}});
    cases.push_back({"ScatterElements",
                     {x, In(Tensor(DType::i64, {1, 1, 1})), In(ramp({1, 1, 1}))},
                     {i("axis", axis)}});
    cases.push_back({"Slice", {x, In(ints({0})), In(ints({1})), In(ints({axis}))}});
    cases.push_back({"Hardmax", {x}, {i("axis", axis)}});
  }
  expect_errors(cases);
  expect_errors({
      {"Reshape", {x, x}},
      {"Reshape", {x, In(Tensor(DType::i64, {1, 1}))}},
      {"Reshape", {x}},
      {"Reshape", {x}, {l("shape", {5})}, 1, 1},
      {"Concat", {x, x}},
      {"Concat", {}, {i("axis", 0)}},
      {"Concat", {x, Shape{2, 3}}, {i("axis", 0)}},
      {"Concat", {x, Shape{2, 3, 5}}, {i("axis", 0)}},
      {"Concat", {x, In({2, 3, 4}, DType::i32)}, {i("axis", 0)}},
      {"Split", {x, In(ints({1, 2}))}, {i("axis", 0)}, 2},
      {"Split", {x, In(ints({3, -1}))}, {i("axis", 0)}, 2},
      {"Split", {x, In(ints({1}))}, {i("axis", 0)}, 2},
      {"Split", {x, In(ints({INT64_MAX, INT64_MAX}))}, {i("axis", 0)}, 2},
      {"Split", {x}, {i("num_outputs", 0)}, 2},
      {"Split", {x}, {i("num_outputs", -1)}, 2},
      {"Split", {x}, {i("num_outputs", 3)}, 2},
      {"Slice", {x, In(ints({0})), In(ints({1, 2}))}},
      {"Slice", {x, In(ints({0})), In(ints({1})), In(ints({0})), In(ints({0}))}},
      {"Slice", {x, In(ints({0, 0})), In(ints({1, 1})), In(ints({0, 0}))}},
      {"Slice", {x, In(ints({0, 0, 0, 0})), In(ints({1, 1, 1, 1}))}},
      {"Slice", {x, In(ramp({1})), In(ramp({1}))}},
      {"Gather", {x, In(ints({2}))}},
      {"Gather", {x, In(ints({-3}))}},
      {"Gather", {x, In(ints({INT64_MIN}))}},
      {"Gather", {Shape{}, In(ints({0}))}},
      {"Gather", {x, x}},
      {"GatherElements", {x, In(Tensor::of<std::int64_t>({1, 1, 1}, {2}))}},
      {"GatherElements", {x, In(ints({0}))}},
      {"GatherND", {x, In(ints({2}))}},
      {"GatherND", {x, In(ints({0, 0, 0, 0}))}},
      {"GatherND", {x, In(ints({0}))}, {i("batch_dims", 7)}},
      {"GatherND", {x, In(ints({0}))}, {i("batch_dims", -1)}},
      {"GatherND", {x, In(scalar(0))}},
      {"ScatterND", {x, In(Tensor::of<std::int64_t>({1, 1}, {2})), In(ramp({1, 3, 4}))}},
      {"ScatterND", {x, In(Tensor::of<std::int64_t>({1, 1}, {0})), In(ramp({1, 3}))}},
      {"ScatterND", {x, In(Tensor(DType::i64, {1, 9})), In(ramp({1}))}},
      {"ScatterElements", {x, In(Tensor::of<std::int64_t>({1, 1, 1}, {5})), In(ramp({1, 1, 1}))}},
      {"ScatterElements", {x, In(Tensor(DType::i64, {1, 1, 1})), In(ramp({1, 1, 2}))}},
      {"ScatterElements", {x, In(Tensor(DType::i64, {3, 3, 4})), In(ramp({3, 3, 5}))}},
      {"Pad", {x, In(ints({0, 0}))}},
      {"Pad", {x, In(ints({0, 0, 0, 0, 0, 0}))}, {s("mode", "bend")}},
      {"Pad", {x, In(ints({kHuge, 0, 0, kHuge, 0, 0}))}},
      {"Pad", {x, In(ints({0, 0, -9, 0, 0, 0}))}},
      {"Pad", {x, In(ints({kTera, 0, 0, 0, 0, 0}))}},
      {"Pad", {x, In(ints({INT64_MIN, 0, 0, 0, 0, 0}))}},
      {"Pad", {Shape{0}, In(ints({1, 1}))}, {s("mode", "edge")}},
      {"Squeeze", {x, In(ints({0}))}},
      {"Unsqueeze", {x, In(ints({0, 0}))}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", 0)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", -2)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", 3)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", kTera)}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}, {i("blocksize", 2), s("mode", "ABC")}},
      {"DepthToSpace", {Shape{1, 4, 2, 2}}},
      {"SpaceToDepth", {Shape{1, 1, 3, 3}}, {i("blocksize", 2)}},
      {"ReverseSequence", {Shape{4, 4}, In(ints({9, 1, 1, 1}))}},
      {"ReverseSequence", {Shape{4, 4}, In(ints({1}))}},
      {"ReverseSequence", {Shape{4, 4}, In(ints({1, 1, 1, 1}))}, {i("time_axis", 5)}},
      {"TopK", {x, In(ints({99}))}, {}, 2},
      {"TopK", {x, In(ints({-1}))}, {}, 2},
      {"TopK", {x, In(ints({1, 1}))}, {}, 2},
      {"Trilu", {Shape{3}}},
      {"Compress", {x, In(Tensor(DType::f32, {2}))}},
      {"Shape", {}},
      {"EyeLike", {Shape{3}}},
      {"NonZero", {}},
  });
}

TEST(MalformedOperators, OutputsOfTerabytes) {
  const In x = Shape{2};
  expect_errors({
      {"Tile", {x, In(ints({kTera}))}},
      {"Tile", {x, In(ints({kHuge}))}},
      {"Tile", {x, In(ints({-1}))}},
      {"Tile", {x, In(ints({1, 1}))}},
      {"Tile", {x, In(ramp({1}))}},
      {"Expand", {x, In(ints({kTera, 2}))}},
      {"Expand", {x, In(ints({kHuge, kHuge, 2}))}},
      {"Expand", {x, In(ints({3}))}},
      {"Expand", {x, In(ints({-1}))}},
      {"ConstantOfShape", {In(ints({kTera}))}},
      {"ConstantOfShape", {In(ints({kTera, kTera}))}},
      {"ConstantOfShape", {In(ints({-5}))}},
      {"ConstantOfShape", {In(ints({1}))}, {attribute("value", ramp({2}))}},
      {"ConstantOfShape", {In(Tensor(DType::i64, {1, 1}))}},
      {"Range", {In(scalar(0)), In(scalar(kTera)), In(scalar(1))}},
      {"Range", {In(scalar(INT64_MIN)), In(scalar(INT64_MAX)), In(scalar(1))}},
      {"Range", {In(scalar(0)), In(scalar(10)), In(scalar(0))}},
      {"Range", {In(fscalar(0)), In(fscalar(1e30F)), In(fscalar(1e-30F))}},
      {"Range",
       {In(fscalar(0)), In(fscalar(std::numeric_limits<float>::infinity())), In(fscalar(1))}},
      {"Range",
       {In(fscalar(0)), In(fscalar(std::numeric_limits<float>::quiet_NaN())), In(fscalar(1))}},
      {"Range", {In(ints({0, 1})), In(scalar(10)), In(scalar(1))}},
      {"OneHot", {In(ints({1})), In(scalar(kTera)), In(ramp({2}))}},
      {"OneHot", {In(ints({1})), In(scalar(-1)), In(ramp({2}))}},
      {"OneHot", {In(ints({1})), In(scalar(3)), In(ramp({3}))}},
      {"OneHot", {In(ints({1})), In(ints({3, 4})), In(ramp({2}))}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, In(ramp({4}))}},
      {"Resize", {Shape{1, 1, 2, 2}}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1, kTera, 1}))}},
      {"Resize",
       {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1, kTera, 1}))},
       {s("mode", "linear")}},
      {"Resize",
       {In({1, 1, 2, 2}, DType::i32), kOmitted, kOmitted, In(ints({1, 1, kHuge, kHuge}))},
       {s("mode", "cubic")}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1, -2, 1}))}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, kOmitted, In(ints({1, 1}))}},
      {"Resize", {Shape{1, 1, 2, 2}, kOmitted, In(Tensor::of<float>({4}, {1, 1, 1e18F, 1e18F}))}},
      {"Resize",
       {Shape{1, 1, 2, 2}, kOmitted,
        In(Tensor::of<float>({4}, {1, 1, std::numeric_limits<float>::quiet_NaN(), 1}))}},
      {"Resize",
       {Shape{1, 1, 2, 2}, kOmitted, In(Tensor::of<float>({4}, {1, 1, 2, 2}))},
       {s("mode", "guess")}},
      {"Upsample", {Shape{1, 1, 2, 2}, In(Tensor::of<float>({4}, {1, 1, 1e18F, 1e18F}))}, {}, 1, 9},
      {"HannWindow", {In(scalar(kTera))}},
      {"HannWindow", {In(scalar(-3))}},
      {"RandomNormal", {}, {l("shape", {kTera, kTera})}},
      {"RandomNormal", {}, {l("shape", {-1})}},
      {"RandomUniform", {}, {l("shape", {kTera})}},
      {"Multinomial", {Shape{1, 2}}, {i("sample_size", kTera)}},
      {"Multinomial", {Shape{1, 2}}, {i("sample_size", -1)}},
  });
}

}  // namespace
}  // namespace mezzo::malformed
