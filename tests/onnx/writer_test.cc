// Models written and read back. That the bytes mean the same to others, roundtrip_test.py shows.
#include "onnx/writer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "bytes.h"
#include "onnx/encode.h"

namespace mezzo::onnx {
namespace {

// Reads and writes: the bytes must be those that went in.
void expect_same_bytes(const std::string& bytes) { EXPECT_EQ(write_memory(read(bytes)), bytes); }

TEST(WriteModel, KeepsUnknownFieldsOfEveryMessage) {
  const std::string unknown = message([](Writer& w) {
    w.add_string(200, "later");
    w.add_fixed64(201, 7);
  });
  const std::string attribute = unknown + message([](Writer& w) {
                                  w.add_string(1, "a");
                                  w.add_int64(3, 5);
                                  w.add_int32(20, 2);
                                });
  const std::string node = unknown + message([&](Writer& w) {
                             w.add_string(4, "Op");
                             w.add_message(5, attribute);
                           });
  const std::string tensor = unknown + message([](Writer& w) {
                               w.add_int64(1, 1);
                               w.add_int32(2, 2);
                               w.add_string(8, "t");
                               w.add_bytes(9, "x");
                             });
  const std::string value =
      unknown + message([&](Writer& w) {
        w.add_string(1, "v");
        w.add_message(2, unknown + message([](Writer& t) {
                           t.add_message(1, message([](Writer& e) { e.add_int32(1, 1); }));
                         }));
      });
  const std::string graph = unknown + message([&](Writer& w) {
                              w.add_message(1, node);
                              w.add_message(5, tensor);
                              w.add_message(11, value);
                            });
  const std::string function = unknown + message([](Writer& w) { w.add_string(1, "F"); });
  expect_same_bytes(unknown + message([&](Writer& w) {
                      w.add_int64(1, 8);
                      w.add_message(7, graph);
                      w.add_message(25, function);
                    }));
}

TEST(WriteModel, KeepsUnknownFieldsOfTheSmallestMessages) {
  const std::string unknown = message([](Writer& w) { w.add_string(200, "later"); });
  const std::string value = message([&](Writer& w) {
    w.add_string(1, "v");
    w.add_message(2, message([&](Writer& type) {
                    type.add_message(1, message([&](Writer& tensor) {
                                          tensor.add_int32(1, 1);
                                          tensor.add_message(2, message([&](Writer& shape) {
                                                                  shape.add_message(1, unknown);
                                                                }) + unknown);
                                        }) + unknown);
                  }));
  });
  const std::string list = message([&](Writer& w) {
    w.add_message(2, message([&](Writer& type) { type.add_message(4, unknown); }));
  });
  const std::string graph = message([&](Writer& w) {
    w.add_message(11, value);
    w.add_message(11, list);
    w.add_message(14, unknown);
  });
  const Model once = read(message([&](Writer& w) {
    w.add_message(7, graph);
    w.add_message(8, unknown);
    w.add_message(14, entry("k", "v") + unknown);
  }));
  const Model again = read(write_memory(once));
  for (const Model* model : {&once, &again}) {
    EXPECT_EQ(model->opset_imports.at(0).unknown, unknown);
    EXPECT_EQ(model->graph.quantization.at(0).unknown, unknown);
    const Type& type = model->graph.inputs.at(0).type;
    EXPECT_EQ(type.shape->at(0).unknown, unknown);
    EXPECT_EQ(type.shape_unknown, unknown);
    EXPECT_EQ(type.kind_unknown, unknown);
    EXPECT_EQ(model->graph.inputs.at(1).type.kind_unknown, unknown);
    EXPECT_EQ(model->metadata, (StringPairs{{"k", "v"}}));
    EXPECT_EQ(model->metadata.at(0).unknown, unknown);
  }
}

TEST(WriteModel, AFieldThatBecameKnownWins) {
  Model model;
  model.graph.unknown = message([](Writer& w) { w.add_string(2, "old"); });
  model.graph.name = "new";
  EXPECT_EQ(read(write_memory(model)).graph.name, "new");
}

TEST(WriteModel, ZeroAndEmptyAreWrittenWhereTheyMeanSomething) {
  Model model;
  Node& node = model.graph.nodes.emplace_back();
  node.inputs = {"", "x", ""};
  for (const auto kind : {Attribute::Kind::float_, Attribute::Kind::int_, Attribute::Kind::string,
                          Attribute::Kind::ints}) {
    node.attributes.emplace_back().kind = kind;
  }
  ValueInfo& input = model.graph.inputs.emplace_back();
  input.type.kind = Type::Kind::tensor;
  input.type.shape.emplace().emplace_back().value = 0;
  model.graph.outputs.emplace_back().type.kind = Type::Kind::tensor;
  model.graph.outputs.back().type.shape.emplace();
  const std::string bytes = write_memory(model);
  const Model back = read(bytes);
  EXPECT_EQ(back.graph.nodes.at(0).inputs, node.inputs);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(back.graph.nodes.at(0).attributes.at(i).kind, node.attributes[i].kind);
  }
  EXPECT_EQ(back.graph.inputs.at(0).type.shape->at(0).value, 0);
  EXPECT_TRUE(back.graph.outputs.at(0).type.shape.value().empty());
  EXPECT_NE(bytes.find(message([](Writer& w) { w.add_float(2, 0); })), std::string::npos);
}

TEST(WriteModel, TensorsOfAnySize) {
  // Around the size above which data is pointed to and not copied.
  for (const std::int64_t size : {0, 1, 511, 512, 513, 5000}) {
    Model model;
    for (int i = 0; i < 3; ++i) {
      std::vector<std::uint8_t> values(static_cast<std::size_t>(size));
      for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<std::uint8_t>(j + i);
      NamedTensor& named = model.graph.initializers.emplace_back();
      named.name = "w" + std::to_string(i);
      named.tensor = Tensor::of<std::uint8_t>({size}, values);
    }
    model.graph.outputs.emplace_back().name = "y";
    const Model back = read(write_memory(model));
    ASSERT_EQ(back.graph.initializers.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(back.graph.initializers[i].name, model.graph.initializers[i].name);
      EXPECT_EQ(values_of<std::uint8_t>(back.graph.initializers[i].tensor),
                values_of<std::uint8_t>(model.graph.initializers[i].tensor));
    }
    EXPECT_EQ(back.graph.outputs.at(0).name, "y");
  }
}

TEST(WriteModel, RefusesWhatCouldNotBeReadBack) {
  Model model;
  model.graph.initializers.emplace_back().name = "w";
  expect_error(ErrorCode::invalid_argument, "tensor 'w'", [&] { write_memory(model); });

  Model odd;
  odd.graph.nodes.emplace_back().attributes.emplace_back().kind = Attribute::Kind::graph;
  expect_error(ErrorCode::invalid_argument, "expected 1, got 0", [&] { write_memory(odd); });

  // Whatever is written can be read: the deepest model that is not refused is read back.
  int deepest = 0;
  auto body = std::make_shared<const Graph>();
  for (int depth = 1; depth < 500; ++depth) {
    auto outer = std::make_shared<Graph>();
    outer->inputs.emplace_back();
    Attribute& attribute = outer->nodes.emplace_back().attributes.emplace_back();
    attribute.kind = Attribute::Kind::graph;
    attribute.graphs = {body};
    body = outer;
    Model nested;
    nested.graph = *body;
    try {
      read(write_memory(nested));
      deepest = depth;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::limit);
    }
  }
  EXPECT_GE(deepest, 60);
  EXPECT_LT(deepest, 70);
}

