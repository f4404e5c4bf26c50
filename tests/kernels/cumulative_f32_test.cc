#include "kernels/cumulative_f32.h"

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

// Columns beside each other, and rows behind each other; 3 more of them than the kernel is told of
// stay as they are.
TEST(CumulativeF32, MatchesTheFormula) {
  for_each_target([] {
    for (std::int64_t columns : {1, 2, 3, 7, 8, 15, 16, 17, 64, 65, 91, 200, 1100}) {
      for (int variant = 0; variant < 16; ++variant) {
        SCOPED_TRACE("columns " + std::to_string(columns) + " variant " + std::to_string(variant));
        const std::int64_t n = 9, width = columns + 3;
        const bool backwards = (variant & 4) != 0, rows = (variant & 8) != 0;
        const std::int64_t stride = rows ? 1 : width;
        Cumulative args;
        args.product = (variant & 1) != 0;
        args.exclusive = (variant & 2) != 0;
        args.n = n;
        args.stride = backwards ? -stride : stride;
        args.columns = columns;
        args.apart = rows ? n : 1;
        const std::int64_t first = backwards ? (n - 1) * stride : 0;
        const std::vector<float> x = random_floats(n * width, 1, -2, 2);
        std::vector<float> y(x.size(), kUntouched), in_place = x;
        cumulate(args, x.data() + first, y.data() + first);
        cumulate(args, in_place.data() + first, in_place.data() + first);
        for (std::int64_t q = 0; q < width; ++q) {
          double state = args.product ? 1 : 0;
          for (std::int64_t i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(first + i * args.stride + q * args.apart);
            const double next = args.product ? state * x[at] : state + x[at];
            const auto expected = static_cast<float>(args.exclusive ? state : next);
            ASSERT_EQ(y[at], q < columns ? expected : kUntouched) << i << ", " << q;
            ASSERT_EQ(in_place[at], q < columns ? expected : x[at]) << i << ", " << q;
            state = next;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
