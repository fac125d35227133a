"""The operator reference: complete, by its conventions, and written into docs/operators.md."""

from pathlib import Path

import pytest

from numbaconv import operators
from numbaconv.ops import FUNCTIONS

PAGE = Path(__file__).parent.parent / "docs" / "operators.md"


def test_every_docstring_says_what_the_function_is_and_where_it_comes_from() -> None:
    for entry in operators.entries():
        assert entry.summary.endswith("."), f"{entry.name}: the first line of its docstring is no sentence"
        assert entry.source, f'{entry.name}: its docstring does not end with "Source: ..."'


def test_every_function_has_kernels() -> None:
    assert [entry.name for entry in operators.entries() if "CPU" not in entry.backends] == []


def without_speed(page: str) -> list[str]:
    return [line.rsplit(" |", 2)[0] if line.startswith("|") else line for line in page.splitlines()]


def test_the_page_is_what_the_table_says() -> None:
    """Write it anew with ``numbaconv operators --markdown > docs/operators.md``; speeds may be others."""
    assert without_speed(PAGE.read_text()) == without_speed(operators.markdown())


def test_speeds_are_the_least_ratios_of_each_pass() -> None:
    rows = [
        {"function": "relu", "direction": direction, "ratio": ratio}
        for direction, ratio in (("forward", 2.0), ("forward", 1.5), ("backward", 3.0), ("backward", None))
    ]
    (line,) = (line for line in operators.markdown({"rows": rows}).splitlines() if line.startswith("| `relu`"))
    assert line.endswith("| forward 1.50, backward 3.00 |")


def test_an_entry_tells_all_about_a_function() -> None:
    entry = operators.find("max_pool2d")
    assert (entry.family, entry.differentiable, entry.shapes) == ("pool", True, "x 2x3x8x8 -> 2x3x4x4")
    text = entry.text()
    assert text.startswith("max_pool2d(x, kernel_size, stride=None") and "Source: PyTorch" in text
    assert operators.find("conv2d").algorithms[:2] == ("auto", "direct")
    assert not operators.find("count_correct").differentiable
    assert {entry.name for entry in operators.entries()} == set(FUNCTIONS)


def test_a_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match="^there is no operator 'max_pol2d': did you mean 'max_pool2d'"):
        operators.find("max_pol2d")
    with pytest.raises(ValueError, match="^there is no operator 'zzz': numbaconv operators lists all$"):
        operators.find("zzz")
