#include "kernels/conv_bf16x3.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/shape.h"
#include "kernels/bf16x3.h"
#include "kernels/blocked_f32.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv_bf16x3.cc"
#include "kernels/simd.h"
#include "kernels/simd_bf16x3_passes_inl.h"
#include "kernels/simd_blocked_inl.h"
#include "kernels/simd_blocked_stages_inl.h"

// x is split into its parts first, with its padding: as many images, or pixels where a window has
// one, as stay in L2 while one block of k runs. Positions are its pixels, counted through rows and
// images; a tile is 16 beside each other, and each tap of a window lies at one distance from all of
// them. So positions at the end of a row give sums of no output, which are dropped. Where the
// window takes strides, the pixels of each phase of the strides lie together.

HWY_BEFORE_NAMESPACE();
namespace mezzo::kernels::HWY_NAMESPACE {
namespace {

using std::int64_t;

// One axis of the image.
struct SplitAxis {
  SplitAxis(int64_t in, int64_t out, int64_t k, int64_t stride, int64_t dilation, int64_t pad)
      : in(in), out(out), k(k), stride(stride), dilation(dilation), pad(pad) {
    const int64_t window = checked_mul(k - 1, dilation);
    phases = std::min(stride, window + 1);
    reach = window / stride;
    extent = checked_add(out, reach);
  }
  int64_t phase_of(int64_t tap) const { return tap * dilation % stride; }
  int64_t shift_of(int64_t tap) const { return tap * dilation / stride; }
  // The pixel of a phase at a place of the split image; it may lie outside.
  int64_t pixel(int64_t phase, int64_t place) const { return place * stride + phase - pad; }

  int64_t in, out, k, stride, dilation, pad;
  int64_t phases, reach, extent;  // reach: how far behind an output's place its last tap is
};

struct SplitImage {
  SplitImage(const ConvShape& s, bool in_stages, int64_t threads)
      : h(s.in_h, s.out_h, s.k_h, s.stride_h, s.dilation_h, s.pad_top),
        w(s.in_w, s.out_w, s.k_w, s.stride_w, s.dilation_w, s.pad_left) {
    // A window of one pixel at every pixel does not mind the ends of rows.
    if (s.k_h == 1 && s.k_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.out_h <= s.in_h &&
        s.out_w == s.in_w && s.pad_top == 0 && s.pad_left == 0) {
      const int64_t pixels = checked_mul(s.out_h, s.out_w);
      h = SplitAxis(1, 1, 1, 1, 1, 0);
      w = SplitAxis(pixels, pixels, 1, 1, 1, 0);
    }
    phases = checked_mul(h.phases, w.phases);
    channel_steps = bf16x3_steps(s.in_c);
    steps = checked_mul(channel_steps, checked_mul(h.k, w.k));
    per_image = checked_mul(h.extent, w.extent);
    reach = h.reach * w.extent + w.reach;
    all = checked_mul(s.batch, per_image);
    // Bytes of a position, in a block of k and in all.
    const int64_t phase_bytes = checked_mul(3 * kTileRowBytes, phases),
                  depth_bytes =
                      checked_mul(phase_bytes, ceil_div(depth_in_tiles(steps), h.k * w.k)),
                  position_bytes = checked_mul(phase_bytes, channel_steps);
    const int64_t unit = reach > 0 || in_stages ? per_image : kBlockRows;
    grid = TileGrid(all, unit, kChunkBytes / depth_bytes, position_bytes,
                    ceil_div(s.out_c, kPanelCols), checked_mul(steps, kStepBytes), threads);
    plane = plane_rows(grid.chunk);
    bytes = checked_add(checked_mul(plane, position_bytes), (reach + kBlockRows) * kTileRowBytes);
  }

  // Where the parts of a phase of 32 channels begin, and how far they are from each other.
  int64_t offset(int64_t channel_step, int64_t phase) const {
    return (channel_step * 3 * phases + phase) * plane * kTileRowBytes;
  }
  int64_t part_bytes() const { return phases * plane * kTileRowBytes; }
  // Of a tap: its phase, and its distance from an output's position.
  int64_t phase_of(int64_t y, int64_t x) const { return h.phase_of(y) * w.phases + w.phase_of(x); }
  int64_t shift_of(int64_t y, int64_t x) const { return h.shift_of(y) * w.extent + w.shift_of(x); }

