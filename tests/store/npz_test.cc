#include "store/npz.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "mezzo/error.h"
#include "store/npy.h"

namespace mezzo::store {
namespace {

class Npz : public testing::Test {
 protected:
  Npz() : path_(testing::TempDir() + "mezzo_npz_test.npz") {}
  ~Npz() override { std::filesystem::remove(path_); }

  std::string contents() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void replace(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

  const std::string path_;
};

TEST_F(Npz, GivesBackWhatWasAdded) {
  NpzWriter writer(path_);
  writer.add("stage1/block1/add", Tensor::of<float>({2}, {1, 2}));
  writer.add("empty", Tensor(DType::f32, {0}));
  writer.add("labels", Tensor::of<std::string>({2}, {"cat", ""}));
  writer.finish();

  const NpzReader reader(path_);
  EXPECT_EQ(reader.names(), (std::vector<std::string>{"stage1/block1/add", "empty", "labels"}));
  const Tensor sum = reader.read("stage1/block1/add"), labels = reader.read("labels");
  EXPECT_EQ(sum.values<float>()[1], 2.0f);
  EXPECT_EQ(reader.read("empty").shape(), (Shape{0}));
  EXPECT_EQ(labels.values<std::string>()[0], "cat");
  EXPECT_THROW(reader.read("stage1"), Error);
}

TEST_F(Npz, KnowsNarrowTypesWhenTold) {
  NpzWriter writer(path_);
  writer.add("b", Tensor::of<BFloat16>({1}, {to_bfloat16(1.5f)}));
  writer.finish();
  const Tensor tensor = NpzReader(path_).read("b", DType::bf16);
  EXPECT_EQ(to_float(tensor.values<BFloat16>()[0]), 1.5f);
}

TEST_F(Npz, DoesNotAppearUntilItIsFinished) {
  {
    NpzWriter writer(path_);
    writer.add("a", Tensor::scalar(1.0f));
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".partial"));
}

TEST_F(Npz, RefusesNamesThatCannotBeKept) {
  NpzWriter writer(path_);
  writer.add("a", Tensor::scalar(1.0f));
  EXPECT_THROW(writer.add("a", Tensor::scalar(2.0f)), Error);
  EXPECT_THROW(writer.add(std::string("a\0b", 3), Tensor::scalar(2.0f)), Error);
  EXPECT_THROW(writer.add("\xFF", Tensor::scalar(2.0f)), Error);
  EXPECT_THROW(writer.add(std::string(70000, 'a'), Tensor::scalar(2.0f)), Error);
}

TEST_F(Npz, EveryPrefixIsRefused) {
  NpzWriter writer(path_);
  writer.add("a", Tensor::of<float>({2}, {1, 2}));
  writer.add("b/c", Tensor::scalar(1.0f));
  writer.finish();
  const std::string whole = contents();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(ZipReader(std::string_view(whole).substr(0, size)), Error) << size;
  }
}

// Whatever a byte is changed to, the tensor is what it was or an Error says what is wrong.
TEST_F(Npz, EveryChangedByteIsHarmless) {
  NpzWriter writer(path_);
  writer.add("a", Tensor::of<float>({2}, {1, 2}));
  writer.finish();
  const std::string whole = contents();
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char change : {'\x01', '\x80', '\xFF'}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      try {
        const ZipReader archive{std::string_view(bytes)};
        for (const std::string& name : archive.names()) {
          const ZipReader::Contents contents = archive.read(name);
          const Tensor tensor = decode_npy(contents.bytes);
          EXPECT_EQ(tensor.values<float>()[1], 2.0f) << at;
        }
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  // All of the 136 bytes that the checksum covers, to name some.
  EXPECT_GT(refused, 3 * 136);
}

TEST_F(Npz, NamesTheFileAndTheTensor) {
  NpzWriter writer(path_);
  writer.add("a/b", Tensor::of<float>({2}, {1, 2}));
  writer.finish();
  std::string bytes = contents();
  bytes[bytes.find("\x93NUMPY") + 130] ^= 1;
  replace(bytes);
  try {
    NpzReader(path_).read("a/b");
    FAIL() << "no Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::file_error);
    EXPECT_NE(error.place().find(path_), std::string::npos);
    EXPECT_NE(error.place().find("'a/b'"), std::string::npos);
    EXPECT_NE(error.problem().find("checksum"), std::string::npos);
  }
}

}  // namespace
}  // namespace mezzo::store
