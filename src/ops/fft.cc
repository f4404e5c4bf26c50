#include "ops/fft.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <string>

#include "base/memory.h"
#include "mezzo/error.h"

namespace mezzo::ops {
namespace {

using Complex = Fft::Complex;

constexpr std::size_t kLargestFactor = 13;  // of the mixed radix; its cost grows with the factors

// exp(-2 pi i k / n).
Complex root(std::size_t k, std::size_t n) {
  const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
  return {std::cos(angle), std::sin(angle)};
}

// The product without the special treatment of infinities that std::complex has to give.
Complex times(const Complex& a, const Complex& b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

// Fours first, then the primes; empty where one of them is too large.
std::vector<std::size_t> factors_of(std::size_t n) {
  std::vector<std::size_t> factors;
  for (; n % 4 == 0; n /= 4) factors.push_back(4);
  for (std::size_t p = 2; p <= kLargestFactor; ++p) {
    for (; n % p == 0; n /= p) factors.push_back(p);
  }
  if (n > 1) factors.clear();
  return factors;
}

}  // namespace

Fft::Fft(std::int64_t length) : length_(static_cast<std::size_t>(length)) {
  constexpr std::size_t kTables = 16;  // complex numbers for each element, at most
  if (length < 1 || length_ > allocation_limit() / (kTables * sizeof(Complex))) {
    throw Error(ErrorCode::limit, "a Fourier transform has an impossible length")
        .got(std::to_string(length));
  }
  factors_ = factors_of(length_);
  work_size_ = length_;
  if (length_ == 1) return;
  if (!factors_.empty()) {
    roots_.resize(length_);
    for (std::size_t k = 0; k < length_; ++k) roots_[k] = root(k, length_);
    return;
  }
  // L. I. Bluestein, "A linear filtering approach to the computation of discrete Fourier transform"
  // (1970): with nk = (n^2 + k^2 - (k - n)^2) / 2 the transform is a convolution with a chirp.
  const std::size_t padded = std::bit_ceil(2 * length_ - 1);
  convolution_ = std::make_unique<Fft>(static_cast<std::int64_t>(padded));
  chirp_.resize(length_);
  filter_.assign(padded, 0);
  std::size_t square = 0;  // k^2 mod 2 length: exact where k^2 itself would not be
  for (std::size_t k = 0; k < length_; ++k) {
    chirp_[k] = root(square, 2 * length_);
    filter_[k] = filter_[(padded - k) % padded] = std::conj(chirp_[k]);
    square = (square + 2 * k + 1) % (2 * length_);
  }
  std::vector<Complex> work(convolution_->work_size());
  convolution_->forward(filter_.data(), work.data());
  for (Complex& value : filter_) value /= static_cast<double>(padded);
  work_size_ = 2 * padded;
}

void Fft::run(Complex* x, Complex* work, bool inverse) const {
  // The inverse is the transform of the conjugate, conjugated.
  const auto conjugate = [&] {
    for (std::size_t i = 0; i < length_; ++i) x[i] = std::conj(x[i]);
  };
  if (inverse) conjugate();
  forward(x, work);
  if (inverse) conjugate();
}

void Fft::forward(Complex* x, Complex* work) const {
  if (length_ == 1) return;
  if (factors_.empty()) return bluestein(x, work);
  mixed_radix(x, work);
}

// Stockham's form of the mixed radix: each pass takes transforms of length n = radix * m apart into
// `radix` ones of length m, and leaves the result in order.
void Fft::mixed_radix(Complex* x, Complex* work) const {
  Complex* from = x;
  Complex* to = work;
  std::size_t stride = 1, n = length_;
  for (const std::size_t radix : factors_) {
    const std::size_t m = n / radix, turn = length_ / radix;
    for (std::size_t k = 0; k < m; ++k) {
      for (std::size_t q = 0; q < stride; ++q) {
        const Complex* in = from + q + stride * k;
        Complex* out = to + q + stride * radix * k;
        const auto at = [&](std::size_t j) { return in[stride * m * j]; };
        const auto put = [&](std::size_t r, const Complex& value) {
          out[stride * r] = times(value, roots_[stride * k * r]);
        };
        if (radix == 4) {
          const Complex even = at(0) + at(2), odd = at(1) + at(3);
          const Complex even_difference = at(0) - at(2), odd_difference = at(1) - at(3);
          const Complex turned(odd_difference.imag(), -odd_difference.real());
          put(0, even + odd);
          put(1, even_difference + turned);
          put(2, even - odd);
          put(3, even_difference - turned);
        } else {
          for (std::size_t r = 0; r < radix; ++r) {
            Complex sum = at(0);
            for (std::size_t j = 1; j < radix; ++j) {
              sum += times(at(j), roots_[turn * (j * r % radix)]);
            }
            put(r, sum);
          }
        }
      }
    }
    std::swap(from, to);
    stride *= radix;
    n = m;
  }
  if (from != x) std::copy_n(from, length_, x);
}

void Fft::bluestein(Complex* x, Complex* work) const {
  const std::size_t padded = filter_.size();
  Complex* y = work;
  for (std::size_t k = 0; k < length_; ++k) y[k] = times(x[k], chirp_[k]);
  std::fill(y + length_, y + padded, Complex());
  convolution_->run(y, work + padded, false);
  for (std::size_t k = 0; k < padded; ++k) y[k] = times(y[k], filter_[k]);
  convolution_->run(y, work + padded, true);
  for (std::size_t k = 0; k < length_; ++k) x[k] = times(y[k], chirp_[k]);
}

}  // namespace mezzo::ops
