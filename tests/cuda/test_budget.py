"""What the compiler makes of the production tiles, without a GPU: registers, no spills, the instructions meant.

``budget.json`` holds the registers of every configuration.  After a change that is meant to change them:

    python tests/cuda/test_budget.py
"""

import collections
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

import numbaconv.graph  # noqa: E402, F401  (registers the elementwise functions)
from numbaconv.kernels.cuda import (  # noqa: E402
    activation,
    arithmetic,
    augment,
    channelwise,
    conv,
    deform,
    depthwise,
    dropout,
    elementwise,
    fractional_pool,
    glu,
    implicit_gemm,
    loss,
    lp_pool,
    maxout,
    patches,
    plane,
    pool,
    rearrange,
    rectifier,
    remap,
    reorder,
    resample,
    rownorm,
    sample,
    source,
    sparse,
    stochastic_pool,
    tma,
    update,
)
from numbaconv.kernels.cuda.lowering import FLOAT32, OPERANDS  # noqa: E402
from numbaconv.kernels.cuda.tile import CHUNK_BYTES, ITEMSIZE  # noqa: E402

BUDGET = Path(__file__).with_name("budget.json")

ARCHITECTURES = ("sm_80", "sm_90")

#: What each kind multiplies with, and how operands that lie by depth and by row come from shared memory.
PRODUCTS = {
    "fp32": ("FFMA", "LDS.128", "LDS.128"),
    "tf32": ("HMMA.1688.F32.TF32", "LDSM.16.M88.4", "LDS"),
    "bf16": ("HMMA.16816.F32.BF16", "LDSM.16.M88.4", "LDSM.16.MT88.4"),
    "fp16": ("HMMA.16816.F32", "LDSM.16.M88.4", "LDSM.16.MT88.4"),
}

#: Double precision, and numbers that should be in registers.
FORBIDDEN = ("DADD", "DMUL", "DFMA", "F2F.F64", "LDL", "STL")

#: 16 bytes to shared memory past the registers, and four results at once, by their size.
COPY, STORE = "LDGSTS.E.BYPASS.128", {2: "STG.E.64", 4: "STG.E.128"}


def product(kind, tile, gathered=False):
    """A forward pass's matrix product, with copies and stores as wide as can be."""
    return implicit_gemm.correlate(
        OPERANDS[kind], result=OPERANDS[kind].name, tile=tuple(tile), vector=CHUNK_BYTES // ITEMSIZE[kind], width=4,
        volume=False, phased=False, masked=not gathered, gathered=gathered, activation=None, bias=False,
        addend=False, homes=(),
    )  # fmt: skip


def boxed_product(kind, tile):
    """The same by copies of boxes."""
    return tma.correlate_boxes(
        OPERANDS[kind], result=OPERANDS[kind].name, tile=tuple(tile), width=4, activation=None, bias=False,
        addend=False, homes=(),
    )  # fmt: skip


def weight_product(kind, tile, gathered=False):
    """The same of a weight gradient."""
    width = CHUNK_BYTES // ITEMSIZE[kind]
    return implicit_gemm.correlate_weights(
        OPERANDS[kind], tile=tile, g_vector=width, x_vector=width, width=4, volume=False, gathered=gathered
    )


