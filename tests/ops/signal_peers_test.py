"""Random DFT, STFT and TfIdfVectorizer nodes against NumPy's transforms, onnx.reference and ONNX Runtime.

The transforms are compared in double precision, at lengths that are products of small primes, primes and mixtures of both.
"""

import numpy as np
import onnx
import pytest
from onnx import helper
from peer_cases import Cases, Draw, onnxruntime_outputs, value_info

CASES = 150
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 30, 31, 34, 37, 64, 77, 97, 101, 120, 128, 143, 169, 251, 256, 390, 509, 512, 1000]


class Source(Draw):
    def signal(self, *shape: int) -> np.ndarray:
        return self.numbers.standard_normal(shape).astype(self.pick.choice([np.float32, np.float64]))


def as_complex(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    return wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0] + 0j


def as_parts(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.stack([x.real, x.imag], -1).astype(dtype)


def dft(d: Source):
    shape = [d.pick.randint(1, 3) for _ in range(d.pick.randint(1, 3))]
    axis = d.pick.randrange(len(shape))
    shape[axis] = d.pick.choice(LENGTHS)
    form = d.pick.choice(["forward", "inverse", "rfft", "irfft"])
    x = d.signal(*shape, {"rfft": 1, "irfft": 2}.get(form, d.pick.randint(1, 2)))
    if form == "irfft" and shape[axis] == 1:
        x = np.repeat(x, 2, axis)
    default = 2 * (x.shape[axis] - 1) if form == "irfft" else x.shape[axis]
    length = d.pick.choice([1, default + 3, max(default - 2, 1)]) if d.chance(0.3) else default
    if form == "irfft":
        y = np.fft.irfft(as_complex(x), length, axis)[..., None].astype(x.dtype)
    else:
        transform = np.fft.ifft if form == "inverse" else np.fft.fft
        y = as_parts(transform(as_complex(x), length, axis), x.dtype)
        y = y.take(range(length // 2 + 1), axis) if form == "rfft" else y
    attributes = {"inverse": int(form in ("inverse", "irfft")), "onesided": int(form in ("rfft", "irfft"))}
    lengths = np.array(length) if length != default or d.chance() else None
    named_axis = axis - d.pick.choice([0, x.ndim])
    if d.chance():
        return "DFT", 17, {**attributes, "axis": named_axis}, [x, lengths], y
    return "DFT", 20, attributes, [x, lengths, np.array(named_axis)], y


def stft(d: Source):
    length, step = d.pick.choice(LENGTHS[2:20]), d.pick.randint(1, 9)
    x = d.signal(d.pick.randint(1, 3), length + d.pick.choice([0, 1, 40]), d.pick.randint(1, 2))
    window = d.signal(length).astype(x.dtype) if d.chance() else None
    onesided = x.shape[-1] == 1 and d.chance()
    starts = range(0, x.shape[1] - length + 1, step)
    frames = np.stack([as_complex(x)[:, start : start + length] for start in starts], 1)
    y = as_parts(np.fft.fft(frames if window is None else frames * window), x.dtype)
    lengths = np.array(length) if window is None or d.chance() else None
    attributes = {} if onesided and d.chance() else {"onesided": int(onesided)}
    return "STFT", 17, attributes, [x, np.array(step), window, lengths], y[:, :, : length // 2 + 1] if onesided else y


def tfidf(d: Source):
    words = range(1, 6)
    counts, pool, most = [], [], d.pick.randint(1, 4)
    for length in range(1, most + 1):
        counts.append(len(pool))
        grams = {tuple(d.pick.choice(words) for _ in range(length)) for _ in range(d.pick.randint(1, 6))}
        pool += [word for gram in sorted(grams) for word in gram]
    total = sum((end - begin) // length for length, (begin, end) in enumerate(zip(counts, [*counts[1:], len(pool)]), 1))
    attributes = {
        "mode": d.pick.choice(["TF", "IDF", "TFIDF"]),
        "min_gram_length": d.pick.randint(1, most),
        "max_gram_length": most,
        "max_skip_count": d.pick.choice([0, 0, 1, 3]),
        "ngram_counts": counts,
        "ngram_indexes": d.pick.sample(range(total), total),
    }
    if d.chance():
        attributes["weights"] = d.numbers.standard_normal(total).astype(np.float32).tolist()
    shape = [d.pick.randint(1, 20)] if d.chance() else [d.pick.randint(1, 4), d.pick.randint(1, 20)]
    x = d.numbers.integers(1, 6, shape)
    if d.chance():
        attributes["pool_strings"] = [f"word {word}" for word in pool]
        return "TfIdfVectorizer", 9, attributes, [np.vectorize(lambda word: f"word {word}", otypes=[object])(x)], None
    attributes["pool_int64s"] = pool
    return "TfIdfVectorizer", 9, attributes, [x.astype(d.pick.choice([np.int32, np.int64]))], None


def model_of(op: str, version: int, attributes: dict, inputs: list) -> onnx.ModelProto:
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]

    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "peers",
        [value_info(name, value) for name, value in zip(names, inputs) if name],
        [onnx.ValueInfoProto(name="y")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=9)


@pytest.mark.parametrize("family", [dft, stft, tfidf], ids=lambda family: family.__name__)
def test_family(family, tmp_path):
    draw = Source(1)
    cases = Cases(tmp_path)
    for number in range(CASES):
        op, version, attributes, inputs, expected = family(draw)
        model = model_of(op, version, attributes, inputs)
        feeds = {f"x{i}": value for i, value in enumerate(inputs) if value is not None}
        if expected is None:
            pytest.importorskip("onnxruntime")
            expected = onnxruntime_outputs(model, feeds, optimised=True)[0]
        precise = expected.dtype == np.float64
        rtol, atol = (1e-10, 1e-11) if precise else (1e-5, 1e-5)
        cases.add(f"{number}_{op}", model, feeds, [expected], rtol, atol)
    assert not cases.failures()
