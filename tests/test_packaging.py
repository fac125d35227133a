"""What setup.cfg says about the package is so."""

from __future__ import annotations

import configparser
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_is_listed(setup: configparser.ConfigParser) -> None:
    """The list is written by hand; a package that is missing there would be missing in the wheel."""
    listed = set(setup["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "numbaconv").rglob("*.py")}
    assert listed == {".".join(folder.parts) for folder in folders} | {"numbaconv_cli"}


def test_every_data_file_is_listed(setup: configparser.ConfigParser) -> None:
    listed = {
        path
        for package, patterns in setup["options.package_data"].items()
        for pattern in patterns.split()
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    ignored = {".py", ".pyc"}
    assert listed == {
        path for path in (ROOT / "numbaconv").rglob("*") if path.is_file() and path.suffix not in ignored
    }


def test_installed_files_are_there() -> None:
    assert resources.files("numbaconv").joinpath("py.typed").is_file()
    assert resources.files("numbaconv.data").joinpath("digits-images-idx3-ubyte.gz").is_file()
