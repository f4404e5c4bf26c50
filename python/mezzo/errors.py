"""The exceptions, named, numbered and sorted as in ONNX Runtime: each is directly an Exception.

What the engine found is in attributes, too: `problem`, `place` (a node, a value, a file and offset), `expected`, `got` and
`hint` (what to do), each a string that may be empty.
"""

from __future__ import annotations

__all__ = [
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelLoadCanceled",
    "ModelLoaded",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotImplemented",
    "RuntimeException",
]


_DETAILS = ("problem", "place", "expected", "got", "hint")  # what every exception carries besides its message


def _define(name: str, number: int, label: str, doc: str) -> type[Exception]:
    members = {"__doc__": doc, "__module__": __name__, "number": number, "label": label}
    members |= dict.fromkeys(_DETAILS, "")
    return type(name, (Exception,), members)


Fail = _define("Fail", 1, "FAIL", "The run was ended, or something failed that has no class of its own.")
InvalidArgument = _define("InvalidArgument", 2, "INVALID_ARGUMENT", "A wrong name, type, shape, option or selector.")
NoSuchFile = _define("NoSuchFile", 3, "NO_SUCHFILE", "A file is missing or cannot be read or written.")
NoModel = _define("NoModel", 4, "NO_MODEL", "No model was loaded.")
EngineError = _define("EngineError", 5, "ENGINE_ERROR", "A defect of mezzo itself; please report it.")
RuntimeException = _define(
    "RuntimeException", 6, "RUNTIME_EXCEPTION", "An operator found its inputs invalid, or a limit was reached."
)
InvalidProtobuf = _define("InvalidProtobuf", 7, "INVALID_PROTOBUF", "The file is no ONNX file, or damaged.")
ModelLoaded = _define("ModelLoaded", 8, "MODEL_LOADED", "A model is loaded already.")
NotImplemented = _define(  # noqa: A001
    "NotImplemented", 9, "NOT_IMPLEMENTED", "Valid, but mezzo does not have it: an operator, a type, a format, a function."
)
InvalidGraph = _define("InvalidGraph", 10, "INVALID_GRAPH", "The model is against the ONNX specification.")
EPFail = _define("EPFail", 11, "EP_FAIL", "An execution provider failed.")
ModelLoadCanceled = _define("ModelLoadCanceled", 12, "MODEL_LOAD_CANCELED", "Loading was ended by its caller.")
ModelRequiresCompilation = _define(
    "ModelRequiresCompilation", 13, "MODEL_REQUIRES_COMPILATION", "The model must be compiled first."
)
NotFound = _define("NotFound", 14, "NOT_FOUND", "Something was not found.")

ALL = (
    Fail,
    InvalidArgument,
    NoSuchFile,
    NoModel,
    EngineError,
    RuntimeException,
    InvalidProtobuf,
    ModelLoaded,
    NotImplemented,
    InvalidGraph,
    EPFail,
    ModelLoadCanceled,
    ModelRequiresCompilation,
    NotFound,
)
"""For an `except` clause that takes them all."""

_BY_CODE: dict[str, type[Exception]] = {
    "invalid_argument": InvalidArgument,
    "missing_input": ValueError,  # as ONNX Runtime's check of the feed raises it
    "file_error": NoSuchFile,
    "damaged_file": InvalidProtobuf,
    "invalid_model": InvalidGraph,
    "unsupported": NotImplemented,
    "limit": RuntimeException,
    "runtime": RuntimeException,
    "cancelled": Fail,
    "internal": EngineError,
}


def make(kind: type[Exception], message: str) -> Exception:
    """An exception with ONNX Runtime's form of message."""
    label = getattr(kind, "label", "")
    return kind(f"[ONNXRuntimeError] : {getattr(kind, 'number', 0)} : {label} : {message}" if label else message)


def from_error(code: str, message: str, problem: str, place: str, expected: str, got: str, hint: str) -> Exception:
    """What the engine's errors are raised as: called from C++."""
    exception = make(_BY_CODE[code], message)
    for name, text in zip(_DETAILS, (problem, place, expected, got, hint)):
        setattr(exception, name, text)
    return exception


def unavailable(what: str, why: str) -> Exception:
    """For what ONNX Runtime has and mezzo has not."""
    return make(NotImplemented, f"{what} is not part of mezzo: {why}")
