// Runs cases that tests in Python wrote (tests/ops/peer_cases.py) through Session and says
// which do not pass.
//
//     conformance_main MANIFEST [--jobs N] [--threads N] [--list-failed FILE] [GLOB...]
//     conformance_main --targets      (the instruction sets that MEZZO_TARGET may name here)
//
// Each case runs in a process of its own, so that a crash or an endless loop in one loses no other.
// The exit status is 0 whether cases pass or not; the caller compares the list.
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "kernels/target.h"
#include "mezzo/mezzo.h"
#include "onnx/reader.h"
#include "ops/op.h"

namespace mezzo {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kSecondsPerCase = 20;

struct Case {
  std::string name;
  double rtol = 0, atol = 0;
  std::vector<std::string> inputs;
  bool random = false;
  bool tensors = true;
};

struct Settings {
  fs::path manifest;
  std::vector<std::string> globs;
  std::string list_failed;
  int jobs = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int threads = 1;
};

// ---- comparing, as onnx.backend.test.runner does

bool is_float(DType dtype) {
  switch (dtype) {
    case DType::f16:
    case DType::bf16:
    case DType::f32:
    case DType::f64:
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f4e2m1:
    case DType::f8e8m0:
      return true;
    default:
      return false;
  }
}

template <class T>
std::string text_of(const T& value) {
  std::ostringstream text;
  text.precision(9);
  text << value;
  return text.str();
}

std::string index_text(std::int64_t position, const Shape& shape) {
  Shape index(shape.size());
  for (std::size_t i = shape.size(); i-- > 0; position /= shape[i]) index[i] = position % shape[i];
  return to_string(index);
}

template <class T, class Same>
std::string compare(std::span<const T> got, std::span<const T> expected, const Shape& shape,
                    const Same& same) {
  std::int64_t wrong = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!same(got[i], expected[i]) && wrong++ == 0) first = i;
  }
  if (wrong == 0) return "";
  return std::to_string(wrong) + " of " + std::to_string(got.size()) + " differ, first at " +
         index_text(static_cast<std::int64_t>(first), shape) + ": expected " +
         text_of(expected[first]) + ", got " + text_of(got[first]);
}

// numpy.testing.assert_allclose: NaN equals NaN, infinities only themselves.
struct Close {
  double rtol, atol;
  bool operator()(double got, double expected) const {
    if (std::isnan(got) || std::isnan(expected)) return std::isnan(got) && std::isnan(expected);
    if (std::isinf(got) || std::isinf(expected)) return got == expected;
    return std::abs(got - expected) <= atol + rtol * std::abs(expected);
  }
  template <class T>
  bool operator()(const std::complex<T>& got, const std::complex<T>& expected) const {
    return std::abs(got - expected) <= atol + rtol * std::abs(expected);
  }
};

template <class Complex, class Part>
std::span<const std::complex<Part>> complex_values(const Tensor& tensor) {
  static_assert(sizeof(Complex) == sizeof(std::complex<Part>));
  const auto values = tensor.values<Complex>();
  return {reinterpret_cast<const std::complex<Part>*>(values.data()), values.size()};
}

