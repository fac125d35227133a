"""Ready networks, by name."""

from .lenet import lenet5
from .registry import build, names, recipe_of, register
from .resnet import resnet20

__all__ = ["build", "lenet5", "names", "recipe_of", "register", "resnet20"]
