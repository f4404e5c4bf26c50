// Speed of the kernels, shape by shape, as GF/s and as a share of what the machine's multiply-adds
// allow.
//
//   kernels [threads] [filter]
//
// MEZZO_TARGET chooses the instruction set. The weights of each shape rotate through copies larger
// than the caches, as those of a whole network do at batch 1 (column "cold"); "warm" repeats one.
//
// A convolution runs by the kernel that a session would choose. Winograd's takes fewer
// multiplications than are counted here, so that its share of the peak may exceed 100%;
// MEZZO_WINOGRAD=0 turns it off. With MEZZO_TARGET=amx, "by tiles" is what takes their place in
// blocks where Winograd's does not. Where oneDNN was there when this was built, its time stands
// last (warm, in its own layouts), and how many times ours that is.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bytes.h"
#include "core_distance.h"
#include "kernels/axis_winograd_f32.h"
#include "kernels/blocked_f32.h"
#include "kernels/conv_bf16x3.h"
#include "kernels/conv_f32.h"
#include "kernels/convert.h"
#include "kernels/elementwise_f32.h"
#include "kernels/gemm_bf16x3.h"
#include "kernels/gemm_f32.h"
#include "kernels/layer_norm_f32.h"
#include "kernels/peak_f32.h"
#include "kernels/phased_winograd_f32.h"
#include "kernels/pool_f32.h"
#include "kernels/softmax_f32.h"
#include "kernels/target.h"
#include "kernels/winograd_f32.h"
#include "ops/convolution.h"
#include "report.h"

