"""The names of onnxruntime's extension module."""

from __future__ import annotations

from .. import unavailable as _unavailable
from ..devices import (  # noqa: F401
    OrtArenaCfg,
    OrtDevice,
    OrtEpDevice,
    OrtHardwareDevice,
    OrtMemoryInfo,
    create_and_register_allocator,
    create_and_register_allocator_v2,
    get_ep_devices,
    get_hardware_devices,
)
from ..enums import (  # noqa: F401
    ArenaExtendStrategy,
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    ModelPackageWriteMode,
    OrtAllocatorType,
    OrtCompileApiFlags,
    OrtCompiledModelCompatibility,
    OrtDeviceEpIncompatibilityReason,
    OrtDeviceMemoryType,
    OrtExecutionProviderDevicePolicy,
    OrtHardwareDeviceType,
    OrtMemoryInfoDeviceType,
    OrtMemType,
    OrtSparseFormat,
)
from ..errors import (  # noqa: A004, F401
    EngineError,
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoadCanceled,
    ModelLoaded,
    ModelRequiresCompilation,
    NoModel,
    NoSuchFile,
    NotFound,
    NotImplemented,
    RuntimeException,
)
from ..io_binding import IOBinding as SessionIOBinding  # noqa: F401
from ..options import RunOptions, SessionOptions  # noqa: F401
from ..ortvalue import OrtValue, OrtValueVector, copy_tensors  # noqa: F401
from ..process import (  # noqa: F401
    disable_telemetry_events,
    enable_telemetry_events,
    get_build_info,
    get_version_string,
    has_collective_ops,
    set_default_logger_callback,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_global_thread_pool_sizes,
    set_seed,
)
from ..provider_facts import OrtEpAssignedNode, OrtEpAssignedSubgraph  # noqa: F401
from ..providers import get_all_providers, get_available_providers, get_device  # noqa: F401
from ..session import InferenceSession  # noqa: F401
from ..sparse import SparseCooView, SparseCsrView, SparseTensor  # noqa: F401
from ..values import ModelMetadata, NodeArg, OrtExternalInitializerInfo  # noqa: F401

kNextPowerOfTwo = ArenaExtendStrategy.kNextPowerOfTwo  # noqa: N816
kSameAsRequested = ArenaExtendStrategy.kSameAsRequested  # noqa: N816
globals().update({name: getattr(_unavailable, name) for name in (*_unavailable.CLASSES, *_unavailable.FUNCTIONS)})

_DEFAULT_OPTIONS = SessionOptions()


def get_default_session_options() -> SessionOptions:
    """The options of sessions that are given none."""
    return _DEFAULT_OPTIONS
