// What the operators share that only move elements. They do so by size, never by type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/repeat.h"
#include "kernels/strided_copy.h"
#include "mezzo/tensor.h"

namespace mezzo::ops {

/// An element of which only the size is known.
template <int N>
struct Bytes {
  unsigned char bytes[N];
};

/// Whether elements of that type share bytes (2 and 4 bits).
inline bool is_packed(DType dtype) { return bits_of(dtype) > 0 && bits_of(dtype) < 8; }

/// Bytes of an element while it is moved; 1 for packed types, which are unpacked for it (see
/// on_whole_bytes).
inline std::int64_t moved_bytes(DType dtype) {
  if (dtype == DType::string) return static_cast<std::int64_t>(sizeof(std::string));
  return is_packed(dtype) ? 1 : bits_of(dtype) / 8;
}

/// Calls fn(E{}), where E is std::string or the Bytes<> of that type's size: something that can be
/// assigned, and whose E{} is ONNX's zero.
template <class Fn>
void with_element(DType dtype, Fn&& fn) {
  if (dtype == DType::string) return fn(std::string());
  switch (moved_bytes(dtype)) {
    case 1:
      return fn(Bytes<1>{});
    case 2:
      return fn(Bytes<2>{});
    case 4:
      return fn(Bytes<4>{});
    case 8:
      return fn(Bytes<8>{});
    default:
      return fn(Bytes<16>{});
  }
}

/// Copies `count` elements that lie together. The ranges must not overlap.
template <class Element>
void copy_run(const Element* source, Element* target, std::int64_t count) {
  if constexpr (std::is_trivially_copyable_v<Element>) {
    if (count > 0) {
      std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(Element));
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) target[i] = source[i];
  }
}

/// Writes `value` to `count` elements.
template <class Element>
void fill_run(const Element& value, Element* target, std::int64_t count) {
  if constexpr (std::is_trivially_copyable_v<Element>) {
    kernels::repeat<sizeof(Element)>(reinterpret_cast<const char*>(&value),
                                     reinterpret_cast<char*>(target),
                                     count * static_cast<std::int64_t>(sizeof(Element)));
  } else {
    for (std::int64_t i = 0; i < count; ++i) target[i] = value;
  }
}

/// Copies whole tensors of `count` elements, by several threads where they are large. Packed types
/// stay packed.
void copy_all(DType dtype, const void* source, void* target, std::int64_t count, ThreadPool& pool);

/// The same for what nobody reads soon: large tensors go past the caches.
void copy_for_later(DType dtype, const void* source, void* target, std::int64_t count,
                    ThreadPool& pool);

/// How many elements of that type take a thread about 20 microseconds to copy, in runs of `run`:
/// the grain of a parallel loop over runs.
std::int64_t runs_per_task(DType dtype, std::int64_t run);

/// A strided copy of elements of any type: kernels::StridedCopy, and a plain loop for strings.
/// Packed types count as bytes.
class Mover {
 public:
  Mover(DType dtype, Shape extents, std::vector<std::int64_t> source_strides,
        std::vector<std::int64_t> target_strides, std::int64_t source_offset = 0,
        std::int64_t target_offset = 0);

  void run(const void* source, void* target, ThreadPool& pool) const;

 private:
  void run_strings(const std::string* source, std::string* target) const;

  std::optional<kernels::StridedCopy> copy_;  // for all but strings
  bool empty_;
  std::int64_t element_bytes_;
  std::int64_t source_offset_, target_offset_;
  Shape extents_;
  std::vector<std::int64_t> source_strides_, target_strides_;
};

/// The elements of a packed type, one in each byte.
std::vector<std::uint8_t> unpack(DType dtype, const void* packed, std::int64_t count);
/// The way back; unused bits of the last byte become 0.
void pack(DType dtype, const std::uint8_t* elements, void* packed, std::int64_t count);

/// Calls move(source, target), where every element has bytes of its own: packed types are unpacked
/// before and the target is packed after it.
template <class Move>
void on_whole_bytes(DType dtype, const void* source, std::int64_t source_count, void* target,
                    std::int64_t target_count, Move&& move) {
  if (!is_packed(dtype)) {
    move(source, target);
    return;
  }
  const std::vector<std::uint8_t> from = unpack(dtype, source, source_count);
  std::vector<std::uint8_t> to(static_cast<std::size_t>(target_count));
  move(static_cast<const void*>(from.data()), static_cast<void*>(to.data()));
  pack(dtype, to.data(), target, target_count);
}

[[noreturn]] void throw_bad_index(std::int64_t index, std::int64_t extent);

/// `index` counted from the front, of an axis with that extent. Throws Error(runtime) where it is
/// out of range.
inline std::int64_t checked_index(std::int64_t index, std::int64_t extent) {
  const std::int64_t from_front = index + (index < 0 ? extent : 0);
  // One comparison: as unsigned numbers, negative ones are the largest.
  if (static_cast<std::uint64_t>(from_front) >= static_cast<std::uint64_t>(extent)) {
    throw_bad_index(index, extent);
  }
  return from_front;
}

}  // namespace mezzo::ops
