// mezzo._core: the C++ engine as the Python package sees it. What users call is in mezzo/*.py.
#include <nanobind/nanobind.h>

#include "arrays.h"
#include "classes.h"
#include "errors.h"
#include "mezzo/random.h"

namespace nb = nanobind;

NB_MODULE(_core, module) {
  module.doc() = "mezzo's engine; use the package `mezzo`, which wraps it";
  module.attr("version") = MEZZO_VERSION;
  mezzo::python::init_arrays();
  mezzo::python::translate_errors();
  mezzo::python::bind_model(module);
  mezzo::python::bind_session(module);
  mezzo::python::bind_image(module);
  module.def("set_random_seed", &mezzo::set_random_seed, nb::arg("seed"));
}
