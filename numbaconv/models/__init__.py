"""Ready networks, by name."""

from .alexnet import alexnet
from .dense import as_fully_convolutional
from .fastnet import fastnet
from .googlenet import googlenet
from .lenet import lenet5, lenet5_1998
from .mobilenet import mobilenet
from .nin import nin
from .registry import build, image_shape, names, recipe_of, register
from .resnet import (
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet101,
    resnet110,
    resnet152,
)
from .vgg import vgg11, vgg13, vgg16, vgg16_imagenet, vgg19, vgg19_imagenet

__all__ = [
    "alexnet", "as_fully_convolutional", "build", "fastnet", "googlenet", "image_shape", "lenet5", "lenet5_1998",
    "mobilenet", "names", "nin", "recipe_of", "register", "resnet101", "resnet110", "resnet152", "resnet18",
    "resnet20", "resnet32", "resnet34", "resnet44", "resnet50", "resnet56", "vgg11", "vgg13", "vgg16",
    "vgg16_imagenet", "vgg19", "vgg19_imagenet",
]  # fmt: skip
