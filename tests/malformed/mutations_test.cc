// Valid models, damaged everywhere by rule and by chance (always the same): cut off, bits turned,
// bytes replaced, pieces exchanged. Some of it stays a valid model, and runs; the rest must be
// Errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <random>

#include "attempt.h"
#include "valid_models.h"

namespace mezzo::malformed {
namespace {

struct Tally {
  int errors = 0, harmless = 0;
  void count(const Outcome& outcome) { ++(outcome ? errors : harmless); }
  void print(const std::string& what) const {
    std::cout << what << ": " << errors << " errors, " << harmless << " still valid\n";
  }
};

std::string name_of(const std::string& model, const char* what, std::size_t number) {
  return model + ", " + what + " " + std::to_string(number);
}

TEST(ValidModels, Run) {
  for (const auto& [name, model] : onnx::valid_models()) {
    const Outcome outcome = attempt_model(name, model);
    EXPECT_FALSE(outcome) << name << ": " << outcome->what();
  }
}

TEST(Truncated, AtEveryByte) {
  Tally tally;
  for (const auto& [name, model] : onnx::valid_models()) {
    const std::string bytes = onnx::write_memory(model);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      tally.count(attempt_bytes(name_of(name, "length", length), bytes.substr(0, length)));
    }
  }
  tally.print("cut off");
  EXPECT_GT(tally.errors, 1000);
  // Only a cut before one of the last top-level fields leaves a model.
  EXPECT_LT(tally.harmless, 60);
}

TEST(Flipped, OneBitAnywhere) {
  Tally tally;
  for (const auto& [name, model] : onnx::valid_models()) {
    const std::string bytes = onnx::write_memory(model);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at * 5 % 8)));
      tally.count(attempt_bytes(name_of(name, "bit of byte", at), flipped));
    }
  }
  tally.print("one bit turned");
  EXPECT_GT(tally.errors, 500);
}

TEST(Mutated, BytesAndPieces) {
  // Numbers at which sizes and signs turn.
  const std::string odd[] = {std::string(1, '\0'),
                             "\x7F",
                             "\x80",
                             "\xFF",
                             "\xFF\xFF\xFF\xFF\x07",
                             "\xFF\xFF\xFF\xFF\x0F",
                             "\x80\x80\x80\x80\x10",
                             "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
                             "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
                             "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"};
  Tally tally;
  for (const auto& [name, model] : onnx::valid_models()) {
    const std::string bytes = onnx::write_memory(model);
    for (std::uint32_t seed = 0; seed < 250; ++seed) {
      std::mt19937 random(seed);
      const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
      std::string mutant = bytes;
      for (std::size_t i = below(3) + 1; i-- > 0;) {
        const std::size_t at = below(mutant.size()), length = below(16) + 1;
        switch (below(5)) {
          case 0:
            mutant[at] = static_cast<char>(below(256));
            break;
          case 1:
            mutant.erase(at, std::min(length, mutant.size() - 1));
            break;
          case 2:
            mutant.insert(at, bytes, below(bytes.size()), length);
            break;
          case 3: {
            const std::string& number = odd[below(std::size(odd))];
            mutant.replace(at, std::min(number.size(), mutant.size() - at), number);
            break;
          }
          default:
            mutant.insert(at, odd[below(std::size(odd))]);
        }
      }
      tally.count(attempt_bytes(name_of(name, "seed", seed), mutant));
    }
  }
  tally.print("changed by chance");
  EXPECT_GT(tally.errors, 1000);
}

constexpr std::int64_t kNumbers[] = {0,
                                     -1,
                                     1,
                                     2,
                                     1000,
                                     1LL << 31,
                                     1LL << 40,
                                     (1LL << 31) - 1,
                                     INT64_MIN,
                                     INT64_MAX,
                                     (1LL << 62) - 1};

// Damage inside well-formed messages: every attribute, number, name and tensor of a model in turn.
class Editor {
 public:
  Editor(const std::string& name, const onnx::Model& model, Tally& tally)
      : name_(name), model_(model), tally_(tally) {}

