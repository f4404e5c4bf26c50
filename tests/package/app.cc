// The README's examples, in a project that knows mezzo only as an installed package.
#include <mezzo/mezzo.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

namespace {

void readme() {
  mezzo::Session session("squeezenet1.1.onnx");
  auto picture = mezzo::image::load("cat.jpg", mezzo::image::imagenet());
  auto out = session.run({{"data", picture}}, {"[-2]", "squeezenet0_concat7"});

  mezzo::RunOptions options;
  options.patches.push_back({"squeezenet0_concat7", [](const mezzo::Tensor& value) {
                               mezzo::Tensor changed = value;
                               auto numbers = changed.mutable_values<float>();
                               std::fill_n(numbers.begin() + 2 * 13 * 13, 13 * 13, 0.0F);
                               return changed;
                             }});
  options.observers.push_back({"op:Relu", [](const std::string& name, const mezzo::Tensor& value) {
                                 std::cout << name << " " << mezzo::to_string(value.shape())
                                           << "\n";
                               }});
  auto changed = session.run({{"data", picture}}, {}, options);
  auto tail = session.run({{"squeezenet0_concat7", out["squeezenet0_concat7"]}});

  mezzo::Model model = mezzo::Model::load("squeezenet1.1.onnx");
  model.extract({}, {"squeezenet0_concat7"}).save("backbone.onnx");
  model.expose({"op:Relu"}).save("exposed.onnx");
}

}  // namespace

// With an argument, runs them on the files of the current folder.
int main(int argc, char**) {
  try {
    if (argc > 1) {
      readme();
    } else {
      mezzo::Session session("no such file.onnx");
    }
  } catch (const mezzo::Error& error) {
    std::printf("%s\n", error.what());
    return error.code() == mezzo::ErrorCode::file_error ? 7 : 8;
  }
  return 0;
}
