"""GoogLeNet (Inception v1): modules of four branches, and two auxiliary classifiers in training.

Source: Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, table 1 and section 5; the other form, and all
parameter names, are torchvision's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F
from numbaconv.nn import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Identity,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    Sequential,
)
from numbaconv.nn.init import as_generator, kaiming_normal_, normal_, zeros_

from .pixels import mean_over_pixels, require_pixels
from .registry import register

#: The forms, and what their poolings leave nothing of fewer pixels than.
FORMS = {"paper": 47, "torchvision": 31}

#: Outputs of each module's branches: 1×1; 1×1 before 3×3, 3×3; 1×1 before 5×5, 5×5; 1×1 behind the pooling.
MODULES = {
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}

#: Poolings between modules, by the module before them.
_POOLED = {"inception3b": "maxpool3", "inception4e": "maxpool4"}

#: Auxiliary classifiers, by the module before them.
_AUXILIARY = {"inception4a": "aux1", "inception4d": "aux2"}


class BasicConv2d(Module):
    """A convolution and ReLU; in torchvision's form with batch normalisation between them and without bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, form: str, stride: int = 1, **options: Any) -> None:
        super().__init__()
        normalised = form == "torchvision"
        self.conv = Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=not normalised, **options
        )
        self.bn: Module = BatchNorm2d(outputs, eps=0.001, dtype=options["dtype"]) if normalised else Identity()

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        return F.relu(self.bn(self.conv(x)))