TEST(WriteModel, ExternalDataIsEmbedded) {
  const TemporaryFolder folder;
  folder.write("w", raw<float>({1, 2}));
  const Model model =
      read(model_with_graph(graph_with_initializer(tensor_header({2}, 1) + message([](Writer& w) {
                                                     w.add_message(13, entry("location", "w"));
                                                     w.add_int32(14, 1);
                                                   }))),
           folder.path());
  const Model back = read(write_memory(model));
  EXPECT_EQ(values_of<float>(back.graph.initializers.at(0).tensor), (std::vector<float>{1, 2}));
  EXPECT_TRUE(back.graph.initializers.at(0).external.empty());
}

Model large_model() {
  Model model;
  model.ir_version = 10;
  for (const std::int64_t size : {5000, 10, 4096, 9000}) {
    NamedTensor& named = model.graph.initializers.emplace_back();
    named.name = "w" + std::to_string(size);
    std::vector<float> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + size);
    named.tensor = Tensor::of<float>({size}, values);
  }
  return model;
}

void expect_same_weights(const Model& model, const Model& other) {
  ASSERT_EQ(model.graph.initializers.size(), other.graph.initializers.size());
  for (std::size_t i = 0; i < model.graph.initializers.size(); ++i) {
    EXPECT_EQ(values_of<float>(model.graph.initializers[i].tensor),
              values_of<float>(other.graph.initializers[i].tensor));
  }
}

