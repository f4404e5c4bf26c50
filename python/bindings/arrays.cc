#include "arrays.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <nanobind/stl/string.h>
#include <numpy/arrayobject.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "base/convert.h"

namespace nb = nanobind;

namespace mezzo::python {
namespace {

// Below this, copying is cheaper than handing memory over.
constexpr std::size_t kCopiedBytes = 4096;

constexpr std::array<std::pair<int, DType>, 14> kNumpyTypes = {{
    {NPY_FLOAT, DType::f32},
    {NPY_UINT8, DType::u8},
    {NPY_INT8, DType::i8},
    {NPY_UINT16, DType::u16},
    {NPY_INT16, DType::i16},
    {NPY_INT32, DType::i32},
    {NPY_INT64, DType::i64},
    {NPY_BOOL, DType::boolean},
    {NPY_HALF, DType::f16},
    {NPY_DOUBLE, DType::f64},
    {NPY_UINT32, DType::u32},
    {NPY_UINT64, DType::u64},
    {NPY_CFLOAT, DType::c64},
    {NPY_CDOUBLE, DType::c128},
}};

// By element type; filled by init_arrays and alive for ever, as NumPy's own are.
std::array<PyArray_Descr*, kDTypeCount> descriptions;
std::map<int, DType> extended_types;  // ml_dtypes' numbers, which NumPy gives out when imported

// The steals and borrows of Python's C interface, in one place.
nb::object take(PyObject* object) {
  if (object == nullptr) throw nb::python_error();
  return nb::steal(object);
}

DType dtype_of_number(int number) {
  // `long long` and `long` are both 64 bits wide, and numbers of their own.
  if (number == NPY_LONGLONG) return DType::i64;
  if (number == NPY_ULONGLONG) return DType::u64;
  for (const auto& [numpy, dtype] : kNumpyTypes) {
    if (numpy == number) return dtype;
  }
  if (number == NPY_OBJECT || number == NPY_UNICODE || number == NPY_STRING ||
      number == NPY_VSTRING) {
    return DType::string;
  }
  const auto found = extended_types.find(number);
  return found != extended_types.end() ? found->second : DType::undefined;
}

Error bad(std::string problem) { return Error(ErrorCode::invalid_argument, std::move(problem)); }

std::string kind_name(nb::handle value) {
  return nb::cast<std::string>(nb::str(value.type().attr("__name__")));
}

PyArrayObject* as_array(const nb::object& object) {
  return reinterpret_cast<PyArrayObject*>(object.ptr());
}

Shape shape_of(PyArrayObject* array) {
  const npy_intp* extents = PyArray_DIMS(array);
  return Shape(extents, extents + PyArray_NDIM(array));
}

std::string text_of(PyObject* item) {
  if (PyBytes_Check(item))
    return {PyBytes_AS_STRING(item), static_cast<std::size_t>(PyBytes_GET_SIZE(item))};
  if (!PyUnicode_Check(item)) {
    throw bad("an element of a string tensor is no string").got(kind_name(item));
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(item, &size);
  if (text == nullptr) throw nb::python_error();
  return {text, static_cast<std::size_t>(size)};
}

Tensor strings_of(const nb::object& array) {
  const nb::object objects = array.attr("astype")("O");
  const nb::object flat = objects.attr("ravel")();
  Tensor tensor(DType::string, shape_of(as_array(array)));
  std::span<std::string> out = tensor.mutable_values<std::string>();
  auto* items = static_cast<PyObject**>(PyArray_DATA(as_array(flat)));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = text_of(items[i]);
  return tensor;
}

Tensor packed_of(DType dtype, PyArrayObject* array) {
  Tensor tensor(dtype, shape_of(array));
  const auto* elements = static_cast<const std::uint8_t*>(PyArray_DATA(array));
  const int mask = (1 << bits_of(dtype)) - 1;
  void* out = tensor.mutable_data();
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    write_packed(dtype, out, i, static_cast<std::uint8_t>(elements[i] & mask));
  return tensor;
}

bool is_sub_byte(DType dtype) { return bits_of(dtype) > 0 && bits_of(dtype) < 8; }

// An array, or what NumPy can make one of, which then has the type `wanted` unless that is
// undefined.
nb::object array_of(nb::handle value, DType wanted) {
  if (PyArray_Check(value.ptr())) return nb::borrow(value);
  if (value.is_none()) throw bad("None is no tensor");  // to NumPy it is NaN
  PyArray_Descr* description = nullptr;
  // A NumPy scalar has a type of its own, which the check of the feed is to see.
  if (wanted != DType::undefined && wanted != DType::string && !PyArray_CheckScalar(value.ptr())) {
    description = descriptions[static_cast<std::size_t>(wanted)];
    Py_XINCREF(description);
  }
  PyObject* made = PyArray_FromAny(value.ptr(), description, 0, 0, NPY_ARRAY_CARRAY_RO, nullptr);
  if (made == nullptr) {
    const nb::python_error cause;
    throw bad("a value that is no tensor")
        .expected("an array, a list of numbers or a number" +
                  (wanted == DType::undefined ? "" : " of type " + std::string(name_of(wanted))))
        .got(kind_name(value) + ": " + nb::cast<std::string>(nb::str(cause.value())));
  }
  nb::object array = nb::steal(made);
  const bool guessed = wanted == DType::undefined && !PyArray_CheckScalar(value.ptr());
  if (guessed && PyArray_TYPE(as_array(array)) == NPY_DOUBLE) {
    // Python's own numbers have no type that an ONNX model would know.
    return array_of(array.attr("astype")("float32"), DType::undefined);
  }
  return array;
}

Tensor dense_tensor(nb::handle value, DType wanted, std::vector<nb::object>& alive) {
  nb::object array = array_of(value, wanted);
  const DType dtype = dtype_of_number(PyArray_TYPE(as_array(array)));
  if (dtype == DType::undefined) {
    throw bad("an array of a type that ONNX does not have")
        .got(nb::cast<std::string>(nb::str(nb::object(array.attr("dtype")))));
  }
  if (dtype == DType::string) return strings_of(array);
  if (!PyArray_ISCARRAY_RO(as_array(array))) {
    PyArray_Descr* description = descriptions[static_cast<std::size_t>(dtype)];
    Py_INCREF(description);
    array = take(PyArray_FromAny(array.ptr(), description, 0, 0, NPY_ARRAY_CARRAY_RO, nullptr));
  }
  if (is_sub_byte(dtype)) return packed_of(dtype, as_array(array));
  if (array.ptr() != value.ptr()) alive.push_back(array);
  return Tensor::view(dtype, shape_of(as_array(array)), PyArray_DATA(as_array(array)));
}

// What a value of Python is, where nothing is declared.
onnx::Type::Kind looks_like(nb::handle value) {
  using Kind = onnx::Type::Kind;
  if (value.is_none()) return Kind::optional;
  if (PyDict_Check(value.ptr())) return Kind::map;
  if (!PyList_Check(value.ptr()) || PyList_GET_SIZE(value.ptr()) == 0) return Kind::tensor;
  PyObject* first = PyList_GET_ITEM(value.ptr(), 0);
  return PyArray_Check(first) || PyDict_Check(first) ? Kind::sequence : Kind::tensor;
}

Tensor sequence_of(nb::handle value, const onnx::Type& type, std::vector<nb::object>& alive) {
  if (!PyList_Check(value.ptr()) && !PyTuple_Check(value.ptr())) {
    throw bad("a feed of the wrong type").expected("a list, for a sequence").got(kind_name(value));
  }
  static const onnx::Type kAny;
  std::vector<Tensor> elements;
  for (const nb::handle item : value) {
    elements.push_back(to_tensor(item, type.element != nullptr ? *type.element : kAny, alive));
  }
  return Tensor::sequence(std::move(elements));
}

Tensor map_of(nb::handle value, const onnx::Type& type, std::vector<nb::object>& alive) {
  if (!PyDict_Check(value.ptr())) {
    throw bad("a feed of the wrong type").expected("a dict, for a map").got(kind_name(value));
  }
  const auto dict = nb::borrow<nb::dict>(value);
  const nb::object keys = take(PyDict_Keys(dict.ptr())), values = take(PyDict_Values(dict.ptr()));
  const DType element = type.element != nullptr && type.element->kind == onnx::Type::Kind::tensor
                            ? type.element->dtype
                            : DType::undefined;
  Tensor key_tensor = dense_tensor(keys, type.dtype, alive);
  Tensor value_tensor = dense_tensor(values, element, alive);
  return Tensor::map(std::move(key_tensor), std::move(value_tensor));
}

nb::object strings_from(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  std::vector<npy_intp> extents(shape.begin(), shape.end());
  nb::object array = take(PyArray_SimpleNew(tensor.rank(), extents.data(), NPY_OBJECT));
  auto* items = static_cast<PyObject**>(PyArray_DATA(as_array(array)));
  for (const std::string& text : tensor.values<std::string>()) {
    PyObject* item =
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
    if (item == nullptr) throw nb::python_error();
    Py_XSETREF(*items, item);
    ++items;
  }
  return array;
}

nb::object new_array(DType dtype, const Shape& shape, void* data) {
  static_assert(std::is_same_v<Shape::value_type, npy_intp>);
  PyArray_Descr* description = descriptions[static_cast<std::size_t>(dtype)];
  if (description == nullptr) {
    throw Error(ErrorCode::unsupported, "NumPy has no such type")
        .got(std::string(name_of(dtype)))
        .hint("Install a newer ml_dtypes");
  }
  Py_INCREF(description);
  return take(PyArray_NewFromDescr(&PyArray_Type, description, static_cast<int>(shape.size()),
                                   shape.data(), nullptr, data,
                                   data != nullptr ? NPY_ARRAY_CARRAY : 0, nullptr));
}

// The base of an array whose memory is a tensor's: Python's object and the tensor in one piece of
// memory, since every piece costs where hundreds of values are fetched.
class Owner {
 public:
  static nb::object of(Tensor tensor) {
    auto* owner = PyObject_New(Object, type);
    if (owner == nullptr) throw nb::python_error();
    new (&owner->tensor) Tensor(std::move(tensor));
    return nb::steal(reinterpret_cast<PyObject*>(owner));
  }

  static void init() {
    static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)}, {0, nullptr}};
    static PyType_Spec spec = {"mezzo._core.TensorOwner", sizeof(Object), 0, Py_TPFLAGS_DEFAULT,
                               slots};
    type = reinterpret_cast<PyTypeObject*>(take(PyType_FromSpec(&spec)).release().ptr());
    type->tp_new = nullptr;  // only for arrays
  }