// Empty where `got` is what the case wants (of random values only type and shape), else what is
// wrong.
std::string difference(const Tensor& got, const Tensor& expected, Close close, bool random) {
  if (got.dtype() != expected.dtype()) {
    return "expected " + std::string(name_of(expected.dtype())) + ", got " +
           std::string(got.has_value() ? name_of(got.dtype()) : "no value");
  }
  const Shape& shape = expected.shape();
  if (got.shape() != shape) {
    return "expected shape " + to_string(shape) + ", got " + to_string(got.shape());
  }
  if (random) return "";
  switch (got.dtype()) {
    case DType::string:
      return compare(got.values<std::string>(), expected.values<std::string>(), shape,
                     std::equal_to<>());
    case DType::c64:
      return compare(complex_values<Complex64, float>(got),
                     complex_values<Complex64, float>(expected), shape, close);
    case DType::c128:
      return compare(complex_values<Complex128, double>(got),
                     complex_values<Complex128, double>(expected), shape, close);
    case DType::u64:
      return compare(got.values<std::uint64_t>(), expected.values<std::uint64_t>(), shape,
                     std::equal_to<>());
    default:
      break;
  }
  if (is_float(got.dtype())) {
    // Two ULPs: for bf16 so does onnx's runner, and the steps of an expanded function are each
    // rounded to f16, too.
    if (got.dtype() == DType::bf16) close.rtol = std::max(close.rtol, 0x1p-6);
    if (got.dtype() == DType::f16) close.rtol = std::max(close.rtol, 0x1p-9);
    const Tensor a = got.to(DType::f64), b = expected.to(DType::f64);
    return compare(a.values<double>(), b.values<double>(), shape, close);
  }
  const Tensor a = got.to(DType::i64), b = expected.to(DType::i64);
  return compare(a.values<std::int64_t>(), b.values<std::int64_t>(), shape, std::equal_to<>());
}

// ---- one case

std::vector<Tensor> read_tensors(const fs::path& folder, const std::string& prefix) {
  std::vector<Tensor> tensors;
  for (;;) {
    const fs::path file = folder / (prefix + "_" + std::to_string(tensors.size()) + ".pb");
    if (!fs::exists(file)) return tensors;
    tensors.push_back(onnx::read_tensor_file(file.string()).tensor);
  }
}

// Empty where the case passes, else why it does not.
std::string run_case(const Case& test, const Settings& settings) {
  if (!test.tensors) return "an input or output is a sequence, optional or map";
  const fs::path folder = settings.manifest.parent_path() / test.name;
  SessionOptions options;
  options.threads = settings.threads;
  const Session session((folder / "model.onnx").string(), options);
  int data_sets = 0;
  for (;; ++data_sets) {
    const fs::path data = folder / ("test_data_set_" + std::to_string(data_sets));
    if (!fs::exists(data)) break;
    Feeds feeds;
    for (Tensor& tensor : read_tensors(data, "input")) {
      feeds.emplace_back(test.inputs.at(feeds.size()), std::move(tensor));
    }
    const std::vector<Tensor> expected = read_tensors(data, "output");
    const Outputs outputs = session.run(feeds);
    if (outputs.size() != expected.size()) {
      return "expected " + std::to_string(expected.size()) + " outputs, got " +
             std::to_string(outputs.size());
    }
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::string text =
          difference(outputs[i], expected[i], {test.rtol, test.atol}, test.random);
      if (!text.empty()) return "output " + std::to_string(i) + ": " + text;
    }
  }
  if (test.random) return "random values, which nothing but NumPy's generator can repeat";
  return data_sets == 0 ? "the case has no data" : "";
}

std::string guarded_run(const Case& test, const Settings& settings) {
  try {
    return run_case(test, settings);
  } catch (const std::exception& error) {
    return error.what();
  }
}

// ---- all of them

std::vector<Case> read_manifest(const Settings& settings) {
  std::ifstream file(settings.manifest);
  if (!file) throw std::runtime_error("cannot read " + settings.manifest.string());
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    Case test{json.at("name"),   json.at("rtol"),   json.at("atol"),
              json.at("inputs"), json.at("random"), json.at("tensors")};
    const std::string short_name = test.name.substr(test.name.find('/') + 1);
    const auto matches = [&](const std::string& glob) {
      return fnmatch(glob.c_str(), test.name.c_str(), 0) == 0 ||
             fnmatch(glob.c_str(), short_name.c_str(), 0) == 0;
    };
    if (settings.globs.empty() ||
        std::any_of(settings.globs.begin(), settings.globs.end(), matches))
      cases.push_back(std::move(test));
  }
  return cases;
}

// A child writes why its case failed into an unnamed file that it shares with us: unlike a pipe,
// that takes a text of any length without anybody reading it.
struct Child {
  std::size_t index;
  int file;
};

