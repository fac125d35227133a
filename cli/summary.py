"""``numbaconv summary``: the layers of a network."""

from __future__ import annotations

from dataclasses import asdict

import click

from . import console, options


@click.command("summary")
@click.argument("model", metavar="MODEL")
@click.option("--dataset", metavar="NAME", help="Take image shape and classes from there.  [default: the model's own]")
@options.JSON
def command(model: str, dataset: str | None, as_json: bool) -> None:
    """Show layers, output shapes, parameters, multiply-adds, receptive fields and memory of MODEL."""
    from numbaconv import data, models
    from numbaconv.nn.summary import summarise

    from .loading import padding

    if dataset is None:
        network, shape = models.build(model), models.image_shape(model)
    else:
        facts = data.info(dataset)
        channels, height, width = facts.shape
        pad = padding(height)
        network = models.build(model, num_classes=len(facts.classes), in_channels=channels)
        shape = (channels, height + 2 * pad, width + 2 * pad)
    summary = summarise(network.eval(), shape)
    if as_json:
        totals = {name: getattr(summary, name) for name in ("parameters", "multiply_adds", "output_bytes")}
        console.print_json({"model": model, **asdict(summary), **totals})
        return
    out = console.stdout()
    classes = summary.layers[-1].output_shape[-1]
    out.print(f"{model} on images of {_shape(summary.input_shape[1:])}, {classes:,} classes\n")
    out.print(
        console.table(
            ("layer", "kind", "output", "parameters", "multiply-adds", "receptive field", "output size"),
            (
                (
                    layer.name,
                    layer.kind,
                    _shape(layer.output_shape[1:]),
                    f"{layer.parameters:,}",
                    f"{layer.multiply_adds:,}",
                    _shape(layer.receptive_field),
                    console.size(layer.output_bytes),
                )
                for layer in summary.layers
            ),
            left=3,
        )
    )
    out.print(
        f"\n{summary.parameters:,} parameters ({console.size(summary.parameter_bytes)}), "
        f"{summary.multiply_adds:,} multiply-adds and {console.size(summary.output_bytes)} of outputs an image"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
