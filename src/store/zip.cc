#include "store/zip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/memory.h"
#include "mezzo/error.h"
#include "store/utf8.h"

namespace mezzo::store {
namespace {

// APPNOTE 4.3: the records' signatures and the sizes of their fixed parts.
constexpr std::uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50,
                        kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50,
                        kLocator64Signature = 0x07064b50;
constexpr std::size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56,
                      kLocator64Size = 20;
constexpr std::uint32_t kStored = 0, kDeflated = 8;
constexpr std::uint32_t kEncrypted = 1, kUtf8Name = 1 << 11;
constexpr std::uint32_t kZip64Extra = 1, kZip64Version = 45;
constexpr std::uint32_t kIn64 = 0xFFFFFFFF;   // "see the 64-bit extension"
constexpr std::uint32_t kCountIn64 = 0xFFFF;  // the same for the number of members
constexpr std::uint32_t kNoDate =
    1 << 5 | 1;  // 1 January 1980, the first there is: the bytes depend on the tensors alone
constexpr std::uint32_t kMadeOnUnix = 3 << 8 | kZip64Version;
constexpr std::uint32_t kMode = 0100644u << 16;  // a plain file, readable by all
constexpr std::size_t kMaxComment = 0xFFFF;
// Deflate makes at most 258 bytes of two bits, and no table or end marker helps: zlib's documents
// say 1032 to 1.
constexpr std::uint64_t kMaxDeflateRatio = 1032;

Error damaged(const std::string& problem) {
  return Error(ErrorCode::file_error, "damaged .npz file: " + problem);
}

Error damaged(const std::string& member, const std::string& problem) {
  return damaged(problem).at(quoted(member));
}

// Reads a record's fields one after the other; that they are within the bytes is checked once for a
// record.
class Fields {
 public:
  Fields(std::string_view bytes, std::uint64_t begin, std::uint64_t size, const char* what) {
    if (begin > bytes.size() || size > bytes.size() - begin) {
      throw damaged(std::string(what) + " is outside the file");
    }
    rest_ = bytes.substr(begin, size);
  }
  explicit Fields(std::string_view rest) : rest_(rest) {}

  bool has(std::size_t bytes) const { return rest_.size() >= bytes; }
  std::uint32_t u16() { return static_cast<std::uint32_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  void skip(std::size_t bytes) { rest_.remove_prefix(bytes); }
  std::string_view text(std::size_t bytes) {
    const std::string_view result = rest_.substr(0, bytes);
    skip(bytes);
    return result;
  }

 private:
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(rest_[i]);
    }
    skip(bytes);
    return value;
  }

  std::string_view rest_;
};

// A record in the making, little-endian as the format.
class Record {
 public:
  Record& u16(std::uint64_t value) { return number(value, 2); }
  Record& u32(std::uint64_t value) { return number(value, 4); }
  Record& u64(std::uint64_t value) { return number(value, 8); }
  Record& text(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& number(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> 8 * i & 0xFF);
    return *this;
  }

  std::string bytes_;
};

std::uint32_t crc_of(std::string_view bytes, std::uint32_t crc = 0) {
  if (bytes.empty()) return crc;  // zlib starts anew when it sees a null pointer
  return static_cast<std::uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// Where the end record begins: it is the last one, with a comment behind it.
std::size_t find_end(std::string_view bytes) {
  if (bytes.size() >= kEndSize) {
    const std::size_t last = bytes.size() - kEndSize;
    const std::size_t first = last > kMaxComment ? last - kMaxComment : 0;
    for (std::size_t at = last + 1; at-- > first;) {
      if (Fields(bytes.substr(at)).u32() != kEndSignature) continue;
      if (Fields(bytes.substr(at + kEndSize - 2)).u16() == last - at) return at;
    }
  }
  throw Error(ErrorCode::file_error, "not a .npz file, or one that is cut short")
      .expected("the end record of a ZIP archive");
}

void inflate_into(std::string_view compressed, char* out, std::size_t size) {
  z_stream stream{};
  // Negative: the bare stream, without zlib's own header.
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    throw Error(ErrorCode::limit, "no memory to decompress");
  }
  // zlib counts in 32 bits.
  constexpr std::size_t kChunk = std::numeric_limits<uInt>::max();
  std::size_t read = 0, written = 0;
  int status = Z_OK;
  Bytef none = 0;  // zlib wants no null pointer, even for no bytes
  do {
    const std::size_t in = std::min(compressed.size() - read, kChunk);
    const std::size_t room = std::min(size - written, kChunk);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data() + read));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = room > 0 ? reinterpret_cast<Bytef*>(out + written) : &none;
    stream.avail_out = static_cast<uInt>(room);
    status = inflate(&stream, Z_NO_FLUSH);  // Z_BUF_ERROR where nothing more can be done
    read += in - stream.avail_in;
    written += room - stream.avail_out;
  } while (status == Z_OK);
  inflateEnd(&stream);
  if (status != Z_STREAM_END || written != size) {
    throw damaged("the compressed data").expected(std::to_string(size) + " bytes");
  }
}

}  // namespace

