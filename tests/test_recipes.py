"""Recipes: what the package's ones say, and how they are changed and built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numbaconv import data, models, recipes
from numbaconv.data import Dataset, Split
from numbaconv.optim import OneCycle, StepLR


def dataset(name: str) -> Dataset:
    """Ten thousand black images of the shape of a data set."""
    facts = data.info(name)
    split = Split(np.zeros((10_000, *facts.shape), np.uint8), np.zeros(10_000, np.int64))
    channels = facts.shape[0]
    return Dataset(name, split, split, facts.classes, (0.5,) * channels, (0.25,) * channels)


def test_the_packages_recipes() -> None:
    assert {"cifar10-fast", "cifar10-resnet20", "mnist-best", "mnist-lenet5"} <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_of_the_package_can_be_built(name: str) -> None:
    config = recipes.read(name)
    assert config["recipe"]["name"] == name and config["recipe"]["version"] >= 1
    trainer = recipes.build(config, dataset(config["data"]["name"]), pad=2)
    recipe = models.recipe_of(trainer.model)
    assert recipe is not None and recipe.name == config["model"]["name"]
    steps = config["training"]["epochs"] * -(-10_000 // config["training"]["batch_size"])
    assert trainer.schedule is not None
    assert max(map(trainer.schedule, range(steps))) == pytest.approx(config["optimizer"]["lr"], rel=1e-3)
    assert trainer.schedule(steps - 1) < 0.1 * config["optimizer"]["lr"]


def test_epochs_become_steps() -> None:
    config = recipes.read("mnist-lenet5")
    recipes.change(config, "training.epochs=9")
    config["schedule"] = {"name": "StepLR", "warmup_epochs": 2, "step_epochs": 3, "gamma": 0.5}
    schedule = recipes.build(config, dataset("mnist")).schedule
    assert schedule == StepLR(lr=0.1, step_size=3 * 157, gamma=0.5, warmup_steps=2 * 157)
    config["schedule"] = {"name": "OneCycle", "pct_start": 0.2}
    assert recipes.build(config, dataset("mnist")).schedule == OneCycle(0.1, total_steps=9 * 157, pct_start=0.2)
    del config["schedule"]
    assert recipes.build(config, dataset("mnist")).schedule is None


def test_any_key_can_be_changed() -> None:
    config = recipes.read("cifar10-fast")
    for assignment in (
        "model.arguments.activation=relu", "model.arguments.widths=[8, 16]", "augmentation.flip=false",
        "training.average = 0.5", "data.folder=/somewhere else",
    ):  # fmt: skip
        recipes.change(config, assignment)
    assert config["model"]["arguments"] == {"widths": [8, 16], "activation": "relu"}
    assert config["augmentation"]["flip"] is False
    assert config["training"]["average"] == 0.5
    assert config["data"]["folder"] == "/somewhere else"
    trainer = recipes.build(config, dataset("cifar10"))
    assert trainer.average is not None and trainer.average.decay == 0.5


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epochs", "is not SECTION.KEY=VALUE"),
        ("epochs=3", "is not SECTION.KEY=VALUE"),
        ("training.epoch=3", "training has no 'epoch', only epochs, "),
        ("train.epochs=3", "a recipe has no section 'train'"),
        ("optimizer.beta1=0.9", "optimizer has no 'beta1', only name, lr, momentum"),
        ("optimizer.name=Adagrad", "there is no optimizer 'Adagrad'"),
        ("schedule.total_steps=3", "schedule has no 'total_steps'"),
        ("training.epochs.all=3", "epochs has no keys of its own"),
    ],
)
def test_changes_that_cannot_be(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipes.change(recipes.read("mnist-lenet5"), assignment)


def test_recipes_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nname = "lenet5"\n[training]\nepochs = 2\nbatch_size = 8\n[optimizer]\nlr = 0.1\n')
    config = recipes.read(str(path))
    assert config["recipe"] == {"name": "mine"} and config["training"]["epochs"] == 2
    path.write_text("[model\n")
    with pytest.raises(ValueError, match="mine.toml: cannot be read"):
        recipes.read(str(path))
    path.write_text("[training]\nepoch = 2\n")
    with pytest.raises(ValueError, match="mine.toml: training has no 'epoch'"):
        recipes.read(str(path))
    with pytest.raises(ValueError, match="no recipe 'mnist-lenet': did you mean 'mnist-lenet5'"):
        recipes.read("mnist-lenet")
