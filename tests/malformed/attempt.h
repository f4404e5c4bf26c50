// What a file that nobody should trust does to mezzo: load, plan, run.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/memory.h"
#include "mezzo/session.h"
#include "onnx/writer.h"

namespace mezzo::malformed {

/// What became of it: nothing said (it is a valid model after all), or the Error.
using Outcome = std::optional<Error>;

/// Ends the program, with the case's name, should it take longer than anybody would wait.
class Deadline {
 public:
  explicit Deadline(const std::string& name) {
    std::snprintf(text(), kSize, "'%.150s' takes too long\n", name.c_str());
    std::signal(SIGALRM, [](int) {
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text(), std::strlen(text()));
      ::_exit(1);
    });
    ::alarm(kSeconds);
  }
  ~Deadline() { ::alarm(0); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  static constexpr unsigned kSeconds = 60;  // under sanitizers, on a busy machine
  static constexpr std::size_t kSize = 200;
  static char* text() {
    static char buffer[kSize];
    return buffer;
  }
};

/// Zeros of the declared type and shape; what is open, or absurd, becomes 1.
inline Tensor zeros(const ValueInfo& input) {
  Shape shape;
  if (input.shape) {
    for (const Dim& dim : *input.shape) {
      const std::int64_t extent = dim.value.value_or(1);
      shape.push_back(extent >= 0 && extent <= 64 ? extent : 1);
    }
  }
  if (shape.size() > 8) shape.resize(8);
  return Tensor(input.dtype == DType::undefined ? DType::f32 : input.dtype, std::move(shape));
}

/// `load` gives the model. Whatever is thrown that is no Error fails the test, and so does an Error
/// that calls itself a defect of mezzo.
inline Outcome attempt(const std::string& name, const std::function<Model()>& load) {
  const Deadline deadline(name);
  set_allocation_limit(std::size_t{64} << 20);
  Outcome outcome;
  try {
    SessionOptions options;
    options.threads = 1;
    options.loop_iterations = 1000;
    const Session session(load(), options);
    Feeds feeds;
    for (const ValueInfo& input : session.model().inputs()) {
      feeds.emplace_back(input.name, zeros(input));
    }
    session.run(feeds);
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal) << name << ": " << error.what();
    EXPECT_FALSE(error.problem().empty()) << name;
    outcome = error;
  } catch (const std::exception& error) {
    ADD_FAILURE() << name << ": not an Error: " << error.what();
  }
  set_allocation_limit(0);
  return outcome;
}

inline Outcome attempt_bytes(const std::string& name, const std::string& bytes) {
  // In a buffer of its own, so that the sanitizer sees a step beyond its end.
  const std::shared_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return attempt(name, [&] { return Model::from_memory(copy.get(), bytes.size(), copy); });
}

inline Outcome attempt_model(const std::string& name, const onnx::Model& model) {
  return attempt_bytes(name, onnx::write_memory(model));
}

inline Outcome attempt_file(const std::string& name, const std::string& path) {
  return attempt(name, [&] { return Model::load(path); });
}

/// The same where only an Error is right; one with `text` in its message, where that is given.
inline void expect_error(const std::string& name, const Outcome& outcome,
                         std::string_view text = "") {
  if (!outcome) {
    ADD_FAILURE() << name << ": no error";
  } else if (std::string_view(outcome->what()).find(text) == std::string_view::npos) {
    ADD_FAILURE() << name << ": '" << text << "' is not in: " << outcome->what();
  }
}

}  // namespace mezzo::malformed
