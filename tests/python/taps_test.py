"""Any value: fetched, fed, patched, observed."""

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from small_models import convolutions, counting_loop, two_layers

import mezzo

X = np.array([[1.0, -2.0]], np.float32)


@pytest.fixture
def session():
    return mezzo.InferenceSession(two_layers())


@pytest.fixture(scope="module")
def network():
    return mezzo.InferenceSession(convolutions())


PICTURE = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)


def test_any_value_in_any_order(session):
    values = session.run(["scores", "features", "x", "weights", -2, "[0]", "second"], {"x": X})
    relu, product = np.maximum(X, 0), np.maximum(X, 0) @ np.ones((2, 2), np.float32)
    np.testing.assert_equal(values, [product, relu, X, np.ones((2, 2)), relu, relu, product])


def test_a_selector_of_several_values_gives_them_in_the_files_order(network):
    everything = network.tap(["r1", "r2"], {"data": PICTURE})
    assert list(network.tap("op:Relu", {"data": PICTURE})) == ["r1", "r2"]
    np.testing.assert_equal(network.run(["op:Relu"], {"data": PICTURE}), list(everything.values()))


def test_resume_from_any_value(network):
    taps = network.tap("/.*/", {"data": PICTURE})
    for name in ("c1", "r1", "c2", "r2", "pooled", "features"):
        np.testing.assert_array_equal(network.run(None, {name: taps[name]})[0], taps["scores"])


def test_only_what_the_request_needs_must_be_fed(session):
    np.testing.assert_array_equal(session.run(["weights"], {})[0], np.ones((2, 2)))
    with pytest.raises(ValueError, match="'x'"):
        session.run(["features"], {})


def test_strict_is_onnx_runtimes_rule(session):
    with pytest.raises(mezzo.InvalidArgument, match="features"):
        session.run(["features"], {"x": X}, strict=True)
    with pytest.raises(ValueError, match="Required inputs"):
        session.run(["scores"], {}, strict=True)
    strict = mezzo.InferenceSession(two_layers(), strict=True)
    with pytest.raises(mezzo.InvalidArgument):
        strict.run(["features"], {"x": X})
    assert len(strict.run(["features"], {"x": X}, strict=False)) == 1


def test_unknown_names_suggest_near_ones(session):
    with pytest.raises(mezzo.InvalidArgument, match="features") as caught:
        session.run(["featurs"], {"x": X})
    assert "featurs" in str(caught.value)
    with pytest.raises(mezzo.InvalidArgument, match="features"):
        session.patch("featurs", 0)


def test_patch_with_a_function(session):
    with session.patch("features", lambda value: value * 2):
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[2, 2]])
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[1, 1]])


def test_patch_in_place_and_by_arrays(session):
    def clear(value):
        value[0, 0] = 7

    with session.patch("features", clear):
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[7, 7]])
    for replacement, expected in ((np.array([[1.0, 2.0]]), 3), (3, 6), ([[1, 4]], None), (np.float64(0.5), 1)):
        handle = session.patch("features", replacement)
        if expected is None:  # integers are no floats
            np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[5, 5]])
        else:
            np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[expected, expected]])
        handle.remove()
        handle.remove()


def test_patches_compose_in_order(session):
    with session.patch("features", lambda value: value + 1), session.patch("features", lambda value: value * 10):
        np.testing.assert_array_equal(session.run(["features"], {"x": X})[0], [[20, 10]])


def test_a_patch_must_keep_shape_and_type(session):
    with session.patch("features", np.zeros(3)), pytest.raises(ValueError, match="broadcast"):
        session.run(None, {"x": X})
    with session.patch("features", np.array([[1j, 1j]])), pytest.raises(TypeError, match="cast"):
        session.run(None, {"x": X})


def test_what_a_hook_raises_reaches_the_caller(session):
    def fail(*_):
        raise KeyError("mine")

    with session.patch("features", fail), pytest.raises(KeyError, match="mine"):
        session.run(None, {"x": X})
    with session.observe("features", fail), pytest.raises(KeyError, match="mine"):
        session.run(None, {"x": X})
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[1, 1]])


def test_observers_see_patched_values_and_keep_them(session):
    seen = []
    with session.patch("features", lambda value: value + 1), session.observe(["x", "op:*"], lambda *pair: seen.append(pair)):
        session.run(None, {"x": X})
    assert [name for name, _ in seen] == ["x", "features", "scores"]
    np.testing.assert_array_equal(seen[1][1], [[2, 1]])
    session.run(None, {"x": X})
    assert len(seen) == 3


def test_hooks_belong_to_a_thread(session):
    results = []
    with session.patch("features", 0):
        thread = threading.Thread(target=lambda: results.extend(session.run(None, {"x": X})))
        thread.start()
        thread.join()
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], [[0, 0]])
    np.testing.assert_array_equal(results[0], [[1, 1]])


