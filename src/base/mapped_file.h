// A file seen as memory, read-only.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace mezzo {

/// Maps a whole file. Immutable, so it may be shared between threads.
class MappedFile {
 public:
  /// Throws Error(file_error) where the file does not exist, is no regular file or cannot be
  /// mapped.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

  /// Lets go of the pages in memory; those that are looked at again come back. Where a file is
  /// touched here and there, the kernel maps what it has around each place (16 pages on Linux), so
  /// that a glance at each weight's header makes much of the file count as this process's memory.
  void forget_pages() const noexcept;
  /// The same for the pages that lie wholly in [data, data + bytes), if those are a mapped file's;
  /// for a weight that has been packed and is not read in its own form any more. Nothing happens
  /// to other memory. Thread-safe.
  static void forget_pages(const void* data, std::size_t bytes) noexcept;

 private:
  MappedFile(const char* data, std::size_t size) : data_(data), size_(size) {}
  const char* data_;
  std::size_t size_;
};

}  // namespace mezzo
