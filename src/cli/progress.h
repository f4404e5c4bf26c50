// How far a long command is, on the terminal.
#pragma once

#include <chrono>
#include <cstddef>

namespace mezzo::cli {

/// A bar on stderr, drawn only where that is a terminal, and erased at the end.
class Progress {
 public:
  explicit Progress(std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::size_t done);

 private:
  std::size_t total_;
  bool drawn_ = false;
  bool terminal_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace mezzo::cli