def test_statistics_are_numpys(network):
    values = []
    with network.stats("r1") as stats, network.observe("r1", lambda _, value: values.append(value)):
        for seed in range(3):
            network.run(None, {"data": PICTURE * seed})
    everything = np.concatenate([value.ravel() for value in values]).astype(np.float64)
    got = stats["r1"]
    assert (got.count, got.calls, got.nan, got.infinite) == (everything.size, 3, 0, 0)
    assert got.zero == (everything == 0).sum()
    np.testing.assert_allclose(
        [got.mean, got.std, got.minimum, got.maximum],
        [everything.mean(), everything.std(), everything.min(), everything.max()],
        rtol=1e-12,
    )


def test_statistics_count_what_is_not_finite(session):
    with session.stats("features") as stats:
        session.run(None, {"x": [[np.inf, 1.0]]})
        session.run(None, {"features": [[np.nan, 2.0]]})
    assert (stats["features"].infinite, stats["features"].nan, stats["features"].count) == (1, 1, 2)


def test_values_inside_loops():
    session = mezzo.InferenceSession(counting_loop(4))
    sums, total = session.run(["next_sum", "total"], {"start": 1.0, "step": 2.0})
    np.testing.assert_array_equal(sums, [3, 5, 7, 9])
    assert total == 9
    with session.patch("next_sum", lambda value: value * 2):
        assert session.run(None, {"start": 1.0, "step": 2.0})[0] == ((((1 + 2) * 2 + 2) * 2 + 2) * 2 + 2) * 2


def test_tensors_tells_what_there_is(network):
    tensors = network.tensors()
    assert tensors["r1"].op == "Relu"
    assert tensors["r1"].shape == ("batch", 8, 28, 28) or tensors["r1"].shape is None
    shapes = network.tensors({"data": [2, 3, 224, 224]})
    assert (shapes["r1"].shape, shapes["r1"].type) == ((2, 8, 28, 28), "float32")
    assert shapes["features"].shape == (2, 16)
    assert [info.name for info in shapes.of("Conv")] == ["c1", "c2"]
    assert shapes["scores"].is_output and not shapes["r1"].is_output
    assert "2x8x28x28" in repr(shapes)
    assert "<td>2x8x28x28</td>" in shapes._repr_html_()
    assert len(shapes[1:3]) == 2 and "r1" in shapes and shapes[0].name == "data"


def test_results_own_their_memory(session):
    x = X.copy()
    fed, weights = session.run(["x", "weights"], {"x": x})
    x[:] = 9
    np.testing.assert_array_equal(fed, X)
    weights[:] = 5
    np.testing.assert_array_equal(session.run(["weights"], {})[0], np.ones((2, 2)))


def test_large_results_outlive_the_session():
    session = mezzo.InferenceSession(convolutions())
    first = session.run(["r1"], {"data": PICTURE})[0]
    kept = first.copy()
    for seed in range(3):
        session.run(["r1"], {"data": PICTURE * seed})
    del session
    np.testing.assert_array_equal(first, kept)
    assert first.flags.writeable


def test_threads_share_a_session(network):
    expected = network.run(None, {"data": PICTURE})[0]
    failures = []

    def work():
        for _ in range(20):
            if not np.array_equal(network.run(None, {"data": PICTURE})[0], expected):
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_other_threads_run_python_meanwhile():
    session = mezzo.InferenceSession(counting_loop(300_000))
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    session.run(None, {"start": 0.0, "step": 1.0})
    end = time.monotonic()
    done.set()
    thread.join()
    during = [t for t in ticks if begin < t < end]
    assert len(during) > 5, f"{len(during)} ticks in {end - begin:.3f} s"


def test_terminate_ends_a_run():
    session = mezzo.InferenceSession(counting_loop(100_000_000))
    options = mezzo.RunOptions()
    threading.Timer(0.2, lambda: setattr(options, "terminate", True)).start()
    with pytest.raises(mezzo.Fail, match="terminate"):
        session.run(None, {"start": 0.0, "step": 1.0}, options)


def test_control_c_ends_a_run():
    code = """
import mezzo, sys
from small_models import counting_loop
session = mezzo.InferenceSession(counting_loop(100_000_000))
print("ready", flush=True)
try:
    session.run(None, {"start": 0.0, "step": 1.0})
except KeyboardInterrupt:
    print("interrupted", session.run(["trips"], {})[0])
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=__file__.rpartition("/")[0])
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted 100000000\n"


def test_explain_names_the_kernels(network):
    plan = network.explain(["r1"], {"data": PICTURE})
    assert "Conv" in plan and "conv2" not in plan


def test_passes_can_be_switched_off():
    options = mezzo.SessionOptions()
    options.graph_optimization_level = mezzo.GraphOptimizationLevel.ORT_DISABLE_ALL
    fused, plain, partly = (
        mezzo.InferenceSession(convolutions(), options, **kwargs)
        for options, kwargs in (
            (None, {}),
            (options, {}),
            (None, {"disabled_optimizers": ["conv_activation", "ConstantFolding"]}),
        )
    )
    assert "by conv_activation" in fused.explain(None, {"data": PICTURE})
    for session in (plain, partly):
        assert "by conv_activation" not in session.explain(None, {"data": PICTURE})
        np.testing.assert_allclose(
            session.run(None, {"data": PICTURE})[0], fused.run(None, {"data": PICTURE})[0], rtol=1e-5, atol=1e-6
        )