 private:
  struct Object {
    PyObject_HEAD Tensor tensor;
  };
  static void dealloc(PyObject* self) {
    PyTypeObject* own = Py_TYPE(self);
    reinterpret_cast<Object*>(self)->tensor.~Tensor();
    PyObject_Free(self);
    Py_DECREF(own);
  }

  static inline PyTypeObject* type = nullptr;
};

nb::object array_from(Tensor tensor) {
  if (is_sub_byte(tensor.dtype())) {
    nb::object array = new_array(tensor.dtype(), tensor.shape(), nullptr);
    auto* out = static_cast<std::uint8_t*>(PyArray_DATA(as_array(array)));
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      out[i] = read_packed(tensor.dtype(), tensor.data(), i);
    }
    return array;
  }
  if (tensor.bytes() <= kCopiedBytes) {
    nb::object array = new_array(tensor.dtype(), tensor.shape(), nullptr);
    if (tensor.bytes() > 0)
      std::memcpy(PyArray_DATA(as_array(array)), tensor.data(), tensor.bytes());
    return array;
  }
  void* data = tensor.mutable_data();  // makes the memory this tensor's own, if it is not
  nb::object array = new_array(tensor.dtype(), tensor.shape(), data);
  nb::object owner = Owner::of(std::move(tensor));
  if (PyArray_SetBaseObject(as_array(array), owner.release().ptr()) < 0) throw nb::python_error();
  return array;
}

