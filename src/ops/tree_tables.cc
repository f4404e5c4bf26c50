#include "ops/tree_tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Child = ForestTables::Child;

std::vector<double> numbers_of(const Tensor& tensor, const std::string& name) {
  const TypeSet types = kFloats | DType::u8;
  if (!types.contains(tensor.dtype())) {
    throw invalid("an attribute's tensor has the wrong type")
        .at("attribute '" + name + "'")
        .got(std::string(name_of(tensor.dtype())));
  }
  // A copy: the file may have it misaligned.
  const Tensor wide = tensor.clone().to(DType::f64);
  const auto values = wide.values<double>();
  return {values.begin(), values.end()};
}

std::vector<double> tensor_list(const Op& op, const std::string& name) {
  const Tensor* tensor = op.attr_tensor(name);
  return tensor != nullptr ? numbers_of(*tensor, name) : std::vector<double>();
}

template <class List>
const List& require_length(const List& list, std::size_t length, const std::string& name) {
  if (list.size() != length) {
    throw invalid("the lists that describe the trees have different lengths")
        .at("attribute '" + name + "'")
        .expected(std::to_string(length))
        .got(std::to_string(list.size()));
  }
  return list;
}

// An optional list of flags; false where it is omitted.
std::vector<bool> flags(const Op& op, const std::string& name, std::size_t length) {
  std::vector<bool> result(length, false);
  const std::vector<std::int64_t> list = op.attr_ints(name);
  if (list.empty()) return result;
  require_length(list, length, name);
  for (std::size_t i = 0; i < length; ++i) result[i] = list[i] != 0;
  return result;
}

// Nothing where the node is a leaf.
std::optional<Branch> branch_of(const std::string& mode) {
  static constexpr std::array kModes = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                        "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};
  if (mode == "LEAF") return std::nullopt;
  for (std::size_t i = 0; i < kModes.size(); ++i) {
    if (mode == kModes[i]) return static_cast<Branch>(i);
  }
  throw invalid("an unknown mode of a tree's node")
      .expected("LEAF or BRANCH_LEQ, _LT, _GTE, _GT, _EQ or _NEQ")
      .got("'" + mode + "'");
}

// Finds nodes by the number of their tree and their own.
class NodeIds {
 public:
  NodeIds(std::vector<std::int64_t> trees, std::vector<std::int64_t> nodes)
      : trees_(std::move(trees)), nodes_(std::move(nodes)) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) sorted_.emplace_back(trees_[i], nodes_[i], i);
    // Mostly they are in order as they come.
    if (!std::is_sorted(sorted_.begin(), sorted_.end())) std::sort(sorted_.begin(), sorted_.end());
    for (std::size_t i = 1; i < sorted_.size(); ++i) {
      const auto [tree, node, at] = sorted_[i];
      if (std::get<0>(sorted_[i - 1]) == tree && std::get<1>(sorted_[i - 1]) == node) {
        throw invalid("two nodes of a tree have the same number").got(name(tree, node));
      }
    }
  }

  std::size_t size() const { return nodes_.size(); }
  std::int64_t tree(std::size_t i) const { return trees_[i]; }

  // `near` is a node that is likely to stand near it.
  std::size_t find(std::int64_t tree, std::int64_t node, std::size_t near) const {
    // Mostly the nodes of a tree stand in the order of their numbers.
    const std::uint64_t guess =
        near + static_cast<std::uint64_t>(node) - static_cast<std::uint64_t>(nodes_[near]);
    if (guess < nodes_.size() && nodes_[guess] == node && trees_[guess] == tree) return guess;
    const auto found =
        std::lower_bound(sorted_.begin(), sorted_.end(), std::tuple(tree, node, std::size_t{0}));
    if (found == sorted_.end() || std::get<0>(*found) != tree || std::get<1>(*found) != node) {
      throw invalid("a tree names a node that there is not").got(name(tree, node));
    }
    return std::get<2>(*found);
  }

 private:
  static std::string name(std::int64_t tree, std::int64_t node) {
    return "node " + std::to_string(node) + " of tree " + std::to_string(tree);
  }

  std::vector<std::int64_t> trees_, nodes_;
  std::vector<std::tuple<std::int64_t, std::int64_t, std::size_t>> sorted_;
};

