#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "mezzo/error.h"

namespace mezzo {
namespace {

Error cannot_open(const std::string& path, const char* reason) {
  return Error(ErrorCode::file_error, "cannot open the file").at("'" + path + "'").got(reason);
}

// Where all mapped files lie: by their first byte the one behind their last. A tensor does not know
// what kind of memory it looks at.
class Mappings {
 public:
  void add(std::uintptr_t begin, std::size_t size) {
    const std::lock_guard lock(mutex_);
    ends_[begin] = begin + size;
  }
  void remove(std::uintptr_t begin) {
    const std::lock_guard lock(mutex_);
    ends_.erase(begin);
  }
  // While `use` runs, what it uses stays mapped.
  template <class Use>
  void with_range(std::uintptr_t begin, std::uintptr_t end, const Use& use) {
    const std::lock_guard lock(mutex_);
    const auto next = ends_.upper_bound(begin);
    if (next == ends_.begin() || end > std::prev(next)->second) return;
    use();
  }

 private:
  std::mutex mutex_;
  std::map<std::uintptr_t, std::uintptr_t> ends_;
};

// Alive until the process ends: a file may be closed by a destructor that runs late.
Mappings& mappings() {
  static auto* const all = new Mappings;
  return *all;
}

std::uintptr_t address(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    throw cannot_open(path.c_str(), "a zero byte in the path");
  // O_NONBLOCK: opening a FIFO must fail below, not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw cannot_open(path, std::strerror(errno));
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    const int error = errno;
    ::close(fd);
    throw cannot_open(path, std::strerror(error));
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(fd);
    throw cannot_open(path, S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      ::close(fd);
      throw cannot_open(path, std::strerror(error));
    }
  }
  ::close(fd);
  if (size > 0) mappings().add(address(data), size);
  return std::shared_ptr<const MappedFile>(new MappedFile(static_cast<const char*>(data), size));
}

void MappedFile::forget_pages() const noexcept {
  // The mapping is private and never written, so that this loses nothing.
  if (size_ > 0) ::madvise(const_cast<char*>(data_), size_, MADV_DONTNEED);
}

void MappedFile::forget_pages(const void* data, std::size_t bytes) noexcept {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t begin = address(data), end = begin + bytes;
  const std::uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
  if (first >= last) return;
  mappings().with_range(
      begin, end, [&] { ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED); });
}

MappedFile::~MappedFile() {
  if (size_ > 0) mappings().remove(address(data_));
  if (size_ > 0) ::munmap(const_cast<char*>(data_), size_);
}

}  // namespace mezzo
