#include "onnx/writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "mezzo/error.h"
#include "onnx/encode.h"

namespace mezzo::onnx {
namespace {

Error too_large(std::size_t bytes, std::size_t limit) {
  return Error(ErrorCode::limit, "the model is too large for one protobuf message")
      .expected("at most " + std::to_string(limit) + " bytes")
      .got(std::to_string(bytes));
}

/// A file that appears under its name when it is complete, and leaves nothing when it is not.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path) : path_(path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
      throw failed(S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
    }
    // Several threads and processes may write the same model.
    static std::atomic<unsigned> counter{0};
    temporary_ =
        path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) throw failed(std::strerror(errno));
  }

  ~OutputFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!renamed_) ::unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        throw failed(std::strerror(errno));
      }
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void zeros(std::uint64_t count) {
    static constexpr char kZeros[4096] = {};
    for (; count > 0; count -= std::min<std::uint64_t>(count, sizeof(kZeros))) {
      write({kZeros, static_cast<std::size_t>(std::min<std::uint64_t>(count, sizeof(kZeros)))});
    }
  }

  /// Ends writing; what the file system had put off fails here.
  void close() {
    const int result = ::close(fd_);
    fd_ = -1;
    if (result != 0) throw failed(std::strerror(errno));
  }

  void rename() {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw failed(std::strerror(errno));
    renamed_ = true;
  }

 private:
  Error failed(const char* reason) const {
    return Error(ErrorCode::file_error, "cannot write the file").at("'" + path_ + "'").got(reason);
  }

  std::string path_, temporary_;
  int fd_ = -1;
  bool renamed_ = false;
};

void write_message(const Encoder& message, OutputFile& file) {
  message.pour([&](std::string_view bytes) { file.write(bytes); });
  file.close();
}

void write_data(const DataFile& data, OutputFile& file) {
  std::uint64_t position = 0;
  for (const DataFile::Piece& piece : data.pieces) {
    file.zeros(piece.offset - position);
    file.write(piece.bytes);
    position = piece.offset + piece.bytes.size();
  }
  file.close();
}

void write_with_data(const Model& model, const std::string& path, std::size_t max_bytes) {
  const std::string data_path = path + ".data";
  DataFile data;
  data.location = data_path.substr(data_path.rfind('/') + 1);  // npos + 1 is 0
  const Encoder small = encode(model, &data);
  if (small.size() > max_bytes) {
    throw too_large(small.size(), max_bytes)
        .hint("Even without its initializers it is; large attributes can be made initializers");
  }
  OutputFile file(path);
  if (data.pieces.empty()) {
    write_message(small, file);
    file.rename();
    return;
  }
  OutputFile data_file(data_path);
  write_data(data, data_file);
  write_message(small, file);
  // Both are complete before either appears. The model's tensors may look into the old files; those
  // live on until they are unmapped.
  data_file.rename();
  file.rename();
}

}  // namespace

std::string write_memory(const Model& model) {
  const Encoder message = encode(model);
  if (message.size() > kMaxMessageBytes) {
    throw too_large(message.size(), kMaxMessageBytes)
        .hint("Write it to a file, and its weights will go to a second one");
  }
  std::string bytes;
  bytes.reserve(message.size());
  message.pour([&](std::string_view piece) { bytes += piece; });
  return bytes;
}

void write_file(const Model& model, const std::string& path, ExternalData external) {
  if (external == ExternalData::always) {
    write_with_data(model, path, kMaxMessageBytes);
  } else {
    write_file(model, path, kMaxMessageBytes);
  }
}

void write_file(const Model& model, const std::string& path, std::size_t max_bytes) {
  const Encoder message = encode(model);
  if (message.size() > max_bytes) return write_with_data(model, path, max_bytes);
  OutputFile file(path);
  write_message(message, file);
  file.rename();
}

}  // namespace mezzo::onnx
