"""Random models of ai.onnx.ml against ONNX Runtime.

Each family is drawn from a fixed seed. Left out on purpose, since ONNX Runtime departs from the spec or leaves memory
undefined: forests where both of two classes are voted for (their labels are 1 and 0, whatever the model says), classes of
a row that nobody votes for, LOGISTIC and the softmax transforms of a single target (ignored), PROBIT of a pair, several
votes of a leaf for a single target, float32 features with float64 thresholds (refused), sets of what are no positive
integers, and TreeEnsemble-5's post_transform (two numbers are exchanged). ml_spec_test.py has cases of these.
"""

import numpy as np
import pytest
from ml_cases import Case, failures
from peer_cases import Draw, onnxruntime_outputs

pytest.importorskip("onnxruntime")

CASES = 150
BRANCHES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]


class Source(Draw):
    """A random source, and what several families draw from it."""

    def floats(self, *shape: int) -> np.ndarray:
        return self.numbers.standard_normal(shape).astype(np.float32)

    def list(self, count: int) -> list[float]:
        return self.floats(count).tolist()

    def labels(self, count: int, ints: str, strings: str) -> dict:
        numbers = self.pick.sample(range(-50, 50), count)
        return {ints: numbers} if self.chance() else {strings: [f"label {number}" for number in numbers]}

    def rows(self, features: int, *types: type) -> np.ndarray:
        """Multiples of a half, so that thresholds are met exactly; few rows and many."""
        x = np.round(self.numbers.standard_normal((self.pick.choice([1, 3, 8, 21, 200]), features)) * 2) / 2
        return x.astype(self.pick.choice(types))


def grow(d: Source, depth: int) -> list:
    """A random tree as a list of nodes: [true, false], or None of a leaf."""
    nodes, open_leaves = [None], [(0, 0)]
    while open_leaves:
        at, level = open_leaves.pop()
        if level < depth and d.chance(0.8):
            nodes[at] = (len(nodes), len(nodes) + 1)
            open_leaves += [(len(nodes), level + 1), (len(nodes) + 1, level + 1)]
            nodes += [None, None]
    return nodes


def forest(d: Source, features: int, branches: list[str], trees: int) -> tuple[dict, list]:
    """The attributes nodes_*, and the leaves as pairs of tree and node."""
    names = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true"]
    lists = {name: [] for name in names}
    leaves, ids, restart = [], d.pick.sample(range(1000), trees), d.chance()
    for tree in ids:
        first = 0 if restart else len(lists["nodeids"])
        for number, children in enumerate(grow(d, d.pick.choice([0, 1, 3, 6]))):
            if children is None:
                leaves.append((tree, first + number))
            values = {
                "treeids": tree,
                "nodeids": first + number,
                "featureids": d.pick.randrange(features) if children else 0,
                "modes": d.pick.choice(branches) if children else "LEAF",
                "values": d.pick.randint(-4, 4) / 2 if children else 0.0,
                "truenodeids": first + children[0] if children else 0,
                "falsenodeids": first + children[1] if children else 0,
                "missing_value_tracks_true": d.pick.randint(0, 1),
            }
            for name in names:
                lists[name].append(values[name])
    if d.chance():
        del lists["missing_value_tracks_true"]
    return {f"nodes_{name}": values for name, values in lists.items()}, leaves


def features_with_gaps(d: Source, features: int, *types: type) -> np.ndarray:
    x = d.rows(features, *types)
    if x.dtype.kind == "f" and d.chance():
        x[d.numbers.random(x.shape) < 0.1] = np.nan
    return x


def as_tensors(attributes: dict) -> dict:
    """What version 3 allows for doubles."""
    names = ["nodes_values", "class_weights", "target_weights", "base_values"]
    return {
        (f"{name}_as_tensor" if name in names else name): np.array(value) if name in names else value
        for name, value in attributes.items()
    }


def tree_attributes(d: Source, prefix: str, features: int, votes_of_leaf) -> dict:
    branches = d.pick.choice([["BRANCH_LEQ"], ["BRANCH_LT"], BRANCHES[:4], BRANCHES])
    attributes, leaves = forest(d, features, branches, d.pick.choice([1, 2, 9, 40]))
    votes = [(tree, node, target, weight) for tree, node in leaves for target, weight in votes_of_leaf()]
    d.pick.shuffle(votes)
    for name, column in zip(["treeids", "nodeids", "ids", "weights"], zip(*votes), strict=True):
        attributes[f"{prefix}_{name}"] = list(column)
    return attributes


