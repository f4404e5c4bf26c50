#include "mezzo/image.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include "arrays.h"
#include "classes.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace mezzo::python {
namespace {

nb::object load(const std::string& path, const image::Preprocess& settings) {
  Tensor tensor;
  {
    const nb::gil_scoped_release released;
    tensor = image::load(path, settings);
  }
  return from_tensor(std::move(tensor));
}

nb::object load_bytes(const nb::bytes& data, const image::Preprocess& settings) {
  Tensor tensor;
  {
    const nb::gil_scoped_release released;
    tensor = image::load_memory(data.c_str(), data.size(), settings);
  }
  return from_tensor(std::move(tensor));
}

}  // namespace

void bind_image(nb::module_& module) {
  using image::Preprocess;
  nb::enum_<image::Resize>(module, "Resize")
      .value("NONE", image::Resize::none)
      .value("SHORT_SIDE", image::Resize::short_side)
      .value("EXACT", image::Resize::exact);
  nb::enum_<image::Filter>(module, "Filter")
      .value("PILLOW_BILINEAR", image::Filter::pillow_bilinear)
      .value("PILLOW_BICUBIC", image::Filter::pillow_bicubic)
      .value("OPENCV_LINEAR", image::Filter::opencv_linear);
  nb::enum_<image::Color>(module, "Color")
      .value("RGB", image::Color::rgb)
      .value("BGR", image::Color::bgr)
      .value("GRAY", image::Color::gray);
  nb::enum_<image::Layout>(module, "Layout")
      .value("NCHW", image::Layout::nchw)
      .value("NHWC", image::Layout::nhwc);
  nb::class_<Preprocess>(module, "Preprocess")
      .def(nb::init<>())
      .def_rw("resize", &Preprocess::resize)
      .def_rw("short_side", &Preprocess::short_side)
      .def_rw("width", &Preprocess::width)
      .def_rw("height", &Preprocess::height)
      .def_rw("filter", &Preprocess::filter)
      .def_rw("crop_width", &Preprocess::crop_width)
      .def_rw("crop_height", &Preprocess::crop_height)
      .def_rw("color", &Preprocess::color)
      .def_rw("layout", &Preprocess::layout)
      .def_rw("scale", &Preprocess::scale)
      .def_rw("mean", &Preprocess::mean)
      .def_rw("std", &Preprocess::std)
      .def_prop_rw(
          "dtype", [](const Preprocess& settings) { return numpy_dtype(settings.dtype); },
          [](Preprocess& settings, nb::handle dtype) { settings.dtype = dtype_of(dtype); });
  module.def("imagenet", &image::imagenet);
  module.def("plain", &image::plain);
  module.def(
      "load_image", &load, "path"_a, "settings"_a,
      nb::sig(
          "def load_image(path: str, settings: Preprocess) -> numpy.typing.NDArray[typing.Any]"));
  module.def("load_image_bytes", &load_bytes, "data"_a, "settings"_a,
             nb::sig("def load_image_bytes(data: bytes, settings: Preprocess) -> "
                     "numpy.typing.NDArray[typing.Any]"));
}

}  // namespace mezzo::python
