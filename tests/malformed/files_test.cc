// Files that are no models, protobuf that is none, tensors that do not fit their data, and external
// data that is not beside the model.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <protozero/pbf_writer.hpp>
#include <random>

#include "../onnx/bytes.h"
#include "attempt.h"
#include "valid_models.h"

namespace mezzo::malformed {
namespace {

using onnx::message;
using onnx::Writer;

TEST(MalformedFiles, OtherFiles) {
  const onnx::TemporaryFolder folder;
  const std::pair<const char*, std::string> contents[] = {
      {"empty", ""},
      {"zeros", std::string(1000, '\0')},
      {"ones", std::string(1000, '\xFF')},
      {"text", "This is no model.\n"},
      {"JSON", "{\"ir_version\": 8}"},
      {"Python", "import onnx\n"},
      {"a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"},
      {"PNG", "\x89PNG\r\n\x1a\n"},
      {"ZIP", "PK\x03\x04\x14"},
      {"gzip", "\x1f\x8b\x08"},
      {"NumPy", "\x93NUMPY\x01"},
      {"ELF",
       "\x7F"
       "ELF\x02\x01\x01"},
      {"HTML", "<!DOCTYPE html><html>"},
      {"only a version", std::string("\x08\x08", 2)},
      {"only producers",
       "\x12\x03"
       "abc"},
  };
  for (const auto& [name, bytes] : contents) {
    expect_error(name, attempt_bytes(name, bytes));
    expect_error(name, attempt_file(name, folder.write("file.onnx", bytes)), "file.onnx");
  }
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::string noise(1 + random() % 500, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    const std::string name = "noise " + std::to_string(seed);
    expect_error(name, attempt_bytes(name, noise));
  }
}

TEST(MalformedFiles, WhatIsNoFile) {
  const onnx::TemporaryFolder folder;
  expect_error("a folder", attempt_file("a folder", folder.path().string()), "a folder");
  expect_error("nothing", attempt_file("nothing", folder / "none"), "No such file");
  expect_error("no name", attempt_file("no name", ""));
  expect_error("a zero", attempt_file("a zero", std::string("a\0b", 3)), "zero byte");
  expect_error("a device", attempt_file("a device", "/dev/zero"), "not a regular file");
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  expect_error("a FIFO", attempt_file("a FIFO", folder / "fifo"), "not a regular file");
  std::filesystem::create_symlink("loop", folder.path() / "loop");
  expect_error("a link to itself", attempt_file("a link to itself", folder / "loop"));
}

TEST(MalformedFiles, Protobuf) {
  const std::string valid = onnx::write_memory(onnx::convolution_model());
  const std::pair<const char*, std::string> tails[] = {
      {"field number 0", std::string("\x00\x01", 2)},
      {"a group", "\x0B\x0C"},
      {"the end of a group", "\x0C"},
      {"wire type 6", "\x0E\x01"},
      {"wire type 7", "\x0F\x01"},
      {"a length without bytes", "\x3A\x7F"},
      {"a length of 2^31", "\x3A\x80\x80\x80\x80\x08"},
      {"a length of 2^32 and 1",
       "\x3A\x81\x80\x80\x80\x10"
       "a"},
      {"a length of 2^63", "\x3A\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"},
      {"a number of 11 bytes", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"},
      {"a number without an end", "\x08\x80\x80"},
      {"a tag without an end", "\x80"},
      {"four bytes of which one is there", "\x0D\x01"},
      {"eight bytes of which one is there", "\x09\x01"},
      {"a graph that is a number", "\x38\x01"},
      {"an opset that is a number", "\x40\x01"},
      {"a name that is a number", "\x10\x01"},
      {"a version that is text",
       "\x0A\x01"
       "1"},
  };
  for (const auto& [name, tail] : tails) expect_error(name, attempt_bytes(name, valid + tail));

  // Every field of a graph, node, tensor and attribute with each other wire type.
  const auto wrapped = [](std::uint32_t level, const std::string& inner) {
    const std::uint32_t graph_field[] = {0, 1, 5, 11, 15};
    const std::string graph =
        level == 0 ? inner : message([&](Writer& w) { w.add_message(graph_field[level], inner); });
    return onnx::model_with_graph(graph);
  };
  int errors = 0;
  for (std::uint32_t level = 0; level < 5; ++level) {
    for (std::uint32_t field = 1; field < 26; ++field) {
      for (const std::string& wrong :
           {message([&](Writer& w) { w.add_uint64(field, 5); }),
            message([&](Writer& w) { w.add_fixed32(field, 5); }),
            message([&](Writer& w) { w.add_fixed64(field, 5); }),
            message([&](Writer& w) { w.add_string(field, "\xFF\xFF\xFF"); })}) {
        const std::string name =
            "level " + std::to_string(level) + ", field " + std::to_string(field);
        if (attempt_bytes(name, wrapped(level, wrong))) ++errors;
      }
    }
  }
  EXPECT_GT(errors, 200);
}

TEST(MalformedFiles, NestingWithoutEnd) {
  // A body in a body in a body; a type of a type; each level wraps what was there.
  std::string body = message([](Writer& w) { w.add_string(2, "innermost"); });
  for (int depth = 0; depth < 10'000; ++depth) {
    const std::string attribute = message([&](Writer& w) {
      w.add_string(1, "then_branch");
      w.add_message(6, body);
    });
    const std::string node = message([&](Writer& w) {
      w.add_string(4, "If");
      w.add_message(5, attribute);
    });
    body = message([&](Writer& w) { w.add_message(1, node); });
  }
  expect_error("10,000 bodies", attempt_bytes("bodies", onnx::model_with_graph(body)), "deeply");

  std::string type;
  for (int depth = 0; depth < 10'000; ++depth) {
    const std::string element = message([&](Writer& w) { w.add_message(1, type); });
    type = message([&](Writer& w) { w.add_message(depth % 2 == 0 ? 4 : 9, element); });
  }
  const std::string info = message([&](Writer& w) {
    w.add_string(1, "x");
    w.add_message(2, type);
  });
  const std::string graph = message([&](Writer& w) { w.add_message(11, info); });
  expect_error("10,000 types", attempt_bytes("types", onnx::model_with_graph(graph)), "deeply");
}

TEST(MalformedFiles, Tensors) {
  const auto refuse = [](const std::string& name, const std::string& tensor) {
    expect_error(name,
                 attempt_bytes(name, onnx::model_with_graph(onnx::graph_with_initializer(tensor))));
  };
  const auto floats = [](std::initializer_list<std::int64_t> dims) {
    return onnx::tensor_header(dims, 1);
  };
  refuse("a negative extent", floats({-1}));
  refuse("a product beyond 64 bits", floats({1LL << 32, 1LL << 32}));
  refuse("bytes beyond 64 bits", floats({1LL << 62}));
  refuse("a product beyond 64 bits, and 0", floats({1LL << 40, 1LL << 40, 0}));
  refuse("a terabyte without data", floats({1LL << 38}));
  refuse("no type", message([](Writer& w) { w.add_string(8, "w"); }));
  for (const std::int32_t type : {-1, 29, 99, INT32_MAX, INT32_MIN}) {
    refuse("type " + std::to_string(type), onnx::tensor_header({1}, type));
  }
  for (std::int32_t type = 1; type < kDTypeCount; ++type) {
    const std::string name = "type " + std::to_string(type) + ", ";
    refuse(name + "no data", onnx::tensor_header({3}, type));
    refuse(name + "a byte too few",
           onnx::tensor_header({1000}, type) +
               onnx::raw_field(std::string(bytes_of(static_cast<DType>(type), 1000) / 2 - 1, 1)));
    refuse(name + "a byte too many",
           onnx::tensor_header({1}, type) + onnx::raw_field(std::string(99, 1)));
    refuse(name + "two places", onnx::tensor_header({1}, type) + onnx::raw_field("1") +
                                    message([](Writer& w) { w.add_int32(5, 1); }));
    refuse(name + "numbers of another type",
           onnx::tensor_header({1}, type) +
               message([&](Writer& w) { type == 11 ? w.add_float(4, 1) : w.add_double(10, 1); }));
  }
}

// A model of the one initializer "w" with the external data that `entries` describe.
std::string external_model(const std::vector<std::pair<std::string, std::string>>& entries,
                           std::int64_t elements = 4) {
  return onnx::model_with_graph(
      onnx::graph_with_initializer(onnx::tensor_header({elements}, 1) + message([&](Writer& w) {
                                     for (const auto& [key, value] : entries) {
                                       w.add_message(13, onnx::entry(key, value));
                                     }
                                     w.add_int32(14, 1);
                                   })));
}

TEST(MalformedFiles, ExternalData) {
  const onnx::TemporaryFolder outside, folder;
  outside.write("secret", std::string(100, 's'));
  folder.write("data", std::string(16, 'd'));
  std::filesystem::create_directory(folder.path() / "sub");
  std::filesystem::create_symlink(outside / "secret", folder.path() / "link");
  std::filesystem::create_directory_symlink(outside.path(), folder.path() / "linked");
  std::filesystem::create_symlink("circle", folder.path() / "circle");
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);

  const auto attempt_here = [&](const std::string& name, const std::string& bytes) {
    return attempt_file(name, folder.write("model.onnx", bytes));
  };
  EXPECT_FALSE(attempt_here("good", external_model({{"location", "data"}})));
  for (const std::string& location : {std::string("../secret"),
                                      outside / "secret",
                                      std::string("sub/../../x"),
                                      std::string("linked/../secret"),
                                      std::string("link"),
                                      std::string("linked/secret"),
                                      std::string("/etc/passwd"),
                                      std::string("/dev/zero"),
                                      std::string("."),
                                      std::string(".."),
                                      std::string("sub"),
                                      std::string("fifo"),
                                      std::string("circle"),
                                      std::string("missing"),
                                      std::string(""),
                                      std::string("data\0", 5),
                                      std::string("data/"),
                                      std::string("sub/data"),
                                      std::string(5000, 'x'),
                                      std::string("model.onnx/data")}) {
    const std::string name = "location '" + location.substr(0, 40) + "'";
    expect_error(name, attempt_here(name, external_model({{"location", location}})));
  }
  const std::pair<const char*, const char*> numbers[] = {{"offset", "1"},
                                                         {"offset", "17"},
                                                         {"offset", "18446744073709551615"},
                                                         {"offset", "-1"},
                                                         {"offset", "1e3"},
                                                         {"offset", "0x0"},
                                                         {"offset", ""},
                                                         {"offset", " 0"},
                                                         {"offset", "99999999999999999999999999"},
                                                         {"length", "15"},
                                                         {"length", "17"},
                                                         {"length", "-16"},
                                                         {"length", "0"},
                                                         {"length", "sixteen"},
                                                         {"length", "18446744073709551615"},
                                                         {"length", "16 "},
                                                         {"offset", "9223372036854775807"}};
  for (const auto& [key, number] : numbers) {
    const std::string name = std::string(key) + " '" + number + "'";
    expect_error(name, attempt_here(name, external_model({{"location", "data"}, {key, number}})));
  }
  expect_error("no entries", attempt_here("no entries", external_model({})));
  expect_error("too large", attempt_here("too large", external_model({{"location", "data"}}, 5)));
  expect_error("a terabyte",
               attempt_here("a terabyte", external_model({{"location", "data"}}, 1LL << 38)));
  // From memory there is no folder to look in.
  expect_error("memory", attempt_bytes("memory", external_model({{"location", "data"}})));
}

}  // namespace
}  // namespace mezzo::malformed
