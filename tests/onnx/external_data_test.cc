// External data: found beside the model, and nowhere else.
#include <gtest/gtest.h>

#include <filesystem>

#include "bytes.h"

namespace mezzo::onnx {
namespace {

std::string external(std::initializer_list<std::int64_t> dims, std::int32_t type,
                     const StringPairs& entries) {
  return tensor_header(dims, type) + message([&](Writer& w) {
           for (const auto& [key, value] : entries) w.add_message(13, entry(key, value));
           w.add_int32(14, 1);
         });
}

std::string floats_at(const std::string& location) {
  return external({2}, 1, {{"location", location}, {"offset", "4"}, {"length", "8"}});
}

std::string model_with_floats_at(const std::string& location) {
  return model_with_graph(graph_with_initializer(floats_at(location)));
}

const std::string kData = raw<float>({0, 1.5F, -2, 3});
const std::vector<float> kExpected = {1.5F, -2};

TEST(ExternalData, IsReadAtItsOffset) {
  const TemporaryFolder folder;
  folder.write("weights.bin", kData);
  const NamedTensor tensor = read_one(floats_at("weights.bin"), folder.path());
  EXPECT_EQ(values_of<float>(tensor.tensor), kExpected);
  EXPECT_EQ(tensor.external.at(0),
            (std::pair<std::string, std::string>{"location", "weights.bin"}));
}

TEST(ExternalData, IsFoundBesideTheModelFile) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  folder.write("sub/weights.bin", kData);
  const std::string path = folder.write("m.onnx", model_with_floats_at("./sub/weights.bin"));
  EXPECT_EQ(values_of<float>(read_file(path).graph.initializers.at(0).tensor), kExpected);
}

TEST(ExternalData, LengthAndOffsetMayBeAbsent) {
  const TemporaryFolder folder;
  folder.write("w", kData);
  const NamedTensor tensor = read_one(external({4}, 1, {{"location", "w"}}), folder.path());
  EXPECT_EQ(values_of<float>(tensor.tensor), (std::vector<float>{0, 1.5F, -2, 3}));
}

TEST(ExternalData, LivesAsLongAsTheTensor) {
  const TemporaryFolder folder;
  folder.write("w", kData);
  const NamedTensor tensor = read_one(floats_at("w"), folder.path());
  std::filesystem::remove(folder / "w");
  EXPECT_EQ(values_of<float>(tensor.tensor), kExpected);
}

TEST(ExternalData, RefusesPathsOutOfTheFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "model/sub");
  folder.write("secret", kData);
  std::filesystem::create_symlink("../secret", folder / "model/link");
  std::filesystem::create_directory_symlink("..", folder / "model/up");
  std::filesystem::create_directory(folder / "model2");
  folder.write("model2/secret", kData);
  std::filesystem::create_symlink(folder / "model2/secret", folder / "model/sibling");
  for (const std::string& location :
       {std::string("../secret"), std::string("sub/../../secret"), folder / "secret",
        std::string("link"), std::string("up/secret"), std::string("sibling"),
        std::string("sub/.."), std::string("..")}) {
    expect_error(ErrorCode::invalid_model, "out",
                 [&] { read_one(floats_at(location), folder / "model"); });
  }
  expect_error(ErrorCode::invalid_model, "without a location",
               [&] { read_one(floats_at(""), folder / "model"); });
  expect_error(ErrorCode::invalid_model, "zero byte",
               [&] { read_one(floats_at(std::string("a\0b", 3)), folder / "model"); });
}

TEST(ExternalData, FollowsLinksThatStayInTheFolder) {
  const TemporaryFolder folder;
  folder.write("w", kData);
  std::filesystem::create_symlink("w", folder / "link");
  EXPECT_EQ(values_of<float>(read_one(floats_at("link"), folder.path()).tensor), kExpected);
}

// Model hubs' caches keep a folder of links into a folder of files.
TEST(ExternalData, FollowsLinksToWhereTheModelReallyLies) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "blobs");
  std::filesystem::create_directory(folder / "snapshot");
  folder.write("blobs/1234", model_with_floats_at("model.data"));
  folder.write("blobs/5678", kData);
  std::filesystem::create_symlink("../blobs/1234", folder / "snapshot/model.onnx");
  std::filesystem::create_symlink("../blobs/5678", folder / "snapshot/model.data");
  const Model model = read_file(folder / "snapshot/model.onnx");
  EXPECT_EQ(values_of<float>(model.graph.initializers.at(0).tensor), kExpected);
}

TEST(ExternalData, RefusesRangesThatAreNotInTheFile) {
  const TemporaryFolder folder;
  folder.write("w", kData);
  const auto refuse = [&](std::string_view text, const StringPairs& entries) {
    StringPairs all = {{"location", "w"}};
    all.insert(all.end(), entries.begin(), entries.end());
    expect_error(ErrorCode::invalid_model, text,
                 [&] { read_one(external({2}, 1, all), folder.path()); });
  };
  refuse("beyond the end", {{"offset", "9"}});
  refuse("beyond the end", {{"offset", "17"}});
  refuse("beyond the end", {{"offset", "18446744073709551615"}});
  refuse("expected 8 bytes, got 7", {{"length", "7"}});
  refuse("expected 8 bytes, got 16", {{"length", "16"}});
  for (const char* number : {"-1", "", "x", "1x", " 1", "0x10", "1.0", "18446744073709551616"}) {
    refuse("offset of external data is no valid number", {{"offset", number}});
    refuse("length of external data is no valid number", {{"length", number}});
  }
}

TEST(ExternalData, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  expect_error(ErrorCode::file_error, "absent.bin",
               [&] { read_one(floats_at("absent.bin"), folder.path()); });
  expect_error(ErrorCode::file_error, "a folder",
               [&] { read_one(floats_at("sub"), folder.path()); });
  expect_error(ErrorCode::invalid_model, "no folder is known",
               [&] { read_one(floats_at("w"), ""); });
}

TEST(ExternalData, RefusesStringsAndDataInTwoPlaces) {
  const TemporaryFolder folder;
  folder.write("w", kData);
  expect_error(ErrorCode::damaged_file, "strings as external data", [&] {
    read_one(external({1}, 8, {{"location", "w"}}), folder.path());
  });
  expect_error(ErrorCode::damaged_file, "two places",
               [&] { read_one(floats_at("w") + raw_field("12345678"), folder.path()); });
}

TEST(ExternalData, IsIgnoredWhereTheLocationIsHere) {
  const NamedTensor tensor =
      read_one(tensor_header({1}, 2) + raw_field("a") + message([](Writer& w) {
                 w.add_message(13, entry("location", "../x"));
                 w.add_int32(14, 0);
               }));
  EXPECT_EQ(values_of<std::uint8_t>(tensor.tensor), (std::vector<std::uint8_t>{'a'}));
  EXPECT_TRUE(tensor.external.empty());
}

}  // namespace
}  // namespace mezzo::onnx
