// Copies between strided N-d arrays, by element size: transposing, slicing, tiling, joining.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace mezzo::kernels {

/// The copy target[sum_a i_a * target_strides[a]] = source[sum_a i_a * source_strides[a]] for all i
/// within the extents. It is planned once, when made, and then run any number of times, from
/// several threads if wanted.
///
/// Planning drops axes of extent 1, merges axes that are contiguous in both arrays, turns the
/// innermost run into one `memcpy` or one wider element, and where the array is a transposition at
/// heart (the axis that is contiguous in the source isn't the one that is in the target) puts those
/// two axes innermost and goes through them in square tiles. All in portable C++ (vector extensions
/// of 16 bytes), for it serves every target, `scalar` too; but for tiles of elements of 4 bytes,
/// where the active target has wider vectors.
class StridedCopy {
 public:
  /// `element_bytes` is 1, 2, 4, 8 or 16; strides count elements. Source strides may be 0
  /// (repetition) or negative. No two indices may have the same target element.
  StridedCopy(std::int64_t element_bytes, const std::vector<std::int64_t>& extents,
              const std::vector<std::int64_t>& source_strides,
              const std::vector<std::int64_t>& target_strides);

  /// `source` and `target` are the elements with index 0 along all axes. The two arrays must not
  /// overlap. No alignment is needed.
  void run(const void* source, void* target, ThreadPool& pool) const;

 private:
  struct Axis {
    std::int64_t extent, source, target;  // strides in bytes
  };
  enum class Inner {
    nothing,    // no element at all
    run,        // memcpy of run_bytes_
    strided,    // one axis of elements, axes_.back()
    transpose,  // two axes: axes_[n - 2] is contiguous in the source, axes_[n - 1] in the target
  };
  struct Span;

  void merge_axes();
  void choose_inner();
  template <class Element>
  void run_strided(const Span& span) const;
  template <class Element>
  void run_transpose(const Span& span) const;

  Inner inner_ = Inner::nothing;
  std::int64_t element_ = 0;
  std::int64_t run_bytes_ = 0;
  // All loops, the outermost first; the innermost ones as `inner_` says.
  std::vector<Axis> axes_;
  // How many of them are loops around the inner part.
  std::size_t outer_axes_ = 0;
  std::int64_t outer_count_ = 1;
  // The inner part is cut into so many pieces, each of piece_ bytes (run), elements (strided) or
  // rows of the source-contiguous axis (transpose), so that threads get work when the loops around
  // are few.
  std::int64_t pieces_ = 1, piece_ = 0;
  std::int64_t grain_ = 1;
};

}  // namespace mezzo::kernels
