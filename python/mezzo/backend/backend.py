"""The functions of ONNX's backend interface, as a class and as functions of the module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model import Model
from ..options import SessionOptions
from ..providers import get_device
from ..session import InferenceSession
from .backend_rep import MezzoBackendRep, with_settings

_SESSION_OPTIONS = frozenset(
    {
        "enable_cpu_mem_arena",
        "enable_mem_pattern",
        "enable_mem_reuse",
        "execution_mode",
        "execution_order",
        "graph_optimization_level",
        "inter_op_num_threads",
        "intra_op_num_threads",
        "log_severity_level",
        "log_verbosity_level",
        "logid",
        "use_deterministic_compute",
        "use_per_session_threads",
    }
)


class MezzoBackend:
    """ONNX's backend interface (onnx.backend.base.Backend), without needing the package onnx but for `run_node`."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run on that device: 'CPU' alone."""
        return device == get_device()

    @classmethod
    def is_compatible(cls, model: Any, device: str | None = None, **kwargs: Any) -> bool:
        """Whether the device is one that models run on; the model is not looked at, as there."""
        return cls.supports_device(device if device is not None else get_device())

    @classmethod
    def prepare(cls, model: Any, device: str | None = None, **kwargs: Any) -> MezzoBackendRep:
        """A model made ready to run.

        :param model: a path, a file's bytes, an onnx.ModelProto, a session, or what `prepare` returned
        :param kwargs: attributes of SessionOptions; those that do not exist are ignored
        """
        if isinstance(model, MezzoBackendRep):
            return model
        if isinstance(model, InferenceSession):
            return MezzoBackendRep(model)
        if not isinstance(model, (str, bytes, os.PathLike, Model)):
            model = model.SerializeToString()
        if device is not None and not cls.supports_device(device):
            raise RuntimeError(f"Incompatible device expected '{device}', got '{get_device()}'")
        return MezzoBackendRep(InferenceSession(model, with_settings(SessionOptions(), kwargs, _SESSION_OPTIONS)))

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str | None = None, **kwargs: Any) -> list[Any]:
        """`prepare` and `run` in one."""
        return cls.prepare(model, device, **kwargs).run(inputs, **kwargs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Sequence[Any] | Mapping[str, Any],
        device: str | None = None,
        outputs_info: Sequence[tuple[Any, Sequence[int]]] | None = None,
        *,
        opset_version: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node (an onnx.NodeProto). `inputs` are in the order of the node's, or by name.

        :param opset_version: of the node's domain; the newest that the package onnx knows, where it is not given
        """
        import onnx
        from onnx import helper

        names = [name for name in node.input if name]
        feed = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs))
        arrays = {name: np.asarray(value) for name, value in feed.items()}
        declared = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        opset = opset_version if opset_version is not None else _newest_opset(onnx, node.domain)
        model = helper.make_model(
            helper.make_graph([node], "node", declared, outputs), opset_imports=[helper.make_opsetid(node.domain, opset)]
        )
        return tuple(cls.prepare(model, device, **kwargs).run(arrays))


def _newest_opset(onnx: Any, domain: str) -> int:
    versions = [schema.since_version for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == domain]
    return max(versions, default=1)


OnnxRuntimeBackend = MezzoBackend
is_compatible = MezzoBackend.is_compatible
prepare = MezzoBackend.prepare
run = run_model = MezzoBackend.run_model
run_node = MezzoBackend.run_node
supports_device = MezzoBackend.supports_device
