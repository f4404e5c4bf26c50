"""ai.onnx.ml where ONNX Runtime cannot be asked: it departs from the spec, or does not say. And damaged models."""

import math

import numpy as np
import pytest
from ml_cases import Case, failures

STUMP = {  # x0 <= 0: node 1, else node 2
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0, 0, 0],
    "nodes_values": [0.0, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
}
SPLIT = {  # TreeEnsemble-5: x0 <= 0: leaf 0, else leaf 1
    "tree_roots": [0],
    "nodes_modes": np.array([0], np.uint8),
    "nodes_featureids": [0],
    "nodes_splits": np.array([0], np.float32),
    "nodes_truenodeids": [0],
    "nodes_trueleafs": [1],
    "nodes_falsenodeids": [1],
    "nodes_falseleafs": [1],
    "leaf_targetids": [0, 1],
    "leaf_weights": np.array([2, 3], np.float32),
    "n_targets": 2,
}
X = np.array([[-1], [1]], np.float32)


def votes(prefix: str, *rows: tuple[int, int, float]) -> dict:
    """(node, class, weight) of tree 0."""
    nodes, ids, weights = (list(column) for column in zip(*rows, strict=True))
    return {f"{prefix}_treeids": [0] * len(rows), f"{prefix}_nodeids": nodes, f"{prefix}_ids": ids, f"{prefix}_weights": weights}


def classifier(*rows, x=X, version=3, **changes) -> Case:
    attributes = {**STUMP, **votes("class", *rows), "classlabels_int64s": [10, 20], **changes}
    return Case("TreeEnsembleClassifier", version, attributes, [x], 2)


def regressor(*rows, x=X, version=3, **changes) -> Case:
    return Case("TreeEnsembleRegressor", version, {**STUMP, **votes("target", *rows), "n_targets": 1, **changes}, [x])


def ensemble(x=X, **changes) -> Case:
    return Case("TreeEnsemble", 5, {**SPLIT, **changes}, [x])


def floats(*rows) -> np.ndarray:
    return np.array(rows, np.float32)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


