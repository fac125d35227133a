"""Networks: modules, layers and losses by the names, arguments and semantics of ``torch.nn``."""

from .activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .container import Sequential
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .filters import DifferenceOfGaussians, FilterBank, Gabor, Gaussian, Laplacian, Prewitt, Sobel
from .linear import Linear
from .loss import CrossEntropyLoss
from .module import Buffer, Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .patches import Fold, Unfold
from .pooling import AvgPool2d, MaxPool2d
from .separable import SeparableConv2d, SpatialConv2d, conv_from_linear, factorize
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
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CrossEntropyLoss",
    "DifferenceOfGaussians",
    "Dropout",
    "FilterBank",
    "Flatten",
    "Fold",
    "Gabor",
    "Gaussian",
    "Identity",
    "Laplacian",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "Parameter",
    "Prewitt",
    "ReLU",
    "SeparableConv2d",
    "Sequential",
    "Sigmoid",
    "Sobel",
    "Softmax",
    "SpatialConv2d",
    "Tanh",
    "Unfold",
    "conv_from_linear",
    "factorize",
]
