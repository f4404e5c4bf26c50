// The one way in which mezzo reports that something cannot be done.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace mezzo {

/// What kind of thing went wrong. The CLI turns a code into its exit status, Python into an
/// exception class.
enum class ErrorCode {
  invalid_argument,  ///< the caller's request: a name, shape, type, option or selector
  missing_input,     ///< the request needs a graph input that it does not feed
  file_error,        ///< a file is missing or cannot be read or written
  damaged_file,      ///< the file is no ONNX file, or truncated or damaged
  invalid_model,     ///< the model is against the ONNX specification
  unsupported,       ///< valid, but not implemented: an operator, a type, a format
  limit,             ///< more memory, depth or iterations than the limits allow
  runtime,    ///< an operator found its inputs' contents invalid (an index out of range, ...)
  cancelled,  ///< the caller ended the run
  internal,   ///< a defect of mezzo itself; please report it
};

/// Thrown for every failure. Besides the message it carries what was expected, what was got, where,
/// and what to do. Built in place: `throw Error(ErrorCode::invalid_argument, "unknown
/// input").at("feeds").expected("'data'").got("'x'")`. Copies share nothing; reading from several
/// threads is safe.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string problem);

  /// Where: a node, a value, a body path, a file and byte offset. Called again, the outer place
  /// goes before the inner.
  Error&& at(std::string place) &&;
  Error&& expected(std::string text) &&;
  Error&& got(std::string text) &&;
  /// What the reader can do about it, as a sentence.
  Error&& hint(std::string text) &&;
  /// The same as the rvalue `at`, for a handler that knows more about the place and rethrows.
  void add_place(const std::string& place);

  ErrorCode code() const noexcept { return code_; }
  const std::string& problem() const noexcept { return problem_; }
  const std::string& place() const noexcept { return place_; }
  const std::string& expected_text() const noexcept { return expected_; }
  const std::string& got_text() const noexcept { return got_; }
  const std::string& hint_text() const noexcept { return hint_; }
  /// All of it as one line: "PLACE: PROBLEM (expected E, got G). HINT".
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  void compose();

  ErrorCode code_;
  std::string problem_, place_, expected_, got_, hint_, message_;
};

}  // namespace mezzo