BOTH = [(1, 0, 0.6), (1, 1, 0.4), (2, 0, 0.4), (2, 1, 0.6)]
SOFTMAX = math.exp(0.2) / (1 + math.exp(0.2))
EXPECTED = {
    "both classes voted for": (classifier(*BOTH), [np.array([10, 20]), floats([0.6, 0.4], [0.4, 0.6])]),
    "both classes, base values": (
        classifier(*BOTH, base_values=[0.0, 0.5]),
        [np.array([20, 20]), floats([0.6, 0.9], [0.4, 1.1])],
    ),
    "both classes, softmax": (
        classifier(*BOTH, post_transform="SOFTMAX"),
        [np.array([10, 20]), floats([SOFTMAX, 1 - SOFTMAX], [1 - SOFTMAX, SOFTMAX])],
    ),
    "a tie is the first class": (
        classifier((1, 0, 0.5), (1, 1, 0.5), (2, 0, 0.1), (2, 1, 0.2)),
        [np.array([10, 20]), floats([0.5, 0.5], [0.1, 0.2])],
    ),
    "half of the votes are not more than half": (  # in float32, five times 0.1 and once 0 is 0.5
        Case(
            "TreeEnsembleClassifier",
            1,
            {
                **{name: [value for _ in range(6) for value in values] for name, values in STUMP.items()},
                "nodes_treeids": [tree for tree in range(6) for _ in range(3)],
                **{"class_treeids": list(range(6)), "class_nodeids": [2] * 6, "class_ids": [0] * 6},
                "class_weights": [0.1] * 5 + [0.0],
                "classlabels_strings": ["no", "yes"],
            },
            [X[1:]],
            2,
        ),
        [np.array(["no"], object), floats([0.5, 0.5])],
    ),
    "a class that nobody votes for": (
        classifier((1, 0, -0.5), (2, 1, -0.5), classlabels_int64s=[1, 2, 3], base_values=[0.1, 0.2, 0.3]),
        [np.array([3, 3]), floats([-0.4, 0.2, 0.3], [0.1, -0.3, 0.3])],
    ),
    "one class": (
        classifier((1, 0, 0.3), (2, 0, -0.7), classlabels_int64s=[5], post_transform="LOGISTIC"),
        [np.array([5, 5]), floats([sigmoid(0.3)], [sigmoid(-0.7)])],
    ),
    "node numbers that do not begin at zero": (
        regressor(
            (101, 0, 1.5), (99, 0, 2.5), nodes_nodeids=[100, 101, 99], nodes_truenodeids=[101, 0, 0], nodes_falsenodeids=[99, 0, 0]
        ),
        [floats([1.5], [2.5])],
    ),
    "a single target is transformed": (
        regressor((1, 0, 0.3), (2, 0, 0.7), post_transform="LOGISTIC"),
        [floats([sigmoid(0.3)], [sigmoid(0.7)])],
    ),
    "votes of a leaf for one target add up": (regressor((1, 0, 0.3), (1, 0, 0.4), (2, 0, 0.7)), [floats([0.7], [0.7])]),
    "votes at inner nodes do not count": (regressor((0, 0, 9.0), (1, 0, 0.3), (2, 0, 0.7)), [floats([0.3], [0.7])]),
    "float32 between a double and its rounding": (  # 0.1f > 0.1 > the float below
        Case(
            "TreeEnsembleRegressor",
            3,
            {
                **{name: value for name, value in {**STUMP, **votes("target", (1, 0, 1.0), (2, 0, 2.0))}.items() if name != "nodes_values"},
                "nodes_values_as_tensor": np.array([0.1, 0, 0]),
                "n_targets": 1,
            },
            [np.array([[0.1], [np.nextafter(np.float32(0.1), np.float32(0))]], np.float32)],
        ),
        [floats([2], [1])],
    ),
    "a threshold beyond float32": (
        regressor((1, 0, 1.0), (2, 0, 2.0), x=np.array([[1e300], [-1e300]]), nodes_modes=["BRANCH_GTE", "LEAF", "LEAF"]),
        [floats([1], [2])],
    ),
    "infinite thresholds": (
        regressor(
            (1, 0, 1.0), (2, 0, 2.0),
            x=np.array([[-np.inf], [0]], np.float32), nodes_modes=["BRANCH_LT", "LEAF", "LEAF"], nodes_values=[-np.inf, 0.0, 0.0],
        ),
        [floats([2], [2])],
    ),  # fmt: skip
    "leaves alone need no feature": (
        regressor(
            (7, 0, 1.5),
            x=np.zeros((2, 0), np.float32),
            **{name: values[1:2] for name, values in STUMP.items()} | {"nodes_nodeids": [7]},
        ),
        [floats([1.5], [1.5])],
    ),
    "softmax is number 1": (
        ensemble(post_transform=1),
        [floats([math.exp(2) / (1 + math.exp(2)), 1 / (1 + math.exp(2))], [1 / (1 + math.exp(3)), math.exp(3) / (1 + math.exp(3))])],
    ),
    "logistic is number 2": (ensemble(post_transform=2), [floats([sigmoid(2), 0.5], [0.5, sigmoid(3)])]),
    "sets of any numbers": (
        ensemble(
            np.array([[0], [-1.5], [1], [np.nan]], np.float32),
            nodes_modes=np.array([6], np.uint8),
            membership_values=np.array([0, -1.5, np.nan], np.float32),
        ),
        [floats([2, 0], [2, 0], [0, 3], [0, 3])],
    ),
    "a set without an end": (
        ensemble(nodes_modes=np.array([6], np.uint8), membership_values=np.array([5, 1], np.float32)),
        [floats([0, 3], [2, 0])],
    ),
    "float16": (
        ensemble(X.astype(np.float16), nodes_splits=np.array([0], np.float16), leaf_weights=np.array([2, 3], np.float16)),
        [np.array([[2, 0], [0, 3]], np.float16)],
    ),
    "Binarizer: NaN exceeds nothing": (
        Case("Binarizer", 1, {"threshold": 1.5}, [np.array([np.nan, 2], np.float64)]),
        [np.array([0, 1], np.float64)],
    ),
    "Imputer: one value for each of the last axis": (
        Case("Imputer", 1, {"imputed_value_int64s": [7, 8], "replaced_value_int64": 0}, [np.zeros((1, 3, 2), np.int32)]),
        [np.array([[[7, 8]] * 3], np.int32)],
    ),
    "OneHotEncoder: what is no integer": (
        Case("OneHotEncoder", 1, {"cats_int64s": [0, -(2**63)]}, [np.array([np.nan, np.inf, 1e30, -(2.0**63)])]),
        [floats([0, 0], [0, 0], [0, 0], [0, 1])],
    ),
    "LabelEncoder: the last of equal keys": (
        Case("LabelEncoder", 4, {"keys_int64s": [1, 1], "values_int64s": [5, 6]}, [np.array([1, 2])]),
        [np.array([6, -1])],
    ),
    "LabelEncoder-2: keys by their bits": (
        Case("LabelEncoder", 2, {"keys_floats": [math.nan, 0.0], "values_floats": [1.0, 2.0]}, [floats(math.nan, 0.0, -0.0)]),
        [floats(1, 2, -0.0)],
    ),
    "LabelEncoder: small integers": (
        Case(
            "LabelEncoder",
            4,
            {"keys_tensor": np.array([1, 2], np.int16), "values_tensor": np.array([3, 4], np.int32)},
            [np.array([2, 9], np.int16)],
        ),
        [np.array([4, -1], np.int32)],
    ),
    "LinearRegressor: a single target is transformed": (
        Case("LinearRegressor", 1, {"coefficients": [2.0], "post_transform": "LOGISTIC"}, [np.array([[1]], np.int64)]),
        [floats([sigmoid(2)])],
    ),
    "LinearClassifier without intercepts": (
        Case("LinearClassifier", 1, {"coefficients": [1.0, -1.0], "classlabels_ints": [3, 4]}, [X], 2),
        [np.array([4, 3]), floats([-1, 1], [1, -1])],
    ),
    "SVMRegressor: a single target is transformed": (
        Case("SVMRegressor", 1, {"coefficients": [2.0], "rho": [0.5], "post_transform": "LOGISTIC"}, [X]),
        [floats([sigmoid(-1.5)], [sigmoid(2.5)])],
    ),
}

