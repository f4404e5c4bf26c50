#include "runtime/constant_store.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/mapped_file.h"
#include "base/memory.h"

namespace mezzo::runtime {

using graph::ValueId;

namespace {

bool is_aligned(const Tensor& tensor) {
  if (!is_plain(tensor.dtype())) return true;
  const auto unit = static_cast<std::uintptr_t>(std::max(1, bits_of(tensor.dtype()) / 8));
  // Complex numbers are pairs: their parts are what must be aligned.
  const bool complex = tensor.dtype() == DType::c64 || tensor.dtype() == DType::c128;
  return reinterpret_cast<std::uintptr_t>(tensor.data()) % (complex ? unit / 2 : unit) == 0;
}

// Packed weights of up to half that size are put together, on huge pages: alone they would lie on
// pages of 4 KB, or end there. A run reads them all, and finding the page of each costs a network
// of many megabytes some hundredths of its time.
constexpr std::size_t kSlab = std::size_t{8} << 20;
// The first ones are not: a small model has no slab.
constexpr std::size_t kFewBytes = std::size_t{1} << 20;

// A weight that has been packed or copied is not read from its file again, but for another packing.
void forget_pages(const Tensor& constant) {
  if (is_plain(constant.dtype())) MappedFile::forget_pages(constant.data(), constant.bytes());
}

}  // namespace

ConstantStore::ConstantStore() : slabs_(kSlab) {}

Tensor ConstantStore::packed(ValueId value, const Tensor& constant, const std::string& key,
                             const std::function<Tensor(const Tensor&)>& make) {
  const auto source = [&] { return is_aligned(constant) ? constant : copied(constant); };
  return kept(value, constant, key, source, make);
}

Tensor ConstantStore::packed_changed(ValueId value, const Tensor& constant, const std::string& key,
                                     const std::function<Tensor(Tensor)>& change,
                                     const std::function<Tensor(const Tensor&)>& make) {
  return kept(
      value, constant, key, [&] { return change(copied(constant)); }, make);
}

Tensor ConstantStore::kept(ValueId value, const Tensor& constant, const std::string& key,
                           const std::function<Tensor()>& source,
                           const std::function<Tensor(const Tensor&)>& make) {
  const std::lock_guard lock(mutex_);
  const auto found = packed_.find({value, key});
  if (found != packed_.end()) return found->second;
  const Tensor from = source();
  // What `make` needs besides its result is not a tensor.
  std::optional<SlabScope> scope;
  if (kept_bytes_ >= kFewBytes && allocation_limit() >= kSlab) scope.emplace(slabs_);
  Tensor tensor = make(from);
  // What is kept must not lie where the next copy goes, should `make` hand through what it got.
  if (tensor.data() == scratch_.get()) tensor = tensor.clone();
  kept_bytes_ += tensor.bytes();
  forget_pages(constant);
  return packed_.emplace(std::pair(value, key), std::move(tensor)).first->second;
}

// The copy, where one is needed, lives only while it is packed, and has no other owner. All take
// the same place, on huge pages, which seldom grows: the system would clear new pages for each.
Tensor ConstantStore::copied(const Tensor& constant) {
  if (scratch_bytes_ < constant.bytes()) {
    scratch_bytes_ = std::max({constant.bytes(), 2 * scratch_bytes_, kHugePage});
    scratch_ = nullptr;
    scratch_ = allocate(scratch_bytes_);
  }
  std::memcpy(scratch_.get(), constant.data(), constant.bytes());
  return Tensor::adopt(constant.dtype(), constant.shape(),
                       {scratch_.get(), [keep = scratch_](void*) {}});
}

void ConstantStore::forget_scratch() {
  const std::lock_guard lock(mutex_);
  scratch_ = nullptr;
  scratch_bytes_ = 0;
}

const Tensor& ConstantStore::aligned(ValueId value, const Tensor& constant) {
  if (is_aligned(constant)) return constant;
  const std::lock_guard lock(mutex_);
  const auto found = aligned_.find(value);
  if (found != aligned_.end()) return found->second;
  const Tensor& copy = aligned_.emplace(value, constant.clone()).first->second;
  forget_pages(constant);
  return copy;
}

ValueId ConstantStore::derived(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto next = graph::kNone - 1 - static_cast<ValueId>(derived_.size());
  return derived_.try_emplace(key, next).first->second;
}

std::shared_ptr<const void> ConstantStore::remembered(
    const std::string& key, const std::function<std::shared_ptr<const void>()>& make) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = remembered_.find(key);
    if (found != remembered_.end()) return found->second;
  }
  // Not under the lock: it may look at other constants.
  std::shared_ptr<const void> made = make();
  const std::lock_guard lock(mutex_);
  return remembered_.try_emplace(key, std::move(made)).first->second;
}

const Tensor* ConstantStore::folded(ValueId value) {
  const std::lock_guard lock(mutex_);
  const auto found = folded_.find(value);
  return found != folded_.end() ? &found->second : nullptr;
}

const Tensor* ConstantStore::keep_folded(ValueId value, Tensor tensor) {
  const std::lock_guard lock(mutex_);
  return &folded_.try_emplace(value, std::move(tensor)).first->second;
}

}  // namespace mezzo::runtime
