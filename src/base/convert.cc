#include "base/convert.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "mezzo/error.h"

namespace mezzo {
namespace {

// The layout of an 8-, 6- or 4-bit float. `fnuz` formats have no negative zero (its pattern is the
// only NaN) and no infinity; `fn` ones no infinity, with NaN in the all-ones pattern (those below 8
// bits have not even that). OCP 8-bit Floating Point Specification 1.0; OCP Microscaling Formats
// 1.0; ONNX "Float stored in 8 bits".
struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool has_infinity, fnuz, has_nan;
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::f8e4m3fn:
      return {4, 3, 7, false, false, true};
    case DType::f8e4m3fnuz:
      return {4, 3, 8, false, true, true};
    case DType::f8e5m2:
      return {5, 2, 15, true, false, true};
    case DType::f8e5m2fnuz:
      return {5, 2, 16, false, true, true};
    case DType::f6e2m3:
      return {2, 3, 1, false, false, false};
    case DType::f6e3m2:
      return {3, 2, 3, false, false, false};
    default:
      return {2, 1, 1, false, false, false};  // f4e2m1
  }
}

unsigned nan_pattern(const Format& format) {
  const int width = format.exponent_bits + format.mantissa_bits;
  if (format.fnuz) return 1U << width;
  return (1U << width) - 1;
}

// The largest finite pattern, without sign.
unsigned max_pattern(const Format& format) {
  const unsigned all = (1U << (format.exponent_bits + format.mantissa_bits)) - 1;
  if (format.has_infinity) return all - (1U << format.mantissa_bits);
  return format.fnuz || !format.has_nan ? all : all - 1;
}

float decode(const Format& format, unsigned bits) {
  const int width = format.exponent_bits + format.mantissa_bits;
  const unsigned magnitude = bits & ((1U << width) - 1);
  const bool negative = (bits >> width) != 0;
  if (format.fnuz && negative && magnitude == 0) return std::numeric_limits<float>::quiet_NaN();
  if (format.has_nan && !format.fnuz && magnitude > max_pattern(format)) {
    const bool infinite = format.has_infinity && magnitude == max_pattern(format) + 1;
    const float special =
        infinite ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    return negative ? -special : special;
  }
  const unsigned mantissa = magnitude & ((1U << format.mantissa_bits) - 1);
  const int exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const float value =
      exponent == 0
          ? std::ldexp(static_cast<float>(mantissa), 1 - format.bias - format.mantissa_bits)
          : std::ldexp(static_cast<float>(mantissa + (1U << format.mantissa_bits)),
                       exponent - format.bias - format.mantissa_bits);
  return negative ? -value : value;
}

float decode_e8m0(unsigned bits) {
  if (bits == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0F, static_cast<int>(bits) - 127);
}

unsigned encode_e8m0(float value, const CastRules& rules) {
  if (std::isnan(value)) return 255;
  const float magnitude = std::fabs(value);
  if (magnitude == 0) return 0;
  if (std::isinf(magnitude)) return rules.saturate ? 254 : 255;
  int exponent;
  const float fraction =
      std::frexp(magnitude, &exponent);  // magnitude = fraction * 2^exponent, fraction in [0.5, 1)
  int power = exponent - 1;
  const bool exact = fraction == 0.5F;
  if (rules.round_mode == CastRules::RoundMode::up && !exact) ++power;
  if (rules.round_mode == CastRules::RoundMode::nearest && fraction >= 0.75F) ++power;
  if (power < -127) return 0;
  if (power > 127) return rules.saturate ? 254 : 255;
  return static_cast<unsigned>(power + 127);
}

template <class T>
T integer_from(double value) {
  if (std::isnan(value)) return 0;
  // Outside int64 (and below 2^64 for u64) there is no meaningful answer; the smallest int64 is
  // what x86 gives.
  if constexpr (std::is_same_v<T, std::uint64_t>) {
    if (value >= 0x1p63 && value < 0x1p64) return static_cast<std::uint64_t>(value);
  }
  if (!(value >= -0x1p63 && value < 0x1p63)) {
    return static_cast<T>(std::numeric_limits<std::int64_t>::min());
  }
  return static_cast<T>(static_cast<std::int64_t>(value));
}

template <class S, class D>
D cast_element(S value) {
  if constexpr (std::is_same_v<D, bool>) {
    return value != S{};
  } else if constexpr (std::is_floating_point_v<S> && std::is_integral_v<D>) {
    return integer_from<D>(static_cast<double>(value));
  } else {
    return static_cast<D>(value);
  }
}

