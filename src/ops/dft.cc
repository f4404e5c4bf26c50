// Fourier transforms. Spec: DFT-17 (the axis is an attribute), -20 (an input), STFT-17.

#include <algorithm>
#include <memory>

#include "ops/axis_split.h"
#include "ops/dispatch.h"
#include "ops/fft.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Complex = Fft::Complex;

// The scalar input `i`, or `fallback` where it is omitted.
std::int64_t scalar(const Op& op, int i, std::int64_t fallback) {
  if (!op.has_in(i)) return fallback;
  const std::vector<std::int64_t> values = op.ints(i);
  if (values.size() != 1) {
    throw invalid("an input must be one number")
        .at("input " + std::to_string(i))
        .got(std::to_string(values.size()) + " numbers");
  }
  return values[0];
}

std::int64_t positive(std::int64_t number, const char* what) {
  if (number < 1) {
    throw invalid(std::string(what) + " must be at least 1").got(std::to_string(number));
  }
  return number;
}

// Whether input 0, whose last axis is that of real and imaginary parts, is complex.
bool is_complex(const Op& op) {
  const std::int64_t parts = op.in_shape(0).back();
  if (parts != 1 && parts != 2) {
    throw invalid("the last axis must hold a real part, or that and an imaginary part")
        .expected("1 or 2 elements")
        .got(to_string(op.in_shape(0)));
  }
  return parts == 2;
}

void require_real(bool onesided, bool complex) {
  if (onesided && complex) {
    throw invalid("the spectrum of a complex signal has two sides")
        .expected("a real signal, or onesided = 0");
  }
}

// ---- DFT

struct Dft {
  int axis = 0;
  std::int64_t length = 0;  // of the transform
  std::int64_t out = 0;     // elements along the axis of the output
  std::int64_t parts = 2;   // of an element of the output
  bool complex = false, inverse = false, onesided = false;
};

Dft dft_of(const Op& op) {
  require_rank(op, 0, 2);
  Dft dft;
  dft.complex = is_complex(op);
  dft.inverse = op.attr_int("inverse") != 0;
  dft.onesided = op.attr_int("onesided") != 0;
  dft.axis =
      normalize_axis(op.declares("axis") ? op.attr_int("axis") : scalar(op, 2, -2), op.in_rank(0));
  if (dft.axis == op.in_rank(0) - 1) {
    throw invalid("the last axis holds the parts of complex numbers; it cannot be transformed");
  }
  const std::int64_t extent = op.in_shape(0)[static_cast<std::size_t>(dft.axis)];
  const bool to_real = dft.inverse && dft.onesided;
  dft.length = positive(
      scalar(op, 1, to_real ? checked_mul(2, std::max<std::int64_t>(extent - 1, 0)) : extent),
      "the length of a transform");
  if (!dft.inverse) require_real(dft.onesided, dft.complex);
  if (to_real && !dft.complex) {
    throw invalid("a one-sided spectrum must be complex").got(to_string(op.in_shape(0)));
  }
  dft.out = dft.onesided && !dft.inverse ? dft.length / 2 + 1 : dft.length;
  dft.parts = to_real ? 1 : 2;
  return dft;
}

void infer_dft(Op& op) {
  const Dft dft = dft_of(op);
  Shape shape = op.in_shape(0);
  shape[static_cast<std::size_t>(dft.axis)] = dft.out;
  shape.back() = dft.parts;
  op.set_out(0, op.in(0).dtype, std::move(shape));
}

// Elements [0, count) of a signal whose elements stand `stride` parts apart.
template <class T>
void read(const T* from, std::int64_t count, std::int64_t stride, bool complex, Complex* to) {
  for (std::int64_t i = 0; i < count; ++i, from += stride) {
    to[i] = {static_cast<double>(from[0]), complex ? static_cast<double>(from[1]) : 0.0};
  }
}

template <class T>
Kernel dft_kernel(const Op& op) {
  const Dft dft = dft_of(op);
  // The last axis counts as one with the axes before it, where there are any behind `axis`.
  AxisSplit split = split_at(op.in_shape(0), dft.axis);
  const std::int64_t lines = split.inner / (dft.complex ? 2 : 1);
  return [dft, split, lines, fft = std::make_shared<const Fft>(dft.length)](Run& run) {
    const std::int64_t in_parts = dft.complex ? 2 : 1;
    const std::int64_t given =
        std::min(split.n, dft.onesided && dft.inverse ? dft.length / 2 + 1 : dft.length);
    const double scale = dft.inverse ? 1.0 / static_cast<double>(dft.length) : 1.0;
    run.pool().parallel_for(
        split.outer * lines, std::max<std::int64_t>(4096 / dft.length, 1),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<Complex> x(static_cast<std::size_t>(dft.length)), work(fft->work_size());
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t outer = i / lines, line = i % lines;
            std::fill(x.begin() + given, x.end(), Complex());
            read(run.in<T>(0) + (outer * split.n * lines + line) * in_parts, given,
                 lines * in_parts, dft.complex, x.data());
            if (dft.parts == 1) {
              // The other half is the mirror image; what is its own image is real.
              x[0].imag(0);
              for (std::int64_t k = dft.length / 2 + 1; k < dft.length; ++k) {
                x[static_cast<std::size_t>(k)] =
                    std::conj(x[static_cast<std::size_t>(dft.length - k)]);
              }
              if (dft.length % 2 == 0) x[static_cast<std::size_t>(dft.length / 2)].imag(0);
            }
            fft->run(x.data(), work.data(), dft.inverse);
            T* out = run.out<T>(0) + (outer * dft.out * lines + line) * dft.parts;
            for (std::int64_t k = 0; k < dft.out; ++k, out += lines * dft.parts) {
              const Complex value = x[static_cast<std::size_t>(k)] * scale;
              out[0] = static_cast<T>(value.real());
              if (dft.parts == 2) out[1] = static_cast<T>(value.imag());
            }
          }
        });
  };
}

