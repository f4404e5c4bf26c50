#include "mezzo/session.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <unordered_map>

#include "arrays.h"
#include "classes.h"
#include "graph/graph.h"
#include "passes/passes.h"
#include "runtime/loaded_model.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace mezzo::python {
namespace {

// Set by one thread to end the runs of others.
class StopFlag {
 public:
  bool get() const { return stop_.load(std::memory_order_relaxed); }
  void set(bool stop) { stop_.store(stop, std::memory_order_relaxed); }

 private:
  std::atomic<bool> stop_ = false;
};

// Between steps: ends the run where the flag says so, and now and then lets Python see to signals,
// so that Ctrl-C works.
class Check {
 public:
  explicit Check(const StopFlag* stop) : stop_(stop) {}

  void operator()() {
    if (stop_ != nullptr && stop_->get()) {
      throw Error(ErrorCode::cancelled, "the run was ended: its RunOptions.terminate is set");
    }
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(50);
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }

 private:
  const StopFlag* stop_;
  std::chrono::steady_clock::time_point next_ =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
};

// A caller's functions: (selector, function) pairs.
using Functions = std::vector<std::pair<std::string, nb::object>>;

// What a function gives for a patched value: a tensor of the type of what it was shown.
Tensor patched(const nb::object& function, const Tensor& tensor) {
  const nb::gil_scoped_acquire gil;
  const nb::object result = function(from_tensor(tensor));
  std::vector<nb::object> alive;
  onnx::Type type;
  type.kind = onnx::Type::Kind::tensor;
  type.dtype = tensor.dtype();
  return to_tensor(result, is_plain(tensor.dtype()) ? type : onnx::Type(), alive).owned();
}

void observe(const nb::object& function, const std::string& name, const Tensor& tensor) {
  const nb::gil_scoped_acquire gil;
  function(name, from_tensor(tensor.clone()));
}

class PySession {
 public:
  PySession(const Model& model, int threads, std::int64_t loop_iterations,
            const std::vector<std::string>& disabled_passes)
      : session_(model, {threads, loop_iterations, disabled_passes}) {
    const graph::Graph& graph = model.internals().graph;
    for (const graph::Value& value : graph.values()) {
      if (value.type.kind != onnx::Type::Kind::none) types_[value.name] = &value.type;
    }
  }

  nb::object run(const nb::list& fetches, const nb::dict& feed, const Functions& patches,
                 const Functions& observers, const StopFlag* stop, const nb::object& times,
                 bool with_names) const {
    std::vector<nb::object> alive;
    const Feeds feeds = to_feeds(feed, alive);
    RunOptions options;
    for (const auto& [selector, function] : patches) {
      options.patches.push_back({selector, [function = &function](const Tensor& tensor) {
                                   return patched(*function, tensor);
                                 }});
    }
    for (const auto& [selector, function] : observers) {
      options.observers.push_back(
          {selector, [function = &function](const std::string& name, const Tensor& tensor) {
             observe(*function, name, tensor);
           }});
    }
    options.check = Check(stop);
    std::vector<StepTime> steps;
    if (!times.is_none()) options.times = &steps;
    const std::shared_ptr<const Names> names = names_of(fetches);
    Outputs outputs;
    {
      const nb::gil_scoped_release released;
      outputs = session_.run(feeds, names->texts, options);
    }
    for (const StepTime& step : steps) {
      times.attr("append")(nb::make_tuple(step.node, step.op_type, step.kernel, step.multiply_adds,
                                          step.start_ns, step.duration_ns));
    }
    return with_names ? as_dict(std::move(outputs)) : as_list(std::move(outputs));
  }

  std::string explain(const std::vector<std::string>& fetches, const nb::dict& feed) const {
    std::vector<nb::object> alive;
    const Feeds feeds = to_feeds(feed, alive);
    const nb::gil_scoped_release released;
    return session_.explain(feeds, fetches);
  }

  int threads() const { return session_.threads(); }
  Model model() const { return session_.model(); }

 private:
  struct Names {
    std::vector<nb::object> objects;
    std::vector<std::string> texts;
  };