  // Of each step of k: 32 channels of a tap, taps first.
  std::vector<int64_t> offsets() const {
    std::vector<int64_t> list;
    list.reserve(static_cast<std::size_t>(steps));
    for (int64_t c = 0; c < channel_steps; ++c) {
      for (int64_t y = 0; y < h.k; ++y) {
        for (int64_t x = 0; x < w.k; ++x) {
          list.push_back(offset(c, phase_of(y, x)) + shift_of(y, x) * kTileRowBytes);
        }
      }
    }
    return list;
  }

  SplitAxis h, w;
  int64_t phases, channel_steps, steps;
  int64_t per_image, all;  // positions of an image, and of all
  int64_t reach;           // how far the last tap is behind an output's position
  TileGrid grid;
  int64_t plane, bytes;  // positions and bytes in memory of a phase, and of all that is split
};

// Pixels of an output image that lie together, and are rows of a block of sums.
struct OutRun {
  int64_t image, pixel, row, count;
};

// Calls run for the outputs of positions [begin, end), counted from image 0's first.
template <class Run>
void for_outputs(const SplitImage& image, int64_t begin, int64_t end, const Run& run) {
  for (int64_t p = begin; p < end;) {
    const int64_t n = p / image.per_image, y = p % image.per_image / image.w.extent,
                  x = p % image.w.extent;
    const int64_t row_end = std::min(end, p - x + image.w.extent);
    const int64_t count = std::min(row_end, p - x + image.w.out) - p;
    if (y < image.h.out && count > 0) run(OutRun{n, y * image.w.out + x, p - begin, count});
    p = row_end;
  }
}

// Splits 32 channels of a phase.
class Splitter {
 public:
  Splitter(const ConvShape& s, const SplitImage& image, const float* x, int64_t channel_step,
           int64_t phase)
      : s_(s),
        image_(image),
        x_(x),
        first_block_(channel_step * 4),
        blocks_(std::min<int64_t>(4, s.in_c / kBlockChannels - first_block_)),
        phase_h_(phase / image.w.phases),
        phase_w_(phase % image.w.phases) {}

  // Positions [begin, end) to `to` on. Returns whether there are large numbers.
  bool split(int64_t begin, int64_t end, std::uint8_t* to) {
    const HalfRowF32 d;
    const HalfRowU32 du;
    const int64_t part_bytes = image_.part_bytes(), block_floats = s_.x_plane() * kBlockChannels;
    auto largest = hn::Zero(du);
    for_pixels(begin, end, [&](const float* pixel) HWY_ATTR {
      if (pixel == nullptr) {
        for (int part = 0; part < 3; ++part) std::memset(to + part * part_bytes, 0, kTileRowBytes);
      } else if (blocks_ == 4) {
        // A vector holds one block of 8 channels, or two, or a part.
        const auto load = [&](int i) HWY_ATTR {
          return load_pair(d, pixel + i / 8 * block_floats + i % 8, block_floats);
        };
        largest = split_row(load, to, part_bytes, largest);
      } else {
        gather(pixel);
        const auto load = [&](int i) HWY_ATTR { return hn::LoadU(d, few_ + i); };
        largest = split_row(load, to, part_bytes, largest);
      }
      to += kTileRowBytes;
    });
    return hn::GetLane(hn::MaxOfLanes(du, largest)) >= kLargeBits;
  }

  // Splits those again that have large numbers, and marks them.
  void split_large(int64_t begin, int64_t end, std::uint8_t* to, std::uint8_t* marks) {
    for_pixels(begin, end, [&](const float* pixel) {
      if (pixel != nullptr) {
        gather(pixel);
        if (std::any_of(few_, few_ + 32, is_large)) {
          split_any_row(few_, to, image_.part_bytes());
          *marks = 1;
        }
      }
      to += kTileRowBytes;
      ++marks;
    });
  }

 private:
  // Calls run with the first of the 32 channels, or null outside the image.
  template <class Run>
  HWY_INLINE void for_pixels(int64_t begin, int64_t end, const Run& run) const {
    const int64_t image_blocks = s_.in_c / kBlockChannels;
    for (int64_t p = begin; p < end;) {
      const int64_t n = p / image_.per_image, place_y = p % image_.per_image / image_.w.extent;
      int64_t place_x = p % image_.w.extent;
      const int64_t row_end = std::min(end, p - place_x + image_.w.extent);
      const int64_t y = image_.h.pixel(phase_h_, place_y);
      const bool inside = y >= 0 && y < image_.h.in;
      const float* row =
          inside ? x_ + ((n * image_blocks + first_block_) * s_.x_plane() + y * image_.w.in) *
                            kBlockChannels
                 : nullptr;
      for (; p < row_end; ++p, ++place_x) {
        const int64_t x = image_.w.pixel(phase_w_, place_x);
        run(inside && x >= 0 && x < image_.w.in ? row + x * kBlockChannels : nullptr);
      }
    }
  }

