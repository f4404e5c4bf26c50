// Pad. Spec: Pad-1 (paddings), -2 (pads), -11 (inputs), -13 (types), -18 (axes), -19 (wrap), -21
// ... -25 (types). Negative pads crop; they do so before anything is mirrored or repeated.

#include <algorithm>

#include "base/convert.h"
#include "ops/movement.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

enum class Mode { constant, reflect, edge, wrap };

struct AxisPads {
  std::int64_t begin = 0, end = 0;
};

Mode mode_of(const Op& op) {
  const std::string name = op.attr_string("mode");
  if (name == "constant") return Mode::constant;
  if (name == "reflect") return Mode::reflect;
  if (name == "edge") return Mode::edge;
  if (name == "wrap" && op.opset() >= 19) return Mode::wrap;
  throw invalid("an unknown mode")
      .expected(op.opset() >= 19 ? "constant, reflect, edge or wrap" : "constant, reflect or edge")
      .got("'" + name + "'");
}

std::vector<AxisPads> pads_of(const Op& op) {
  const auto rank = static_cast<std::size_t>(op.in_rank(0));
  const std::vector<std::int64_t> pads = op.opset() >= 11  ? op.ints(1)
                                         : op.opset() >= 2 ? op.attr_ints("pads")
                                                           : op.attr_ints("paddings");
  const bool has_axes = op.opset() >= 18 && op.has_in(3);
  const std::vector<std::int64_t> axes = has_axes ? op.ints(3) : std::vector<std::int64_t>{};
  const std::size_t count = has_axes ? axes.size() : rank;
  if (pads.size() != 2 * count) {
    throw invalid("Pad's pads must be two an axis")
        .expected(std::to_string(2 * count))
        .got(to_string(pads));
  }
  std::vector<AxisPads> result(rank);
  std::vector<bool> seen(rank, false);
  for (std::size_t i = 0; i < count; ++i) {
    const auto axis = static_cast<std::size_t>(has_axes ? normalize_axis(axes[i], op.in_rank(0))
                                                        : static_cast<int>(i));
    if (seen[axis]) throw invalid("Pad names an axis twice").got(to_string(axes));
    seen[axis] = true;
    result[axis] = {pads[i], pads[count + i]};
  }
  return result;
}

// An axis: which input element stands at an output position.
struct PaddedAxis {
  Mode mode;
  std::int64_t extent;       // of the output
  std::int64_t first, kept;  // the part of the input that cropping leaves
  std::int64_t start;        // where in the output that part starts

  PaddedAxis(Mode how, std::int64_t input, AxisPads pads) : mode(how) {
    std::int64_t sum;
    if (__builtin_add_overflow(pads.begin, pads.end, &sum) ||
        __builtin_add_overflow(input, sum, &extent)) {
      throw Error(ErrorCode::limit, "a size does not fit 64 bits").at("pads");
    }
    first = pads.begin >= 0 ? 0 : std::min(input, -std::max(pads.begin, -input));
    const std::int64_t last = input + std::clamp<std::int64_t>(pads.end, -input, 0);
    kept = std::max<std::int64_t>(last - first, 0);
    start = pads.begin + first;
    const bool repeats = mode != Mode::constant && extent > kept;
    if (extent < 0 || (repeats && kept == 0)) {
      throw invalid("Pad leaves an axis nothing")
          .expected("pads for an extent of " + std::to_string(input))
          .got(std::to_string(pads.begin) + " and " + std::to_string(pads.end));
    }
  }

  // -1: the constant.
  std::int64_t source(std::int64_t position) const {
    std::int64_t i = position - start;
    if (i >= 0 && i < kept) return first + i;
    switch (mode) {
      case Mode::constant:
        return -1;
      case Mode::edge:
        i = i < 0 ? 0 : kept - 1;
        break;
      case Mode::wrap:
        i = (i % kept + kept) % kept;
        break;
      case Mode::reflect: {
        if (kept == 1) return first;
        const std::int64_t period = 2 * (kept - 1);
        i = (i % period + period) % period;
        i = std::min(i, period - i);
        break;
      }
    }
    return first + i;
  }
};

