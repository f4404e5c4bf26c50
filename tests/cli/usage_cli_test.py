"""Help, what goes wrong (exit statuses and messages), and what the shell completes."""

import os
import signal
import subprocess

import numpy as np
import pytest
from program import BAD_FILE, MEZZO, NOT_POSSIBLE, ROOT, WRONG_USAGE, mezzo

# ---- what goes wrong


def test_version_and_help():
    assert mezzo("--version")[0].startswith("mezzo 0.")
    for command in ("run", "features", "inspect", "explain", "bench", "extract", "expose", "ops"):
        assert command in mezzo("--help")[0]
        text = mezzo(command, "--help")[0]
        assert "Exit status" in text and max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [
    ["bogus"], ["run"], ["run", "--bogus", "m.onnx"], ["run", "m.onnx", "--filter", "sharp"],
    ["run", "m.onnx", "--size", "0"], ["run", "m.onnx", "--crop", "2x"],
    ["run", "m.onnx", "--mean", "1,2"], ["run", "m.onnx", "--mean", "a"],
    ["run", "m.onnx", "--resize", "none", "--size", "5"], ["run", "m.onnx", "--random=x"],
    ["run", "m.onnx", "--shape", "x=1"],
    ["features", "m.onnx", "a.png", "-t", "x"], ["run", "m.onnx", "extra.npy"],
    ["extract", "m.onnx", "--output", "y"], ["extract", "m.onnx", "-o", "n.onnx"],
    ["expose", "m.onnx", "--tap", "y"], ["expose", "m.onnx", "-o", "n.onnx"],
])
def test_wrong_usage(arguments):
    assert "See mezzo" in mezzo(*arguments, status=WRONG_USAGE)[1]


def test_no_command_shows_the_help():
    done = subprocess.run([MEZZO], capture_output=True, text=True, timeout=60)
    assert done.returncode == WRONG_USAGE and done.stdout == "" and "inspect" in done.stderr


def test_missing_inputs_are_listed(two_inputs, folder):
    np.save(folder / "a.npy", np.float32([1]))
    _, message = mezzo("run", two_inputs, "-i", f"a={folder}/a.npy", status=NOT_POSSIBLE)
    assert "'b=1' float32[n]" in message and "'a'" not in message
    _, message = mezzo("run", two_inputs, "-i", folder / "a.npy", status=NOT_POSSIBLE)
    assert "'a' float32[n]" in message and "'b=1'" in message


def test_unknown_names_get_suggestions(classifier, folder, x):
    _, message = mezzo("run", classifier, "-i", folder / "x.npy", "-t", "block/rely",
                       status=NOT_POSSIBLE)
    assert "'block/relu'" in message
    _, message = mezzo("run", classifier, "-i", f"z={folder}/x.npy", status=NOT_POSSIBLE)
    assert "'x'" in message
    _, message = mezzo("inspect", classifier, "--shape", "y=1", status=NOT_POSSIBLE)
    assert "'x'" in message
    _, message = mezzo("inspect", classifier, "--shape", "x=1x-3", status=NOT_POSSIBLE)
    assert "not a shape" in message


def test_wrong_shapes_and_types(classifier, folder, x):
    np.save(folder / "wrong.npy", x[:, :2])
    _, message = mezzo("run", classifier, "-i", folder / "wrong.npy", status=NOT_POSSIBLE)
    assert "float32[2, 2, 16, 16]" in message
    np.save(folder / "double.npy", x.astype(np.float64))
    _, message = mezzo("run", classifier, "-i", folder / "double.npy", status=NOT_POSSIBLE)
    assert "float64" in message


def test_bad_files(classifier, folder, x):
    _, message = mezzo("run", folder / "none.onnx", status=BAD_FILE)
    assert "none.onnx" in message
    cut = folder / "cut.onnx"
    cut.write_bytes(classifier.read_bytes()[:-100])
    for command in ("run", "inspect", "explain"):
        assert "cut.onnx" in mezzo(command, cut, status=BAD_FILE)[1]
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:500])
    assert "cut.npy" in mezzo("run", classifier, "-i", folder / "cut.npy", status=BAD_FILE)[1]
    (folder / "some.txt").write_text("text")
    _, message = mezzo("run", classifier, "-i", folder / "some.txt", status=NOT_POSSIBLE)
    assert ".npy" in message and "some.txt" in message


def test_places_that_cannot_be_written(classifier, folder, x):
    given = ("run", classifier, "-i", folder / "x.npy")
    blocked = folder / "file"
    blocked.write_text("")
    for out in (blocked, blocked / "deeper", folder / "none" / "out.npz", folder / "none" / "o.npy"):
        assert str(out) in mezzo(*given, "-o", out, status=BAD_FILE)[1]
    _, message = mezzo(*given, "-t", "block/*", "-o", folder / "two.npy", status=NOT_POSSIBLE)
    assert "2 values" in message
    with open("/dev/full", "w") as full:
        done = subprocess.run([MEZZO, "ops", "--json"], stdout=full, stderr=subprocess.PIPE,
                              timeout=60)
    assert done.returncode == BAD_FILE and b"standard output" in done.stderr


def test_a_reader_that_stops_ends_it_quietly():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([MEZZO, "ops", "--json"], stdout=write_end, stderr=subprocess.PIPE,
                          timeout=60, restore_signals=False)
    os.close(write_end)
    assert done.returncode == -signal.SIGPIPE and done.stderr == b""


# ---- completion


def complete(*words, cwd):
    """What bash offers for the last of `words`."""
    script = f"""
        source {ROOT}/tools/mezzo.bash
        compopt() {{ :; }}  # works only while readline completes
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mezzo
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", *map(str, words)], cwd=cwd, check=True,
                          capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_completion(classifier, folder):
    assert complete(MEZZO, "in", cwd=folder) == ["inspect"]
    assert complete(MEZZO, "ex", cwd=folder) == ["explain", "extract", "expose"]
    assert complete(MEZZO, "run", "--filter", "pillow", cwd=folder) == [
        "pillow-bilinear", "pillow-bicubic"]
    assert complete(MEZZO, "run", "--ta", cwd=folder) == ["--tap"]
    assert complete(MEZZO, "run", "classi", cwd=folder) == ["classifier.onnx"]
    assert complete(MEZZO, "run", "classifier.onnx", "--tap", "block/", cwd=folder) == [
        "block/conv", "block/relu"]
    assert complete(MEZZO, "run", "classifier.onnx", "-i", "x", cwd=folder)[0] == "x="
    assert complete(MEZZO, "extract", "--ex", cwd=folder) == ["--external-data"]
    for option in ("--input", "--output"):
        assert complete(MEZZO, "extract", "classifier.onnx", option, "poo", cwd=folder) == ["pool"]
    assert complete(MEZZO, "expose", "classifier.onnx", "-t", "poo", cwd=folder) == ["pool"]
