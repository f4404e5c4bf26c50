#include "graph/selector.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <regex>

namespace mezzo::graph {
namespace {

// Longer subjects make std::regex recurse deeply enough to exhaust the stack.
constexpr std::size_t kMaxRegexSubject = 2000;

std::optional<int> to_int(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// "conv1:1" -> ("conv1", 1); no colon, or no number behind it: ("conv1:x", 0).
std::pair<std::string_view, int> split_output(std::string_view selector) {
  const std::size_t colon = selector.rfind(':');
  if (colon != std::string_view::npos) {
    if (const auto number = to_int(selector.substr(colon + 1)); number && *number >= 0) {
      return {selector.substr(0, colon), *number};
    }
  }
  return {selector, 0};
}

ValueId output_of(const Graph& graph, NodeId id, int output, std::string_view selector) {
  const Node& node = graph.node(id);
  const int count = static_cast<int>(node.outputs.size());
  if (output < count && node.outputs[static_cast<std::size_t>(output)] != kNone) {
    return node.outputs[static_cast<std::size_t>(output)];
  }
  throw Error(ErrorCode::invalid_argument, "the node has no such output")
      .at("selector '" + std::string(selector) + "'")
      .expected(graph.describe(id) + " has outputs 0 to " + std::to_string(count - 1))
      .got("output " + std::to_string(output));
}

std::optional<ValueId> by_node_name(const Graph& graph, std::string_view selector) {
  const auto node_named = [&](std::string_view name) -> std::optional<NodeId> {
    if (name.empty()) return std::nullopt;
    for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
      if (graph.node(id).name == name) return id;
    }
    return std::nullopt;
  };
  if (const auto id = node_named(selector)) return output_of(graph, *id, 0, selector);
  const auto [name, output] = split_output(selector);
  if (name.size() == selector.size()) return std::nullopt;
  if (const auto id = node_named(name)) return output_of(graph, *id, output, selector);
  return std::nullopt;
}

std::optional<ValueId> by_index(const Graph& graph, std::string_view selector) {
  if (selector.empty() || selector.front() != '[') return std::nullopt;
  const std::size_t close = selector.find(']');
  if (close == std::string_view::npos) return std::nullopt;
  const auto index = to_int(selector.substr(1, close - 1));
  if (!index) return std::nullopt;
  int output = 0;
  if (const std::string_view rest = selector.substr(close + 1); !rest.empty()) {
    const auto number = rest.front() == ':' ? to_int(rest.substr(1)) : std::nullopt;
    if (!number || *number < 0) return std::nullopt;
    output = *number;
  }
  const int count = static_cast<int>(graph.file_order().size());
  if (*index < -count || *index >= count) {
    throw Error(ErrorCode::invalid_argument, "the node index is out of range")
        .at("selector '" + std::string(selector) + "'")
        .expected("-" + std::to_string(count) + " to " + std::to_string(count - 1))
        .got(std::to_string(*index));
  }
  const int position = *index < 0 ? *index + count : *index;
  return output_of(graph, graph.file_order()[static_cast<std::size_t>(position)], output, selector);
}

// Shell globs. Iterative, with one point to return to (the last star): no pattern makes it slow.
bool glob_matches(std::string_view pattern, std::string_view text) {
  const auto match_one = [&](std::size_t& p, char c) {
    if (pattern[p] == '?') return ++p, true;
    const std::size_t close = pattern[p] == '[' ? pattern.find(']', p + 2) : std::string_view::npos;
    if (close != std::string_view::npos) {
      std::string_view set = pattern.substr(p + 1, close - p - 1);
      const bool negated = set.front() == '!' || set.front() == '^';
      if (negated) set.remove_prefix(1);
      bool found = false;
      for (std::size_t i = 0; i < set.size(); ++i) {
        if (i + 2 < set.size() && set[i + 1] == '-') {
          found = found || (set[i] <= c && c <= set[i + 2]);
          i += 2;
        } else {
          found = found || set[i] == c;
        }
      }
      if (found == negated) return false;
      return p = close + 1, true;
    }
    return pattern[p] == c ? (++p, true) : false;
  };
  std::size_t p = 0, t = 0, star = std::string_view::npos, restart = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      restart = t;
    } else if (p < pattern.size() && match_one(p, text[t])) {
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++restart;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<ValueId> values_where(const Graph& graph, const auto& matches) {
  std::vector<ValueId> found;
  for (ValueId id = 0; id < static_cast<ValueId>(graph.values().size()); ++id) {
    if (matches(graph.value(id).name)) found.push_back(id);
  }
  return found;
}

std::vector<ValueId> by_regex(const Graph& graph, std::string_view selector) {
  std::regex pattern;
  try {
    pattern = std::regex(std::string(selector.substr(1, selector.size() - 2)));
  } catch (const std::regex_error& error) {
    throw Error(ErrorCode::invalid_argument, "not a regular expression")
        .at("selector '" + std::string(selector) + "'")
        .got(error.what());
  }
  try {
    return values_where(graph, [&](const std::string& name) {
      return name.size() <= kMaxRegexSubject && std::regex_search(name, pattern);
    });
  } catch (const std::regex_error& error) {
    throw Error(ErrorCode::invalid_argument, "the regular expression is too complex")
        .at("selector '" + std::string(selector) + "'")
        .got(error.what());
  }
}

std::vector<ValueId> by_operator(const Graph& graph, std::string_view pattern) {
  std::vector<ValueId> found;
  for (const Node& node : graph.nodes()) {
    if (!glob_matches(pattern, node.op_type)) continue;
    for (const ValueId output : node.outputs) {
      if (output == kNone) continue;
      found.push_back(output);
      break;
    }
  }
  return found;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string nearest_names(const Graph& graph, std::string_view wanted) {
  constexpr std::size_t kMaxNameCompared = 200;
  std::vector<std::pair<std::size_t, std::string>> ranked;
  const auto consider = [&](const std::string& name, const std::string& shown) {
    if (name.empty() || name.size() > kMaxNameCompared) return;
    std::size_t distance = edit_distance(wanted, name);
    if (name.find(wanted) != std::string::npos) distance = std::min<std::size_t>(distance, 1);
    ranked.emplace_back(distance, shown);
  };
  if (wanted.size() <= kMaxNameCompared) {
    for (const Value& value : graph.values()) consider(value.name, "'" + value.name + "'");
    for (const Node& node : graph.nodes()) consider(node.name, "node '" + node.name + "'");
  }
  const std::size_t shown = std::min<std::size_t>(3, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(shown),
                    ranked.end());
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += (i > 0 ? ", " : "") + ranked[i].second;
  return text;
}

[[noreturn]] void fail_unknown(const Graph& graph, std::string_view selector) {
  Error error(ErrorCode::invalid_argument, "no value matches");
  error.add_place("selector '" + std::string(selector) + "'");
  const std::string nearest = nearest_names(graph, selector);
  if (!nearest.empty()) throw std::move(error).hint("The nearest names are " + nearest);
  throw error;
}

}  // namespace

std::vector<ValueId> select(const Graph& graph, std::string_view selector) {
  if (const ValueId exact = graph.find(selector); exact != kNone) return {exact};
  if (const auto value = by_node_name(graph, selector)) return {*value};
  if (const auto value = by_index(graph, selector)) return {*value};
  std::vector<ValueId> found;
  if (selector.starts_with("op:")) {
    found = by_operator(graph, selector.substr(3));
  } else if (selector.size() > 2 && selector.front() == '/' && selector.back() == '/') {
    found = by_regex(graph, selector);
  } else if (selector.find_first_of("*?[") != std::string_view::npos) {
    found =
        values_where(graph, [&](const std::string& name) { return glob_matches(selector, name); });
  }
  if (found.empty()) fail_unknown(graph, selector);
  return found;
}

ValueId select_one(const Graph& graph, std::string_view selector) {
  const std::vector<ValueId> found = select(graph, selector);
  if (found.size() == 1) return found.front();
  throw Error(ErrorCode::invalid_argument, "the selector names several values where one is needed")
      .at("selector '" + std::string(selector) + "'")
      .expected("one value")
      .got(std::to_string(found.size()) + ", the first two '" + graph.value(found[0]).name +
           "' and '" + graph.value(found[1]).name + "'");
}

}  // namespace mezzo::graph
