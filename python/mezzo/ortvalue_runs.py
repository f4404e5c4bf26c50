"""How a session runs with OrtValues and with bindings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import errors
from .devices import OrtDevice
from .io_binding import IOBinding
from .options import RunOptions
from .ortvalue import OrtValue, OrtValueVector
from .selectors import Selector

if TYPE_CHECKING:
    from . import _core
    from .values import NodeArg


class OrtValueRuns:
    """The part of InferenceSession whose inputs and outputs are OrtValues."""

    _model: _core.Model
    _inputs: list[NodeArg]
    _outputs: list[NodeArg]

    if TYPE_CHECKING:

        def run(
            self, output_names: Sequence[Selector] | None, input_feed: Mapping[str, Any], run_options: RunOptions | None = None
        ) -> list[Any]: ...

    def run_with_ort_values(
        self,
        output_names: Sequence[Selector] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """`run` of OrtValues, giving OrtValues.

        >>> import numpy as np
        >>> from mezzo import InferenceSession
        >>> x = OrtValue.ortvalue_from_numpy(np.array([[1, -2]], np.float32))
        >>> InferenceSession(example).run_with_ort_values(["features"], {"x": x})[0].numpy()
        array([[1., 0.]], dtype=float32)
        """
        for name, value in input_dict_ort_values.items():
            if not isinstance(value, OrtValue):
                raise AttributeError(f"the feed '{name}' must be an OrtValue, not {type(value).__name__}")
        names = [arg.name for arg in self._outputs] if output_names is None or len(output_names) == 0 else list(output_names)
        results = self.run(names, input_dict_ort_values, run_options)
        types = [self._type_of(name) for name in names] if len(names) == len(results) else [""] * len(results)
        return [OrtValue._of(result, text) for result, text in zip(results, types)]

    def io_binding(self) -> IOBinding:
        """A binding for `run_with_iobinding`, with nothing bound."""
        return IOBinding(self)  # type: ignore[arg-type]

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Computes the bound outputs from the bound inputs.

        :raises RuntimeError: for everything that goes wrong, as there
        """
        if iobinding._session is not self:
            raise ValueError("IOBinding must be used with the session that created it.")
        names = iobinding._names()
        try:
            if not names:
                raise RuntimeError("At least one output should be requested.")
            iobinding._accept(self.run(names, iobinding._feed(), run_options))
        except (*errors.ALL, ValueError, RuntimeError) as error:
            raise RuntimeError(f"Error in execution: {error}") from error

    def run_with_ortvaluevector(
        self,
        run_options: RunOptions,
        feed_names: Sequence[str],
        feeds: OrtValueVector,
        fetch_names: Sequence[str],
        fetches: OrtValueVector,
        fetch_devices: Sequence[OrtDevice],
    ) -> None:
        """`run` of lists: the results are put into `fetches`."""
        if len(feed_names) != len(feeds):
            raise errors.make(
                errors.InvalidArgument, f"feed names has {len(feed_names)} elements, but feed has {len(feeds)} elements."
            )
        results = self.run_with_ort_values(list(fetch_names), dict(zip(feed_names, feeds)), run_options)
        fetches._values[:] = results

    def create_ortvalue_from_shape_and_type(
        self,
        shape: Sequence[int],
        element_type: Any,
        device_type: str,
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        """A tensor for inputs or outputs of this session; see OrtValue.ortvalue_from_shape_and_type."""
        return OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type, device_id, vendor_id)

    def _type_of(self, name: Selector) -> str:
        """The declared type, '' where there is none."""
        for arg in (*self._outputs, *self._inputs):
            if arg.name == name:
                return arg.type
        return ""

    def _has_value(self, name: str) -> bool:
        try:
            return bool(self._model.select(name))
        except errors.InvalidArgument:
            return False
