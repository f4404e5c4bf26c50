#include "store/new_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "mezzo/error.h"

namespace mezzo::store {
namespace {

Error cannot_write(const std::string& path) {
  return Error(ErrorCode::file_error, "cannot write the file")
      .at("'" + path + "'")
      .got(std::strerror(errno));
}

}  // namespace

NewFile::NewFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {
  if (path_.find('\0') != std::string::npos) {
    throw Error(ErrorCode::file_error, "cannot write the file")
        .at(std::string("'") + path_.c_str() + "'")
        .got("a zero byte in the path");
  }
  stream_.open(partial_, std::ios::binary | std::ios::trunc);
  if (!stream_) throw cannot_write(path_);
}

NewFile::~NewFile() {
  if (committed_) return;
  stream_.close();
  std::remove(partial_.c_str());
}

void NewFile::write(std::string_view bytes) {
  stream_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!stream_) throw cannot_write(path_);
}

void NewFile::commit() {
  stream_.close();
  if (!stream_ || std::rename(partial_.c_str(), path_.c_str()) != 0) throw cannot_write(path_);
  committed_ = true;
}

}  // namespace mezzo::store
