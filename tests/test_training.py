"""Optimizers, schedules, the Trainer, run folders, checkpoints and pictures."""

from __future__ import annotations

import csv
import math
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbaconv.functional as F
from numbaconv import models, nn, optim, visual
from numbaconv.training import (
    VIEWS,
    Augmentation,
    Callback,
    CheckpointError,
    Diverged,
    EpochMetrics,
    FitInfo,
    Interrupted,
    RunFolder,
    StepInfo,
    Trainer,
    accuracy,
    confusion_matrix,
    load,
    per_class,
    read_metadata,
    save,
    tensorfile,
)
from numbaconv.training.files import write_atomic
from numbaconv.training.order import epoch_order

ROOT = Path(__file__).resolve().parents[1]
IMAGES, BATCH = 40, 16  # Two full batches and one of 8.
AUGMENTED = Augmentation(shift=3, flip=True, cutout=4, brightness=0.1, contrast=0.2, saturation=0.3, mixup=0.5)


def make_split(images: int = IMAGES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with a bright stripe that says the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, images)
    pixels = rng.integers(0, 100, (images, 1, 32, 32), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[0, 3 * label : 3 * label + 3] += 120
    return pixels, labels


def make_trainer(seed: int = 0, **options: Any) -> Trainer:
    options = {"optimizer": optim.SGD(lr=0.05, momentum=0.9), "mean": 0.3, "std": 0.3, **options}
    return Trainer(models.lenet5(seed=seed), batch_size=BATCH, seed=seed, **options)


def assert_same_bits(one: Trainer, two: Trainer) -> None:
    for name, array in one.model.state_dict().items():
        np.testing.assert_array_equal(array, two.model.state_dict()[name], strict=True)
    for left, right in zip(one.model.parameters(), two.model.parameters(), strict=True):
        for a, b in zip(one.optimizer.slots_of(left), two.optimizer.slots_of(right), strict=True):
            np.testing.assert_array_equal(a.data, b.data)
    assert one.optimizer.step_count == two.optimizer.step_count
    assert [without_times(row) for row in one.state.history] == [without_times(row) for row in two.state.history]


def without_times(row: EpochMetrics) -> list[Any]:
    return [
        row.epoch,
        row.step,
        row.lr,
        row.train_loss,
        row.train_accuracy,
        row.validation_loss,
        row.validation_accuracy,
    ]


class StopAt(Callback):
    """Ends a fit after a step, as a crash would."""

    def __init__(self, step: int, stop: Callable[[], None]) -> None:
        self.step = step
        self.stop = stop

    def on_step(self, step: StepInfo) -> None:
        if step.step == self.step:
            self.stop()


class Crash(Exception):
    pass


def crash() -> None:
    raise Crash


# -- schedules and order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (optim.ConstantLR(0.5), {0: 0.5, 99: 0.5}),
        (optim.ConstantLR(0.5, warmup_steps=5), {0: 0.1, 3: 0.4, 4: 0.5, 5: 0.5}),
        (optim.StepLR(1.0, 3, gamma=0.5), {0: 1.0, 2: 1.0, 3: 0.5, 6: 0.25}),
        (optim.StepLR(1.0, 3, gamma=0.5, warmup_steps=2), {0: 0.5, 1: 1.0, 4: 1.0, 5: 0.5}),
        (optim.CosineLR(1.0, 10), {0: 1.0, 5: 0.5, 9: 0.0244717, 10: 0.0, 50: 0.0}),
        (optim.CosineLR(1.0, 12, min_lr=0.2, warmup_steps=2), {1: 1.0, 2: 1.0, 7: 0.6, 12: 0.2}),
        # Read from torch.optim.lr_scheduler.OneCycleLR(max_lr=1.0, total_steps=10).
        (optim.OneCycle(1.0, 10), {0: 0.04, 1: 0.52, 2: 1.0, 3: 0.9504846, 6: 0.3887406, 9: 4e-06}),
    ],
)
def test_schedules_give_known_rates(schedule: optim.Schedule, rates: dict[int, float]) -> None:
    assert {step: schedule(step) for step in rates} == pytest.approx(rates, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: optim.CosineLR(0.1, 0), "CosineLR: total_steps must be 1 or more, got 0"),
        (lambda: optim.StepLR(-1, 3), "StepLR: lr must be 0 or more, got -1"),
        (lambda: optim.ConstantLR(0.1, warmup_steps=-1), "ConstantLR: warmup_steps must be 0 or more"),
        (lambda: optim.OneCycle(0.1, 10, pct_start=2), "OneCycle: pct_start must be at most 1, got 2"),
        (lambda: optim.ConstantLR(0.1)(-1), "ConstantLR: step must be 0 or more, got -1"),
        (lambda: optim.SGD(lr=-1), "SGD: lr must be 0 or more, got -1"),
        (lambda: optim.SGD(lr=math.nan), "SGD: lr must be 0 or more, got nan"),
        (lambda: optim.SGD(nesterov=True), "SGD: nesterov needs a momentum above 0 and no dampening"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), r"Adam: betas must lie in \[0, 1\)"),
        (lambda: optim.AdamW(weight_decay=-1), "AdamW: weight_decay must be 0 or more"),
    ],
)
def test_rates_and_their_like_are_checked(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_the_order_of_images_follows_from_seed_and_epoch() -> None:
    order = epoch_order(1, 2, 1000)
    assert sorted(order) == list(range(1000))
    np.testing.assert_array_equal(order, epoch_order(1, 2, 1000))
    assert not np.array_equal(order, epoch_order(1, 3, 1000))
    assert not np.array_equal(order, epoch_order(2, 2, 1000))


# -- optimizers -------------------------------------------------------------------------------------------------------


def sgd_by_hand(p: np.ndarray, g: np.ndarray, slots: list[np.ndarray], o: optim.SGD, step: int) -> np.ndarray:
    g = g + o.weight_decay * p
    if o.momentum:
        slots[0] = g if step == 1 else o.momentum * slots[0] + (1 - o.dampening) * g
        g = g + o.momentum * slots[0] if o.nesterov else slots[0]
    return p - o.lr * g


def adam_by_hand(p: np.ndarray, g: np.ndarray, slots: list[np.ndarray], o: optim.Adam, step: int) -> np.ndarray:
    if o.decoupled:
        p = p * (1 - o.lr * o.weight_decay)
    else:
        g = g + o.weight_decay * p
    slots[0] = o.betas[0] * slots[0] + (1 - o.betas[0]) * g
    slots[1] = o.betas[1] * slots[1] + (1 - o.betas[1]) * g * g
    mean, square = slots[0] / (1 - o.betas[0] ** step), slots[1] / (1 - o.betas[1] ** step)
    return p - o.lr * mean / (np.sqrt(square) + o.eps)


@pytest.mark.parametrize(
    ("optimizer", "by_hand"),
    [
        (optim.SGD(lr=0.1), sgd_by_hand),
        (optim.SGD(lr=0.1, weight_decay=0.1), sgd_by_hand),
        (optim.SGD(lr=0.1, momentum=0.9, dampening=0.5), sgd_by_hand),
        (optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True), sgd_by_hand),
        (optim.Adam(lr=0.01, weight_decay=0.1), adam_by_hand),
        (optim.AdamW(lr=0.01, betas=(0.8, 0.9), weight_decay=0.1), adam_by_hand),
    ],
    ids=lambda value: repr(value) if isinstance(value, optim.Optimizer) else "",
)
def test_steps_are_those_of_the_textbook(optimizer: optim.Optimizer, by_hand: Callable[..., np.ndarray]) -> None:
    """Softmax regression, whose gradient is (softmax - one hot) xᵀ / N, for four steps."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((8, 1, 2, 3)).astype(np.float32)
    y = rng.integers(0, 4, 8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4, bias=False, generator=0))
    trainer = Trainer(model, optimizer=optimizer)
    weight = model[1].weight.data.astype(np.float64)
    slots = [np.zeros_like(weight) for _ in optimizer.slots]
    for step in range(1, 5):
        flat = x.reshape(8, 6).astype(np.float64)
        powers = np.exp(flat @ weight.T)
        shares = powers / powers.sum(axis=1, keepdims=True)
        loss = -np.log(shares[np.arange(8), y]).mean()
        gradient = (shares - np.eye(4)[y]).T @ flat / 8
        weight = by_hand(weight, gradient, slots, optimizer, step)
        assert trainer.step(x, y) == pytest.approx(loss, rel=1e-5)
        assert optimizer.step_count == step
        np.testing.assert_allclose(model[1].weight.data, weight, rtol=2e-5, atol=2e-6)


def test_the_schedule_sets_the_rate_of_each_step() -> None:
    trainer = make_trainer(schedule=lambda step: 0.1 / (step + 1))
    images, labels = make_split(4)
    for step in range(3):
        trainer.step(images, labels)
        assert trainer.optimizer.lr == 0.1 / (step + 1)


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_of_a_small_example() -> None:
    labels, predictions = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    confusion = confusion_matrix(predictions, labels, 3)
    np.testing.assert_array_equal(confusion, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])
    zero, one, two = per_class(confusion)
    assert (zero.precision, zero.recall, zero.f1, zero.support) == (0.5, 0.5, 0.5, 2)
    assert one.recall == pytest.approx(2 / 3)
    assert (two.precision, two.recall, two.f1, two.support) == (0, 0, 0, 0)
    assert accuracy(np.eye(3)[predictions], labels) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="labels must lie between 0 and 1"):
        confusion_matrix(np.array([0]), np.array([2]), 2)
    with pytest.raises(ValueError, match="accuracy: expected logits"):
        accuracy(np.zeros((0, 3)), np.zeros(0, int))


# -- files of weights -------------------------------------------------------------------------------------------------


def test_a_saved_model_comes_back_with_its_metadata(tmp_path: Path) -> None:
    model = models.lenet5(num_classes=3, seed=9, dtype=np.float64)
    save(model, tmp_path / "model.safetensors", {"classes": ["a", "b", "c"]})
    twin = load(tmp_path / "model.safetensors")
    assert models.recipe_of(twin) == models.recipe_of(model)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name], array)
    metadata = read_metadata(tmp_path / "model.safetensors")
    assert metadata["classes"] == ["a", "b", "c"]
    assert metadata["model"]["arguments"] == {"num_classes": 3, "in_channels": 1, "seed": 9, "dtype": "float64"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_model_of_ones_own_is_loaded_into(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save(nn.Linear(3, 2, generator=1), path)
    target = nn.Linear(3, 2, generator=2)
    assert load(path, target) is target
    np.testing.assert_array_equal(target.weight.data, nn.Linear(3, 2, generator=1).weight.data)
    with pytest.raises(CheckpointError, match="does not say which network its arrays belong to"):
        load(path)


def test_files_of_other_programs_are_loaded_into_a_model(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "theirs.safetensors"
    layer = nn.Linear(3, 2)
    save_file(nn.Linear(3, 2, generator=5).state_dict(), path, metadata={"format": "pt"})
    np.testing.assert_array_equal(load(path, layer).weight.data, nn.Linear(3, 2, generator=5).weight.data)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save(models.lenet5(), whole)
    data = whole.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    cut = tmp_path / "cut.safetensors"
    for length in (0, 1, 7, 8, 9, header - 1, header, header + 1, len(data) // 2, len(data) - 1):
        cut.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="cut.safetensors: is damaged, cut short or not a safetensors file"):
            load(cut)


def test_a_network_comes_back_with_its_counts_of_batches(tmp_path: Path) -> None:
    model = models.resnet20()
    for array in model.state_dict().values():
        array += 1
    save(model, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors").state_dict()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(models.lenet5(), path)
    data = bytearray(path.read_bytes())
    rng = random.Random(0)
    for _ in range(20):
        damaged = data.copy()
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="model.safetensors"):
            load(path)


def test_unusable_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    def refusal(path: Path, model: nn.Module | None = None) -> str:
        with pytest.raises(CheckpointError) as caught:
            load(path) if model is None else load(path, model)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = tmp_path / "x.safetensors"
    assert "there is no such file" in refusal(path)
    assert "holds neither final.safetensors nor a checkpoint" in refusal(tmp_path)
    path.write_bytes(b"\x80\x04\x95 a pickle")
    assert "is damaged, cut short or not a safetensors file" in refusal(path)
    save(models.lenet5(), path)
    assert "does not fit the model Linear: Unexpected key(s)" in refusal(path, nn.Linear(2, 2))
    before = nn.Linear(2, 2, generator=3)
    model = nn.Linear(2, 2, generator=3)
    refusal(path, model)
    np.testing.assert_array_equal(model.weight.data, before.weight.data)
    tensorfile.write(path, {}, {"model": {"name": "vgg", "arguments": {}}})
    assert "its network cannot be built: there is no model 'vgg'" in refusal(path)
    tensorfile.write(path, {}, {"model": {"name": "lenet5", "arguments": {"num_classes": 4}}})
    assert "does not fit the model Sequential: Missing key(s)" in refusal(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: crash())
    with pytest.raises(Crash):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# -- run folders ------------------------------------------------------------------------------------------------------


def test_checkpoints_are_listed_in_order_and_pruned(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.checkpoints() == []
    run.prepare()
    paths = [
        run.checkpoint_path(1, 9),
        run.checkpoint_path(1),
        run.checkpoint_path(2, 15),
        run.checkpoint_path(2, 19),
        run.checkpoint_path(2),
        run.checkpoint_path(10000),
    ]
    for path in (*reversed(paths), run.checkpoint_folder / "notes.txt"):
        path.write_bytes(b"")
    leftover = run.checkpoint_folder / ".epoch-0001.safetensors.7.partial"
    leftover.write_bytes(b"")
    assert [path.name for path in run.checkpoints()] == [path.name for path in paths]
    assert paths[0].name == "epoch-0001-step-00000009.safetensors"
    run.prune(keep_epochs=2)
    assert run.checkpoints() == [paths[2], paths[3], paths[4], paths[5]]
    run.prepare()
    assert not leftover.exists()


def test_config_is_written_and_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    config = {"train": {"lr": 0.1, "threads": None, "classes": ["a", "b"]}, "seed": 3}
    run.write_config(config)
    assert run.read_config() == {"train": {"lr": 0.1, "classes": ["a", "b"]}, "seed": 3}
    run.config_path.write_text("lr = = 3")
    with pytest.raises(CheckpointError, match="config.toml: cannot be read"):
        run.read_config()
    with pytest.raises(CheckpointError, match="is not a run folder, it has no config.toml"):
        RunFolder(tmp_path / "none").read_config()


# -- fitting ----------------------------------------------------------------------------------------------------------


def test_a_fit_learns_reports_and_fills_the_run_folder(tmp_path: Path) -> None:
    train, validation = make_split(), make_split(24, seed=1)
    seen: list[Any] = []

    class Watch(Callback):
        def on_fit_start(self, fit: FitInfo) -> None:
            seen.append(fit)

        def on_checkpoint(self, path: Path) -> None:
            seen.append(path.name)

        def on_step(self, step: StepInfo) -> None:
            seen.append((step.epoch, step.step_in_epoch, step.step))

    trainer = make_trainer()
    names = [f"digit {index}" for index in range(10)]
    history = trainer.fit(train, validation, epochs=20, run=tmp_path, callbacks=[Watch()], classes=names)
    assert [row.epoch for row in history] == list(range(1, 21))
    assert history[-1].step == 60
    assert history[-1].train_accuracy > 0.9 > history[0].train_accuracy
    assert seen[0] == FitInfo(20, 1, 0, 3, IMAGES, 24, BATCH, seen[0].compile_seconds)
    assert seen[1:6] == [(1, 1, 1), (1, 2, 2), (1, 3, 3), "epoch-0001.safetensors", (2, 1, 4)]

    run = RunFolder(tmp_path)
    assert run.read_config()["training"] == {
        "epochs": 20, "batch_size": BATCH, "seed": 0, "label_smoothing": 0.0, "average": 0.0,
        "mean": [0.3], "std": [0.3], "pad": 0, "views": "one",
    }  # fmt: skip
    assert run.read_config()["augmentation"] == asdict(Augmentation())
    with run.metrics_path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [row.train_loss for row in history]
    assert [path.name for path in run.checkpoints()] == [f"epoch-{epoch:04d}.safetensors" for epoch in range(1, 21)]
    assert "Validation accuracy" in run.report_path.read_text() and "digit 9" in run.report_path.read_text()
    assert read_metadata(tmp_path)["classes"] == names

    result = trainer.evaluate(validation)
    assert result["loss"] == history[-1].validation_loss
    assert result["accuracy"] == history[-1].validation_accuracy
    assert result["confusion"].dtype == np.int64 and result["confusion"].sum() == 24
    logits = trainer.predict(validation[0])
    assert accuracy(logits, validation[1]) == result["accuracy"]
    for path in (tmp_path, run.final_path, run.checkpoints()[-1]):
        again = Trainer(load(path), batch_size=BATCH, mean=0.3, std=0.3)
        np.testing.assert_array_equal(again.predict(validation[0]), logits)


def test_figures_of_an_epoch_are_means_over_its_images() -> None:
    """With a rate of 0 nothing changes, so the epoch must come to what evaluation does."""
    split = make_split()
    trainer = make_trainer(optimizer=optim.SGD(lr=0.0))
    (row,) = trainer.fit(split, split, epochs=1)
    assert row.train_loss == pytest.approx(row.validation_loss, rel=1e-6)
    assert row.train_accuracy == row.validation_accuracy


def test_normalisation_and_padding_are_those_of_the_formula() -> None:
    images, _ = make_split(5)
    small = images[:, :, 2:-2, 2:-2]
    model = models.lenet5()
    padded = np.pad(small, ((0, 0), (0, 0), (2, 2), (2, 2))).astype(np.float32)
    expected = model(((padded / 255 - 0.4) / 0.2).astype(np.float32))
    logits = Trainer(model, mean=0.4, std=0.2, pad=2).predict(small)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    # Images that are floats already are taken as they are.
    floats = ((images / 255 - 0.4) / 0.2).astype(np.float32)
    np.testing.assert_allclose(Trainer(model, mean=9, std=9).predict(floats), model(floats), rtol=1e-4, atol=1e-5)


def test_fitting_again_goes_on_with_the_next_epoch() -> None:
    split = make_split()
    once, twice = make_trainer(), make_trainer()
    once.fit(split, epochs=4)
    twice.fit(split, epochs=1)
    twice.fit(split, epochs=3)
    assert_same_bits(once, twice)


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    split = make_split()
    one, same, other = make_trainer(), make_trainer(), make_trainer(seed=1)
    for trainer in (one, same, other):
        trainer.fit(split, epochs=1)
    assert_same_bits(one, same)
    assert one.state.history[0].train_loss != other.state.history[0].train_loss


# -- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", range(1, 10))
@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_a_resumed_run_comes_to_the_same_bits(tmp_path: Path, stop: int, optimizer: type[optim.Optimizer]) -> None:
    """Three epochs of three steps, ended after any step, with a checkpoint every other step."""
    train, validation = make_split(), make_split(8, seed=1)

    def fresh() -> Trainer:
        return make_trainer(optimizer=optimizer(), schedule=optim.CosineLR(0.05, 9))

    unbroken = fresh()
    unbroken.fit(train, validation, epochs=3)
    with pytest.raises(Crash):
        fresh().fit(
            train, validation, epochs=3, run=tmp_path, callbacks=[StopAt(stop, crash)], checkpoint_every_steps=2
        )
    resumed = fresh()
    history = resumed.fit(train, validation, epochs=3, run=tmp_path, resume=True, checkpoint_every_steps=2)
    assert_same_bits(unbroken, resumed)
    with RunFolder(tmp_path).metrics_path.open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [row.epoch for row in history]


def test_dropout_batch_norm_and_augmentation_do_not_keep_a_run_from_the_same_bits(tmp_path: Path) -> None:
    split = make_split()

    def fresh() -> Trainer:
        layers = nn.Flatten(), nn.Linear(1024, 10, generator=0), nn.BatchNorm1d(10), nn.Dropout(0.5)
        sgd = optim.SGD(lr=0.01)
        return Trainer(nn.Sequential(*layers), batch_size=BATCH, optimizer=sgd, augmentation=AUGMENTED)

    unbroken = fresh()
    unbroken.fit(split, epochs=3)
    with pytest.raises(Crash):
        fresh().fit(split, epochs=3, run=tmp_path, callbacks=[StopAt(6, crash)], checkpoint_every_steps=2)
    resumed = fresh()
    resumed.fit(split, epochs=3, run=tmp_path, resume=True)
    assert_same_bits(unbroken, resumed)


def test_augmentation_moves_training_images_alone() -> None:
    images, labels = make_split(BATCH)
    plain, moved = make_trainer(), make_trainer(augmentation=AUGMENTED)
    assert plain.evaluate((images, labels))["loss"] == moved.evaluate((images, labels))["loss"]
    assert plain.step(images, labels) != moved.step(images, labels)
    first, second = make_trainer(augmentation=AUGMENTED), make_trainer(augmentation=AUGMENTED)
    assert first.step(images, labels) == second.step(images, labels)


def test_amounts_of_augmentation_are_checked() -> None:
    for name in asdict(Augmentation()):
        with pytest.raises(ValueError, match=f"Augmentation: {name} must be 0 or more"):
            Augmentation(**{name: -1})


def test_mixup_blends_images_and_losses() -> None:
    """One step by hand: x of the share that the augmentation draws, and the loss against both labels."""
    images, labels = make_split(BATCH)
    how = Augmentation(mixup=0.4)
    trainer = make_trainer(augmentation=how, optimizer=optim.SGD(lr=0.0), seed=3)
    share = how.share(3, 0)
    assert 0.5 <= share < 1.0 and share != how.share(3, 1)
    x = F.take_images(images, np.arange(BATCH), 0.3, 0.3)
    partners = np.roll(np.arange(BATCH), 1)
    logits = trainer.model(np.float32(share) * x + np.float32(1 - share) * x[partners])
    expected = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[partners])
    assert trainer.step(images, labels) == pytest.approx(float(expected), rel=1e-5)


def test_label_smoothing_is_for_training_alone() -> None:
    images, labels = make_split(BATCH)
    plain, smooth = (make_trainer(optimizer=optim.SGD(lr=0.0), label_smoothing=e) for e in (0.0, 0.2))
    logits = plain.predict(images)
    expected = float(F.cross_entropy(logits, labels, label_smoothing=0.2))
    assert smooth.step(images, labels) == pytest.approx(expected, rel=1e-5)
    assert plain.evaluate((images, labels))["loss"] == smooth.evaluate((images, labels))["loss"]


def test_views_are_averaged() -> None:
    images, _ = make_split(3)
    assert {round(sum(weight for weight, _ in views), 12) for views in VIEWS.values()} == {1.0}
    for name, views in VIEWS.items():
        expected = np.zeros((3, 10))
        trainer = make_trainer(views=name)
        for weight, (down, right, mirrored) in views:
            moved = np.roll(np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))), (-down, -right), (2, 3))[:, :, 2:-2, 2:-2]
            expected += weight * make_trainer().predict(moved[..., ::-1] if mirrored else moved)
        np.testing.assert_allclose(trainer.predict(images), expected, rtol=1e-4, atol=1e-5)


def test_a_fit_takes_all_views_in_its_last_epoch() -> None:
    split = make_split()
    one, both = make_trainer(), make_trainer(views="flip")
    alone, together = (trainer.fit(split, split, epochs=2) for trainer in (one, both))
    assert alone[0].validation_loss == together[0].validation_loss
    assert alone[1].validation_loss != together[1].validation_loss == both.evaluate(split)["loss"]


def test_averaged_weights_are_evaluated_and_kept(tmp_path: Path) -> None:
    split = make_split()

    def fresh() -> Trainer:
        return make_trainer(average=0.8)

    averaged, plain = fresh(), make_trainer()
    expected = {name: array.copy() for name, array in plain.model.state_dict().items()}
    for step in range(1, 4):
        plain.step(*split)
        averaged.step(*split)
        kept = min(0.8, (1 + step) / (10 + step))
        for name, array in plain.model.state_dict().items():
            expected[name] += (array - expected[name]) * np.float32(1 - kept)
    assert_same_bits(plain, averaged)  # Training goes on with the weights themselves.
    with averaged.averaged():
        for name, array in averaged.model.state_dict().items():
            np.testing.assert_array_equal(array, expected[name])  # to the bits of NumPy
        logits = averaged.model(F.take_images(split[0], np.arange(IMAGES), 0.3, 0.3))
    np.testing.assert_allclose(averaged.predict(split[0]), logits, rtol=1e-4, atol=1e-5)

    unbroken = fresh()
    unbroken.fit(split, split, epochs=3, run=tmp_path / "unbroken")
    with pytest.raises(Crash):
        stopped = [StopAt(5, crash)]
        fresh().fit(split, split, epochs=3, run=tmp_path / "run", callbacks=stopped, checkpoint_every_steps=2)
    resumed = fresh()
    resumed.fit(split, split, epochs=3, run=tmp_path / "run", resume=True)
    assert_same_bits(unbroken, resumed)
    final = load(tmp_path / "run" / "final.safetensors").state_dict()
    checkpoint = load(RunFolder(tmp_path / "run").checkpoints()[-1]).state_dict()
    assert resumed.average is not None
    for name, array in resumed.average.arrays.items():
        np.testing.assert_array_equal(final[name], array)
        np.testing.assert_array_equal(checkpoint[name], array)


def test_biases_have_a_learning_rate_of_their_own() -> None:
    """And shrink by weight decay as the weights do."""
    images, labels = make_split(BATCH)
    start = models.lenet5(seed=1).state_dict()
    moved = []
    for factor in (1.0, 8.0):
        trainer = make_trainer(seed=1, optimizer=optim.SGD(lr=0.01, weight_decay=0.1, bias_lr_factor=factor))
        trainer.step(images, labels)
        moved.append({name: array - start[name] for name, array in trainer.model.state_dict().items()})
    for name, array in start.items():
        if array.ndim > 1:
            np.testing.assert_array_equal(moved[0][name], moved[1][name])
        else:
            decay = -0.01 * 0.1 * array
            np.testing.assert_allclose(moved[1][name] - decay, 8.0 * (moved[0][name] - decay), rtol=2e-3, atol=1e-6)
    with pytest.raises(ValueError, match="bias_lr_factor must be above 0"):
        optim.SGD(bias_lr_factor=0.0)


def test_a_model_that_asks_for_it_is_shown_the_images_before_the_first_step(tmp_path: Path) -> None:
    seen = []

    class Curious(nn.Sequential):
        def prepare(self, images: np.ndarray) -> None:
            seen.append(images)

    split = make_split()
    trainer = Trainer(Curious(nn.Flatten(), nn.Linear(1024, 10, generator=0)), batch_size=BATCH, mean=0.3, std=0.3)
    trainer.fit(split, epochs=1)
    trainer.fit(split, epochs=1)
    (images,) = seen
    np.testing.assert_allclose(images, (split[0] / 255 - 0.3) / 0.3, rtol=1e-4, atol=1e-5)


def test_scores_of_auxiliary_classifiers_take_part_in_training() -> None:
    class Assisted(nn.Module):
        auxiliary_weight = 0.25

        def __init__(self) -> None:
            super().__init__()
            self.fc, self.aux = (nn.Linear(1024, 10, generator=seed) for seed in (0, 1))

        def forward(self, x: Any) -> Any:
            x = F.flatten(x, 1)
            return (self.fc(x), self.aux(x)) if self.training else self.fc(x)

    images, labels = make_split(BATCH)
    trainer = Trainer(Assisted(), batch_size=BATCH, optimizer=optim.SGD(lr=0.01), mean=0.3, std=0.3)
    scores, auxiliary = trainer.model(F.take_images(images, np.arange(BATCH), 0.3, 0.3))
    expected = F.cross_entropy(scores, labels) + 0.25 * F.cross_entropy(auxiliary, labels)
    before = trainer.model.aux.weight.data.copy()
    assert trainer.step(images, labels) == pytest.approx(float(expected), rel=1e-5)
    assert np.any(trainer.model.aux.weight.data != before)
    assert trainer.predict(images).shape == (BATCH, 10)


def test_a_finished_run_can_be_resumed_for_more_epochs(tmp_path: Path) -> None:
    split = make_split()
    unbroken = make_trainer()
    unbroken.fit(split, split, epochs=3)
    make_trainer().fit(split, split, epochs=2, run=tmp_path)
    same = make_trainer()
    assert len(same.fit(split, split, epochs=2, run=tmp_path, resume=True)) == 2
    assert same.validation is not None
    resumed = make_trainer()
    resumed.fit(split, split, epochs=3, run=tmp_path, resume=True)
    assert_same_bits(unbroken, resumed)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    split = make_split()
    trainer = make_trainer()
    trainer.fit(split, epochs=1, run=tmp_path)
    trainer.fit(split, epochs=1, run=tmp_path)
    with pytest.raises(ValueError, match="already holds a run; resume it, or name another folder"):
        make_trainer().fit(split, epochs=1, run=tmp_path)


@pytest.mark.filterwarnings("error")
def test_a_run_is_resumed_only_by_a_trainer_like_its_own(tmp_path: Path) -> None:
    split = make_split()
    make_trainer().fit(split, epochs=2, run=tmp_path)

    def refusal(trainer: Trainer, data: Any = split) -> str:
        before = trainer.model.state_dict()
        with pytest.raises(CheckpointError) as caught:
            trainer.fit(data, epochs=3, run=tmp_path, resume=True)
        for name, array in trainer.model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        return str(caught.value)

    assert "the run has training images 40, this trainer 24" in refusal(make_trainer(), make_split(24))
    assert "the run has seed 0, this trainer 1" in refusal(make_trainer(seed=1))
    assert "the run has mean [0.3], this trainer [0.5]" in refusal(make_trainer(mean=0.5))
    assert "the run's optimizer is SGD, this trainer's Adam" in refusal(make_trainer(optimizer=optim.Adam()))
    other = Trainer(models.lenet5(num_classes=11), batch_size=BATCH, mean=0.3, std=0.3)
    assert "its optimizer state does not fit the model Sequential" in refusal(other)
    save(models.lenet5(), RunFolder(tmp_path).checkpoint_path(2))
    assert "is not a checkpoint of a training run" in refusal(make_trainer())


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    split = make_split()
    unbroken = make_trainer()
    unbroken.fit(split, epochs=3)
    make_trainer().fit(split, epochs=2, run=tmp_path)
    newest = RunFolder(tmp_path).checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = make_trainer()
    with pytest.warns(UserWarning, match="epoch-0002.safetensors: is damaged.*going on from the checkpoint before it"):
        resumed.fit(split, epochs=3, run=tmp_path, resume=True)
    assert_same_bits(unbroken, resumed)


# -- stopping ---------------------------------------------------------------------------------------------------------


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_a_fit_between_steps_with_a_checkpoint(tmp_path: Path) -> None:
    split = make_split()
    unbroken = make_trainer()
    unbroken.fit(split, split, epochs=3)
    interrupted = make_trainer()
    with pytest.raises(Interrupted, match="interrupted in epoch 2 after 4 steps, saved to") as caught:
        interrupted.fit(split, split, epochs=3, run=tmp_path, callbacks=[StopAt(4, press_ctrl_c)])
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.checkpoint == RunFolder(tmp_path).checkpoints()[-1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = make_trainer()
    resumed.fit(split, split, epochs=3, run=tmp_path, resume=True)
    assert_same_bits(unbroken, resumed)
    # The interrupted trainer itself can go on, too.
    interrupted.fit(split, split, epochs=2)
    assert_same_bits(unbroken, interrupted)


def test_ctrl_c_during_validation_keeps_the_epoch(tmp_path: Path) -> None:
    split = make_split()
    unbroken = make_trainer()
    unbroken.fit(split, split, epochs=2)
    with pytest.raises(Interrupted, match="in epoch 1 after 3 steps"):
        make_trainer().fit(split, split, epochs=2, run=tmp_path, callbacks=[StopAt(3, press_ctrl_c)])
    resumed = make_trainer()
    resumed.fit(split, split, epochs=2, run=tmp_path, resume=True)
    assert_same_bits(unbroken, resumed)


def test_ctrl_c_without_a_run_folder_saves_nothing() -> None:
    with pytest.raises(Interrupted, match="interrupted in epoch 1 after 2 steps") as caught:
        make_trainer().fit(make_split(), callbacks=[StopAt(2, press_ctrl_c)])
    assert caught.value.checkpoint is None


def test_a_second_ctrl_c_does_not_wait() -> None:
    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt) as caught:
        make_trainer().fit(make_split(), callbacks=[StopAt(2, twice)])
    assert not isinstance(caught.value, Interrupted)


def test_a_diverging_run_stops_with_advice_and_good_checkpoints(tmp_path: Path) -> None:
    schedule = optim.StepLR(0.05, 5, gamma=1e30)
    with pytest.raises(Diverged, match=r"became \S+ at step \d+ .*smaller learning rate.*epoch-0") as caught:
        make_trainer(schedule=schedule).fit(
            make_split(), epochs=9, run=tmp_path, checkpoint_every_steps=1, keep_checkpoints=3
        )
    assert "\n" not in str(caught.value)
    run = RunFolder(tmp_path)
    assert not run.final_path.exists()
    for path in run.checkpoints():
        assert all(np.isfinite(array).all() for array in load(path).state_dict().values())


KILLED_RUN = """
    import sys
    import numpy as np
    from test_training import Callback, make_split, make_trainer

    class Tell(Callback):
        def on_step(self, step):
            print(step.step, flush=True)

    split = make_split()
    make_trainer().fit(
        split, epochs=12, run=sys.argv[1], callbacks=[Tell()], resume=True, checkpoint_every_steps=1, keep_checkpoints=2
    )
