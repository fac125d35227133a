"""What tests share: Hypothesis' settings, and register tiles that keep the number of compiled kernels small."""

import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "numbaconv",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("numbaconv")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so would all processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one register tile, whatever the shape.

    The planner picks among a dozen tiles by shape, and each is compiled anew: seconds a kernel.  Tests of geometry,
    which go over many shapes, do with one; ``test_engine.py`` tests every tile of the table.
    """
    from numbaconv.graph import runner
    from numbaconv.kernels.cpu import target

    row = target.instruction_set()
    monkeypatch.setitem(target.TILES, row, (*target.TILES[row][:2], ((4, 2),), ()))
    monkeypatch.setattr(runner, "_plans", {})  # plans made before and afterwards have other tiles