// Each tree begins at the one of its nodes that no other leads to. In the order of the file.
std::vector<std::size_t> roots_of(const NodeIds& ids, const std::vector<bool>& has_parent) {
  std::vector<std::size_t> roots;
  std::map<std::int64_t, int> count;
  int* of_tree = nullptr;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i == 0 || ids.tree(i) != ids.tree(i - 1)) of_tree = &count[ids.tree(i)];
    if (has_parent[i]) continue;
    roots.push_back(i);
    ++*of_tree;
  }
  for (const auto& [tree, number] : count) {
    if (number == 1) continue;
    throw invalid("the nodes of a tree do not make one tree")
        .at("tree " + std::to_string(tree))
        .expected("one node that no other leads to")
        .got(std::to_string(number));
  }
  return roots;
}

// The votes of the leaves, ordered by leaf. Leaf i is node i; votes at inner nodes, which older
// converters wrote, count nothing.
void read_votes(const Op& op, const std::string& prefix, const NodeIds& ids,
                const std::vector<bool>& is_leaf, ForestTables& tables) {
  const std::vector<std::int64_t> targets = op.attr_ints(prefix + "_ids");
  const std::vector<std::int64_t> trees =
      require_length(op.attr_ints(prefix + "_treeids"), targets.size(), prefix + "_treeids");
  const std::vector<std::int64_t> nodes =
      require_length(op.attr_ints(prefix + "_nodeids"), targets.size(), prefix + "_nodeids");
  const std::vector<double> weights =
      require_length(float_list(op, prefix + "_weights"), targets.size(), prefix + "_weights");
  std::vector<std::pair<std::size_t, std::size_t>> by_leaf;  // leaf, vote
  std::size_t near = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const std::size_t node = near = ids.find(trees[i], nodes[i], near);
    if (is_leaf[node]) by_leaf.emplace_back(node, i);
  }
  if (!std::is_sorted(by_leaf.begin(), by_leaf.end())) std::sort(by_leaf.begin(), by_leaf.end());
  tables.leaf_begin.assign(ids.size() + 1, 0);
  for (const auto& [leaf, vote] : by_leaf) {
    tables.votes.push_back({targets[vote], weights[vote]});
    tables.leaf_begin[leaf + 1] = static_cast<std::int64_t>(tables.votes.size());
  }
  for (std::size_t i = 1; i < tables.leaf_begin.size(); ++i) {
    tables.leaf_begin[i] = std::max(tables.leaf_begin[i], tables.leaf_begin[i - 1]);
  }
}

// Sets of members, each but perhaps the last ended by NaN.
std::vector<std::vector<double>> read_sets(const Op& op) {
  std::vector<std::vector<double>> sets;
  bool open = false;
  for (const double value : tensor_list(op, "membership_values")) {
    if (!open) sets.emplace_back();
    open = !std::isnan(value);
    if (open) sets.back().push_back(value);
  }
  return sets;
}

}  // namespace

std::vector<double> float_list(const Op& op, const std::string& name) {
  const std::vector<float> floats = op.attr_floats(name);
  std::vector<double> wide;
  if (op.declares(name + "_as_tensor")) wide = tensor_list(op, name + "_as_tensor");
  if (!floats.empty() && !wide.empty()) {
    throw invalid("a list is given twice").got("'" + name + "' and '" + name + "_as_tensor'");
  }
  return wide.empty() ? std::vector<double>(floats.begin(), floats.end()) : wide;
}