"""


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_at_the_same_bits(tmp_path: Path, kills: int) -> None:
    unbroken = make_trainer()
    unbroken.fit(make_split(), epochs=12)
    rng = random.Random(kills)
    command = [sys.executable, "-c", textwrap.dedent(KILLED_RUN), str(tmp_path / "run")]
    paths = [str(ROOT), str(ROOT / "tests"), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    run = RunFolder(tmp_path / "run")
    for kill in range(kills + 1):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        assert child.stdout is not None
        with child:
            if kill < kills:
                # In one kill of four before the first step; else after some steps and a moment more.
                lines = rng.choice([0, 1, 2, 3])
                for _ in range(lines):
                    child.stdout.readline()
                try:
                    child.wait(timeout=rng.uniform(0.0, 0.02))
                except subprocess.TimeoutExpired:
                    child.kill()
            else:
                child.stdout.read()
        for path in run.checkpoints():
            load(path)
    assert child.returncode == 0
    final = load(run.path).state_dict()
    for name, array in unbroken.model.state_dict().items():
        np.testing.assert_array_equal(final[name], array)


# -- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"pad": -1}, "pad must be 0 or more, got -1"),
        ({"label_smoothing": 1.5}, "label_smoothing must lie between 0 and 1"),
        ({"views": "both"}, "views must be one of one, flip, shift, flip-shift, got 'both'"),
        ({"average": 1.0}, "decay must be 0 or more and below 1"),
        ({"std": [1.0, 0.0]}, "std must be above 0 in every channel"),
        ({"model": "lenet5"}, "model must be an nn.Module, got str"),
    ],
)
def test_trainer_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Trainer(**{"model": nn.Tanh(), **options})


IMAGE = np.zeros((4, 1, 32, 32), np.uint8)
LABEL = np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGE, r"expected a Split or a pair \(images, labels\), got ndarray"),
        ((IMAGE[:, 0], LABEL), r"expected shape \(images, channels, height, width\), got \(4, 32, 32\)"),
        ((IMAGE[:0], LABEL[:0]), r"there are none, their shape is \(0, 1, 32, 32\)"),
        ((IMAGE.astype(np.int32), LABEL), r"expected uint8 \(0 to 255\) or float32, got int32"),
        ((IMAGE, LABEL[:3]), "there are 4 images but 3 labels"),
        ((IMAGE, LABEL.astype(float)), r"expected class indices \(whole numbers\), got float64"),
        ((IMAGE, np.eye(10)[LABEL]), r"expected class indices of shape \(images,\), got shape \(4, 10\)"),
        ((IMAGE, LABEL + [0, 0, 10, 0]), r"label 10 of image 2 is out of range, the model has 10 classes \(0 to 9\)"),
        ((IMAGE, LABEL - 1), "label -1 of image 0 is out of range"),
        ((IMAGE.repeat(3, axis=1), LABEL), r"the model cannot take images of 3 channel\(s\) and 32×32 pixels: .*1"),
        ((IMAGE[:, :, 4:], LABEL), r"the model cannot take images of 1 channel\(s\) and 28×32 pixels"),
    ],
)
def test_data_is_checked_in_the_callers_terms(data: Any, message: str) -> None:
    trainer = Trainer(models.lenet5())
    with pytest.raises((ValueError, TypeError), match=message):
        trainer.fit(data)
    with pytest.raises((ValueError, TypeError), match=message):
        trainer.evaluate(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
        ({"checkpoint_every_steps": 0}, "checkpoint_every_steps must be 1 or more"),
        ({"keep_checkpoints": 0}, "keep_checkpoints must be 1 or more"),
        ({"classes": ["a"]}, "the model has 10 classes, 1 names are given"),
        ({"resume": True}, "resume needs the run folder to go on with"),
        ({"run": __file__}, "is a file, a run needs a folder"),
    ],
)
def test_fit_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_trainer().fit(make_split(), **options)


def test_statistics_must_fit_the_channels() -> None:
    with pytest.raises(ValueError, match="mean is given for 3 channels, the images have 1"):
        make_trainer(mean=[0.1, 0.2, 0.3]).predict(IMAGE)


def test_threads_are_checked_and_put_back() -> None:
    import numba

    before = numba.get_num_threads()
    make_trainer(threads=1).fit(make_split(), epochs=1)
    assert numba.get_num_threads() == before
    with pytest.raises(ValueError, match="threads must lie between 1 and"):
        make_trainer(threads=10_000).step(IMAGE, LABEL)


def test_a_model_must_give_logits() -> None:
    with pytest.raises(ValueError, match=r"must give logits \(images, classes\), it gives \(64, 1, 32, 32\)"):
        Trainer(nn.Tanh()).evaluate((IMAGE, LABEL))


# -- pictures ---------------------------------------------------------------------------------------------------------


def make_history() -> list[EpochMetrics]:
    return [EpochMetrics(epoch, epoch * 3, 0.1, 1 / epoch, 0.5, None, None, 1.0, 40.0) for epoch in (1, 2, 3)]


def test_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    assert visual.draw_curves(make_history(), tmp_path / "curves.png")
    assert visual.draw_confusion(np.eye(3, dtype=np.int64), ["cat", "dog", "hen"], tmp_path / "confusion.png")
    assert visual.draw_confusion(np.zeros((100, 100), np.int64), None, tmp_path / "large.png")
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not visual.draw_curves(make_history(), tmp_path / "curves.png")
    assert not visual.draw_confusion(np.eye(2), None, tmp_path / "confusion.png")
    assert list(tmp_path.iterdir()) == []
    assert "pip install matplotlib" in visual.HINT


def test_importing_takes_nothing_that_is_only_sometimes_needed() -> None:
    code = "import sys, numbaconv, numbaconv.visual; print(*{'matplotlib', 'safetensors', 'tomli_w'} & {*sys.modules})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.split() == []
