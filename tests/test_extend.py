"""Operators from outside the package: the example of the documentation, run as its readers would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import extend
from numbaconv.ops import OPERATORS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "adding-an-operator.md"


def run(file: Path, *arguments: str) -> str:
    """What a script prints in a process of its own."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, str(file), *arguments], env=environment, capture_output=True, text=True, cwd=file.parent
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The page's blocks of Python as one file."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = tmp_path / "dilation.py"
    file.write_text("\n\n".join(blocks))
    return file


def test_the_documentation_runs(example: Path) -> None:
    printed = run(example)
    assert "result (4, 3, 10, 10)" in printed and "gradient (3, 3, 3)" in printed and "loss falls True" in printed
    assert "forward" in printed and "backward" in printed


CALLER = """
import sys
import numpy as np
import dilation
from numbaconv.kernels.cpu import native

x, w = np.arange(36.0).reshape(1, 1, 6, 6), np.zeros((1, 2, 2))
y = dilation.dilation2d(x, w)
print(*sorted(set(label.split("[")[0] for label in native.compiled_now)), y[0, 0, 0, 0])
"""


def test_its_kernels_are_kept_and_follow_its_file(example: Path) -> None:
    caller = example.parent / "caller.py"
    caller.write_text(CALLER)
    assert run(caller).split() == ["dilate", "7.0"]
    assert run(caller).split() == ["7.0"]
    text = example.read_text()
    helper = example.parent / "helper.py"
    head, tail = text.index("@njit"), text.index("@kernel")
    helper.write_text(f"from numba import njit\n\n{text[head:tail]}")
    example.write_text(f"from helper import largest\n{text[:head]}{text[tail:]}")
    assert run(caller).split() == ["dilate", "7.0"]
    helper.write_text(helper.read_text().replace("value > best", "value < best"))
    assert run(caller).split() == ["dilate", "0.0"]
    assert run(caller).split() == ["0.0"]


def test_a_class_may_be_defined_again_but_no_name_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "doubled", None)
    del OPERATORS["doubled"]

    def define() -> extend.Operator:
        class Doubled(extend.Operator):
            """2 x."""

        return extend.operator(Doubled)

    assert define() is not define() and OPERATORS["doubled"].__doc__ == "2 x."
    with pytest.raises(ValueError, match="operator 'relu' exists already"):
        extend.operator(type("Relu", (extend.Operator,), {}))


def test_extend_offers_what_it_lists() -> None:
    assert all(hasattr(extend, name) for name in extend.__all__)


def test_check_gradients_finds_wrong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    nc.check_gradients(lambda x, i: (F.tanh(x), F.take_labels(i, i)), x.astype(np.float32), np.arange(3), order=3)
    nc.check_gradients(lambda x: {"a": [F.exp(x)], "b": F.sum(x)}, x)
    row = type(OPERATORS["tanh"])
    monkeypatch.setattr(row, "gradient", lambda self, grads, outputs, x: (grads[0],))
    with pytest.raises(AssertionError, match="the derivative of order 1 along a random direction is"):
        nc.check_gradients(F.tanh, x)