class Inception(Module):
    """Four branches side by side: 1×1, 3×3 and 5×5 convolutions and pooling, joined along the channels.

    The branch of 5×5 filters has 3×3 ones in torchvision's form.
    """

    def __init__(
        self, inputs: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int, form: str,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        kernel = 5 if form == "paper" else 3
        self.branch1 = BasicConv2d(inputs, one, 1, form, **options)
        self.branch2 = Sequential(
            BasicConv2d(inputs, three[0], 1, form, **options), BasicConv2d(*three, 3, form, **options)
        )
        self.branch3 = Sequential(
            BasicConv2d(inputs, five[0], 1, form, **options), BasicConv2d(*five, kernel, form, **options)
        )
        self.branch4 = Sequential(
            MaxPool2d(3, 1, padding=1, ceil_mode=True), BasicConv2d(inputs, pooled, 1, form, **options)
        )
        self.out_channels = one + three[1] + five[1] + pooled

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to ``(N, out_channels, H, W)``."""
        return F.concat([branch(x) for branch in (self.branch1, self.branch2, self.branch3, self.branch4)], 1)


class InceptionAux(Module):
    """An auxiliary classifier: pooling to 4×4, a 1×1 convolution, two linear layers, dropout between them."""

    def __init__(self, inputs: int, num_classes: int, form: str, **options: Any) -> None:
        super().__init__()
        self.form = form
        self.conv = BasicConv2d(inputs, 128, 1, form, **options)
        self.fc1 = Linear(128 * 4 * 4, 1024, **options)
        self.fc2 = Linear(1024, num_classes, **options)
        self.dropout = Dropout(0.7)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, inputs, H, W)`` to scores ``(N, num_classes)``."""
        # The paper's windows of 5×5 at stride 3 make 4×4 of the 14×14 pixels that 224×224 leave.
        as_published = self.form == "paper" and tuple(x.shape[2:]) == (14, 14)
        x = F.avg_pool2d(x, 5, 3) if as_published else F.adaptive_avg_pool2d(x, 4)
        return self.fc2(self.dropout(F.relu(self.fc1(F.flatten(self.conv(x), 1)))))


class GoogLeNet(Module):
    """A stem of three convolutions, nine inception modules, mean over pixels, linear outputs; see ``googlenet``.

    Attributes:
        auxiliary_weight: what the losses of the auxiliary classifiers count (section 5 of the paper).
    """

    auxiliary_weight = 0.3

    def __init__(
        self, num_classes: int, in_channels: int, form: str, auxiliary: bool, seed: int, dtype: DTypeLike
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"googlenet: form must be {' or '.join(map(repr, FORMS))}, got {form!r}")
        options: dict[str, Any] = {"form": form, "dtype": dtype, "generator": as_generator(seed)}
        paper = form == "paper"
        self.least = FORMS[form]

        def normalised() -> Module:
            return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0) if paper else Identity()

        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2, **options)
        self.maxpool1 = MaxPool2d(3, 2, ceil_mode=True)
        self.norm1 = normalised()
        self.conv2 = BasicConv2d(64, 64, 1, **options)
        self.conv3 = BasicConv2d(64, 192, 3, **options)
        self.norm2 = normalised()
        self.maxpool2 = MaxPool2d(3, 2, ceil_mode=True)
        channels = 192
        classifiers = {}
        for name, sizes in MODULES.items():
            module = Inception(channels, *sizes, **options)
            self.add_module(name, module)
            channels = module.out_channels
            if name in _POOLED:
                kernel = 2 if name == "inception4e" and not paper else 3
                self.add_module(_POOLED[name], MaxPool2d(kernel, 2, ceil_mode=True))
            if name in _AUXILIARY and auxiliary:
                classifiers[_AUXILIARY[name]] = InceptionAux(channels, num_classes, **options)
        for name, classifier in classifiers.items():
            self.add_module(name, classifier)
        self.auxiliary = auxiliary
        self.dropout = Dropout(0.4 if paper else 0.2)
        del options["form"]
        self.fc = Linear(channels, num_classes, **options)
        _init(self, paper, options["generator"])

    def forward(self, x: Any) -> Any:
        """Images to scores.

        Args:
            x: ``(N, in_channels, H, W)``, 47 pixels or more (31 in torchvision's form).

        Returns:
            Scores ``(N, num_classes)``; in training, and with auxiliary classifiers, three of them: those of the
            network, of the upper and of the lower auxiliary classifier.
        """
        require_pixels("googlenet", x, self.least)
        y = self.norm1(self.maxpool1(self.conv1(x)))
        y = self.maxpool2(self.norm2(self.conv3(self.conv2(y))))
        auxiliary: list[Any] = []
        for name in MODULES:
            y = getattr(self, name)(y)
            if name in _AUXILIARY and self.auxiliary and self.training:
                auxiliary.insert(0, getattr(self, _AUXILIARY[name])(y))
            if name in _POOLED:
                y = getattr(self, _POOLED[name])(y)
        scores = self.fc(self.dropout(mean_over_pixels(y)))
        return (scores, *auxiliary) if auxiliary else scores


def _init(model: Module, paper: bool, generator: np.random.Generator) -> None:
    """Fill weights by He et al.'s rule, or, where normalisation follows, from N(0, 0.01²), and biases with zeros."""
    for module in model.modules():
        if isinstance(module, (Conv2d, Linear)):
            if paper:
                kaiming_normal_(module.weight, "fan_in", generator)
            else:
                normal_(module.weight, 0.0, 0.01, generator)
            if module.bias is not None:
                zeros_(module.bias)


@register(image_size=224)
def googlenet(
    num_classes: int = 1000, in_channels: int = 3, form: str = "paper", auxiliary: bool = True, seed: int = 0,
    dtype: DTypeLike = "float32",
) -> GoogLeNet:  # fmt: skip
    """GoogLeNet for images of 224×224 pixels: 6,998,552 parameters without the auxiliary classifiers.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        form: ``"paper"``: 5×5 filters, biases, local response normalisation; ``"torchvision"``: batch normalisation,
            3×3 filters in their place, 6,624,904 parameters.
        auxiliary: have the two auxiliary classifiers, which take part in training only.
        seed: of the initial weights.
        dtype: of the parameters.
    """
    return GoogLeNet(num_classes, in_channels, form, auxiliary, seed, dtype)
