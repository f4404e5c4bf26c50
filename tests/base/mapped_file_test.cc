#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "mezzo/error.h"

namespace mezzo {
namespace {

class MappedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "mezzo-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }

  static void expect_refused(const std::string& path, std::string_view reason) {
    try {
      MappedFile::open(path);
      ADD_FAILURE() << path << " was opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::file_error);
      EXPECT_NE(std::string_view(error.what()).find(reason), std::string_view::npos)
          << error.what();
    }
  }

  std::filesystem::path folder_;
};

TEST_F(MappedFileTest, ShowsTheFile) {
  const std::string bytes = std::string("mapped\0bytes", 12) + std::string(10'000, 'x');
  const auto file = MappedFile::open(write("f", bytes));
  EXPECT_EQ(std::string_view(file->data(), file->size()), bytes);
}

TEST_F(MappedFileTest, ForgottenPagesComeBack) {
  const std::string bytes(100'000, 'y');
  const auto file = MappedFile::open(write("f", bytes));
  EXPECT_EQ(std::string_view(file->data(), file->size()), bytes);
  file->forget_pages();
  EXPECT_EQ(std::string_view(file->data(), file->size()), bytes);
}

// Which pages of [data, data + bytes) are in memory for this process is what mincore does not tell
// of a mapped file, so that only what must not happen is tested: that bytes are lost.
TEST_F(MappedFileTest, ForgetsPartsOfMappedFilesOnly) {
  const std::string bytes(100'000, 'z');
  const auto file = MappedFile::open(write("f", bytes));
  MappedFile::forget_pages(file->data() + 10'000, 50'000);
  MappedFile::forget_pages(file->data(), 200'000);  // beyond its end: not this file's alone
  EXPECT_EQ(std::string_view(file->data(), file->size()), bytes);
  // Memory that no file stands behind would be zeros after it.
  std::vector<char> own(100'000, 'o');
  MappedFile::forget_pages(own.data(), own.size());
  EXPECT_EQ(own, std::vector<char>(100'000, 'o'));
  const char* gone = MappedFile::open(write("g", bytes))->data();
  MappedFile::forget_pages(gone, bytes.size());
}

TEST_F(MappedFileTest, OutlivesTheFilesName) {
  const std::string path = write("f", "still here");
  const auto file = MappedFile::open(path);
  std::filesystem::remove(path);
  EXPECT_EQ(std::string_view(file->data(), file->size()), "still here");
}

TEST_F(MappedFileTest, AnEmptyFileHasNoBytes) {
  const auto file = MappedFile::open(write("empty", ""));
  EXPECT_EQ(file->size(), 0U);
  file->forget_pages();
}

TEST_F(MappedFileTest, RefusesWhatIsNoFile) {
  expect_refused((folder_ / "none").string(), "No such file");
  expect_refused(folder_.string(), "a folder");
  expect_refused(std::string("a\0b", 3), "zero byte");
  expect_refused("/dev/null", "not a regular file");
  // One that nobody writes to must be refused, not waited for.
  const std::string fifo = (folder_ / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_refused(fifo, "not a regular file");
}

}  // namespace
}  // namespace mezzo