ForestTables tables_by_id(const Op& op, const std::string& votes) {
  const std::vector<std::int64_t> numbers = op.attr_ints("nodes_nodeids");
  const std::size_t count = numbers.size();
  if (count == 0) throw invalid("the forest has no nodes");
  const auto ints = [&](const std::string& name) {
    return require_length(op.attr_ints(name), count, name);
  };
  const NodeIds ids(ints("nodes_treeids"), numbers);
  const std::vector<std::string> modes =
      require_length(op.attr_strings("nodes_modes"), count, "nodes_modes");
  const std::vector<std::int64_t> features = ints("nodes_featureids"),
                                  yes = ints("nodes_truenodeids"), no = ints("nodes_falsenodeids");
  const std::vector<double> splits =
      require_length(float_list(op, "nodes_values"), count, "nodes_values");
  const std::vector<bool> nan_is_true = flags(op, "nodes_missing_value_tracks_true", count);

  ForestTables tables;
  tables.nodes.resize(count);
  std::vector<bool> is_leaf(count, false), has_parent(count, false);
  for (std::size_t i = 0; i < count; ++i) {
    const std::optional<Branch> branch = branch_of(modes[i]);
    is_leaf[i] = !branch;
    tables.nodes[i].branch = branch.value_or(Branch::leq);
  }
  const auto child = [&](std::size_t parent, std::int64_t number) {
    const std::size_t index = ids.find(ids.tree(parent), number, parent);
    has_parent[index] = true;
    return Child{is_leaf[index], static_cast<std::int64_t>(index)};
  };
  for (std::size_t i = 0; i < count; ++i) {
    if (is_leaf[i]) continue;
    ++tables.must_reach;
    ForestTables::Node& node = tables.nodes[i];
    node.nan_is_true = nan_is_true[i];
    node.feature = features[i];
    node.split = splits[i];
    node.yes = child(i, yes[i]);
    node.no = child(i, no[i]);
  }
  for (const std::size_t root : roots_of(ids, has_parent)) {
    tables.roots.push_back({is_leaf[root], static_cast<std::int64_t>(root)});
  }
  read_votes(op, votes, ids, is_leaf, tables);
  return tables;
}

ForestTables tables_by_index(const Op& op) {
  const std::vector<std::int64_t> features = op.attr_ints("nodes_featureids");
  const std::size_t count = features.size();
  const auto ints = [&](const std::string& name) {
    return require_length(op.attr_ints(name), count, name);
  };
  const std::vector<std::int64_t> yes = ints("nodes_truenodeids"), no = ints("nodes_falsenodeids"),
                                  yes_leaf = ints("nodes_trueleafs"),
                                  no_leaf = ints("nodes_falseleafs");
  const std::vector<double> modes =
      require_length(tensor_list(op, "nodes_modes"), count, "nodes_modes");
  const std::vector<double> splits =
      require_length(tensor_list(op, "nodes_splits"), count, "nodes_splits");
  const std::vector<bool> nan_is_true = flags(op, "nodes_missing_value_tracks_true", count);

  ForestTables tables;
  tables.sets = read_sets(op);
  std::int64_t sets = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!(modes[i] >= 0 && modes[i] <= static_cast<double>(Branch::member))) {
      throw invalid("an unknown mode of a tree's node")
          .expected("0 to 6")
          .got(std::to_string(modes[i]));
    }
    ForestTables::Node& node = tables.nodes.emplace_back();
    node.branch = static_cast<Branch>(static_cast<int>(modes[i]));
    node.nan_is_true = nan_is_true[i];
    node.feature = features[i];
    node.split = splits[i];
    if (node.branch == Branch::member) node.set = sets++;
    node.yes = {yes_leaf[i] != 0, yes[i]};
    node.no = {no_leaf[i] != 0, no[i]};
  }
  if (sets != static_cast<std::int64_t>(tables.sets.size())) {
    throw invalid("membership_values has not one set for each BRANCH_MEMBER node")
        .expected(std::to_string(sets))
        .got(std::to_string(tables.sets.size()));
  }
  const std::vector<std::int64_t> targets = op.attr_ints("leaf_targetids");
  const std::vector<double> weights =
      require_length(tensor_list(op, "leaf_weights"), targets.size(), "leaf_weights");
  tables.leaf_begin.push_back(0);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    tables.votes.push_back({targets[i], weights[i]});
    tables.leaf_begin.push_back(static_cast<std::int64_t>(i) + 1);
  }
  for (const std::int64_t root : op.attr_ints("tree_roots")) tables.roots.push_back({false, root});
  return tables;
}

}  // namespace mezzo::ops