std::vector<PaddedAxis> axes_of(const Op& op) {
  const Mode mode = mode_of(op);
  const std::vector<AxisPads> pads = pads_of(op);
  std::vector<PaddedAxis> axes;
  for (std::size_t a = 0; a < pads.size(); ++a) axes.emplace_back(mode, op.in_shape(0)[a], pads[a]);
  return axes;
}

void infer(Op& op) {
  Shape out;
  for (const PaddedAxis& axis : axes_of(op)) out.push_back(axis.extent);
  if (op.opset() >= 11 && op.has_in(2) && element_count(op.in_shape(2)) != 1) {
    throw invalid("Pad's constant_value must be a scalar").got(to_string(op.in_shape(2)));
  }
  op.set_out(0, op.in(0).dtype, std::move(out));
}

// What the kernel goes by: rows along the innermost axis that is padded, in units of everything
// inside it.
struct Layout {
  std::vector<PaddedAxis> axes;       // down to that of the rows, which is the last
  std::vector<std::int64_t> strides;  // of the input, in elements
  std::int64_t unit = 1;              // elements
  std::int64_t rows = 1, width = 1;   // of the output, in units
  std::int64_t before = 0, kept = 0;  // a row: `before` units of padding, `kept` of input, rest
};

Layout lay_out(const Shape& shape, std::vector<PaddedAxis> axes) {
  Layout layout;
  const std::vector<std::int64_t> strides = strides_of(shape);
  while (axes.size() > 1) {
    const std::int64_t extent = shape[axes.size() - 1];
    if (axes.back().kept != extent || axes.back().extent != extent) break;
    layout.unit *= extent;
    axes.pop_back();
  }
  // Outside of the rows, neighbours that are not padded count as one axis.
  bool after_whole = false;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const std::int64_t extent = shape[a];
    const bool whole = a + 1 < axes.size() && axes[a].kept == extent && axes[a].extent == extent;
    if (whole && after_whole) {
      layout.axes.back().extent *= extent;
      layout.axes.back().kept *= extent;
      layout.strides.back() = strides[a];
    } else {
      layout.axes.push_back(axes[a]);
      layout.strides.push_back(strides[a]);
    }
    after_whole = whole;
  }
  const PaddedAxis& inner = axes.back();
  layout.width = inner.extent;
  layout.before = std::clamp<std::int64_t>(inner.start, 0, inner.extent);
  layout.kept = std::min(inner.kept, inner.extent - layout.before);
  for (std::size_t a = 0; a + 1 < layout.axes.size(); ++a) layout.rows *= layout.axes[a].extent;
  return layout;
}

template <class Element>
class Padder {
 public:
  Padder(const Layout& layout, const void* source, void* target, const void* constant)
      : layout_(layout),
        before_(margin(0, layout.before)),
        after_(margin(layout.before + layout.kept, layout.width)),
        source_(static_cast<const Element*>(source)),
        target_(static_cast<Element*>(target)) {
    if (constant != nullptr) constant_ = *static_cast<const Element*>(constant);
  }

  void row(std::int64_t row) const {
    Element* out = target_ + row * layout_.width * layout_.unit;
    const Element* in = source_;
    for (std::size_t a = layout_.axes.size() - 1; a-- > 0;) {
      const PaddedAxis& axis = layout_.axes[a];
      const std::int64_t index = axis.source(a == 0 ? row : row % axis.extent);
      if (index < 0) return fill_run(constant_, out, layout_.width * layout_.unit);
      if (a > 0) row /= axis.extent;
      in += index * layout_.strides[a];
    }
    out = pad(in, before_, out);
    copy_run(in + layout_.axes.back().first * layout_.unit, out, layout_.kept * layout_.unit);
    pad(in, after_, out + layout_.kept * layout_.unit);
  }

