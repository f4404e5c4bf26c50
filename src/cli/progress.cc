#include "cli/progress.h"

#include <unistd.h>

#include <cstdio>
#include <string>

namespace mezzo::cli {
namespace {

constexpr std::size_t kBarWidth = 40;

}  // namespace

Progress::Progress(std::size_t total) : total_(total), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::show(std::size_t done) {
  if (!terminal_ || total_ == 0) return;
  drawn_ = true;
  const std::size_t filled = done * kBarWidth / total_;
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
  const double rate = spent.count() > 0 ? static_cast<double>(done) / spent.count() : 0;
  std::fprintf(stderr, "\r[%s] %zu of %zu, %.1f a second\033[K", bar.c_str(), done, total_, rate);
  std::fflush(stderr);
}

}  // namespace mezzo::cli