ZipReader::ZipReader(std::string_view bytes) : bytes_(bytes) {
  const std::size_t end = find_end(bytes);
  Fields fields(bytes, end, kEndSize, "the end record");
  fields.skip(4);
  std::uint64_t disk = fields.u16(), directory_disk = fields.u16();
  fields.skip(2);
  std::uint64_t count = fields.u16(), size = fields.u32(), begin = fields.u32();

  const bool in_64 = count == kCountIn64 || size == kIn64 || begin == kIn64;
  if (in_64 && end >= kLocator64Size &&
      Fields(bytes.substr(end - kLocator64Size)).u32() == kLocator64Signature) {
    Fields locator(bytes, end - kLocator64Size + 8, 8, "the locator");
    Fields end_64(bytes, locator.u64(), kEnd64Size, "the 64-bit end record");
    if (end_64.u32() != kEnd64Signature) throw damaged("no 64-bit end record");
    end_64.skip(12);
    disk = end_64.u32();
    directory_disk = end_64.u32();
    end_64.skip(8);
    count = end_64.u64();
    size = end_64.u64();
    begin = end_64.u64();
  }
  if (disk != 0 || directory_disk != 0) {
    throw Error(ErrorCode::unsupported, "an archive that is split over several files");
  }
  read_directory(begin, size, count);
  refuse_overlaps(begin);
}

void ZipReader::read_directory(std::uint64_t begin, std::uint64_t size, std::uint64_t count) {
  Fields directory(bytes_, begin, size, "the directory");
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!directory.has(kCentralSize) || directory.u32() != kCentralSignature) {
      throw damaged("the directory ends early")
          .expected(std::to_string(count) + " members")
          .got(std::to_string(i));
    }
    Member member;
    directory.skip(4);
    member.flags = directory.u16();
    member.method = directory.u16();
    directory.skip(4);
    member.crc = directory.u32();
    member.compressed_size = directory.u32();
    member.size = directory.u32();
    const std::size_t name_size = directory.u16(), extra_size = directory.u16(),
                      comment_size = directory.u16();
    directory.skip(8);
    member.header_begin = directory.u32();
    if (!directory.has(name_size + extra_size + comment_size)) {
      throw damaged("the directory ends early");
    }
    std::string name(directory.text(name_size));
    Fields extras(directory.text(extra_size));
    directory.skip(comment_size);

    while (extras.has(4)) {
      const std::uint32_t id = extras.u16();
      const std::size_t field_size = extras.u16();
      if (!extras.has(field_size)) throw damaged(name, "an extra field is cut short");
      Fields field(extras.text(field_size));
      if (id != kZip64Extra) continue;
      // APPNOTE 4.5.3: only those that did not fit are there, in this order.
      for (std::uint64_t* value : {&member.size, &member.compressed_size, &member.header_begin}) {
        if (*value != kIn64) continue;
        if (!field.has(8)) throw damaged(name, "a 64-bit size is missing");
        *value = field.u64();
      }
    }
    if (!members_.emplace(name, member).second) throw damaged(name, "two members of one name");
    names_.push_back(std::move(name));
  }
}

// Members that share bytes make a small file expand without a bound
// (https://www.bamsoftware.com/hacks/zipbomb/).
void ZipReader::refuse_overlaps(std::uint64_t directory_begin) const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;  // where a member begins and ends
  for (const auto& [name, member] : members_) {
    const std::uint64_t least = kLocalSize + name.size();
    if (member.header_begin > directory_begin || member.compressed_size > directory_begin ||
        member.header_begin + least > directory_begin - member.compressed_size) {
      throw damaged(name, "the member reaches into the directory");
    }
    extents.emplace_back(member.header_begin, member.header_begin + least + member.compressed_size);
  }
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].first < extents[i - 1].second) throw damaged("members overlap");
  }
}

