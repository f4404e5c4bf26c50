"""The inner modules of onnxruntime that its users import names from, with those names."""

from . import (  # noqa: F401
    _pybind_state,
    build_and_package_info,
    onnxruntime_inference_collection,
    onnxruntime_pybind11_state,
    onnxruntime_validation,
)