  // The texts of a list of strings. Most calls ask for what the one before did: strings cannot
  // change, so the same objects are the same texts.
  std::shared_ptr<const Names> names_of(const nb::list& list) const {
    const auto same = [](const nb::object& known, nb::handle item) { return known.is(item); };
    if (names_ != nullptr && names_->objects.size() == list.size() &&
        std::equal(names_->objects.begin(), names_->objects.end(), list.begin(), same)) {
      return names_;
    }
    auto names = std::make_shared<Names>();
    for (const nb::handle item : list) {
      names->objects.push_back(nb::borrow(item));
      names->texts.push_back(nb::cast<std::string>(item));
    }
    return names_ = std::move(names);
  }

  Feeds to_feeds(const nb::dict& feed, std::vector<nb::object>& alive) const {
    static const onnx::Type kAny;
    Feeds feeds;
    feeds.reserve(feed.size());
    for (const auto [key, value] : feed) {
      if (!nb::isinstance<nb::str>(key)) {
        throw Error(ErrorCode::invalid_argument, "the names of feeds must be strings")
            .got(nb::cast<std::string>(nb::repr(key)));
      }
      std::string name = nb::cast<std::string>(key);
      const auto found = types_.find(name);
      try {
        Tensor tensor = to_tensor(value, found != types_.end() ? *found->second : kAny, alive);
        feeds.emplace_back(std::move(name), std::move(tensor));
      } catch (Error& error) {
        error.add_place("feed '" + name + "'");
        throw;
      }
    }
    return feeds;
  }

  static nb::object as_list(Outputs outputs) {
    std::vector<Tensor> tensors = std::move(outputs).take();
    nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(tensors.size())));
    if (!list.is_valid()) throw nb::python_error();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i),
                      from_tensor(std::move(tensors[i])).release().ptr());
    }
    return list;
  }

  static nb::object as_dict(Outputs outputs) {
    nb::dict dict;
    std::vector<nb::object> names;
    for (const Outputs::Item item : outputs) names.push_back(nb::cast(item.name));
    std::vector<Tensor> tensors = std::move(outputs).take();
    for (std::size_t i = 0; i < tensors.size(); ++i)
      dict[names[i]] = from_tensor(std::move(tensors[i]));
    return dict;
  }

  Session session_;
  std::unordered_map<std::string, const onnx::Type*> types_;  // where the file declares them
  mutable std::shared_ptr<const Names> names_;  // of the last call; Python's lock guards it
};

}  // namespace

void bind_session(nb::module_& module) {
  module.def(
      "pass_names",
      [] {
        std::vector<std::string> names;
        for (const passes::Pass& pass : passes::all()) names.emplace_back(pass.name);
        return names;
      },
      "The passes that plans can be made without.");
  nb::class_<StopFlag>(module, "StopFlag")
      .def(nb::init<>())
      .def("get", &StopFlag::get)
      .def("set", &StopFlag::set, "stop"_a);
  nb::class_<PySession>(module, "Session")
      .def(nb::init<const Model&, int, std::int64_t, const std::vector<std::string>&>(), "model"_a,
           "threads"_a, "loop_iterations"_a, "disabled_passes"_a)
      .def(
          "run", &PySession::run, "fetches"_a, "feed"_a, "patches"_a, "observers"_a,
          "stop"_a.none(), "times"_a.none(), "with_names"_a,
          nb::sig("def run(self, fetches: list[str], feed: dict[str, typing.Any], "
                  "patches: collections.abc.Sequence[tuple[str, typing.Any]], observers: "
                  "collections.abc.Sequence[tuple[str, typing.Any]], stop: StopFlag | None, times: "
                  "list[tuple[str, str, str, int, int, int]] | None, with_names: bool) -> typing.Any"))
      .def("explain", &PySession::explain, "fetches"_a, "feed"_a,
           nb::sig("def explain(self, fetches: collections.abc.Sequence[str], feed: dict[str, "
                   "typing.Any]) -> str"))
      .def_prop_ro("threads", &PySession::threads)
      .def_prop_ro("model", &PySession::model);
}

}  // namespace mezzo::python
