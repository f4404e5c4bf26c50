#include "ops/movement.h"

#include <algorithm>

#include "base/convert.h"
#include "base/shape.h"
#include "kernels/elementwise_f32.h"
#include "ops/op.h"

namespace mezzo::ops {
namespace {

// About 20 microseconds of copying on one core.
constexpr std::int64_t kTaskBytes = 256 * 1024;

}  // namespace

void copy_all(DType dtype, const void* source, void* target, std::int64_t count, ThreadPool& pool) {
  if (count == 0 || source == target) return;
  if (dtype == DType::string) {
    copy_run(static_cast<const std::string*>(source), static_cast<std::string*>(target), count);
    return;
  }
  if (!is_plain(dtype)) {
    copy_run(static_cast<const Tensor*>(source), static_cast<Tensor*>(target), count);
    return;
  }
  const auto bytes = static_cast<std::int64_t>(bytes_of(dtype, count));
  pool.parallel_for(bytes, kTaskBytes, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(static_cast<char*>(target) + begin, static_cast<const char*>(source) + begin,
                static_cast<std::size_t>(end - begin));
  });
}

void copy_for_later(DType dtype, const void* source, void* target, std::int64_t count,
                    ThreadPool& pool) {
  constexpr std::int64_t kLargeBytes = 64 * 1024, kFloatBytes = sizeof(float);
  const auto bytes = is_plain(dtype) ? static_cast<std::int64_t>(bytes_of(dtype, count)) : 0;
  if (bytes < kLargeBytes || bits_of(dtype) % 32 != 0 || source == target || !simd_allowed())
    return copy_all(dtype, source, target, count, pool);
  kernels::copy_past_caches(static_cast<const float*>(source), static_cast<float*>(target),
                            bytes / kFloatBytes, pool);
}

std::int64_t runs_per_task(DType dtype, std::int64_t run) {
  // A run costs some nanoseconds, however short it is: the time of about 32 bytes.
  const std::int64_t bytes = moved_bytes(dtype) * std::min(run, kTaskBytes) + 32;
  return std::max<std::int64_t>(kTaskBytes / bytes, 1);
}

Mover::Mover(DType dtype, Shape extents, std::vector<std::int64_t> source_strides,
             std::vector<std::int64_t> target_strides, std::int64_t source_offset,
             std::int64_t target_offset)
    : empty_(element_count(extents) == 0),
      element_bytes_(moved_bytes(dtype)),
      source_offset_(source_offset),
      target_offset_(target_offset) {
  if (dtype != DType::string) {
    copy_.emplace(element_bytes_, extents, source_strides, target_strides);
    return;
  }
  extents_ = std::move(extents);
  source_strides_ = std::move(source_strides);
  target_strides_ = std::move(target_strides);
}

void Mover::run(const void* source, void* target, ThreadPool& pool) const {
  if (empty_) return;
  if (!copy_) {
    run_strings(static_cast<const std::string*>(source), static_cast<std::string*>(target));
    return;
  }
  copy_->run(static_cast<const char*>(source) + source_offset_ * element_bytes_,
             static_cast<char*>(target) + target_offset_ * element_bytes_, pool);
}

void Mover::run_strings(const std::string* source, std::string* target) const {
  const std::int64_t count = product(extents_);
  std::vector<std::int64_t> index(extents_.size(), 0);
  std::int64_t from = source_offset_, to = target_offset_;
  for (std::int64_t i = 0; i < count; ++i) {
    target[to] = source[from];
    for (std::size_t a = extents_.size(); a-- > 0;) {
      from += source_strides_[a];
      to += target_strides_[a];
      if (++index[a] < extents_[a]) break;
      from -= index[a] * source_strides_[a];
      to -= index[a] * target_strides_[a];
      index[a] = 0;
    }
  }
}

std::vector<std::uint8_t> unpack(DType dtype, const void* packed, std::int64_t count) {
  std::vector<std::uint8_t> elements(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    elements[static_cast<std::size_t>(i)] =
        static_cast<std::uint8_t>(read_packed(dtype, packed, i));
  }
  return elements;
}

void pack(DType dtype, const std::uint8_t* elements, void* packed, std::int64_t count) {
  if (count == 0) return;
  std::memset(packed, 0, bytes_of(dtype, count));
  for (std::int64_t i = 0; i < count; ++i) write_packed(dtype, packed, i, elements[i]);
}

void throw_bad_index(std::int64_t index, std::int64_t extent) {
  throw Error(ErrorCode::runtime, "an index is out of range")
      .expected("-" + std::to_string(extent) + " to " + std::to_string(extent - 1))
      .got(std::to_string(index));
}

}  // namespace mezzo::ops
