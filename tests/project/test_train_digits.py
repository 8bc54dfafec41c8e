"""The main job: one network, one optimizer, three libraries, and the same result on each."""

import gzip
import importlib
import io
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from typer.testing import CliRunner

from gradwise import optimizers
from gradwise.optimizers.registry import ALGORITHMS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
idx, networks, training, report, train_digits = (
    importlib.import_module(name) for name in ("idx", "networks", "training", "report", "train_digits")
)

NAMES = [kind.__name__ for kind in ALGORITHMS]
BACKENDS = [
    "numpy",
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("jax", marks=pytest.mark.jax),
]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def digits():
    return training.load_digits()


@pytest.fixture(scope="module")
def all_backends(digits):
    return training.train(["all"], digits, "adam")


def idx_content(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(numpy.uint8).tobytes()


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """Files like those of Fashion-MNIST: ten noisy patterns of 28 x 28 pixels, two files compressed and two not."""
    folder = tmp_path_factory.mktemp("clothes")
    generator = numpy.random.default_rng(0)
    patterns = generator.uniform(0, 255, (10, 28, 28))
    for count, images_name, labels_name in ((640, *idx.FILE_NAMES[:2]), (200, *idx.FILE_NAMES[2:])):
        labels = generator.integers(0, 10, count)
        images = 0.3 * patterns[labels] + 0.7 * generator.uniform(0, 255, (count, 28, 28))
        (folder / f"{images_name}.gz").write_bytes(gzip.compress(idx_content(images), compresslevel=1))
        (folder / labels_name).write_bytes(idx_content(labels))
    return folder


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command line in this process, in an empty folder; its environment asks for no colours."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(train_digits.app, [str(argument) for argument in arguments])


# ---------------------------------------------------------------- the libraries agree


@pytest.mark.torch
@pytest.mark.jax
def test_losses_agree_after_the_first_epoch(all_backends):
    losses = all_backends.epochs[0].losses
    assert list(losses) == ["numpy", "torch", "jax"]
    assert max(losses.values()) - min(losses.values()) <= 1e-5 * min(losses.values())
    assert all_backends.epochs[0].loss_difference <= report.TOLERANCE == 1e-5


@pytest.mark.torch
@pytest.mark.jax
def test_final_accuracies_agree_and_are_high(all_backends):
    accuracies = all_backends.epochs[-1].accuracies.values()
    assert min(accuracies) > 0.95
    assert max(accuracies) - min(accuracies) <= 0.005


@pytest.mark.torch
@pytest.mark.jax
def test_every_epoch_is_recorded(all_backends):
    assert len(all_backends.epochs) == 20
    assert set(all_backends.first_step_seconds) == {"numpy", "torch", "jax"}
    for epoch in all_backends.epochs:
        assert all(seconds > 0 for seconds in epoch.step_seconds.values())
        # They sum in different orders: exactly equal weights would mean that one was compared with itself.
        assert epoch.weight_distance > 0
    # Later, one hidden unit at ReLU's kink can tear the weights apart by a whole step: see `weight_distance`.
    assert all_backends.epochs[0].weight_distance < 100


@pytest.mark.torch
@pytest.mark.jax
@pytest.mark.parametrize("optimizer", [name for name in NAMES if name != "Adam"])
def test_every_algorithm_agrees_after_the_first_epoch(digits, optimizer):
    results = training.train(["all"], digits, optimizer, epochs=1)
    assert results.epochs[0].loss_difference <= 1e-5


@pytest.mark.parametrize("optimizer", NAMES)
def test_every_algorithm_trains_well_with_its_default_rate(digits, optimizer):
    results = training.train(["numpy"], digits, optimizer.lower())
    kind = getattr(optimizers, optimizer)
    own = kind().learning_rate if kind.suggested_rate is None else kind.suggested_rate
    assert (results.optimizer, results.learning_rate) == (optimizer, own)
    assert results.epochs[-1].accuracies["numpy"] > 0.95
    assert results.epochs[-1].loss_difference is results.epochs[-1].weight_distance is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_stay_float32(digits, backend):
    optimizer = training.make_optimizer("adam")
    network = networks.network_class(backend)(networks.initial_weights(64, seed=0), digits, optimizer)
    network.step(numpy.arange(32))
    assert {str(array.dtype).removeprefix("torch.") for array in network.weights} == {"float32"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_seeds_give_equal_runs(digits, backend):
    runs = [training.train([backend], digits, epochs=1, seed=seed).epochs[0].losses for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_like_fashion_mnist_is_learned(clothes, backend):
    data = training.load_idx(clothes)
    assert data.train_images.shape == (640, 784)
    assert data.train_images.dtype == numpy.float32
    assert 0 <= data.train_images.min() < 0.01 < 0.99 < data.train_images.max() <= 1
    results = training.train([backend], data, epochs=5)
    assert results.layers == (784, 100, 10)
    assert results.epochs[-1].accuracies[backend] > 0.95


# ---------------------------------------------------------------- how differences are measured


def test_weight_distance_is_relative_to_the_largest_weight_or_change():
    eps = numpy.finfo(numpy.float32).eps
    zero = numpy.zeros(2, numpy.float32)
    a = numpy.array([4.0, 1.0], numpy.float32)
    b = numpy.array([4.0, 1.0 + 8 * eps], numpy.float32)
    assert training.weight_distance([a], [b], [a], [b]) == 2.0
    # The change since before, 8, is larger than the weights.
    assert training.weight_distance([a], [b], [-a], [-a]) == 1.0
    assert training.weight_distance([a, a], [a, b], [a, a], [a, a]) == 2.0
    assert training.weight_distance([zero], [zero], [zero], [zero]) == 0.0


def test_weight_distance_of_a_diverged_run_is_not_zero():
    a, b = numpy.array([1.0], numpy.float32), numpy.array([math.nan], numpy.float32)
    assert math.isnan(training.weight_distance([a], [b], [a], [a]))


def test_batches_have_one_shape_and_no_image_twice():
    batches = training._batches(100, 32, seed=0, epoch=0)
    assert batches.shape == (3, 32)
    assert len(set(batches.ravel())) == 96
    assert not numpy.array_equal(batches, training._batches(100, 32, seed=0, epoch=1))


# ---------------------------------------------------------------- the command line


def test_command_line_in_a_process_of_its_own(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "train_digits.py", "--backend", "numpy", "--epochs", "1"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "train_digits.png").read_bytes().startswith(PNG)
    # A log gets the table, but no progress bar and no escape codes.
    # What must be compiled may say so.
    assert [line for line in done.stderr.splitlines() if not line.startswith("gradwise compiles")] == []
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert "Adam, learning rate 0.001, 64-100-10 network on digits" in done.stdout


@pytest.mark.torch
@pytest.mark.jax
def test_table_of_all_backends_fits_80_characters(all_backends):
    console = report.Console(width=80, file=io.StringIO())
    report.print_report(console, all_backends)
    lines = console.file.getvalue().splitlines()
    rows = [line.split() for line in lines if line[:5].strip().isdigit()]
    assert [int(row[0]) for row in rows] == list(range(1, 21))
    # Epoch, three columns for each backend, two differences, and no cell that was cut.
    assert all(len(row) == 12 for row in rows)
    assert "…" not in console.file.getvalue()


def test_list_of_backends_and_other_options(command, tmp_path):
    done = command(
        "--backend", "numpy, NumPy", "--optimizer", "SGD", "--learning-rate", 0.1, "--epochs", 2, "--batch-size", 64,
        "--seed", 3, "--output", "picture",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "SGD, learning rate 0.1" in done.output
    assert (tmp_path / "picture").read_bytes().startswith(PNG)


@pytest.mark.jax
def test_two_backends_show_their_difference(command):
    done = command("--backend", "jax,numpy", "--epochs", 1)
    assert done.exit_code == 0, done.output
    assert "differ." in done.output


def test_a_diverging_run_is_shown_as_such(command, tmp_path):
    done = command("--backend", "numpy", "--optimizer", "sgd", "--learning-rate", 1e30, "--epochs", 1)
    assert done.exit_code == 0, done.output
    assert "nan" in done.output
    assert (tmp_path / "train_digits.png").exists()


def test_command_line_trains_on_idx_files(command, clothes):
    done = command("--backend", "numpy", "--data", clothes)
    assert done.exit_code == 0, done.output
    assert f"784-100-10 network on {clothes.name}" in done.output
    epochs = [line.split()[0] for line in done.output.splitlines() if line[:5].strip().isdigit()]
    assert epochs == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--backend", "tensorflow,numpy"], ["--backend", "numpy, torch, jax", "'tensorflow'"]),
        (["--backend", ""], ["--backend", "numpy, torch, jax"]),
        (["--optimizer", "magic"], ["--optimizer", "'magic'", "adam"]),
        (["--learning-rate", "-1"], ["--learning-rate", "-1.0"]),
        (["--learning-rate", "nan"], ["--learning-rate", "nan"]),
        (["--epochs", "0"], ["--epochs"]),
        (["--batch-size", "1438"], ["--batch-size", "1437 training images"]),
        (["--data", "nowhere"], ["--data", "nowhere is not a folder", *idx.FILE_NAMES]),
        (["--output", "nowhere/picture.png"], ["--output", "nowhere/picture.png", "existing folder"]),
    ],
)
def test_errors_are_one_clear_line_before_any_training(command, tmp_path, arguments, parts):
    done = command("--backend", "numpy", *arguments)
    assert done.exit_code == 2
    errors = [line for line in done.output.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert all(part in errors[0] for part in parts), errors[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backends", ["torch", "all"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(command, monkeypatch, backends):
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "torch", None)
    done = command("--backend", backends)
    assert done.exit_code == 2
    assert "PyTorch, which is not installed: pip install 'gradwise[torch]'" in done.output


def test_train_refuses_what_the_command_line_refuses(digits):
    with pytest.raises(ValueError, match="batch_size must be from 1 to 1437"):
        training.train(["numpy"], digits, batch_size=0)
    with pytest.raises(ValueError, match="magic"):
        training.train(["numpy"], digits, "magic")
    with pytest.raises(ValueError, match="'cupy'"):
        training.train(["cupy"], digits)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (idx.FILE_NAMES[0], idx_content(numpy.zeros((2, 28, 28))), "expected 2 labels"),
        (idx.FILE_NAMES[1], idx_content(numpy.full(640, 10)), "expected labels from 0 to 9, found 10 to 10"),
        (idx.FILE_NAMES[2], idx_content(numpy.zeros((200, 28, 27))), r"expected images of shape \(28, 28\)"),
        (idx.FILE_NAMES[3], idx_content(numpy.zeros(200))[:-1], "truncated"),
        (idx.FILE_NAMES[3], idx_content(numpy.zeros((200, 1))), "expected 1 dimension"),
    ],
)
def test_idx_files_that_do_not_fit_together(clothes, tmp_path, name, content, message):
    for file in clothes.iterdir():
        if not file.name.startswith(name):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        training.load_idx(tmp_path)
    assert name in str(caught.value)
