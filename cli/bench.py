"""``numbaconv bench``: how fast it is here, and against what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import console, options
from .bars import bar

# What --network and --batch-size are called by each kind of measurement; a plural takes several.
_KINDS = {
    "conv": ("networks", "batch"),
    "layers": ("networks", "batch"),
    "train": ("networks", "batches"),
    "infer": ("networks", "batches"),
    "startup": ("network", "batch"),
    "memory": ("networks", "batches"),
    "scaling": ("networks", "batches"),
    "profile": ("network", "batch"),
    "gpu": ("networks", "batch"),
}


@click.command("bench")
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.option(
    "--against",
    type=click.Choice(["torch", "onnxruntime"]),
    multiple=True,
    help="Measure this library beside ours, taking turns; may be given twice.",
)
@click.option(
    "--network", metavar="NAME", multiple=True,
    help="Whose layers or steps; may be given several times. conv, layers: also all; layers: also operators.",
)
@click.option("--function", metavar="NAME", multiple=True, help="layers: this function; may be given several times.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), multiple=True, help="Images at a time; may be given several times."
)
@click.option("--rounds", default=7, type=click.IntRange(min=1), help="Rounds to take the best of.")
@click.option("--torch-compile", is_flag=True, help="train, startup: torch.compile, too; it needs a C++ compiler.")
@options.DEVICE
@click.option(
    "--precision", type=click.Choice(["fp32", "tf32", "bf16", "fp16"]), multiple=True,
    help="gpu, and conv with --device cuda: of products; may be given several times.",
)
@options.DATA_DIR
@click.option("--minutes", default=9.0, type=click.FloatRange(min=0.1), help="gpu: how long all may take.")
@options.THREADS
@click.option("--json", type=click.Path(path_type=Path), metavar="FILE", help="Write everything to FILE, too.")
@click.option("--csv", type=click.Path(path_type=Path), metavar="FILE", help="Write the rows to FILE, too.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="conv: draw a roofline plot.")
def command(
    kind: str,
    against: tuple[str, ...],
    network: tuple[str, ...],
    function: tuple[str, ...],
    batch_size: tuple[int, ...],
    rounds: int,
    torch_compile: bool,
    device: str,
    precision: tuple[str, ...],
    data_dir: Path | None,
    minutes: float,
    threads: int | None,
    json: Path | None,
    csv: Path | None,
    plot: Path | None,
) -> None:
    """Measure speed.

    conv: each pass of each convolution. layers: the other layers. train: whole training steps. infer: inference.
    startup: from the start of the process to the first training step. memory: the most that a training process has.
    scaling: training steps at growing batches, with one thread and more. profile: where the time of a step goes.
    gpu: whether the CUDA engine is right and how fast it is, all in one go.

    Ours and theirs take turns in one process, after warming up, and the best round of each counts.
    """
    chosen = _options(kind, network, batch_size)
    if torch_compile:
        if kind not in ("train", "startup"):
            raise click.UsageError(f"--torch-compile belongs to train and startup, not to {kind}")
        chosen["compile"] = True
    if function:
        if kind != "layers":
            raise click.UsageError(f"--function belongs to layers, not to {kind}")
        chosen["functions"] = function
        chosen.setdefault("networks", ())
    if device != "cpu" and kind not in ("conv", "gpu"):
        raise click.UsageError(f"--device {device} belongs to conv and gpu, not to {kind}")
    if precision and kind != "gpu" and device == "cpu":
        raise click.UsageError("--precision belongs to gpu, and to conv with --device cuda")
    if device != "cpu" and kind == "conv":
        chosen["device"] = device
    if precision:
        chosen["precisions"] = precision
    if kind == "gpu":
        chosen |= {"minutes": minutes, "save": json, "data_dir": None if data_dir is None else str(data_dir)}
    if plot is not None and (kind != "conv" or device != "cpu"):
        raise click.UsageError(f"--plot belongs to conv, not to {kind}")
    for option, file in (("--json", json), ("--csv", csv), ("--plot", plot)):
        if file is not None and not file.parent.is_dir():
            raise click.ClickException(f"{option} {file}: there is no folder {file.parent}")
    from numbaconv import bench, visual
    from numbaconv.kernels.device import DeviceError
    from numbaconv.training.files import write_atomic

    if plot is not None and not visual.can_draw():
        raise click.ClickException(visual.HINT)
    with bar(console.stderr(), False, "Measuring") as show:
        try:
            report = bench.run(kind, against, rounds, threads, on_progress=show, **chosen)
        except DeviceError as error:
            raise click.ClickException(f"bench {kind}: {error}") from error
    report.show()
    if json is not None:
        write_atomic(json, report.to_json())
    if csv is not None:
        write_atomic(csv, report.to_csv())
    if report.wrong:
        raise click.ClickException(f"bench {kind}: wrong results: {'; '.join(report.wrong)}")
    if plot is not None:
        visual.draw_roofline(report, report.facts["peak, GFLOP/s"], report.facts["bandwidth, GB/s"], plot)


def _options(kind: str, network: tuple[str, ...], batch_size: tuple[int, ...]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for option, name, values in zip(("--network", "--batch-size"), _KINDS[kind], (network, batch_size), strict=True):
        if len(values) > 1 and not name.endswith("s"):
            raise click.UsageError(f"bench {kind} takes one {option}")
        if values:
            chosen[name] = values if name.endswith("s") else values[0]
    return chosen
