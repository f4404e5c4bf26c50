// The discrete Fourier transform of any length, in double precision.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <vector>

namespace mezzo::ops {

/// What transforms of one length share. May be used by several threads at once, each with its own
/// work space.
class Fft {
 public:
  using Complex = std::complex<double>;

  /// `length` is at least 1. Throws Error(limit) where the tables would not fit the memory.
  explicit Fft(std::int64_t length);

  std::int64_t length() const { return static_cast<std::int64_t>(length_); }
  /// Elements of the work space.
  std::size_t work_size() const { return work_size_; }

  /// y[k] = sum of x[n] exp(-+2 pi i k n / length), in place; + and no division for `inverse`.
  void run(Complex* x, Complex* work, bool inverse) const;

 private:
  void forward(Complex* x, Complex* work) const;
  void mixed_radix(Complex* x, Complex* work) const;
  void bluestein(Complex* x, Complex* work) const;

  std::size_t length_;
  std::size_t work_size_ = 0;
  std::vector<std::size_t> factors_;  // empty: Bluestein
  std::vector<Complex> roots_;        // exp(-2 pi i k / length)
  // Bluestein's: a power of two, the chirp, and its transform.
  std::unique_ptr<Fft> convolution_;
  std::vector<Complex> chirp_, filter_;
};

}  // namespace mezzo::ops
