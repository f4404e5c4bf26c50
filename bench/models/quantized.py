"""Networks in QDQ form for `peers`: `./dev bench peers --models quantized`.

Those of generate.py and families.py, quantised as users do it: ONNX Runtime folds what can be folded, measures the ranges of all
tensors on a few random inputs, and writes QuantizeLinear and DequantizeLinear around what it quantises. Activations are uint8,
weights int8 with a scale for each channel; of those called `default`, as the tool does it by default, activations are int8 and
each weight has one scale.
"""

from __future__ import annotations

import logging
import os
import pathlib

import numpy as np
import onnx
from generate import write as write_float

_NETWORKS = ("squeezenet1.1", "mobilenet_v2", "resnet50", "mobilenet_v3", "efficientnet_b0", "yolov8n", "minilm")
_BY_DEFAULT = {f"{name}_int8_default": name for name in ("mobilenet_v2", "resnet50", "minilm")}
INT8 = {f"{name}_int8": name for name in _NETWORKS} | _BY_DEFAULT


class _Inputs:
    """A few random arrays for each input, as the quantiser asks for them: numbers, or words and whether they count."""

    def __init__(self, path: pathlib.Path) -> None:
        inputs = onnx.load(path, load_external_data=False).graph.input
        random = np.random.default_rng(7)
        self.feeds = [{item.name: self._array(item, random) for item in inputs} for _ in range(3)]

    @staticmethod
    def _array(item: onnx.ValueInfoProto, random: np.random.Generator) -> np.ndarray:
        tensor = item.type.tensor_type
        shape, dtype = [dim.dim_value for dim in tensor.shape.dim], onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if np.issubdtype(dtype, np.floating):
            return random.standard_normal(shape).astype(dtype)
        return random.integers(0, 2 if "mask" in item.name else 1000, shape).astype(dtype)

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
    types = {
        "activation_type": quantization.QuantType.QUInt8,
        "weight_type": quantization.QuantType.QInt8,
        "per_channel": True,
    }
    logging.disable(logging.WARNING)  # it advises to fold first
    quantization.quantize_static(
        folded,
        path,
        _Inputs(folded),
        quant_format=quantization.QuantFormat.QDQ,
        **({} if name in _BY_DEFAULT else types),
    )
    logging.disable(logging.NOTSET)
    folded.unlink()
    return path
