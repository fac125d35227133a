"""From the configuration in a run folder back to the trainer that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numbaconv import models, optim

from .augmentation import Augmentation
from .errors import CheckpointError
from .run import RunFolder
from .trainer import Trainer


def restore(
    run: RunFolder, threads: int | None = None, device: str = "cpu", precision: str = "fp32"
) -> tuple[Trainer, dict[str, Any]]:
    """Build the trainer of a run anew, as it was before the first step; ``fit(resume=True)`` takes it on from there.

    Args:
        run: a run folder whose network is one of ``numbaconv.models`` and whose loss is the cross-entropy.
        threads: threads to use, which change no result; by default as many as the run was started with.
        device, precision: what to compute on, and how; others than the run was started with change results by rounding.

    Returns:
        The trainer and the configuration.

    Raises:
        CheckpointError: if there is no configuration, or no trainer can be built from it.
    """
    config = run.read_config()
    try:
        training: Mapping[str, Any] = config["training"]
        trainer = Trainer(
            models.build(config["model"]["name"], **config["model"]["arguments"]),
            optimizer=_optimizer(**config["optimizer"]),
            schedule=_schedule(**config["schedule"]) if "schedule" in config else None,
            batch_size=training["batch_size"],
            seed=training["seed"],
            threads=threads or training.get("threads"),
            mean=training.get("mean"),
            std=training.get("std"),
            pad=training["pad"],
            augmentation=Augmentation(**config.get("augmentation", {})),
            label_smoothing=training.get("label_smoothing", 0.0),
            average=training.get("average", 0.0),
            views=training.get("views", "one"),
            device=device,
            precision=precision,
            **{name: training[name] for name in ("l1", "l2", "clip_norm", "clip_value") if name in training},
        )
    except KeyError as error:
        raise CheckpointError(f"{run.config_path}: lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{run.config_path}: no trainer can be built from it: {error}") from error
    return trainer, config


def _optimizer(name: str, **settings: Any) -> optim.Optimizer:
    if "beta1" in settings:  # Written apart because TOML and the metrics have plain numbers.
        settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
    return named("optimizer", optim.Optimizer, name)(**settings)


def _schedule(name: str, **settings: Any) -> optim.Schedule:
    return named("schedule", optim.Schedule, name)(**settings)


def named(what: str, base: type, name: str) -> Any:
    """Return a class of ``numbaconv.optim`` by name; the file must not be able to name anything else."""
    found = getattr(optim, name, None)
    if not (isinstance(found, type) and issubclass(found, base) and found is not base):
        raise ValueError(f"there is no {what} {name!r}")
    return found
