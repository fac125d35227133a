"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class _Finite(click.FloatRange):
    """A range of numbers without NaN and infinity, which Click's own lets through."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", parameter, context)
        return number


POSITIVE = _Finite(min=0, min_open=True)
NOT_NEGATIVE = _Finite(min=0)
FRACTION = _Finite(min=0, max=1, max_open=True)

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")

QUIET = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the data set lies; else NUMBACONV_DATA_DIR, the cache folder, or a download.",
)

THREADS = click.option("--threads", type=click.IntRange(min=1), help="Number of CPU threads.  [default: all]")


def _device(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The device that is meant; says what is missing for a GPU before anything is read or compiled."""
    if value == "cuda":
        from numbaconv.kernels.device import DeviceError, driver_for

        try:
            driver_for(value)
        except DeviceError as error:
            raise click.ClickException(f"--device cuda: {error}") from error
    return "cpu" if value == "auto" else value


DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    callback=_device,
    help="What to compute on. auto is the CPU until the CUDA engine has been measured on GPUs.",
)

PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
    default="fp32",
    help="Of products on the GPU; sums are float32.",
)
