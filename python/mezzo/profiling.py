"""A trace of a session's runs, in the format of Chrome's tracing (chrome://tracing, Perfetto)."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any


class Profile:
    """Collects what steps took; thread-safe."""

    def __init__(self, prefix: str) -> None:
        self.start_ns = time.monotonic_ns()
        self._path = f"{prefix}_{time.strftime('%Y-%m-%d_%H-%M-%S')}.json".replace("__", "_")
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []

    def add(self, steps: list[tuple[str, str, str, int, int, int]], start_ns: int, end_ns: int) -> None:
        """One run with its steps: (node, operator, kernel, multiply-adds, start, duration), times in nanoseconds."""
        events = [self._event("model_run", "Session", start_ns, end_ns - start_ns, {})]
        events += [
            self._event(f"{node}_kernel_time", "Node", start, duration, _about(op, kernel, multiply_adds))
            for node, op, kernel, multiply_adds, start, duration in steps
        ]
        with self._lock:
            self._events += events

    def _event(self, name: str, category: str, start_ns: int, duration_ns: int, args: dict[str, Any]) -> dict[str, Any]:
        return {
            "cat": category,
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
            "ts": (start_ns - self.start_ns) // 1000,
            "dur": duration_ns // 1000,
            "ph": "X",
            "name": name,
            "args": args,
        }

    def write(self) -> str:
        """Writes the trace and returns its path."""
        with self._lock, open(self._path, "w", encoding="utf-8") as file:
            json.dump(self._events, file)
        return self._path


def _about(op: str, kernel: str, multiply_adds: int) -> dict[str, Any]:
    return {"op_name": op, "kernel": kernel, "multiply_adds": multiply_adds, "provider": "CPUExecutionProvider"}
