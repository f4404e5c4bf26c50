// Gemm and the activation behind it.
#include "passes/passes.h"

namespace mezzo::passes {
namespace {

constexpr const char* kActivations[] = {"Relu",        "Sigmoid", "Tanh",     "LeakyRelu",
                                        "HardSigmoid", "Elu",     "Softplus", "Softsign"};

}  // namespace

void gemm_activation(Program& program) {
  for (int i = 0; i < program.size(); ++i) {
    for (const char* name : kActivations) {
      if (!program.is(i, name)) continue;
      const ops::Op& activation = program.op(i);
      const int gemm = program.maker(i, 0, "Gemm");
      if (gemm < 0 || program.op(gemm).opset() < 7) break;  // before, C broadcasts only if told to
      Replacement fused{.op_type = "FusedGemm", .domain = "com.microsoft", .opset = 1};
      fused.attributes = program.op(gemm).node().attributes;
      fused.attributes.push_back(attribute("activation", std::string(name)));
      for (const std::string parameter : {"alpha", "beta"}) {
        if (!activation.declares(parameter)) continue;
        fused.attributes.push_back(
            attribute("activation_" + parameter, activation.attr_float(parameter)));
      }
      fused.in = program.step(gemm).in;
      fused.out = {program.step(i).out[0]};
      program.fuse({gemm, i}, std::move(fused));
      break;
    }
  }
}

}  // namespace mezzo::passes
