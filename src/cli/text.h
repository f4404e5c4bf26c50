// Text for people: aligned columns, grouped digits, nothing that a terminal would obey.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mezzo::cli {

/// `text` with control characters as \xNN: names come from files, and a terminal acts on them.
std::string printable(std::string_view text);
/// 4652008 -> "4,652,008".
std::string grouped(std::int64_t number);
/// 18814761 -> "18.8 MB".
std::string byte_count(std::int64_t bytes);

/// Rows of cells, printed in columns as wide as their widest cell.
class Table {
 public:
  /// `indent` goes before every row.
  explicit Table(std::string indent = "") : indent_(std::move(indent)) {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// The cells of this column end where it ends, as numbers do.
  void align_right(std::size_t column) { right_.push_back(column); }
  std::string text() const;

 private:
  std::string indent_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> right_;
};

}  // namespace mezzo::cli
