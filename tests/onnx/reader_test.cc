// Everything of a model but its tensors and attributes, and what damaged files come to.
#include "onnx/reader.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "bytes.h"

namespace mezzo::onnx {
namespace {

const std::string kUnknown = message([](Writer& w) {
  w.add_string(100, "later");
  w.add_fixed32(101, 5);
  w.add_int64(102, -1);
  w.add_fixed64(103, 6);
});

TEST(ReadModel, ItsOwnFields) {
  const Model model = read(message([](Writer& w) {
                             w.add_int64(1, 10);
                             w.add_string(2, "producer");
                             w.add_string(3, "1.2");
                             w.add_string(4, "org.example");
                             w.add_int64(5, -7);
                             w.add_string(6, "doc");
                             w.add_message(7, message([](Writer& g) { g.add_string(2, "main"); }));
                             w.add_message(8, message([](Writer& o) { o.add_int64(2, 18); }));
                             w.add_message(8, message([](Writer& o) {
                                             o.add_string(1, "ai.onnx.ml");
                                             o.add_int64(2, 3);
                                           }));
                             w.add_message(14, entry("author", "me"));
                             w.add_message(14, entry("license", "mine"));
                           }) +
                           kUnknown);
  EXPECT_EQ(model.ir_version, 10);
  EXPECT_EQ(model.producer_name, "producer");
  EXPECT_EQ(model.producer_version, "1.2");
  EXPECT_EQ(model.domain, "org.example");
  EXPECT_EQ(model.model_version, -7);
  EXPECT_EQ(model.doc_string, "doc");
  EXPECT_EQ(model.graph.name, "main");
  ASSERT_EQ(model.opset_imports.size(), 2U);
  EXPECT_EQ(model.opset_imports[0].domain, "");
  EXPECT_EQ(model.opset_imports[0].version, 18);
  EXPECT_EQ(model.opset_imports[1].domain, "ai.onnx.ml");
  EXPECT_EQ(model.metadata, (StringPairs{{"author", "me"}, {"license", "mine"}}));
  EXPECT_EQ(model.unknown, kUnknown);
}

TEST(ReadModel, AGraphThatComesTwiceIsMerged) {
  const std::string one = message([](Writer& w) { w.add_message(11, entry("x", "")); });
  const std::string two = message([](Writer& w) { w.add_message(11, entry("y", "")); });
  const Model model = read(model_with_graph(one) + model_with_graph(two));
  ASSERT_EQ(model.graph.inputs.size(), 2U);
  EXPECT_EQ(model.graph.inputs[1].name, "y");
}

TEST(ReadGraph, ItsFields) {
  const auto value = [](const char* name) {
    return message([&](Writer& w) { w.add_string(1, name); });
  };
  const Model model = read(model_with_graph(message([&](Writer& w) {
                                              w.add_string(2, "g");
                                              w.add_message(5, kTensor);
                                              w.add_string(10, "doc");
                                              w.add_message(11, value("x"));
                                              w.add_message(12, value("y"));
                                              w.add_message(13, value("z"));
                                              w.add_message(14, message([](Writer& a) {
                                                              a.add_string(1, "x");
                                                              a.add_message(2, entry("SCALE", "s"));
                                                            }));
                                              w.add_message(16, entry("k", "v"));
                                            }) +
                                            kUnknown));
  const Graph& graph = model.graph;
  EXPECT_EQ(graph.name, "g");
  EXPECT_EQ(graph.doc_string, "doc");
  EXPECT_EQ(graph.initializers.at(0).name, "t");
  EXPECT_EQ(graph.inputs.at(0).name, "x");
  EXPECT_EQ(graph.outputs.at(0).name, "y");
  EXPECT_EQ(graph.value_infos.at(0).name, "z");
  EXPECT_EQ(graph.quantization.at(0).tensor_name, "x");
  EXPECT_EQ(graph.quantization.at(0).parameters, (StringPairs{{"SCALE", "s"}}));
  EXPECT_EQ(graph.metadata, (StringPairs{{"k", "v"}}));
  EXPECT_EQ(graph.unknown, kUnknown);
}

TEST(ReadNode, ItsFields) {
  const std::string device = message([](Writer& w) { w.add_message(10, entry("gpu", "")); });
  const std::string bytes = message([](Writer& w) {
                              w.add_string(1, "x");
                              w.add_string(1, "");
                              w.add_string(1, "z");
                              w.add_string(2, "y");
                              w.add_string(3, "n");
                              w.add_string(4, "Op");
                              w.add_string(6, "doc");
                              w.add_string(7, "org.example");
                              w.add_string(8, "over");
                              w.add_message(9, entry("k", "v"));
                            }) +
                            device;
  const Model model = read(model_with_graph(message([&](Writer& w) { w.add_message(1, bytes); })));
  const Node& node = model.graph.nodes.at(0);
  EXPECT_EQ(node.inputs, (std::vector<std::string>{"x", "", "z"}));
  EXPECT_EQ(node.outputs, (std::vector<std::string>{"y"}));
  EXPECT_EQ(node.name, "n");
  EXPECT_EQ(node.op_type, "Op");
  EXPECT_EQ(node.doc_string, "doc");
  EXPECT_EQ(node.domain, "org.example");
  EXPECT_EQ(node.overload, "over");
  EXPECT_EQ(node.metadata, (StringPairs{{"k", "v"}}));
  EXPECT_EQ(node.unknown, device);
}

TEST(ReadFunction, ItsFields) {
  const std::string since_version = message([](Writer& w) { w.add_int64(2, 1); });
  const Model model = read(message([&](Writer& w) {
    w.add_message(7, std::string());
    w.add_message(25, message([](Writer& f) {
                        f.add_string(1, "F");
                        f.add_string(4, "x");
                        f.add_string(5, "y");
                        f.add_string(6, "alpha");
                        f.add_message(7, message([](Writer& n) { n.add_string(4, "Relu"); }));
                        f.add_string(8, "doc");
                        f.add_message(9, message([](Writer& o) { o.add_int64(2, 17); }));
                        f.add_string(10, "custom");
                        f.add_message(11, message([](Writer& a) {
                                        a.add_string(1, "beta");
                                        a.add_float(2, 2);
                                        a.add_int32(20, 1);
                                      }));
                        f.add_message(12, entry("y", ""));
                        f.add_string(13, "over");
                        f.add_message(14, entry("k", "v"));
                      }) + since_version);
  }));
  const Function& function = model.functions.at(0);
  EXPECT_EQ(function.name, "F");
  EXPECT_EQ(function.inputs, (std::vector<std::string>{"x"}));
  EXPECT_EQ(function.outputs, (std::vector<std::string>{"y"}));
  EXPECT_EQ(function.attributes, (std::vector<std::string>{"alpha"}));
  EXPECT_EQ(function.nodes.at(0).op_type, "Relu");
  EXPECT_EQ(function.doc_string, "doc");
  EXPECT_EQ(function.opset_imports.at(0).version, 17);
  EXPECT_EQ(function.domain, "custom");
  EXPECT_EQ(function.default_attributes.at(0).f, 2);
  EXPECT_EQ(function.value_infos.at(0).name, "y");
  EXPECT_EQ(function.overload, "over");
  EXPECT_EQ(function.metadata, (StringPairs{{"k", "v"}}));
  EXPECT_EQ(function.unknown, since_version);
}

Type read_type(const std::string& type) {
  const std::string value = message([&](Writer& w) { w.add_message(2, type); });
  return read(model_with_graph(message([&](Writer& w) { w.add_message(11, value); })))
      .graph.inputs.at(0)
      .type;
}

// TypeProto.Tensor in the given field of TypeProto.
std::string tensor_type(std::uint32_t field = 1) {
  const std::string shape = message([](Writer& w) {
    w.add_message(1, message([](Writer& d) { d.add_string(2, "batch"); }));
    w.add_message(1, message([](Writer& d) {
                    d.add_int64(1, 3);
                    d.add_string(3, "DATA_CHANNEL");
                  }));
    w.add_message(1, std::string());
  });
  return message([&](Writer& w) {
    w.add_message(field, message([&](Writer& t) {
                    t.add_int32(1, 10);
                    t.add_message(2, shape);
                  }));
  });
}

TEST(ReadType, Tensors) {
  const Type type = read_type(tensor_type() + message([](Writer& w) { w.add_string(6, "IMAGE"); }));
  EXPECT_EQ(type.kind, Type::Kind::tensor);
  EXPECT_EQ(type.dtype, DType::f16);
  EXPECT_EQ(type.denotation, "IMAGE");
  ASSERT_EQ(type.shape.value().size(), 3U);
  EXPECT_EQ(type.shape->at(0).param, "batch");
  EXPECT_FALSE(type.shape->at(0).value.has_value());
  EXPECT_EQ(type.shape->at(1).value, 3);
  EXPECT_EQ(type.shape->at(1).denotation, "DATA_CHANNEL");
  EXPECT_FALSE(type.shape->at(2).value.has_value());
  EXPECT_EQ(read_type(tensor_type(8)).kind, Type::Kind::sparse_tensor);
}

TEST(ReadType, ShapeAbsentOrEmptyOrZero) {
  const auto with = [](auto fill) {
    return read_type(message([&](Writer& w) { w.add_message(1, message(fill)); }));
  };
  EXPECT_FALSE(with([](Writer& w) { w.add_int32(1, 1); }).shape.has_value());
  const Type scalar = with([](Writer& w) { w.add_message(2, std::string()); });
  ASSERT_TRUE(scalar.shape.has_value());
  EXPECT_TRUE(scalar.shape->empty());
  const Type zero = with([](Writer& w) {
    w.add_message(2, message([](Writer& s) {
                    s.add_message(1, message([](Writer& d) { d.add_int64(1, 0); }));
                  }));
  });
  EXPECT_EQ(zero.shape.value().at(0).value, 0);
}

TEST(ReadType, Containers) {
  const auto wrap = [](std::uint32_t field, std::uint32_t element, const std::string& type) {
    return message([&](Writer& w) {
      w.add_message(field, message([&](Writer& s) {
                      if (field == 5) s.add_int32(1, 8);
                      s.add_message(element, type);
                    }));
    });
  };
  const Type sequence = read_type(wrap(4, 1, tensor_type()));
  EXPECT_EQ(sequence.kind, Type::Kind::sequence);
  EXPECT_EQ(sequence.element->dtype, DType::f16);
  const Type optional = read_type(wrap(9, 1, wrap(4, 1, tensor_type())));
  EXPECT_EQ(optional.kind, Type::Kind::optional);
  EXPECT_EQ(optional.element->element->kind, Type::Kind::tensor);
  const Type map = read_type(wrap(5, 2, tensor_type()));
  EXPECT_EQ(map.kind, Type::Kind::map);
  EXPECT_EQ(map.dtype, DType::string);
  EXPECT_EQ(map.element->dtype, DType::f16);
  const std::string opaque = message([](Writer& w) { w.add_message(7, entry("d", "n")); });
  EXPECT_EQ(read_type(opaque).kind, Type::Kind::opaque);
  EXPECT_EQ(read_type(opaque).unknown, opaque);
}

TEST(ReadType, OfAOneofTheLastCounts) {
  const Type type =
      read_type(tensor_type() + message([](Writer& w) { w.add_message(4, std::string()); }));
  EXPECT_EQ(type.kind, Type::Kind::sequence);
  EXPECT_EQ(type.dtype, DType::undefined);
  EXPECT_FALSE(type.shape.has_value());
}

TEST(ReadType, RefusesUnknownElementTypes) {
  for (const std::int32_t number : {-1, 29, 1000}) {
    expect_error(ErrorCode::damaged_file, "unknown element type", [&] {
      read_type(message([&](Writer& w) {
        w.add_message(1, message([&](Writer& t) { t.add_int32(1, number); }));
      }));
    });
  }
}

std::string nested_bodies(int count) {
  std::string graph;
  for (int i = 0; i < count; ++i) {
    const std::string attribute = message([&](Writer& w) {
      w.add_message(6, graph);
      w.add_int32(20, 5);
    });
    const std::string node = message([&](Writer& w) { w.add_message(5, attribute); });
    graph = message([&](Writer& w) { w.add_message(1, node); });
  }
  return model_with_graph(graph);
}

std::string nested_types(int count) {
  std::string type;
  for (int i = 0; i < count; ++i) {
    type = message(
        [&](Writer& w) { w.add_message(4, message([&](Writer& s) { s.add_message(1, type); })); });
  }
  const std::string value = message([&](Writer& w) { w.add_message(2, type); });
  return model_with_graph(message([&](Writer& w) { w.add_message(11, value); }));
}

TEST(ReadModel, NestingIsLimited) {
  EXPECT_EQ(read(nested_bodies(60)).graph.nodes.size(), 1U);
  EXPECT_EQ(read(nested_types(90)).graph.inputs.size(), 1U);
  for (const int count : {100, 10000}) {
    expect_error(ErrorCode::limit, "nested too deeply", [&] { read(nested_bodies(count)); });
    expect_error(ErrorCode::limit, "nested too deeply", [&] { read(nested_types(count)); });
  }
}

TEST(ReadModel, RefusesWhatIsNoModel) {
  const auto refuse = [](std::string_view text, const std::string& bytes) {
    expect_error(ErrorCode::damaged_file, text, [&] { read(bytes); });
  };
  refuse("empty", "");
  refuse("no graph", message([](Writer& w) { w.add_int64(1, 8); }));
  refuse("Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  refuse("unknown wire type", "<!DOCTYPE html>");
  refuse("invalid field number", std::string("\x00\x01", 2));
  refuse("more than 64 bits", "\x08" + std::string(11, '\xFF'));
  refuse("expected length-delimited, got varint", message([](Writer& w) { w.add_int64(7, 1); }));
}

TEST(ReadModel, SaysWhereTheDamageIs) {
  const std::string node = message([](Writer& w) {
    w.add_string(4, "Conv");
    w.add_string(3, "conv1");
    w.add_int64(7, 1);  // the domain is a string
  });
  const std::string bytes = model_with_graph(message([&](Writer& w) { w.add_message(1, node); }));
  // Model: ir_version 2 bytes, graph's tag and length 2; graph: node's tag and length 2; node: 6
  // + 7.
  expect_error(ErrorCode::damaged_file, "node 0 Conv 'conv1': byte 19 (NodeProto)",
               [&] { read(bytes); });
}

TEST(ReadModel, LengthsAbove4GBAreNotCutOff) {
  // graph with the length 2^32: whoever counts in 32 bits takes it for an empty one.
  const std::string bytes("\x3A\x80\x80\x80\x80\x10", 6);
  expect_error(ErrorCode::damaged_file, "got 4294967296", [&] { read(bytes); });
}

// Each byte cut off, and each byte changed: an Error or a model, but nothing else.
TEST(ReadModel, SurvivesDamage) {
  const std::string graph = message([&](Writer& w) {
    w.add_message(5, kTensor);
    w.add_message(11, message([&](Writer& v) {
                    v.add_string(1, "x");
                    v.add_message(2, tensor_type());
                  }));
    w.add_message(1, message([&](Writer& n) {
                    n.add_string(1, "x");
                    n.add_message(5, message([](Writer& a) {
                                    a.add_string(1, "axes");
                                    a.add_int64(8, 3);
                                    a.add_int32(20, 7);
                                  }));
                  }));
  });
  const std::string good = model_with_graph(graph);
  ASSERT_EQ(read(good).graph.nodes.size(), 1U);
  int errors = 0;
  const auto try_one = [&](const std::string& bytes) {
    try {
      read(bytes);
    } catch (const Error&) {
      ++errors;
    }
  };
  for (std::size_t size = 0; size < good.size(); ++size) {
    errors = 0;
    try_one(good.substr(0, size));
    EXPECT_EQ(errors, 1) << "cut off after byte " << size;
  }
  errors = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(value);
      try_one(bytes);
    }
  }
  EXPECT_GT(errors, 1000);
}

TEST(ReadFile, SaysWhichFile) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::file_error, "none.onnx", [&] { read_file(folder / "none.onnx"); });
  expect_error(ErrorCode::file_error, "a folder", [&] { read_file(folder.path()); });
  const std::string path = folder.write("bad.onnx", "\x3A\x7F");
  expect_error(ErrorCode::damaged_file, "bad.onnx': byte 0 (ModelProto)", [&] { read_file(path); });
}

TEST(ReadFile, TensorsOutliveTheModel) {
  const TemporaryFolder folder;
  const std::string path = folder.write(
      "m.onnx", model_with_graph(graph_with_initializer(tensor_header({2}, 2) + raw_field("ab"))));
  const Tensor tensor = read_file(path).graph.initializers.at(0).tensor;
  std::filesystem::remove(path);
  EXPECT_EQ(values_of<std::uint8_t>(tensor), (std::vector<std::uint8_t>{'a', 'b'}));
}

}  // namespace
}  // namespace mezzo::onnx
