// From an element type at run time to a C++ type.
#pragma once

#include <cstdint>

#include "mezzo/dtype.h"

namespace mezzo::ops {

template <class... Ts>
struct Types {};

using FloatTypes = Types<float, double>;
using IntTypes = Types<std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t,
                       std::uint16_t, std::uint32_t, std::uint64_t>;
using NumberTypes = Types<float, double, std::int8_t, std::int16_t, std::int32_t, std::int64_t,
                          std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>;

/// Calls fn(T{}) for the one of `Ts` whose DType is `dtype`; false (and no call) where none is.
/// 16-bit floats need no case of their own: see ops::choose.
template <class... Ts, class Fn>
bool with_type(Types<Ts...>, DType dtype, Fn&& fn) {
  return ((DTypeOf<Ts>::value == dtype ? (fn(Ts{}), true) : false) || ...);
}

}  // namespace mezzo::ops
