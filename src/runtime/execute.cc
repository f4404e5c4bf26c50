// A plan's run: a loop over its steps.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "ops/convert_elements.h"
#include "ops/movement.h"
#include "runtime/body_runner.h"
#include "runtime/engine.h"
#include "runtime/frame.h"

namespace mezzo::runtime {
namespace {

using graph::kNone;
using graph::ValueId;
using plan::Slot;
using plan::Step;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

class Execution {
 public:
  Execution(const plan::Plan& plan, const std::vector<Tensor>& feeds, Engine& engine, Call& call)
      : plan_(plan), engine_(engine), call_(call), frame_(plan, feeds, engine) {}

  std::vector<Tensor> run() {
    // Times are taken of one step after the other.
    const bool timed = call_.times != nullptr;
    Lane alone{engine_.pool()};
    auto batches = plan_.micro_batches.begin();
    auto bands = plan_.row_bands.begin();
    const int count = static_cast<int>(plan_.steps.size());
    for (int next = 0; next < count;) {
      if (batches != plan_.micro_batches.end() && batches->begin == next) {
        if (batches->lanes > 1 && !timed) {
          run_side_by_side(*batches);
        } else {
          run_micro_batches(alone, *batches, 0, batches->count);
        }
        next = (batches++)->end;
      } else if (bands != plan_.row_bands.end() && bands->begin == next &&
                 (bands->in_turn() || !timed)) {
        if (bands->in_turn()) run_in_turn(alone, *bands);
        for (const plan::RowBands::Stage& stage : bands->stages)
          run_bands(bands->count, stage.begin, stage.end);
        next = (bands++)->end;
      } else {
        run_steps(alone, next, next + 1);
        ++next;
      }
    }
    call_.stats.nodes_executed += plan_.node_count;
    std::vector<Tensor> exported;
    exported.reserve(plan_.exports.size());
    for (const plan::Export& item : plan_.exports) exported.push_back(frame_.take(item));
    return exported;
  }

 private:
  // What runs one step after the other: the call itself, or one of those that run micro-batches or
  // bands of rows side by side.
  struct Lane {
    ThreadPool& pool;  // for its kernels
    int number = 0;
    int micro_batch = 0;
    std::vector<const void*> in = {};
    std::vector<void*> out = {};
  };

  // For the kernels of lanes that run side by side.
  static ThreadPool& one_thread() {
    static ThreadPool pool(1);
    return pool;
  }

  void run_side_by_side(const plan::MicroBatches& batches) {
    std::vector<Lane> lanes;
    for (int i = 0; i < batches.lanes; ++i) lanes.push_back({one_thread(), i});
    // There are as many as threads, and each thread has one at a time.
    std::mutex mutex;
    std::vector<Lane*> idle;
    for (Lane& lane : lanes) idle.push_back(&lane);
    const auto give_back = [&](Lane* lane) {
      const std::lock_guard lock(mutex);
      idle.push_back(lane);
    };
    const auto take = [&] {
      const std::lock_guard lock(mutex);
      Lane* lane = idle.back();
      idle.pop_back();
      return std::unique_ptr<Lane, decltype(give_back)>(lane, give_back);
    };
    engine_.pool().parallel_for(batches.count, 1, [&](std::int64_t begin, std::int64_t end) {
      run_micro_batches(*take(), batches, static_cast<int>(begin), static_cast<int>(end));
    });
  }

  void run_micro_batches(Lane& lane, const plan::MicroBatches& batches, int begin, int end) {
    for (lane.micro_batch = begin; lane.micro_batch < end; ++lane.micro_batch)
      run_steps(lane, batches.begin, batches.end);
  }

  void run_steps(Lane& lane, int begin, int end) {
    for (int i = begin; i < end; ++i) {
      check();
      if (call_.times == nullptr) {
        run_step(lane, i);
      } else {
        run_timed(lane, i);
      }
    }
  }

  void check() const {
    if (call_.check != nullptr && std::this_thread::get_id() == caller_) (*call_.check)();
  }

  void run_step(Lane& lane, int i) {
    const Step& step = plan_.steps[at(i)];
    switch (step.kind) {
      case Step::Kind::kernel:
        if (!step.bands.empty()) return run_bands(static_cast<int>(step.bands.size()), i, i + 1);
        return naming(step, [&] { run_kernel(lane, step); });
      case Step::Kind::convert:
        return run_convert(step);
      case Step::Kind::patch:
        return run_patch(step);
      case Step::Kind::observe:
        return run_observers(step);
    }
  }

