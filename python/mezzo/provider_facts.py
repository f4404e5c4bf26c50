"""What ONNX Runtime's sessions tell about execution providers; here there is one, and nothing to tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import errors
from .devices import OrtEpDevice, OrtMemoryInfo, cpu_memory, get_ep_devices

if TYPE_CHECKING:
    from . import _core
    from .options import SessionOptions
    from .values import NodeArg

_RECORD_ENTRY = "session.record_ep_graph_assignment_info"


@dataclass(frozen=True)
class OrtEpAssignedNode:
    """A node that a provider computes."""

    name: str
    domain: str
    op_type: str


@dataclass(frozen=True)
class OrtEpAssignedSubgraph:
    """Nodes that a provider computes together."""

    ep_name: str
    nodes: tuple[OrtEpAssignedNode, ...]

    def get_nodes(self) -> list[OrtEpAssignedNode]:
        """Its nodes."""
        return list(self.nodes)


class ProviderFacts:
    """The part of InferenceSession that is about providers and memory."""

    _model: _core.Model
    _options: SessionOptions
    _inputs: list[NodeArg]
    _outputs: list[NodeArg]

    def get_input_memory_infos(self) -> list[OrtMemoryInfo]:
        """The memory that each input must lie in: the CPU's."""
        return [cpu_memory() for _ in self._inputs]

    def get_output_memory_infos(self) -> list[OrtMemoryInfo]:
        """The memory that each output lies in: the CPU's."""
        return [cpu_memory() for _ in self._outputs]

    def get_input_epdevices(self) -> list[OrtEpDevice]:
        """The device that reads each input: the CPU."""
        return get_ep_devices() * len(self._inputs)

    def get_provider_graph_assignment_info(self) -> list[OrtEpAssignedSubgraph]:
        """Which provider computes which nodes. The session's options must ask for it, as there:
        add_session_config_entry("session.record_ep_graph_assignment_info", "1")."""
        if self._options._entries.get(_RECORD_ENTRY) != "1":
            raise errors.make(
                errors.Fail,
                f"Session configuration entry '{_RECORD_ENTRY}' must be set to \"1\" to retrieve EP graph assignment "
                "information.",
            )
        nodes = [OrtEpAssignedNode(node.name, node.domain, node.op_type) for node in self._model.nodes()]
        return [OrtEpAssignedSubgraph("CPUExecutionProvider", (node,)) for node in nodes]

    def get_tuning_results(self) -> list[dict[str, Any]]:
        """[]: kernels are chosen by what the machine can do, not by trying."""
        return []

    def set_tuning_results(self, results: Sequence[dict[str, Any]], *, error_on_invalid: bool = False) -> None:
        """Without effect; see get_tuning_results."""

    def set_ep_dynamic_options(self, options: dict[str, str]) -> None:
        """Without effect: the provider has no options."""

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        """Without effect: nothing is captured."""