 private:
  // Units of a row that are padding: those of the input's row that stand there.
  struct Margin {
    std::int64_t count = 0;
    std::vector<std::int64_t> sources;  // none: the constant
  };

  Margin margin(std::int64_t begin, std::int64_t end) const {
    const PaddedAxis& axis = layout_.axes.back();
    Margin result{end - begin, {}};
    if (axis.mode == Mode::constant) return result;
    for (std::int64_t i = begin; i < end; ++i) result.sources.push_back(axis.source(i));
    return result;
  }

  // Gives the end.
  Element* pad(const Element* in, const Margin& margin, Element* out) const {
    if (margin.sources.empty()) fill_run(constant_, out, margin.count * layout_.unit);
    Element* to = out;
    for (const std::int64_t from : margin.sources) {
      if (layout_.unit == 1) {
        *to = in[from];
      } else {
        copy_run(in + from * layout_.unit, to, layout_.unit);
      }
      to += layout_.unit;
    }
    return out + margin.count * layout_.unit;
  }

  const Layout& layout_;
  const Margin before_, after_;
  const Element* source_;
  Element* target_;
  Element constant_{};
};

struct alignas(16) AnyElement {
  unsigned char bytes[16] = {};
};

// The constant as one whole element, perhaps in `storage`; null for zero.
const void* constant_of(const Run& run, DType dtype, AnyElement& storage) {
  const Op& op = run.op();
  if (op.opset() < 11) {
    const float value = op.attr_float("value");
    convert(DType::f32, &value, dtype, storage.bytes, 1);
    return storage.bytes;
  }
  const void* given = run.in_data(2);
  if (given == nullptr || !is_packed(dtype)) return given;
  storage.bytes[0] = unpack(dtype, given, 1)[0];
  return storage.bytes;
}

Choice by_size(Op& op) {
  const DType dtype = op.in(0).dtype;
  const std::int64_t in_count = product(op.in_shape(0)), out_count = product(op.out_shape(0));
  if (out_count == 0) return [](Run&) {};
  if (op.in_rank(0) == 0) {
    return [dtype](Run& run) { copy_all(dtype, run.in_data(0), run.out_data(0), 1, run.pool()); };
  }
  return [=, layout = lay_out(op.in_shape(0), axes_of(op))](Run& run) {
    AnyElement storage;
    const void* constant = constant_of(run, dtype, storage);
    const auto pad = [&](const void* source, void* target) {
      with_element(dtype, [&](auto element) {
        const Padder<decltype(element)> padder(layout, source, target, constant);
        run.pool().parallel_for(layout.rows, runs_per_task(dtype, layout.width * layout.unit),
                                [&](std::int64_t begin, std::int64_t end) {
                                  for (std::int64_t i = begin; i < end; ++i) padder.row(i);
                                });
      });
    };
    on_whole_bytes(dtype, run.in_data(0), in_count, run.out_data(0), out_count, pad);
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(pad) {
  op("Pad")
      .since(1)
      .attr("mode", "constant")
      .required("paddings", Kind::ints)
      .attr("value", 0.0F)
      .in("data", kFloats)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
  op("Pad")
      .since(2)
      .attr("mode", "constant")
      .required("pads", Kind::ints)
      .attr("value", 0.0F)
      .in("data", kFloats)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
  op("Pad")
      .since(11, 13)
      .attr("mode", "constant")
      .in("data", kAllWithBf16)
      .in("pads", DType::i64)
      .in("constant_value", like(0), Arity::optional)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
  op("Pad")
      .since(18, 19, 21, 23, 24, 25)
      .attr("mode", "constant")
      .in("data", kAllIr13)
      .in("pads", DType::i64)
      .in("constant_value", like(0), Arity::optional)
      .in("axes", kIndices, Arity::optional)
      .out("output", like(0))
      .infer(infer)
      .kernel_by_size(by_size);
}