WRONG = {
    "a node is its own child": (regressor((1, 0, 1.0), nodes_truenodeids=[0, 0, 0]), "cycle"),
    "a cycle beside the tree": (
        regressor(
            (1, 0, 1.0),
            **{name: values + values[:1] * 2 for name, values in STUMP.items()}
            | {"nodes_nodeids": [0, 1, 2, 3, 4], "nodes_truenodeids": [1, 0, 0, 4, 3], "nodes_falsenodeids": [2, 0, 0, 4, 3]},
        ),
        "cycle",
    ),
    "two parents": (
        regressor(
            (1, 0, 1.0),
            **{name: values[:1] * 3 + values[1:] for name, values in STUMP.items()}
            | {"nodes_nodeids": [0, 3, 4, 1, 2], "nodes_truenodeids": [3, 4, 1, 0, 0], "nodes_falsenodeids": [4, 1, 2, 0, 0]},
        ),
        "two ways",
    ),
    "two roots": (regressor((1, 0, 1.0), nodes_falsenodeids=[1, 0, 0]), "one tree"),
    "a node twice": (regressor((1, 0, 1.0), nodes_nodeids=[0, 1, 1]), "same number"),
    "a child that there is not": (regressor((1, 0, 1.0), nodes_truenodeids=[9, 0, 0]), "node 9 of tree 0"),
    "a vote at no node": (regressor((9, 0, 1.0)), "node 9 of tree 0"),
    "a target too high": (regressor((1, 1, 1.0)), "a target that there is not"),
    "a negative class": (classifier((1, -1, 1.0)), "a target that there is not"),
    "a feature too high": (regressor((1, 0, 1.0), nodes_featureids=[1, 0, 0]), "a feature that there is not"),
    "a huge feature": (regressor((1, 0, 1.0), nodes_featureids=[2**62, 0, 0]), "a feature that there is not"),
    "an unknown mode": (regressor((1, 0, 1.0), nodes_modes=["BRANCH_UP", "LEAF", "LEAF"]), "unknown mode"),
    "a short list": (regressor((1, 0, 1.0), nodes_values=[0.0]), "different lengths"),
    "no nodes": (regressor((1, 0, 1.0), **{name: type(values)() for name, values in STUMP.items()}), "no nodes"),
    "no targets": (regressor((1, 0, 1.0), n_targets=0), "n_targets"),
    "very many targets": (regressor((1, 0, 1.0), n_targets=2**62), "64 bits"),
    "base values": (regressor((1, 0, 1.0), base_values=[1.0, 2.0]), "base_values"),
    "no labels": (classifier((1, 0, 1.0), classlabels_int64s=[]), "labels"),
    "an unknown transform": (classifier((1, 0, 1.0), post_transform="LOG"), "post_transform"),
    "a cycle of indices": (ensemble(nodes_trueleafs=[0]), "two ways"),
    "a root that there is not": (ensemble(tree_roots=[-1]), "a node that there is not"),
    "a leaf that there is not": (ensemble(nodes_falsenodeids=[2]), "a leaf that there is not"),
    "a missing set": (ensemble(nodes_modes=np.array([6], np.uint8)), "membership_values"),
    "mode 7": (ensemble(nodes_modes=np.array([7], np.uint8)), "unknown mode"),
    "SVM with short coefficients": (
        Case(
            "SVMClassifier",
            1,
            {"vectors_per_class": [1, 1], "support_vectors": [1.0, 2.0], "coefficients": [1.0], "rho": [0.0], "classlabels_ints": [0, 1]},
            [X],
            2,
        ),
        "'coefficients'",
    ),
    "SVM with overflowing counts": (
        Case("SVMClassifier", 1, {"vectors_per_class": [2**62, 2**62], "classlabels_ints": [0, 1]}, [X], 2),
        "64 bits",
    ),
    "linear with too few coefficients": (Case("LinearRegressor", 1, {"coefficients": [1.0, 2.0]}, [X]), "do not fit"),
    "OneHotEncoder, a new category": (
        Case("OneHotEncoder", 1, {"cats_int64s": [3], "zeros": 0}, [np.array([4])]),
        "no category",
    ),
    "ArrayFeatureExtractor beyond the end": (Case("ArrayFeatureExtractor", 1, {}, [X, np.array([1])]), "no feature"),
    "Imputer, wrong length": (Case("Imputer", 1, {"imputed_value_floats": [1.0, 2.0]}, [X]), "does not fit the features"),
}


@pytest.mark.parametrize("target", ["", "scalar"])
def test_as_the_spec_says(target, tmp_path):
    cases = [Case(**{**vars(case), "expected": expected}) for case, expected in EXPECTED.values()]
    failed = {list(EXPECTED)[number]: reason for number, reason in failures(cases, tmp_path, target).items()}
    assert not failed


def test_damaged_models_are_refused(tmp_path):
    reasons = failures([case for case, _ in WRONG.values()], tmp_path)
    for number, (name, (_, words)) in enumerate(WRONG.items()):
        reason = reasons[number]
        assert words in reason, f"{name}: {reason}"
        assert not reason.startswith(("crashed", "took longer", "expected 0 outputs")), f"{name}: {reason}"
