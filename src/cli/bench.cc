// mezzo bench: how long a model takes, and where.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/feeds.h"
#include "cli/text.h"
#include "ops/peak.h"

namespace mezzo::cli {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

struct BenchArguments {
  std::string model, trace;
  std::vector<std::string> taps, shapes;
  int threads = 1;
  double seconds = 3;
  std::size_t steps = 20;
  bool json = false;
};

double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

// The value that `share` of the sorted list lie below.
double quantile(const std::vector<double>& sorted, double share) {
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<std::size_t>(share * last + 0.5)];
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

// A step over all timed runs.
struct StepSummary {
  std::string node, op_type, kernel;
  double ms = 0;  // median over the runs of what the step took in each
  std::int64_t multiply_adds = 0;
  double gflops() const { return ms > 0 ? 2e-6 * static_cast<double>(multiply_adds) / ms : 0; }
};

struct Measured {
  double first_ms = 0;             // load, plan, pack, run
  std::vector<double> run_ms;      // sorted
  std::vector<StepSummary> steps;  // the longest first
  std::vector<StepTime> trace;     // of the last run with times
};

// By node, since the body of a loop runs many times.
std::vector<StepSummary> summary(const std::vector<std::vector<StepTime>>& runs) {
  std::map<std::pair<std::string, std::string>, StepSummary> by_step;
  std::map<std::pair<std::string, std::string>, std::vector<double>> times;
  for (const std::vector<StepTime>& run : runs) {
    std::map<std::pair<std::string, std::string>, double> total;
    for (const StepTime& step : run) {
      const std::pair key(step.node, step.op_type);
      if (total.try_emplace(key, 0).second) {
        by_step[key] = {step.node, step.op_type, step.kernel, 0, 0};  // the same in every run
      }
      total[key] += static_cast<double>(step.duration_ns) * 1e-6;
      by_step[key].multiply_adds += step.multiply_adds;
    }
    for (const auto& [key, ms] : total) times[key].push_back(ms);
  }
  std::vector<StepSummary> steps;
  for (auto& [key, step] : by_step) {
    step.ms = median(times[key]);
    steps.push_back(step);
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const StepSummary& a, const StepSummary& b) { return a.ms > b.ms; });
  return steps;
}

Measured measure(const BenchArguments& arguments) {
  Measured measured;
  const auto start = Clock::now();
  SessionOptions options;
  options.threads = arguments.threads;
  const Session session(arguments.model, options);
  Feeds feeds;
  add_random_feeds(session.model(), 0, parse_shapes(session.model(), arguments.shapes), feeds);
  session.run(feeds, arguments.taps);
  measured.first_ms = milliseconds(Clock::now() - start);
  const auto limit = std::chrono::duration<double>(arguments.seconds);
  const auto plain_end = Clock::now() + limit;
  do {
    const auto begin = Clock::now();
    session.run(feeds, arguments.taps);
    measured.run_ms.push_back(milliseconds(Clock::now() - begin));
  } while (Clock::now() < plain_end);
  std::sort(measured.run_ms.begin(), measured.run_ms.end());
  // The clock is read around every step only here, so that it costs the figures above nothing.
  std::vector<std::vector<StepTime>> timed;
  const auto timed_end = Clock::now() + limit / 3;
  do {
    timed.emplace_back();
    RunOptions with_times;
    with_times.times = &timed.back();
    session.run(feeds, arguments.taps, with_times);
  } while (Clock::now() < timed_end && timed.size() < 100);
  measured.steps = summary(timed);
  measured.trace = std::move(timed.back());
  return measured;
}

std::int64_t total_work(const Measured& measured) {
  std::int64_t total = 0;
  for (const StepSummary& step : measured.steps) total += step.multiply_adds;
  return total;
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string speed_text(double gflops, double peak) {
  std::string text = fixed(gflops, 1) + " GF/s";
  if (peak > 0) text += " (" + fixed(100 * gflops / peak, 0) + " % of the peak)";
  return text;
}

void print_text(const BenchArguments& arguments, const Measured& measured, double peak) {
  const auto& times = measured.run_ms;
  const double middle = quantile(times, 0.5);
  std::cout << arguments.threads << (arguments.threads == 1 ? " thread, " : " threads, ")
            << times.size() << " runs\n";
  Table latency("  ");
  latency.align_right(1);
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, double>>{{"first result", measured.first_ms},
                                                             {"fastest", times.front()},
                                                             {"median", middle},
                                                             {"90 %", quantile(times, 0.9)},
                                                             {"99 %", quantile(times, 0.99)},
                                                             {"slowest", times.back()}}) {
    latency.add({name, fixed(value, 3) + " ms"});
  }
  std::cout << latency.text();
  const std::int64_t work = total_work(measured);
  if (work > 0) {
    std::cout << "  " << grouped(work) << " multiply-adds, "
              << speed_text(2e-6 * static_cast<double>(work) / middle, peak) << "\n";
  }
  double sum = 0;
  for (const StepSummary& step : measured.steps) sum += step.ms;
  std::cout << "\nSteps, the longest first\n";
  Table table("  ");
  table.align_right(0);
  table.align_right(1);
  table.align_right(2);
  table.add({"ms", "%", "GF/s", "operator", "kernel", "node"});
  for (std::size_t i = 0; i < std::min(arguments.steps, measured.steps.size()); ++i) {
    const StepSummary& step = measured.steps[i];
    table.add({fixed(step.ms, 3), fixed(100 * step.ms / sum, 1),
               step.multiply_adds > 0 ? fixed(step.gflops(), 1) : "", printable(step.op_type),
               step.kernel, printable(step.node)});
  }
  std::cout << table.text();
  if (measured.steps.size() > arguments.steps) {
    std::cout << "  ... " << measured.steps.size() - arguments.steps << " more; see --steps\n";
  }
}

