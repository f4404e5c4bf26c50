#include "kernels/strided_copy.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "base/shape.h"
#include "kernels/kernel_test.h"
#include "mezzo/error.h"

namespace mezzo::kernels {
namespace {

using Ints = std::vector<std::int64_t>;

// What StridedCopy promises, element by element and byte by byte. `source` and `target` are the
// elements with index 0.
void naive(std::int64_t size, const Shape& extents, const Ints& from, const Ints& to,
           const char* source, char* target) {
  const std::int64_t count = element_count(extents);
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, s = 0, t = 0;
    for (std::size_t a = extents.size(); a-- > 0;) {
      s += rest % extents[a] * from[a];
      t += rest % extents[a] * to[a];
      rest /= extents[a];
    }
    for (std::int64_t b = 0; b < size; ++b) target[t * size + b] = source[s * size + b];
  }
}

class StridedCopyTest : public testing::TestWithParam<std::int64_t> {
 protected:
  // Compares with `naive`, over buffers that lie at odd addresses and so have no alignment.
  void check(const Shape& extents, const Ints& from, const Ints& to, std::int64_t source_elements,
             std::int64_t target_elements, std::int64_t source_offset = 0) {
    const std::int64_t size = GetParam();
    std::vector<char> source(static_cast<std::size_t>(source_elements * size + 1));
    for (char& byte : source) byte = static_cast<char>(random_());
    std::vector<char> wanted(static_cast<std::size_t>(target_elements * size + 1), 'x');
    const std::vector<char> untouched = wanted;
    const char* first = source.data() + 1 + source_offset * size;
    naive(size, extents, from, to, first, wanted.data() + 1);
    for_each_target([&] {
      std::vector<char> got = untouched;
      StridedCopy(size, extents, from, to).run(first, got.data() + 1, pool_);
      EXPECT_EQ(got, wanted) << to_string(extents) << " from " << to_string(from) << " to "
                             << to_string(to) << ", elements of " << size;
    });
  }

  ThreadPool pool_{3};
  std::mt19937 random_{1};
};

TEST_P(StridedCopyTest, Permutations) {
  for (const Shape& shape : {Shape{5, 7}, Shape{16, 64}, Shape{67, 130}, Shape{2, 3, 33, 20},
                             Shape{3, 1, 17, 1, 5}, Shape{200, 3, 150}, Shape{1, 1}, Shape{40}}) {
    std::vector<std::size_t> perm(shape.size());
    std::iota(perm.begin(), perm.end(), 0);
    do {
      Shape extents;
      Ints from;
      const Ints strides = strides_of(shape);
      for (const std::size_t axis : perm) {
        extents.push_back(shape[axis]);
        from.push_back(strides[axis]);
      }
      const std::int64_t count = element_count(shape);
      check(extents, from, strides_of(extents), count, count);
    } while (std::next_permutation(perm.begin(), perm.end()));
  }
}

// The axes may be listed in any order; pairs of elements are taken apart and put together.
TEST_P(StridedCopyTest, AxesInAnyOrder) {
  for (const Shape& shape : {Shape{2, 37}, Shape{3, 2, 21}, Shape{4, 5, 2, 9}}) {
    const Ints strides = strides_of(shape);
    const std::int64_t count = element_count(shape);
    std::vector<std::size_t> listed(shape.size());
    std::iota(listed.begin(), listed.end(), 0);
    do {
      std::vector<std::size_t> perm(shape.size());
      std::iota(perm.begin(), perm.end(), 0);
      do {
        // Axis perm[a] of the source is axis a of the target.
        Shape target;
        for (const std::size_t axis : perm) target.push_back(shape[axis]);
        const Ints target_strides = strides_of(target);
        Shape extents;
        Ints from, to;
        for (const std::size_t a : listed) {
          extents.push_back(target[a]);
          from.push_back(strides[perm[a]]);
          to.push_back(target_strides[a]);
        }
        check(extents, from, to, count, count);
      } while (std::next_permutation(perm.begin(), perm.end()));
    } while (std::next_permutation(listed.begin(), listed.end()));
  }
}

TEST_P(StridedCopyTest, OverlappingWindows) {
  check({6, 30}, {1, 1}, {30, 1}, 35, 180);
  check({6, 30}, {1, 1}, {1, 6}, 35, 180);
  check({6, 2, 30}, {1, 40, 1}, {1, 6, 12}, 80, 360);
}

TEST_P(StridedCopyTest, LargeCopiesAreCutIntoPieces) {
  check({1200, 700}, {1, 1200}, {700, 1}, 840000, 840000);
  check({2, 400000}, {400000, 1}, {400001, 1}, 800000, 800002);
  check({900000}, {0}, {1}, 1, 900000);
  check({300000}, {2}, {3}, 600000, 900000);
}

// What attention does to heads: runs too short for memcpy, of which threads take some each.
TEST_P(StridedCopyTest, ShortRunsBesideEachOther) {
  check({12, 128, 32}, {32, 384, 1}, {4096, 32, 1}, 49152, 49152);
  check({7, 3, 301, 19}, {19, 40033, 133, 1}, {17157, 5719, 19, 1}, 120099, 120099);
  check({3, 1001, 5}, {5, 20, 1}, {5005, 5, 1}, 20020, 15015);
}

TEST_P(StridedCopyTest, RandomSlicesAndRepetitions) {
  for (int round = 0; round < 300; ++round) {
    const int rank = static_cast<int>(random_() % 5);
    Shape extents, source_shape;
    Ints steps;
    for (int a = 0; a < rank; ++a) {
      extents.push_back(static_cast<std::int64_t>(random_() % 9 + (random_() % 8 == 0 ? 0 : 1)));
      const std::int64_t step = static_cast<std::int64_t>(random_() % 5) - 2;
      steps.push_back(step);
      source_shape.push_back(extents.back() * std::max<std::int64_t>(std::abs(step), 1));
    }
    Ints from = strides_of(source_shape);
    std::int64_t offset = 0;
    for (std::size_t a = 0; a < from.size(); ++a) {
      if (steps[a] < 0) offset += (source_shape[a] - 1) * from[a];
      from[a] *= steps[a];
    }
    const std::int64_t count = element_count(source_shape);
    check(extents, from, strides_of(extents), std::max<std::int64_t>(count, 1),
          element_count(extents), count == 0 ? 0 : offset);
  }
}

INSTANTIATE_TEST_SUITE_P(ElementSizes, StridedCopyTest, testing::Values(1, 2, 4, 8, 16));

TEST(StridedCopyLimits, SizesThatOverflowAreRefused) {
  const std::int64_t huge = std::int64_t{1} << 61;
  EXPECT_THROW(StridedCopy(8, {huge}, {0}, {1}), Error);
  EXPECT_THROW(StridedCopy(8, {2, 2}, {huge, 1}, {2, 1}), Error);
  // Without elements there is nothing to overflow.
  EXPECT_NO_THROW(StridedCopy(8, {huge, 0}, {0, 0}, {0, 1}));
}

}  // namespace
}  // namespace mezzo::kernels
