#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mezzo/error.h"

namespace mezzo {
namespace {

// How long an idle worker looks for the next loop before it sleeps: longer than most steps that run
// on one thread, since waking takes tens of microseconds, and short enough that an idle session
// burns nothing.
constexpr auto kSpinTime = std::chrono::microseconds(300);
// Job::state: the low bits count the workers inside the job, this one says that more may still
// enter.
constexpr int kOpen = 1 << 30;

thread_local bool inside_body = false;

inline void cpu_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

// Polls until `done()` or until kSpinTime is over; says whether it is done.
template <class Done>
bool spin_until(Done done) {
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      cpu_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

// One loop at a time. The caller fills the fields, opens `state` and bumps `epoch`; workers enter
// while it is open, take ranges until none is left and leave; the caller closes it and waits for
// those inside. A worker that wakes late finds it closed and touches nothing, so nobody ever waits
// for a thread that has not begun to work.
//
// Each thread has a share of the indices, the same neighbouring ones in every loop of a length:
// what it wrote in one loop it finds in its own caches in the next. It takes half of what is left
// of its share at a time, and then helps the others in the same way: a thread that the system
// interrupts holds up nobody for long, and there are few ranges all the same.
struct ThreadPool::State {
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  std::mutex busy;  // held by the caller whose loop the workers share
  std::atomic<int> epoch{0};
  std::atomic<int> state{0};
  std::atomic<bool> stop{false};

  const std::function<void(std::int64_t, std::int64_t)>* body = nullptr;
  std::int64_t grain = 1;
  std::vector<Share> shares;
  std::mutex error_mutex;
  std::exception_ptr error;

  std::vector<std::thread> workers;

  ~State() {
    stop.store(true);
    epoch.fetch_add(1);
    epoch.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  explicit State(int threads) : shares(static_cast<std::size_t>(threads)) {}

  void take_ranges(std::size_t thread) {
    inside_body = true;
    for (std::size_t i = 0; i < shares.size(); ++i)
      take_share(shares[(thread + i) % shares.size()]);
    inside_body = false;
  }

  void take_share(Share& share) {
    for (;;) {
      std::int64_t begin = share.next.load(std::memory_order_relaxed), end;
      do {
        const std::int64_t left = share.end - begin;
        if (left <= 0) return;
        end = left < 2 * grain ? share.end : begin + std::max(grain, (left + 1) / 2);
      } while (!share.next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
      try {
        (*body)(begin, end);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        for (Share& other : shares) other.next.store(other.end, std::memory_order_relaxed);
      }
    }
  }

  void work(std::size_t thread) {
    int seen = 0;
    for (;;) {
      if (!spin_until([&] { return epoch.load(std::memory_order_acquire) != seen; }))
        epoch.wait(seen, std::memory_order_acquire);
      seen = epoch.load(std::memory_order_acquire);
      if (stop.load()) return;
      int current = state.load(std::memory_order_acquire);
      while ((current & kOpen) != 0) {
        if (!state.compare_exchange_weak(current, current + 1, std::memory_order_acq_rel)) continue;
        take_ranges(thread);
        if (state.fetch_sub(1, std::memory_order_acq_rel) == 1) state.notify_all();
        break;
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  if (threads < 1) {
    throw Error(ErrorCode::invalid_argument, "a thread pool needs a thread")
        .expected("1 or more")
        .got(std::to_string(threads));
  }
  state_ = std::make_unique<State>(threads);
  state_->workers.reserve(static_cast<std::size_t>(threads - 1));
  for (std::size_t i = 1; i < static_cast<std::size_t>(threads); ++i)
    state_->workers.emplace_back([state = state_.get(), i] { state->work(i); });
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::available() const noexcept { return inside_body ? 1 : threads_; }

void ThreadPool::parallel_for(std::int64_t count, std::int64_t grain,
                              const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t sharers = std::min<std::int64_t>(threads_, count / grain);
  if (sharers <= 1 || inside_body) return body(0, count);
  State& s = *state_;
  const std::unique_lock lock(s.busy, std::try_to_lock);
  if (!lock.owns_lock()) return body(0, count);

  s.body = &body;
  s.grain = grain;
  s.error = nullptr;
  for (std::int64_t t = 0; t < threads_; ++t) {
    State::Share& share = s.shares[static_cast<std::size_t>(t)];
    share.next.store(count * std::min(t, sharers) / sharers, std::memory_order_relaxed);
    share.end = count * std::min(t + 1, sharers) / sharers;
  }
  s.state.store(kOpen, std::memory_order_release);
  s.epoch.fetch_add(1, std::memory_order_acq_rel);
  s.epoch.notify_all();
  s.take_ranges(0);
  s.state.fetch_and(~kOpen, std::memory_order_acq_rel);
  if (!spin_until([&] { return s.state.load(std::memory_order_acquire) == 0; })) {
    for (int inside; (inside = s.state.load(std::memory_order_acquire)) != 0;)
      s.state.wait(inside, std::memory_order_acquire);
  }
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace mezzo
