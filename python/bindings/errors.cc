#include "errors.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "mezzo/error.h"

namespace nb = nanobind;

namespace mezzo::python {
namespace {

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::missing_input:
      return "missing_input";
    case ErrorCode::file_error:
      return "file_error";
    case ErrorCode::damaged_file:
      return "damaged_file";
    case ErrorCode::invalid_model:
      return "invalid_model";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::limit:
      return "limit";
    case ErrorCode::runtime:
      return "runtime";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::internal:
      break;
  }
  return "internal";
}

// Texts from damaged files need not be UTF-8.
nb::object text(const std::string& bytes) {
  return nb::steal(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

void raise(const std::exception_ptr& thrown, void* /*payload*/) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    const nb::object exception =
        nb::module_::import_("mezzo.errors")
            .attr("from_error")(name_of(error.code()), text(error.what()), text(error.problem()),
                                text(error.place()), text(error.expected_text()),
                                text(error.got_text()), text(error.hint_text()));
    PyErr_SetObject(exception.type().ptr(), exception.ptr());
  }
}

}  // namespace

void translate_errors() { nb::register_exception_translator(raise, nullptr); }

}  // namespace mezzo::python
