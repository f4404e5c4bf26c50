"""The package whose interface is tested, mezzo or that of $MEZZO_PEER, with what its tests of values and bindings share."""

import importlib
import os

import interface_models as models
import numpy as np
import pytest

ort = importlib.import_module(os.environ.get("MEZZO_PEER", "mezzo"))
state = ort.capi.onnxruntime_pybind11_state
OrtValue = ort.OrtValue

X = np.array([[1, -2]], np.float32)
Y = np.array([[10, 20]], np.float32)
CPU = ["CPUExecutionProvider"]


@pytest.fixture
def sums():
    return ort.InferenceSession(models.sums(), providers=CPU)
