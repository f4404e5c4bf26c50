// Products with weights of a byte or of a few bits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/gemm_i8.h"
#include "kernels/gemm_nbits_f32.h"
#include "report.h"

namespace bench {

inline std::string shape_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
}

// Weights like those that are quantised by their largest: few are large.
inline std::vector<std::int8_t> some_weights(std::int64_t count) {
  std::vector<std::int8_t> weights(static_cast<std::size_t>(count));
  std::uint32_t state = 1;
  for (std::int8_t& weight : weights) {
    int sum = 0;
    for (int i = 0; i < 4; ++i) {
      state = state * 1664525 + 1013904223;
      sum += static_cast<int>(state >> 24) % 41 - 20;
    }
    weight = static_cast<std::int8_t>(sum);
  }
  return weights;
}

inline void bench_gemm_i8(const Report& report, mezzo::ThreadPool& pool, std::int64_t m,
                          std::int64_t n, std::int64_t k) {
  using namespace mezzo::kernels;
  const std::string name = "gemm_i8 " + shape_of(m, n, k);
  if (!report.wanted(name)) return;
  const std::vector<std::int8_t> b = some_weights(k * n);
  const auto pack = [&](const AllocatePacked& allocate) {
    pack_b_i8(k, n, {b.data(), true, n, 1}, allocate, pool);
  };
  std::size_t bytes = 0;
  std::unique_ptr<Floats> first;
  pack([&](std::size_t needed) {
    bytes = needed;
    first = std::make_unique<Floats>(needed / 4);
    return first->get();
  });
  const std::vector<Floats> packed =
      cold_copies(bytes, [&](float* to) { pack([&](std::size_t) { return to; }); });
  std::vector<std::uint8_t> a(static_cast<std::size_t>(m * k));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<std::uint8_t>(i * 37);
  std::vector<std::int32_t> c(static_cast<std::size_t>(m * n));
  report_rotating(report, name, 2.0 * static_cast<double>(m * n * k), packed,
                  [&](const float* weights) {
                    GemmI8Operand operand;
                    operand.data = weights;
                    operand.packed = true;
                    gemm_i8(m, n, k, {a.data(), false, k, 1, 128}, operand, c.data(), n, pool);
                  });
}

// Four bits, with a scale for each 32 of them, times float32 and times bytes.
inline void bench_gemm_nbits(const Report& report, mezzo::ThreadPool& pool, std::int64_t m,
                             std::int64_t n, std::int64_t k) {
  using namespace mezzo::kernels;
  const Floats a(m * k), c(m * n), scales(n * k / 32);
  for (const bool in_bytes : {false, true}) {
    const std::string name = (in_bytes ? "gemm_nbits_i8 " : "gemm_nbits ") + shape_of(m, n, k);
    NbitsMatrix b{n, k};
    if (!report.wanted(name) || (in_bytes && !has_gemm_nbits_i8(b))) continue;
    b.scales = scales.get();
    report_rotating(report, name, 2.0 * static_cast<double>(m * n * k), cold_copies(n * k / 2),
                    [&](const float* weights) {
                      b.words = reinterpret_cast<const std::uint32_t*>(weights);
                      (in_bytes ? gemm_nbits_i8 : gemm_nbits)(m, a.get(), b, nullptr, c.get(),
                                                              pool);
                    });
  }
}

inline void bench_bytes(const Report& report, mezzo::ThreadPool& pool) {
  bench_gemm_i8(report, pool, 128, 384, 384);
  for (const std::int64_t m : {1, 8}) bench_gemm_i8(report, pool, m, 4096, 4096);
  for (const std::int64_t m : {1, 8}) bench_gemm_nbits(report, pool, m, 4096, 4096);
}

}  // namespace bench
