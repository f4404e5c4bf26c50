"""ONNX's backend interface, which its official tests drive.

>>> rep = prepare(example, "CPU")
>>> rep.run([[[1.0, -2.0]]])
[array([[1., 1.]], dtype=float32)]
"""

from __future__ import annotations

from .backend import MezzoBackend, is_compatible, prepare, run, run_model, run_node, supports_device
from .backend_rep import MezzoBackendRep

__all__ = [
    "MezzoBackend",
    "MezzoBackendRep",
    "is_compatible",
    "prepare",
    "run",
    "run_model",
    "run_node",
    "supports_device",
]
