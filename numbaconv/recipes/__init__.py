"""Recipes: named files that hold all that decides a training run, as TOML.

A recipe has the sections ``model``, ``data``, ``training``, ``augmentation``, ``optimizer`` and ``schedule``; what is
left out has the default of the class or function that takes it. ``version`` is counted up when its results change.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from numbaconv import models, optim
from numbaconv.training import Augmentation, Trainer
from numbaconv.training.restore import named

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

_FOLDER = Path(__file__).parent
_ABOUT = ("version", "description")

#: Keys of the sections that are not the arguments of a class named in the section itself.
_KEYS = {
    "model": ("name", "arguments"),
    "data": ("name", "folder", "size"),
    "training": (
        "epochs", "batch_size", "seed", "threads", "label_smoothing", "average", "views", "pad",
        "l1", "l2", "clip_norm", "clip_value",
    ),
    "augmentation": tuple(field.name for field in fields(Augmentation)),
}  # fmt: skip

#: Arguments of schedules that follow from the rest of the recipe.
_FOLLOWING = ("lr", "max_lr", "total_steps", "step_size", "warmup_steps")

Config = dict[str, Any]


def names() -> list[str]:
    """Return the names of the recipes that ship with the package, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read(name: str) -> Config:
    """Read a recipe of the package by name, or of one's own by the path of its file.

    Raises:
        ValueError: if there is none, or it cannot be read, or has a key that no recipe has.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names())}"
        raise ValueError(f"there is no recipe {name!r}: {hint}")
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    check(config, str(path))
    about = {key: config.pop(key) for key in _ABOUT if key in config}
    return {"recipe": {"name": path.stem, **about}, **config}


def change(config: Config, assignment: str) -> None:
    """Change one key of a recipe by an assignment such as ``"optimizer.lr=0.2"``; the value is TOML, or text.

    Raises:
        ValueError: if that is no assignment, or no recipe has such a key.
    """
    path, equals, text = assignment.partition("=")
    sections = [part.strip() for part in path.split(".")]
    if not equals or len(sections) < 2 or not all(sections):
        raise ValueError(f"{assignment!r} is not SECTION.KEY=VALUE")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place = config
    for section in sections[:-1]:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ValueError(f"{assignment!r}: {section} has no keys of its own")
    place[sections[-1]] = value
    check(config, assignment)


def check(config: Mapping[str, Any], where: str) -> None:
    """Refuse sections and keys that no recipe has.

    Raises:
        ValueError: naming the first, and the source ``where``.
    """
    for section, content in config.items():
        if section in ("recipe", *_ABOUT):
            continue
        if section in _KEYS:
            known: tuple[str, ...] = _KEYS[section]
        elif section == "optimizer":
            known = ("name", *_arguments(_optimizer_class(config)))
        elif section == "schedule":
            arguments = _arguments(_schedule_class(config))
            known = ("name", "warmup_epochs", "step_epochs", *(a for a in arguments if a not in _FOLLOWING))
        else:
            raise ValueError(f"{where}: a recipe has no section {section!r}")
        if not isinstance(content, Mapping):
            raise ValueError(f"{where}: {section} must be a section, not {content!r}")
        for key in content:
            if key not in known:
                raise ValueError(f"{where}: {section} has no {key!r}, only {', '.join(known)}")


def build(
    config: Mapping[str, Any], dataset: Any, pad: int = 0, device: str = "cpu", precision: str = "fp32"
) -> Trainer:
    """Build the trainer that a recipe describes, for a data set.

    Args:
        config: the recipe.
        dataset: ``data.Dataset``: gives the classes, the shape and the normalisation of the images.
        pad: black pixels around each image, if the recipe does not say.
        device, precision: what the trainer computes on, and how.

    Raises:
        KeyError: if ``model``, ``training`` or ``optimizer`` lack what they must have.
        ValueError, TypeError: if a value is out of range.
    """
    training = config["training"]
    seed = training.get("seed", 0)
    optimizer = _optimizer_class(config)(**_arguments_in(config["optimizer"]))
    steps_per_epoch = -(-len(dataset.train) // training["batch_size"])
    arguments = {"num_classes": dataset.num_classes, "in_channels": dataset.shape[0], "seed": seed}
    return Trainer(
        models.build(config["model"]["name"], **{**arguments, **config["model"].get("arguments", {})}),
        optimizer=optimizer,
        schedule=_schedule(config, optimizer.lr, steps_per_epoch),
        batch_size=training["batch_size"],
        seed=seed,
        threads=training.get("threads"),
        mean=dataset.mean,
        std=dataset.std,
        pad=training.get("pad", pad),
        augmentation=Augmentation(**config.get("augmentation", {})),
        label_smoothing=training.get("label_smoothing", 0.0),
        average=training.get("average", 0.0),
        views=training.get("views", "one"),
        device=device,
        precision=precision,
        **{name: training[name] for name in ("l1", "l2", "clip_norm", "clip_value") if name in training},
    )


def _schedule(config: Mapping[str, Any], lr: float, steps_per_epoch: int) -> optim.Schedule | None:
    """The schedule for a number of epochs; what is counted in epochs becomes steps."""
    settings = _arguments_in(config.get("schedule", {}))
    warmup, step = settings.pop("warmup_epochs", 0), settings.pop("step_epochs", None)
    kind = _schedule_class(config)
    if kind is None:
        return None
    steps = config["training"]["epochs"] * steps_per_epoch
    third = -(-steps // 3)
    following = {
        "lr": lr,
        "max_lr": lr,
        "total_steps": steps,
        "step_size": third if step is None else round(step * steps_per_epoch),
        "warmup_steps": round(warmup * steps_per_epoch),
    }
    wanted = _arguments(kind)
    schedule: optim.Schedule = kind(**{name: value for name, value in following.items() if name in wanted}, **settings)
    return schedule


def _optimizer_class(config: Mapping[str, Any]) -> Any:
    return named("optimizer", optim.Optimizer, config["optimizer"].get("name", "SGD"))


def _schedule_class(config: Mapping[str, Any]) -> Any:
    """The class of the schedule; ``None`` for a learning rate that stays."""
    name = config.get("schedule", {}).get("name")
    return None if name is None else named("schedule", optim.Schedule, name)


def _arguments(function: Callable[..., Any] | None) -> tuple[str, ...]:
    return () if function is None else tuple(inspect.signature(function).parameters)


def _arguments_in(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}
