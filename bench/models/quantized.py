"""Networks in QDQ form for `peers`: `./dev bench peers --models quantized`.

Those of generate.py and families.py, quantised as users do it: ONNX Runtime folds what can be folded, measures the ranges of all
tensors on a few random inputs, and writes QuantizeLinear and DequantizeLinear around what it quantises. Activations are uint8,
weights int8 with a scale for each channel.
"""

from __future__ import annotations

import logging
import os
import pathlib

import numpy as np
import onnx
from generate import write as write_float

INT8 = {f"{name}_int8": name for name in ("squeezenet1.1", "mobilenet_v2", "resnet50", "mobilenet_v3", "efficientnet_b0", "yolov8n")}


class _Inputs:
    """A few random arrays for the only input, as the quantiser asks for them."""

    def __init__(self, path: pathlib.Path) -> None:
        item = onnx.load(path, load_external_data=False).graph.input[0]
        random = np.random.default_rng(7)
        shape = [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        self.feeds = [{item.name: random.standard_normal(shape).astype(np.float32)} for _ in range(3)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.feeds.pop() if self.feeds else None


def write(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file of that network, written unless it is there."""
    import onnxruntime
    from onnxruntime import quantization

    path, folded = folder / f"{name}.onnx", folder / f"{name}.folded.onnx"
    if path.exists():
        return path
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = os.fspath(folded)
    onnxruntime.InferenceSession(os.fspath(write_float(folder, INT8[name])), options, providers=["CPUExecutionProvider"])
    logging.disable(logging.WARNING)  # it advises to fold first
    quantization.quantize_static(
        folded,
        path,
        _Inputs(folded),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )
    logging.disable(logging.NOTSET)
    folded.unlink()
    return path
