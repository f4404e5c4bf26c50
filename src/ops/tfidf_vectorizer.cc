// TfIdfVectorizer: counts of n-grams. Spec: TfIdfVectorizer-9.
//
// As in ONNX Runtime single words are counted once, not once for every number of skips.

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "ops/dispatch.h"
#include "ops/shapes.h"

namespace mezzo::ops {
namespace {

using Kind = FormalAttribute::Kind;

enum class Mode { tf, idf, tf_idf };

Mode mode_of(const Op& op) {
  const std::string name = op.attr_string("mode");
  if (name == "TF") return Mode::tf;
  if (name == "IDF") return Mode::idf;
  if (name == "TFIDF") return Mode::tf_idf;
  throw invalid("an unknown mode").expected("TF, IDF or TFIDF").got("'" + name + "'");
}

struct Settings {
  std::int64_t least = 1, most = 1;  // words of an n-gram
  std::int64_t skips = 0;
};

Settings settings_of(const Op& op) {
  const Settings settings{op.attr_int("min_gram_length"), op.attr_int("max_gram_length"),
                          op.attr_int("max_skip_count")};
  if (settings.least < 1 || settings.most < settings.least || settings.skips < 0) {
    throw invalid("the lengths of the n-grams are wrong")
        .expected("1 <= min_gram_length <= max_gram_length and 0 <= max_skip_count")
        .got(std::to_string(settings.least) + ", " + std::to_string(settings.most) + " and " +
             std::to_string(settings.skips));
  }
  return settings;
}

// The columns of the output, by n-gram.
std::vector<std::int64_t> columns_of(const Op& op) {
  std::vector<std::int64_t> columns = op.attr_ints("ngram_indexes");
  if (columns.empty()) throw invalid("ngram_indexes is empty");
  const std::int64_t least = *std::min_element(columns.begin(), columns.end());
  if (least < 0) throw invalid("ngram_indexes has a negative index").got(std::to_string(least));
  return columns;
}

std::int64_t width_of(const std::vector<std::int64_t>& columns) {
  return checked_add(*std::max_element(columns.begin(), columns.end()), 1);
}

void infer(Op& op) {
  require_rank(op, 0, 1, 2);
  Shape shape = op.in_shape(0);
  shape.back() = width_of(columns_of(op));
  op.set_out(0, DType::f32, std::move(shape));
}

// The n-grams of the pool as a tree: an edge for each word, and at its end the column of the n-gram
// that the way there spells.
template <class Word>
class Grams {
 public:
  static constexpr std::int64_t kNone = -1;

  Grams(const std::vector<Word>& pool, const std::vector<std::int64_t>& begins,
        const std::vector<std::int64_t>& columns, const Settings& settings) {
    std::size_t gram = 0;
    for (std::size_t length = 1; length <= begins.size(); ++length) {
      const auto size = static_cast<std::int64_t>(pool.size());
      const std::int64_t begin = begins[length - 1];
      const std::int64_t end = length < begins.size() ? begins[length] : size;
      const auto step = static_cast<std::int64_t>(length);
      if (begin < 0 || begin > end || end > size || (end - begin) % step != 0) {
        throw invalid("ngram_counts does not divide the pool into n-grams")
            .expected("positions in order, up to " + std::to_string(size))
            .got(to_string(begins));
      }
      for (std::int64_t at = begin; at < end; at += step, ++gram) {
        if (gram >= columns.size()) {
          throw invalid("ngram_indexes has too few elements")
              .expected("one for each n-gram of the pool")
              .got(std::to_string(columns.size()));
        }
        if (step < settings.least || step > settings.most) continue;
        add(pool.data() + at, length, columns[gram]);
      }
    }
  }

  /// The node that `word` leads to from `node` (0 is the root), or kNone.
  std::int64_t next(std::int64_t node, const Word& word) const {
    const auto& edges = nodes_[static_cast<std::size_t>(node)].edges;
    const auto found = edges.find(word);
    return found != edges.end() ? found->second : kNone;
  }
  /// The column of the n-gram that ends there, or kNone.
  std::int64_t column(std::int64_t node) const {
    return nodes_[static_cast<std::size_t>(node)].column;
  }

 private:
  struct Node {
    std::unordered_map<Word, std::int64_t> edges;
    std::int64_t column = kNone;
  };

