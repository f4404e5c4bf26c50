// Converts elements as the operator Cast does, for convert_test.py.
//
//     convert_main FROM TO COUNT SATURATE ROUND_MODE <elements >elements
//
// SATURATE is 0 or 1, ROUND_MODE up, down or nearest; packed types stand packed on both sides.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "base/convert.h"
#include "mezzo/tensor.h"

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: convert_main FROM TO COUNT SATURATE ROUND_MODE\n";
    return 2;
  }
  const mezzo::DType from = mezzo::dtype_from_name(argv[1]), to = mezzo::dtype_from_name(argv[2]);
  const std::int64_t count = std::atoll(argv[3]);
  mezzo::CastRules rules;
  rules.saturate = std::string(argv[4]) == "1";
  using RoundMode = mezzo::CastRules::RoundMode;
  const std::string mode = argv[5];
  rules.round_mode = mode == "up"     ? RoundMode::up
                     : mode == "down" ? RoundMode::down
                                      : RoundMode::nearest;
  try {
    mezzo::Tensor source(from, {count}), target(to, {count});
    if (std::fread(source.mutable_data(), 1, source.bytes(), stdin) != source.bytes()) return 2;
    mezzo::convert(from, source.data(), to, target.mutable_data(), count, rules);
    std::fwrite(target.data(), 1, target.bytes(), stdout);
  } catch (const mezzo::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