def tree_classifier(d: Source):
    features, classes = d.pick.randint(1, 6), d.pick.choice([2, 2, 3, 5])
    all_positive = d.chance()

    def weight() -> float:
        value = d.floats(1)[0] * 0.3
        return float(abs(value) if all_positive else value)

    voted = [d.pick.randint(0, 1)] if classes == 2 else range(classes)
    attributes = tree_attributes(d, "class", features, lambda: [(target, weight()) for target in voted])
    attributes |= d.labels(classes, "classlabels_int64s", "classlabels_strings")
    attributes["post_transform"] = d.pick.choice(TRANSFORMS)
    if classes > 2 and d.chance():
        attributes["base_values"] = d.list(classes)
    elif classes == 2 and voted == [0] and d.chance():
        attributes["base_values"] = [abs(d.list(1)[0])]
    x = features_with_gaps(d, features, np.float32, np.float32, np.float64, np.int64, np.int32)
    if x.dtype == np.float64 and d.chance():
        return "TreeEnsembleClassifier", 3, as_tensors(attributes), [x], 2
    return "TreeEnsembleClassifier", d.pick.choice([1, 3]), attributes, [x], 2


def tree_regressor(d: Source):
    features, targets = d.pick.randint(1, 6), d.pick.choice([1, 1, 2, 4])
    attributes = tree_attributes(d, "target", features, lambda: [(t, d.list(1)[0]) for t in range(targets)])
    attributes["n_targets"] = targets
    attributes["post_transform"] = d.pick.choice(TRANSFORMS) if targets > 1 else "NONE"
    attributes["aggregate_function"] = d.pick.choice(["SUM", "SUM", "AVERAGE", "MIN", "MAX"])
    if d.chance():
        attributes["base_values"] = d.list(targets)
    x = features_with_gaps(d, features, np.float32, np.float32, np.float64)
    if x.dtype == np.float64 and d.chance():
        return "TreeEnsembleRegressor", 3, as_tensors(attributes), [x], 1
    return "TreeEnsembleRegressor", d.pick.choice([1, 3]), attributes, [x], 1


def tree_ensemble(d: Source):
    features, targets, dtype = d.pick.randint(1, 6), d.pick.choice([1, 2, 4]), d.pick.choice([np.float32, np.float64])
    modes = d.pick.choice([[0], [0, 1, 2, 3], list(range(6)), [0, 6], list(range(7))])
    names = ["modes", "featureids", "splits", "truenodeids", "trueleafs", "falsenodeids", "falseleafs"]
    nodes, members, roots, leaves = {name: [] for name in names}, [], [], 0
    for _ in range(d.pick.choice([1, 2, 9, 40])):
        tree = grow(d, d.pick.choice([1, 3, 6]))
        if tree[0] is None:
            continue
        roots.append(len(nodes["modes"]))
        numbers, inner = {}, roots[-1]
        for number, children in enumerate(tree):
            numbers[number] = inner if children else leaves
            inner, leaves = (inner + 1, leaves) if children else (inner, leaves + 1)
        for children in filter(None, tree):
            mode = d.pick.choice(modes)
            if mode == 6:
                members += [*d.pick.sample(range(1, 9), d.pick.randint(1, 4)), np.nan]
            values = [mode, d.pick.randrange(features), 0.0 if mode == 6 else d.pick.randint(-4, 4) / 2]
            for child in children:
                values += [numbers[child], int(tree[child] is None)]
            for name, value in zip(names, values, strict=True):
                nodes[name].append(value)
    if not roots:
        return tree_ensemble(d)
    attributes = {f"nodes_{name}": values for name, values in nodes.items()}
    attributes["nodes_modes"] = np.array(attributes["nodes_modes"], np.uint8)
    attributes["nodes_splits"] = np.array(attributes["nodes_splits"], dtype)
    if members:
        attributes["membership_values"] = np.array(members, dtype)
    if d.chance():
        attributes["nodes_missing_value_tracks_true"] = [d.pick.randint(0, 1) for _ in nodes["modes"]]
    attributes |= {
        "tree_roots": roots,
        "leaf_targetids": [d.pick.randrange(targets) for _ in range(leaves)],
        "leaf_weights": d.floats(leaves).astype(dtype),
        "n_targets": targets,
        "aggregate_function": d.pick.choice([0, 1, 1, 2, 3]),
    }
    return "TreeEnsemble", 5, attributes, [features_with_gaps(d, features, dtype)], 1