// out[i] = in[i], converted; bool is a byte, of which any but 0 is true. Runs of floats that all
// fit a signed integer take the compiler's vectors.
template <class S, class D>
void convert_run(const S* in, D* out, std::int64_t count) {
  if constexpr (std::is_floating_point_v<S> && std::is_integral_v<D> && !std::is_same_v<D, bool>) {
    using Wide = std::conditional_t<sizeof(D) <= 4, std::int32_t, std::int64_t>;
    // The exponent and what is above it, of 2^31 or 2^63: all that is smaller in magnitude fits.
    using Bits = std::conditional_t<sizeof(S) == 4, std::int32_t, std::int64_t>;
    constexpr Bits kLimit = std::bit_cast<Bits>(static_cast<S>(sizeof(D) <= 4 ? 0x1p31 : 0x1p63)),
                   kMagnitude = std::numeric_limits<Bits>::max();
    constexpr std::int64_t kRun = 512;
    for (std::int64_t begin = 0; begin < count; begin += kRun) {
      const std::int64_t end = std::min(count, begin + kRun);
      Bits beyond = 0;
      for (std::int64_t i = begin; i < end; ++i)
        beyond |= (std::bit_cast<Bits>(in[i]) & kMagnitude) >= kLimit ? Bits{1} : Bits{0};
      if (beyond == 0) {
        for (std::int64_t i = begin; i < end; ++i)
          out[i] = static_cast<D>(static_cast<Wide>(in[i]));
      } else {
        for (std::int64_t i = begin; i < end; ++i) out[i] = cast_element<S, D>(in[i]);
      }
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = cast_element<S, D>(in[i]);
  }
}

template <class D>
void convert_bools(const std::uint8_t* in, D* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<D>(in[i] != 0 ? 1 : 0);
}

// Element `i`; a bool is read as a byte, since callers' bytes may be others than 0 and 1.
template <class S>
S element(const void* data, std::int64_t i) {
  if constexpr (std::is_same_v<S, bool>) {
    return static_cast<const std::uint8_t*>(data)[i] != 0;
  } else {
    return static_cast<const S*>(data)[i];
  }
}

// Calls fn with a value of the C++ type behind a native dtype; false where there is none.
template <class Fn>
bool with_native(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f32:
      return fn(float{}), true;
    case DType::f64:
      return fn(double{}), true;
    case DType::i8:
      return fn(std::int8_t{}), true;
    case DType::i16:
      return fn(std::int16_t{}), true;
    case DType::i32:
      return fn(std::int32_t{}), true;
    case DType::i64:
      return fn(std::int64_t{}), true;
    case DType::u8:
      return fn(std::uint8_t{}), true;
    case DType::u16:
      return fn(std::uint16_t{}), true;
    case DType::u32:
      return fn(std::uint32_t{}), true;
    case DType::u64:
      return fn(std::uint64_t{}), true;
    case DType::boolean:
      return fn(bool{}), true;
    default:
      return false;
  }
}

bool is_integer_type(DType dtype) {
  switch (dtype) {
    case DType::i2:
    case DType::u2:
    case DType::i4:
    case DType::u4:
      return true;
    default:
      return false;
  }
}

// From and to f16 goes through f32, but an f64 must be rounded once only: to f32 with the sticky
// bit kept (round to odd), which makes the second rounding right (Boldo & Melquiond, "Emulation of
// FMA and correctly rounded sums", 2008).
float round_to_odd(double value) {
  float result = static_cast<float>(value);
  const double back = static_cast<double>(result);
  if (back == value || std::isnan(value) || std::isinf(result)) return result;
  auto bits = std::bit_cast<std::uint32_t>(result);
  if (std::fabs(back) > std::fabs(value)) --bits;  // truncate towards zero ...
  return std::bit_cast<float>(bits | 1);           // ... and mark as inexact
}

float load_as_float(DType dtype, const void* data, std::int64_t index) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  switch (dtype) {
    case DType::f16:
      return to_float(static_cast<const Half*>(data)[index]);
    case DType::bf16:
      return to_float(static_cast<const BFloat16*>(data)[index]);
    case DType::f4e2m1:
      return decode_small_float(dtype, static_cast<unsigned>(read_packed(dtype, data, index)));
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2:
      return static_cast<float>(read_packed(dtype, data, index));
    default:
      return decode_small_float(dtype, bytes[index]);
  }
}

void store_from_float(DType dtype, void* data, std::int64_t index, float value,
                      const CastRules& rules) {
  auto* bytes = static_cast<std::uint8_t*>(data);
  switch (dtype) {
    case DType::f16:
      static_cast<Half*>(data)[index] = to_half(value);
      return;
    case DType::bf16:
      static_cast<BFloat16*>(data)[index] = to_bfloat16(value);
      return;
    case DType::f4e2m1:
      write_packed(dtype, data, index, static_cast<int>(encode_small_float(dtype, value, rules)));
      return;
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2:
      write_packed(dtype, data, index, static_cast<int>(integer_from<std::int64_t>(value)));
      return;
    default:
      bytes[index] = static_cast<std::uint8_t>(encode_small_float(dtype, value, rules));
  }
}

}  // namespace

float decode_small_float(DType dtype, unsigned bits) noexcept {
  return dtype == DType::f8e8m0 ? decode_e8m0(bits) : decode(format_of(dtype), bits);
}

