"""A model made ready by `prepare`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import numpy as np

from ..options import RunOptions, SessionOptions
from ..session import InferenceSession

Options = TypeVar("Options", RunOptions, SessionOptions)

_RUN_OPTIONS = frozenset({"log_severity_level", "log_verbosity_level", "logid", "only_execute_path_to_fetches"})


def with_settings(options: Options, settings: Mapping[str, Any], allowed: Collection[str]) -> Options:
    """The options with those settings that are attributes of theirs: RuntimeError for one that is not allowed; others are
    ignored."""
    for name, value in settings.items():
        if name in allowed:
            setattr(options, name, value)
        elif hasattr(options, name):
            raise RuntimeError(
                f"{type(options).__name__} attribute '{name}' is not permitted via the backend API. "
                f"Allowed attributes: {', '.join(sorted(allowed))}"
            )
    return options


class MezzoBackendRep:
    """Runs a session by the order of its inputs."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> list[Any]:
        """The graph's outputs, for a list of all inputs, a dict of them by name, or the only input itself.

        Keyword arguments are attributes of RunOptions; those that do not exist are ignored.
        """
        options = with_settings(RunOptions(), kwargs, _RUN_OPTIONS)
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
