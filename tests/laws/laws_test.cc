// The laws of taps, patches and resumes, on every value of every test model:
//   1. a tap equals the reference run's value (the reference kernels' without
//      passes, all values at once);
//   2. patching a value with its own tensor changes nothing, bit for bit;
//   3. resuming from any value equals the full run;
//   4. a request without taps has the plan of a plain run, whatever was asked for before;
//   5. a request gives the same bits again, whatever else runs on the session meanwhile.

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "kernels/target.h"
#include "laws/small_models.h"
#include "models/shared_models.h"

namespace mezzo::tests {
namespace {

// Of a large model this many values, spread evenly.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kMostValues = 20;  // each run takes many times as long
#else
constexpr std::size_t kMostValues = 300;
#endif

struct Subject {
  std::string name;
  Model model;
  Feeds feeds;
};

std::vector<Subject> subjects() {
  std::vector<Subject> list;
  for (SmallModel& small : small_models()) {
    list.push_back({small.name, std::move(small.model), std::move(small.feeds)});
  }
  std::string last;
  for (GoldenCase& golden : golden_cases()) {
    if (golden.model == last) continue;
    last = golden.model;
    list.push_back({golden.model, Model::load(golden.path), std::move(golden.feeds)});
  }
  return list;
}

// Every node output, those in bodies included; evenly thinned out where there are too many.
std::vector<std::string> values_of(const Model& model, std::size_t most) {
  std::vector<std::string> all;
  for (const ValueInfo& value : model.values()) {
    if (value.kind == ValueInfo::Kind::node_output) all.push_back(value.name);
  }
  if (all.size() <= most) return all;
  std::vector<std::string> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(all[i * all.size() / most]);
  return some;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  if (a.dtype() == DType::string) {
    return std::equal(a.values<std::string>().begin(), a.values<std::string>().end(),
                      b.values<std::string>().begin());
  }
  return a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

// Kernel sets differ in rounding, which a deep network amplifies: 1e-3 of the value and of the
// largest value.
void expect_close(const Tensor& got, const Tensor& expected, const std::string& name,
                  double tolerance) {
  ASSERT_EQ(got.has_value(), expected.has_value()) << name;
  if (!got.has_value()) return;
  ASSERT_EQ(got.dtype(), expected.dtype()) << name;
  ASSERT_EQ(got.shape(), expected.shape()) << name;
  if (got.dtype() == DType::string || same_bits(got, expected)) {
    EXPECT_TRUE(same_bits(got, expected)) << name;
    return;
  }
  const Tensor a = got.to(DType::f64), b = expected.to(DType::f64);
  const auto x = a.values<double>();
  const auto y = b.values<double>();
  double largest = 0;
  for (const double value : y) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  // A quantised value may fall on the other side of a step.
  const bool integer = bits_of(got.dtype()) == 8;
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) && std::isnan(y[i])) continue;
    if (x[i] == y[i]) continue;
    const double allowed = integer ? 1.0 : tolerance * (std::abs(y[i]) + largest) + 1e-6;
    if (!(std::abs(x[i] - y[i]) <= allowed)) ++wrong;
  }
  EXPECT_EQ(wrong, 0) << name << ": of " << x.size() << " elements, largest " << largest;
}

double tolerance_of(const Subject& subject) {
  return subject.name.find("fp16") != std::string::npos ? 4e-3 : 1e-3;
}

// A patched or fed 16-bit float is rounded to its own type, which it need not be in between
// otherwise.
double rounding_of(const Subject& subject) {
  return subject.name.find("fp16") != std::string::npos ? 1e-2 : 1e-5;
}

// What other sums of the same terms differ by: little, but it may take a 16-bit float to the other
// side of a rounding; and of what is 1e-5 beside numbers up to 7, a sigmoid makes 1.5e-5 beside 1.
double step_of(const Subject& subject) {
  return subject.name.find("fp16") != std::string::npos ? 1e-3 : 2e-5;
}

template <class Check>
void for_each_subject(const Check& check) {
  for (const Subject& subject : subjects()) {
    SCOPED_TRACE(subject.name);
    try {
      check(subject);
    } catch (const Error& error) {
      ADD_FAILURE() << subject.name << ": " << error.what();
    }
  }
}