nb::object dict_from(const Tensor& map) {
  const auto* parts = static_cast<const Tensor*>(map.data());
  const nb::object keys = from_tensor(parts[0]).attr("tolist")();
  nb::object values = from_tensor(parts[1]);
  if (!nb::isinstance<nb::list>(values)) values = values.attr("tolist")();
  nb::dict dict;
  for (std::size_t i = 0; i < nb::len(keys); ++i) dict[keys[i]] = values[i];
  return dict;
}

}  // namespace

Tensor to_tensor(nb::handle value, const onnx::Type& type, std::vector<nb::object>& alive) {
  using Kind = onnx::Type::Kind;
  switch (type.kind == Kind::none ? looks_like(value) : type.kind) {
    case Kind::sequence:
      return sequence_of(value, type, alive);
    case Kind::map:
      return map_of(value, type, alive);
    case Kind::optional: {
      if (value.is_none()) return Tensor::none();
      static const onnx::Type kAny;
      return to_tensor(value, type.element != nullptr ? *type.element : kAny, alive);
    }
    default:
      return dense_tensor(value, type.kind == Kind::tensor ? type.dtype : DType::undefined, alive);
  }
}

nb::object from_tensor(Tensor tensor) {
  switch (tensor.dtype()) {
    case DType::undefined:
    case DType::none:
      return nb::none();
    case DType::string:
      return strings_from(tensor);
    case DType::map:
      return dict_from(tensor);
    case DType::sequence: {
      nb::list list;
      for (const Tensor& element : tensor.values<Tensor>()) list.append(from_tensor(element));
      return list;
    }
    default:
      return array_from(std::move(tensor));
  }
}

