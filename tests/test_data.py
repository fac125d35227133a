"""Data sets: what is delivered, what is refused, and what happens when a download goes wrong.

Two real data sets are read where ``NUMBACONV_DATA_DIR`` names a folder that holds them. Everything else is made here:
small files of the same form, and mirrors on 127.0.0.1.
"""

from __future__ import annotations

import ast
import dataclasses
import gzip
import hashlib
import http.server
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbaconv import data
from numbaconv.data import archive, catalog, cifar, digits, fetch, idx
from numbaconv.data.catalog import Content, DatasetInfo, RemoteFile
from numbaconv.data.dataset import channel_statistics

ROOT = Path(__file__).resolve().parents[1]
TRAIN, TEST = 30, 10
CIFAR_RECORDS = 4


# --- Small data sets of the real form ---------------------------------------------------------------------------------


def make_arrays(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
    return images, rng.integers(0, 10, count).astype(np.uint8)


def mnist_files(seed: int = 0) -> dict[str, bytes]:
    """The four files of a small MNIST, not compressed, by their published names without ``.gz``."""
    train_images, train_labels = make_arrays(TRAIN, seed)
    test_images, test_labels = make_arrays(TEST, seed + 1)
    return {
        "train-images-idx3-ubyte": idx.encode(train_images),
        "train-labels-idx1-ubyte": idx.encode(train_labels),
        "t10k-images-idx3-ubyte": idx.encode(test_images),
        "t10k-labels-idx1-ubyte": idx.encode(test_labels),
    }


def write_mnist(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in mnist_files(seed).items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    return folder


def cifar_files(name: str) -> dict[str, bytes]:
    layout = cifar.LAYOUTS[name]
    rng = np.random.default_rng(3)
    files = {}
    for file in layout.train + layout.test:
        records = rng.integers(0, 256, (CIFAR_RECORDS, len(layout.label_classes) + 3072)).astype(np.uint8)
        for column, classes in enumerate(layout.label_classes):
            records[:, column] %= classes
        files[file] = records.tobytes()
    return files


def member(name: str, content: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in attributes.items():
        setattr(entry, key, value)
    return entry, content


def make_tar(*members: tuple[tarfile.TarInfo, bytes], zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0) if zipped else buffer.getvalue()


def make_cifar_tar(name: str, prefix: str | None = None) -> bytes:
    prefix = cifar.LAYOUTS[name].folder + "/" if prefix is None else prefix
    return make_tar(*(member(prefix + file, content) for file, content in cifar_files(name).items()))


@pytest.fixture(autouse=True)
def small_sets(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Make the catalog expect the small files, except where a test asks for the real ones."""
    if "real_catalog" in request.fixturenames:
        return
    monkeypatch.delenv("NUMBACONV_DATA_DIR", raising=False)
    for name in ("mnist", "fashion-mnist"):
        facts = dataclasses.replace(data.info(name), train_size=TRAIN, test_size=TEST)
        monkeypatch.setitem(catalog.DATASETS, name, facts)
    for name, train in (("cifar10", 5 * CIFAR_RECORDS), ("cifar100", CIFAR_RECORDS)):
        facts = dataclasses.replace(data.info(name), train_size=train, test_size=CIFAR_RECORDS)
        monkeypatch.setitem(catalog.DATASETS, name, facts)


@pytest.fixture
def real_catalog() -> None:
    """Named by tests that look at the published facts."""


@pytest.fixture
def real_data(real_catalog: None) -> str:
    """The folder with the real MNIST and CIFAR-10."""
    folder = os.environ.get("NUMBACONV_DATA_DIR")
    if not folder:
        pytest.skip("NUMBACONV_DATA_DIR is not set: it must name a folder with MNIST and CIFAR-10")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(folder / name))
    return folder / "numbaconv" / "data"


# --- The API and the facts --------------------------------------------------------------------------------------------


def test_names_and_facts(real_catalog: None) -> None:
    assert data.names() == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")
    for name in data.names():
        facts = data.info(name)
        assert facts.name == name
        assert len(set(facts.classes)) == len(facts.classes) == (100 if name == "cifar100" else 10)
        assert facts.title and facts.licence and facts.source
        for file in facts.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.urls and all(url.endswith("/" + file.name) for url in file.urls)
            assert file.urls[0].startswith("https://")
            assert all(len(bytes.fromhex(content.sha256)) == 32 for content in file.contents)


def test_checksums_in_the_readme_are_those_in_the_catalog(real_catalog: None) -> None:
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for name in data.names():
        for file in data.info(name).files:
            assert file.sha256 in readme, file.name
            assert f"{file.size:,}" in readme, file.name
            assert all(content.sha256 in readme for content in file.contents), file.name


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(data.DataError, match=r"no data set 'imagenet'; choose one of digits, mnist"):
        data.load("imagenet")
    assert issubclass(data.DataError, ValueError)


def test_no_module_of_the_package_can_unpickle() -> None:
    banned = {"pickle", "cPickle", "marshal", "shelve", "dill"}
    for path in Path(data.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not banned & {alias.name for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert node.module not in banned, path
            elif isinstance(node, ast.Attribute):
                assert node.attr != "extractall", path


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_delivered_the_same_everywhere() -> None:
    dataset = data.load("digits", download=False)
    assert dataset.shape == (1, 32, 32) and dataset.num_classes == 10
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    assert dataset.train.images.dtype == np.uint8 and dataset.train.labels.dtype == np.int64
    assert (dataset.train.images.min(), dataset.train.images.max()) == (0, 255)
    # Pins the split and the enlargement: they must never change with a version of NumPy or a machine.
    digest = hashlib.sha256(dataset.train.images.tobytes()).hexdigest()
    assert digest == "29bfaeb3aca3b21d05ad191588429bc0803c73bddf3b60a5037685bd23a48915"
    digest = hashlib.sha256(dataset.test.labels.astype("<i8").tobytes()).hexdigest()
    assert digest == "a121f5b81a189ee7e84473ca012982105a157686b7c87adf3c765e2408ba6912"


def test_digits_split_is_stratified_and_complete() -> None:
    dataset = data.load("digits")
    train, test = np.bincount(dataset.train.labels), np.bincount(dataset.test.labels)
    assert (train + test).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(test - (train + test) / 5).max() < 1


def test_digits_are_the_published_ones() -> None:
    reference = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits()
    images = idx.read(digits.FOLDER / "digits-images-idx3-ubyte.gz", (8, 8), 1797)
    labels = idx.read(digits.FOLDER / "digits-labels-idx1-ubyte.gz", (), 1797)
    assert np.array_equal(images, reference.images)
    assert np.array_equal(labels, reference.target)


def test_enlargement_is_bilinear_with_aligned_centres() -> None:
    small = np.random.default_rng(1).integers(0, 17, (3, 8, 5)).astype(np.uint8)
    large = digits.enlarge(small)
    assert large.shape == (3, 32, 20)
    rows = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    columns = np.clip((np.arange(20) + 0.5) / 4 - 0.5, 0, 4)
    for image, enlarged in zip(small, large, strict=True):
        across = np.stack([np.interp(columns, np.arange(5), row) for row in image])
        expected = np.stack([np.interp(rows, np.arange(8), column) for column in across.T], axis=1) * 255 / 16
        assert np.abs(enlarged - expected).max() <= 0.5 + 1e-9


def test_split_mix_is_the_published_generator() -> None:
    # First outputs of SplitMix64 with seed 0, from its reference implementation.
    assert digits.split_mix(np.arange(1), 0)[0] == 0xE220A8397B1DCDAF
    assert digits.split_mix(np.arange(3), 0)[2] == digits.split_mix(np.array([0]), 2)[0]


def test_channel_statistics_against_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (700, 3, 5, 4)).astype(np.uint8)
    images[:, 1] //= 3
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), rtol=1e-12)


# --- The real files ---------------------------------------------------------------------------------------------------


def test_real_mnist(real_data: str) -> None:
    dataset = data.load("mnist", download=False)
    assert dataset.shape == (1, 28, 28)
    train, test = np.bincount(dataset.train.labels), np.bincount(dataset.test.labels)
    assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    np.testing.assert_allclose((dataset.mean[0], dataset.std[0]), (0.1307, 0.3081), atol=5e-5)
    contents = [file.contents[0].sha256 for file in data.info("mnist").files]
    arrays = [dataset.train.images[:, 0], dataset.train.labels, dataset.test.images[:, 0], dataset.test.labels]
    assert [hashlib.sha256(idx.encode(array.astype(np.uint8))).hexdigest() for array in arrays] == contents


def test_real_cifar10(real_data: str) -> None:
    dataset = data.load("cifar10", data_dir=real_data, download=False)
    assert dataset.shape == (3, 32, 32) and dataset.classes[3] == "cat"
    assert np.bincount(dataset.train.labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    np.testing.assert_allclose(dataset.mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(dataset.std, (0.2470, 0.2435, 0.2616), atol=5e-5)
    records = np.empty((10_000, 3073), np.uint8)
    records[:, 0] = dataset.test.labels
    records[:, 1:] = dataset.test.images.reshape(10_000, -1)
    contents = {content.name: content.sha256 for content in data.info("cifar10").files[0].contents}
    assert hashlib.sha256(records.tobytes()).hexdigest() == contents["test_batch.bin"]


# --- Where files are looked for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
def test_mnist_places(tmp_path: Path, place: str) -> None:
    folder = write_mnist(tmp_path / "d" / place)
    before = sorted(tmp_path.rglob("*"))
    dataset = data.load("mnist", data_dir=tmp_path / "d", download=False)
    assert data.find("mnist", str(tmp_path / "d")) == folder
    assert sorted(tmp_path.rglob("*")) == before, "reading must not write"
    images, labels = make_arrays(TRAIN)
    assert np.array_equal(dataset.train.images[:, 0], images)
    assert np.array_equal(dataset.train.labels, labels)
    dataset.train.images[0] = 0  # Delivered arrays are the caller's own.


def test_environment_names_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "d" / "mnist", seed=5)
    monkeypatch.setenv("NUMBACONV_DATA_DIR", str(tmp_path / "d"))
    assert np.array_equal(data.load("mnist", download=False).train.labels, make_arrays(TRAIN, 5)[1])
    monkeypatch.setenv("NUMBACONV_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(data.DataError, match="NUMBACONV_DATA_DIR names .*nowhere, which is not a folder"):
        data.load("mnist", download=False)
    with pytest.raises(data.DataError, match="--data-dir"):
        data.load("mnist", data_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("rename", [str, lambda name: name.replace("-idx", ".idx"), "{}.gz".format])
def test_mnist_already_decompressed(tmp_path: Path, rename: Callable[[str], str]) -> None:
    # The last case is what browsers leave behind: a name that says gzip, and content that is not.
    for name, content in mnist_files().items():
        (tmp_path / rename(name)).write_bytes(content)
    assert np.array_equal(data.load("mnist", tmp_path, download=False).test.labels, make_arrays(TEST, 1)[1])


def test_smaller_but_well_formed_mnist_is_accepted(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    images, labels = make_arrays(7)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx.encode(images)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx.encode(labels)))
    assert len(data.load("mnist", tmp_path).train) == 7


def test_a_part_of_a_data_set_is_not_passed_over(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(data.DataError, match="only a part of mnist, it lacks t10k-labels-idx1-ubyte.gz"):
        data.load("mnist", tmp_path)


def test_files_of_another_set_with_the_same_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    labels = mnist_files()["train-labels-idx1-ubyte"]
    facts = data.info("mnist")
    known = dataclasses.replace(
        facts.files[1], contents=(Content("labels", len(labels), hashlib.sha256(labels).hexdigest()),)
    )
    files = (facts.files[0], known, *facts.files[2:])
    monkeypatch.setitem(catalog.DATASETS, "mnist", dataclasses.replace(facts, files=files))
    assert len(data.load("mnist", tmp_path).train) == TRAIN
    with pytest.raises(data.DataError, match="belongs to mnist, not to fashion-mnist"):
        data.load("fashion-mnist", tmp_path)


def test_a_folder_that_must_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(data.DataError, match=r"cannot be read \(Permission denied\)"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["archive", "flat archive", "plain tar", "folder", "files", "own folder"])
def test_cifar_forms(tmp_path: Path, name: str, form: str) -> None:
    layout = cifar.LAYOUTS[name]
    archive_name = data.info(name).files[0].name
    if form == "archive":
        (tmp_path / archive_name).write_bytes(make_cifar_tar(name))
    elif form == "flat archive":
        (tmp_path / archive_name.replace(".tar.gz", ".tgz")).write_bytes(make_cifar_tar(name, "./"))
    elif form == "plain tar":
        (tmp_path / archive_name[:-3]).write_bytes(gzip.decompress(make_cifar_tar(name)))
    else:
        folder = tmp_path / {"folder": layout.folder, "files": "", "own folder": f"{name}/{layout.folder}"}[form]
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in cifar_files(name).items():
            (folder / file).write_bytes(content)
    dataset = data.load(name, tmp_path, download=False)
    assert dataset.train.images.shape == (CIFAR_RECORDS * len(layout.train), 3, 32, 32)
    content = b"".join(cifar_files(name)[file] for file in layout.train)
    labels = len(layout.label_classes)
    records = np.frombuffer(content, np.uint8).reshape(-1, labels + 3072)
    assert np.array_equal(dataset.train.labels, records[:, labels - 1])
    assert np.array_equal(dataset.train.images.reshape(-1, 3072), records[:, labels:])
    assert data.find(name, tmp_path) is not None


def test_what_is_nowhere_is_explained_in_one_sentence(cache: Path) -> None:
    with pytest.raises(data.DataError) as caught:
        data.load("cifar10", download=False)
    message = str(caught.value)
    for part in ("cifar-10-binary.tar.gz", "https://", str(cache / "cifar10"), "--data-dir", "NUMBACONV_DATA_DIR"):
        assert part in message
    assert "\n" not in message
    assert data.find("cifar10") is None
    assert not cache.exists(), "looking must not write"


# --- IDX files --------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)), zipped=st.booleans())
def test_idx_round_trip(tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], zipped: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path_factory.mktemp("idx") / "file"
    for values in (array, array[:, 0, 0]):
        content = idx.encode(values)
        path.write_bytes(gzip.compress(content) if zipped else content)
        assert np.array_equal(idx.read(path, values.shape[1:], 5), values)
    with pytest.raises(TypeError, match="uint8"):
        idx.encode(array.astype(np.int64))


IDX_ARRAY = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
IDX_PLAIN = idx.encode(IDX_ARRAY)
IDX_ZIPPED = gzip.compress(IDX_PLAIN, mtime=0)


def read_idx(folder: Path, content: bytes) -> np.ndarray:
    path = folder / "file"
    path.write_bytes(content)
    return idx.read(path, (4, 5), 3)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 10_000), zipped=st.booleans())
def test_idx_truncated_anywhere_is_refused(scratch: Path, cut: int, zipped: bool) -> None:
    content = IDX_ZIPPED if zipped else IDX_PLAIN
    with pytest.raises(data.DataError, match="file: "):
        read_idx(scratch, content[: cut % len(content)])


@settings(max_examples=200, deadline=None)
@given(where=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_idx_gzip_with_a_byte_changed_is_refused_or_read_right(scratch: Path, where: int, flip: int) -> None:
    content = bytearray(IDX_ZIPPED)
    content[where % len(content)] ^= flip
    try:
        array = read_idx(scratch, bytes(content))  # Some bytes of a gzip header mean nothing.
    except data.DataError:
        return
    assert np.array_equal(array, IDX_ARRAY)


@settings(max_examples=100, deadline=None)
@given(where=st.integers(0, 15), flip=st.integers(1, 255))
def test_idx_with_a_header_byte_changed_is_refused(scratch: Path, where: int, flip: int) -> None:
    content = bytearray(IDX_PLAIN)
    content[where] ^= flip
    with pytest.raises(data.DataError):
        read_idx(scratch, bytes(content))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=100), zipped=st.booleans())
def test_idx_of_random_bytes_is_refused(scratch: Path, content: bytes, zipped: bool) -> None:
    with pytest.raises(data.DataError):
        read_idx(scratch, gzip.compress(content) if zipped else content)


def header(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


BIG = 64 << 20
MNIST_FAULTS = {
    "labels instead of images": ("train-images", lambda f: f["train-labels-idx1-ubyte"], "magic number is 2049"),
    "images instead of labels": ("train-labels", lambda f: f["train-images-idx3-ubyte"], "magic number is 2051"),
    "other image size": ("train-images", lambda f: header(2051, 1, 8, 8) + bytes(64), "8 x 8"),
    "no images": ("train-images", lambda f: header(2051, 0, 28, 28), "declares 0 items"),
    "count far too large": ("train-images", lambda f: header(2051, 2**32 - 1, 28, 28), "declares 4,294,967,295"),
    "count beyond the data": ("train-images", lambda f: header(2051, 30, 28, 28) + bytes(784), "cut short"),
    "data beyond the count": ("train-labels", lambda f: f["train-labels-idx1-ubyte"] + b"\0", "goes on after the 30"),
    "label out of range": ("t10k-labels", lambda f: header(2049, 10) + b"\0\1\2\3\4\5\6\7\x08\x0a", "label 9 is 10"),
    "counts that differ": ("t10k-labels", lambda f: header(2049, 9) + bytes(9), "10 images, but .* 9 labels"),
    "empty": ("t10k-images", lambda f: b"", "too short"),
    "gzip bomb": ("t10k-labels", lambda f: header(2049, 10) + bytes(BIG), "goes on after the 10"),
}


@pytest.mark.parametrize("fault", MNIST_FAULTS)
def test_hostile_mnist_files(tmp_path: Path, fault: str) -> None:
    stem, make, message = MNIST_FAULTS[fault]
    write_mnist(tmp_path)
    (path,) = tmp_path.glob(f"{stem}*")
    path.write_bytes(gzip.compress(make(mnist_files()), 6))
    tracemalloc.start()
    with pytest.raises(data.DataError, match=message) as caught:
        data.load("mnist", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stem in str(caught.value) and "\n" not in str(caught.value)
    assert peak < BIG / 4, "more was decompressed than expected"


@pytest.mark.parametrize("damage", [lambda c: c[:-6], lambda c: c[:-5] + b"\0" + c[-4:], lambda c: c + b"garbage"])
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError, match=r"t10k-images-idx3-ubyte.gz: the gzip data is damaged or cut short"):
        data.load("mnist", tmp_path)


def test_what_is_not_a_regular_file_is_not_opened(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(data.DataError, match="is not a regular file"):
        data.load("mnist", tmp_path)


# --- CIFAR files and tar archives -------------------------------------------------------------------------------------


def cifar_members() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [member(f"cifar-10-batches-bin/{name}", content) for name, content in cifar_files("cifar10").items()]


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
BATCH = CIFAR_RECORDS * 3073
TAR_FAULTS = {
    "absolute": (lambda m: make_tar(member("/tmp/data_batch_1.bin", bytes(BATCH)), *m[1:]), "points outside"),
    "parent": (lambda m: make_tar(member("a/../../data_batch_1.bin", bytes(BATCH)), *m[1:]), "points outside"),
    "windows drive": (lambda m: make_tar(*m, member("C:evil", b"x")), "points outside"),
    "windows parent": (lambda m: make_tar(*m, member("a\\..\\..\\evil", b"x")), "points outside"),
    "symbolic link": (lambda m: make_tar(member("data_batch_1.bin", **LINK), *m[1:]), "is a link"),
    "hard link": (
        lambda m: make_tar(*m, member("x.bin", type=tarfile.LNKTYPE, linkname="test_batch.bin")),
        "is a link",
    ),
    "device": (lambda m: make_tar(*m, member("dev", type=tarfile.CHRTYPE)), "a device"),
    "named pipe": (lambda m: make_tar(member("data_batch_1.bin", type=tarfile.FIFOTYPE), *m[1:]), "special file"),
    "missing": (lambda m: make_tar(*m[:-1]), "lacks test_batch.bin"),
    "twice": (lambda m: make_tar(*m, m[0]), "data_batch_1.bin twice"),
    "too short": (lambda m: make_tar(member("data_batch_1.bin", bytes(BATCH - 1)), *m[1:]), "12,291 bytes long"),
    "too long": (lambda m: make_tar(member("data_batch_1.bin", bytes(BATCH + 1)), *m[1:]), "12,293 bytes long"),
    "bomb beside the data": (lambda m: make_tar(member("readme.html", bytes(BIG)), *m), "expands to more than"),
    "bomb behind the data": (
        lambda m: gzip.compress(gzip.decompress(make_tar(*m)) + bytes(BIG)),
        "expands to more than",
    ),
    "label": (lambda m: make_tar(member("data_batch_1.bin", b"\x0a" * BATCH), *m[1:]), "record 0 is 10"),
    "cut": (lambda m: make_tar(*m)[:-2000], "gzip data is damaged or cut short"),
    "cut tar": (lambda m: make_tar(*m, zipped=False)[:20_000], "damaged|cut short"),
    "wrong crc": (lambda m: make_tar(*m)[:-8] + bytes(8), "gzip data is damaged"),
    "not a tar": (lambda m: gzip.compress(b"x" * 5000), "tar archive is damaged"),
    "empty": (lambda m: b"", "damaged|lacks"),
}


@pytest.mark.parametrize("fault", TAR_FAULTS)
def test_hostile_archives(tmp_path: Path, fault: str) -> None:
    make, message = TAR_FAULTS[fault]
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(make(cifar_members()))
    tracemalloc.start()
    with pytest.raises(data.DataError, match=message) as caught:
        data.load("cifar10", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert peak < BIG / 4, "more was decompressed than expected"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "nothing may be extracted"


@settings(max_examples=150, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=6), fix=st.booleans())
def test_tar_header_with_bytes_changed(scratch: Path, edits: list[tuple[int, int]], fix: bool) -> None:
    content = bytearray(make_tar(member("a.bin", b"a" * 600), member("b.bin", b"b" * 100), zipped=False))
    for where, value in edits:
        content[where] = value
    if fix:  # With the header's own checksum right again, so that the reader looks at the fields.
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
    path = scratch / "file.tar.gz"
    path.write_bytes(gzip.compress(bytes(content), 1))
    try:
        found = dict(archive.tar_members(path, {"a.bin": 600, "b.bin": 100}))
    except data.DataError:
        return
    assert found == {"a.bin": b"a" * 600, "b.bin": b"b" * 100}


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("cifar10", "data_batch_3.bin", lambda c: c[:-1], "data_batch_3.bin: is cut short, 12,291 of 12,292"),
        ("cifar10", "data_batch_3.bin", lambda c: c[:-3073], "cut short"),
        ("cifar10", "test_batch.bin", lambda c: c + b"\0", "test_batch.bin: is longer than the 12,292"),
        ("cifar10", "test_batch.bin", lambda c: c[:3073] + b"\x0b" + c[3074:], "record 1 is 11, it must be 0 to 9"),
        ("cifar100", "train.bin", lambda c: b"\x14" + c[1:], "record 0 is 20, it must be 0 to 19"),
        ("cifar100", "train.bin", lambda c: c[:1] + b"\x64" + c[2:], "record 0 is 100, it must be 0 to 99"),
    ],
)
def test_hostile_cifar_files(tmp_path: Path, name: str, file: str, change: Callable, message: str) -> None:
    folder = tmp_path / cifar.LAYOUTS[name].folder
    folder.mkdir()
    for other, content in cifar_files(name).items():
        (folder / other).write_bytes(change(content) if other == file else content)
    with pytest.raises(data.DataError, match=message) as caught:
        data.load(name, tmp_path)
    assert str(folder / file) in str(caught.value)


# --- Downloads --------------------------------------------------------------------------------------------------------


class Mirror(http.server.ThreadingHTTPServer):
    """A web server on this machine whose faults a test can choose, path by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}  # Bytes after which each of the next answers breaks off.
        self.status: dict[str, int] = {}
        self.ignores_range = False
        self.chunked = False
        self.pause_after: int | None = None  # Bytes after which an answer stands still until `go_on`.
        self.paused = threading.Event()
        self.go_on = threading.Event()
        self.requests: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is part of the test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        mirror, path = self.server, self.path.lstrip("/")
        wanted = self.headers.get("Range")
        mirror.requests.append((path, wanted))
        content = mirror.files.get(path)
        if content is None or path in mirror.status:
            self.send_error(mirror.status.get(path, 404))
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and not mirror.ignores_range else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not mirror.chunked:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cuts = mirror.cuts.get(path)
        end = start + cuts.pop(0) if cuts else len(content)
        if mirror.pause_after is not None and start < mirror.pause_after:
            self.wfile.write(content[start : mirror.pause_after])
            mirror.paused.set()
            mirror.go_on.wait(20)
            start = mirror.pause_after
        self.wfile.write(content[start:end])

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def serve(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes], mirrors: int = 1
) -> DatasetInfo:
    """Make the catalog expect these files as published, at /0/ and, if asked for, /1/ of the mirror."""
    published = []
    for file, content in files.items():
        urls = []
        for number in range(mirrors):
            mirror.files[f"{number}/{file}"] = content
            urls.append(mirror.url(f"{number}/{file}"))
        published.append(RemoteFile(file, len(content), hashlib.sha256(content).hexdigest(), tuple(urls)))
    facts = dataclasses.replace(data.info(name), files=tuple(published))
    monkeypatch.setitem(catalog.DATASETS, name, facts)
    return facts


def zipped_mnist() -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in mnist_files().items()}


BODY = np.random.default_rng(9).bytes(300_000)


def serve_one(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, mirrors: int = 1) -> DatasetInfo:
    """One file of random bytes, for what happens before anything is read."""
    return serve(mirror, monkeypatch, "mnist", {"blob": BODY}, mirrors)


def test_load_downloads_once(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    serve(mirror, monkeypatch, "mnist", zipped_mnist())
    calls: list[tuple[str, int, int]] = []
    dataset = data.load("mnist", progress=lambda *call: calls.append(call))
    assert np.array_equal(dataset.train.labels, make_arrays(TRAIN)[1])
    assert len(mirror.requests) == 4
    for file in data.info("mnist").files:
        steps = [(done, total) for name, done, total in calls if name == file.name]
        assert steps[0] == (0, file.size) and steps[-1] == (file.size, file.size)
        assert steps == sorted(steps)
    data.load("mnist")
    data.load("mnist", download=False)
    assert data.download("mnist") == data.find("mnist") == cache / "mnist"
    assert len(mirror.requests) == 4
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted([".lock", *zipped_mnist()])


def test_load_never_downloads_into_the_data_folder(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    serve(mirror, monkeypatch, "mnist", zipped_mnist())
    (tmp_path / "d").mkdir()
    assert len(data.load("mnist", data_dir=tmp_path / "d").train) == TRAIN
    assert list((tmp_path / "d").iterdir()) == []
    assert (cache / "mnist").is_dir()


def test_download_into_a_named_folder(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    serve(mirror, monkeypatch, "mnist", zipped_mnist())
    folder = data.download("mnist", tmp_path / "new" / "folder")
    assert folder == tmp_path / "new" / "folder" / "mnist"
    assert len(data.load("mnist", tmp_path / "new" / "folder", download=False).test) == TEST
    assert data.download("mnist", tmp_path / "new" / "folder") == folder
    assert len(mirror.requests) == 4 and not cache.exists()


def test_download_completes_a_part_and_takes_what_is_complete(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(mirror, monkeypatch, "mnist", zipped_mnist())
    write_mnist(tmp_path / "part" / "mnist")
    (tmp_path / "part" / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    data.download("mnist", tmp_path / "part")
    assert [path for path, _ in mirror.requests] == ["0/t10k-labels-idx1-ubyte.gz"]
    folder = write_mnist(tmp_path / "whole" / "MNIST" / "raw", seed=7)
    assert data.download("mnist", tmp_path / "whole") == folder
    assert len(mirror.requests) == 1


def test_a_wrong_file_in_the_way_is_not_overwritten(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    facts = serve_one(mirror, monkeypatch)
    (cache / "mnist").mkdir(parents=True)
    (cache / "mnist" / "blob").write_bytes(b"mine")
    with pytest.raises(data.DataError, match="blob: is there, but is not the published file; delete it"):
        fetch.fetch(facts, cache / "mnist")
    assert (cache / "mnist" / "blob").read_bytes() == b"mine"


def page(mirror: Mirror) -> None:
    mirror.files["0/blob"] = b"<html>Please log in</html>"


def corrupt(mirror: Mirror) -> None:
    mirror.files["0/blob"] = BODY[:1000] + b"?" + BODY[1001:]


def overlong(mirror: Mirror) -> None:
    mirror.files["0/blob"] = BODY + BODY
    mirror.chunked = True


def missing(mirror: Mirror) -> None:
    del mirror.files["0/blob"]


def failing(mirror: Mirror) -> None:
    mirror.status["0/blob"] = 503


def cutting(mirror: Mirror) -> None:
    mirror.cuts["0/blob"] = [0]


@pytest.mark.parametrize("fault", [page, corrupt, overlong, missing, failing, cutting])
@pytest.mark.parametrize("resuming", [False, True])
def test_next_mirror_takes_over(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: Callable[[Mirror], None], resuming: bool
) -> None:
    facts = serve_one(mirror, monkeypatch, mirrors=2)
    fault(mirror)
    if resuming:
        (tmp_path / "blob.part").write_bytes(BODY[:500])
    fetch.fetch(facts, tmp_path)
    assert (tmp_path / "blob").read_bytes() == BODY
    assert mirror.requests[-1][0] == "1/blob"
    assert not (tmp_path / "blob.part").exists()


def test_all_mirrors_corrupt(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = serve_one(mirror, monkeypatch, mirrors=2)
    mirror.files["0/blob"] = mirror.files["1/blob"] = bytes(len(BODY))
    with pytest.raises(data.DataError, match="checksum is wrong; .*checksum is wrong"):
        fetch.fetch(facts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"], "a corrupt file must not stay"


def test_cut_connections_are_resumed(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = serve_one(mirror, monkeypatch)
    mirror.cuts["0/blob"] = [100_000, 50_000, 1]
    fetch.fetch(facts, tmp_path)
    assert (tmp_path / "blob").read_bytes() == BODY
    ranges = [wanted for _, wanted in mirror.requests]
    assert ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]


def test_a_part_cut_off_at_one_mirror_is_resumed_at_the_next(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = serve_one(mirror, monkeypatch, mirrors=2)
    mirror.cuts["0/blob"] = [100_000, 0]
    fetch.fetch(facts, tmp_path)
    assert mirror.requests[-1] == ("1/blob", "bytes=100000-")
    assert (tmp_path / "blob").read_bytes() == BODY


def test_a_poisoned_part_does_not_spoil_the_last_mirror(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = serve_one(mirror, monkeypatch)
    (tmp_path / "blob.part").write_bytes(b"poison" * 1000)
    fetch.fetch(facts, tmp_path)
    assert (tmp_path / "blob").read_bytes() == BODY
    assert [wanted for _, wanted in mirror.requests] == ["bytes=6000-", None]


def test_a_server_that_cannot_resume_starts_over(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = serve_one(mirror, monkeypatch)
    mirror.ignores_range = True
    (tmp_path / "blob.part").write_bytes(BODY[:1234])
    fetch.fetch(facts, tmp_path)
    assert (tmp_path / "blob").read_bytes() == BODY and len(mirror.requests) == 1


@pytest.mark.parametrize(("part", "requests"), [(BODY, 0), (BODY + b"more", 1), (bytes(len(BODY)), 1)])
def test_a_part_that_is_complete_or_hopeless(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: bytes, requests: int
) -> None:
    facts = serve_one(mirror, monkeypatch)
    (tmp_path / "blob.part").write_bytes(part)
    fetch.fetch(facts, tmp_path)
    assert (tmp_path / "blob").read_bytes() == BODY
    assert len(mirror.requests) == requests


def test_offline_message(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    facts = data.info("mnist")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # Bound, but not listening.
        site = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        files = tuple(dataclasses.replace(file, urls=(f"{site}/{file.name}",)) for file in facts.files)
        monkeypatch.setitem(catalog.DATASETS, "mnist", dataclasses.replace(facts, files=files))
        with pytest.raises(data.DataError) as caught:
            data.load("mnist")
    message = str(caught.value)
    assert "could not be downloaded" in message and "refused" in message and "\n" not in message
    for part in (*zipped_mnist(), site, str(cache / "mnist"), "--data-dir", "NUMBACONV_DATA_DIR"):
        assert part in message
    assert data.find("mnist") is None


def test_a_connection_that_falls_silent_is_resumed(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = serve_one(mirror, monkeypatch)
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    mirror.pause_after = 1000
    fetch.fetch(facts, tmp_path)
    assert [wanted for _, wanted in mirror.requests] == [None, "bytes=1000-"]
    assert (tmp_path / "blob").read_bytes() == BODY


def test_a_folder_that_cannot_be_written(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = serve_one(mirror, monkeypatch)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(data.DataError, match="cannot be written .*--data-dir"):
        fetch.fetch(facts, tmp_path / "file" / "mnist")
    assert mirror.requests == []


def test_a_repacked_archive_is_accepted_for_its_contents(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    serve(mirror, monkeypatch, "cifar10", {"cifar-10-binary.tar.gz": make_cifar_tar("cifar10")}, mirrors=2)
    facts = data.info("cifar10")
    contents = tuple(
        Content(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in cifar_files("cifar10").items()
    )
    known = dataclasses.replace(facts.files[0], contents=contents)
    monkeypatch.setitem(catalog.DATASETS, "cifar10", dataclasses.replace(facts, files=(known,)))
    changed = [member(entry.name, content[:-1] + b"?") for entry, content in cifar_members()]
    mirror.files["0/cifar-10-binary.tar.gz"] = make_tar(*changed)
    mirror.files["1/cifar-10-binary.tar.gz"] = make_tar(*reversed(cifar_members()))
    dataset = data.load("cifar10")
    assert hashlib.sha256((cache / "cifar10" / known.name).read_bytes()).hexdigest() != known.sha256
    first = np.frombuffer(cifar_files("cifar10")["data_batch_1.bin"], np.uint8)
    assert np.array_equal(dataset.train.images[0].ravel(), first[1:3073])


# --- Downloads in processes of their own ------------------------------------------------------------------------------

DOWNLOADER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from numbaconv.data import catalog, fetch
    url, size, sha256, folder = sys.argv[1:]
    file = catalog.RemoteFile("blob", int(size), sha256, (url,))
    import dataclasses
    fetch.fetch(dataclasses.replace(catalog.info("mnist"), files=(file,)), Path(folder))
    """
)


def start_downloader(facts: DatasetInfo, folder: Path) -> subprocess.Popen[bytes]:
    (file,) = facts.files
    environment = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DOWNLOADER, file.urls[0], str(file.size), file.sha256, str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_killed_download_leaves_only_what_can_be_resumed(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    facts = serve_one(mirror, monkeypatch)
    mirror.pause_after = 200_000
    process = start_downloader(facts, tmp_path)
    assert mirror.paused.wait(20)
    part = tmp_path / "blob.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= 100_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(getattr(signal, how))
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    if how == "SIGINT":
        assert b"KeyboardInterrupt" in errors
    kept = part.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "blob.part"]
    assert part.read_bytes() == BODY[:kept]
    mirror.pause_after = None
    fetch.fetch(facts, tmp_path)  # Also shows that the dead process left no lock behind.
    assert mirror.requests[-1] == ("0/blob", f"bytes={kept}-")
    assert (tmp_path / "blob").read_bytes() == BODY


def test_two_processes_at_once(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = serve_one(mirror, monkeypatch)
    mirror.pause_after = 150_000
    processes = [start_downloader(facts, tmp_path) for _ in range(2)]
    assert mirror.paused.wait(20)
    time.sleep(0.3)  # Time for the second one to reach the lock.
    mirror.go_on.set()
    for process in processes:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors.decode()
    assert (tmp_path / "blob").read_bytes() == BODY
    assert mirror.requests == [("0/blob", None)], "the second process must wait for the first"


def test_without_locks_each_process_has_its_own_part(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = serve_one(mirror, monkeypatch)

    def cannot_lock(file: object) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr("numbaconv.data.lock._try_lock", cannot_lock)
    (tmp_path / "blob.part").write_bytes(b"another process is writing here")
    fetch.fetch(facts, tmp_path)
    assert (tmp_path / "blob").read_bytes() == BODY
    assert (tmp_path / "blob.part").read_bytes() == b"another process is writing here"
