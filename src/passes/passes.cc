#include "passes/passes.h"

#include <algorithm>
#include <cstdlib>

namespace mezzo::passes {
namespace {

std::string names() {
  std::string list;
  for (const Pass& pass : all()) list += (list.empty() ? "" : ", ") + std::string(pass.name);
  return list;
}

// Adds or drops what `word` names.
void turn(std::set<std::string>& chosen, const std::string& word, bool on) {
  bool found = false;
  for (const Pass& pass : all()) {
    if (word != "all" && word != pass.name) continue;
    found = true;
    if (on) {
      chosen.insert(pass.name);
    } else {
      chosen.erase(pass.name);
    }
  }
  if (!found) {
    throw Error(ErrorCode::invalid_argument, "no pass has this name")
        .expected("all, " + names())
        .got("'" + word + "'");
  }
}

void read_switch(std::set<std::string>& chosen, const std::string& word) {
  if (word.empty()) return;
  if (word == "none") return chosen.clear();
  const bool off = word.front() == '-';
  turn(chosen, off ? word.substr(1) : word, !off);
}

}  // namespace

std::vector<Pass> enabled(const std::vector<std::string>& disabled) {
  const char* switches = std::getenv("MEZZO_PASSES");
  try {
    return enabled(disabled, switches != nullptr ? switches : "");
  } catch (Error& error) {
    if (switches != nullptr) error.add_place("disabled passes, or MEZZO_PASSES");
    throw;
  }
}

std::vector<Pass> enabled(const std::vector<std::string>& disabled, std::string_view switches) {
  std::set<std::string> chosen;
  turn(chosen, "all", true);
  while (!switches.empty()) {
    const std::size_t comma = std::min(switches.find(','), switches.size());
    read_switch(chosen, std::string(switches.substr(0, comma)));
    switches.remove_prefix(std::min(comma + 1, switches.size()));
  }
  for (const std::string& name : disabled) turn(chosen, name, false);
  std::vector<Pass> list;
  for (const Pass& pass : all()) {
    if (chosen.contains(pass.name)) list.push_back(pass);
  }
  return list;
}

const std::vector<Pass>& all() {
  static const std::vector<Pass> list = {
      // What exporters have taken apart comes first.
      {"layer_norm", layer_norm},
      {"attention", attention},
      {"gelu", gelu},
      {"hard_swish", hard_swish},
      {"swish", swish},
      {"transposes", transposes},
      {"byte_table", byte_table},
      {"integers", integers},
      {"fake_quantize", fake_quantize},
      {"matmul_nbits", matmul_nbits},
      {"pad", pad},
      {"slice", slice},
      {"conv_scale", conv_scale},
      {"norm_scale", norm_scale},
      {"conv_add", conv_add},
      {"conv_activation", conv_activation},
      {"scale_shift", scale_shift},
      {"matmul_scale", matmul_scale},
      {"matmul_add", matmul_add},
      {"gemm_activation", gemm_activation},
      {"skip_layer_norm", skip_layer_norm},
      // Of what the others have made.
      {"layout", layout},
      {"pointwise", pointwise},
      // It says where what is left by then is written.
      {"concat", concat},
      // Of the steps that are then there.
      {"micro_batch", nullptr},
      {"row_bands", nullptr},
  };
  return list;
}

}  // namespace mezzo::passes
