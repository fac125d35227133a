"""Networks: modules, layers and losses by the names, arguments and semantics of ``torch.nn``."""

from .activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .container import Sequential
from .conv import Conv1d, Conv2d, Conv3d
from .linear import Linear
from .loss import CrossEntropyLoss
from .module import Buffer, Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .pooling import AvgPool2d, MaxPool2d
from .shape import Dropout, Flatten, Identity

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
