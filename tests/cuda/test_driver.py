"""The host's side of the CUDA engine on a fake driver: packages and errors, cache, launches, CUDA graphs."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

from numbaconv.kernels.dependencies import dependencies  # noqa: E402
from numbaconv.kernels.device import Address, Launch  # noqa: E402


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(program: str, fake: Path | None, cache: Path, **more: str) -> tuple[Any, list[str]]:
    """What a program prints as JSON, and the driver's log."""
    log = cache / "log"
    log.unlink(missing_ok=True)
    paths = [str(fake)] if fake is not None else []
    libraries = os.pathsep.join([*paths, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    env = {**os.environ, "LD_LIBRARY_PATH": libraries, "NUMBACONV_CACHE_DIR": str(cache), "FAKECUDA_LOG": str(log)}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env={**env, **more}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), log.read_text().splitlines() if log.exists() else []


STATE = """
    import json
    from numbaconv.kernels import cuda_state
    state = cuda_state.state()
    print(json.dumps([state.problem, state.found]))
"""


def test_what_the_machine_offers(fake: Path, cache: Path) -> None:
    (problem, found), _ = run(STATE, fake, cache)
    assert problem is None
    assert found["gpu"] == "Fake GPU" and found["architecture"] == "sm_90" and found["driver"] == "CUDA 13.0"
    assert found["numba-cuda"] and found["nvidia-nvjitlink"]


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"FAKECUDA_DRIVER": "12040"}, "the NVIDIA driver is for CUDA 12.4, CUDA 13.0 or newer is wanted"),
        ({"FAKECUDA_DEVICES": "0"}, "the NVIDIA driver finds no GPU (cuInit gives 100)"),
        ({"FAKECUDA_MAJOR": "7"}, "Fake GPU is of architecture sm_70, sm_80 or newer is wanted"),
    ],
)
def test_a_driver_that_will_not_do(fake: Path, cache: Path, setting: dict[str, str], message: str) -> None:
    (problem, _), _ = run(STATE, fake, cache, **setting)
    assert problem.startswith(message)


STEPS = """
    import json
    import numpy as np
    import numbaconv as nc
    from numbaconv.graph import Graph, compile_graph
    from numbaconv import functional as F
    from numbaconv.kernels.cuda import compiler

    weight = nc.Variable(np.ones((3, 4), np.float32))
    graph = Graph()
    x = graph.input((3, 4))
    w = graph.leaf(weight)
    graph.update(w, F.relu(w * x + 1.0))
    graph.output((w * x).sum())
    executable = compile_graph(graph, device="cuda")
    images = nc.to_device(np.zeros((3, 4), np.float32))
    for _ in range(4):
        executable.run([images])
    print(json.dumps(compiler.compiled_now))
"""


def test_a_run_is_captured_once_and_replayed_without_waiting(fake: Path, cache: Path) -> None:
    compiled, log = run(STEPS, fake, cache)
    kinds = [line.split()[0] for line in log]
    launches = kinds.count("launch")
    assert launches >= 2 and kinds.count("node") == launches
    assert kinds.count("graph") == 3 and f"graph of {launches}" in log
    assert "wait" not in kinds and "download" not in kinds
    # the images, the weights and the plan's constants went up once
    first = kinds.index("launch")
    assert "upload" not in kinds[first:]
    nodes = [line.partition(", behind")[0].replace("node", "launch") for line in log if line.startswith("node")]
    assert nodes == [line for line in log if line.startswith("launch")]  # the same arguments
    assert len(compiled) <= kinds.count("module")  # helpers have compiled the others
    assert all(label.endswith("sm_90") for label in compiled)


def test_another_process_finds_the_cubins(fake: Path, cache: Path) -> None:
    run(STEPS, fake, cache)
    compiled, log = run(STEPS, fake, cache)
    assert compiled == [] and "module" in log
    compiled, _ = run(STEPS, fake, cache, FAKECUDA_MAJOR="8")
    assert compiled and all(label.endswith("sm_80") for label in compiled)
    for file in (cache / "kernels").glob("*.cubin"):
        file.write_bytes(file.read_bytes()[:-1])
    compiled, _ = run(STEPS, fake, cache)
    assert compiled  # damaged files are made anew


BOXES = """
    import json
    import numpy as np
    from numbaconv.graph import Graph, Variable
    from numbaconv.graph.device import DeviceExecutable, DevicePlan
    from numbaconv import functional as F
    from numbaconv.kernels.device import DeviceArray, TensorMap, driver_for

    graph = Graph()
    x, w = graph.input((2, 16, 9, 8)), graph.leaf(Variable(np.ones((24, 16, 3, 2), np.float32)))
    graph.output(F.conv2d(x, w, stride=(1, 2), padding=(1, 0)))
    driver = driver_for("cuda")
    executable = DeviceExecutable(DevicePlan(graph, driver, precision="bf16", candidate="tma"), graph)
    prepare, prepared = driver._prepared, []
    driver._prepared = lambda launch: prepared.append((launch, prepare(launch))) or prepared[-1][1]
    for _ in range(2):
        executable.run([np.zeros((2, 16, 9, 8), np.float32)])
    found = []
    for launch, made in prepared:
        for argument, word in zip(launch.arguments, made.kept[0]):
            if isinstance(argument, TensorMap):  # what the fake driver has written lies where the kernel will read it
                there = DeviceArray(driver, (16,), np.uint64, word.value).to_host()
                found.append([int(there[0]) == launch.arguments[argument.operand].value, word.value % 64])
    print(json.dumps(found))
"""


def test_tensor_maps_are_encoded_and_lie_on_the_device(fake: Path, cache: Path) -> None:
    found, log = run(BOXES, fake, cache)
    assert found == [[True, 0], [True, 0]]
    assert [line for line in log if line.startswith(("im2col", "tiled"))] == [
        "im2col 64 x 128 of 16 x 8 x 9 x 2 from 0, -1 to -1, -1 by 2, 1",
        "tiled 64 x 1 x 64 of 16 x 6 x 24",
    ]


def test_without_a_driver_one_sentence_says_so(cache: Path) -> None:
    program = """
        import json, sys
        import numbaconv as nc
        try:
            nc.to_device([1.0])
            print(json.dumps(None))
        except RuntimeError as error:
            print(json.dumps([type(error).__name__, str(error), "numba.cuda" in sys.modules]))
    """
    found, _ = run(program, None, cache)
    if found is None:
        pytest.skip("this machine has a GPU")
    name, message, _ = found
    assert name == "DeviceError"
    assert message.startswith("the CUDA engine cannot run: ") and message.endswith('the CPU can (device="cpu")')


def test_launches_wait_for_what_they_need_and_for_nothing_else() -> None:
    def launch(reads: list[tuple[int, int]], writes: list[tuple[int, int]]) -> Launch:
        return Launch(None, (1, 1, 1), (*(Address(*a) for a in (*reads, *writes)), 7, 0.5), len(reads))

    launches = [
        launch([(0, 8)], [(100, 8)]),
        launch([(0, 8)], [(200, 8)]),  # beside the first one
        launch([(104, 2)], [(300, 8)]),  # reads what the first one wrote
        launch([(200, 8), (300, 8)], [(400, 8)]),
        launch([(400, 8)], [(96, 16)]),  # overwrites what others wrote and read
        launch([(0, 8)], [(200, 4)]),  # overwrites what the fourth one read
        launch([(110, 1), (203, 1)], [(110, 1)]),
    ]
    assert dependencies(launches) == [[], [], [0], [1, 2], [3], [3], [4, 5]]
