"""The summary of a network: parameters, multiply-adds and receptive fields."""

from __future__ import annotations

from typing import Any

import pytest

import numbaconv.functional as F
from numbaconv import models, nn
from numbaconv.nn.summary import summarise


def test_lenet5() -> None:
    """Figures of LeCun et al. 1998, section II.B, where the layers are the same: S4 sees 16 x 16 pixels."""
    summary = summarise(models.lenet5(), (1, 32, 32))
    layers = {layer.name: layer for layer in summary.layers}
    assert list(layers) == [name for name, _ in models.lenet5().named_children()]
    assert summary.parameters == 61_706
    assert summary.parameter_bytes == 4 * 61_706
    assert layers["conv1"].multiply_adds == 28 * 28 * 6 * 25
    assert layers["conv2"].multiply_adds == 10 * 10 * 16 * 6 * 25
    assert layers["fc1"].multiply_adds == 400 * 120
    assert layers["tanh1"].multiply_adds == layers["pool1"].multiply_adds == 0
    assert layers["pool2"].output_shape == (1, 16, 5, 5)
    assert layers["pool2"].output_bytes == 16 * 5 * 5 * 4
    fields = [layers[name].receptive_field for name in ("conv1", "pool1", "conv2", "pool2", "fc1")]
    assert fields == [(5, 5), (6, 6), (14, 14), (16, 16), (32, 32)]


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        (nn.Conv2d(1, 2, 3, dilation=2), (5, 5)),
        (nn.Conv2d(1, 2, (1, 5), padding=(0, 2)), (1, 5)),
        (nn.Conv2d(1, 2, 9, padding=4), (8, 8)),  # Clipped to the image.
        (nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 2, 3)), (6, 6)),
        (nn.Sequential(nn.Conv2d(1, 2, 2, stride=2), nn.ReLU(), nn.AvgPool2d(3, 1)), (6, 6)),
    ],
)
def test_receptive_fields(layer: nn.Module, field: tuple[int, int]) -> None:
    assert summarise(layer, (1, 8, 8)).layers[-1].receptive_field == field


class _Residual(nn.Module):
    """One convolution used twice, and an operator that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        return F.add(x, self.conv(F.relu(self.conv(x))))


def test_operators_outside_of_layers_and_shared_weights() -> None:
    model = _Residual()
    summary = summarise(model, (4, 9, 9))
    assert [(layer.name, layer.kind) for layer in summary.layers] == [
        ("conv", "Conv2d"), ("", "relu"), ("conv", "Conv2d"), ("", "add")
    ]  # fmt: skip
    assert summary.parameters == 4 * 4 * 9
    assert summary.multiply_adds == 2 * 81 * 4 * 4 * 9
    assert summary.layers[-1].receptive_field == (5, 5)
    assert "forward" not in model.conv.__dict__


def test_resnet20() -> None:
    """He et al. 2016, table 6: 0.27 million parameters; the shortcuts with weights are ours."""
    summary = summarise(models.build("resnet20"), (3, 32, 32))
    layers = {layer.name: layer for layer in summary.layers if layer.name}
    assert layers["bn1"].output_shape == (1, 16, 32, 32) and layers["bn1"].multiply_adds == 0
    assert layers["conv1"].multiply_adds == 32 * 32 * 16 * 27
    assert layers["layer3.2.bn2"].parameters == 128
    assert summary.parameters == sum(parameter.data.size for parameter in models.build("resnet20").parameters())


def test_an_image_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expects 1 input channels, x has 3"):
        summarise(models.lenet5(), (3, 32, 32))
