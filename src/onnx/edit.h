// Models made from other models: with more outputs, or a part. Tensors are shared, not copied.
#pragma once

#include <string>
#include <vector>

#include "onnx/model.h"

namespace mezzo::onnx {

/// The model with `values`, names of its main graph, as graph outputs after those that it has; what
/// is one already stays where it is. Their types are those that the file declares, an initializer's
/// its own. Where nothing is declared the output has only a name: ONNX Runtime and mezzo find its
/// type themselves (ONNX Runtime 1.32; a type without an element type it refuses), but
/// onnx.checker wants one. Throws Error(invalid_argument) for a value that the main graph does not
/// have, and says so where a body or a function has it.
Model expose(Model model, const std::vector<std::string>& values);

/// The part of the model that computes `outputs` from `inputs`, names of its main graph: the nodes
/// between them in the file's order, and of initializers, declared types, quantization annotations,
/// functions and imported operator sets those that belong to them. Everything else stays as it is,
/// but for training information, which speaks of the whole model.
///
/// No `inputs` means: the graph's own, as far as they are needed; no `outputs`: the graph's own. A
/// given input stays one also where no output needs it. One that has an initializer keeps that as
/// its default. Where a node is needed that also makes a value which is now an input, its output of
/// that name gets another. Types are found as for `expose`; ONNX Runtime refuses an input without.
///
/// Throws Error(invalid_argument) where an output needs a graph input that is not among `inputs`,
/// and for values that the main graph does not have.
Model extract(const Model& model, const std::vector<std::string>& inputs,
              const std::vector<std::string>& outputs);

}  // namespace mezzo::onnx
