"""IOBinding: a session's inputs and outputs, bound once and used in many runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import memory
from .devices import require_cpu
from .hooks import Array
from .ortvalue import OrtValue, OrtValueVector, type_of, unwrap

if TYPE_CHECKING:
    from .session import InferenceSession


class IOBinding:
    """What `InferenceSession.run_with_iobinding` reads and writes.

    >>> import numpy as np
    >>> from mezzo import InferenceSession
    >>> session = InferenceSession(example)
    >>> binding = session.io_binding()
    >>> binding.bind_cpu_input("x", np.array([[1, -2]], np.float32))
    >>> binding.bind_output("features")
    >>> session.run_with_iobinding(binding)
    >>> binding.copy_outputs_to_cpu()
    [array([[1., 0.]], dtype=float32)]

    Inputs are looked at where they lie, at each run. Outputs that have memory of the caller's are written there; others are new
    values at each run. Names may be those of any values of the model, as in `InferenceSession.run`.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._inputs: dict[str, OrtValue] = {}
        self._targets: dict[str, OrtValue | None] = {}
        self._results: dict[str, Any] = {}  # arrays, lists, dicts: made OrtValues of when asked for

    # ---- inputs

    def bind_cpu_input(self, name: str, arr_on_cpu: Array) -> None:
        """Binds an array. Its contents may change between runs."""
        self._check(name, "Failed to find NodeArg with name: {} in the def list")
        if isinstance(arr_on_cpu, (list, dict)) and self._session._type_of(name).startswith(("seq", "map")):
            raise RuntimeError("Only binding Tensors is currently supported; see bind_ortvalue_input")
        if not isinstance(arr_on_cpu, np.ndarray):
            raise RuntimeError(f"Unable to create OrtValue from the given python object: {type(arr_on_cpu).__name__}")
        self._inputs[name] = OrtValue.ortvalue_from_numpy(arr_on_cpu)

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Binds memory by its address. It must last until the last run.

        :param device_type: 'cpu'
        :param element_type: numpy's type, or TensorProto's number
        """
        require_cpu(device_type, device_id)
        self._check(name, "Error when binding input: Failed to find input name in the mapping: {}")
        self._inputs[name] = OrtValue._of(memory.at_address(buffer_ptr, memory.element_dtype(element_type), shape))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Binds a value."""
        _require_ortvalue(ortvalue)
        self._check(name, "Error when binding input: Failed to find input name in the mapping: {}")
        self._inputs[name] = ortvalue

    def synchronize_inputs(self) -> None:
        """Without effect: nothing is copied to another device."""

    def clear_binding_inputs(self) -> None:
        """Lets go of all inputs."""
        self._inputs.clear()

    # ---- outputs

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Asks for a value; with `element_type`, `shape` and `buffer_ptr` it is written to that address at each run."""
        require_cpu(device_type, device_id)
        target = None
        if buffer_ptr is not None:
            if element_type is None or shape is None:
                raise ValueError("`element_type` and `shape` are to be provided if pre-allocated memory is provided")
            target = OrtValue._of(memory.at_address(buffer_ptr, memory.element_dtype(element_type), shape))
        self._bind_target(name, target)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Asks for a value, to be written into a tensor of the caller's at each run."""
        _require_ortvalue(ortvalue)
        self._bind_target(name, ortvalue)

    def synchronize_outputs(self) -> None:
        """Without effect: a run is over when run_with_iobinding returns."""

    def clear_binding_outputs(self) -> None:
        """Lets go of all outputs."""
        self._targets.clear()
        self._results.clear()

    def get_outputs(self) -> list[OrtValue]:
        """The outputs of the last run, in the order in which they were bound; before it, values without contents."""
        return [
            target if target is not None else OrtValue._of(self._results.get(name), self._session._type_of(name))
            for name, target in self._targets.items()
        ]

    def get_outputs_as_ortvaluevector(self) -> OrtValueVector:
        """The same as an OrtValueVector."""
        vector = OrtValueVector()
        for value in self.get_outputs():
            vector.push_back(value)
        return vector

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The outputs' contents, as `InferenceSession.run` gives them, independent of later runs."""
        contents = [value._value for value in self.get_outputs()]
        return [value.copy() if isinstance(value, np.ndarray) else value for value in contents]

    # ---- what the session calls

    def _feed(self) -> dict[str, Any]:
        return {name: unwrap(value) for name, value in self._inputs.items()}

    def _names(self) -> list[str]:
        return list(self._targets)

    def _accept(self, results: Sequence[Any]) -> None:
        """Takes in what a run gave, in the order of _names(). RuntimeError where it does not fit the caller's memory."""
        if len(results) != len(self._targets):
            raise RuntimeError(f"a bound name stands for several values: {self._names()}")
        for (name, target), result in zip(self._targets.items(), results):
            if target is None:
                self._results[name] = result
            else:
                _write(name, result, target)

    def _bind_target(self, name: str, target: OrtValue | None) -> None:
        self._targets[name] = target
        self._results.pop(name, None)

    def _check(self, name: str, message: str) -> None:
        if not self._session._has_value(name):
            raise RuntimeError(message.format(name))

    @property
    def _iobinding(self) -> IOBinding:
        return self


def _require_ortvalue(value: Any) -> None:
    if not isinstance(value, OrtValue):
        raise AttributeError(f"an OrtValue is needed, not {type(value).__name__}; see OrtValue.ortvalue_from_numpy")


def _write(name: str, computed: Any, target: OrtValue) -> None:
    given = target._value
    if not (isinstance(computed, np.ndarray) and isinstance(given, np.ndarray)):
        target._value, target._type = computed, ""
        return
    if computed.dtype != given.dtype:
        raise RuntimeError(
            f"Unexpected output data type for '{name}'. Actual: ({target.data_type()}) , expected: ({type_of(computed)})"
        )
    if computed.shape != given.shape:
        raise RuntimeError(
            f"The output OrtValue provided for output '{name}' has shape {target.shape()} but the computed shape is "
            f"{list(computed.shape)}"
        )
    np.copyto(given, computed)
