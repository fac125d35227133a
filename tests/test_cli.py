"""The command line, driven as a process: what it prints, its exit codes, and that it loses nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import numbaconv as nc

COMMANDS = ("train", "eval", "predict", "plot", "bench", "summary", "warmup", "operators", "info", "data")
PROGRAM = (sys.executable, "-m", "numbaconv_cli")
LIMIT_S = 300  # For a whole command; only a hanging one comes near.


def numbaconv(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        stdin=subprocess.DEVNULL,
    )


def start(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Begin to run the command line, with Ctrl-C as a terminal would have it."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        # Programs started in the background of a script inherit a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def succeed(*arguments: object, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed without a word on standard error; return its output."""
    done = numbaconv(*arguments, cwd=cwd, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fingerprint(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished run of two epochs on digits, and the document that training printed."""
    folder = tmp_path_factory.mktemp("trained")
    document = json.loads(succeed("train", "--epochs", 2, "--out", "run", "--json", cwd=folder))
    return folder / "run", document


# -- help, versions, facts --------------------------------------------------------------------------------------------


def test_help_names_every_command(tmp_path: Path) -> None:
    text = succeed("--help", cwd=tmp_path)
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert succeed("--version", cwd=tmp_path).startswith("numbaconv ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    assert f"Usage: numbaconv {command} " in succeed(command, "--help", cwd=tmp_path)


def test_help_is_instant_because_it_imports_no_room(tmp_path: Path) -> None:
    """Help and version import neither Numba nor NumPy nor numbaconv."""
    for arguments in (["--help"], ["--version"], ["train", "--help"]):
        program = (
            "import sys; from numbaconv_cli.main import run; code = run(sys.argv[1:]);"
            "heavy = {'numba', 'numpy', 'llvmlite', 'numbaconv'} & set(sys.modules);"
            "assert not heavy, heavy; sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_recipe_of_ones_own_and_changes_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[model]\nname = "lenet5"\n[data]\nname = "digits"\n[training]\nepochs = 5\nbatch_size = 256\n'
        "average = 0.9\n[optimizer]\nlr = 0.05\nmomentum = 0.9\n[augmentation]\nshift = 1\n"
    )
    succeed(
        "train", "--recipe", "mine.toml", "--epochs", 1, "--set", "augmentation.mixup=0.2", "--set",
        "training.views=shift", "--schedule", "cosine", "--out", "run", "--quiet", cwd=tmp_path,
    )  # fmt: skip
    config = nc.training.RunFolder(tmp_path / "run").read_config()
    assert config["recipe"] == {"name": "mine"}
    assert config["training"]["epochs"] == 1 and config["training"]["average"] == 0.9
    assert config["training"]["views"] == "shift" and config["schedule"]["name"] == "CosineLR"
    assert config["augmentation"]["shift"] == 1 and config["augmentation"]["mixup"] == 0.2
    assert config["optimizer"]["lr"] == 0.05 and config["optimizer"]["weight_decay"] == 5e-4
    again = json.loads(succeed("train", "--resume", "run", "--json", cwd=tmp_path))
    found = json.loads(succeed("eval", "run", "--json", cwd=tmp_path))
    assert found["accuracy"] == again["test"]["accuracy"]


def test_a_folder_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(low, low + 100, (12, 9, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index}.png")
    options = ("--dataset", "folder:images", "--epochs", 8, "--batch-size", 16, "--lr", 0.02)
    document = json.loads(succeed("train", *options, "--out", "run", "--json", cwd=tmp_path))
    assert document["classes"] == ["dark", "light"] and document["test"]["accuracy"] == 1.0
    assert json.loads(succeed("eval", "run", "--json", cwd=tmp_path))["images"] == 4
    text = succeed("predict", "run", "images/light/3.png", "images/dark/4.png", "--csv", cwd=tmp_path)
    lines = text.splitlines()
    assert lines[0] == "image,rank,class,index,probability" and len(lines) == 5
    assert lines[1].startswith("images/light/3.png,1,light,1,0.")
    assert lines[3].startswith("images/dark/4.png,1,dark,0,0.")
    resumed = json.loads(succeed("train", "--resume", "run", "--json", cwd=tmp_path))
    assert resumed["test"]["accuracy"] == 1.0


def test_pictures_of_a_run(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    files = succeed("plot", "run", cwd=tmp_path).split()
    assert files[-1] == "run/report.html" and "run/pictures/filters.gif" in files
    assert all((tmp_path / file).is_file() for file in files)
    document = json.loads(succeed("plot", "models", "run", "--out", "trade.png", "--json", cwd=tmp_path))
    assert document == {"files": ["trade.png"]} and (tmp_path / "trade.png").is_file()
    assert succeed("plot", "arithmetic", "--stride", 2, "--out", "a.gif", cwd=tmp_path) == "a.gif\n"


def test_no_command_is_wrong_usage_and_shows_help(tmp_path: Path) -> None:
    done = numbaconv(cwd=tmp_path)
    assert done.returncode == 2 and "Commands:" in done.stderr


def test_info(tmp_path: Path) -> None:
    facts = json.loads(succeed("info", "--json", cwd=tmp_path))
    assert facts["versions"]["numba"] and facts["cpu"]["float32_lanes"] in (4, 8, 16)
    assert facts["threads"]["count"] >= 1 and facts["threads"]["layer"] in ("tbb", "omp", "workqueue")
    text = succeed("info", cwd=tmp_path)
    assert facts["cpu"]["name"] in text and "kernel cache" in text
    here = json.loads(succeed("info", "--json", cwd=tmp_path, NUMBACONV_CACHE_DIR=str(tmp_path / "cache")))
    assert here["cache"]["folder"].startswith(str(tmp_path))


def test_summary(tmp_path: Path) -> None:
    document = json.loads(succeed("summary", "lenet5", "--json", cwd=tmp_path))
    assert document["parameters"] == 61_706 and document["input_shape"] == [1, 1, 32, 32]
    text = succeed("summary", "lenet5", cwd=tmp_path)
    assert "61,706 parameters" in text and "416,520 multiply-adds" in text
    assert "3x32x32" in succeed("summary", "lenet5", "--dataset", "cifar10", cwd=tmp_path)
    text = succeed("summary", "resnet18", cwd=tmp_path)
    assert "3x224x224, 1,000 classes" in text and "11,689,512 parameters" in text


def test_data_list_and_download(tmp_path: Path) -> None:
    rows = json.loads(succeed("data", "list", "--json", cwd=tmp_path))
    assert [row["name"] for row in rows] == list(nc.data.names())
    assert all(row["licence"] and row["source"] for row in rows)
    assert "Optical Recognition" in succeed("data", "list", cwd=tmp_path)
    assert "digits is in" in succeed("data", "download", "digits", cwd=tmp_path)
    assert succeed("data", "download", "digits", "--quiet", cwd=tmp_path) == ""


# -- train, eval, predict ---------------------------------------------------------------------------------------------


def test_training_writes_a_run_folder_and_a_document(trained: tuple[Path, dict[str, Any]]) -> None:
    run, document = trained
    assert [epoch["epoch"] for epoch in document["epochs"]] == [1, 2]
    assert document["test"]["accuracy"] > 0.5
    assert np.sum(document["test"]["confusion"]) == 360
    assert set(document["seconds"]) == {"compile", "train", "evaluate", "total"}
    assert all(seconds >= 0 for seconds in document["seconds"].values())
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.toml", "metrics.csv", "checkpoints", "final.safetensors", "curves.png", "confusion.png", "report.txt"
    }  # fmt: skip
    assert [path.name for path in (run / "checkpoints").iterdir()]
    for picture in ("curves.png", "confusion.png"):
        Image.open(run / picture).verify()


def test_training_prints_a_line_an_epoch_and_a_report(tmp_path: Path) -> None:
    lines = succeed("train", "--epochs", 2, cwd=tmp_path).splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert all("test accuracy" in line and line.endswith(" s") for line in epochs)
    text = "\n".join(lines)
    assert "Test accuracy" in text and "compiling" in text and "images/s" in text
    assert "numbaconv eval runs/digits-lenet5-1" in text
    assert (tmp_path / "runs" / "digits-lenet5-1" / "final.safetensors").is_file()


def test_quiet_training_prints_nothing_and_never_takes_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "runs" / "digits-lenet5-1").mkdir(parents=True)
    assert succeed("train", "--epochs", 1, "--quiet", cwd=tmp_path) == ""
    assert list((tmp_path / "runs" / "digits-lenet5-1").iterdir()) == []
    assert (tmp_path / "runs" / "digits-lenet5-2" / "final.safetensors").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--optimizer", "adam", "--schedule", "cosine"],
        ["--optimizer", "adamw", "--schedule", "constant", "--weight-decay", "0.1"],
        ["--optimizer", "sgd", "--schedule", "step", "--lr", "0.02", "--momentum", "0.5"],
        ["--batch-size", "100000", "--threads", "1", "--device", "cpu"],
    ],
)
def test_options_of_training(tmp_path: Path, arguments: list[str]) -> None:
    document = json.loads(succeed("train", "--epochs", 1, "--out", "run", "--json", *arguments, cwd=tmp_path))
    assert len(document["epochs"]) == 1


def test_eval_agrees_with_training(trained: tuple[Path, dict[str, Any]]) -> None:
    run, document = trained
    for weights in (run, run / "final.safetensors", run / "checkpoints" / "epoch-0002.safetensors"):
        result = json.loads(succeed("eval", weights, "--json", cwd=run.parent))
        assert result["accuracy"] == document["test"]["accuracy"]
        assert result["confusion"] == document["test"]["confusion"]
        assert [row["class"] for row in result["classes"]] == list("0123456789")
    text = succeed("eval", run, cwd=run.parent)
    assert f"Test accuracy {document['test']['accuracy']:.2%}" in text and "precision" in text


def test_predict_takes_pictures_and_arrays(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, _ = trained
    test = nc.data.load("digits").test
    Image.fromarray(test.images[0, 0]).save(tmp_path / "small.png")
    Image.fromarray(test.images[0, 0]).resize((64, 64)).convert("RGB").save(tmp_path / "large.jpg")
    Image.fromarray(255 - test.images[0, 0]).save(tmp_path / "inverted.png")
    np.save(tmp_path / "bytes.npy", test.images[0])
    np.save(tmp_path / "floats.npy", test.images[0, 0] / 255)
    files = ["small.png", "large.jpg", "bytes.npy", "floats.npy"]
    answers = json.loads(succeed("predict", run, *files, "--json", cwd=tmp_path))
    assert [answer["image"] for answer in answers] == files
    tops = [answer["top"] for answer in answers]
    assert all(len(top) == 5 for top in tops)
    assert len({top[0]["class"] for top in tops}) == 1
    assert tops[0] == tops[2] == tops[3]
    assert sum(row["probability"] for row in tops[0]) <= 1 + 1e-6
    inverted = json.loads(succeed("predict", run, "inverted.png", "--invert", "--json", cwd=tmp_path))
    assert inverted[0]["top"] == tops[0]
    text = succeed("predict", run, "small.png", cwd=tmp_path)
    assert text.splitlines()[0] == "small.png" and len(text.splitlines()) == 6


def test_weights_that_do_not_say_their_data_set(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, document = trained
    nc.save(nc.load(run), tmp_path / "bare.safetensors")
    done = numbaconv("eval", "bare.safetensors", cwd=tmp_path)
    assert done.returncode == 2 and "--dataset" in done.stderr
    result = json.loads(succeed("eval", "bare.safetensors", "--dataset", "digits", "--json", cwd=tmp_path))
    assert result["accuracy"] == document["test"]["accuracy"]


# -- bench, warmup ----------------------------------------------------------------------------------------------------


def test_bench_prints_a_table_and_writes_a_document(tmp_path: Path) -> None:
    text = succeed("bench", "train", "--rounds", 1, "--batch-size", 16, "--json", "rows.json", cwd=tmp_path)
    assert "lenet5" in text
    document = json.loads((tmp_path / "rows.json").read_text())
    assert document["kind"] == "train" and [row["batch"] for row in document["rows"]] == [16]


def test_bench_writes_rows_and_draws_them(tmp_path: Path) -> None:
    files = ["--csv", "rows.csv"]
    if importlib.util.find_spec("matplotlib"):
        files += ["--plot", "roof.png"]
    succeed("bench", "conv", "--network", "lenet5", "--rounds", 1, "--batch-size", 16, *files, cwd=tmp_path)
    header, *rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert "flop_per_byte" in header and len(rows) == 5
    if "--plot" in files:
        assert (tmp_path / "roof.png").read_bytes().startswith(b"\x89PNG")


def test_warmup_leaves_nothing_to_compile(tmp_path: Path) -> None:
    assert "all kernels ready" in succeed("warmup", "lenet5", cwd=tmp_path)
    assert succeed("warmup", "--quiet", cwd=tmp_path) == ""
    assert "Compiling" not in succeed("train", "--epochs", 1, cwd=tmp_path)


# -- wrong input ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A folder with a good run and many things that are not as they should be."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="module")
def world(trained: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> World:
    run, _ = trained
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(run, folder / "run")
    (folder / "empty").mkdir()
    (folder / "file").write_text("hello")
    (folder / "text.safetensors").write_text("hello")
    (folder / "pickled.safetensors").write_bytes(pickle.dumps({"conv1.weight": [1.0]}))
    whole = (run / "final.safetensors").read_bytes()
    _cut(Path(shutil.copy(run / "final.safetensors", folder / "cut.safetensors")))
    (folder / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    save_file({"weight": np.zeros(3, np.float32)}, folder / "foreign.safetensors")

    def copy(name: str) -> Path:
        shutil.copytree(run, folder / name)
        return folder / name

    (copy("no-config") / "config.toml").unlink()
    (copy("bad-config") / "config.toml").write_text("epochs = = 3")
    (copy("thin-config") / "config.toml").write_text("[data]\nname = 'digits'\n")
    odd = copy("odd-config") / "config.toml"
    odd.write_text(odd.read_text().replace('name = "SGD"', 'name = "system"'))
    damaged = copy("damaged-checkpoints")
    (damaged / "final.safetensors").unlink()
    (damaged / "checkpoints" / "epoch-0001.safetensors").unlink()
    _cut(damaged / "checkpoints" / "epoch-0002.safetensors")

    data = folder / "data"
    digits = nc.data.load("digits").test.images
    for name, content in {
        "partial": {"train-images-idx3-ubyte.gz": b""},
        "garbage": dict.fromkeys(_MNIST_FILES, b"hello, this is not an IDX file"),
        "swapped": dict.fromkeys(_MNIST_FILES, _idx(digits[:5, 0, :28, :28])),
    }.items():
        for file, bytes_ in content.items():
            (data / name).mkdir(parents=True, exist_ok=True)
            (data / name / file).write_bytes(bytes_)

    Image.fromarray(digits[0, 0]).save(folder / "good.png")
    _cut(Path(shutil.copy(folder / "good.png", folder / "cut.png")))
    (folder / "text.png").write_text("hello")
    np.save(folder / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(folder / "batch.npy", digits[:3])
    np.save(folder / "integers.npy", digits[0].astype(np.int64))
    np.save(folder / "bright.npy", digits[0].astype(np.float32))
    np.save(folder / "nan.npy", np.full((8, 8), np.nan))
    np.save(folder / "nothing.npy", np.zeros((0, 8), np.uint8))
    _cut(Path(shutil.copy(folder / "batch.npy", folder / "cut.npy")))
    return World(folder)


_MNIST_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
)  # fmt: skip


def _cut(path: Path) -> None:
    """Cut a file short by half."""
    os.truncate(path, path.stat().st_size // 2)


def _idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


# (arguments, exit code, what the line must say)
WRONG: tuple[tuple[str, int, str], ...] = (
    ("frobnicate", 2, "No such command 'frobnicate'"),
    ("train --frobnicate", 2, "No such option"),
    ("train stray", 2, "unexpected extra argument"),
    ("train --epochs 0", 2, "'--epochs': 0 is not in the range"),
    ("train --epochs many", 2, "'--epochs': 'many' is not a valid integer"),
    ("train --batch-size 0", 2, "'--batch-size'"),
    ("train --batch-size -64", 2, "'--batch-size'"),
    ("train --lr 0", 2, "'--lr'"),
    ("train --lr -1", 2, "'--lr'"),
    ("train --lr nan", 2, "nan is not a finite number"),
    ("train --lr inf", 2, "inf is not a finite number"),
    ("train --lr 3e38 --epochs 1 --out {tmp}/diverged", 1, "try a smaller learning rate"),
    ("train --momentum 1", 2, "'--momentum'"),
    ("train --momentum 0.9 --optimizer adam", 2, "--momentum belongs to sgd"),
    ("train --weight-decay -0.1", 2, "'--weight-decay'"),
    ("train --optimizer lion", 2, "'lion' is not one of"),
    ("train --schedule zigzag", 2, "'zigzag' is not one of"),
    ("train --device tpu", 2, "'tpu' is not one of"),
    ("train --device cuda", 1, "--device cuda: the CUDA engine cannot run: "),
    ("eval {w}/run --device cuda", 1, "--device cuda: the CUDA engine cannot run: "),
    ("predict {w}/run image.png --device cuda", 1, "--device cuda: the CUDA engine cannot run: "),
    ("plot {w}/run --device cuda", 1, "--device cuda: the CUDA engine cannot run: "),
    ("train --threads 0", 2, "'--threads'"),
    ("train --threads 100000", 1, "threads must lie between 1 and"),
    ("train --seed -1", 2, "'--seed'"),
    ("train --seed 9223372036854775808", 1, "seed must be"),
    ("train --model lenet6", 2, "there is no 'lenet6'"),
    ("train --dataset svhn", 1, "there is no data set 'svhn'"),
    ("train --dataset mnist --data-dir {w}/nowhere", 1, "not a folder"),
    ("train --dataset mnist --data-dir {w}/data/partial", 1, "holds only a part of mnist"),
    ("train --dataset mnist --data-dir {w}/data/garbage", 1, "train-"),
    ("train --dataset mnist --data-dir {w}/data/swapped", 1, "train-labels"),
    ("train --checkpoint-every-steps 0", 2, "'--checkpoint-every-steps'"),
    ("train --out {w}/run", 2, "is not empty"),
    ("train --out {w}/file", 1, "is a file"),
    ("train --out {w}/file/run", 1, "{w}/file/run"),
    ("train --out {tmp}/new --resume {w}/run", 2, "exclude each other"),
    ("train --resume {w}/nowhere", 1, "is not a run folder"),
    ("train --resume {w}/empty", 1, "is not a run folder"),
    ("train --resume {w}/no-config", 1, "is not a run folder"),
    ("train --resume {w}/bad-config", 1, "config.toml: cannot be read"),
    ("train --resume {w}/thin-config", 1, "config.toml: lacks 'training'"),
    ("train --resume {w}/odd-config", 1, "there is no optimizer 'system'"),
    ("train --resume {w}/damaged-checkpoints", 1, "cut short"),
    ("train --resume {w}/run --epochs 3", 2, "--epochs 3 contradicts the run {w}/run, which has 2"),
    ("train --resume {w}/run --lr 0.5", 2, "--lr 0.5 contradicts the run {w}/run, which has 0."),
    ("train --resume {w}/run --optimizer adam", 2, "which has sgd"),
    ("train --resume {w}/run --schedule cosine", 2, "which has one-cycle"),
    ("train --resume {w}/run --seed 7", 2, "which has 0"),
    ("train --resume {w}/run --recipe mnist-best", 2, "leave --recipe and --set out"),
    ("train --recipe mnist-bets", 1, "there is no recipe 'mnist-bets': did you mean 'mnist-best'"),
    ("train --set optimizer.rate=1", 1, "optimizer has no 'rate', only name, lr"),
    ("train --set lr=1", 1, "is not SECTION.KEY=VALUE"),
    ("train --dataset folder:{w}/nowhere", 1, "there is no such folder"),
    ("predict {w}/run {w}/digit.png --csv --json", 2, "--csv and --json exclude each other"),
    ("plot nowhere", 2, "'nowhere' does not exist"),
    ("plot arithmetic --stride 0", 1, "stride must be 1 or more"),
    ("train --resume {w}/run --dataset mnist", 2, "which has digits"),
    ("eval", 2, "Missing argument"),
    ("eval {w}/nowhere", 1, "there is no such file"),
    ("eval {w}/empty", 1, "holds neither final.safetensors nor a checkpoint"),
    ("eval {w}/text.safetensors", 1, "not a safetensors file"),
    ("eval {w}/pickled.safetensors", 1, "not a safetensors file"),
    ("eval {w}/cut.safetensors", 1, "cut short"),
    ("eval {w}/flipped.safetensors", 1, "checksum is wrong"),
    ("eval {w}/foreign.safetensors", 1, "does not say which network"),
    ("eval {w}/run --dataset svhn", 1, "there is no data set 'svhn'"),
    ("eval {w}/run --dataset cifar100", 2, "tells 10 classes apart, cifar100 has 100"),
    ("predict {w}/run", 2, "Missing argument 'IMAGE...'"),
    ("predict {w}/nowhere {w}/good.png", 1, "there is no such file"),
    ("predict {w}/run {w}/nowhere.png", 1, "there is no such file"),
    ("predict {w}/run {w}/empty", 1, "is not a file"),
    ("predict {w}/run {w}/text.png", 1, "is not a PNG or JPEG picture"),
    ("predict {w}/run {w}/cut.png", 1, "damaged"),
    ("predict {w}/run {w}/good.png {w}/objects.npy", 1, "is not a NumPy array file"),
    ("predict {w}/run {w}/batch.npy", 1, "got (3, 1, 32, 32)"),
    ("predict {w}/run {w}/integers.npy", 1, "got int64"),
    ("predict {w}/run {w}/bright.npy", 1, "values from 0 to 1"),
    ("predict {w}/run {w}/nan.npy", 1, "got nan to nan"),
    ("predict {w}/run {w}/nothing.npy", 1, "got (1, 0, 8)"),
    ("predict {w}/run {w}/cut.npy", 1, "damaged"),
    ("summary", 2, "Missing argument"),
    ("summary lenet6", 1, "did you mean 'lenet5'?"),
    ("summary lenet5 --dataset svhn", 1, "there is no data set 'svhn'"),
    ("bench", 2, "Missing argument"),
    ("bench everything", 2, "'everything' is not one of"),
    ("bench conv --against caffe", 2, "'caffe' is not one of"),
    ("bench conv --against onnxruntime", 1, "cannot be measured against onnxruntime"),
    ("bench conv --torch-compile", 2, "--torch-compile belongs to train"),
    ("bench train --plot roof.png", 2, "--plot belongs to conv, not to train"),
    ("bench conv --plot {w}/nowhere/roof.png", 1, "{w}/nowhere"),
    ("bench conv --network lenet6", 1, "lenet6"),
    ("bench conv --batch-size 1 --batch-size 2", 2, "takes one --batch-size"),
    ("bench conv --rounds 0", 2, "'--rounds'"),
    ("bench conv --json {w}/nowhere/file.json", 1, "{w}/nowhere"),
    ("warmup lenet6", 1, "did you mean 'lenet5'?"),
    ("operators max_pol2d", 1, "there is no operator 'max_pol2d': did you mean 'max_pool2d'?"),
    ("operators relu --markdown", 2, "takes no NAME"),
    ("operators --speed {w}/cut.safetensors", 2, "--speed belongs to --markdown"),
    ("data download svhn", 1, "there is no data set 'svhn'"),
    ("data upload", 2, "No such command 'upload'"),
)


@pytest.mark.parametrize(("line", "code", "says"), WRONG, ids=[line.replace("{w}/", "") for line, _, _ in WRONG])
def test_wrong_input_gives_one_clear_line(world: World, tmp_path: Path, line: str, code: int, says: str) -> None:
    before = fingerprint(world.folder)
    places = {"w": world.folder, "tmp": tmp_path}
    done = numbaconv(*(word.format(**places) for word in line.split()), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert says.format(**places) in lines[0]
    assert lines[0].startswith("numbaconv") and "Traceback" not in done.stdout
    assert fingerprint(world.folder) == before
    assert not (tmp_path / "runs").exists()


def test_debug_shows_the_traceback(world: World, tmp_path: Path) -> None:
    done = numbaconv("--debug", "eval", world.path("cut.safetensors"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and "cut short" in done.stderr.splitlines()[-1]


# -- interruption -----------------------------------------------------------------------------------------------------

# Training that takes seconds, so that there is something to interrupt.
LONG = ("--epochs", 40, "--batch-size", 16, "--checkpoint-every-steps", 20)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same long run without interruption."""
    folder = tmp_path_factory.mktemp("unbroken")
    succeed("train", *LONG, "--out", "run", "--quiet", cwd=folder)
    return folder / "run"


def assert_same_weights(one: Path, other: Path) -> None:
    left, right = (load_file(run / "final.safetensors") for run in (one, other))
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path: Path, unbroken: Path) -> None:
    process = start("train", *LONG, "--out", "run", cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch "):
            break
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert len(err.splitlines()) == 1 and "numbaconv train --resume run" in err
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name in err
    nc.load(newest)
    text = succeed("train", "--resume", "run", "--epochs", 40, cwd=tmp_path)
    assert "going on in epoch" in text
    assert_same_weights(tmp_path / "run", unbroken)
    metrics = [run / "metrics.csv" for run in (tmp_path / "run", unbroken)]
    ours, theirs = ([line.split(",")[:7] for line in path.read_text().splitlines()] for path in metrics)
    assert ours == theirs


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_while_compiling_ends_in_one_line(tmp_path: Path) -> None:
    process = start("train", "--out", "run", cwd=tmp_path, NUMBACONV_CACHE_DIR=str(tmp_path / "empty"))
    assert process.stdout is not None and process.stdout.readline() == "Compiling kernels ...\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert len(err.splitlines()) == 1 and "numbaconv train --resume run" in err


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_gives_the_same_weights(
    tmp_path: Path, unbroken: Path, kills: int
) -> None:
    draw = random.Random(kills)
    run = tmp_path / "run"
    for _ in range(kills):
        going_on = (run / "config.toml").exists()
        arguments = ("--resume", "run") if going_on else (*LONG, "--out", "run")
        process = start("train", *arguments, "--quiet", cwd=tmp_path)
        if draw.random() < 0.8:  # Mostly while it trains, else while it starts.
            _wait_for(lambda: _is_training(run), process)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        assert finish(process)[2] == ""
        for checkpoint in run.glob("checkpoints/*.safetensors"):
            nc.load(checkpoint)
        if run.exists() and not (run / "config.toml").exists():
            shutil.rmtree(run)  # Killed before there was anything to go on with.
    arguments = ("--resume", "run") if run.exists() else (*LONG, "--out", "run")
    succeed("train", *arguments, "--quiet", cwd=tmp_path)
    assert_same_weights(run, unbroken)
    assert not list(run.rglob(".*")), "half-written files are left"


def _is_training(run: Path) -> bool:
    return any(run.glob("checkpoints/*.safetensors"))


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def test_a_finished_run_is_resumed_by_doing_nothing(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, document = trained
    shutil.copytree(run, tmp_path / "run")
    again = json.loads(succeed("train", "--resume", "run", "--json", cwd=tmp_path))
    assert again["resumed"] and again["test"]["accuracy"] == document["test"]["accuracy"]
    assert_same_weights(tmp_path / "run", run)


def test_a_damaged_newest_checkpoint_costs_an_epoch_not_the_run(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run, _ = trained
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "final.safetensors").unlink()
    _cut(tmp_path / "run" / "checkpoints" / "epoch-0002.safetensors")
    done = numbaconv("train", "--resume", "run", "--quiet", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("numbaconv: warning: ")
    assert_same_weights(tmp_path / "run", run)


def test_a_seed_decides_the_weights_and_the_number_of_threads_does_not(tmp_path: Path) -> None:
    for name, seed, threads in (("one", 1, ["--threads", 1]), ("all", 1, []), ("other", 2, [])):
        succeed("train", "--epochs", 1, "--seed", seed, *threads, "--out", name, "--quiet", cwd=tmp_path)
    assert_same_weights(tmp_path / "one", tmp_path / "all")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "one", tmp_path / "other")


def test_as_the_console_script(tmp_path: Path) -> None:
    script: Sequence[str] = [str(Path(sys.executable).with_name("numbaconv")), "--version"]
    if not Path(script[0]).exists():
        pytest.skip("numbaconv is not installed beside this Python, only importable")
    assert subprocess.run(script, cwd=tmp_path, capture_output=True, text=True).stdout.startswith("numbaconv ")