Child start(const Case& test, std::size_t index, const Settings& settings, pid_t& pid) {
  const int file = fileno(std::tmpfile());
  pid = fork();
  if (pid < 0 || file < 0) throw std::runtime_error("cannot start a process");
  if (pid == 0) {
    alarm(kSecondsPerCase);
    const std::string reason = guarded_run(test, settings);
    const auto written = write(file, reason.data(), reason.size());
    // No destructors: what a case leaves broken must not be what ends it.
    _exit(reason.empty() ? 0 : written == static_cast<ssize_t>(reason.size()) ? 1 : 2);
  }
  return {index, file};
}

std::string reason_of(const Child& child, int status) {
  std::string text;
  if (WIFSIGNALED(status)) {
    text = WTERMSIG(status) == SIGALRM
               ? "took longer than " + std::to_string(kSecondsPerCase) + " s"
               : std::string("crashed: ") + strsignal(WTERMSIG(status));
  } else if (WEXITSTATUS(status) == 1) {
    text.resize(static_cast<std::size_t>(lseek(child.file, 0, SEEK_END)));
    if (pread(child.file, text.data(), text.size(), 0) < 0) text = "unreadable";
    std::replace(text.begin(), text.end(), '\n', ' ');
  } else if (WEXITSTATUS(status) != 0) {
    text = "ended with status " + std::to_string(WEXITSTATUS(status));
  }
  close(child.file);
  return text;
}

// Why each case failed; empty for those that passed.
std::vector<std::string> run_all(const std::vector<Case>& cases, const Settings& settings) {
  std::vector<std::string> reasons(cases.size());
  std::map<pid_t, Child> running;
  for (std::size_t next = 0; next < cases.size() || !running.empty();) {
    while (next < cases.size() && running.size() < static_cast<std::size_t>(settings.jobs)) {
      pid_t pid = 0;
      const Child child = start(cases[next], next, settings, pid);
      running.emplace(pid, child);
      ++next;
    }
    int status = 0;
    const pid_t ended = wait(&status);
    const auto found = running.find(ended);
    if (found == running.end()) continue;
    reasons[found->second.index] = reason_of(found->second, status);
    running.erase(found);
  }
  return reasons;
}

void print_targets() {
  for (const kernels::Target target : kernels::available_targets())
    std::cout << kernels::name_of(target) << "\n";
}

Settings parse(int argc, char** argv) {
  Settings settings;
  std::vector<std::string> words(argv + 1, argv + argc);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto value = [&] {
      if (i + 1 == words.size()) throw std::runtime_error(words[i] + " needs a value");
      return words[++i];
    };
    if (words[i] == "--jobs") {
      settings.jobs = std::max(1, std::stoi(value()));
    } else if (words[i] == "--threads") {
      settings.threads = std::stoi(value());
    } else if (words[i] == "--list-failed") {
      settings.list_failed = value();
    } else if (words[i].starts_with("--")) {
      throw std::runtime_error("unknown option " + words[i]);
    } else if (settings.manifest.empty()) {
      settings.manifest = words[i];
    } else {
      settings.globs.push_back(words[i]);
    }
  }
  if (settings.manifest.empty()) throw std::runtime_error("no manifest given");
  return settings;
}

int run(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--targets") {
    print_targets();
    return 0;
  }
  const Settings settings = parse(argc, argv);
  const std::vector<Case> cases = read_manifest(settings);
  ops::Registry::get();  // once, for all children
  std::cout << "target " << kernels::name_of(kernels::active_target()) << std::endl;

  const std::vector<std::string> reasons = run_all(cases, settings);
  std::ofstream list;
  if (!settings.list_failed.empty()) list.open(settings.list_failed);
  std::size_t failed = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (reasons[i].empty()) continue;
    ++failed;
    std::cout << cases[i].name << ": " << reasons[i] << "\n";
    list << cases[i].name << "\n";
  }
  std::cout << cases.size() - failed << " passed, " << failed << " failed" << std::endl;
  return 0;
}

}  // namespace
}  // namespace mezzo

int main(int argc, char** argv) {
  try {
    return mezzo::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "conformance_main: " << error.what() << "\n";
    return 2;
  }
}
