#include "ops/tree_forest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

constexpr std::int64_t kThreadWork = 8192;  // steps down a tree that are worth a thread
constexpr std::int64_t kFewRows = 8;
constexpr std::int64_t kMostPartials = 1 << 20;

void require_below(std::int64_t number, std::int64_t limit, const char* what) {
  if (number < 0 || number >= limit) {
    throw invalid(std::string("a tree names ") + what + " that there is not")
        .expected("0 to " + std::to_string(limit - 1))
        .got(std::to_string(number));
  }
}

// The largest T that is at most `x`; NaN of NaN.
template <class T>
T round_down(double x) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(x) || std::isinf(x)) return static_cast<T>(x);
  if (x > static_cast<double>(Limits::max())) return Limits::max();
  if (x < static_cast<double>(Limits::lowest())) return -Limits::infinity();
  const T rounded = static_cast<T>(x);
  if (static_cast<double>(rounded) <= x) return rounded;
  return std::nextafter(rounded, -Limits::infinity());
}

// The largest T that is less than `x`; NaN, which nothing is <= to, where there is none.
template <class T>
T below(double x) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  if (x == static_cast<double>(kLowest)) return std::numeric_limits<T>::quiet_NaN();
  const T rounded = round_down<T>(x);
  return static_cast<double>(rounded) < x ? rounded : std::nextafter(rounded, kLowest);
}

// `x` as T, or NaN where no T equals it.
template <class T>
T exactly(double x) {
  const T rounded = round_down<T>(x);
  return static_cast<double>(rounded) == x ? rounded : std::numeric_limits<T>::quiet_NaN();
}

}  // namespace

template <class T>
Forest<T>::Forest(const ForestTables& tables, Aggregate aggregate, std::int64_t targets,
                  std::int64_t features)
    : aggregate_(aggregate), targets_(targets), features_(features) {
  constexpr std::size_t kMost = 1U << 30;
  if (tables.nodes.size() > kMost || tables.roots.size() > kMost || tables.votes.size() > kMost ||
      targets > static_cast<std::int64_t>(kMost)) {
    throw Error(ErrorCode::limit, "the forest is too large").expected("at most 2^30 of anything");
  }
  for (const std::vector<double>& set : tables.sets) {
    std::vector<T>& members = sets_.emplace_back();
    for (const double member : set) {
      const T narrow = exactly<T>(member);
      if (!std::isnan(narrow)) members.push_back(narrow);
    }
    std::sort(members.begin(), members.end());
  }

  struct Pending {
    ForestTables::Child child;
    std::size_t at;
  };
  std::vector<Pending> pending;
  std::vector<bool> seen(tables.nodes.size(), false);
  std::int64_t reached = 0;
  for (const ForestTables::Child& root : tables.roots) {
    roots_.push_back(grow(1));
    pending.push_back({root, roots_.back()});
    while (!pending.empty()) {
      const auto [child, at] = pending.back();
      pending.pop_back();
      if (child.leaf) {
        add_leaf(tables, child.index, at);
        continue;
      }
      require_below(child.index, static_cast<std::int64_t>(tables.nodes.size()), "a node");
      const auto index = static_cast<std::size_t>(child.index);
      if (seen[index]) {
        throw invalid("a node of a tree can be reached in two ways")
            .expected("trees, without cycles or shared parts")
            .got("node " + std::to_string(index) + " twice");
      }
      seen[index] = true;
      ++reached;
      const ForestTables::Node& node = tables.nodes[index];
      const bool swapped = add_inner(tables, node, at, features);
      const std::uint32_t next = grow(2);
      nodes_[at].next = next;
      pending.push_back({swapped ? node.yes : node.no, next + std::size_t{1}});
      pending.push_back({swapped ? node.no : node.yes, next});
    }
  }
  if (reached < tables.must_reach) {
    throw invalid("no root leads to some nodes of the trees: they are a cycle")
        .expected(std::to_string(tables.must_reach) + " nodes")
        .got(std::to_string(reached));
  }
}

template <class T>
std::uint32_t Forest<T>::grow(std::size_t count) {
  const std::size_t first = nodes_.size(), size = first + count;
  nodes_.resize(size, Node{T{0}, 0, 0});
  votes_begin_.resize(size, 0);
  votes_end_.resize(size, 0);
  if (!sets_.empty()) set_of_node_.resize(size, 0);
  return static_cast<std::uint32_t>(first);
}