  void add(const Word* words, std::size_t length, std::int64_t column) {
    std::size_t node = 0;
    for (std::size_t i = 0; i < length; ++i) {
      const auto fresh = static_cast<std::int64_t>(nodes_.size());
      const auto [edge, is_new] = nodes_[node].edges.try_emplace(words[i], fresh);
      node = static_cast<std::size_t>(edge->second);
      if (is_new) nodes_.emplace_back();
    }
    nodes_[node].column = column;
  }

  std::vector<Node> nodes_ = std::vector<Node>(1);
};

// Counts the n-grams of a row whose words stand `distance` apart.
template <class Word, class X>
void count(const Grams<Word>& grams, const X* x, std::int64_t length, std::int64_t distance,
           std::int64_t least, std::int64_t most, float* counts) {
  for (std::int64_t first = 0; first < length; ++first) {
    std::int64_t node = 0;
    for (std::int64_t at = first, words = 1; at < length && words <= most;
         at += distance, ++words) {
      node = grams.next(node, Word(x[at]));
      if (node == Grams<Word>::kNone) break;
      const std::int64_t column = grams.column(node);
      if (words >= least && column != Grams<Word>::kNone) counts[column] += 1;
    }
  }
}

// The weights by column; empty where there are none.
std::vector<float> column_weights(const Op& op, const std::vector<std::int64_t>& columns) {
  const std::vector<float> weights = op.attr_floats("weights");
  if (weights.empty()) return {};
  if (weights.size() != columns.size()) {
    throw invalid("weights must be as long as ngram_indexes")
        .expected(std::to_string(columns.size()))
        .got(std::to_string(weights.size()));
  }
  std::vector<float> result(static_cast<std::size_t>(width_of(columns)), 1.0F);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result[static_cast<std::size_t>(columns[i])] = weights[i];
  }
  return result;
}

template <class Word, class X>
Kernel vectorize(const Op& op, const std::vector<Word>& pool) {
  const std::vector<std::int64_t> columns = columns_of(op);
  const auto grams = std::make_shared<const Grams<Word>>(pool, op.attr_ints("ngram_counts"),
                                                         columns, settings_of(op));
  const Shape& shape = op.in_shape(0);
  return [grams, weights = column_weights(op, columns), width = width_of(columns),
          mode = mode_of(op), settings = settings_of(op), length = shape.back(),
          rows = shape.size() == 1 ? 1 : shape[0]](Run& run) {
    // Words further apart than a row is long are in no row.
    const std::int64_t most_skips = std::min(settings.skips, length);
    run.pool().parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const X* x = run.in<X>(0) + row * length;
        float* y = run.out<float>(0) + row * width;
        std::fill_n(y, width, 0.0F);
        for (std::int64_t skips = 0; skips <= most_skips; ++skips) {
          const std::int64_t least =
              skips == 0 ? settings.least : std::max<std::int64_t>(settings.least, 2);
          count(*grams, x, length, skips + 1, least, settings.most, y);
        }
        if (mode == Mode::tf) continue;
        for (std::int64_t i = 0; i < width; ++i) {
          if (mode == Mode::idf) y[i] = std::min(y[i], 1.0F);
          if (!weights.empty()) y[i] *= weights[static_cast<std::size_t>(i)];
        }
      }
    });
  };
}

Choice vectorizer(Op& op) {
  const std::vector<std::int64_t> ints = op.attr_ints("pool_int64s");
  const std::vector<std::string> strings = op.attr_strings("pool_strings");
  const bool text = op.in(0).dtype == DType::string;
  if (ints.empty() == strings.empty() || strings.empty() == text) {
    throw invalid("the pool does not fit the input")
        .expected(text ? "pool_strings alone" : "pool_int64s alone");
  }
  if (text) return vectorize<std::string, std::string>(op, strings);
  if (op.in(0).dtype == DType::i32) return vectorize<std::int64_t, std::int32_t>(op, ints);
  return vectorize<std::int64_t, std::int64_t>(op, ints);
}

}  // namespace
}  // namespace mezzo::ops

MEZZO_FAMILY(tfidf_vectorizer) {
  op("TfIdfVectorizer")
      .since(9)
      .required("max_gram_length", Kind::int_)
      .required("max_skip_count", Kind::int_)
      .required("min_gram_length", Kind::int_)
      .required("mode", Kind::string)
      .required("ngram_counts", Kind::ints)
      .required("ngram_indexes", Kind::ints)
      .attr("pool_int64s", Kind::ints)
      .attr("pool_strings", Kind::strings)
      .attr("weights", Kind::floats)
      .in("X", {DType::i32, DType::i64, DType::string})
      .out("Y", DType::f32)
      .infer(infer)
      .kernel("tree of n-grams", vectorizer);
}
