"""``numbaconv plot``: pictures of runs, of networks beside each other, and of convolution arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import console, options
from .loading import load_dataset, open_weights, picture_of


class _RunsByDefault(click.Group):
    """A group that takes what is none of its commands for a run folder."""

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        if args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(context, args)
        return draw_run.name, draw_run, args


@click.group("plot", cls=_RunsByDefault)
def command() -> None:
    """Draw pictures: `numbaconv plot RUN` all of a run, with a page that holds them."""


@click.command("")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--image", type=click.Path(path_type=Path), help="Whose feature maps to draw.  [default: a test image]")
@options.DATA_DIR
@options.DEVICE
@options.THREADS
@options.JSON
def draw_run(
    run: Path, image: Path | None, data_dir: Path | None, device: str, threads: int | None, as_json: bool
) -> None:
    """Draw curves, confusion, worst mistakes, filters during training, feature maps and receptive fields of RUN."""
    from numbaconv import visual
    from numbaconv.training import RunFolder

    _demand_matplotlib()
    opened = open_weights(run, None, data_dir, threads, as_json, device)
    dataset = load_dataset(opened.dataset_name, data_dir or opened.folder, as_json, opened.shape[1])
    shown = None if image is None else picture_of(image, dataset.shape)
    _say(visual.draw_run(RunFolder(run), opened.trainer, dataset, shown), as_json)


@command.command("models")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="models.png", help="The picture.")
@options.JSON
def draw_models(runs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Draw the test accuracy of several RUNs over their multiply-adds."""
    from numbaconv import visual

    _demand_matplotlib()
    visual.draw_trade([_trained(run) for run in runs], out)
    _say([out], as_json)


@command.command("arithmetic")
@click.option("--size", default=5, help="Pixels of the input in each direction.")
@click.option("--kernel", default=3, help="Pixels of the filter in each direction.")
@click.option("--stride", default=1)
@click.option("--padding", default=0)
@click.option("--dilation", default=1)
@click.option("--transposed", is_flag=True, help="Draw the transposed convolution.")
@click.option("--out", type=click.Path(path_type=Path), default="arithmetic.gif", help="The animation.")
@options.JSON
def draw_arithmetic(out: Path, as_json: bool, **numbers: Any) -> None:
    """Draw which inputs each output of a convolution is made of, as an animation."""
    from numbaconv import visual

    _demand_matplotlib()
    visual.draw_arithmetic(visual.ConvArithmetic(**numbers), out)
    _say([out], as_json)


def _trained(run: Path) -> Any:
    from numbaconv import data, load, visual
    from numbaconv.nn.summary import summarise
    from numbaconv.training import RunFolder

    folder = RunFolder(run)
    config = folder.read_config()
    last = folder.read_metrics()[-1]
    if last.validation_accuracy is None:
        raise ValueError(f"{run}: says nothing of test images")
    source = config["data"]
    channels, height, width = source["shape"] if "shape" in source else data.info(source["name"]).shape
    pad = config["training"]["pad"]
    summary = summarise(load(run).eval(), (channels, height + 2 * pad, width + 2 * pad))
    return visual.Trained(
        config["model"]["name"], config["data"]["name"], summary.multiply_adds, summary.parameters,
        last.validation_accuracy,
    )  # fmt: skip


def _demand_matplotlib() -> None:
    from numbaconv import visual

    if not visual.can_draw():
        raise click.ClickException(visual.HINT)


def _say(paths: list[Path], as_json: bool) -> None:
    if as_json:
        console.print_json({"files": paths})
        return
    for path in paths:
        click.echo(path)
