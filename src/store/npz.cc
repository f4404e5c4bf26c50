#include "store/npz.h"

#include "mezzo/error.h"
#include "store/npy.h"
#include "store/utf8.h"

namespace mezzo::store {
namespace {

constexpr std::string_view kSuffix = ".npy";

ZipReader open_archive(const std::string& path, const MappedFile& file) {
  try {
    return ZipReader({file.data(), file.size()});
  } catch (Error& error) {
    error.add_place("'" + path + "'");
    throw;
  }
}

}  // namespace

NpzReader::NpzReader(const std::string& path)
    : path_(path), file_(MappedFile::open(path)), archive_(open_archive(path, *file_)) {
  for (const std::string& member : archive_.names()) {
    if (!member.ends_with(kSuffix)) continue;
    names_.push_back(member.substr(0, member.size() - kSuffix.size()));
  }
}

Tensor NpzReader::read(const std::string& name, DType expected) const {
  const std::string member = name + std::string(kSuffix);
  if (!archive_.contains(member)) {
    throw Error(ErrorCode::invalid_argument, "no tensor of that name")
        .at("'" + path_ + "'")
        .got(quoted(name));
  }
  try {
    const ZipReader::Contents contents = archive_.read(member);
    return decode_npy(contents.bytes, expected);
  } catch (Error& error) {
    error.add_place("'" + path_ + "', " + quoted(name));
    throw;
  }
}

void NpzWriter::add(const std::string& name, const Tensor& tensor) {
  const NpyEncoding encoding = encode_npy(tensor);
  archive_.add(name + std::string(kSuffix), encoding.header, encoding.data);
}

}  // namespace mezzo::store