namespace {

using mezzo::ThreadPool;
using namespace mezzo::kernels;
using bench::Floats, bench::Pack, bench::Report, bench::cold_copies, bench::median_time;

double operations(const ConvShape& s) {
  return 2.0 * static_cast<double>(s.batch * s.out_c * s.out_h * s.out_w * s.in_c / s.groups *
                                   s.k_h * s.k_w);
}

// Times of a convolution with weights of so many bytes, warm and cold.
struct ConvTimes {
  double warm, cold;
};
ConvTimes time_conv(const ConvShape& s, std::size_t weight_bytes,
                    const std::function<void(const ConvArgs&)>& convolve, const Pack& pack = {}) {
  const std::vector<Floats> weights = cold_copies(weight_bytes, pack);
  Floats x(s.batch * s.in_c * s.in_h * s.in_w), y(s.batch * s.out_c * s.out_h * s.out_w),
      bias(s.out_c);
  std::size_t next = 0;
  ConvArgs args{x.get(), weights[0].get(), bias.get(), nullptr, y.get(), 0, 0.0f, 6.0f};
  const double warm = median_time([&] { convolve(args); });
  const double cold = median_time([&] {
    args.packed_weights = weights[next++ % weights.size()].get();
    convolve(args);
  });
  return {warm, cold};
}

double bench_conv(const Report& report, ThreadPool& pool, const std::string& net, ConvShape s,
                  std::int64_t pad_bottom, int times) {
  s.out_h = (s.in_h + s.pad_top + (s.k_h > 1 ? pad_bottom : 0) - s.k_h) / s.stride_h + 1;
  s.out_w = (s.in_w + s.pad_left + (s.k_w > 1 ? pad_bottom : 0) - s.k_w) / s.stride_w + 1;
  char name[128];
  std::snprintf(name, sizeof name, "%s %ldx%ld/%ld %ldx%ldx%ld -> %ld g%ld x%d", net.c_str(),
                static_cast<long>(s.k_h), static_cast<long>(s.k_w), static_cast<long>(s.stride_h),
                static_cast<long>(s.in_c), static_cast<long>(s.in_h), static_cast<long>(s.in_w),
                static_cast<long>(s.out_c), static_cast<long>(s.groups), times);
  if (!report.wanted(name)) return 0;
  const bool winograd = mezzo::ops::winograd_refusal(s).empty();
  Floats scratch(scratch_bytes(s) / 4);
  const ConvTimes plain = time_conv(
      s, winograd ? winograd_weights_bytes(s) : packed_weights_bytes(s), [&](const ConvArgs& args) {
        if (winograd) {
          winograd_conv(s, args, pool);
        } else {
          conv(s, args, scratch.get(), pool);
        }
      });
  report.flops(name, operations(s), plain.warm, plain.cold, report.peer->conv(s, median_time));
  if (blocked_conv_applies(s)) {
    const bool blocked_winograd =
        mezzo::ops::blocked_winograd_refusal(s).empty() && blocked_conv_takes_blocked(s);
    Floats blocked_scratch(blocked_scratch_bytes(s) / 4);
    const ConvTimes blocked = time_conv(
        s, blocked_winograd ? blocked_winograd_weights_bytes(s) : blocked_weights_bytes(s),
        [&](const ConvArgs& args) {
          if (blocked_winograd) {
            blocked_winograd_conv(s, args, pool);
          } else {
            blocked_conv(s, args, blocked_scratch.get(), pool);
          }
        });
    report.flops("  in blocks of 8 channels", operations(s), blocked.warm, blocked.cold, 0);
  }
  if (tiles_refusal().empty() && conv_bf16x3_applies(s) && conv_bf16x3_pays(s)) {
    const Floats weights(s.out_c * s.in_c * s.k_h * s.k_w);
    const ConvTimes tiles = time_conv(
        s, conv_bf16x3_weights_bytes(s), [&](const ConvArgs& args) { conv_bf16x3(s, args, pool); },
        [&](float* packed) { pack_conv_bf16x3_weights(s, weights.get(), packed, pool); });
    report.flops("  by tiles", operations(s), tiles.warm, tiles.cold, 0);
  }
  if (mezzo::ops::phased_winograd_refusal(s).empty()) {
    const ConvTimes phased =
        time_conv(s, phased_winograd_weights_bytes(s),
                  [&](const ConvArgs& args) { phased_winograd_conv(s, args, pool); });
    report.flops("  by phases", operations(s), phased.warm, phased.cold, 0);
  }
  if (mezzo::ops::axis_winograd_refusal(s).empty()) {
    const ConvTimes along_axis =
        time_conv(s, axis_winograd_weights_bytes(s),
                  [&](const ConvArgs& args) { axis_winograd_conv(s, args, pool); });
    report.flops("  by Winograd's method", operations(s), along_axis.warm, along_axis.cold, 0);
  }
  return plain.cold * times;
}

ConvShape square(std::int64_t in_c, std::int64_t in, std::int64_t out_c, std::int64_t k,
                 std::int64_t stride, std::int64_t pad, std::int64_t groups = 1) {
  ConvShape s;
  s.in_c = in_c;
  s.in_h = s.in_w = in;
  s.out_c = out_c;
  s.k_h = s.k_w = k;
  s.stride_h = s.stride_w = stride;
  s.pad_top = s.pad_left = pad;
  s.groups = groups;
  return s;
}

// A window of k x 1 or 1 x k, with padding that keeps the size.
ConvShape along_axis(std::int64_t in_c, std::int64_t in_h, std::int64_t in_w, std::int64_t out_c,
                     std::int64_t k_h, std::int64_t k_w) {
  ConvShape s = square(in_c, 0, out_c, 1, 1, 0);
  s.in_h = in_h;
  s.in_w = in_w;
  s.k_h = k_h;
  s.k_w = k_w;
  s.pad_top = k_h / 2;
  s.pad_left = k_w / 2;
  return s;
}

void bench_network(const Report& report, ThreadPool& pool, const std::string& name,
                   const std::vector<std::pair<ConvShape, int>>& convolutions,
                   std::int64_t pad_bottom_change = 0) {
  double sum = 0;
  for (const auto& [shape, times] : convolutions)
    sum += bench_conv(report, pool, name, shape,
                      std::max(shape.pad_top, shape.pad_left) + pad_bottom_change, times);
  if (sum > 0)
    std::printf("%-44s %.2f ms with cold weights\n\n", (name + ", all of these").c_str(),
                sum * 1e3);
}

void bench_networks(const Report& report, ThreadPool& pool) {
  bench_network(report, pool, "squeezenet1.1",
                {{square(3, 224, 64, 3, 2, 0), 1},
                 {square(64, 55, 16, 1, 1, 0), 1},
                 {square(16, 55, 64, 1, 1, 0), 2},
                 {square(16, 55, 64, 3, 1, 1), 2},
                 {square(128, 55, 16, 1, 1, 0), 1},
                 {square(128, 27, 32, 1, 1, 0), 1},
                 {square(32, 27, 128, 1, 1, 0), 2},
                 {square(32, 27, 128, 3, 1, 1), 2},
                 {square(256, 27, 32, 1, 1, 0), 1},
                 {square(256, 13, 48, 1, 1, 0), 1},
                 {square(48, 13, 192, 1, 1, 0), 2},
                 {square(48, 13, 192, 3, 1, 1), 2},
                 {square(384, 13, 48, 1, 1, 0), 1},
                 {square(384, 13, 64, 1, 1, 0), 1},
                 {square(64, 13, 256, 1, 1, 0), 2},
                 {square(64, 13, 256, 3, 1, 1), 2},
                 {square(512, 13, 64, 1, 1, 0), 1},
                 {square(512, 13, 1000, 1, 1, 0), 1}});
  bench_network(report, pool, "resnet50",
                {{square(3, 224, 64, 7, 2, 3), 1},     {square(64, 56, 64, 1, 1, 0), 1},
                 {square(64, 56, 64, 3, 1, 1), 3},     {square(64, 56, 256, 1, 1, 0), 4},
                 {square(256, 56, 64, 1, 1, 0), 2},    {square(256, 56, 128, 1, 1, 0), 1},
                 {square(128, 56, 128, 3, 2, 1), 1},   {square(128, 28, 512, 1, 1, 0), 4},
                 {square(256, 56, 512, 1, 2, 0), 1},   {square(512, 28, 128, 1, 1, 0), 3},
                 {square(128, 28, 128, 3, 1, 1), 3},   {square(512, 28, 256, 1, 1, 0), 1},
                 {square(256, 28, 256, 3, 2, 1), 1},   {square(256, 14, 1024, 1, 1, 0), 6},
                 {square(512, 28, 1024, 1, 2, 0), 1},  {square(1024, 14, 256, 1, 1, 0), 5},
                 {square(256, 14, 256, 3, 1, 1), 5},   {square(1024, 14, 512, 1, 1, 0), 1},
                 {square(512, 14, 512, 3, 2, 1), 1},   {square(512, 7, 2048, 1, 1, 0), 3},
                 {square(1024, 14, 2048, 1, 2, 0), 1}, {square(2048, 7, 512, 1, 1, 0), 2},
                 {square(512, 7, 512, 3, 1, 1), 2}});
  bench_network(report, pool, "mobilenetv2",
                {{square(3, 224, 32, 3, 2, 1), 1},        {square(32, 112, 32, 3, 1, 1, 32), 1},
                 {square(32, 112, 16, 1, 1, 0), 1},       {square(16, 112, 96, 1, 1, 0), 1},
                 {square(96, 112, 96, 3, 2, 1, 96), 1},   {square(96, 56, 24, 1, 1, 0), 1},
                 {square(24, 56, 144, 1, 1, 0), 2},       {square(144, 56, 144, 3, 1, 1, 144), 1},
                 {square(144, 56, 24, 1, 1, 0), 1},       {square(144, 56, 144, 3, 2, 1, 144), 1},
                 {square(144, 28, 32, 1, 1, 0), 1},       {square(32, 28, 192, 1, 1, 0), 3},
                 {square(192, 28, 192, 3, 1, 1, 192), 2}, {square(192, 28, 32, 1, 1, 0), 2},
                 {square(192, 28, 192, 3, 2, 1, 192), 1}, {square(192, 14, 64, 1, 1, 0), 1},
                 {square(64, 14, 384, 1, 1, 0), 4},       {square(384, 14, 384, 3, 1, 1, 384), 4},
                 {square(384, 14, 64, 1, 1, 0), 3},       {square(384, 14, 96, 1, 1, 0), 1},
                 {square(96, 14, 576, 1, 1, 0), 3},       {square(576, 14, 576, 3, 1, 1, 576), 2},
                 {square(576, 14, 96, 1, 1, 0), 2},       {square(576, 14, 576, 3, 2, 1, 576), 1},
                 {square(576, 7, 160, 1, 1, 0), 1},       {square(160, 7, 960, 1, 1, 0), 3},
                 {square(960, 7, 960, 3, 1, 1, 960), 3},  {square(960, 7, 160, 1, 1, 0), 2},
                 {square(960, 7, 320, 1, 1, 0), 1},       {square(320, 7, 1280, 1, 1, 0), 1}});
  bench_network(report, pool, "hifigan",
                {{along_axis(128, 1, 256, 128, 1, 3), 2},
                 {along_axis(128, 1, 256, 128, 1, 7), 2},
                 {along_axis(64, 1, 2048, 64, 1, 7), 2},
                 {along_axis(64, 1, 2048, 64, 1, 11), 2},
                 {along_axis(32, 1, 4096, 32, 1, 11), 2}});
  bench_network(report, pool, "inception",
                {{along_axis(128, 17, 17, 128, 1, 7), 2},
                 {along_axis(192, 17, 17, 192, 7, 1), 2},
                 {along_axis(384, 8, 8, 384, 3, 1), 2}});
}

void bench_gemm(const Report& report, ThreadPool& pool, std::int64_t m, std::int64_t n,
                std::int64_t k, bool packed, bool transposed) {
  char name[128];
  std::snprintf(name, sizeof name, "gemm %ldx%ldx%ld B %s", static_cast<long>(m),
                static_cast<long>(n), static_cast<long>(k),
                packed       ? "packed"
                : transposed ? "transposed"
                             : "plain");
  if (!report.wanted(name)) return;
  Floats a(m * k), c(m * n);
  const std::vector<Floats> bs =
      cold_copies(packed ? packed_b_bytes(k, n) : static_cast<std::size_t>(k * n) * 4);
  const auto call = [&](const float* b) {
    const GemmOperand operand = packed       ? GemmOperand{b, 0, 0, true}
                                : transposed ? GemmOperand{b, 1, k}
                                             : GemmOperand{b, n, 1};
    gemm(m, n, k, {a.get(), k, 1}, operand, c.get(), n, {}, pool);
  };
  const double operations = 2.0 * static_cast<double>(m * n * k);
  bench::report_rotating(report, name, operations, bs, call,
                         report.peer->product(m, n, k, median_time));
  if (!packed || !tiles_refusal().empty() || !gemm_bf16x3_pays(m, n, k)) return;
  const Floats plain(k * n);
  const std::vector<Floats> parts = cold_copies(packed_b_bf16x3_bytes(k, n), [&](float* to) {
    pack_b_bf16x3(k, n, {plain.get(), n, 1}, to, pool);
  });
  const auto by_tiles = [&](const float* b) {
    gemm_bf16x3(m, n, k, {a.get(), k, 1}, b, c.get(), n, {}, pool);
  };
  bench::report_rotating(report, "  by tiles", operations, parts, by_tiles);
}

void bench_gemms(const Report& report, ThreadPool& pool) {
  for (std::int64_t n : {128, 256, 512, 1024}) bench_gemm(report, pool, n, n, n, false, false);
  bench_gemm(report, pool, 2048, 2048, 2048, false, false);
  // MiniLM with 128 tokens, and its attention.
  bench_gemm(report, pool, 128, 384, 384, true, false);
  bench_gemm(report, pool, 128, 1536, 384, true, false);
  bench_gemm(report, pool, 128, 384, 1536, true, false);
  bench_gemm(report, pool, 128, 128, 32, false, true);
  bench_gemm(report, pool, 128, 32, 128, false, false);
  for (int way = 0; way < 3; ++way) {
    bench_gemm(report, pool, 1, 1000, 2048, way == 1, way == 2);
    bench_gemm(report, pool, 1, 4096, 4096, way == 1, way == 2);
  }
  bench_gemm(report, pool, 8, 4096, 4096, true, false);
}

void bench_rest(const Report& report, ThreadPool& pool) {
  const std::int64_t n = 128 * 1536;
  Floats x(n), y(n), z(n);
  const std::pair<const char*, Unary> unaries[] = {{"exp", Unary::exp},
                                                   {"log", Unary::log},
                                                   {"tanh", Unary::tanh},
                                                   {"sigmoid", Unary::sigmoid},
                                                   {"erf", Unary::erf},
                                                   {"gelu_erf", Unary::gelu_erf},
                                                   {"gelu_tanh", Unary::gelu_tanh},
                                                   {"swish", Unary::swish},
                                                   {"relu", Unary::relu}};
  for (const auto& [name, op] : unaries) {
    if (!report.wanted(name)) continue;
    const double time = median_time([&, op = op] { unary(op, {1, 1}, x.get(), y.get(), n, pool); });
    report.bytes(std::string("unary ") + name + " 128x1536", 8.0 * n, time);
  }
  if (report.wanted("add"))
    report.bytes("binary add 128x1536", 12.0 * n,
                 median_time([&] { binary(Binary::add, {}, x.get(), y.get(), z.get(), n, pool); }));
  if (report.wanted("softmax"))
    report.bytes("softmax 1536x128", 8.0 * n,
                 median_time([&] { softmax_rows({}, x.get(), y.get(), 1536, 128, pool); }));
  if (report.wanted("layer_norm")) {
    LayerNormArgs args;
    args.scale = args.bias = z.get();
    report.bytes("layer_norm 512x384", 8.0 * n,
                 median_time([&] { layer_norm_rows(args, x.get(), y.get(), 512, 384, pool); }));
  }
  if (report.wanted("max_pool")) {
    PoolShape s;
    s.planes = 64;
    s.in_h = s.in_w = 55;
    s.out_h = s.out_w = 27;
    s.k_h = s.k_w = 3;
    s.stride_h = s.stride_w = 2;
    report.bytes("max_pool 3x3/2 64x55x55", 4.0 * 64 * (55 * 55 + 27 * 27),
                 median_time([&] { max_pool(s, x.get(), y.get(), pool); }));
  }
  if (report.wanted("f16")) {
    std::vector<mezzo::Half> half(n);
    report.bytes("f32 to f16", 6.0 * n, median_time([&] {
                   array_converter(mezzo::DType::f32, mezzo::DType::f16)(x.get(), half.data(), n);
                 }));
    report.bytes("f16 to f32", 6.0 * n, median_time([&] {
                   array_converter(mezzo::DType::f16, mezzo::DType::f32)(half.data(), y.get(), n);
                 }));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  if (!simd_enabled()) {
    std::fprintf(stderr, "no SIMD kernel is available or chosen\n");
    return 1;
  }
  ThreadPool pool(threads);
  bench::OneDnn peer(threads);
  const Report report{peak_gflops_f32() * threads, argc > 2 ? argv[2] : nullptr, &peer};
  std::printf("target %s, %d thread(s), peak %.0f GF/s\n",
              std::string(name_of(active_target())).c_str(), threads, report.peak);
  if (threads > 1) {
    std::printf("a line of the cache goes from one CPU to the next and back in %.0f ns\n",
                mezzo::bench::core_round_trip_ns());
  }
  std::printf("\n");
  bench_gemms(report, pool);
  bench_networks(report, pool);
  bench_rest(report, pool);
  bench::bench_bytes(report, pool);
  return 0;
}
