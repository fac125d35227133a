"""Reading single images: files of all kinds to the shape and range that a network was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numbaconv.data.errors import DataError
from numbaconv.data.image import fit_image, read_image


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("1", 1), ("LA", 1)])
def test_every_kind_of_png_becomes_bytes(tmp_path: Path, mode: str, channels: int) -> None:
    white = Image.new("RGB", (5, 4), "white").convert(mode)
    white.save(tmp_path / "white.png")
    image = read_image(tmp_path / "white.png")
    assert image.shape == (channels, 4, 5) and image.dtype == np.uint8 and (image == 255).all()
    assert (read_image(tmp_path / "white.png", invert=True) == 0).all()


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), 65535 // 2, np.uint16)).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == 127).all()


def test_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "nothing.png")
    assert (read_image(tmp_path / "nothing.png") == 255).all()


def test_jpeg_is_read_and_a_photograph_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    image = read_image(tmp_path / "photo.jpg")
    assert image.shape == (3, 32, 16)
    assert image[:, :12].min() > 200 and image[:, 20:].max() < 50


@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (3, 6, 5), (6, 5, 1), (6, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_numpy_images(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    white = np.full(shape, 255 if dtype is np.uint8 else 1, dtype)
    np.save(tmp_path / "white.npy", white)
    image = read_image(tmp_path / "white.npy")
    assert image.shape == (3 if 3 in shape else 1, 6, 5) and (image == 255).all()


@pytest.mark.parametrize(
    "array, complaint",
    [
        (np.zeros((2, 1, 6, 5), np.uint8), r"got \(2, 1, 6, 5\)"),
        (np.zeros(7, np.uint8), r"got \(7,\)"),
        (np.zeros((0, 5), np.uint8), r"got \(1, 0, 5\)"),
        (np.zeros((6, 5), np.int64), "got int64"),
        (np.full((6, 5), 2.0), "got 2 to 2"),
        (np.full((6, 5), np.nan), "got nan to nan"),
        (np.array([[{}]]), "is not a NumPy array file, or is damaged"),
    ],
)
def test_numpy_arrays_that_are_no_image(tmp_path: Path, array: np.ndarray, complaint: str) -> None:
    np.save(tmp_path / "odd.npy", array)
    with pytest.raises(DataError, match=complaint):
        read_image(tmp_path / "odd.npy")


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="is not a file"):
        read_image(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match="is not a PNG or JPEG picture"):
        read_image(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    for name in ("cut.png", "cut.npy"):
        path = tmp_path / name
        np.save(path, noise) if name.endswith("npy") else Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:900])
        with pytest.raises(DataError, match="damaged"):
            read_image(path)
    np.savez(tmp_path / "two.npz", noise)
    (tmp_path / "two.npz").rename(tmp_path / "two.npy")
    with pytest.raises(DataError, match="archive of arrays"):
        read_image(tmp_path / "two.npy")


def test_a_picture_with_too_many_pixels_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="more pixels"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("size", [(7, 9), (28, 28), (3, 40), (90, 61)])
def test_resizing_agrees_with_pillow(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, *size), np.uint8)
    expected = np.asarray(Image.fromarray(image[0]).resize((28, 32), Image.Resampling.BILINEAR))
    resized = fit_image(image, (1, 32, 28))
    assert resized.shape == (1, 32, 28)
    assert np.abs(resized[0].astype(int) - expected).max() <= 2  # pillow rounds between its two passes


def test_grey_agrees_with_pillow_and_back_again() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    expected = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
    grey = fit_image(image, (1, 8, 8))
    assert np.abs(grey[0].astype(int) - expected).max() <= 1
    assert (fit_image(grey, (3, 8, 8)) == grey).all()


def test_an_image_of_the_right_shape_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    assert (fit_image(image, (3, 8, 8)) == image).all()
