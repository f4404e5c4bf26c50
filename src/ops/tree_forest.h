// Forests of decision trees, laid out for speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace mezzo::ops {

/// The comparison x ? split of a node. The numbers are those of TreeEnsemble-5.
enum class Branch : std::uint8_t { leq = 0, lt = 1, gte = 2, gt = 3, eq = 4, neq = 5, member = 6 };

/// A forest as a model describes it: nodes and leaves in tables. Its numbers need not be checked
/// before Forest is made of it, but for `leaf_begin`.
struct ForestTables {
  /// What a branch leads to: a row of `nodes` or, as a leaf, a row of `leaf_begin`.
  struct Child {
    bool leaf = false;
    std::int64_t index = 0;
  };
  struct Node {
    Branch branch = Branch::leq;
    bool nan_is_true = false;
    std::int64_t feature = 0;
    double split = 0;
    std::int64_t set = 0;  ///< Branch::member: which of `sets`
    Child yes, no;
  };
  struct Vote {
    std::int64_t target = 0;
    double weight = 0;
  };
  std::vector<Node> nodes;
  std::vector<std::int64_t> leaf_begin;  ///< leaf i has votes [leaf_begin[i], leaf_begin[i + 1])
  std::vector<Vote> votes;
  std::vector<std::vector<double>> sets;
  std::vector<Child> roots;
  std::int64_t must_reach = 0;  ///< of `nodes`, how many the trees must reach at least
};

enum class Aggregate { average = 0, sum = 1, min = 2, max = 3 };

/// Trees in one array, the children of a node side by side. T is the type of the features; splits
/// are rounded so that comparing in T decides as comparing exactly would.
template <class T>
class Forest {
 public:
  /// Throws Error(invalid_model) where a number is out of range, or a node can be reached in two
  /// ways (in a cycle, say). Targets must be below `targets`, features below `features`.
  Forest(const ForestTables& tables, Aggregate aggregate, std::int64_t targets,
         std::int64_t features);

  std::int64_t targets() const { return targets_; }
  std::int64_t trees() const { return static_cast<std::int64_t>(roots_.size()); }

  /// Writes the aggregated votes of `rows` rows, `features` apart, to totals [rows, targets].
  void evaluate(const T* x, std::int64_t rows, double* totals) const;
  /// The same with the trees divided among threads: for few rows and many trees. The result does
  /// not depend on the number of threads.
  void evaluate_by_trees(const T* x, std::int64_t rows, double* totals, ThreadPool& pool) const;
  /// Whether that is worth it.
  bool prefers_trees(std::int64_t rows) const;
  /// Rows that are worth a thread.
  std::int64_t grain() const;

 private:
  // Inner: goes to node `next` where x[feature] <= split, else to the one after it. A leaf goes to
  // itself, so that trees of different depth can be walked in step.
  struct Node {
    T split;
    std::uint32_t feature;  // with the flags below
    std::uint32_t next;
  };
  static constexpr std::uint32_t kInner = 1U << 31;
  static constexpr std::uint32_t kNanFirst = 1U << 30;  // NaN goes to the first child
  static constexpr std::uint32_t kEqual = 1U << 29;     // == instead of <=
  static constexpr std::uint32_t kMember = 1U << 28;    // in a set instead of <=
  static constexpr std::uint32_t kFeature = kMember - 1;
  static constexpr int kLanes = 8;  // walks in step, so that their loads overlap

  struct Vote {
    std::uint32_t target;
    double weight;
  };

  void add_leaf(const ForestTables& tables, std::int64_t leaf, std::size_t at);
  // Whether the children change places.
  bool add_inner(const ForestTables& tables, const ForestTables::Node& node, std::size_t at,
                 std::int64_t features);
  std::uint32_t grow(std::size_t count);  // so many nodes more, with the index of the first

  /// Walks each lane from its node to a leaf.
  void descend(const T* const (&x)[kLanes], std::uint32_t (&at)[kLanes]) const;
  template <bool kNan, bool kAnyBranch>
  void walk(const T* const (&x)[kLanes], std::uint32_t (&at)[kLanes]) const;
  bool is_first(const Node& node, std::uint32_t at, T x) const;
  void add_trees(const T* x, std::int64_t rows, std::int64_t first, std::int64_t last,
                 double* totals) const;
  void add_votes(std::uint32_t leaf, double* totals) const;
  void start(double* totals, std::int64_t count) const;
  double merged(double a, double b) const;
  void finish(double* totals, std::int64_t count) const;

  Aggregate aggregate_;
  std::int64_t targets_, features_;
  bool any_nan_first_ = false, any_other_branch_ = false, any_inner_ = false;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> roots_;
  std::vector<std::uint32_t> votes_begin_;  // by node, empty ranges but for leaves
  std::vector<std::uint32_t> votes_end_;
  std::vector<Vote> votes_;
  std::vector<std::uint32_t> set_of_node_;  // where there are sets
  std::vector<std::vector<T>> sets_;        // sorted
};

extern template class Forest<float>;
extern template class Forest<double>;

}  // namespace mezzo::ops