def linear_classifier(d: Source):
    features, outputs = d.pick.choice([1, 4, 33]), d.pick.choice([1, 2, 3, 7])
    attributes = {
        "coefficients": d.list(outputs * features),
        "intercepts": d.list(outputs),
        "post_transform": d.pick.choice(TRANSFORMS),
        **d.labels(max(outputs, 2), "classlabels_ints", "classlabels_strings"),
    }
    return "LinearClassifier", 1, attributes, [d.rows(features, np.float32, np.float64, np.int32, np.int64)], 2


def linear_regressor(d: Source):
    features, targets = d.pick.choice([1, 4, 33]), d.pick.choice([1, 2, 3, 7])
    attributes = {"coefficients": d.list(targets * features), "targets": targets}
    if d.chance():
        attributes["intercepts"] = d.list(targets)
    if targets > 1:  # SOFTMAX_ZERO of zeros only is 0 / 0 there
        attributes["post_transform"] = d.pick.choice(TRANSFORMS if "intercepts" in attributes else TRANSFORMS[:3])
    return "LinearRegressor", 1, attributes, [d.rows(features, np.float32)], 1


def kernel(d: Source) -> dict:
    parameters = [d.pick.choice([0.1, 0.5]), d.pick.choice([0.0, 0.3]), d.pick.choice([2.0, 3.0])]
    return {"kernel_type": d.pick.choice(["LINEAR", "POLY", "RBF", "SIGMOID"]), "kernel_params": parameters}


def svm_classifier(d: Source):
    features, classes = d.pick.choice([1, 3, 12]), d.pick.choice([2, 2, 3, 5])
    attributes = {**kernel(d), **d.labels(classes, "classlabels_ints", "classlabels_strings")}
    attributes["post_transform"] = d.pick.choice(TRANSFORMS)
    if d.chance(0.2):
        attributes |= {"coefficients": d.list(classes * features), "rho": d.list(classes)}
    else:
        counts, pairs = [d.pick.randint(1, 40) for _ in range(classes)], classes * (classes - 1) // 2
        attributes |= {
            "vectors_per_class": counts,
            "support_vectors": d.list(sum(counts) * features),
            "coefficients": (d.floats((classes - 1) * sum(counts)) * 0.1).tolist(),
            "rho": d.list(pairs),
        }
        if d.chance():
            attributes |= {"prob_a": (-np.abs(d.floats(pairs))).tolist(), "prob_b": d.list(pairs)}
    return "SVMClassifier", 1, attributes, [d.rows(features, np.float32, np.float64, np.int32, np.int64)], 2


def svm_regressor(d: Source):
    features, supports = d.pick.choice([1, 3, 12]), d.pick.choice([0, 1, 7, 50])
    attributes = {**kernel(d), "rho": d.list(1), "n_supports": supports, "one_class": d.pick.randint(0, 1)}
    if supports:
        attributes |= {"support_vectors": d.list(supports * features), "coefficients": (d.floats(supports) * 0.1).tolist()}
    else:
        attributes["coefficients"] = d.list(features)
    return "SVMRegressor", 1, attributes, [d.rows(features, np.float32)], 1


def encoder_list(d: Source, prefix: str, dtype: type, count: int) -> dict:
    if dtype is str:
        words = [f"word {number}" for number in d.pick.sample(range(20), count)]
        return {f"{prefix}_strings": words} if d.chance() else {f"{prefix}_tensor": np.array(words, object)}
    numbers = np.array(d.pick.sample(range(-10, 10), count), dtype)
    if dtype is np.float32 and d.chance():
        return {f"{prefix}_floats": numbers.tolist()}
    if dtype is np.int64 and d.chance():
        return {f"{prefix}_int64s": numbers.tolist()}
    return {f"{prefix}_tensor": numbers}


