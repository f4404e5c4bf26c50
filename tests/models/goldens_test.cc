// Trained models must give their golden vectors, with every kernel set of this machine and at 1 and
// 2 threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/target.h"
#include "models/shared_models.h"

namespace mezzo::tests {
namespace {

// |got - expected| <= 1e-3 |expected| + 1e-4 (range of the expected) + 1e-6; for 16-bit floats 2e-3
// of the range of values; int8: one step.
void expect_close(const Tensor& got, const Tensor& expected, const std::string& name) {
  ASSERT_EQ(got.size(), expected.size()) << name << " " << to_string(got.shape());
  const Tensor a = got.to(DType::f64), b = expected.to(DType::f64);
  const auto x = a.values<double>();
  const auto y = b.values<double>();
  double low = 0, high = 0;
  for (const double value : y) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const bool integer = got.dtype() == DType::i8 || got.dtype() == DType::u8;
  const bool half = got.dtype() == DType::f16;
  std::int64_t wrong = 0;
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = std::abs(x[i] - y[i]);
    const double allowed = integer ? 1.0
                           : half  ? 2e-3 * (high - low) + 1e-6
                                   : 1e-3 * std::abs(y[i]) + 1e-4 * (high - low) + 1e-6;
    if (!(error <= allowed)) ++wrong;
    worst = std::max(worst, error);
  }
  EXPECT_EQ(wrong, 0) << name << ": of " << x.size() << " elements; largest error " << worst
                      << ", range " << low << " to " << high;
}

TEST(Goldens, EveryModelOnEveryTarget) {
  if (!have_shared()) GTEST_SKIP() << "skipped: no shared data";
  const std::vector<GoldenCase> cases = golden_cases();
  ASSERT_FALSE(cases.empty());
  const kernels::Target best = kernels::active_target();
  for (const kernels::Target target : kernels::available_targets()) {
    kernels::set_active_target(target);
    for (const int threads : {1, 2}) {
      // The plain loops of the reference kernels are slow: once is enough.
      if (target == kernels::Target::scalar && threads == 2) continue;
      for (const GoldenCase& golden : cases) {
        SCOPED_TRACE(golden.model + " " + golden.source + ", " +
                     std::string(kernels::name_of(target)) + ", " + std::to_string(threads) +
                     " threads");
        try {
          const Session session(golden.path, {.threads = threads});
          const Outputs outputs = session.run(golden.feeds);
          for (const auto& [name, expected] : golden.expected)
            expect_close(outputs[name], expected, name);
        } catch (const Error& error) {
          ADD_FAILURE() << error.what();
        }
      }
    }
  }
  kernels::set_active_target(best);
  for (const char* name : {"scalar", "sse4", "avx2", "avx512", "amx"}) {
    const auto targets = kernels::available_targets();
    if (std::none_of(targets.begin(), targets.end(),
                     [&](auto t) { return kernels::name_of(t) == name; })) {
      std::printf("could not run on %s: this machine does not have it\n", name);
    }
  }
}

// Class of a picture by SqueezeNet 1.1, as the list of the shared data says.
TEST(Goldens, SqueezeNetNamesThePictures) {
  if (!have_shared()) GTEST_SKIP() << "skipped: no shared data";
  const Session session((shared_folder() / "models/squeezenet1.1.onnx").string());
  const std::pair<const char*, int> expected[] = {
      {"chelsea.png", 285},   {"winml_cat.jpg", 285},        {"winml_kitten_224.png", 281},
      {"winml_dog.jpg", 207}, {"winml_hummingbird.jpg", 94}, {"orange.png", 950}};
  for (const auto& [file, wanted] : expected) {
    const Tensor picture =
        image::load((shared_folder() / "images" / file).string(), image::imagenet());
    const Outputs outputs = session.run({{"data", picture}});
    const auto scores = outputs[0].values<float>();
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    EXPECT_EQ(best, wanted) << file;
  }
}

}  // namespace
}  // namespace mezzo::tests
