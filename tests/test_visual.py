"""Pictures: what they show, and that they are written."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import numbaconv.functional as F
from numbaconv import data, models, nn, optim, visual
from numbaconv.training import RunFolder, Trainer
from numbaconv.visual.filters import filter_sheet


@pytest.mark.parametrize(
    ("numbers", "output"),
    [
        # Dumoulin and Visin, arXiv 1603.07285, figures 2.1 to 2.6, 4.1, 4.4 to 4.6 and 5.1
        ({"size": 4}, 2),
        ({"kernel": 4, "padding": 2}, 6),
        ({"padding": 1}, 5),
        ({"padding": 2}, 7),
        ({"stride": 2}, 2),
        ({"stride": 2, "padding": 1}, 3),
        ({"size": 2, "transposed": True}, 4),
        ({"size": 7, "padding": 2, "transposed": True}, 5),
        ({"size": 2, "stride": 2, "transposed": True}, 5),
        ({"size": 3, "stride": 2, "padding": 1, "transposed": True}, 5),
        ({"size": 7, "dilation": 2}, 3),
    ],
)
def test_arithmetic_is_that_of_convolutions(numbers: dict[str, Any], output: int) -> None:
    """What an output is made of is where the gradient of a convolution is not zero."""
    arithmetic = visual.ConvArithmetic(**numbers)
    assert arithmetic.output == output
    weight = np.ones((1, 1, arithmetic.kernel, arithmetic.kernel))
    options = {"stride": arithmetic.stride, "padding": arithmetic.padding, "dilation": arithmetic.dilation}
    made_from = arithmetic.output if arithmetic.transposed else arithmetic.size
    x = np.zeros((1, 1, made_from, made_from))
    y = F.conv2d(x, weight, **options)
    assert y.shape[2] == (arithmetic.size if arithmetic.transposed else arithmetic.output)
    for row, column in np.ndindex(arithmetic.output, arithmetic.output):
        seen = {place for place in arithmetic.seen(row, column) if arithmetic.is_image(*place)}
        found = {tuple((p - arithmetic.border) // arithmetic.spacing for p in place) for place in seen}
        if arithmetic.transposed:  # An output of the transpose is made of what the convolution makes of it.
            x[...] = 0
            x[0, 0, row, column] = 1
            expected = np.argwhere(F.conv2d(x, weight, **options)[0, 0])
        else:
            one = np.zeros_like(y)
            one[0, 0, row, column] = 1
            from numbaconv import vjp

            expected = np.argwhere(vjp(lambda x: F.conv2d(x, weight, **options), x)[1](one)[0][0, 0])
        assert found == set(map(tuple, expected.tolist()))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"stride": 0}, "stride must be 1 or more, got 0"),
        ({"padding": -1}, "padding must be 0 or more"),
        ({"size": 2}, "does not fit into an image of 2"),
        ({"transposed": True, "padding": 3}, "a padding of at most 2"),
    ],
)
def test_arithmetic_that_cannot_be(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visual.ConvArithmetic(**numbers)


def test_an_animation_has_a_frame_an_output(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    assert visual.draw_arithmetic(visual.ConvArithmetic(size=4), path)
    with Image.open(path) as animation:
        assert animation.n_frames == 4 and animation.info["loop"] == 0


def test_a_sheet_of_filters() -> None:
    weight = np.zeros((3, 1, 2, 2))
    weight[0, 0, 0, 1], weight[2, 0, 1, 0] = 2.0, -1.0
    sheet = filter_sheet(weight)
    assert sheet.shape == (5, 5, 3)
    assert sheet[0, 1].tolist() == [1.0] * 3 and sheet[0, 0].tolist() == [0.5] * 3
    assert sheet[4, 0].tolist() == [0.25] * 3
    colours = np.arange(-6, 6).reshape(1, 3, 2, 2) / 12
    np.testing.assert_allclose(filter_sheet(colours, 0.5), colours[0].transpose(1, 2, 0) + 0.5)


def test_the_worst_mistakes_come_first() -> None:
    logits = np.array([[4.0, 0, 0], [0, 1.0, 0], [0, 9.0, 0], [2.0, 0, 1], [0, 0, 3.0]])
    labels = np.array([0, 2, 0, 1, 1])
    assert visual.worst_mistakes(logits, labels).tolist() == [2, 4, 3, 1]
    assert visual.worst_mistakes(logits, labels, 1).tolist() == [2]
    assert visual.worst_mistakes(logits[:1], labels[:1]).size == 0


def test_outputs_of_layers() -> None:
    model = models.lenet5().eval()
    x = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)
    outputs = {name: value for name, _, value in visual.layer_outputs(model, x)}
    assert list(outputs) == ["conv1", "tanh1", "pool1", "conv2", "tanh2", "pool2"]
    np.testing.assert_allclose(outputs["pool2"], model[:6](x)[0], rtol=1e-5, atol=1e-6)


class _Page(HTMLParser):
    """Counts elements, and notes what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.fetched += [str(value)[:40] for name, value in attrs if name in ("src", "href")]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_all_pictures_of_a_run(shape: tuple[int, int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    split = data.dataset.Split(rng.integers(0, 256, (20, *shape), np.uint8), rng.integers(0, 10, 20))
    dataset = data.Dataset("noise", split, split, tuple("abcdefghij"), (0.5,) * shape[0], (0.3,) * shape[0])
    model = models.lenet5(in_channels=shape[0])
    trainer = Trainer(
        model, optimizer=optim.SGD(lr=0.01), batch_size=20, mean=dataset.mean, std=dataset.std,
        pad=(32 - shape[1]) // 2,
    )  # fmt: skip
    run = RunFolder(tmp_path)
    history = trainer.fit(split, split, epochs=2, run=run, classes=dataset.classes)
    assert run.read_metrics() == history
    files = visual.draw_run(run, trainer, dataset)
    assert {file.name for file in files} == {
        "curves.png", "confusion.png", "mistakes.png", "filters.png", "filters.gif", "features.png",
        "receptive-fields.png", "report.html",
    }  # fmt: skip
    for file in files[:-1]:
        with Image.open(file) as image:
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 5  # Something is on it.
    with Image.open(run.picture_path("filters.gif")) as animation:
        assert animation.n_frames == 3  # As drawn, and two epochs.
    page = _Page()
    page.feed(run.page_path.read_text())
    assert page.count["img"] == 7 and page.count["table"] == 2
    assert all(source.startswith("data:image/") for source in page.fetched)


def test_networks_beside_each_other(tmp_path: Path) -> None:
    networks = [
        visual.Trained("small", "mnist", 10**6, 10**4, 0.98), visual.Trained("large", "mnist", 10**8, 10**6, 0.99),
        visual.Trained("other", "cifar10", 10**7, 10**5, 0.9),
    ]  # fmt: skip
    assert visual.draw_trade(networks, tmp_path / "trade.png")
    with Image.open(tmp_path / "trade.png") as image:
        assert image.width > image.height


def test_features_of_a_network_without_padding_and_with_one_layer(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 9, 9)).astype(np.float32)
    picture = np.zeros((3, 9, 9), np.uint8)
    model = nn.Sequential(nn.Conv2d(3, 2, 3)).eval()
    assert visual.draw_features(model, x, picture, tmp_path / "features.png")
    assert visual.draw_receptive_fields(model, picture, 0, tmp_path / "fields.png")