def label_encoder(d: Source):
    shape, words = [d.pick.randint(1, 5), 4], [f"word {number}" for number in range(20)]
    words_in = np.array([d.pick.choice(words) for _ in range(shape[0] * 4)], object).reshape(shape)
    if d.chance(0.2):
        attributes = {"classes_strings": d.pick.sample(words, 9), "default_string": "other", "default_int64": 77}
        return "LabelEncoder", 1, attributes, [words_in if d.chance() else d.numbers.integers(-2, 12, shape)], 1
    if d.chance(0.2):
        attributes = {"cats_strings": d.pick.sample(words, 9), "cats_int64s": d.pick.sample(range(12), 9)}
        return "CategoryMapper", 1, attributes, [words_in if d.chance() else d.numbers.integers(-2, 12, shape)], 1
    key, value = d.pick.choice([str, np.float32, np.float64, np.int64]), d.pick.choice([str, np.float32, np.float64, np.int64])
    if {key, value} == {np.float32, np.float64}:  # ONNX Runtime has no kernel for it
        value = key
    count = d.pick.randint(1, 9)
    attributes = {**encoder_list(d, "keys", key, count), **encoder_list(d, "values", value, count)}
    attributes |= {"default_string": "other", "default_int64": 77, "default_float": 7.5}
    if "values_tensor" in attributes and d.chance():
        attributes["default_tensor"] = np.array(["fallback"], object) if value is str else np.array([66], value)
    elif "values_tensor" in attributes:  # what ONNX Runtime takes then depends on the type
        del attributes["default_float"], attributes["default_int64"], attributes["default_string"]
    version = 4 if any(name.endswith("tensor") for name in attributes) else d.pick.choice([2, 4])
    if version == 2 and np.float64 in (key, value):
        version = 4
    return "LabelEncoder", version, attributes, [words_in if key is str else d.numbers.integers(-10, 10, shape).astype(key)], 1


def features(d: Source):
    x = d.rows(d.pick.randint(1, 5), np.float32)
    count = x.shape[1]
    numbers = x.astype(d.pick.choice([np.float32, np.float64, np.int32, np.int64]))
    op = d.pick.choice(["ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "Normalizer", "OneHotEncoder", "Scaler"])
    if op == "ArrayFeatureExtractor":
        source = d.pick.choice([numbers, numbers[0], numbers.astype(str).astype(object), numbers[:, None]])
        return op, 1, {}, [source, d.numbers.integers(0, count, [1, d.pick.randint(1, 6)])], 1
    if op == "Binarizer":
        return op, 1, {"threshold": d.pick.choice([0.0, 0.5])}, [x], 1
    if op == "FeatureVectorizer":
        inputs = [d.rows(d.pick.randint(1, 4), np.float32)[:1].astype(numbers.dtype) for _ in range(d.pick.randint(1, 3))]
        widths = [value.shape[1] + d.pick.choice([0, 0, 1, -1]) * (value.shape[1] > 1) for value in inputs]
        return op, 1, {"inputdimensions": widths}, inputs, 1
    if op == "Imputer":
        values = d.pick.choice([1, count])
        if d.chance():
            x = numbers.astype(np.int64)
            return op, 1, {"imputed_value_int64s": list(range(5, 5 + values)), "replaced_value_int64": 1}, [x], 1
        replaced = d.pick.choice([0.5, float("nan")])
        x = np.where(x == 0, np.float32(np.nan), x)
        return op, 1, {"imputed_value_floats": d.list(values), "replaced_value_float": replaced}, [x], 1
    if op == "Normalizer":
        return op, 1, {"norm": d.pick.choice(["MAX", "L1", "L2"])}, [numbers if d.chance(0.8) else numbers[0]], 1
    if op == "OneHotEncoder":
        if d.chance():
            words = d.numbers.integers(0, 5, [4, 2]).astype(str).astype(object)
            return op, 1, {"cats_strings": d.pick.sample([str(n) for n in range(9)], 5)}, [words], 1
        return op, 1, {"cats_int64s": d.pick.sample(range(-4, 5), 4)}, [numbers if numbers.dtype != np.int32 else x], 1
    lengths = d.pick.choice([1, count])
    return op, 1, {"offset": d.list(lengths), "scale": d.list(lengths)}, [numbers], 1


FAMILIES = [
    tree_classifier, tree_regressor, tree_ensemble, linear_classifier, linear_regressor, svm_classifier, svm_regressor,
    label_encoder, features,
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family(family, tmp_path):
    draw = Source(1)
    cases = [Case(*family(draw)) for _ in range(CASES)]
    for case in cases:
        feeds = {f"x{i}": value for i, value in enumerate(case.inputs)}
        case.expected = onnxruntime_outputs(case.model(), feeds, optimised=True)
    for target in ("", "scalar"):
        folder = tmp_path / (target or "best")
        folder.mkdir()
        failed = {number: (cases[number], reason) for number, reason in failures(cases, folder, target).items()}
        assert not failed