def configurations():
    """(name, kernel, instructions it must have, whether the test takes part in every run)"""
    for kind, (instruction, by_depth, by_row) in PRODUCTS.items():
        group, first, store = "fp32" if kind == "fp32" else "tensor", kind != "fp16", STORE[ITEMSIZE[kind]]
        for i, sizes in enumerate(conv.TILES[group]):
            made = product(kind, (kind, *sizes))
            yield f"correlate {kind} {sizes}", made, (instruction, by_depth, COPY, store), i == 0 and first
        for i, sizes in enumerate(conv.WEIGHT_TILES[group]):
            made = weight_product(kind, (kind, *sizes))
            needed = (instruction, by_row, COPY, STORE[4])
            yield f"correlate_weights {kind} {sizes}", made, needed, i == 0 and first
        for i, tile in enumerate(conv.tiles_for(kind, "wgmma") if kind != "fp32" else ()):
            needed = ("HGMMA", COPY, store)
            yield f"correlate {tuple(tile)}", product(kind, tile), needed, i == 0 and kind == "bf16"
            needed = ("HGMMA", "UTMALDG.4D.IM2COL", "UTMALDG.3D", "SYNCS.PHASECHK", "SYNCS.ARRIVE", store)
            yield f"correlate_boxes {tuple(tile)}", boxed_product(kind, tile), needed, i == 0 and kind == "bf16"
    # those of sparse convolutions
    needed, tile = (PRODUCTS["tf32"][0], COPY, STORE[4]), ("tf32", *conv.TILES["tensor"][0])
    yield "correlate gathered", product("tf32", tile, gathered=True), needed, True
    tile = ("tf32", *conv.WEIGHT_TILES["tensor"][0])
    yield "correlate_weights gathered", weight_product("tf32", tile, gathered=True), needed, False
    for transposed in (False, True):
        made = depthwise.depthwise("float32", width=4, transposed=transposed, activation=None, bias=False, homes=())
        yield f"depthwise {transposed}", made, ("LDG.E.128", "STG.E.128"), False
    yield "depthwise_weights", depthwise.depthwise_weights("float32", taps_h=5, taps_w=5), ("FFMA",), False
    yield from streams()


def streams():
    """Kernels that pass over memory, as ``configurations``."""
    relu = {"operands": "een", "program": (("multiply", (0, 2)), ("add", (3, 1)), ("relu", (4,))), "stores": (5,)}
    gelu = {"operands": "ee", "program": (("gelu_grad", (0, 1)),), "stores": (2,)}
    norm = {"operands": "ecc", "program": (("multiply", (0, 1)), ("add", (3, 2))), "stores": (4,)}
    for name, chain in {"add relu": relu, "gelu_grad": gelu, "scale by channels": norm}.items():
        made = elementwise.pointwise("float32", width=4, homes=elementwise.homes_of(chain["program"]), **chain)
        yield f"pointwise {name}", made, ("LDG.E.128", "STG.E.128"), True
    narrow = elementwise.pointwise("float16", width=4, homes=elementwise.homes_of(relu["program"]), **relu)
    yield "pointwise add relu in fp16", narrow, ("LDG.E.64", "STG.E.64"), True
    homes = elementwise.homes_of(norm["program"])
    for statistics in ((("sum", 4),), (("moments", 0),)):
        made = channelwise.statistics_of_runs("float32", statistics=statistics, across=32, homes=homes, **norm)
        yield f"statistics_of_runs {statistics[0][0]}", made, ("BAR",), True
    yield from singles()


