"""The worked examples of the lecture: pooling grids, counts of parameters, output sizes, LeNet-5."""

import numpy as np
import pytest

import numbaconv.functional as F
from numbaconv import models, nn

pytestmark = pytest.mark.usefixtures("few_tiles")

GRID = np.array(
    [
        [3, 3, 2, 1, 0],
        [0, 0, 1, 3, 1],
        [3, 1, 2, 2, 3],
        [2, 0, 0, 2, 2],
        [2, 0, 0, 0, 1],
    ],
    np.float32,
)
LARGEST = [[3, 3, 3], [3, 3, 3], [3, 2, 3]]
MEAN = [["1.67", "1.67", "1.67"], ["1.0", "1.22", "1.78"], ["1.1", "0.78", "1.33"]]


def size(module: nn.Module) -> int:
    return sum(parameter.size for parameter in module.parameters())


def test_max_pooling_of_the_grid() -> None:
    """3 x 3 windows, stride 1: of 25 numbers 9 remain."""
    np.testing.assert_array_equal(F.max_pool2d(GRID[None], 3, stride=1)[0], LARGEST)
    np.testing.assert_array_equal(nn.MaxPool2d(3, stride=1)(GRID[None, None])[0, 0], LARGEST)


def test_average_pooling_of_the_grid() -> None:
    """To the digits given."""
    found = F.avg_pool2d(GRID[None], 3, stride=1)[0]
    assert found.shape == (3, 3)
    for row, digits in zip(found, MEAN, strict=True):
        for value, text in zip(row, digits, strict=True):
            assert float(value) == pytest.approx(float(text), abs=0.5 * 10.0 ** -len(text.split(".")[1]) + 1e-6)


def test_the_grid_in_every_lane_of_a_batch() -> None:
    batch = np.broadcast_to(GRID, (35, 2, 5, 5))
    np.testing.assert_array_equal(F.max_pool2d(batch, 3, 1), np.broadcast_to(LARGEST, (35, 2, 3, 3)))


def test_64_fully_connected_neurons_on_a_512_by_512_image_have_16_777_280_weights() -> None:
    assert size(nn.Linear(512 * 512, 64)) == 512 * 512 * 64 + 64 == 16_777_280


def test_64_filters_of_7_by_7_with_bias_have_3_200_parameters() -> None:
    assert size(nn.Conv2d(1, 64, 7)) == 7 * 7 * 64 + 64 == 3_200


def test_lenet5_has_61_706_parameters_layer_by_layer() -> None:
    model = models.lenet5()
    counts = [size(layer) for layer in model.children() if size(layer)]
    assert counts == [156, 2_416, 48_120, 10_164, 850]
    assert size(model) == sum(counts) == 61_706


def test_lenet5_turns_a_32_by_32_image_into_ten_scores() -> None:
    """The shapes on the way: 6 x 28 x 28, 6 x 14 x 14, 16 x 10 x 10, 16 x 5 x 5, 120, 84, 10."""
    x = np.zeros((1, 1, 32, 32), np.float32)
    shapes = []
    for layer in models.lenet5().children():
        x = layer(x)
        shapes.append(x.shape[1:])
    expected = [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (400,), (120,), (84,), (10,)]
    assert [s for i, s in enumerate(shapes) if i == 0 or s != shapes[i - 1]] == expected


def test_same_padding_keeps_the_size_and_stride_divides_it() -> None:
    """(W - F + 2 P) / S + 1 for a 7 x 7 input and a 3 x 3 filter: 5 without padding, 7 with one, 3 with stride 2."""
    x, weight = np.ones((1, 1, 7, 7), np.float32), np.ones((1, 1, 3, 3), np.float32)
    assert F.conv2d(x, weight).shape[2:] == (5, 5)
    assert F.conv2d(x, weight, padding=1).shape[2:] == F.conv2d(x, weight, padding="same").shape[2:] == (7, 7)
    assert F.conv2d(x, weight, stride=2).shape[2:] == (3, 3)


def test_convolution_is_cross_correlation_the_filter_is_not_flipped() -> None:
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    first = np.zeros((1, 1, 2, 2), np.float32)
    first[0, 0, 0, 0] = 1.0
    np.testing.assert_array_equal(F.conv2d(x, first)[0, 0], [[0, 1], [3, 4]])


def test_a_vertical_edge_is_found_where_it_is() -> None:
    """A filter (1, 0, -1) answers at the step from bright to dark, and nowhere else."""
    image = np.zeros((1, 1, 6, 6), np.float32)
    image[..., :3] = 10.0
    weight = np.tile(np.array([1.0, 0.0, -1.0], np.float32), (1, 1, 3, 1))
    np.testing.assert_array_equal(F.conv2d(image, weight)[0, 0], [[0, 30, 30, 0]] * 4)


def test_softmax_of_equal_scores_costs_the_logarithm_of_the_classes() -> None:
    assert F.cross_entropy(np.zeros((4, 10), np.float32), np.arange(4)) == pytest.approx(np.log(10), rel=1e-6)
