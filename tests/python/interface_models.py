"""Models for the tests of ONNX Runtime's interface, as bytes."""

import numpy as np
from onnx import TensorProto, helper
from small_models import model

FLOAT = TensorProto.FLOAT
info = helper.make_tensor_value_info


def sums():
    """f = Relu(x), z = f + y."""
    return model(
        [helper.make_node("Relu", ["x"], ["f"], "relu"), helper.make_node("Add", ["f", "y"], ["z"], "add")],
        [("x", FLOAT, ["N", 2]), ("y", FLOAT, ["N", 2])],
        [("z", FLOAT, ["N", 2]), ("f", FLOAT, ["N", 2])],
        producer_name="tests",
        doc_string="about sums",
        model_version=7,
    )


def with_default():
    """y = x + w, w an input of default [1, 2]."""
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [("x", FLOAT, [2]), ("w", FLOAT, [2])],
        [("y", FLOAT, [2])],
        [("w", np.array([1, 2], np.float32))],
    )


def strings():
    """y = Identity(x), of two strings."""
    return model(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", TensorProto.STRING, [2])], [("y", TensorProto.STRING, [2])]
    )


def pair():
    """s = a sequence of x twice."""
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["s"])
    return model([node], [("x", FLOAT, [2])], [helper.make_tensor_sequence_value_info("s", FLOAT, None)])


def element():
    """y = s[i]."""
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    return model(
        [helper.make_node("SequenceAt", ["s", "i"], ["y"])], [sequence, ("i", TensorProto.INT64, [])], [("y", FLOAT, None)]
    )


def zipped():
    """m = a list of dicts {'a': x[i, 0], 'b': x[i, 1]}."""
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    )
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["x"], ["m"], domain="ai.onnx.ml", classlabels_strings=["a", "b"])],
        "zip",
        [info("x", FLOAT, ["N", 2])],
        [helper.make_value_info("m", maps)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def has_element():
    """y = whether the optional x has a value."""
    optional = helper.make_value_info("x", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2])))
    return model([helper.make_node("OptionalHasElement", ["x"], ["y"])], [optional], [("y", TensorProto.BOOL, [])], opset=18)


def random_numbers():
    """y = four random numbers, without a seed."""
    return model([helper.make_node("RandomNormal", [], ["y"], shape=[4])], [], [("y", FLOAT, [4])])


def cast_to(onnx_type):
    """y = x as another type."""
    return model([helper.make_node("Cast", ["x"], ["y"], to=onnx_type)], [("x", FLOAT, ["N"])], [("y", onnx_type, ["N"])])


def failing():
    """y = x reshaped to s, which may not fit."""
    return model(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [("x", FLOAT, [6]), ("s", TensorProto.INT64, [2])],
        [("y", FLOAT, None)],
    )
