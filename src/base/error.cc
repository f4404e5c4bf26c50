#include "mezzo/error.h"

namespace mezzo {

Error::Error(ErrorCode code, std::string problem) : code_(code), problem_(std::move(problem)) {
  compose();
}

Error&& Error::at(std::string place) && {
  add_place(place);
  return std::move(*this);
}

Error&& Error::expected(std::string text) && {
  expected_ = std::move(text);
  compose();
  return std::move(*this);
}

Error&& Error::got(std::string text) && {
  got_ = std::move(text);
  compose();
  return std::move(*this);
}

Error&& Error::hint(std::string text) && {
  hint_ = std::move(text);
  compose();
  return std::move(*this);
}

void Error::add_place(const std::string& place) {
  place_ = place_.empty() ? place : place + ": " + place_;
  compose();
}

void Error::compose() {
  message_ = place_.empty() ? problem_ : place_ + ": " + problem_;
  if (!expected_.empty() && !got_.empty()) {
    message_ += " (expected " + expected_ + ", got " + got_ + ")";
  } else if (!expected_.empty()) {
    message_ += " (expected " + expected_ + ")";
  } else if (!got_.empty()) {
    message_ += " (got " + got_ + ")";
  }
  if (!hint_.empty()) message_ += ". " + hint_;
  // Names from a file may hold anything; what() must not end there.
  for (std::size_t at = 0; (at = message_.find('\0', at)) != std::string::npos;) {
    message_.replace(at, 1, "\\0");
  }
}

}  // namespace mezzo
