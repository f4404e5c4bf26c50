"""InferenceSession: ONNX Runtime's interface, and every value of the model besides the outputs."""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np

from . import _core, errors, providers as _providers
from .enums import GraphOptimizationLevel
from .hooks import Array, Callback, Handle, Hook, Hooks, Replacement, StatisticsTable, patch_function
from .model import Model, load_core
from .options import RunOptions, SessionOptions
from .ortvalue import OrtValue, unwrap
from .ortvalue_runs import OrtValueRuns
from .profiling import Profile
from .provider_facts import ProviderFacts
from .selectors import Selector, as_selectors
from .values import ModelMetadata, NodeArg, Tensors

_FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"
_LOOP_ITERATIONS = 100_000_000
_NO_VERSION = 2**63 - 1  # what ONNX Runtime tells where the file has none

_callers = concurrent.futures.ThreadPoolExecutor(max_workers=4, thread_name_prefix="mezzo run_async")


class InferenceSession(OrtValueRuns, ProviderFacts):
    """A model made ready to run.

    Whatever onnxruntime.InferenceSession does, this does; and a name in `output_names` may be any value of the model, one in
    `input_feed` likewise.

    >>> session = InferenceSession(example)
    >>> scores, features = session.run(["scores", "features"], {"x": [[1.0, -2.0]]})
    >>> features
    array([[1., 0.]], dtype=float32)

    A session may be used from several threads at once.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | Model,
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
        *,
        strict: bool = False,
        **kwargs: Any,
    ) -> None:
        """Loads a model from a path, from a file's bytes, or takes a loaded one. `strict`: only the graph's outputs may be
        fetched, as in ONNX Runtime. `disabled_optimizers`: names of passes (those that `explain` prints) that plans do
        without; others are ignored, as are other keyword arguments."""
        if sess_options is not None and not isinstance(sess_options, SessionOptions):
            raise TypeError(f"sess_options must be a SessionOptions, not {type(sess_options).__name__}")
        self._options = sess_options if sess_options is not None else SessionOptions()
        self._names, self._provider_options = _providers.normalize(providers, provider_options)
        if self._options._entries.get("mezzo.cancel_load") == "1":
            raise errors.make(errors.ModelLoadCanceled, "loading was ended by SessionOptions.set_load_cancellation_flag")
        # Packages that keep a session look here for the folder that it came from.
        self._model_path = os.fspath(path_or_bytes) if isinstance(path_or_bytes, (str, os.PathLike)) else None
        self._model = load_core(path_or_bytes, self._options._entries.get(_FOLDER_ENTRY, ""))
        if self._options.graph_optimization_level == GraphOptimizationLevel.ORT_DISABLE_ALL:
            disabled = ["all"]
        else:
            disabled = [name for name in kwargs.get("disabled_optimizers") or () if name in _core.pass_names()]
        threads = max(0, self._options.intra_op_num_threads)
        self._core = _core.Session(self._model, threads, _LOOP_ITERATIONS, disabled)
        self._inputs = [self._node_arg(info) for info in self._model.inputs()]
        self._outputs = [self._node_arg(info) for info in self._model.outputs()]
        self._output_names = frozenset(arg.name for arg in self._outputs)
        self._strict = strict
        self._hooks = Hooks()
        self._profile = Profile(self._options.profile_file_prefix) if self._options.enable_profiling else None
        self._defaults = {name: _array_of(value) for name, value in self._options._initializers.items()}
        if self._options.optimized_model_filepath:
            Model(self._model).save(self._options.optimized_model_filepath)

    # ---- running

    def run(
        self,
        output_names: Sequence[Selector] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
        *,
        strict: bool | None = None,
    ) -> list[Any]:
        """Computes values.

        :param output_names: names of values, in the order in which their contents are returned; None or empty: the graph's
            outputs. A selector that names several values gives them all, in the file's order. With `strict` only the
            graph's outputs are allowed.
        :param input_feed: arrays (or lists, numbers, dicts) by name: the graph's inputs, or any other values, from which the
            run then starts. Only inputs that the request needs are required.
        :return: an array for each value; a list for a sequence, a dict for a map, None for an optional without a value
            and for a value in a branch that was not taken.
        :raises ValueError: where an input is missing
        :raises InvalidArgument: for a wrong name, type or shape
        """
        if strict or (strict is None and self._strict):
            self._check_strict(output_names, input_feed)
        return self._run(_fetches(output_names), input_feed, run_options, False)  # type: ignore[no-any-return]

    def tap(
        self,
        selectors: Selector | Sequence[Selector],
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> dict[str, Any]:
        """The values that the selectors name, by name. Nothing else is computed.

        >>> InferenceSession(example).tap(["op:Relu", -1], {"x": [[1.0, -2.0]]})
        {'features': array([[1., 0.]], dtype=float32), 'scores': array([[1., 1.]], dtype=float32)}
        """
        return self._run(as_selectors(selectors), input_feed, run_options, True)  # type: ignore[no-any-return]

    def _run(self, fetches: list[str], feed: Mapping[str, Any], options: RunOptions | None, with_names: bool) -> Any:
        if options is not None and not isinstance(options, RunOptions):
            raise TypeError(f"run_options must be a RunOptions, not {type(options).__name__}")
        if self._defaults:
            feed = {**self._defaults, **feed}
        if self._options._dimensions or self._options._denotations:
            self._check_dimensions(feed)
        if type(feed) is not dict:
            feed = dict(feed)
        if any(isinstance(value, OrtValue) for value in feed.values()):
            feed = {name: unwrap(value) for name, value in feed.items()}
        hooks = self._hooks.active()
        patches = [(hook.selector, hook.function) for hook in hooks if hook.patches] if hooks else ()
        observers = [(hook.selector, hook.function) for hook in hooks if not hook.patches] if hooks else ()
        stop = options._stop if options is not None else None
        if self._profile is None:
            return self._core.run(fetches, feed, patches, observers, stop, None, with_names)
        steps: list[tuple[str, str, str, int, int, int]] = []
        start = time.monotonic_ns()
        result = self._core.run(fetches, feed, patches, observers, stop, steps, with_names)
        self._profile.add(steps, start, time.monotonic_ns())
        return result

    def run_async(
        self,
        output_names: Sequence[Selector] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Any], Any, str], Any],
        user_data: Any,
        run_options: RunOptions | None = None,
    ) -> None:
        """`run` on another thread, which then calls callback(results, user_data, error): results are empty where error, the
        message, is not."""

        def call() -> None:
            try:
                results, error = self.run(output_names, input_feed, run_options), ""
            except Exception as failure:  # noqa: BLE001 - the message is what the callback gets
                results, error = [], str(failure)
            callback(results, user_data, error)

        _callers.submit(call)

    # ---- every value

    def tensors(self, shapes: Mapping[str, Sequence[int]] | None = None) -> Tensors:
        """Every value of the model with type, shape and producer; see `Model.tensors`.

        >>> InferenceSession(example).tensors()
        #  name      type     shape  from
        0  x         float32  1x2    input
        1  weights   float32  2x2    initializer
        2  features  float32  1x2    Relu first
        3  scores    float32  1x2    MatMul second (output)
        """
        return Model(self._model).tensors(shapes)

    def patch(self, selectors: Selector | Sequence[Selector], replacement: Replacement) -> Handle:
        """Replaces values in every run of this thread: by an array, or by what a function makes of the computed one. A function
        may also change its array in place and return None. In effect at once, until the end of a `with` block or `remove()`.

        >>> session = InferenceSession(example)
        >>> with session.patch("features", lambda x: x + 1):
        ...     session.run(None, {"x": [[1.0, -2.0]]})
        [array([[3., 3.]], dtype=float32)]
        """
        function = patch_function(replacement)
        return self._hooks.add([Hook(selector, function, True) for selector in self._known(selectors)])

    def observe(self, selectors: Selector | Sequence[Selector], callback: Callback) -> Handle:
        """Calls callback(name, array) whenever one of the values is computed in a run of this thread; nothing is stored.

        >>> session = InferenceSession(example)
        >>> with session.observe("op:Relu", lambda name, value: print(name, value)):
        ...     _ = session.run(None, {"x": [[1.0, -2.0]]})
        features [[1. 0.]]
        """
        return self._hooks.add([Hook(selector, callback, False) for selector in self._known(selectors)])

    def stats(self, selectors: Selector | Sequence[Selector] = "*") -> StatisticsTable:
        """Running statistics of values (all, where none are named) over the runs of this thread.

        >>> session = InferenceSession(example)
        >>> with session.stats("features") as stats:
        ...     _ = session.run(None, {"x": [[1.0, -2.0]]})
        >>> stats["features"].maximum
        1.0
        """
        table = StatisticsTable()
        table.start(self.observe(selectors, table.see))
        return table

    def explain(self, output_names: Selector | Sequence[Selector] | None, input_feed: Mapping[str, Any]) -> str:
        """The plan that such a run has: a line for each step, with its kernel and why better ones were refused."""
        return self._core.explain(as_selectors(output_names), dict(input_feed))

    def _known(self, selectors: Selector | Sequence[Selector]) -> list[str]:
        """The selectors, each of which names something: better an error here than in every run."""
        texts = as_selectors(selectors)
        for text in texts:
            self._model.select(text)
        return texts

    # ---- what is asked about the model

    def get_inputs(self) -> list[NodeArg]:
        """The graph's inputs that have no default."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The graph's outputs."""
        return list(self._outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """The inputs that have a default."""
        return [self._node_arg(info) for info in self._model.overridable_initializers()]

    def get_modelmeta(self) -> ModelMetadata:
        """What the file says about itself."""
        model = self._model
        return ModelMetadata(
            producer_name=model.producer_name,
            graph_name=model.graph_name,
            domain=model.domain,
            description=model.doc_string,
            graph_description=model.graph_doc_string,
            version=model.model_version or _NO_VERSION,
            custom_metadata_map=dict(model.metadata()),
        )

    def get_session_options(self) -> SessionOptions:
        """The options that the session was made with."""
        return self._options

    def get_providers(self) -> list[str]:
        """['CPUExecutionProvider']."""
        return list(self._names)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """The options of each provider."""
        return {name: dict(options) for name, options in self._provider_options.items()}

    def set_providers(
        self,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
    ) -> None:
        """Checks the arguments as the constructor does; the work stays on the CPU."""
        self._names, self._provider_options = _providers.normalize(providers, provider_options)

    def enable_fallback(self) -> None:
        """Without effect: there is one provider."""

    def disable_fallback(self) -> None:
        """Without effect: there is one provider."""

    def _node_arg(self, info: _core.ValueInfo) -> NodeArg:
        shape = info.shape if info.shape is not None else []
        by_name, by_denotation = self._options._dimensions, self._options._denotations
        fixed: list[int | str | None] = []
        for extent, denotation in zip(shape, info.denotations):
            if not isinstance(extent, int):
                extent = by_name.get(extent, by_denotation.get(denotation, extent)) if extent else by_denotation.get(denotation)
            fixed.append(extent)
        return NodeArg(info.name, info.onnx_type, fixed)

    # ---- profiling

    def end_profiling(self) -> str:
        """Writes the trace of all runs so far and returns its path; '' where SessionOptions.enable_profiling was not set."""
        profile, self._profile = self._profile, None
        return profile.write() if profile is not None else ""

    def get_profiling_start_time_ns(self) -> int:
        """When profiling began, on the monotonic clock; 0 where it did not."""
        return self._profile.start_ns if self._profile is not None else 0

    # ---- checks that ONNX Runtime's interface asks for

    def _check_strict(self, output_names: Sequence[Selector] | None, feed: Mapping[str, Any]) -> None:
        for name in output_names or ():
            if name not in self._output_names:
                raise errors.make(errors.InvalidArgument, f"Invalid output name:{name} (strict: only graph outputs)")
        missing = [arg.name for arg in self._inputs if arg.name not in feed]
        if missing:
            raise ValueError(f"Required inputs ({missing}) are missing from input feed ({list(feed)}).")

    def _check_dimensions(self, feed: Mapping[str, Any]) -> None:
        for arg in self._inputs:
            value = feed.get(arg.name)
            if not isinstance(value, np.ndarray) or value.ndim != len(arg.shape):
                continue  # the engine says what is wrong with it
            for axis, (extent, got) in enumerate(zip(arg.shape, value.shape)):
                if isinstance(extent, int) and extent > 0 and extent != got:
                    raise errors.make(
                        errors.InvalidArgument,
                        f"Got invalid dimensions for input: {arg.name} for the following indices\n index: {axis} Got: {got} "
                        f"Expected: {extent}",
                    )


def _fetches(output_names: Sequence[Selector] | None) -> list[str]:
    if output_names is None:
        return []
    if isinstance(output_names, (str, bytes, int)):
        raise TypeError(f"output_names must be a sequence of names, not {output_names!r}; write [{output_names!r}]")
    return as_selectors(output_names)


def _array_of(value: Any) -> Array:
    """The array of an OrtValue, or what is one already."""
    numpy = getattr(value, "numpy", None)
    return np.asarray(numpy() if callable(numpy) else value)
