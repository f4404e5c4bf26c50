// Where a plan's constants are packed and kept.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "plan/compiler.h"

namespace mezzo::plan {

/// Constants of the plan's own keep to the plan; those of the file, and what passes make of those,
/// go to the session's store.
class Compiler::Store : public ops::PackStore {
 public:
  /// `shared` names the constants that depend on nothing but the file.
  Store(Resources& resources, const std::set<ValueId>& shared)
      : resources_(resources), shared_(shared) {}

  Tensor packed(ValueId value, const Tensor& constant, const std::string& key,
                const std::function<Tensor(const Tensor&)>& make) override {
    // The same weight may be wanted as it is and, by another node, in f32.
    const std::string full_key = std::string(name_of(constant.dtype())) + " " + key;
    const auto recipe = recipes_.find(value);
    if (recipe != recipes_.end()) {
      // Made only to be packed: what is packed already, or kept packed, is all the memory it takes.
      return resources_.packed_changed(value, constant, full_key, recipe->second, make);
    }
    return shared_.contains(value) ? resources_.packed(value, constant, full_key, make)
                                   : make(constant);
  }

  const Tensor& aligned(ValueId value, const Tensor& constant) override {
    const auto recipe = recipes_.find(value);
    if (recipe != recipes_.end()) {
      if (const Tensor* known = resources_.folded(value)) return *known;
      const auto as_it_is = [](const Tensor& changed) { return changed; };
      return *resources_.keep_folded(
          value, resources_.packed_changed(value, constant, "as it is", recipe->second, as_it_is));
    }
    return shared_.contains(value) ? resources_.aligned(value, constant) : constant;
  }

  /// From here on `value` is a constant made from another, which stands for it in `packed` and
  /// `aligned`.
  void set_recipe(ValueId value, passes::Recipe recipe) {
    recipes_.insert_or_assign(value, std::move(recipe));
  }
  /// Null where the value was not made so.
  const passes::Recipe* recipe(ValueId value) const {
    const auto found = recipes_.find(value);
    return found != recipes_.end() ? &found->second : nullptr;
  }

 private:
  Resources& resources_;
  const std::set<ValueId>& shared_;
  std::map<ValueId, passes::Recipe> recipes_;
};

}  // namespace mezzo::plan
