// Shows on a trained network what mezzo does: any value of a network can be fetched, fed and
// changed, in the same call that gives the answer.
//
// `./dev demo` makes what this reads (build/demo) and starts it. Another folder may be given as the
// argument.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "mezzo/mezzo.h"

namespace {

using mezzo::Tensor;

// Values of the network, by the names that they have in its file.
const std::string kInput = "image";
const std::string kAnswer = "probabilities";
const std::string kFeatures = "features";  // what the last layer decides on
const std::string kEarly = "stage1/block1/project/norm";
const std::string kMiddle = "stage4/block3/add";  // halfway: 14 x 14 places, 80 numbers at each

// A picture as this network was trained to see it: the short side 256, the other in proportion
// (rounded; torchvision, and Resize::short_side, round down), of which the middle is taken.
Tensor load(const std::string& path) {
  const mezzo::image::Image picture = mezzo::image::decode(path);
  const double scale = 256.0 / std::min(picture.width, picture.height);
  mezzo::image::Preprocess settings;
  settings.resize = mezzo::image::Resize::exact;
  settings.width = static_cast<int>(std::lround(picture.width * scale));
  settings.height = static_cast<int>(std::lround(picture.height * scale));
  settings.filter = mezzo::image::Filter::pillow_bicubic;
  settings.crop_width = settings.crop_height = 224;
  settings.mean = {127, 127, 127};
  settings.std = {128, 128, 128};
  return mezzo::image::preprocess(picture, settings);
}

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw mezzo::Error(mezzo::ErrorCode::file_error, "cannot read " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

void print_best(const Tensor& answer, const std::vector<std::string>& labels, std::size_t count) {
  const std::span<const float> probabilities = answer.values<float>();
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](auto a, auto b) { return probabilities[a] > probabilities[b]; });
  for (std::size_t i = 0; i < count; ++i) {
    std::printf("  %6.1f %%  %s\n", 100.0 * static_cast<double>(probabilities[order[i]]),
                labels.at(order[i]).c_str());
  }
}

double cosine(const Tensor& a, const Tensor& b) {
  const auto x = a.values<float>(), y = b.values<float>();
  const auto dot = [](auto p, auto q) {
    return std::inner_product(p.begin(), p.end(), q.begin(), 0.0);
  };
  return dot(x, y) / std::sqrt(dot(x, x) * dot(y, y));
}

// NaN where one is.
double largest_difference(const Tensor& a, const Tensor& b) {
  const auto x = a.values<float>(), y = b.values<float>();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double gap = std::fabs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    if (!(gap <= largest)) largest = gap;
    if (std::isnan(largest)) break;
  }
  return largest;
}

// Every row of a picture or feature map [N,C,H,W] rewritten by `change(own row, other's row)`.
Tensor change_rows(
    Tensor tensor, const Tensor& other,
    const std::function<void(std::span<float> row, std::span<const float> other)>& change) {
  const auto width = static_cast<std::size_t>(tensor.shape()[3]);
  const std::span<float> own = tensor.mutable_values<float>();
  const std::span<const float> theirs = other.values<float>();
  for (std::size_t i = 0; i < own.size(); i += width) {
    change(own.subspan(i, width), theirs.subspan(i, width));
  }
  return tensor;
}

// The median of 21 runs of each, after one that compiles the plan. They take turns, so that what
// else the machine does meets all of them alike.
std::vector<double> milliseconds(const std::vector<std::function<void()>>& works) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::vector<double>> times(works.size());
  for (const auto& work : works) work();
  for (int round = 0; round < 21; ++round) {
    for (std::size_t i = 0; i < works.size(); ++i) {
      const auto start = Clock::now();
      works[i]();
      times[i].push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
  }
  std::vector<double> medians;
  for (auto& list : times) {
    std::nth_element(list.begin(), list.begin() + 10, list.end());
    medians.push_back(list[10]);
  }
  return medians;
}