  void run() {
    for (std::size_t n = 0; n < model_.graph.nodes.size(); ++n) {
      for (std::size_t a = 0; a < model_.graph.nodes[n].attributes.size(); ++a) attribute(n, a);
      inputs(n);
      for (const onnx::Node& other : model_.graph.nodes) {
        edit([&](onnx::Model& model) { model.graph.nodes[n].op_type = other.op_type; });
      }
    }
    for (std::size_t i = 0; i < model_.graph.initializers.size(); ++i) initializer(i);
    for (const std::int64_t opset : {-1, 0, 1, 6, 7, 8, 10, 12, 17, 99}) {
      edit([&](onnx::Model& model) { model.opset_imports[0].version = opset; });
    }
  }

 private:
  template <class Change>
  void edit(Change&& change) {
    onnx::Model edited = model_;
    change(edited);
    tally_.count(attempt_model(name_of(name_, "edit", edits_++), edited));
  }

  void attribute(std::size_t n, std::size_t a) {
    const auto edit_attribute = [&](const auto& change) {
      edit([&](onnx::Model& model) { change(model.graph.nodes[n].attributes[a]); });
    };
    const std::size_t count = model_.graph.nodes[n].attributes[a].ints.size();
    for (const std::int64_t number : kNumbers) {
      edit_attribute([&](onnx::Attribute& attribute) { attribute.i = number; });
      for (std::size_t i = 0; i < count; ++i) {
        edit_attribute([&](onnx::Attribute& attribute) { attribute.ints[i] = number; });
      }
    }
    edit_attribute([](onnx::Attribute& attribute) { attribute.ints.clear(); });
    edit_attribute([](onnx::Attribute& attribute) { attribute.ints.push_back(1); });
    edit_attribute([](onnx::Attribute& attribute) { attribute.s = "?"; });
    edit_attribute([](onnx::Attribute& attribute) { attribute.name += "x"; });
    edit_attribute([](onnx::Attribute& attribute) {
      using Kind = onnx::Attribute::Kind;
      attribute.kind = attribute.kind == Kind::floats ? Kind::int_ : Kind::floats;
    });
  }

  void inputs(std::size_t n) {
    const onnx::Node& node = model_.graph.nodes[n];
    std::vector<std::string> names = {"", "nobody", node.outputs[0],
                                      model_.graph.nodes.back().outputs[0]};
    for (const onnx::NamedTensor& other : model_.graph.initializers) names.push_back(other.name);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      for (const std::string& other : names) {
        edit([&](onnx::Model& model) { model.graph.nodes[n].inputs[i] = other; });
      }
    }
    for (const std::size_t count : {0, 1, 9}) {
      edit([&](onnx::Model& model) { model.graph.nodes[n].inputs.resize(count, node.inputs[0]); });
    }
  }

  void initializer(std::size_t i) {
    const Tensor& tensor = model_.graph.initializers[i].tensor;
    const auto replace = [&](const Tensor& with) {
      edit([&](onnx::Model& model) { model.graph.initializers[i].tensor = with; });
    };
    if (tensor.dtype() == DType::i64) {
      for (const std::int64_t number : kNumbers) {
        Tensor filled = tensor;
        for (std::int64_t& x : filled.mutable_values<std::int64_t>()) x = number;
        replace(filled);
      }
    }
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{1}, Shape{5}, Shape{1, 1, 1, 1, 1, 1}}) {
      replace(Tensor(tensor.dtype(), shape));
    }
    for (int dtype = 1; dtype < kDTypeCount; ++dtype) {
      replace(Tensor(static_cast<DType>(dtype), tensor.shape()));
    }
  }

  const std::string& name_;
  const onnx::Model& model_;
  Tally& tally_;
  std::size_t edits_ = 0;
};

TEST(Edited, EveryNumberNameAndTensor) {
  Tally tally;
  for (const auto& [name, model] : onnx::valid_models()) Editor(name, model, tally).run();
  tally.print("edited");
  EXPECT_GT(tally.errors, 1000);
}

}  // namespace
}  // namespace mezzo::malformed