  void run_timed(Lane& lane, int i) {
    const std::size_t record = call_.times->size();
    call_.times->push_back(described(plan_.steps[at(i)]));
    const auto start = std::chrono::steady_clock::now();
    run_step(lane, i);
    const auto end = std::chrono::steady_clock::now();
    // A loop's body has added records behind this one.
    StepTime& time = (*call_.times)[record];
    time.start_ns = std::chrono::nanoseconds(start.time_since_epoch()).count();
    time.duration_ns = std::chrono::nanoseconds(end - start).count();
  }

  StepTime described(const Step& step) const {
    StepTime time;
    const graph::Graph& graph = engine_.model().graph;
    if (step.kind == Step::Kind::kernel) {
      const std::vector<graph::NodeId> own = {step.node};
      for (const graph::NodeId id : step.nodes.empty() ? own : step.nodes) {
        const std::string& name = graph.node(id).name;
        time.node += (time.node.empty() ? "" : " + ") + (name.empty() ? graph.describe(id) : name);
      }
      time.op_type = step.op->node().op_type;
      time.kernel = step.chosen->kernel_name;
      time.multiply_adds = step.op->row().count_multiply_adds(*step.op);
      return time;
    }
    const ValueId value = step.value != kNone ? step.value : plan_.slots[at(step.out[0])].value;
    time.node = graph.value(value).name;
    time.op_type = step.kind == Step::Kind::convert ? plan::conversion_name(plan_, step)
                   : step.kind == Step::Kind::patch ? "patch"
                                                    : "observe";
    return time;
  }

  // Where the part of a slot lies that is a lane's own.
  char* memory_of(int slot, int lane) const {
    char* data = static_cast<char*>(frame_.data(slot));
    return lane == 0 ? data : data + lane * plan_.slots[at(slot)].lane_stride;
  }

  // Where the operands of a step lie: `times` their strides (where there are any) behind the start.
  template <class Pointer>
  void locate(const Lane& lane, const std::vector<int>& slots,
              const std::vector<std::int64_t>& strides, int times,
              std::vector<Pointer>& list) const {
    list.clear();
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::int64_t begin = strides.empty() ? 0 : times * strides[i];
      list.push_back(slots[i] < 0 ? nullptr : memory_of(slots[i], lane.number) + begin);
    }
  }

  // Steps [begin, end) of each band. A thread's share is one band, always the same; one that comes
  // late is helped.
  void run_bands(int count, int begin, int end) {
    while (static_cast<int>(bands_.size()) < count)
      bands_.push_back({one_thread(), static_cast<int>(bands_.size())});
    engine_.pool().parallel_for(count, 1, [&](std::int64_t first, std::int64_t last) {
      for (int band = static_cast<int>(first); band < last; ++band) {
        for (int i = begin; i < end; ++i) {
          const Step& step = plan_.steps[at(i)];
          check();
          if (!step.bands.empty())
            naming(step, [&] { run_band(bands_[at(band)], step, at(band)); });
        }
      }
    });
  }

  // All bands of some steps, one after the other. A step's time is that of all of its bands, as
  // though they had come together.
  void run_in_turn(Lane& lane, const plan::RowBands& bands) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    std::vector<Clock::duration> taken(call_.times != nullptr ? at(bands.end - bands.begin) : 0);
    for (int band = 0; band < bands.count; ++band) {
      for (const plan::RowCopy& copy : bands.kept[at(band)]) copy_rows(copy, lane.number);
      for (int i = bands.begin; i < bands.end; ++i) {
        const Step& step = plan_.steps[at(i)];
        check();
        if (step.bands.empty() || step.bands[at(band)].op == nullptr) continue;
        const Clock::time_point before = taken.empty() ? start : Clock::now();
        naming(step, [&] { run_band(lane, step, at(band)); });
        if (!taken.empty()) taken[at(i - bands.begin)] += Clock::now() - before;
      }
    }
    Clock::duration begin = start.time_since_epoch();
    for (std::size_t i = 0; i < taken.size(); begin += taken[i++]) {
      StepTime time = described(plan_.steps[at(bands.begin) + i]);
      time.start_ns = std::chrono::nanoseconds(begin).count();
      time.duration_ns = std::chrono::nanoseconds(taken[i]).count();
      call_.times->push_back(std::move(time));
    }
  }

