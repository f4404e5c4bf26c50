// ZIP archives, as far as .npz needs them.
//
// PKWARE's APPNOTE 6.3.10 (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT). Read:
// stored and deflated members, with and without the 64-bit extensions. Written: stored members,
// always with the 64-bit extensions, so that the files beyond 4 GiB take no other way than those
// that are tested.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/new_file.h"

namespace mezzo::store {

/// An archive's members. Immutable: may be read from several threads.
class ZipReader {
 public:
  /// Looks at `bytes`, which must stay. Throws Error(file_error) where the archive is damaged,
  /// Error(unsupported) where it is split over several files.
  explicit ZipReader(std::string_view bytes);

  /// In the order of the archive's directory.
  const std::vector<std::string>& names() const noexcept { return names_; }
  bool contains(const std::string& name) const { return members_.contains(name); }
  /// A member's contents: a view of the archive where it is stored, of `buffer` where it had to be
  /// decompressed.
  struct Contents {
    std::string_view bytes;
    std::shared_ptr<const void> buffer;
  };
  /// Checks the CRC-32. Throws Error(file_error) where the member is damaged, Error(unsupported)
  /// for encryption and other methods, Error(invalid_argument) where there is no such member.
  Contents read(const std::string& name) const;

 private:
  struct Member {
    std::uint32_t flags = 0, method = 0, crc = 0;
    std::uint64_t compressed_size = 0, size = 0, header_begin = 0;
  };

  void read_directory(std::uint64_t begin, std::uint64_t size, std::uint64_t count);
  void refuse_overlaps(std::uint64_t directory_begin) const;

  std::string_view bytes_;
  std::vector<std::string> names_;
  std::map<std::string, Member> members_;
};

/// Writes an archive of stored members. Not thread-safe.
class ZipWriter {
 public:
  explicit ZipWriter(std::string path) : file_(std::move(path)) {}

  /// Adds a member that consists of `head` and `tail`. Throws Error(invalid_argument) for a name
  /// that was used before, is not UTF-8, holds a zero character or is longer than 65,535 bytes.
  void add(const std::string& name, std::string_view head, std::string_view tail);
  /// Writes the directory. Without it there is no file.
  void finish();

 private:
  struct Member {
    std::uint32_t crc = 0;
    std::uint64_t size = 0, header_begin = 0;
  };

  void write(std::string_view bytes);

  NewFile file_;
  std::uint64_t position_ = 0;
  std::vector<std::string> names_;
  std::map<std::string, Member> members_;
};

}  // namespace mezzo::store
