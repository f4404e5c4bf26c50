"""python -m mezzo.compat SCRIPT [ARGUMENTS...], or -m MODULE [ARGUMENTS...]: runs it with mezzo as onnxruntime."""

from __future__ import annotations

import os
import runpy
import sys

from . import onnxruntime

_USAGE = "usage: python -m mezzo.compat (SCRIPT | -m MODULE) [ARGUMENTS...]"


def main() -> None:
    """Runs what the command line names."""
    arguments = sys.argv[1:]
    as_module = arguments[:1] == ["-m"]
    if as_module:
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    onnxruntime()
    sys.argv = arguments
    if as_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")


main()