void show(const std::string& folder) {
  const auto labels = read_lines(folder + "/imagenet_labels.txt");
  const mezzo::Session session(folder + "/efficientnet_lite0.onnx");
  const Tensor cat = load(folder + "/chelsea.png");
  const Tensor cup = load(folder + "/coffee.png");

  std::printf(
      "\n1. What is in the picture?\n\n"
      "The network EfficientNet-Lite0 (4.7 million numbers, learned from a million photographs)\n"
      "knows 1000 kinds of things. For a picture it says how likely each is. A cat,\n"
      "%s/chelsea.png:\n\n",
      folder.c_str());
  // One call gives the answer and, under its name in the file, a value from inside.
  const auto of_cat = session.run({{kInput, cat}}, {kAnswer, kFeatures});
  print_best(of_cat[kAnswer], labels, 5);
  std::printf("\nA cup of coffee, %s/coffee.png:\n\n", folder.c_str());
  const auto of_cup = session.run({{kInput, cup}}, {kAnswer, kFeatures});
  print_best(of_cup[kAnswer], labels, 5);

  const Tensor& features = of_cat[kFeatures];
  const auto numbers = features.values<float>();
  std::printf(
      "\n2. What does the network see in it?\n\n"
      "Before it answers, the network sums up the picture in a list of numbers, the value\n"
      "'%s'. The same two calls fetched it, too. For the cat it is float32%s:\n\n"
      "  %.3f  %.3f  %.3f  %.3f  %.3f  %.3f  ...\n\n",
      kFeatures.c_str(), mezzo::to_string(features.shape()).c_str(), numbers[0], numbers[1],
      numbers[2], numbers[3], numbers[4], numbers[5]);
  const Tensor mirrored_cat =
      change_rows(cat, cat, [](auto row, auto) { std::reverse(row.begin(), row.end()); });
  const auto of_mirrored = session.run({{kInput, mirrored_cat}}, {kFeatures});
  std::printf(
      "Pictures that show alike things have alike lists, which is how pictures are searched and\n"
      "sorted. Likeness (the cosine of the angle between two lists; 1 is the same):\n\n"
      "  %.3f  the cat and the cat in a mirror\n"
      "  %.3f  the cat and the cup of coffee\n",
      cosine(features, of_mirrored[kFeatures]), cosine(features, of_cup[kFeatures]));

  const auto middle = session.run({{kInput, cat}}, {kMiddle});
  mezzo::RunStats whole_stats, rest_stats;
  mezzo::RunOptions count_whole, count_rest;
  count_whole.stats = &whole_stats;
  count_rest.stats = &rest_stats;
  const auto whole = session.run({{kInput, cat}}, {kAnswer}, count_whole);
  const auto rest = session.run({{kMiddle, middle[0]}}, {kAnswer}, count_rest);
  std::printf(
      "\n3. Go on from the middle\n\n"
      "Any value can be given as well as fetched. Here '%s', a map of the cat\n"
      "from the middle of the network, float32%s, is fed instead of a picture. Only what comes\n"
      "after it is computed, %lld steps instead of %lld, and the answer is the same (largest\n"
      "difference %.1g).\n",
      kMiddle.c_str(), mezzo::to_string(middle[0].shape()).c_str(),
      static_cast<long long>(rest_stats.nodes_executed),
      static_cast<long long>(whole_stats.nodes_executed), largest_difference(whole[0], rest[0]));

  const auto middle_of_cup = session.run({{kInput, cup}}, {kMiddle});
  mezzo::RunOptions transplant;
  transplant.patches.push_back({kMiddle, [&](const Tensor& own) {
                                  return change_rows(
                                      own.clone(), middle_of_cup[0], [](auto row, auto other) {
                                        const auto half = row.size() / 2;
                                        std::copy_n(other.begin(), half, row.begin());
                                      });
                                }});
  std::printf(
      "\n4. Change a thought\n\n"
      "The network looks at the cat, but on the way the left half of that map is replaced by the\n"
      "cup's. It now answers:\n\n");
  print_best(session.run({{kInput, cat}}, {kAnswer}, transplant)[0], labels, 3);

  const std::vector<double> times = milliseconds({
      [&] {
        session.run({{kInput, cat}}, {kAnswer});
      },
      [&] {
        session.run({{kInput, cat}}, {kAnswer, kFeatures});
      },
      [&] {
        session.run({{kInput, cat}}, {kAnswer, kMiddle});
      },
      [&] {
        session.run({{kMiddle, middle[0]}}, {kAnswer});
      },
      [&] {
        session.run({{kInput, cat}}, {kEarly});
      },
  });
  std::printf(
      "\n5. What it costs\n\n"
      "With %d thread(s), the middle one of 21 runs:\n\n"
      "  %7.2f ms  the answer\n"
      "  %7.2f ms  the answer and the list of numbers\n"
      "  %7.2f ms  the answer and the map from the middle\n"
      "  %7.2f ms  the answer, fed the map from the middle\n"
      "  %7.2f ms  an early value only, '%s'\n\n"
      "The program build/mezzo does all this for any ONNX file: see build/mezzo --help. This demo\n"
      "is examples/demo.cc.\n",
      session.threads(), times[0], times[1], times[2], times[3], times[4], kEarly.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    show(argc > 1 ? argv[1] : "build/demo");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
}
