"""Every public name of onnxruntime is there, with its members, its arguments and its numbers."""

import importlib
import inspect

import pytest

import mezzo
from mezzo import unavailable
from mezzo.capi import onnxruntime_pybind11_state as state

onnxruntime = pytest.importorskip("onnxruntime", "1.32", reason="the names are those of ONNX Runtime 1.32")
their_state = onnxruntime.capi.onnxruntime_pybind11_state

# Not part of the interface: what its modules happen to import, and groups of classes about kernels.
STRAY = {"contextlib", "import_capi_exception", "DeviceReset", "opkernel", "schemadef"}
CLASSES = (
    "InferenceSession IOBinding OrtValue OrtDevice SparseTensor SessionOptions RunOptions NodeArg ModelMetadata OrtMemoryInfo "
    "OrtArenaCfg OrtEpDevice OrtHardwareDevice OrtExternalInitializerInfo OrtEpAssignedNode OrtEpAssignedSubgraph"
).split()
INNER_CLASSES = "OrtValueVector OrtValue OrtDevice SessionIOBinding SparseTensor SparseCooView SparseCsrView".split()
FUNCTIONS = "copy_tensors preload_dlls print_debug_info".split()
INNER_MODULES = (
    "_pybind_state build_and_package_info onnxruntime_inference_collection onnxruntime_pybind11_state onnxruntime_validation"
).split()


def public(item):
    return {name for name in dir(item) if not name.startswith("_")} - STRAY


def enumerations():
    items = ((name, getattr(their_state, name)) for name in sorted(public(their_state)))
    return [name for name, item in items if inspect.isclass(item) and hasattr(item, "__members__")]


def test_names_of_the_package():
    assert public(onnxruntime) <= set(dir(mezzo))


def test_names_of_the_inner_module():
    assert public(their_state) <= set(dir(state))


@pytest.mark.parametrize("name", INNER_MODULES)
def test_inner_modules(name):
    assert inspect.ismodule(importlib.import_module(f"mezzo.capi.{name}"))


@pytest.mark.parametrize("name", ["OrtDevice", "OrtValue", "Session", "InferenceSession", "IOBinding", "copy_tensors"])
def test_names_of_the_module_of_wrappers(name):
    theirs = onnxruntime.capi.onnxruntime_inference_collection
    assert hasattr(theirs, name)
    assert hasattr(mezzo.capi.onnxruntime_inference_collection, name)


@pytest.mark.parametrize("name", CLASSES)
def test_members(name):
    theirs = getattr(onnxruntime, name)
    made = {"NodeArg": ("x", "t", []), "ModelMetadata": ("", "", "", "", "", 0, {})}
    ours = getattr(mezzo, name)
    if name in made:  # their members are fields
        ours = ours(*made[name])
    fields = set(getattr(getattr(mezzo, name), "__dataclass_fields__", ()))
    instance = vars(mezzo.OrtArenaCfg({})) if name == "OrtArenaCfg" else ()
    assert public(theirs) <= set(dir(ours)) | fields | set(instance)


@pytest.mark.parametrize("name", INNER_CLASSES)
def test_members_of_inner_classes(name):
    # These are the functions behind one that takes several kinds of arguments.
    behind = {"ortvalue_from_shape_and_type_for_memory_info", "ortvalue_from_shape_and_onnx_type_for_memory_info"}
    assert public(getattr(their_state, name)) - behind <= set(dir(getattr(state, name)))


def arguments(function):
    parameters = list(inspect.signature(function).parameters.values())
    return [(p.name, p.default if isinstance(p.default, (str, int, type(None))) else p.default is p.empty) for p in parameters]


@pytest.mark.parametrize("name", ["InferenceSession", "IOBinding", "OrtValue", "OrtDevice", "SparseTensor"])
def test_arguments_of_methods(name):
    theirs, ours = getattr(onnxruntime, name), getattr(mezzo, name)
    methods = public(theirs) | ({"__init__"} if name in ("InferenceSession", "IOBinding") else set())
    for method in sorted(methods):
        expected = [argument for argument in arguments(getattr(theirs, method)) if argument[0] != "kwargs"]
        assert arguments(getattr(ours, method))[: len(expected)] == expected, method


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_of_functions(name):
    assert arguments(getattr(mezzo, name)) == arguments(getattr(onnxruntime, name))


@pytest.mark.parametrize("name", enumerations())
def test_numbers_of_enumerations(name):
    theirs = {key: int(value) for key, value in getattr(their_state, name).__members__.items()}
    assert {key: int(value) for key, value in getattr(state, name).__members__.items()} == theirs


@pytest.mark.parametrize("name", sorted(unavailable.CLASSES))
def test_classes_that_are_not_there_say_why(name):
    item = getattr(unavailable, name)
    assert item.__name__ == name
    assert not isinstance(3, item)
    for use in (item, lambda: item.open("path")):
        with pytest.raises(mezzo.NotImplemented, match=f"{name}.* is not part of mezzo: .{{10}}"):
            use()


@pytest.mark.parametrize("name", sorted(unavailable.FUNCTIONS))
def test_functions_that_are_not_there_say_why(name):
    with pytest.raises(mezzo.NotImplemented, match=f"{name} is not part of mezzo: .{{10}}"):
        getattr(unavailable, name)(1, second=2)


@pytest.mark.parametrize("name", sorted(unavailable.PACKAGES))
def test_packages_that_are_not_there_say_why(name):
    with pytest.raises(ModuleNotFoundError, match=f"onnxruntime.{name} is not part of mezzo: .{{10}}"):
        importlib.import_module(f"mezzo.{name}")
