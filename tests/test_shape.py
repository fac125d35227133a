"""Joining, cutting, rearranging, resampling and sampling: any shapes against PyTorch, odd inputs, wrong calls."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import assert_agrees
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import nn
from numbaconv.kernels.cpu.target import LANES
from numbaconv.ops.resize import CORNERED, MODES, SMOOTHED

pytestmark = pytest.mark.usefixtures("few_tiles")

BATCHES = st.sampled_from([1, 2, LANES, LANES + 1])
FLOATS = st.sampled_from([np.float32, np.float64])
SIZES = st.integers(1, 9)


def normal(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def torch() -> Any:
    return pytest.importorskip("torch")


# ------------------------------------------------------------------------------------------------ against PyTorch


@settings(max_examples=60)
@given(st.data())
def test_concat_and_split_agree(data: st.DataObject) -> None:
    rank, dtype = data.draw(st.integers(1, 4)), data.draw(FLOATS)
    shape = [data.draw(BATCHES), *(data.draw(st.integers(1, 18)) for _ in range(rank - 1))]
    dim = data.draw(st.integers(-rank, rank - 1))
    sizes = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    parts = []
    for i, size in enumerate(sizes):
        shape[dim] = size
        parts.append(normal(*shape, dtype=dtype, seed=i))
    whole = F.concat(parts, dim)
    np.testing.assert_array_equal(whole, np.concatenate(parts, dim))
    assert_agrees("split", {"x": whole, "split_size_or_sections": sizes, "dim": dim},
                  lambda x, split_size_or_sections, dim: torch().split(x, split_size_or_sections, dim))  # fmt: skip
    if whole.shape[dim]:
        chunks = data.draw(st.integers(1, 5))
        found = F.chunk(whole, chunks, dim)
        for ours, theirs in zip(found, torch().chunk(torch().tensor(whole), chunks, dim), strict=True):
            np.testing.assert_array_equal(ours, theirs.numpy())


@settings(max_examples=60)
@given(st.data())
def test_permute_agrees(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    dims = data.draw(st.permutations(range(len(shape))))
    x = normal(*shape, dtype=data.draw(FLOATS))
    assert_agrees("permute", {"x": x, "dims": dims}, lambda x, dims: torch().permute(x, dims))


@settings(max_examples=40)
@given(st.data())
def test_shuffles_agree(data: st.DataObject) -> None:
    r, batch, dtype = data.draw(st.integers(1, 5)), data.draw(BATCHES), data.draw(FLOATS)
    c, h, w = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2 * LANES))
    x = normal(batch, c * r * r, h, w, dtype=dtype)
    assert_agrees("pixel_shuffle", {"x": x, "upscale_factor": r}, lambda x, upscale_factor: torch().pixel_shuffle(x, r))
    y = F.pixel_shuffle(x, r)
    np.testing.assert_array_equal(F.pixel_unshuffle(y, r), x)
    np.testing.assert_array_equal(F.channel_shuffle(x, r), torch().channel_shuffle(torch().tensor(x), r).numpy())


@settings(max_examples=100)
@given(st.data())
def test_interpolate_agrees(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    mode = data.draw(st.sampled_from([mode for mode, ranks in MODES.items() if rank in ranks]))
    shape = [data.draw(SIZES) for _ in range(rank)]
    options: dict[str, Any] = {"mode": mode}
    if data.draw(st.booleans()) or mode.startswith("nearest"):  # PyTorch's gradient of "nearest" rounds otherwise
        options["size"] = [data.draw(st.integers(1, 13)) for _ in range(rank)]
    else:
        options["scale_factor"] = [data.draw(st.integers(-(-100 // n), 300)) / 100 + 0.003 for n in shape]
        options["recompute_scale_factor"] = data.draw(st.sampled_from([None, True]))
    if mode in CORNERED:
        options["align_corners"] = data.draw(st.sampled_from([None, False, True]))
    if mode in SMOOTHED and "size" in options:  # PyTorch's gradient heeds a scale factor that its result does not
        options["antialias"] = data.draw(st.booleans())
    x = normal(data.draw(BATCHES), data.draw(st.integers(1, 3)), *shape)
    assert_agrees("interpolate", {"x": x, **options}, lambda x, **rest: torch().nn.functional.interpolate(x, **rest))


@settings(max_examples=80)
@given(st.data())
def test_grid_sample_agrees(data: st.DataObject) -> None:
    rank = data.draw(st.sampled_from([2, 3]))
    batch, channels = data.draw(BATCHES), data.draw(st.sampled_from([1, 3, LANES + 1]))
    x = normal(batch, channels, *(data.draw(st.integers(1, 5)) for _ in range(rank)))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    grid = rng.uniform(-2.5, 2.5, (batch, *(data.draw(st.integers(1, 4)) for _ in range(rank)), rank))
    options = {
        "mode": data.draw(st.sampled_from(["bilinear", "nearest", "bicubic"][: 5 - rank])),
        "padding_mode": data.draw(st.sampled_from(["zeros", "border", "reflection"])),
        "align_corners": data.draw(st.booleans()),
    }
    arguments = {"x": x, "grid": grid, **options}
    assert_agrees("grid_sample", arguments, lambda x, grid, **rest: torch().nn.functional.grid_sample(x, grid, **rest))


@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grid_agrees(align_corners: bool) -> None:
    for size in ((2, 3, 4, 5), (3, 1, 1, 2), (2, 3, 2, 4, 3)):
        theta = normal(size[0], len(size) - 2, len(size) - 1)
        arguments = {"theta": theta, "size": size, "align_corners": align_corners}
        assert_agrees("affine_grid", arguments)


# ------------------------------------------------------------------------------------------------ within networks


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_branches_are_joined_in_the_layout_they_have(batch: int) -> None:
    x, w, v = normal(batch, 4, 6, 6), normal(5, 4, 3, 3, seed=1), normal(3, 9, 1, 1, seed=2)
    w, v = w / 6, v / 3

    def block(x: Any, w: Any, v: Any) -> Any:
        y = F.concat([F.conv2d(x, w, padding=1), F.relu(x)], 1)
        first, _ = F.split(y, (1, 8), 1)
        return F.pixel_shuffle(F.channel_shuffle(F.concat([F.conv2d(y, v), F.tanh(x), first], 1), 4), 2)

    nc.check_gradients(block, x, w, v)


# ------------------------------------------------------------------------------------------------ edges


def test_empty_batches() -> None:
    empty = np.zeros((0, 4, 6, 6), np.float32)
    assert F.concat([empty, empty], 1).shape == (0, 8, 6, 6)
    assert F.concat([empty, np.ones((2, 4, 6, 6), np.float32)]).shape == (2, 4, 6, 6)
    assert F.concat([np.zeros(0), np.ones((1, 2))]).shape == (1, 2)
    assert F.pixel_shuffle(empty, 2).shape == (0, 1, 12, 12) and F.permute(empty, (1, 0, 2, 3)).shape == (4, 0, 6, 6)
    assert F.interpolate(empty, 3).shape == (0, 4, 3, 3)
    assert F.grid_sample(empty, np.zeros((0, 2, 5, 2), np.float32)).shape == (0, 4, 2, 5)
    offset = np.zeros((0, 18, 6, 6), np.float32)
    weight = np.ones((3, 4, 3, 3), np.float32)
    y, pullback = nc.vjp(lambda x, o, w: F.deform_conv2d(x, o, w, padding=1), empty, offset, weight)
    assert y.shape == (0, 3, 6, 6)
    assert not pullback(y)[2].any()


def test_unbatched_images_and_more_dimensions_are_shuffled() -> None:
    x = normal(8, 3, 4)
    np.testing.assert_array_equal(F.pixel_shuffle(x, 2), F.pixel_shuffle(x[None], 2)[0])
    y = normal(2, 3, 2, 4, 6)
    np.testing.assert_array_equal(F.pixel_unshuffle(y, 2)[1, 2], F.pixel_unshuffle(y[1, 2], 2))


def test_numbers_of_weight_zero_do_not_count() -> None:
    x = np.array([[[1.0, np.inf, 3.0]]])
    np.testing.assert_array_equal(F.interpolate(x, 3, mode="linear"), x)
    np.testing.assert_array_equal(F.interpolate(x, 5, mode="linear", align_corners=True)[0, 0, [0, 4]], [1.0, 3.0])


def test_places_that_are_no_numbers_and_far_away_ones() -> None:
    x = np.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    for u, padding_mode, expected in (
        (np.nan, "zeros", 0.5), (np.nan, "border", 1.0), (np.nan, "reflection", 1.0),
        (np.inf, "zeros", 0.0), (np.inf, "border", 2.0), (-np.inf, "border", 1.0), (1e30, "zeros", 0.0),
    ):  # fmt: skip
        grid = np.array([u, -0.5]).reshape(1, 1, 1, 2)
        assert F.grid_sample(x, grid, padding_mode=padding_mode).item() == expected
    offset = np.zeros((1, 2, 2, 2))
    offset[0, 0] = [[np.nan, np.inf], [1e30, -1e30]]
    weight = np.ones((1, 1, 1, 1))
    y, pullback = nc.vjp(lambda x, o, w: F.deform_conv2d(x, o, w), x, offset, weight)
    assert not y.any() and not any(g.any() for g in pullback(np.ones_like(y)))


# ------------------------------------------------------------------------------------------------ layers


def test_layers_are_their_functions() -> None:
    x = normal(2, 8, 4, 6, dtype=np.float32)
    for layer, expected in (
        (nn.Upsample(scale_factor=2, mode="bilinear"), F.interpolate(x, scale_factor=2, mode="bilinear")),
        (nn.PixelShuffle(2), F.pixel_shuffle(x, 2)),
        (nn.PixelUnshuffle(2), F.pixel_unshuffle(x, 2)),
        (nn.ChannelShuffle(4), F.channel_shuffle(x, 4)),
    ):
        np.testing.assert_array_equal(layer(x), expected)
        assert type(layer).__name__ in repr(layer)
    conv = nn.DeformConv2d(8, 4, 3, padding=1, groups=2, generator=0)
    still = np.zeros((2, 18, 4, 6), np.float32)
    assert repr(conv) == "DeformConv2d(8, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=2)"
    assert_close(conv(x, still), F.conv2d(x, conv.weight, conv.bias, padding=1, groups=2), 36)
    half = np.full((2, 9, 4, 6), 0.5, np.float32)
    plain = F.conv2d(x, 0.5 * conv.weight.data, conv.bias, padding=1, groups=2)
    assert_close(conv(x, still, half), plain, 36)


# ------------------------------------------------------------------------------------------------ wrong calls

IMAGE = np.zeros((2, 4, 6, 6), np.float32)
WRONG: dict[str, tuple[Callable, type[Exception], str]] = {
    "concat nothing": (lambda: F.concat([]), ValueError, "^concat: there is no array to join$"),
    "concat array": (lambda: F.concat(IMAGE), TypeError, "^concat: tensors must be a list or tuple of arrays"),
    "concat shapes": (lambda: F.concat([IMAGE, IMAGE[:, :, :5]], 1), ValueError, "differ in another dimension than 1$"),
    "concat dtypes": (
        lambda: F.concat([IMAGE, IMAGE.astype(float)]), TypeError, "array 0 is float32 but array 1 is float64$"
    ),
    "split sizes": (lambda: F.split(IMAGE, (1, 2), 1), ValueError, r"sections \(1, 2\) do not add up to 4"),
    "split size": (lambda: F.split(IMAGE, 0), ValueError, "split_size_or_sections must be at least 1"),
    "chunk": (lambda: F.chunk(IMAGE, 0), ValueError, "chunks must be at least 1"),
    "permute twice": (lambda: F.permute(IMAGE, (0, 1, 1, 2)), ValueError, "each of the 4 dimensions of x once"),
    "shuffle": (lambda: F.pixel_shuffle(IMAGE, 3), ValueError, "4 channels cannot be divided into squares of 3 x 3"),
    "unshuffle": (lambda: F.pixel_unshuffle(IMAGE, 4), ValueError, "6 x 6 pixels cannot be divided by 4"),
    "groups": (lambda: F.channel_shuffle(IMAGE, 3), ValueError, "4 channels cannot be divided into 3 groups"),
    "no size": (lambda: F.interpolate(IMAGE), ValueError, "either size or scale_factor must be given"),
    "mode": (lambda: F.interpolate(IMAGE, 3, mode="linear"), ValueError, "x must have 3 dimensions for mode 'linear'"),
    "corners": (lambda: F.interpolate(IMAGE, 3, align_corners=True), ValueError, "align_corners belongs to linear"),
    "empty": (lambda: F.interpolate(IMAGE, scale_factor=0.1), ValueError, r"cannot be brought to the size \(0, 0\)"),
    "grid": (lambda: F.grid_sample(IMAGE, IMAGE), ValueError, r"grid must have shape \(2, ..., 2\)"),
    "padding": (
        lambda: F.grid_sample(IMAGE, np.zeros((2, 1, 1, 2), "f"), padding_mode="x"), ValueError, "padding_mode must be"
    ),
    "theta": (lambda: F.affine_grid(np.zeros((2, 3, 3)), (2, 1, 4, 4)), ValueError, "theta must have shape"),
    "offset": (
        lambda: F.deform_conv2d(IMAGE, np.zeros((2, 17, 4, 4), "f"), np.zeros((1, 4, 3, 3), "f")), ValueError,
        "offset must have 2 x 9 channels for each group of the 4 input channels, it has 17",
    ),
    "offset size": (
        lambda: F.deform_conv2d(IMAGE, np.zeros((2, 18, 6, 6), "f"), np.zeros((1, 4, 3, 3), "f")), ValueError,
        r"offset must have shape \(2, 18, 4, 4\)",
    ),
    "layer": (lambda: nn.DeformConv2d(4, 3, 3, groups=2), ValueError, r"out_channels \(3\) must be divisible by"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", WRONG.values(), ids=WRONG)
def test_wrong_calls_say_what_is_wrong(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
