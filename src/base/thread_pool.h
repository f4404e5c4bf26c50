// Our own threads: a fixed set of workers that share loops with the thread that asks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace mezzo {

/// Splits loops over threads. One pool serves one Session. Several threads may call `parallel_for`
/// at once: the first to come gets the workers, the others run their loops alone, so that the
/// machine is never oversubscribed.
class ThreadPool {
 public:
  /// `threads` counts the calling thread; 1 makes no workers.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept { return threads_; }
  /// How many threads a loop may have that the caller begins now: 1 inside of a body.
  int available() const noexcept;

  /// Calls body(begin, end) for disjoint ranges that cover [0, count). No range is shorter than
  /// `grain` unless count is, so cheap bodies should pass a large one (work of about 10
  /// microseconds). Each thread takes the same part of every loop of a length, as far as the others
  /// keep up. An exception of any call is rethrown here, once all have ended. Called from inside a
  /// body it runs on that thread alone.
  void parallel_for(std::int64_t count, std::int64_t grain,
                    const std::function<void(std::int64_t, std::int64_t)>& body);

 private:
  struct State;
  int threads_;
  std::unique_ptr<State> state_;
};

}  // namespace mezzo