def singles():
    """Kernels with little to choose, as ``configurations``."""
    often = [
        channelwise.combine_moments("float32"), channelwise.combine_sums("float32"), reorder.transpose("float32"),
        reorder.permute("float32"), loss.cross_entropy("float32"), loss.cross_entropy_grad("float32"),
        activation.along_axis("float32", function="softmax"), pool.max_pool("float32", with_indices=True),
        pool.max_pool_grad("float32"), resample.resample("float32"), dropout.dropout("float32"),
        source.take_images("float32", bytes_in=True, shift=True, flip=True, cutout=True),
        update.sgd_update("float32", nesterov=True, scaled=True), arithmetic.partial_sums("float32", function="sum"),
        remap.remap("float32"), patches.fold("float32", batch=True, bias=True), rownorm.row_norm("float32", across=256),
        rownorm.weight_sums("float32", across=1), plane.scatter("float32", index="int32", add=True),
        stochastic_pool.stochastic_pool("float32"), sampled(sample.sampled_gradient, "bicubic"),
        fractional_pool.starts("float32", samples=False, shuffled=True, dimensions=3),
        deform.sampled_gradient("float32", masked=True),
    ]  # fmt: skip
    seldom = [
        patches.unfold("float32", batch=True), patches.unfold("float32", batch=False),
        patches.fold("float32", batch=False, bias=False), rownorm.row_norm("float32", across=32),
        rownorm.row_norm_grad("float32", across=256), rownorm.weight_sums("float32", across=32),
        plane.scatter("float32", index="int64", add=False), plane.gather("float32", index="int32"),
        glu.glu("float32", gradient=True), maxout.maxout("float32", gradient=True), rectifier.uniform("float32"),
        augment.jitter_colors("float32"), stochastic_pool.probability_pool("float32"),
        lp_pool.lp_pool("float32", exponent=3.5), loss.pick("float32"), loss.pick_grad("float32"),
        fractional_pool.starts("float32", samples=True, shuffled=False, dimensions=2),
        fractional_pool.pool("float32", overlapping=False, volumes=True),
        *(sampled(of, mode) for of in (sample.grid_sample, sample.grid_gradient) for mode in sample.TAPS),
        *(sampled(sample.sampled_gradient, mode) for mode in ("nearest", "bilinear")),
        reorder.permute("int64"), reorder.convert("float32", width=4).taking([FLOAT32, OPERANDS["bf16"]]),
        rearrange.move("float32", rank=6), sparse.sites_of_dense("float32", back=False),
        *(of("float32", masked=True) for of in (deform.deformed, deform.offset_gradient)),
    ]  # fmt: skip
    for made in (*often, *seldom):
        yield made.label, made, (), made in often


def sampled(of, mode):
    """A kernel of samples of images (trilinear: of volumes), with the padding that costs most."""
    return of("float32", mode=mode, padding="reflection", align_corners=False, volume=mode == "bilinear")


def architectures(made):
    """Those that a kernel can be compiled for: warpgroups are Hopper's."""
    return ARCHITECTURES[-1:] if made.block.feature else ARCHITECTURES


def parameters():
    for name, made, needed, often in configurations():
        for architecture in architectures(made):
            marks = () if often and architecture == ARCHITECTURES[-1] else (pytest.mark.slow,)
            yield pytest.param(name, made, needed, architecture, id=f"{name} {architecture}", marks=marks)


def resources(report: str) -> tuple[int, int]:
    """Registers of a thread, and bytes spilled, as the linker reports them."""
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", report))
    return int(re.search(r"Used (\d+) registers", report)[1]), spilled


def instructions(cubin: bytes, folder: Path) -> collections.Counter | None:
    """How often each instruction occurs; None without nvdisasm."""
    beside = Path(sys.prefix, "lib").glob("python*/site-packages/nvidia/cu*/bin/nvdisasm")
    tool = shutil.which("nvdisasm") or next(map(str, beside), None)
    if tool is None:
        return None
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    text = subprocess.run([tool, "-c", file], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s+/\*[0-9a-f]{4,5}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", text, re.MULTILINE)
    return collections.Counter(found)


@pytest.mark.parametrize(("name", "made", "needed", "architecture"), list(parameters()))
def test_budget(name, made, needed, architecture, tmp_path):
    _, cubin, report = made.on(architecture).build()
    registers, spilled = resources(report)
    assert spilled == 0
    assert registers <= json.loads(BUDGET.read_text())[name][architecture]
    found = instructions(cubin, tmp_path)
    if found is None:
        pytest.skip("registers are within the budget; nvdisasm is not installed, the instructions were not looked at")
    assert [i for i in needed if not any(name == i or name.startswith(i + ".") for name in found)] == []
    assert [i for i in found if i.startswith(FORBIDDEN)] == []


if __name__ == "__main__":
    table = {}
    for name, made, *_ in configurations():
        reports = {architecture: resources(made.on(architecture).build()[2]) for architecture in architectures(made)}
        print(name, reports, flush=True)
        table[name] = {architecture: registers for architecture, (registers, _) in reports.items()}
    BUDGET.write_text(json.dumps(table, indent=1) + "\n")
