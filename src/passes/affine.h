// Steps that only scale and shift the channels of a tensor, as passes fold them into constants.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "passes/program.h"

namespace mezzo::passes {

/// y = x * factor + shift, by channel; all finite, in double from the constants of the file.
struct Affine {
  struct Numbers {
    std::vector<double> factor, shift;
    bool scales = false;      ///< not all factors are 1
    bool can_return = false;  ///< what was scaled can be scaled back
  };
  std::shared_ptr<const Numbers> numbers;  ///< shared by recipes and plans
  std::vector<int> sources;                ///< the slots that it is made of
  std::string key;                         ///< what is made of them
};

/// What step `i` does to input `data`, of shape `x`, where it is such a one: BatchNormalization (of
/// inference) with known statistics, or Mul, Div, Add or Sub with a constant for each channel (axis
/// 1) or for all.
std::optional<Affine> affine_of(const Program& program, int i, int data, const Shape& x);

/// A new slot with a constant that is made of the step's alone, one element for each channel; -1
/// where there can be none.
int constant_of(Program& program, const Affine& affine, const std::string& name, Recipe recipe);

/// Makes weights whose first axis is scaled.
Recipe scaled(const Affine& affine);
/// Makes the bias `base` * factor + shift; where there was none (`had_bias` is false), the shift.
Recipe shifted(const Affine& affine, bool had_bias);
/// Makes the factors, or what takes back what they do, whatever the base.
Recipe factors(const Affine& affine);
Recipe inverse_factors(const Affine& affine);

}  // namespace mezzo::passes