  void run_band(Lane& lane, const Step& step, std::size_t number) {
    const plan::BandStep& band = step.bands[number];
    for (const plan::RowCopy& copy : band.before) copy_rows(copy, lane.number);
    locate(lane, step.in, band.in_begin, 1, lane.in);
    locate(lane, step.out, band.out_begin, 1, lane.out);
    ops::Run run(*band.op, lane.in.data(), lane.out.data(), frame_.scratch(step, lane.number),
                 lane.pool);
    band.chosen->kernel(run);
    for (const plan::RowCopy& copy : band.after) copy_rows(copy, lane.number);
  }

  void copy_rows(const plan::RowCopy& copy, int band) const {
    const char* from = memory_of(copy.from_slot, copy.from_band) + copy.from;
    char* to = memory_of(copy.to_slot, band) + copy.to;
    for (std::int64_t i = 0; i < copy.planes; ++i, from += copy.from_plane, to += copy.to_plane)
      std::memmove(to, from, static_cast<std::size_t>(copy.bytes));
  }

  void run_kernel(Lane& lane, const Step& step) {
    locate(lane, step.in, step.in_strides, lane.micro_batch, lane.in);
    locate(lane, step.out, step.out_strides, lane.micro_batch, lane.out);
    ops::Run run(*step.op, lane.in.data(), lane.out.data(), frame_.scratch(step, lane.number),
                 lane.pool);
    if (step.op->node().bodies.empty()) {
      step.chosen->kernel(run);
    } else {
      BodyRunner bodies(plan_, step, frame_, engine_, call_);
      run.set_bodies(&bodies);
      step.chosen->kernel(run);
    }
    for (std::size_t i = 0; i < run.made().size(); ++i) {
      Tensor& made = run.made()[i];
      if (step.out[i] >= 0 && made.has_value()) frame_.set_made(step.out[i], std::move(made));
    }
  }

  // Runs a kernel; its errors say of which step.
  template <class Run>
  void naming(const Step& step, const Run& run) {
    try {
      run();
    } catch (Error& error) {
      error.add_place(plan::describe(step, engine_.model().graph));
      throw;
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::limit, "out of memory")
          .at(plan::describe(step, engine_.model().graph));
    }
  }

  void run_convert(const Step& step) {
    const Slot& from = plan_.slots[at(step.in[0])];
    const Slot& to = plan_.slots[at(step.out[0])];
    if (from.dtype == to.dtype) {
      return ops::copy_for_later(from.dtype, frame_.data(step.in[0]), frame_.data(step.out[0]),
                                 element_count(from.shape), engine_.pool());
    }
    ops::convert_elements(from.dtype, frame_.data(step.in[0]), to.dtype, frame_.data(step.out[0]),
                          element_count(from.shape), engine_.pool());
  }

  void run_patch(const Step& step) {
    const Slot& slot = plan_.slots[at(step.in[0])];
    Tensor tensor = frame_.view(step.in[0]).clone();
    for (const Patch* patch : call_.patches.at(step.value)) {
      Tensor replaced = patch->replace(tensor);
      if (replaced.dtype() != slot.dtype || replaced.shape() != slot.shape) {
        throw Error(ErrorCode::invalid_argument, "a patch must keep the value's type and shape")
            .at("patch of '" + engine_.model().graph.value(step.value).name + "'")
            .expected(std::string(name_of(slot.dtype)) + to_string(slot.shape))
            .got(std::string(name_of(replaced.dtype())) + to_string(replaced.shape()));
      }
      tensor = std::move(replaced);
    }
    if (slot.dtype == DType::string) {
      std::copy_n(static_cast<const std::string*>(tensor.data()), tensor.size(),
                  static_cast<std::string*>(frame_.data(step.out[0])));
    } else if (!is_plain(slot.dtype)) {
      std::copy_n(static_cast<const Tensor*>(tensor.data()), tensor.size(),
                  static_cast<Tensor*>(frame_.data(step.out[0])));
    } else if (tensor.bytes() > 0) {
      std::memcpy(frame_.data(step.out[0]), tensor.data(), tensor.bytes());
    }
  }

  void run_observers(const Step& step) {
    const Tensor tensor = frame_.view(step.in[0]);
    for (const Observer* observer : call_.observers.at(step.value)) {
      observer->see(engine_.model().graph.value(step.value).name, tensor);
    }
  }

  const plan::Plan& plan_;
  Engine& engine_;
  Call& call_;
  Frame frame_;
  std::vector<Lane> bands_;  // of steps in bands of rows
  const std::thread::id caller_ = std::this_thread::get_id();
};

}  // namespace

std::vector<Tensor> execute(const plan::Plan& plan, const std::vector<Tensor>& feeds,
                            Engine& engine, Call& call) {
  return Execution(plan, feeds, engine, call).run();
}

}  // namespace mezzo::runtime
