"""The layers that are measured: those of known networks, by name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..ops import FUNCTIONS, Case


@dataclass(frozen=True)
class ConvLayer:
    """A convolution of square images and filters.

    Attributes:
        name: network and layer.
        batch: images.
        channels: of the input, ``size`` x ``size`` pixels.
        filters: output channels.
        kernel: pixels of a filter in each direction; stride, padding, groups and bias as in ``functional.conv2d``.
        first: whether the network begins with it; nobody needs the gradient of the images.
    """

    name: str
    batch: int
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False
    first: bool = False

    @property
    def output_size(self) -> int:
        """Output pixels in each direction."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.size, self.size

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.filters, self.channels // self.groups, self.kernel, self.kernel

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.filters, self.output_size, self.output_size

    @property
    def flops(self) -> float:
        """Of each pass, a multiply-add counting two; multiplications with the padding count, as is usual."""
        pixels = self.batch * self.output_size**2
        return 2.0 * pixels * self.filters * (self.channels // self.groups) * self.kernel**2

    @property
    def bytes(self) -> int:
        """Of images, filter and outputs in float32: each pass reads two of them and writes the third."""
        return 4 * sum(map(math.prod, (self.input_shape, self.weight_shape, self.output_shape)))


def _conv(name: str, batch: int, channels: int, size: int, filters: int, kernel: int, **more: Any) -> ConvLayer:
    """A layer with padding that keeps the size at stride 1."""
    return ConvLayer(name, batch, channels, size, filters, kernel, padding=kernel // 2, **more)


def _lenet5() -> Iterator[ConvLayer]:
    """LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998; on 32x32 pixels."""
    yield ConvLayer("lenet5 conv1", 64, 1, 32, 6, 5, bias=True, first=True)
    yield ConvLayer("lenet5 conv2", 64, 6, 14, 16, 5, bias=True)


def _resnet20() -> Iterator[ConvLayer]:
    """He et al., arXiv 1512.03385, section 4.2, with projection shortcuts; CIFAR."""
    yield _conv("resnet20 stem", 128, 3, 32, 16, 3, first=True)
    for channels, size in ((16, 32), (32, 16), (64, 8)):
        if channels > 16:
            yield _conv(f"resnet20 {channels // 2}-{channels} /2", 128, channels // 2, 2 * size, channels, 3, stride=2)
            yield _conv(
                f"resnet20 {channels // 2}-{channels} 1x1 /2", 128, channels // 2, 2 * size, channels, 1, stride=2
            )
        yield _conv(f"resnet20 {channels}-{channels}", 128, channels, size, channels, 3)


def _vgg16() -> Iterator[ConvLayer]:
    """Simonyan & Zisserman, arXiv 1409.1556, configuration D; CIFAR."""
    channels = 3
    for size, filters in ((32, 64), (16, 128), (8, 256), (4, 512), (2, 512)):
        if channels != filters:
            yield _conv(f"vgg16 {channels}-{filters} @{size}", 64, channels, size, filters, 3, first=channels == 3)
        yield _conv(f"vgg16 {filters}-{filters} @{size}", 64, filters, size, filters, 3)
        channels = filters


def _resnet50() -> Iterator[ConvLayer]:
    """He et al., arXiv 1512.03385, table 1, with the stride in the 3x3 layer; ImageNet."""
    batch, channels, size = 16, 64, 56
    yield _conv("resnet50 stem 7x7 /2", batch, 3, 224, 64, 7, stride=2, first=True)
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        out = size // stride
        steps = "" if stride == 1 else f" /{stride}"
        yield _conv(f"resnet50 {channels}-{width} 1x1 @{size}", batch, channels, size, width, 1)
        if stride > 1:
            yield _conv(f"resnet50 {width}-{width} 3x3{steps}", batch, width, size, width, 3, stride=stride)
        yield _conv(f"resnet50 {channels}-{4 * width} 1x1{steps}", batch, channels, size, 4 * width, 1, stride=stride)
        yield _conv(f"resnet50 {width}-{width} 3x3 @{out}", batch, width, out, width, 3)
        if channels != width:  # else it is the shortcut's shape
            yield _conv(f"resnet50 {width}-{4 * width} 1x1 @{out}", batch, width, out, 4 * width, 1)
        yield _conv(f"resnet50 {4 * width}-{width} 1x1 @{out}", batch, 4 * width, out, width, 1)
        channels, size = 4 * width, out


def _mobilenet() -> Iterator[ConvLayer]:
    """Howard et al., arXiv 1704.04861, table 1; ImageNet."""
    batch, size = 16, 112
    yield _conv("mobilenet stem /2", batch, 3, 224, 32, 3, stride=2, first=True)
    for channels, filters, stride in (
        (32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1),
        (512, 1024, 2), (1024, 1024, 1),
    ):  # fmt: skip
        steps = "" if stride == 1 else f" /{stride}"
        yield _conv(
            f"mobilenet {channels} depthwise @{size}{steps}", batch, channels, size, channels, 3,
            stride=stride, groups=channels,
        )  # fmt: skip
        size //= stride
        yield _conv(f"mobilenet {channels}-{filters} 1x1 @{size}", batch, channels, size, filters, 1)


#: Network -> its different convolutions, each once.
CONVOLUTIONS: dict[str, tuple[ConvLayer, ...]] = {
    "lenet5": tuple(_lenet5()),
    "resnet20": tuple(_resnet20()),
    "vgg16": tuple(_vgg16()),
    "resnet50": tuple(_resnet50()),
    "mobilenet": tuple(_mobilenet()),
}


@dataclass(frozen=True)
class Layer:
    """A call of a function of ``numbaconv.functional``, which ``torch.nn.functional`` may have, too.

    Attributes:
        function: its name.
        case: its arrays, the batch first in ``x``, and other arguments.
    """

    name: str
    function: str
    case: Case


def _layer(name: str, function: str, shapes: dict[str, Any], **arguments: Any) -> Layer:
    return Layer(name, function, Case(shapes, arguments))


def _fully_connected(name: str, batch: int, features: int, outputs: int) -> Layer:
    return _layer(name, "linear", {"x": (batch, features), "weight": (outputs, features), "bias": (outputs,)})


#: Network -> its other layers.
LAYERS: dict[str, tuple[Layer, ...]] = {
    "lenet5": (
        _layer("lenet5 tanh1", "tanh", {"x": (64, 6, 28, 28)}),
        _layer("lenet5 pool1", "avg_pool2d", {"x": (64, 6, 28, 28)}, kernel_size=2),
        _layer("lenet5 pool2", "avg_pool2d", {"x": (64, 16, 10, 10)}, kernel_size=2),
        _fully_connected("lenet5 fc1", 64, 400, 120),
        _fully_connected("lenet5 fc2", 64, 120, 84),
        _fully_connected("lenet5 fc3", 64, 84, 10),
        _layer("lenet5 log_softmax", "log_softmax", {"x": (64, 10)}, dim=1),
    ),
    "vgg16": (
        _layer("vgg16 relu @32", "relu", {"x": (64, 64, 32, 32)}),
        _layer("vgg16 pool @32", "max_pool2d", {"x": (64, 64, 32, 32)}, kernel_size=2),
        _layer("vgg16 pool @4", "max_pool2d", {"x": (64, 512, 4, 4)}, kernel_size=2),
        _fully_connected("vgg16 fc1", 64, 512, 512),
    ),
    "resnet50": (
        _layer(
            "resnet50 pool 3x3 /2", "max_pool2d", {"x": (16, 64, 112, 112)},
            kernel_size=3, stride=2, padding=1,
        ),
        _layer("resnet50 pool @7", "avg_pool2d", {"x": (16, 2048, 7, 7)}, kernel_size=7),
        _fully_connected("resnet50 fc", 16, 2048, 1000),
    ),
}  # fmt: skip

@dataclass(frozen=True)
class Batches:
    """How many images a network is usually measured with: in a training step, and in a call of inference."""

    train: tuple[int, ...] = (128,)
    infer: tuple[int, ...] = (1, 128)


_BATCHES: dict[str, Batches] = {
    "lenet5": Batches((64, 256), (1, 64)),
    "vgg16": Batches((64,), (1, 64)),
    "alexnet": Batches((32,), (1,)),
    "googlenet": Batches((32,), (1,)),
    "resnet18": Batches((32,), (1,)),
    "resnet50": Batches((32,), (1,)),
    "vgg16_imagenet": Batches((16,), (1,)),
    "vgg19_imagenet": Batches((16,), (1,)),
}


def batches_of(network: str) -> Batches:
    """What a network is usually measured with."""
    return _BATCHES.get(network, Batches())


def convolutions(networks: tuple[str, ...], batch: int | None = None) -> list[ConvLayer]:
    """The convolutions of networks, with another batch size if one is given.

    Raises:
        ValueError: for a network that is not in ``CONVOLUTIONS``.
    """
    layers = _of(CONVOLUTIONS, networks)
    return layers if batch is None else [replace(layer, batch=batch) for layer in layers]


def other_layers(networks: tuple[str, ...], functions: tuple[str, ...] = (), batch: int | None = None) -> list[Layer]:
    """The layers of networks that are no convolutions, with another batch size if one is given.

    The network ``operators`` has every public function at the sizes of its row, ``functions`` are some of these.

    Raises:
        ValueError: for a network that is not in ``LAYERS``, and for a function that there is not or that has no sizes.
    """
    measured = {name: row for name, row in FUNCTIONS.items() if row.sizes}
    for name in functions:
        if name not in measured:
            raise ValueError(f"bench layers: there are no sizes to measure for a function {name!r}")
    if "operators" in networks:
        functions = tuple(measured)
    layers = _of(LAYERS, tuple(name for name in networks if name != "operators"))
    layers += [Layer(_described(name, case), name, case) for name in functions for case in measured[name].sizes]
    if batch is None:
        return layers
    return [replace(layer, case=layer.case.with_batch(batch)) for layer in layers]


def _described(function: str, case: Case) -> str:
    """A name for a row: the function, its first array's shape, its other arguments."""
    shape = "x".join(map(str, case.first_shape))
    return " ".join([function, shape, *(f"{key}={value}" for key, value in case.arguments.items())])


def _of(tables: dict[str, tuple[Any, ...]], networks: tuple[str, ...]) -> list[Any]:
    if "all" in networks:
        networks = tuple(tables)
    for network in networks:
        if network not in tables:
            raise ValueError(f"bench: there is no table of the layers of {network!r}, only of {', '.join(tables)}")
    return [layer for network in networks for layer in tables[network]]