unsigned encode_small_float(DType dtype, float value, const CastRules& rules) noexcept {
  if (dtype == DType::f8e8m0) return encode_e8m0(value, rules);
  const Format format = format_of(dtype);
  const int width = format.exponent_bits + format.mantissa_bits;
  const unsigned sign = std::signbit(value) ? 1U << width : 0U;
  if (std::isnan(value)) {
    // These formats leave it open; negative zero is what ml_dtypes and the official tests take.
    if (!format.has_nan) return 1U << width;
    return format.fnuz ? nan_pattern(format) : sign | nan_pattern(format);
  }
  const unsigned largest = max_pattern(format);
  unsigned magnitude;
  if (std::isinf(value)) {
    magnitude = largest + 1;
  } else if (value == 0) {
    magnitude = 0;  // which has no exponent of its own
  } else {
    int exponent;
    std::frexp(value, &exponent);
    // The weight of the last mantissa bit; nearbyint in the default mode rounds ties to even.
    const int unit = std::max(exponent - 1, 1 - format.bias) - format.mantissa_bits;
    const double steps = std::nearbyint(std::ldexp(std::fabs(static_cast<double>(value)), -unit));
    const int biased = unit + format.mantissa_bits + format.bias;  // >= 1
    // `steps` holds the hidden bit (or 2.0 after a carry), so the patterns simply add up.
    magnitude = static_cast<unsigned>(
        std::min(steps + std::ldexp(biased - 1, format.mantissa_bits), 1024.0));
  }
  if (magnitude > largest) {
    if (rules.saturate || !format.has_nan) {
      magnitude = largest;
    } else if (format.has_infinity) {
      magnitude = largest + 1;
    } else {
      return format.fnuz ? nan_pattern(format) : sign | nan_pattern(format);
    }
  }
  if (format.fnuz && magnitude == 0) return 0;
  return sign | magnitude;
}

int read_packed(DType dtype, const void* data, std::int64_t index) noexcept {
  const int bits = bits_of(dtype), value = packed_field(bits, data, index);
  const bool is_signed = dtype == DType::i4 || dtype == DType::i2;
  return is_signed && (value >> (bits - 1)) != 0 ? value - (1 << bits) : value;
}

void write_packed(DType dtype, void* data, std::int64_t index, int value) noexcept {
  const int bits = bits_of(dtype);
  const int per_byte = 8 / bits;
  const int shift = static_cast<int>(index % per_byte) * bits;
  const unsigned mask = ((1U << bits) - 1) << shift;
  auto& byte = static_cast<std::uint8_t*>(data)[index / per_byte];
  byte =
      static_cast<std::uint8_t>((byte & ~mask) | ((static_cast<unsigned>(value) << shift) & mask));
}

void convert(DType from, const void* source, DType to, void* target, std::int64_t count,
             const CastRules& rules) {
  if (from == DType::string || to == DType::string || from == DType::undefined ||
      to == DType::undefined || from == DType::c64 || from == DType::c128 || to == DType::c64 ||
      to == DType::c128) {
    if (from == to && from != DType::string && from != DType::undefined) {
      std::memcpy(target, source, bytes_of(from, count));
      return;
    }
    throw Error(ErrorCode::unsupported, "no conversion between these element types")
        .got(std::string(name_of(from)) + " to " + std::string(name_of(to)));
  }
  if (from == to) {
    if (count > 0) std::memcpy(target, source, bytes_of(from, count));
    return;
  }
  const bool both_native = with_native(from, [&](auto s) {
    using S = decltype(s);
    const auto in = [source](std::int64_t i) { return element<S>(source, i); };
    const bool native = with_native(to, [&](auto d) {
      using D = decltype(d);
      if constexpr (std::is_same_v<S, bool>) {
        convert_bools(static_cast<const std::uint8_t*>(source), static_cast<D*>(target), count);
      } else {
        convert_run(static_cast<const S*>(source), static_cast<D*>(target), count);
      }
    });
    if (native) return;
    for (std::int64_t i = 0; i < count; ++i) {
      if (is_integer_type(to)) {
        write_packed(to, target, i, static_cast<int>(cast_element<S, std::int64_t>(in(i))));
      } else if constexpr (std::is_same_v<S, double>) {
        store_from_float(to, target, i, round_to_odd(in(i)), rules);
      } else {
        store_from_float(to, target, i, static_cast<float>(in(i)), rules);
      }
    }
  });
  if (both_native) return;
  const bool native_target = with_native(to, [&](auto d) {
    using D = decltype(d);
    auto* out = static_cast<D*>(target);
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = cast_element<float, D>(load_as_float(from, source, i));
  });
  if (native_target) return;
  for (std::int64_t i = 0; i < count; ++i) {
    store_from_float(to, target, i, load_as_float(from, source, i), rules);
  }
}

}  // namespace mezzo