  void gather(const float* pixel) {
    for (int64_t b = 0; b < blocks_; ++b) {
      std::memcpy(few_ + b * kBlockChannels, pixel + b * s_.x_plane() * kBlockChannels,
                  kBlockChannels * sizeof(float));
    }
  }

  const ConvShape& s_;
  const SplitImage& image_;
  const float* x_;
  int64_t first_block_, blocks_, phase_h_, phase_w_;
  HWY_ALIGN float few_[32] = {};  // what there is of the channels, and zeros
};

// Positions [begin, end), in all parts. Returns which of their windows have large numbers, if any
// has.
std::vector<std::uint8_t> split_chunk(const ConvShape& s, const SplitImage& image, const float* x,
                                      int64_t begin, int64_t end, std::uint8_t* scratch) {
  std::vector<std::uint8_t> marks;  // [phase][position]
  const auto plane = static_cast<std::size_t>(image.plane);
  for (int64_t c = 0; c < image.channel_steps; ++c) {
    for (int64_t phase = 0; phase < image.phases; ++phase) {
      Splitter splitter(s, image, x, c, phase);
      std::uint8_t* to = scratch + image.offset(c, phase);
      if (!splitter.split(begin, end, to)) continue;
      marks.resize(static_cast<std::size_t>(image.phases) * plane +
                   static_cast<std::size_t>(image.reach));
      splitter.split_large(begin, end, to, marks.data() + static_cast<std::size_t>(phase) * plane);
    }
  }
  if (marks.empty()) return marks;
  std::vector<std::uint8_t> large(static_cast<std::size_t>(end - begin));
  for (int64_t y = 0; y < image.h.k; ++y) {
    for (int64_t x_tap = 0; x_tap < image.w.k; ++x_tap) {
      const std::uint8_t* of_tap =
          marks.data() + image.phase_of(y, x_tap) * image.plane + image.shift_of(y, x_tap);
      for (std::size_t p = 0; p < large.size(); ++p) large[p] |= of_tap[p];
    }
  }
  return large;
}

// What the stores of a chunk share.
struct ChunkTask {
  const ConvShape& shape;
  const SplitImage& image;
  const ConvArgs& args;
  int64_t chunk, y_stride;  // the chunk's first position; floats between images of y
};

// Takes sums to y.
class ConvStore {
 public:
  explicit ConvStore(const ChunkTask& task) : t_(task), args_(ahead_of_stages(task.args)) {}
  ConvStore(const ConvStore&) = delete;
  ConvStore& operator=(const ConvStore&) = delete;
  ~ConvStore() {
    if (t_.args.stages.wanted()) planes_.finish();
  }

  void begin(int64_t panel, int64_t position, int64_t rows) {
    first_block_ = panel * kPanelBlocks;
    blocks_ = std::min(kPanelBlocks, t_.shape.out_c / kBlockChannels - first_block_);
    std::fill_n(y_at_, kBlockRows, -1);
    const int64_t add_stride = t_.shape.out_c * t_.shape.add_plane(), first = t_.chunk + position;
    for_outputs(t_.image, first, first + rows, [&](const OutRun& run) {
      for (int64_t i = 0; i < run.count; ++i) {
        y_at_[run.row + i] = run.image * t_.y_stride + (run.pixel + i) * kBlockChannels;
        add_at_[run.row + i] = run.image * add_stride + (run.pixel + i) * kBlockChannels;
      }
    });
  }

  void store(const float* sums, int64_t begin, int64_t end) {
    const PairF32 d;
    const ConvShape& s = t_.shape;
    for (int64_t i = 0; i < ChannelVector::count(blocks_); ++i) {
      const ChannelVector channels(s, args_, first_block_, blocks_, i);
      const int64_t column = channels.channel - first_block_ * kBlockChannels + channels.part;
      float* y = args_.y + channels.channel * s.y_plane() + channels.part;
      const float* add = args_.add == nullptr
                             ? nullptr
                             : args_.add + channels.channel * s.add_plane() + channels.part;
      for (int64_t row = begin; row < end; ++row) {
        if (y_at_[row] < 0) continue;
        const VecPair sum[1] = {hn::LoadU(d, sums + row * kPanelCols + column)};
        channels.finish(sum, 1, 0, y + y_at_[row], add == nullptr ? nullptr : add + add_at_[row]);
      }
    }
  }

