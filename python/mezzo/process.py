"""Settings of the whole process, and what the package says about itself, under ONNX Runtime's names."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any, Callable

import numpy as np

from . import _core

package_name = "mezzo"
version = _core.version
cuda_version = ""

_SEVERITIES = 5


def set_seed(seed: int, /) -> None:
    """Starts the sequence from which random operators without an attribute `seed` draw anew: the same runs in the same order
    then give the same numbers."""
    number = _index("set_seed", seed)
    if not -(2**63) <= number < 2**63:
        raise TypeError(f"set_seed() takes an integer of 64 bits, not {number}")
    _core.set_random_seed(number % 2**64)


def set_default_logger_severity(severity: int, /) -> None:
    """Without effect: mezzo logs nothing. RuntimeError for what is not 0 to 4."""
    if not 0 <= _index("set_default_logger_severity", severity) < _SEVERITIES:
        raise RuntimeError("Invalid logging severity. 0:Verbose, 1:Info, 2:Warning, 3:Error, 4:Fatal")


def set_default_logger_verbosity(verbosity: int, /) -> None:
    """Without effect: mezzo logs nothing."""
    _index("set_default_logger_verbosity", verbosity)


def set_default_logger_callback(callback: Callable[..., Any] | None, severity: int = 2) -> None:
    """Without effect: mezzo logs nothing."""
    if callback is not None and not callable(callback):
        raise RuntimeError("callback must be a callable")


def set_global_thread_pool_sizes(intra_op_num_threads: int = 0, inter_op_num_threads: int = 0) -> None:
    """Without effect: each session has threads of its own; see SessionOptions.intra_op_num_threads."""


def enable_telemetry_events() -> None:
    """Without effect: mezzo reports nothing to anybody."""


def disable_telemetry_events() -> None:
    """Without effect: mezzo reports nothing to anybody."""


def has_collective_ops() -> bool:
    """False."""
    return False


def get_version_string() -> str:
    """The package's version."""
    return version


def get_build_info() -> str:
    """One line for bug reports."""
    return f"mezzo {version}, {platform.system()} {platform.machine()}"


def preload_dlls(cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None) -> None:
    """Without effect: mezzo needs none of them."""


def print_debug_info() -> None:
    """Prints what a bug report needs."""
    print(f"{package_name} version: {version}")
    print(f"platform: {platform.platform()}, {os.cpu_count()} processors")
    print(f"Python version: {sys.version.split()[0]}, NumPy {np.version}")
    print(f"location: {os.path.dirname(__file__)}")


def _index(function: str, value: Any) -> int:
    if isinstance(value, (int, np.integer)):
        return int(value)
    raise TypeError(f"{function}() takes an integer, not {type(value).__name__}")
