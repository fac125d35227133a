"""Networks: modules, layers and losses by the names, arguments and semantics of ``torch.nn``."""

from .activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .container import Sequential
from .conv import Conv1d, Conv2d, Conv3d
from .deform import DeformConv2d
from .linear import Linear
from .loss import CrossEntropyLoss
from .module import Buffer, Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .pooling import AvgPool2d, MaxPool2d
from .resize import ChannelShuffle, PixelShuffle, PixelUnshuffle, Upsample
from .shape import Dropout, Flatten, Identity
from .sparse import SparseConv2d, SparseConv3d, SparseSequential, SubMConv2d, SubMConv3d, ToDense

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Buffer",
    "ChannelShuffle",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "CrossEntropyLoss",
    "DeformConv2d",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "Parameter",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SparseConv2d",
    "SparseConv3d",
    "SparseSequential",
    "SubMConv2d",
    "SubMConv3d",
    "Tanh",
    "ToDense",
    "Upsample",
]