std::size_t files_in(const TemporaryFolder& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

TEST(WriteFile, IsReadBack) {
  const TemporaryFolder folder;
  const Model model = large_model();
  write_file(model, folder / "m.onnx");
  EXPECT_EQ(files_in(folder), 1U);
  EXPECT_EQ(file_bytes(folder / "m.onnx"), write_memory(model));
  expect_same_weights(read_file(folder / "m.onnx"), model);
}

TEST(WriteFile, WeightsGoToASecondFileAboveTheLimit) {
  const TemporaryFolder folder;
  const Model model = large_model();
  write_file(model, folder / "m.onnx", 10000);
  EXPECT_EQ(files_in(folder), 2U);
  EXPECT_LT(std::filesystem::file_size(folder / "m.onnx"), 10000U);
  const Model back = read_file(folder / "m.onnx");
  expect_same_weights(back, model);
  // Offsets are multiples of the page size (onnx.proto); 40 bytes are not worth a page.
  EXPECT_EQ(back.graph.initializers.at(0).external,
            (StringPairs{{"location", "m.onnx.data"}, {"offset", "0"}, {"length", "20000"}}));
  EXPECT_TRUE(back.graph.initializers.at(1).external.empty());
  EXPECT_EQ(back.graph.initializers.at(2).external.at(1).second, "20480");
  expect_error(ErrorCode::limit, "too large", [&] { write_file(model, folder / "n.onnx", 100); });
  EXPECT_EQ(files_in(folder), 2U);
}

TEST(WriteFile, WeightsGoToASecondFileWhereThatIsAskedFor) {
  const TemporaryFolder folder;
  Model model = large_model();
  write_file(model, folder / "m.onnx", ExternalData::always);
  EXPECT_EQ(files_in(folder), 2U);
  EXPECT_LT(std::filesystem::file_size(folder / "m.onnx"), 1000U);
  expect_same_weights(read_file(folder / "m.onnx"), model);
  // Without a large one there is nothing to put there.
  model.graph.initializers = {model.graph.initializers[1]};
  write_file(model, folder / "n.onnx", ExternalData::always);
  EXPECT_EQ(files_in(folder), 3U);
  expect_same_weights(read_file(folder / "n.onnx"), model);
}

TEST(WriteFile, MayReplaceTheFilesThatTheModelLooksInto) {
  const TemporaryFolder folder;
  const Model original = large_model();
  write_file(original, folder / "m.onnx", 10000);
  Model model = read_file(folder / "m.onnx");
  std::swap(model.graph.initializers[0], model.graph.initializers[3]);
  write_file(model, folder / "m.onnx", 10000);
  const Model back = read_file(folder / "m.onnx");
  expect_same_weights(back, model);
  EXPECT_EQ(back.graph.initializers[0].name, "w9000");
}

TEST(WriteFile, LeavesNothingWhereItFails) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  const Model model = large_model();
  expect_error(ErrorCode::file_error, "a folder", [&] { write_file(model, folder / "sub"); });
  expect_error(ErrorCode::file_error, "none/m.onnx",
               [&] { write_file(model, folder / "none/m.onnx"); });
  std::filesystem::create_directory(folder / "m.onnx.data");
  expect_error(ErrorCode::file_error, "m.onnx.data",
               [&] { write_file(model, folder / "m.onnx", 10000); });
  EXPECT_EQ(files_in(folder), 2U);
  expect_error(ErrorCode::file_error, "not a regular file",
               [&] { write_file(model, "/dev/null"); });
}

TEST(SharedModels, AreTheSameAfterWriting) {
  const std::vector<std::string> paths = shared_models();
  if (paths.empty()) GTEST_SKIP() << "no models in $MEZZO_SHARED/models";
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const Model model = read_file(path);
    EXPECT_FALSE(model.graph.nodes.empty());
    const std::string once = write_memory(model);
    const std::string twice = write_memory(read(once));
    EXPECT_TRUE(once == twice);
  }
}

}  // namespace
}  // namespace mezzo::onnx