TEST(Laws, TapEqualsReference) {
  for_each_subject([](const Subject& subject) {
    const std::vector<std::string> values = values_of(subject.model, kMostValues);
    const kernels::Target best = kernels::active_target();
    kernels::set_active_target(kernels::Target::scalar);
    const Session plain(subject.model, {.threads = 1, .disabled_passes = {"all"}});
    const Outputs reference = plain.run(subject.feeds, values);
    for (const kernels::Target target : kernels::available_targets()) {
      if (target == kernels::Target::scalar) continue;
      SCOPED_TRACE(std::string(kernels::name_of(target)));
      kernels::set_active_target(target);
      const Session session(subject.model, {.threads = 2});
      const Outputs together = session.run(subject.feeds, values);
      for (std::size_t i = 0; i < values.size(); ++i) {
        expect_close(together[i], reference[i], values[i], tolerance_of(subject));
        if (target != best) continue;
        const Outputs alone = session.run(subject.feeds, {values[i]});
        expect_close(alone[0], together[i], values[i] + " alone", step_of(subject));
      }
    }
    kernels::set_active_target(best);
  });
}

TEST(Laws, PatchingWithItselfChangesNothing) {
  for_each_subject([](const Subject& subject) {
    const Session session(subject.model, {.threads = 1});
    const auto itself = [](const Tensor& tensor) { return tensor; };
    const std::vector<std::string> values = values_of(subject.model, kMostValues);
    std::vector<std::string> plain;
    for (const ValueInfo& output : subject.model.outputs()) plain.push_back(output.name);
    const Outputs full = session.run(subject.feeds, plain);
    int calls = 0;
    for (const std::string& value : values) {
      const auto counted = [&](const Tensor& tensor) {
        ++calls;
        return tensor;
      };
      const Outputs patched = session.run(subject.feeds, plain, {.patches = {{value, counted}}});
      for (std::size_t i = 0; i < plain.size(); ++i) {
        expect_close(patched[i], full[i], plain[i] + " with a patch of " + value,
                     rounding_of(subject));
      }
    }
    EXPECT_GT(calls, 0);
    // Bit for bit under the same plan: every value patched, against the same request with a patch
    // that copies.
    RunOptions options;
    for (const std::string& value : values) options.patches.push_back({value, itself});
    const Outputs once = session.run(subject.feeds, plain, options);
    for (Patch& patch : options.patches)
      patch.replace = [](const Tensor& tensor) { return tensor.clone(); };
    const Outputs again = session.run(subject.feeds, plain, options);
    for (std::size_t i = 0; i < plain.size(); ++i)
      EXPECT_TRUE(same_bits(once[i], again[i])) << plain[i];
  });
}

TEST(Laws, ResumingEqualsTheFullRun) {
  for_each_subject([](const Subject& subject) {
    const Session session(subject.model, {.threads = 2});
    const std::vector<std::string> values = values_of(subject.model, kMostValues);
    const Outputs taps = session.run(subject.feeds, values);
    std::vector<std::string> plain;
    for (const ValueInfo& output : subject.model.outputs()) plain.push_back(output.name);
    const Outputs full = session.run(subject.feeds, plain);
    for (std::size_t v = 0; v < values.size(); ++v) {
      if (!taps[v].has_value()) continue;
      Feeds feeds = subject.feeds;
      feeds.emplace_back(values[v], taps[v]);
      const Outputs resumed = session.run(feeds, plain);
      for (std::size_t i = 0; i < plain.size(); ++i) {
        expect_close(resumed[i], full[i], plain[i] + " from " + values[v], rounding_of(subject));
      }
    }
  });
}

TEST(Laws, AskingForNothingCostsNothing) {
  for_each_subject([](const Subject& subject) {
    const Session fresh(subject.model, {.threads = 1});
    const std::string plan = fresh.explain(subject.feeds);
    const Session used(subject.model, {.threads = 1});
    const std::vector<std::string> values = values_of(subject.model, 20);
    used.run(subject.feeds, values);
    used.run(subject.feeds, {},
             {.patches = {{values[0], [](const Tensor& tensor) { return tensor; }}}});
    used.run(subject.feeds);
    EXPECT_EQ(used.explain(subject.feeds), plan);
  });
}

TEST(Laws, RunsAtOnceGiveTheSameBits) {
  for_each_subject([](const Subject& subject) {
    const Session session(subject.model, {.threads = 3});
    const std::vector<std::string> values = values_of(subject.model, kMostValues);
    const Outputs alone = session.run(subject.feeds, values);
    // One of two has the worker threads, the other only its own.
    std::vector<std::atomic<int>> differing(values.size());
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 2; ++caller) {
      callers.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          const Outputs beside = session.run(subject.feeds, values);
          for (std::size_t v = 0; v < values.size(); ++v) {
            if (alone[v].has_value() && !same_bits(alone[v], beside[v])) ++differing[v];
          }
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    for (std::size_t v = 0; v < values.size(); ++v) EXPECT_EQ(differing[v], 0) << values[v];
  });
}

}  // namespace
}  // namespace mezzo::tests
