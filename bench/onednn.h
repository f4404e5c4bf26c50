// oneDNN's time for a convolution or a product, for the kernels' benchmark: the layouts and the
// algorithm that it likes best, reorders outside of the measurement. Nothing where it was not there
// when this was built.
#pragma once

#include <functional>

#include "kernels/conv_f32.h"

#ifdef MEZZO_HAS_ONEDNN
#include <omp.h>

#include <dnnl.hpp>
#endif

namespace bench {

/// Seconds of one call of its argument.
using Timer = std::function<double(const std::function<void()>&)>;

#ifdef MEZZO_HAS_ONEDNN

inline constexpr bool kHasOneDnn = true;

class OneDnn {
 public:
  explicit OneDnn(int threads) : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    omp_set_num_threads(threads);
  }

  double conv(const mezzo::kernels::ConvShape& s, const Timer& time) {
    using dnnl::convolution_forward;
    const auto pad_end = [](std::int64_t in, std::int64_t out, std::int64_t k, std::int64_t stride,
                            std::int64_t pad) { return (out - 1) * stride + k - in - pad; };
    const Dims weights = s.groups == 1
                             ? Dims{s.out_c, s.in_c, s.k_h, s.k_w}
                             : Dims{s.groups, s.out_c / s.groups, s.in_c / s.groups, s.k_h, s.k_w};
    const convolution_forward::desc wanted(
        dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_auto,
        any({s.batch, s.in_c, s.in_h, s.in_w}), any(weights), any({s.out_c}),
        any({s.batch, s.out_c, s.out_h, s.out_w}), {s.stride_h, s.stride_w},
        {s.pad_top, s.pad_left},
        {pad_end(s.in_h, s.out_h, s.k_h, s.stride_h, s.pad_top),
         pad_end(s.in_w, s.out_w, s.k_w, s.stride_w, s.pad_left)});
    const convolution_forward::primitive_desc chosen(wanted, engine_);
    return time_of(convolution_forward(chosen),
                   {{DNNL_ARG_SRC, filled(chosen.src_desc())},
                    {DNNL_ARG_WEIGHTS, filled(chosen.weights_desc())},
                    {DNNL_ARG_BIAS, filled(chosen.bias_desc())},
                    {DNNL_ARG_DST, filled(chosen.dst_desc())}},
                   time);
  }

  double product(std::int64_t m, std::int64_t n, std::int64_t k, const Timer& time) {
    const dnnl::matmul::desc wanted(any({m, k}), any({k, n}), any({m, n}));
    const dnnl::matmul::primitive_desc chosen(wanted, engine_);
    return time_of(dnnl::matmul(chosen),
                   {{DNNL_ARG_SRC, filled(chosen.src_desc())},
                    {DNNL_ARG_WEIGHTS, filled(chosen.weights_desc())},
                    {DNNL_ARG_DST, filled(chosen.dst_desc())}},
                   time);
  }

 private:
  using Dims = dnnl::memory::dims;

  static dnnl::memory::desc any(const Dims& dims) {
    return {dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any};
  }

  dnnl::memory filled(const dnnl::memory::desc& desc) {
    dnnl::memory memory(desc, engine_);
    auto* numbers = static_cast<float*>(memory.get_data_handle());
    for (std::size_t i = 0; i < desc.get_size() / sizeof(float); ++i) {
      numbers[i] = static_cast<float>(i % 13) * 0.125f - 0.75f;
    }
    return memory;
  }

  double time_of(const dnnl::primitive& primitive,
                 const std::unordered_map<int, dnnl::memory>& arguments, const Timer& time) {
    return time([&] {
      primitive.execute(stream_, arguments);
      stream_.wait();
    });
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
};

#else

inline constexpr bool kHasOneDnn = false;

class OneDnn {
 public:
  explicit OneDnn(int) {}
  double conv(const mezzo::kernels::ConvShape&, const Timer&) { return 0; }
  double product(std::int64_t, std::int64_t, std::int64_t, const Timer&) { return 0; }
};

#endif

}  // namespace bench
