"""A model made ready by `prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..options import RunOptions
from ..session import InferenceSession

_RUN_OPTIONS = frozenset({"log_severity_level", "log_verbosity_level", "logid", "only_execute_path_to_fetches"})


class MezzoBackendRep:
    """Runs a session by the order of its inputs."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> list[Any]:
        """The graph's outputs, for a list of all inputs, a dict of them by name, or the only input itself.

        Keyword arguments are attributes of RunOptions; those that do not exist are ignored.
        """
        options = RunOptions()
        for name, value in kwargs.items():
            if name in _RUN_OPTIONS:
                setattr(options, name, value)
            elif hasattr(options, name):
                raise RuntimeError(
                    f"RunOptions attribute '{name}' is not permitted via the backend API. "
                    f"Allowed attributes: {', '.join(sorted(_RUN_OPTIONS))}"
                )
        return self._session.run(None, self._feed(inputs), options)

    def _feed(self, inputs: Any) -> Mapping[str, Any]:
        args = self._session.get_inputs()
        if isinstance(inputs, list):
            if len(inputs) < len(args):
                raise IndexError(f"the model has {len(args)} inputs; {len(inputs)} were given")
            return {arg.name: _as_input(value) for arg, value in zip(args, inputs)}
        if isinstance(inputs, Mapping) and not (len(args) == 1 and args[0].type.startswith("map(")):
            return inputs
        if len(args) != 1:
            raise RuntimeError(f"Model expect {len(args)} inputs")
        return {args[0].name: _as_input(inputs)}


def _as_input(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.generic) else value


OnnxRuntimeBackendRep = MezzoBackendRep
