"""The names of onnxruntime's module of wrappers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import providers as _providers
from ..devices import OrtDevice, get_ort_device_type, get_vendor_id_for_device_type  # noqa: F401
from ..enums import OrtDeviceVendorId  # noqa: F401
from ..io_binding import IOBinding  # noqa: F401
from ..ortvalue import OrtValue, copy_tensors  # noqa: F401
from ..session import InferenceSession
from ..sparse import SparseTensor  # noqa: F401
from ..unavailable import AdapterFormat, ModelCompiler  # noqa: F401

Session = InferenceSession


def check_and_normalize_provider_args(
    providers: Sequence[Any] | None,
    provider_options: Sequence[dict[Any, Any]] | None,
    available_provider_names: Sequence[str],
) -> tuple[list[str], list[dict[str, str]]]:
    """The names of the providers that a session would have, and the options of each."""
    if providers is None:
        return [], []
    names, options = _providers.normalize(providers, provider_options)
    return names, [options[name] for name in names]