template <class T>
void Forest<T>::add_leaf(const ForestTables& tables, std::int64_t leaf, std::size_t at) {
  require_below(leaf, static_cast<std::int64_t>(tables.leaf_begin.size()) - 1, "a leaf");
  nodes_[at] = {T{0}, 0, static_cast<std::uint32_t>(at)};
  votes_begin_[at] = static_cast<std::uint32_t>(votes_.size());
  const auto index = static_cast<std::size_t>(leaf);
  for (auto i = tables.leaf_begin[index]; i < tables.leaf_begin[index + 1]; ++i) {
    const ForestTables::Vote& vote = tables.votes[static_cast<std::size_t>(i)];
    require_below(vote.target, targets_, "a target");
    votes_.push_back({static_cast<std::uint32_t>(vote.target), vote.weight});
  }
  votes_end_[at] = static_cast<std::uint32_t>(votes_.size());
}

// All orders become <=: x < t is x <= (what is below t), and x > t and x >= t are the opposites of
// x <= t and x < t, whose children change places. NaN, of which neither an order nor its opposite
// holds, is led where the original order leads it by a flag.
template <class T>
bool Forest<T>::add_inner(const ForestTables& tables, const ForestTables::Node& node,
                          std::size_t at, std::int64_t features) {
  require_below(node.feature, std::min<std::int64_t>(features, kFeature), "a feature");
  Node& made = nodes_[at];
  made.feature = static_cast<std::uint32_t>(node.feature) | kInner;
  bool swapped = false, nan_first = node.nan_is_true;
  switch (node.branch) {
    case Branch::leq:
      made.split = round_down<T>(node.split);
      break;
    case Branch::lt:
      made.split = below<T>(node.split);
      break;
    case Branch::gte:
    case Branch::gt:
      made.split = node.branch == Branch::gt ? round_down<T>(node.split) : below<T>(node.split);
      swapped = !std::isnan(node.split);
      if (swapped) nan_first = !nan_first;
      break;
    case Branch::eq:
      made.split = exactly<T>(node.split);
      made.feature |= kEqual;
      break;
    case Branch::neq:  // NaN differs from everything, so it goes to the true branch either way
      made.split = exactly<T>(node.split);
      made.feature |= kEqual;
      swapped = true;
      nan_first = false;
      break;
    case Branch::member:
      require_below(node.set, static_cast<std::int64_t>(tables.sets.size()), "a set");
      set_of_node_[at] = static_cast<std::uint32_t>(node.set);
      made.feature |= kMember;
      break;
  }
  if (nan_first) made.feature |= kNanFirst;
  any_inner_ = true;
  any_nan_first_ = any_nan_first_ || nan_first;
  any_other_branch_ = any_other_branch_ || (made.feature & (kEqual | kMember)) != 0;
  return swapped;
}

template <class T>
bool Forest<T>::is_first(const Node& node, std::uint32_t at, T x) const {
  if (std::isnan(x)) return (node.feature & kNanFirst) != 0;
  if ((node.feature & kEqual) != 0) return x == node.split;
  if ((node.feature & kMember) == 0) return x <= node.split;
  const std::vector<T>& set = sets_[set_of_node_[at]];
  return std::binary_search(set.begin(), set.end(), x);
}

template <class T>
template <bool kNan, bool kAnyBranch>
void Forest<T>::walk(const T* const (&x)[kLanes], std::uint32_t (&at)[kLanes]) const {
  const Node* nodes = nodes_.data();
  std::uint32_t inner;
  do {
    inner = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      const Node node = nodes[at[lane]];
      const T value = x[lane][node.feature & kFeature];
      bool first;
      if constexpr (kAnyBranch) {
        first = is_first(node, at[lane], value);
      } else {
        first = value <= node.split;
        if constexpr (kNan) first |= (value != value) & ((node.feature & kNanFirst) != 0);
      }
      inner |= node.feature;
      at[lane] = node.next + ((node.feature >> 31) & static_cast<std::uint32_t>(!first));
    }
  } while ((inner & kInner) != 0);
}

template <class T>
void Forest<T>::descend(const T* const (&x)[kLanes], std::uint32_t (&at)[kLanes]) const {
  if (!any_inner_) return;  // perhaps there is no feature at all to look at
  if (any_other_branch_) {
    walk<true, true>(x, at);
  } else if (any_nan_first_) {
    walk<true, false>(x, at);
  } else {
    walk<false, false>(x, at);
  }
}

// Totals that no vote has reached are NaN for the minimum and the maximum.
template <class T>
void Forest<T>::start(double* totals, std::int64_t count) const {
  const bool sums = aggregate_ == Aggregate::sum || aggregate_ == Aggregate::average;
  std::fill_n(totals, count, sums ? 0 : std::numeric_limits<double>::quiet_NaN());
}

