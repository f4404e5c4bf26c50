// The classes of mezzo._core.
#pragma once

#include <nanobind/nanobind.h>

namespace mezzo::python {

void bind_model(nanobind::module_& module);
void bind_session(nanobind::module_& module);
void bind_image(nanobind::module_& module);

}  // namespace mezzo::python
