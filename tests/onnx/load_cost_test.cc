// What it costs to open a large model: its weights are mapped, not read.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>

#include "bytes.h"
#include "mezzo/model.h"
#include "onnx/writer.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEZZO_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEZZO_SANITIZED 1
#endif
#endif

namespace mezzo::onnx {
namespace {

std::int64_t resident_bytes() {
  std::int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

// The tensors of ResNet-50: 53 convolutions of four stages, each with scale and shift, and the
// classifier; 25.5 million numbers.
Model model_of_100_megabytes() {
  Model model;
  model.ir_version = 8;
  model.opset_imports = {{"", 17}};
  const auto add = [&](const std::string& name, Shape shape) {
    NamedTensor tensor;
    tensor.name = name;
    tensor.tensor = Tensor(DType::f32, std::move(shape));
    model.graph.initializers.push_back(std::move(tensor));
  };
  int convolutions = 0;
  const auto convolution = [&](std::int64_t out, std::int64_t in, std::int64_t size) {
    const std::string name = "conv" + std::to_string(convolutions++);
    add(name + ".weight", {out, in, size, size});
    add(name + ".scale", {out});
    add(name + ".shift", {out});
    Node node;
    node.op_type = "Conv";
    node.name = name;
    node.inputs = {convolutions == 1 ? "x" : "y" + std::to_string(convolutions - 1),
                   name + ".weight", name + ".shift"};
    node.outputs = {"y" + std::to_string(convolutions)};
    model.graph.nodes.push_back(std::move(node));
  };
  convolution(64, 3, 7);
  std::int64_t channels = 64;
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const std::int64_t width = 64 << stage;
    for (int block = 0; block < blocks[stage]; ++block) {
      if (block == 0) convolution(width * 4, channels, 1);
      convolution(width, channels, 1);
      convolution(width, width, 3);
      convolution(width * 4, width, 1);
      channels = width * 4;
    }
  }
  add("fc.weight", {1000, 2048});
  add("fc.bias", {1000});
  model.graph.inputs.resize(1);
  model.graph.inputs[0].name = "x";
  model.graph.outputs.resize(1);
  model.graph.outputs[0].name = "y" + std::to_string(convolutions);
  return model;
}

TEST(LoadCost, AModelOf100MegabytesTakesFewerThanFive) {
  const TemporaryFolder folder;
  const std::string path = folder / "large.onnx";
  write_file(model_of_100_megabytes(), path);
  EXPECT_GT(std::filesystem::file_size(path), 100'000'000U);

  const std::int64_t before = resident_bytes();
  const auto start = std::chrono::steady_clock::now();
  const mezzo::Model model = mezzo::Model::load(path);
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  const std::int64_t added = resident_bytes() - before;

  std::cout << "opened in " << time.count() << " ms, " << added / 1024 << " KiB more in memory\n";
  EXPECT_EQ(model.nodes().size(), 53U);
  EXPECT_GT(model.parameters(), 25'000'000);
#ifdef MEZZO_SANITIZED
  GTEST_SKIP() << "the sanitizer's own memory counts with the program's";
#else
  EXPECT_LT(added, 5'000'000);
#endif
}

}  // namespace
}  // namespace mezzo::onnx