nb::object numpy_dtype(DType dtype) {
  if (dtype == DType::string)
    return take(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_OBJECT)));
  PyArray_Descr* description = static_cast<int>(dtype) < kDTypeCount
                                   ? descriptions[static_cast<std::size_t>(dtype)]
                                   : nullptr;
  if (description == nullptr) {
    throw Error(ErrorCode::unsupported, "NumPy has no such type").got(std::string(name_of(dtype)));
  }
  return nb::borrow(reinterpret_cast<PyObject*>(description));
}

DType dtype_of(nb::handle numpy_dtype) {
  PyArray_Descr* description = nullptr;
  if (PyArray_DescrConverter(numpy_dtype.ptr(), &description) == NPY_FAIL) throw nb::python_error();
  const DType dtype = dtype_of_number(description->type_num);
  Py_DECREF(description);
  return dtype;
}

void init_arrays() {
  if (_import_array() < 0) throw nb::python_error();
  Owner::init();
  for (const auto& [number, dtype] : kNumpyTypes) {
    descriptions[static_cast<std::size_t>(dtype)] = PyArray_DescrFromType(number);
  }
  const nb::module_ ml_dtypes = nb::module_::import_("ml_dtypes");
  for (int i = 1; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::string name(name_of(dtype));
    if (dtype == DType::string || descriptions[static_cast<std::size_t>(i)] != nullptr ||
        !nb::hasattr(ml_dtypes, name.c_str())) {
      continue;  // an older ml_dtypes lacks the smallest types
    }
    PyArray_Descr* description = nullptr;
    if (PyArray_DescrConverter(nb::object(ml_dtypes.attr(name.c_str())).ptr(), &description) ==
        NPY_FAIL) {
      throw nb::python_error();
    }
    descriptions[static_cast<std::size_t>(i)] = description;
    extended_types[description->type_num] = dtype;
  }
}

}  // namespace mezzo::python