template <class T>
double Forest<T>::merged(double a, double b) const {
  switch (aggregate_) {
    case Aggregate::min:
      return a <= b || std::isnan(b) ? a : b;
    case Aggregate::max:
      return a >= b || std::isnan(b) ? a : b;
    default:
      return a + b;
  }
}

template <class T>
void Forest<T>::finish(double* totals, std::int64_t count) const {
  for (std::int64_t i = 0; i < count; ++i) {
    if (aggregate_ == Aggregate::average) totals[i] /= static_cast<double>(trees());
    if ((aggregate_ == Aggregate::min || aggregate_ == Aggregate::max) && std::isnan(totals[i])) {
      totals[i] = 0;
    }
  }
}

template <class T>
void Forest<T>::add_votes(std::uint32_t leaf, double* totals) const {
  for (std::uint32_t i = votes_begin_[leaf]; i < votes_end_[leaf]; ++i) {
    double& total = totals[votes_[i].target];
    total = merged(total, votes_[i].weight);
  }
}

template <class T>
void Forest<T>::add_trees(const T* x, std::int64_t rows, std::int64_t first, std::int64_t last,
                          double* totals) const {
  const T* lanes[kLanes];
  std::uint32_t at[kLanes];
  // One tree after the other, so that it stays in the cache, for several rows in step.
  const std::int64_t in_step = rows - rows % kLanes;
  for (std::int64_t tree = first; tree < last && in_step > 0; ++tree) {
    const std::uint32_t root = roots_[static_cast<std::size_t>(tree)];
    for (std::int64_t row = 0; row < in_step; row += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        lanes[lane] = x + (row + lane) * features_;
        at[lane] = root;
      }
      descend(lanes, at);
      for (int lane = 0; lane < kLanes; ++lane) {
        add_votes(at[lane], totals + (row + lane) * targets_);
      }
    }
  }
  // The rows that are left: several trees in step.
  for (std::int64_t row = in_step; row < rows; ++row) {
    std::fill_n(lanes, kLanes, x + row * features_);
    for (std::int64_t tree = first; tree < last; tree += kLanes) {
      const auto count = static_cast<int>(std::min<std::int64_t>(kLanes, last - tree));
      for (int lane = 0; lane < kLanes; ++lane) {
        at[lane] = roots_[static_cast<std::size_t>(tree + std::min(lane, count - 1))];
      }
      descend(lanes, at);
      for (int lane = 0; lane < count; ++lane) add_votes(at[lane], totals + row * targets_);
    }
  }
}

template <class T>
void Forest<T>::evaluate(const T* x, std::int64_t rows, double* totals) const {
  start(totals, rows * targets_);
  add_trees(x, rows, 0, trees(), totals);
  finish(totals, rows * targets_);
}

template <class T>
std::int64_t Forest<T>::grain() const {
  const auto nodes_per_tree = nodes_.size() / std::max<std::size_t>(roots_.size(), 1);
  const std::int64_t depth = std::bit_width(nodes_per_tree) + 1;
  return std::max<std::int64_t>(1, kThreadWork / (depth * std::max<std::int64_t>(trees(), 1)));
}

template <class T>
bool Forest<T>::prefers_trees(std::int64_t rows) const {
  return rows > 0 && rows < kFewRows && grain() == 1 && trees() >= 2 * kLanes;
}

template <class T>
void Forest<T>::evaluate_by_trees(const T* x, std::int64_t rows, double* totals,
                                  ThreadPool& pool) const {
  // The parts depend on the forest only: sums are then the same for any number of threads.
  constexpr std::int64_t kMostParts = 64;
  const std::int64_t size = rows * targets_;
  const std::int64_t room =
      std::clamp(kMostPartials / std::max<std::int64_t>(size, 1), std::int64_t{1}, kMostParts);
  const std::int64_t per_part = std::max<std::int64_t>(2 * kLanes, (trees() + room - 1) / room);
  const std::int64_t parts = (trees() + per_part - 1) / per_part;
  std::vector<double> partials(static_cast<std::size_t>(parts * size));
  start(partials.data(), parts * size);
  pool.parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      add_trees(x, rows, part * per_part, std::min(trees(), (part + 1) * per_part),
                partials.data() + part * size);
    }
  });
  start(totals, size);
  for (std::int64_t part = 0; part < parts; ++part) {
    for (std::int64_t i = 0; i < size; ++i) {
      totals[i] = merged(totals[i], partials[static_cast<std::size_t>(part * size + i)]);
    }
  }
  finish(totals, size);
}

template class Forest<float>;
template class Forest<double>;

}  // namespace mezzo::ops
