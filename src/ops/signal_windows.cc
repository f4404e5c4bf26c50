// HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix: constants of signal processing.
// Spec: all -17.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/convert.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

DType output_dtype(const Op& op) {
  const std::int64_t number = op.attr_int("output_datatype");
  const DType dtype =
      number > 0 && number < kDTypeCount ? static_cast<DType>(number) : DType::undefined;
  if (!op.row().outputs()[0].types.contains(dtype)) {
    throw invalid("output_datatype is no type that this operator can give")
        .got(std::to_string(number));
  }
  return dtype;
}

// The scalar input `i`, at least `least`.
std::int64_t size_input(const Op& op, int i, std::int64_t least) {
  const std::vector<std::int64_t> values = op.ints(i);
  if (values.size() != 1 || values[0] < least) {
    throw invalid("a size is invalid")
        .at("input " + std::to_string(i))
        .expected("a scalar of at least " + std::to_string(least))
        .got(to_string(values));
  }
  return values[0];
}

void infer_window(Op& op) { op.set_out(0, output_dtype(op), {size_input(op, 0, 0)}); }

// a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N).
struct Cosines {
  double a0, a1, a2;
};
// 25/46 and 21/46 are the exact Hamming coefficients, which the spec's reference uses.
constexpr Cosines kHann = {0.5, 0.5, 0}, kHamming = {25.0 / 46, 21.0 / 46, 0},
                  kBlackman = {0.42, 0.5, 0.08};

Chooser window(const Cosines& cosines) {
  return [cosines](Op& op) -> Choice {
    const std::int64_t size = op.out_shape(0)[0];
    const bool periodic = op.attr_int("periodic") != 0;
    // A symmetric window of one point is its middle: 1.
    const double period = static_cast<double>(periodic ? size : size - 1);
    return [=, dtype = op.out(0).dtype](Run& run) {
      std::vector<double> values(static_cast<std::size_t>(size), 1.0);
      for (std::int64_t n = 0; period > 0 && n < size; ++n) {
        const double angle = 2 * std::numbers::pi * static_cast<double>(n) / period;
        values[static_cast<std::size_t>(n)] =
            cosines.a0 - cosines.a1 * std::cos(angle) + cosines.a2 * std::cos(2 * angle);
      }
      convert(DType::f64, values.data(), dtype, run.out_data(0), size);
    };
  };
}

void infer_mel(Op& op) {
  for (int i = 2; i < 5; ++i) {
    if (element_count(op.in_shape(i)) != 1) {
      throw invalid("MelWeightMatrix's inputs must be scalars")
          .at("input " + std::to_string(i))
          .got(to_string(op.in_shape(i)));
    }
  }
  const std::int64_t bands = size_input(op, 0, 0), dft_length = size_input(op, 1, 1);
  op.set_out(0, output_dtype(op), {dft_length / 2 + 1, bands});
}

double scalar_of(const Run& run, int i) {
  const Tensor wide = run.in_tensor(i).to(DType::f64);
  return wide.values<double>()[0];
}

// Triangles between the spectrogram bins at which the mel scale, divided evenly, falls.
void write_mel(Run& run, std::int64_t bins, std::int64_t bands, double dft_length) {
  const double rate = scalar_of(run, 2), low = scalar_of(run, 3), high = scalar_of(run, 4);
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double step = (mel(high) - mel(low)) / static_cast<double>(bands + 2);
  std::vector<std::int64_t> edges;
  for (std::int64_t i = 0; i < bands + 2; ++i) {
    const double hertz =
        700 * (std::pow(10.0, (mel(low) + static_cast<double>(i) * step) / 2595) - 1);
    const double bin = std::floor((dft_length + 1) * hertz / rate);
    if (!(bin >= 0 && bin < static_cast<double>(bins)) ||
        (!edges.empty() && bin < static_cast<double>(edges.back()))) {
      throw Error(ErrorCode::runtime, "a mel band lies outside the spectrum")
          .expected("0 <= lower_edge_hertz <= upper_edge_hertz <= sample_rate / 2")
          .got(std::to_string(low) + " and " + std::to_string(high) + " at " +
               std::to_string(rate));
    }
    edges.push_back(static_cast<std::int64_t>(bin));
  }
  std::vector<double> matrix(static_cast<std::size_t>(bins * bands), 0.0);
  for (std::int64_t band = 0; band < bands; ++band) {
    const auto* edge = edges.data() + band;  // left, middle, right
    const auto at = [&](std::int64_t bin) -> double& {
      return matrix[static_cast<std::size_t>(bin * bands + band)];
    };
    for (std::int64_t bin = edge[0]; bin < edge[1]; ++bin) {
      at(bin) = static_cast<double>(bin - edge[0]) / static_cast<double>(edge[1] - edge[0]);
    }
    at(edge[1]) = 1;
    for (std::int64_t bin = edge[1]; bin < edge[2]; ++bin) {
      at(bin) = static_cast<double>(edge[2] - bin) / static_cast<double>(edge[2] - edge[1]);
    }
  }
  convert(DType::f64, matrix.data(), run.op().out(0).dtype, run.out_data(0), bins * bands);
}

Choice mel_matrix(Op& op) {
  const std::int64_t bins = op.out_shape(0)[0], bands = op.out_shape(0)[1];
  return [=, dft_length = static_cast<double>(size_input(op, 1, 1))](Run& run) {
    write_mel(run, bins, bands, dft_length);
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(signal_windows) {
  constexpr std::pair<const char*, Cosines> kWindows[] = {
      {"HannWindow", kHann}, {"HammingWindow", kHamming}, {"BlackmanWindow", kBlackman}};
  for (const auto& [name, cosines] : kWindows) {
    op(name)
        .since(17)
        .attr("output_datatype", 1)
        .attr("periodic", 1)
        .in("size", kIndices)
        .out("output", kNumbers)
        .infer(infer_window)
        .kernel("reference", window(cosines));
  }
  op("MelWeightMatrix")
      .since(17)
      .attr("output_datatype", 1)
      .in("num_mel_bins", kIndices)
      .in("dft_length", like(0))
      .in("sample_rate", like(0))
      .in("lower_edge_hertz", kFloatsBf16)
      .in("upper_edge_hertz", like(3))
      .out("output", kNumbers)
      .infer(infer_mel)
      .kernel("reference", mel_matrix);
}
