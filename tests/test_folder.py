"""Data sets made of a folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numbaconv import data
from numbaconv.data import DataError


def _write_images(folder: Path, count: int, colour: int, side: int = 6) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((side, side, 3), (colour, index, 0), np.uint8)).save(folder / f"{index:02d}.png")


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    _write_images(tmp_path / "dogs", 6, 200)
    _write_images(tmp_path / "cats", 5, 10)
    (tmp_path / "empty").mkdir()
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    dataset = data.load(f"folder:{tmp_path}")
    assert dataset.classes == ("cats", "dogs") and dataset.shape == (3, 6, 6)
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 and dataset.test.labels.tolist() == [0, 1, 1]
    assert dataset.test.images[:, :, 0, 0].tolist() == [[10, 0, 0], [200, 0, 0], [200, 5, 0]]
    assert dataset.std[2] == 1.0  # There is no blue at all.
    assert data.load(f"folder:{tmp_path}", size=9).shape == (3, 9, 9)


def test_folders_of_training_and_test_images(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 2)):
        for colour, name in enumerate("ab"):
            _write_images(tmp_path / part / name, count, colour)
    dataset = data.load_folder(tmp_path)
    assert len(dataset.train) == 6 and len(dataset.test) == 4
    np.save(tmp_path / "val" / "b" / "grey.npy", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="its images differ in size"):
        data.load_folder(tmp_path)
    assert data.load_folder(tmp_path, size=5).test.images.shape == (5, 3, 5, 5)
    _write_images(tmp_path / "val" / "c", 1, 0)
    with pytest.raises(DataError, match="has a class 'c' that"):
        data.load_folder(tmp_path)


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        data.load_folder(tmp_path / "none")
    with pytest.raises(DataError, match="holds 0 folder"):
        data.load_folder(tmp_path)
    for name in "ab":
        _write_images(tmp_path / name, 1, 0)
    with pytest.raises(DataError, match="there are none to train on"):
        data.load_folder(tmp_path)
