"""What onnxruntime has and mezzo has not: the names exist, and using them raises NotImplemented with the reason."""

from __future__ import annotations

from typing import Any, Callable

from . import errors

_COMPILED = "plans are made when a request comes, so there are no compiled models; load the model itself"
_PACKAGED = "it reads ONNX files; unpack the model"
_ADAPTERS = "feed the adapter's tensors under their names instead"
_LIBRARIES = "it cannot call kernels that were built for another runtime"
_SCHEMAS = "`mezzo ops` lists its operators; onnx.defs has their schemas"
_WEIGHTS = "quantise the model beforehand, with onnxruntime or onnx-neural-compressor"

CLASSES = {
    "AdapterFormat": _ADAPTERS,
    "LoraAdapter": _ADAPTERS,
    "ModelCompiler": _COMPILED,
    "ModelPackage": _PACKAGED,
    "ModelPackageComponentContext": _PACKAGED,
    "ModelPackageContext": _PACKAGED,
    "ModelPackageOptions": _PACKAGED,
    "OrtEpContextData": _COMPILED,
    "OrtEpContextDataBuffer": _COMPILED,
    "OrtSyncStream": "a CPU has no streams",
    "SessionObjectInitializer": "sessions need none",
    "SparseBlockSparseView": "ONNX has no block-sparse tensors; use COO",
}

FUNCTIONS = {
    "get_all_operator_schema": _SCHEMAS,
    "get_all_opkernel_def": _SCHEMAS,
    "get_compatibility_info_from_model": _COMPILED,
    "get_compatibility_info_from_model_bytes": _COMPILED,
    "get_hardware_device_ep_incompatibility_details": "there is one provider, and it runs on every CPU",
    "get_model_compatibility_for_ep_devices": _COMPILED,
    "get_session_initializer": "sessions need none",
    "get_registered_ep_kernel_defs": _SCHEMAS,
    "pack_fp4_weights_for_cuda_moe_gemm": _WEIGHTS,
    "quantize_matmul_2bits": _WEIGHTS,
    "quantize_matmul_4bits": _WEIGHTS,
    "quantize_matmul_8bits": _WEIGHTS,
    "quantize_matmul_bnb4": _WEIGHTS,
    "quantize_qdq_matmul_2bits": _WEIGHTS,
    "quantize_qdq_matmul_4bits": _WEIGHTS,
    "register_execution_provider_library": _LIBRARIES,
    "unregister_execution_provider_library": _LIBRARIES,
}

PACKAGES = {
    "datasets": "its example models come with onnxruntime",
    "quantization": "it works on files alone: quantise with onnxruntime, and run the result here",
    "tools": "they work on files alone and come with onnxruntime",
    "transformers": "its rewriting of graphs comes with onnxruntime; mezzo fuses by itself",
}


class _Unavailable(type):
    """A class of which only the name is there."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        raise errors.unavailable(cls.__name__, CLASSES[cls.__name__])

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise errors.unavailable(f"{cls.__name__}.{name}", CLASSES[cls.__name__])


def _function(name: str, reason: str) -> Callable[..., Any]:
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise errors.unavailable(name, reason)

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Not part of mezzo: {reason}."
    return refuse


def package_error(name: str) -> ModuleNotFoundError:
    """What importing one of PACKAGES raises."""
    return ModuleNotFoundError(f"onnxruntime.{name} is not part of mezzo: {PACKAGES[name]}", name=f"mezzo.{name}")


def __getattr__(name: str) -> Any:
    if name in CLASSES:
        made: Any = _Unavailable(name, (), {"__doc__": f"Not part of mezzo: {CLASSES[name]}.", "__module__": __name__})
    elif name in FUNCTIONS:
        made = _function(name, FUNCTIONS[name])
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made  # one object for each name
    return made