  void part_done(int64_t panel, int64_t image) {
    const int64_t first = panel * kPanelBlocks,
                  end = std::min(first + kPanelBlocks, t_.shape.out_c / kBlockChannels);
    const int64_t n = t_.chunk / t_.image.per_image + image;
    for (int64_t block = first; block < end; ++block)
      run_stages(t_.shape, t_.args, t_.y_stride, n, block, 0, t_.image.h.out * t_.image.w.out,
                 planes_);
  }

 private:
  static constexpr int64_t kPanelBlocks = kPanelCols / kBlockChannels;

  const ChunkTask t_;
  const ConvArgs args_;
  StagePlanes planes_;
  int64_t first_block_ = 0, blocks_ = 0;
  int64_t y_at_[kBlockRows], add_at_[kBlockRows];  // of rows that are outputs; else less than 0
};

}  // namespace

void run_pack_conv_bf16x3(const ConvShape& s, const float* weights, float* packed,
                          ThreadPool& pool) {
  const int64_t taps = s.k_h * s.k_w;
  const auto place = [&](int64_t step) {
    const int64_t channel = step / taps * 32;
    return std::pair(channel * taps + step % taps, std::min<int64_t>(32, s.in_c - channel));
  };
  pack_bf16x3({weights, s.out_c, bf16x3_steps(s.in_c) * taps, taps, s.in_c * taps}, place,
              reinterpret_cast<std::uint8_t*>(packed), pool);
}

void run_conv_bf16x3(const ConvShape& s, const ConvArgs& args, ThreadPool& pool) {
  const bool in_stages = args.stages.wanted();
  const SplitImage image(s, in_stages, pool.available());
  const std::vector<int64_t> offsets = image.offsets();
  const int64_t y_stride = args.y_batch_stride != 0 ? args.y_batch_stride : s.out_c * s.y_plane();
  const auto* weights = reinterpret_cast<const std::uint8_t*>(args.packed_weights);
  const bool large_weights = has_large_numbers(weights, s.out_c, image.steps);
  const auto first_of = [&](int64_t chunk) { return chunk * image.grid.chunk; };
  const auto split = [&](int64_t chunk, std::uint8_t* scratch) {
    const int64_t first = first_of(chunk),
                  positions = std::min(image.grid.chunk, image.all - first);
    std::vector<std::uint8_t> large =
        split_chunk(s, image, args.x, first, first + positions, scratch);
    if (large_weights) large.assign(static_cast<std::size_t>(positions), 1);
    return TileWork{scratch,
                    offsets.data(),
                    image.part_bytes(),
                    image.steps,
                    weights,
                    positions - image.reach,
                    in_stages ? image.per_image : 0,
                    image.per_image - image.reach,
                    std::move(large)};
  };
  const auto make_store = [&](int64_t chunk) {
    return ConvStore({s, image, args, first_of(chunk), y_stride});
  };
  run_any_tiles(image.grid, image.bytes, split, make_store, pool);
}

}  // namespace mezzo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mezzo::kernels {
namespace {
HWY_EXPORT(run_pack_conv_bf16x3);
HWY_EXPORT(run_conv_bf16x3);
}  // namespace

bool conv_bf16x3_applies(const ConvShape& s) {
  return s.groups == 1 && s.in_c % kBlockChannels == 0 && s.out_c % kBlockChannels == 0;
}

bool conv_bf16x3_pays(const ConvShape& s) {
  return s.in_c >= 32 && s.out_c >= 64 && s.batch * s.out_h * s.out_w >= 64;
}

std::size_t conv_bf16x3_weights_bytes(const ConvShape& s) {
  const std::int64_t steps = checked_mul(bf16x3_steps(s.in_c), checked_mul(s.k_h, s.k_w));
  return static_cast<std::size_t>(packed_bf16x3_bytes(s.out_c, steps));
}

void pack_conv_bf16x3_weights(const ConvShape& shape, const float* weights, float* packed,
                              ThreadPool& pool) {
  MEZZO_DISPATCH(run_pack_conv_bf16x3)(shape, weights, packed, pool);
}

void conv_bf16x3(const ConvShape& shape, const ConvArgs& args, ThreadPool& pool) {
  MEZZO_DISPATCH(run_conv_bf16x3)(shape, args, pool);
}

}  // namespace mezzo::kernels
#endif
