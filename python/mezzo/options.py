"""Options of sessions and runs, under ONNX Runtime's names.

Options that steer what mezzo does differently (its memory is always planned, its runs are always deterministic) are
accepted and kept; what each of them means here stands beside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from . import _core, errors
from .enums import ExecutionMode, ExecutionOrder, GraphOptimizationLevel


class _Entries:
    """Options that are text by name."""

    __slots__ = ()
    _entries: dict[str, str]

    def _add(self, method: str, key: str, value: str) -> None:
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{method}() takes two strings, not {type(key).__name__} and {type(value).__name__}")
        self._entries[key] = value

    def _get(self, key: str) -> str:
        if key not in self._entries:
            raise RuntimeError(f"{type(self).__name__} does not have configuration with key: {key}")
        return self._entries[key]


class _Typed:
    """An attribute that takes values of one type only."""

    def __init__(self, kind: type, default: Any, doc: str = "") -> None:
        self.kind, self.default, self.__doc__ = kind, default, doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance._values.get(self.name, self.default)

    def __set__(self, instance: Any, value: Any) -> None:
        accepted = (int, np.integer) if self.kind is int else (bool, np.bool_) if self.kind is bool else (self.kind,)
        if self.kind is str and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, accepted):
            raise TypeError(
                f"{type(instance).__name__}.{self.name} takes {self.kind.__name__}, not {type(value).__name__}: {value!r}"
            )
        instance._values[self.name] = self.kind(value)


class SessionOptions(_Entries):
    """Settings of a session.

    >>> options = SessionOptions()
    >>> options.intra_op_num_threads = 1
    """

    __slots__ = (
        "_values",
        "_entries",
        "_dimensions",
        "_denotations",
        "_initializers",
        "_external_bytes",
        "_providers",
    )

    intra_op_num_threads = _Typed(int, 0, "Threads of a run, the caller's included; 0: one for each core.")
    inter_op_num_threads = _Typed(int, 0, "Without effect: nodes run one after the other.")
    graph_optimization_level = _Typed(GraphOptimizationLevel, GraphOptimizationLevel.ORT_ENABLE_ALL)
    execution_mode = _Typed(ExecutionMode, ExecutionMode.ORT_SEQUENTIAL)
    execution_order = _Typed(ExecutionOrder, ExecutionOrder.DEFAULT)
    enable_profiling = _Typed(bool, False, "Whether InferenceSession.end_profiling writes a trace of all runs.")
    profile_file_prefix = _Typed(str, "onnxruntime_profile_", "How the trace's file name begins.")
    optimized_model_filepath = _Typed(str, "", "Where the model is saved to when the session is made.")
    enable_cpu_mem_arena = _Typed(bool, True, "Without effect: memory is always pooled.")
    enable_mem_pattern = _Typed(bool, True, "Without effect: memory is always planned.")
    enable_mem_reuse = _Typed(bool, True, "Without effect: memory is always planned.")
    log_severity_level = _Typed(int, -1, "Without effect: mezzo logs nothing.")
    log_verbosity_level = _Typed(int, 0, "Without effect: mezzo logs nothing.")
    logid = _Typed(str, "", "Without effect: mezzo logs nothing.")
    use_deterministic_compute = _Typed(bool, False, "Without effect: the same request gives the same bits.")
    use_per_session_threads = _Typed(bool, True, "Without effect: each session has threads of its own.")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._entries = {}
        self._dimensions: dict[str, int] = {}
        self._denotations: dict[str, int] = {}
        self._initializers: dict[str, Any] = {}
        self._external_bytes: dict[str, bytes] = {}
        self._providers: list[tuple[str, dict[str, str]]] = []

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Sets an option that has no attribute. `session.model_external_initializers_file_folder_path` is where a model
        from memory has its external data; others are kept, without effect."""
        self._add("add_session_config_entry", key, value)

    def get_session_config_entry(self, key: str) -> str:
        """The entry; RuntimeError where there is none."""
        return self._get(key)

    def add_free_dimension_override_by_name(self, name: str, value: int) -> None:
        """Says what the extent `name` (as in [`batch`, 3]) of all inputs is."""
        self._dimensions[name] = int(value)

    def add_free_dimension_override_by_denotation(self, denotation: str, value: int) -> None:
        """Says what the extents of all inputs are that have that denotation ("DATA_BATCH")."""
        self._denotations[denotation] = int(value)

    def add_initializer(self, name: str, value: Any) -> None:
        """Gives the initializer `name` another value (an OrtValue or array) in this session."""
        self._initializers[name] = value

    def add_external_initializers(self, names: Sequence[str], values: Sequence[Any]) -> None:
        """The same for several initializers."""
        if len(names) != len(values):
            raise ValueError(f"{len(names)} names, but {len(values)} values")
        self._initializers.update(zip(names, values))

    def add_external_initializers_from_files_in_memory(
        self, names: Sequence[str], contents: Sequence[bytes], lengths: Sequence[int]
    ) -> None:
        """NotImplemented: it says why."""
        raise errors.unavailable("SessionOptions.add_external_initializers_from_files_in_memory", "give a folder of files")

    def add_provider(self, name: str, options: dict[str, str] | None = None) -> None:
        """Adds an execution provider; only CPUExecutionProvider runs anything."""
        self._providers.append((name, dict(options or {})))

    def add_provider_for_devices(self, devices: Sequence[Any], options: dict[str, str]) -> None:
        """NotImplemented: it says why."""
        raise errors.unavailable("SessionOptions.add_provider_for_devices", "mezzo runs on the CPU")

    def has_providers(self) -> bool:
        """Whether add_provider was called."""
        return bool(self._providers)

    def register_custom_ops_library(self, path: str) -> None:
        """NotImplemented: it says why."""
        raise errors.unavailable("register_custom_ops_library", f"mezzo cannot call kernels built for another runtime ({path})")

    def set_provider_selection_policy(self, policy: Any) -> None:
        """Without effect: there is one provider."""

    def set_provider_selection_policy_delegate(self, delegate: Callable[..., Any]) -> None:
        """Without effect: there is one provider."""

    def set_load_cancellation_flag(self, value: bool) -> None:
        """Ends the making of sessions with these options, where it is True."""
        self._entries["mezzo.cancel_load"] = "1" if value else "0"

    def set_ep_context_data_read_func(self, function: Callable[..., Any]) -> None:
        """NotImplemented: it says why."""
        raise errors.unavailable("set_ep_context_data_read_func", "there are no compiled contexts")

    def clear_ep_context_data_read_func(self) -> None:
        """NotImplemented: it says why."""
        raise errors.unavailable("clear_ep_context_data_read_func", "there are no compiled contexts")


