// NonMaxSuppression. Spec: ai.onnx NonMaxSuppression-10, -11. For each image and class, boxes are
// taken by falling score, and those that overlap one already taken by more than iou_threshold are
// dropped. Without a score_threshold all scores will do.
#include <algorithm>
#include <limits>

#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

void infer(Op& op) {
  require_rank(op, 0, 3, 3);
  require_rank(op, 1, 3, 3);
  const Shape &boxes = op.in_shape(0), &scores = op.in_shape(1);
  if (boxes[2] != 4 || scores[0] != boxes[0] || scores[2] != boxes[1]) {
    throw invalid("boxes and scores do not fit each other")
        .expected("[images, boxes, 4] and [images, classes, boxes]")
        .got(to_string(boxes) + " and " + to_string(scores));
  }
  for (int i = 2; i < op.inputs(); ++i) {
    if (op.has_in(i) && element_count(op.in_shape(i)) != 1) {
      throw invalid("a limit or threshold must be one number")
          .at("input " + std::to_string(i))
          .got(to_string(op.in_shape(i)));
    }
  }
  op.set_out_unknown(0, DType::i64);
}

struct Box {
  float y1, x1, y2, x2, area;
};

Box box_of(const float* p, bool center) {
  Box box{};
  if (center) {  // x, y, width, height
    box = {p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2, 0};
  } else {  // y, x of two opposite corners, whichever
    box = {p[0], p[1], p[2], p[3], 0};
  }
  if (box.y1 > box.y2) std::swap(box.y1, box.y2);
  if (box.x1 > box.x2) std::swap(box.x1, box.x2);
  box.area = (box.y2 - box.y1) * (box.x2 - box.x1);
  return box;
}

bool overlap(const Box& a, const Box& b, float threshold) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (!(height > 0) || !(width > 0)) return false;
  const float common = height * width;
  return common / (a.area + b.area - common) > threshold;
}

Kernel suppress(bool center) {
  return [center](Run& run) {
    const Shape& shape = run.op().in_shape(1);
    const std::int64_t images = shape[0], classes = shape[1], boxes = shape[2];
    const std::int64_t most = run.op().has_in(2) ? *run.in<std::int64_t>(2) : 0;
    const float iou = run.op().has_in(3) ? *run.in<float>(3) : 0.0F;
    const float least =
        run.op().has_in(4) ? *run.in<float>(4) : -std::numeric_limits<float>::infinity();
    const bool all_scores = !run.op().has_in(4);

    std::vector<std::vector<std::int64_t>> kept(static_cast<std::size_t>(images * classes));
    run.pool().parallel_for(images * classes, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::int64_t> order;
      std::vector<Box> taken;
      for (std::int64_t i = begin; i < end && most > 0; ++i) {
        const float* scores = run.in<float>(1) + i * boxes;
        const float* corners = run.in<float>(0) + i / classes * boxes * 4;
        order.clear();
        taken.clear();
        for (std::int64_t b = 0; b < boxes; ++b) {
          // A NaN is no score.
          if (all_scores ? scores[b] == scores[b] : scores[b] > least) order.push_back(b);
        }
        std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
          return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
        });
        auto& result = kept[static_cast<std::size_t>(i)];
        for (const std::int64_t b : order) {
          if (static_cast<std::int64_t>(result.size()) >= most) break;
          const Box box = box_of(corners + b * 4, center);
          const bool dropped = std::any_of(taken.begin(), taken.end(), [&](const Box& other) {
            return overlap(box, other, iou);
          });
          if (dropped) continue;
          taken.push_back(box);
          result.push_back(b);
        }
      }
    });

    std::int64_t count = 0;
    for (const auto& result : kept) count += static_cast<std::int64_t>(result.size());
    auto* y = static_cast<std::int64_t*>(run.allocate(0, DType::i64, {count, 3}));
    for (std::int64_t i = 0; i < images * classes; ++i) {
      for (const std::int64_t b : kept[static_cast<std::size_t>(i)]) {
        *y++ = i / classes;
        *y++ = i % classes;
        *y++ = b;
      }
    }
  };
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(nms) {
  op("NonMaxSuppression")
      .since(10, 11)
      .attr("center_point_box", 0)
      .in("boxes", DType::f32)
      .in("scores", DType::f32)
      .in("max_output_boxes_per_class", DType::i64, Arity::optional)
      .in("iou_threshold", DType::f32, Arity::optional)
      .in("score_threshold", DType::f32, Arity::optional)
      .out("selected_indices", DType::i64)
      .infer(infer)
      .kernel("reference",
              [](Op& op) -> Choice { return suppress(op.attr_int("center_point_box") != 0); });
}
