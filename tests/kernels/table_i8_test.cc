#include "kernels/table_i8.h"

#include "kernels/kernel_test.h"

namespace mezzo::kernels {
namespace {

TEST(LookUp, EveryLengthAndEveryByte) {
  for_each_target([] {
    ByteTable table{};
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = static_cast<std::uint8_t>(i * 89 + 17);  // a permutation
    for (const std::size_t n : {0, 1, 63, 64, 65, 300, 511}) {
      std::vector<std::uint8_t> x(n), y(n + 1, 7);
      for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<std::uint8_t>(255 - i);
      look_up(table, x.data(), y.data(), static_cast<std::int64_t>(n));
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], static_cast<std::uint8_t>(x[i] * 89 + 17))
            << "element " << i << " of " << n;
      EXPECT_EQ(y[n], 7);
    }
  });
}

}  // namespace
}  // namespace mezzo::kernels
