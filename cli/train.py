"""``numbaconv train``: train a network, or go on with a run that was interrupted."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from . import console, options
from .exits import INTERRUPTED
from .loading import load_dataset, padding

if TYPE_CHECKING:
    from numbaconv.data import Dataset
    from numbaconv.training import EpochMetrics, RunFolder, Trainer

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
_SCHEDULES = {"constant": None, "step": "StepLR", "cosine": "CosineLR", "one-cycle": "OneCycle"}
_OPTION_OF = {name: option for option, name in (*_OPTIMIZERS.items(), *_SCHEDULES.items())}

# Where a recipe and a run's configuration keep what an option says; classes before their numbers.
_CONFIGURED = {
    "optimizer": ("optimizer", "name"),
    "schedule": ("schedule", "name"),
    "model": ("model", "name"),
    "dataset": ("data", "name"),
    "epochs": ("training", "epochs"),
    "batch_size": ("training", "batch_size"),
    "lr": ("optimizer", "lr"),
    "momentum": ("optimizer", "momentum"),
    "weight_decay": ("optimizer", "weight_decay"),
    "seed": ("training", "seed"),
    "shift": ("augmentation", "shift"),
    "flip": ("augmentation", "flip"),
}
# What an optimizer's numbers are where nothing else is said, if not its own defaults.
_OPTIMIZER_DEFAULTS = {"SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}}


@dataclass(frozen=True)
class _Work:
    """A trainer with its data and its run folder, ready to fit."""

    trainer: Trainer
    dataset: Dataset
    epochs: int
    run: RunFolder
    resume: bool
    config: dict[str, Any]


@click.command("train")
@click.option("--recipe", metavar="NAME|FILE", help="Start from a recipe; options given beside it change it.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change any key of the recipe: training.epochs=5."
)
@click.option("--model", default="lenet5", metavar="NAME", help="Network to train; numbaconv summary shows its layers.")
@click.option(
    "--dataset", default="digits", metavar="NAME", help="Data set; numbaconv data list shows all. Or folder:PATH."
)
@options.DATA_DIR
@click.option("--epochs", default=30, type=click.IntRange(min=1), help="Times to go through the training images.")
@click.option("--batch-size", default=64, type=click.IntRange(min=1), help="Images a step.")
@click.option("--lr", type=options.POSITIVE, help="Highest learning rate.  [default: 0.1; adam and adamw: 0.001]")
@click.option("--momentum", type=options.FRACTION, help="Momentum of sgd.  [default: 0.9]")
@click.option("--weight-decay", type=options.NOT_NEGATIVE, help="Weight decay.  [default: 5e-4; adam: 0; adamw: 0.01]")
@click.option("--optimizer", default="sgd", type=click.Choice(list(_OPTIMIZERS)), help="Rule that updates the weights.")
@click.option(
    "--schedule", default="one-cycle", type=click.Choice(list(_SCHEDULES)), help="Course of the learning rate."
)
@click.option("--shift", default=0, type=click.IntRange(min=0), help="Move training images by up to so many pixels.")
@click.option("--flip", is_flag=True, help="Mirror every other training image.")
@options.DEVICE
@options.PRECISION
@options.THREADS
@click.option("--seed", default=0, type=click.IntRange(min=0), help="Of the first weights and the order of images.")
@click.option("--out", type=click.Path(path_type=Path), metavar="RUN", help="New run folder.  [default: in runs/]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with an interrupted run.")
@click.option(
    "--checkpoint-every-steps", type=click.IntRange(min=1), metavar="N", help="Write checkpoints within epochs too."
)
@options.QUIET
@options.JSON
@click.pass_context
def command(context: click.Context, resume: Path | None, quiet: bool, as_json: bool, **chosen: Any) -> int:
    """Train a network and write a run folder.

    Without options: LeNet-5 on the handwritten digits that ship with the package. With --recipe: what the recipe says,
    changed by the other options.

    Ctrl-C ends a run with a checkpoint. --resume RUN goes on from there, or from where a killed run wrote its last one,
    and ends at the same weights as a run without interruption.
    """
    start = time.perf_counter()
    given = {name for name in chosen if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    work = _new_work(chosen, given, quiet) if resume is None else _resumed_work(given, resume, chosen, quiet)
    return _fit(work, chosen["checkpoint_every_steps"], quiet, as_json, start)


def _new_work(chosen: dict[str, Any], given: set[str], quiet: bool) -> _Work:
    from numbaconv import data, models, recipes
    from numbaconv.training import RunFolder

    config = _recipe(chosen, given)
    model, dataset_name = config["model"]["name"], config["data"]["name"]
    if model not in models.names():
        raise click.UsageError(f"--model: there is no {model!r}, only {', '.join(models.names())}")
    source = config["data"]
    folder = chosen["data_dir"] or source.get("folder")
    size = source.get("size")
    if dataset_name.startswith(data.PREFIX):
        place = Path(dataset_name.removeprefix(data.PREFIX)).expanduser().absolute()
        dataset_name, size = f"{data.PREFIX}{place}", size or models.image_shape(model)[1]
    run = RunFolder(_free_folder(chosen["out"], f"{Path(dataset_name).name}-{model}"))
    dataset = load_dataset(dataset_name, folder, quiet, size)
    if chosen["threads"] is not None:
        config["training"]["threads"] = chosen["threads"]
    trainer = recipes.build(config, dataset, padding(dataset.shape[1]), chosen["device"], chosen["precision"])
    about = {
        "recipe": config.get("recipe"),
        "data": {
            "name": dataset_name,
            "folder": None if folder is None else str(Path(folder).absolute()),
            "shape": dataset.shape,
        },
    }
    return _Work(trainer, dataset, config["training"]["epochs"], run, False, about)


def _recipe(chosen: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """Return the recipe that was named, or an empty one, changed by the options."""
    from numbaconv import recipes

    config = recipes.read(chosen["recipe"]) if chosen["recipe"] else {}
    for name, (section, key) in _CONFIGURED.items():
        value = chosen[name]
        if value is None or (chosen["recipe"] and name not in given):
            continue
        if key == "name" and section in ("optimizer", "schedule"):
            config[section] = {}  # Another class has other arguments.
            value = {**_OPTIMIZERS, **_SCHEDULES}[value]
        config.setdefault(section, {})[key] = value
    optimizer = {"name": "SGD", **config["optimizer"]}
    if chosen["momentum"] is not None and optimizer["name"] != "SGD":
        raise click.UsageError(f"--momentum belongs to sgd, not to {_OPTION_OF[optimizer['name']]}")
    config["optimizer"] = {**_OPTIMIZER_DEFAULTS.get(optimizer["name"], {}), **optimizer}
    for assignment in chosen["changes"]:
        recipes.change(config, assignment)
    recipes.check(config, "the recipe")
    return config


def _resumed_work(given: set[str], resume: Path, chosen: dict[str, Any], quiet: bool) -> _Work:
    from numbaconv.training import RunFolder
    from numbaconv.training.restore import restore

    run = RunFolder(resume)
    config = run.read_config()
    if given & {"recipe", "changes"}:
        raise click.UsageError("--resume goes on with a run as it was begun: leave --recipe and --set out")
    if "out" in given:
        raise click.UsageError("--out and --resume exclude each other: a run goes on in its own folder")
    for name in sorted(given & set(_CONFIGURED)):
        section, key = _CONFIGURED[name]
        if section == "data" and section not in config:
            continue  # Not a run of this command, so it cannot know.
        kept = config.get(section, {}).get(key)
        kept = _OPTION_OF.get(kept, kept) if key == "name" else kept
        if chosen[name] != kept:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"{option} {chosen[name]} contradicts the run {resume}, which has {kept}: leave {option} out, or start "
                f"a new run without --resume"
            )
    trainer, config = restore(run, chosen["threads"], chosen["device"], chosen["precision"])
    data = config.get("data", {})
    if "name" not in data and "dataset" not in given:
        raise click.UsageError(f"{run.config_path} does not say which data set the run is on: name it by --dataset")
    name, folder = data.get("name", chosen["dataset"]), chosen["data_dir"] or data.get("folder")
    dataset = load_dataset(name, folder, quiet, data["shape"][1] if "shape" in data else None)
    return _Work(trainer, dataset, config["training"]["epochs"], run, True, config)


def _fit(work: _Work, checkpoint_every_steps: int | None, quiet: bool, as_json: bool, start: float) -> int:
    from numbaconv import visual

    from .progress import FitProgress

    out = console.stderr() if as_json else console.stdout()
    silent = quiet or (as_json and not out.is_terminal)
    try:
        with FitProgress(out, silent, work.trainer) as progress:
            history = work.trainer.fit(
                work.dataset.train,
                work.dataset.test,
                epochs=work.epochs,
                run=work.run,
                callbacks=[progress],
                on_compile=progress.on_compile,
                resume=work.resume,
                checkpoint_every_steps=checkpoint_every_steps,
                classes=work.dataset.classes,
                config=work.config,
            )
    except KeyboardInterrupt as interruption:
        click.echo(_how_to_resume(work.run, str(interruption) or "interrupted"), err=True)
        return INTERRUPTED
    test = work.trainer.validation
    assert test is not None  # A fit with validation images leaves their result.
    drawn = visual.draw_curves(history, work.run.curves_path)
    drawn = visual.draw_confusion(test["confusion"], work.dataset.classes, work.run.confusion_path) and drawn
    seconds = {
        "compile": work.trainer.compile_seconds,
        "train": progress.train_seconds,
        "evaluate": progress.evaluate_seconds,
        "total": time.perf_counter() - start,
    }
    if as_json:
        console.print_json(_document(work, history, test, seconds))
    elif not quiet:
        _report(work, history, test, seconds, None if drawn else visual.HINT)
    return 0


def _report(
    work: _Work, history: list[EpochMetrics], test: dict[str, Any], seconds: dict[str, float], hint: str | None
) -> None:
    out = console.stdout()
    run = shlex.quote(str(work.run.path))
    right, images = int(test["confusion"].trace()), int(test["confusion"].sum())
    out.print()
    out.print(f"Test accuracy  {test['accuracy']:.2%}  ({right:,} of {console.plural(images, 'image')})", style="bold")
    out.print(
        f"Time           {seconds['total']:.1f} s: compiling {seconds['compile']:.1f} s, "
        f"training {seconds['train']:.1f} s, evaluation {seconds['evaluate']:.1f} s"
    )
    out.print(f"Speed          {max(row.images_per_second for row in history):,.0f} images/s in the fastest epoch")
    out.print(f"Run folder     {work.run.path}")
    if hint:
        out.print(hint)
    out.print()
    out.print("What next:")
    out.print(f"  numbaconv eval {run}             accuracy class by class")
    out.print(f"  numbaconv predict {run} IMAGE    name what is in a picture")


def _document(
    work: _Work, history: list[EpochMetrics], test: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "run": work.run.path,
        "dataset": work.dataset.name,
        "resumed": work.resume,
        "epochs": [asdict(row) for row in history],
        "test": {"accuracy": test["accuracy"], "loss": test["loss"], "confusion": test["confusion"]},
        "classes": work.dataset.classes,
        "seconds": seconds,
    }


def _how_to_resume(run: RunFolder, reason: str) -> str:
    if not run.config_path.exists():
        return f"numbaconv: {reason}; nothing was written"
    return f"numbaconv: {reason}; go on with: numbaconv train --resume {shlex.quote(str(run.path))}"


def _free_folder(out: Path | None, name: str) -> Path:
    """Return a folder that holds nothing yet; it is made when training begins."""
    if out is None:
        number = 1
        while (folder := Path("runs") / f"{name}-{number}").exists():
            number += 1
        return folder
    if out.is_dir() and any(out.iterdir()):
        raise click.UsageError(f"--out {out} is not empty: name a new folder, or go on with a run by --resume {out}")
    return out