ZipReader::Contents ZipReader::read(const std::string& name) const {
  const auto found = members_.find(name);
  if (found == members_.end()) {
    throw Error(ErrorCode::invalid_argument, "no such member").got(quoted(name));
  }
  const Member& member = found->second;
  if ((member.flags & kEncrypted) != 0) {
    throw Error(ErrorCode::unsupported, "an encrypted member");
  }
  // The local header repeats the directory; only its own lengths of name and extra fields matter.
  Fields local(bytes_, member.header_begin, kLocalSize, "a member's header");
  if (local.u32() != kLocalSignature) throw damaged("no header where the directory says");
  local.skip(22);
  const std::uint64_t name_size = local.u16(), extra_size = local.u16();
  Fields data(bytes_, member.header_begin + kLocalSize + name_size + extra_size,
              member.compressed_size, "a member's data");
  Contents contents{data.text(member.compressed_size), nullptr};

  if (member.method == kDeflated) {
    // Checked before any memory is taken for it.
    if (member.size / kMaxDeflateRatio > contents.bytes.size()) {
      throw damaged("a size that the compressed data cannot have")
          .got(std::to_string(member.size) + " bytes from " +
               std::to_string(contents.bytes.size()));
    }
    const std::shared_ptr<void> buffer = allocate(member.size);
    char* out = static_cast<char*>(buffer.get());
    inflate_into(contents.bytes, out, member.size);
    contents = {{out, member.size}, buffer};
  } else if (member.method != kStored) {
    throw Error(ErrorCode::unsupported, "a compression method other than deflate")
        .got(std::to_string(member.method));
  } else if (member.size != member.compressed_size) {
    throw damaged("two sizes of one stored member");
  }
  if (crc_of(contents.bytes) != member.crc) throw damaged("the checksum is wrong");
  return contents;
}

void ZipWriter::add(const std::string& name, std::string_view head, std::string_view tail) {
  if (name.size() > 0xFFFF || name.find('\0') != std::string::npos || !to_utf32(name)) {
    throw Error(ErrorCode::invalid_argument, "a name that cannot be stored in a .npz file")
        .expected("UTF-8 of at most 65535 bytes, without zero characters")
        .got(quoted(name.substr(0, 80)));
  }
  Member member;
  member.crc = crc_of(tail, crc_of(head));
  member.size = head.size() + tail.size();
  member.header_begin = position_;
  if (!members_.emplace(name, member).second) {
    throw Error(ErrorCode::invalid_argument, "a name that is in the .npz file already")
        .got(quoted(name));
  }
  names_.push_back(name);
  Record local;
  local.u32(kLocalSignature).u16(kZip64Version).u16(kUtf8Name).u16(kStored).u16(0).u16(kNoDate);
  local.u32(member.crc).u32(kIn64).u32(kIn64).u16(name.size()).u16(20).text(name);
  local.u16(kZip64Extra).u16(16).u64(member.size).u64(member.size);
  write(local.bytes());
  write(head);
  write(tail);
}

void ZipWriter::finish() {
  const std::uint64_t begin = position_;
  for (const std::string& name : names_) {
    const Member& member = members_.at(name);
    Record central;
    central.u32(kCentralSignature).u16(kMadeOnUnix).u16(kZip64Version).u16(kUtf8Name);
    central.u16(kStored).u16(0).u16(kNoDate).u32(member.crc).u32(kIn64).u32(kIn64);
    central.u16(name.size()).u16(28).u16(0).u16(0).u16(0).u32(kMode).u32(kIn64).text(name);
    central.u16(kZip64Extra).u16(24).u64(member.size).u64(member.size).u64(member.header_begin);
    write(central.bytes());
  }
  const std::uint64_t end = position_, size = end - begin, count = names_.size();
  Record tail;
  if (count == 0) {
    // np.load knows an empty archive by the plain end record at its start.
    tail.u32(kEndSignature).u64(0).u64(0).u16(0);
  } else {
    tail.u32(kEnd64Signature).u64(kEnd64Size - 12).u16(kMadeOnUnix).u16(kZip64Version);
    tail.u32(0).u32(0).u64(count).u64(count).u64(size).u64(begin);
    tail.u32(kLocator64Signature).u32(0).u64(end).u32(1);
    tail.u32(kEndSignature).u16(0).u16(0).u16(kCountIn64).u16(kCountIn64).u32(kIn64).u32(kIn64);
    tail.u16(0);
  }
  write(tail.bytes());
  file_.commit();
}

void ZipWriter::write(std::string_view bytes) {
  file_.write(bytes);
  position_ += bytes.size();
}

}  // namespace mezzo::store
