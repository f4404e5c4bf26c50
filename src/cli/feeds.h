// What a run is fed: tensors from files, pictures, random numbers, or zeros that stand for a shape.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mezzo/image.h"
#include "mezzo/session.h"

namespace mezzo::cli {

/// Reads what --input names: "NAME=FILE", or "FILE" where the model needs one input only or where
/// an .npz file's keys name the values. Pictures go through `pictures`. Throws Error, with the file
/// and the value's name.
Feeds read_feeds(const Model& model, const std::vector<std::string>& inputs,
                 const image::Preprocess& pictures);

using Shapes = std::map<std::string, Shape>;

/// Reads "NAME=1x3x224x224" ("NAME=" for a scalar). Throws Error(invalid_argument) where `model`
/// has no such input or the text is no shape.
Shapes parse_shapes(const Model& model, const std::vector<std::string>& texts);

/// Zeros for every input that a run needs, of the declared shape; extents that the file leaves open
/// are 1 where `shapes` does not say more. Throws Error(invalid_argument) for an input whose rank
/// or type the file does not tell.
Feeds zero_feeds(const Model& model, const Shapes& shapes);

/// Adds random numbers for the inputs that `feeds` does not hold, the same for the same seed:
/// floats in [0, 1), 8-bit integers of their whole range, other integers and bools 0 or 1, which is
/// in the range of most indices; strings are empty. Shapes as for `zero_feeds`.
void add_random_feeds(const Model& model, std::uint64_t seed, const Shapes& shapes, Feeds& feeds);

}  // namespace mezzo::cli
