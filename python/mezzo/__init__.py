"""mezzo: an ONNX inference engine in which every tensor is an output.

>>> import mezzo as ort
>>> session = ort.InferenceSession(example)
>>> session.run(["features"], {"x": [[1.0, -2.0]]})
[array([[1., 0.]], dtype=float32)]
"""

from __future__ import annotations

from . import capi, errors, image
from ._core import version as __version__
from .capi import onnxruntime_validation
from .devices import (
    OrtArenaCfg,
    OrtDevice,
    OrtEpDevice,
    OrtHardwareDevice,
    OrtMemoryInfo,
    create_and_register_allocator,
    create_and_register_allocator_v2,
    get_ep_devices,
)
from .enums import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    ModelPackageWriteMode,
    OrtAllocatorType,
    OrtCompileApiFlags,
    OrtDeviceMemoryType,
    OrtDeviceVendorId,
    OrtExecutionProviderDevicePolicy,
    OrtHardwareDeviceType,
    OrtMemoryInfoDeviceType,
    OrtMemType,
    OrtSparseFormat,
)
from .errors import *  # noqa: F403
from .hooks import Handle, Statistics
from .io_binding import IOBinding
from .io_binding import IOBinding as SessionIOBinding
from .model import Model, load
from .options import RunOptions, SessionOptions
from .ortvalue import OrtValue, OrtValueVector, copy_tensors
from .process import (
    cuda_version,
    disable_telemetry_events,
    enable_telemetry_events,
    get_build_info,
    get_version_string,
    has_collective_ops,
    package_name,
    preload_dlls,
    print_debug_info,
    set_default_logger_callback,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_global_thread_pool_sizes,
    set_seed,
    version,
)
from .provider_facts import OrtEpAssignedNode, OrtEpAssignedSubgraph
from .providers import get_all_providers, get_available_providers, get_device
from .session import InferenceSession
from .sparse import SparseTensor
from .unavailable import (
    AdapterFormat,
    LoraAdapter,
    ModelCompiler,
    ModelPackage,
    ModelPackageComponentContext,
    ModelPackageContext,
    ModelPackageOptions,
    OrtEpContextData,
    OrtEpContextDataBuffer,
    OrtSyncStream,
    register_execution_provider_library,
    unregister_execution_provider_library,
)
from .values import ModelMetadata, NodeArg, OrtExternalInitializerInfo, TensorInfo, Tensors