Choice dft(Op& op) {
  Choice choice = refuse("computed in float32");
  with_type(FloatTypes{}, op.in(0).dtype,
            [&](auto type) { choice = dft_kernel<decltype(type)>(op); });
  return choice;
}

// ---- STFT

struct Stft {
  std::int64_t step = 0, length = 0;  // of a frame
  std::int64_t frames = 0, bins = 0;
  bool complex = false;
};

Stft stft_of(const Op& op) {
  require_rank(op, 0, 3, 3);
  Stft stft;
  stft.complex = is_complex(op);
  const std::int64_t signal = op.in_shape(0)[1];
  if (op.has_in(2)) require_rank(op, 2, 1, 1);
  stft.step = positive(scalar(op, 1, 0), "frame_step");
  stft.length =
      positive(scalar(op, 3, op.has_in(2) ? op.in_shape(2)[0] : signal), "the length of a frame");
  if (op.has_in(2) && op.in_shape(2)[0] != stft.length) {
    throw invalid("the window must be as long as a frame")
        .expected(std::to_string(stft.length))
        .got(to_string(op.in_shape(2)));
  }
  if (stft.length > signal) {
    throw invalid("a frame is longer than the signal")
        .expected("at most " + std::to_string(signal))
        .got(std::to_string(stft.length));
  }
  const bool onesided = op.attr_int("onesided") != 0;
  require_real(onesided, stft.complex);
  stft.frames = (signal - stft.length) / stft.step + 1;
  stft.bins = onesided ? stft.length / 2 + 1 : stft.length;
  return stft;
}

void infer_stft(Op& op) {
  const Stft stft = stft_of(op);
  op.set_out(0, op.in(0).dtype, {op.in_shape(0)[0], stft.frames, stft.bins, 2});
}

template <class T>
Kernel stft_kernel(const Op& op) {
  const Stft stft = stft_of(op);
  return [stft, batch = op.in_shape(0)[0], signal = op.in_shape(0)[1],
          fft = std::make_shared<const Fft>(stft.length)](Run& run) {
    const std::int64_t parts = stft.complex ? 2 : 1;
    const T* window = run.in<T>(2);
    run.pool().parallel_for(
        batch * stft.frames, std::max<std::int64_t>(4096 / stft.length, 1),
        [&](std::int64_t begin, std::int64_t end) {
          std::vector<Complex> x(static_cast<std::size_t>(stft.length)), work(fft->work_size());
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i / stft.frames * signal + i % stft.frames * stft.step;
            read(run.in<T>(0) + first * parts, stft.length, parts, stft.complex, x.data());
            for (std::size_t k = 0; window != nullptr && k < x.size(); ++k) {
              x[k] *= static_cast<double>(window[k]);
            }
            fft->run(x.data(), work.data(), false);
            T* out = run.out<T>(0) + i * stft.bins * 2;
            for (std::int64_t k = 0; k < stft.bins; ++k) {
              *out++ = static_cast<T>(x[static_cast<std::size_t>(k)].real());
              *out++ = static_cast<T>(x[static_cast<std::size_t>(k)].imag());
            }
          }
        });
  };
}

Choice stft(Op& op) {
  Choice choice = refuse("computed in float32");
  with_type(FloatTypes{}, op.in(0).dtype,
            [&](auto type) { choice = stft_kernel<decltype(type)>(op); });
  return choice;
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(dft) {
  op("DFT")
      .since(17)
      .attr("axis", 1)
      .attr("inverse", 0)
      .attr("onesided", 0)
      .in("input", kFloatsBf16)
      .in("dft_length", kIndices, Arity::optional)
      .out("output", like(0))
      .infer(infer_dft)
      .kernel("mixed radix or Bluestein", dft);
  op("DFT")
      .since(20)
      .attr("inverse", 0)
      .attr("onesided", 0)
      .in("input", kFloatsBf16)
      .in("dft_length", kIndices, Arity::optional)
      .in("axis", DType::i64, Arity::optional)
      .out("output", like(0))
      .infer(infer_dft)
      .kernel("mixed radix or Bluestein", dft);
  op("STFT")
      .since(17)
      .attr("onesided", 1)
      .in("signal", kFloatsBf16)
      .in("frame_step", kIndices)
      .in("window", like(0), Arity::optional)
      .in("frame_length", like(1), Arity::optional)
      .out("output", like(0))
      .infer(infer_stft)
      .kernel("mixed radix or Bluestein", stft);
}