class RunOptions(_Entries):
    """Settings of one run.

    >>> options = RunOptions()
    >>> options.terminate
    False
    """

    __slots__ = ("_values", "_entries", "_stop")

    log_severity_level = _Typed(int, -1, "Without effect: mezzo logs nothing.")
    log_verbosity_level = _Typed(int, 0, "Without effect: mezzo logs nothing.")
    logid = _Typed(str, "", "Without effect: mezzo logs nothing.")
    only_execute_path_to_fetches = _Typed(bool, False, "Without effect: nothing else is ever executed.")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._entries = {}
        self._stop = _core.StopFlag()

    @property
    def terminate(self) -> bool:
        """Set to True, from any thread: runs with these options end with Fail before their next step."""
        return self._stop.get()

    @terminate.setter
    def terminate(self, value: bool) -> None:
        self._stop.set(bool(value))

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Sets an option that has no attribute; kept, without effect."""
        self._add("add_run_config_entry", key, value)

    def get_run_config_entry(self, key: str) -> str:
        """The entry; RuntimeError where there is none."""
        return self._get(key)

    def add_active_adapter(self, adapter: Any) -> None:
        """NotImplemented: it says why."""
        raise errors.unavailable("RunOptions.add_active_adapter", "feed the adapter's tensors under their names instead")
