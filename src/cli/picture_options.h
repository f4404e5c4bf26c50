// How pictures become a model's input: the options that `run` and `features` share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "mezzo/image.h"

namespace mezzo::cli {

/// The options as they stand on the command line. Lives as long as the command that it was added
/// to.
class PictureOptions {
 public:
  void add_to(CLI::App& command);
  /// The preset with what was said besides. Ends the program with status 2 where that is
  /// contradictory.
  image::Preprocess settings() const;

 private:
  void set_size(image::Preprocess& settings) const;
  void set_crop(image::Preprocess& settings) const;

  std::string preset_ = "imagenet";
  std::string resize_, size_, filter_, crop_, color_, layout_;
  std::vector<float> scale_, mean_, std_;
};

/// Whether a file of that name is taken for a picture: .jpg, .jpeg, .png, .webp.
bool is_picture(const std::string& path);

}  // namespace mezzo::cli
