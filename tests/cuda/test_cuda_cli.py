"""The command line on the emulated device."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")
pytest.importorskip("rich", reason="the command line is not installed")

from click.testing import CliRunner  # noqa: E402

import numbaconv as nc  # noqa: E402
from numbaconv.kernels import device  # noqa: E402
from numbaconv.kernels.cuda.emulated import EmulatedGpu  # noqa: E402
from numbaconv_cli.predict import command  # noqa: E402


def test_predict_answers_as_on_the_cpu(tmp_path: Path) -> None:
    weights, image, gpu = tmp_path / "lenet.safetensors", tmp_path / "digit.npy", EmulatedGpu()
    nc.save(nc.models.build("lenet5", seed=0), weights)
    np.save(image, np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    answers = []
    for where in ("cuda", "cpu"):
        with device.use(gpu):
            arguments = [str(weights), str(image), "--dataset", "digits", "--json", "--device", where]
            result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        answers.append(json.loads(result.output)[0]["top"])
    assert gpu.launches > 0
    ours, theirs = answers
    assert [answer["class"] for answer in ours] == [answer["class"] for answer in theirs]
    np.testing.assert_allclose(*([answer["probability"] for answer in found] for found in answers), rtol=1e-4)