void print_json(const BenchArguments& arguments, const Measured& measured, double peak) {
  ordered_json steps = ordered_json::array();
  for (const StepSummary& step : measured.steps) {
    steps.push_back({{"node", step.node},
                     {"operator", step.op_type},
                     {"kernel", step.kernel},
                     {"ms", step.ms},
                     {"multiply_adds", step.multiply_adds},
                     {"gflops", step.gflops()}});
  }
  const ordered_json json = {{"model", arguments.model},
                             {"threads", arguments.threads},
                             {"peak_gflops", peak},
                             {"first_result_ms", measured.first_ms},
                             {"median_ms", quantile(measured.run_ms, 0.5)},
                             {"p90_ms", quantile(measured.run_ms, 0.9)},
                             {"p99_ms", quantile(measured.run_ms, 0.99)},
                             {"runs", measured.run_ms.size()},
                             {"multiply_adds", total_work(measured)},
                             {"steps", steps}};
  std::cout << json.dump(1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
}

// The trace event format of Chrome (chrome://tracing) and Perfetto: complete events, in
// microseconds.
void write_trace(const std::string& path, const std::vector<StepTime>& steps) {
  ordered_json events = ordered_json::array();
  const std::int64_t start = steps.empty() ? 0 : steps.front().start_ns;
  for (const StepTime& step : steps) {
    events.push_back({{"name", step.node},
                      {"cat", step.op_type},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"ts", static_cast<double>(step.start_ns - start) * 1e-3},
                      {"dur", static_cast<double>(step.duration_ns) * 1e-3},
                      {"args", {{"operator", step.op_type}, {"kernel", step.kernel}}}});
  }
  std::ofstream file(path, std::ios::binary);
  file << ordered_json{{"traceEvents", events}}.dump(-1, ' ', false,
                                                     ordered_json::error_handler_t::replace);
  file.close();
  if (!file) throw Error(ErrorCode::file_error, "the trace cannot be written").at("'" + path + "'");
}

void bench(const BenchArguments& arguments) {
  if (!(arguments.seconds > 0) || arguments.threads < 1) {
    fail_usage("bench: --seconds and --threads must be more than 0");
  }
  const Measured measured = measure(arguments);
  if (!arguments.trace.empty()) write_trace(arguments.trace, measured.trace);
  const double peak = ops::peak_gflops() * arguments.threads;
  if (arguments.json) {
    print_json(arguments, measured, peak);
  } else {
    print_text(arguments, measured, peak);
  }
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "bench", "Measure how long a run takes, and where: latency, steps, share of the peak");
  const auto arguments = std::make_shared<BenchArguments>();
  command.add_option("MODEL", arguments->model, "The ONNX file")->required();
  add_repeated(command, "-t,--tap", arguments->taps,
               "A value that the runs are to get, as for `mezzo run`")
      ->type_name("SELECTOR");
  add_repeated(command, "--shape", arguments->shapes,
               "NAME=1x3x224x224: an input's shape. Without it: the declared one, open extents 1")
      ->type_name("NAME=SHAPE");
  command.add_option("--threads", arguments->threads, "Threads (1)")->type_name("N");
  command.add_option("--seconds", arguments->seconds, "How long to measure (3)")->type_name("S");
  command.add_option("--steps", arguments->steps, "How many steps to show (20)")->type_name("N");
  command.add_option("--trace", arguments->trace, "Write one run's steps for Chrome's tracing")
      ->type_name("FILE.json");
  command.add_flag("--json", arguments->json, "Everything, as JSON");
  command.callback([arguments] { bench(*arguments); });
}

}  // namespace mezzo::cli
