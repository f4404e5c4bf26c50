// Tiles: registers of 16 rows of 64 bytes, and products of those that hold bfloat16. Intel's AMX
// has them; PlainTiles does the same anywhere, so that what is built on tiles can be tested
// anywhere.
//
// Spec: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and
// volume 2, TDPBF16PS.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mezzo::kernels {

inline constexpr std::int64_t kTileRows = 16, kTileRowBytes = 64, kTileBytes = 1024;

/// Whether the CPU and the system have AMX with bfloat16. Thread-safe.
bool has_amx();
/// Asks the system to let this process use it, which makes room for tiles in the frames of all its
/// signals; false where it does not. Thread-safe.
bool enable_amx();

#if defined(__x86_64__) && defined(__linux__)
/// The eight tiles of a thread, from construction to destruction; enable_amx() comes first. The
/// instructions are written out: compilers' intrinsics want their target flags for whole functions,
/// which then could not be shared with the targets of Highway, and GCC 12's do not say what they
/// read.
class AmxTiles {
 public:
  AmxTiles() {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~AmxTiles() { asm volatile("tilerelease" ::: "memory"); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  template <int Tile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"n"(Tile));
  }
  /// Rows that lie so many bytes apart.
  template <int Tile>
  void load(const void* rows, std::int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "n"(Tile) : "memory");
  }
  template <int Tile>
  void store(void* rows, std::int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "n"(Tile) : "memory");
  }
  /// Tile C, 16 x 16 of float32, takes in the product of A, 16 x 32 of bfloat16, and B: 16 rows of
  /// 16 pairs, row i holding rows 2 i and 2 i + 1 of the matrix. Numbers below float32's normal
  /// ones count as zeros.
  template <int C, int A, int B>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"n"(C), "n"(A), "n"(B));
  }
};
#endif

/// The same in plain C++.
class PlainTiles {
 public:
  template <int Tile>
  void zero() {
    std::memset(tiles_[Tile], 0, sizeof(tiles_[Tile]));
  }
  template <int Tile>
  void load(const void* rows, std::int64_t stride) {
    for (std::int64_t i = 0; i < kTileRows; ++i)
      std::memcpy(tiles_[Tile][i], static_cast<const std::byte*>(rows) + i * stride, kTileRowBytes);
  }
  template <int Tile>
  void store(void* rows, std::int64_t stride) {
    for (std::int64_t i = 0; i < kTileRows; ++i)
      std::memcpy(static_cast<std::byte*>(rows) + i * stride, tiles_[Tile][i], kTileRowBytes);
  }
  template <int C, int A, int B>
  void multiply() {
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 16; ++j) {
        auto sum = std::bit_cast<float>(tiles_[C][i][j]);
        for (int k = 0; k < 16; ++k) {
          sum += low(tiles_[A][i][k]) * low(tiles_[B][k][j]);
          sum += high(tiles_[A][i][k]) * high(tiles_[B][k][j]);
        }
        tiles_[C][i][j] = std::bit_cast<std::uint32_t>(sum);
      }
    }
  }

 private:
  static float low(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
  static float high(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

  std::uint32_t tiles_[8][16][16];
};

}  // namespace mezzo::kernels
