"""The emulator finds what goes wrong on a GPU now and then, and calculates what a GPU does."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

from numbaconv.kernels.cuda import emulator  # noqa: E402
from numbaconv.kernels.cuda.compiler import Ints, Pointer  # noqa: E402
from numbaconv.kernels.cuda.emulator import Divergence, Fault, launch  # noqa: E402
from numbaconv.kernels.cuda.intrinsics import (  # noqa: E402
    barrier,
    block_x,
    copy_async,
    copy_box_if,
    copy_commit,
    copy_pixels_if,
    copy_wait,
    fma_tile,
    i32,
    ldmatrix,
    ldmatrix_transposed,
    map_acquire_if,
    mbarrier_arrive_if,
    mbarrier_expect_if,
    mbarrier_fence,
    mbarrier_init_if,
    mbarrier_wait_if,
    mma_tile,
    proxy_fence,
    put,
    read,
    read_if,
    read_shared,
    read_shared4,
    registers,
    shared,
    shuffle_xor,
    thread,
    wgmma_tile,
    where,
    words,
    write_if,
    write_shared,
)
from numbaconv.kernels.device import TensorMap  # noqa: E402

THREADS = 64


def turned(pause: Callable[[], None], last: int = THREADS):
    """y[i] = x[last - 1 - i] of each block, by way of shared memory, with ``pause`` in between."""

    def kernel(x, y, n):
        t = thread()
        i = block_x() * THREADS + t
        write_shared(shared() + t * 4, read_if(i < n, x, i))
        pause()
        write_if(i < n, y, i, read_shared(shared() + (last - 1 - t) * 4))

    return kernel


def nothing() -> None:
    pass


def run(kernel, *arguments, blocks: int = 1, threads: int = THREADS, shared_bytes: int = 4 * THREADS):
    return launch(kernel, (blocks, 1, 1), threads, shared_bytes, arguments)


def test_blocks_turn_their_numbers():
    x, y = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    report = run(turned(barrier), x, y, 256, blocks=4)
    np.testing.assert_array_equal(y, x.reshape(4, 64)[:, ::-1].reshape(-1))
    assert report.conflicts == 0


@pytest.mark.parametrize(
    ("kernel", "size", "message"),
    [
        (turned(nothing), 256, "no barrier in between"),
        (turned(barrier, 63), 256, "outside the 256 bytes"),
        (turned(barrier), 257, "outside an array of 256"),
    ],
)
def test_a_fault_is_found(kernel, size, message):
    x, y = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    with pytest.raises(Fault, match=message):
        run(kernel, x, y, size, blocks=5)


def ring(wait: int, pause: Callable[[], None], again: Callable[[], None] = barrier):
    """Two groups of copies; what the first one brought is read after waiting for all but ``wait`` of them."""

    def kernel(x, y):
        t = thread()
        for stage in range(2):
            copy_async(shared() + stage * 1024 + t * 16, t < 32, x, (stage * THREADS + t) * 4, 16)
            copy_commit()
        copy_wait(wait)
        pause()
        v = read_shared4(shared() + (t ^ 1) * 16)
        again()
        copy_async(shared() + t * 16, t < 64, x, t * 4, 16)
        for e in range(4):
            write_if(t < 64, y, t * 4 + e, v[e])

    return kernel


def test_copies_arrive():
    x, y = np.arange(512, dtype=np.float32), np.zeros(256, np.float32)
    run(ring(1, barrier), x, y, shared_bytes=2048)
    expected = x[:256].reshape(32, 2, 4)[:, ::-1].reshape(-1)
    expected[128:] = 0  # not copied: zeros
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (ring(2, barrier), "before copy_wait"),
        (ring(1, nothing), "another thread wrote"),
        (ring(1, barrier, nothing), None),  # a thread's neighbour is in its warp
    ],
)
def test_late_waits_are_found(kernel, message):
    x, y = np.arange(512, dtype=np.float32), np.zeros(256, np.float32)
    if message is None:
        run(kernel, x, y, shared_bytes=2048)
        return
    with pytest.raises(Fault, match=message):
        run(kernel, x, y, shared_bytes=2048)


def test_an_overwrite_that_a_warp_still_reads_is_found():
    def kernel(x):
        t = thread()
        write_shared(shared() + t * 4, read(x, t))
        barrier()
        v = read_shared(shared() + (t ^ 32) * 4)
        write_shared(shared() + t * 4, v)

    with pytest.raises(Fault, match="another warp reads"):
        run(kernel, np.zeros(64, np.float32))


def test_unwritten_shared_memory_is_found():
    def kernel(y):
        write_if(thread() < 64, y, thread(), read_shared(shared() + thread() * 4))

    with pytest.raises(Fault, match="nobody has written"):
        run(kernel, np.zeros(64, np.float32))


def test_misaligned_accesses_are_found():
    def vector(x):
        copy_async(shared() + thread() * 16, thread() < 1, x, thread() * 4 + 2, 16)

    def address():
        read_shared4(shared() + thread() * 4)

    with pytest.raises(Fault, match="not aligned"):
        run(vector, np.zeros(64, np.float32), shared_bytes=1024)
    with pytest.raises(Fault, match="not a multiple of 16"):
        run(address, shared_bytes=1024)


def test_negative_dividends_are_found():
    def kernel(n):
        (thread() - n) // 4

    with pytest.raises(Fault, match="negative"):
        run(kernel, 5)


def test_ways_that_part_are_found_in_a_block_and_allowed_between_blocks():
    def by_thread(y):
        if thread() < 7:
            write_if(thread() < 7, y, thread(), 1.0)

    def by_block(y):
        write_if(thread() < 64, y, block_x() * 64 + thread(), read(y, block_x() * 64 + thread()) + 1)
        if block_x() > 0:
            write_if(thread() < 64, y, block_x() * 64 + thread(), read(y, block_x() * 64 + thread()) + 1)

    with pytest.raises(Divergence):
        run(by_thread, np.zeros(64, np.float32))
    y = np.zeros(192, np.float32)
    run(by_block, y, blocks=3)
    np.testing.assert_array_equal(y, np.repeat([1, 2, 2], 64))


@pytest.mark.parametrize(("stride", "waves"), [(1, 1), (2, 2), (32, 32), (33, 1)])
def test_bank_conflicts_are_counted(stride, waves):
    def kernel():
        write_shared(shared() + thread() * (4 * stride), 0.0)

    report = run(kernel, threads=32, shared_bytes=32 * stride * 4)
    assert report.wavefronts == {"write_shared": waves}
    assert report.phases == {"write_shared": 1}


@pytest.mark.parametrize(("swizzled", "waves"), [(True, 1), (False, 8)])
def test_bank_conflicts_of_rows_are_counted(swizzled, waves):
    """Eight rows of 128 bytes, a chunk of each: in eight bank groups only if swizzled."""

    def kernel(x, y):
        t = thread()
        for chunk in range(8):
            copy_async(shared() + t * 128 + chunk * 16, t < 32, x, t * 32 + chunk * 4, 16)
        copy_commit()
        copy_wait(0)
        barrier()
        ldmatrix(shared() + t * 128 + ((t & 7) * 16 if swizzled else 0))

    report = run(kernel, np.zeros(1024, np.float32), np.zeros(32, np.float32), threads=32, shared_bytes=4096)
    assert report.wavefronts["ldmatrix"] == 4 * waves
    assert report.phases["ldmatrix"] == 4


def test_shuffles():
    def kernel(y):
        x = thread() * 1.0
        write_if(thread() < 32, y, thread(), shuffle_xor(x, 5))

    y = np.zeros(32, np.float32)
    run(kernel, y, threads=32)
    np.testing.assert_array_equal(y, [i ^ 5 for i in range(32)])


@pytest.mark.parametrize("use", ["shuffle", "shared"])
def test_integers_where_numbers_belong_are_found(use):
    def kernel(y):
        if use == "shuffle":
            write_if(thread() < 32, y, thread(), shuffle_xor(thread(), 1))
        else:
            write_shared(shared() + thread() * 4, thread())

    with pytest.raises(Fault, match="an integer is given to an instruction that takes float32"):
        run(kernel, np.zeros(32, np.float32), threads=32, shared_bytes=128)


def test_a_launch_passes_tuples_of_integers():
    def kernel(y: Pointer, n: int, sizes: Ints(2), scale: float):
        write_if(thread() < n, y, thread(), (thread() * sizes[0] + sizes[1]) * scale)

    y = np.zeros(4, np.float32)
    launch(kernel, (1, 1, 1), 32, 0, (y, 4, 10, 3, 0.5))
    np.testing.assert_array_equal(y, [1.5, 6.5, 11.5, 16.5])
    with pytest.raises(TypeError, match="takes 5 arguments, not 4"):
        launch(kernel, (1, 1, 1), 32, 0, (y, 4, 10, 0.5))
    with pytest.raises(TypeError, match="1 is passed for float"):
        launch(kernel, (1, 1, 1), 32, 0, (y, 4, 10, 3, 1))


def test_integers_become_bf16_and_back():
    numbers = np.array([1.0, 1.00390625, 1.01171875, -3e38, 3.4e38, 1e-40, np.inf, np.nan], np.float32)
    wide = emulator.widened(emulator.narrowed(numbers, np.dtype(np.uint16)))
    np.testing.assert_array_equal(wide[:3], [1.0, 1.0, 1.015625])  # ties to even
    assert abs(wide[3] / numbers[3] - 1) < 2**-8 and np.isinf(wide[4]) and np.isinf(wide[6]) and np.isnan(wide[7])


@pytest.mark.parametrize("kind", ["tf32", "bf16", "fp16"])
def test_mma_multiplies_what_ldmatrix_loads(kind):
    """A 16 x 16 bytes-of-depth product: by the fragment layouts of the PTX manual."""
    itemsize = 4 if kind == "tf32" else 2
    depth = 32 // itemsize
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (16, depth)), rng.integers(-4, 5, (16, depth))
    dtype = {"tf32": np.float32, "bf16": np.uint16, "fp16": np.float16}[kind]
    rows = emulator.narrowed(np.concatenate([a, b]).astype(np.float32), np.dtype(dtype))

    def kernel(x, y):
        lane = thread()
        for half in range(2):
            copy_async(shared() + lane * 32 + half * 16, lane < 32, x, (lane * 2 + half) * (16 // itemsize), 16)
        copy_commit()
        copy_wait(0)
        barrier()
        left, right, sums = words(4), words(4), registers(8)
        put(left, 0, ldmatrix(shared() + (lane & 15) * 32 + (lane >> 4) * 16))
        row = 16 + (lane & 7) + ((lane >> 4) << 3)
        put(right, 0, ldmatrix(shared() + row * 32 + ((lane >> 3) & 1) * 16))
        mma_tile(sums, left, right, 1, 2, kind)
        for column in range(2):
            for half in range(2):
                for j in range(2):
                    at = ((lane >> 2) + half * 8) * 16 + column * 8 + (lane & 3) * 2 + j
                    write_if(lane < 32, y, at, sums[column * 4 + half * 2 + j])

    y = np.zeros((16, 16), np.float32)
    run(kernel, rows, y, threads=32, shared_bytes=1024)
    np.testing.assert_array_equal(y, a @ b.T)


@pytest.mark.parametrize(("fenced", "base"), [(True, 0), (False, 0), (True, 512)])
def test_wgmma_sees_what_copies_brought_behind_a_fence_alone(fenced, base):
    def kernel(x):
        t = thread()
        for i in range(8):
            line = (t >> 3) + i * 16
            place = line * 128 + ((t & 7) ^ (line & 7)) * 16
            copy_async(shared() + place, t < 128, x, line * 32 + (t & 7) * 4, 16)
        copy_commit()
        copy_wait(0)
        if fenced:
            proxy_fence()
        barrier()
        sums = registers(4)
        wgmma_tile(sums, shared() + base, shared() + 8192, 8, "tf32")
        for i in range(4):
            row = (t >> 5) * 16 + ((t & 31) >> 2) + (i >> 1) * 8
            write_if(t < 128, x, row * 32 + (t & 3) * 2 + (i & 1), sums[i])

    x = np.random.default_rng(0).integers(-4, 5, (128, 32)).astype(np.float32)
    expected = x[:64] @ x[64:72].T
    if fenced and base == 0:
        run(kernel, x, threads=128, shared_bytes=1 << 14)
        np.testing.assert_array_equal(x[:64, :8], expected)
        return
    with pytest.raises(Fault, match="proxy_fence" if not fenced else "not aligned to 1024"):
        run(kernel, x, threads=128, shared_bytes=1 << 14)


#: What a kernel with a ring of boxes may forget or get wrong, and what the emulator says.
BOX_FAULTS = {
    "": None,
    "no fence": "without mbarrier_fence",
    "no barrier": "another thread has made",
    "no acquire": "without map_acquire_if",
    "no expect": "that nobody will ever leave: 1 arrivals and -1024 bytes are missing",
    "few bytes": "nobody will ever leave: 0 arrivals and -512 bytes",
    "many bytes": "nobody will ever leave: 0 arrivals and 1024 bytes",
    "no wait": "an asynchronous copy is on its way",
    "wrong phase": "an asynchronous copy is on its way",
    "one warp waits": "has not waited for its phase",
    "no arrival": "nobody will ever leave",
    "one warp arrives": "may still read",
    "too many arrive": "more threads arrive",
    "nobody waits for readers": "may still read",
    "unaligned": "no multiple of 1024",
    "all ask": "64 threads ask",
}


def ring_of_boxes(fault: str):
    """Each of 5 boxes of 8 rows of 128 bytes goes through a ring of 2 to y, its chunks in the order of memory."""

    def kernel(x, y, boxes):
        t = thread()
        asks = t >= 0 if fault == "all ask" else t == 0
        ring, arrived, left = shared() + 512 * (fault == "unaligned"), shared() + 3072, shared() + 3072 + 16
        for s in range(2):
            mbarrier_init_if(t == 0, arrived + s * 8, 1)
            mbarrier_init_if(t == 0, left + s * 8, 1 if fault == "one warp arrives" else 2)
        if fault != "no fence":
            mbarrier_fence()
        if fault != "no acquire":
            map_acquire_if(asks, boxes)
        if fault != "no barrier":
            barrier()
        for step in range(-1, 5):
            to = (step + 1) % 2
            wanted, round_ = asks & (step < 4), (step + 1) // 2 % 2
            if fault != "nobody waits for readers":
                mbarrier_wait_if(wanted, left + to * 8, round_ ^ 1)
            if fault != "no expect":
                size = {"few bytes": 512, "many bytes": 2048}.get(fault, 1024)
                mbarrier_expect_if(wanted & (t == 0), arrived + to * 8, size)
            copy_box_if(wanted, ring + to * 1024, boxes, arrived + to * 8, 0, step + 1, 0)
            if step < 0:
                continue
            of = step % 2
            waits = t < 32 if fault == "one warp waits" else t >= 0
            if fault != "no wait":
                mbarrier_wait_if(waits, arrived + of * 8, 0 if fault == "wrong phase" else step // 2 % 2)
            row, chunk = t >> 3, t & 7
            v = read_shared4(ring + of * 1024 + row * 128 + (chunk ^ row) * 16)
            for e in range(4):
                write_if(t < 64, y, step * 256 + t * 4 + e, v[e])
            leaves = t == 0 if fault == "one warp arrives" else (t & 31) == 0
            if fault != "no arrival":
                mbarrier_arrive_if(leaves | (fault == "too many arrive"), left + of * 8)

    return kernel


@pytest.mark.parametrize("fault", BOX_FAULTS)
def test_boxes(fault):
    """x is [8][5][32]: a box is one plane's row of all 8."""
    x, y = np.random.default_rng(0).standard_normal((8, 5, 32)).astype(np.float32), np.zeros((5, 8, 32), np.float32)
    boxes = TensorMap(0, x.dtype, (32, 5, 8), (32, 1, 8))
    if BOX_FAULTS[fault] is None:
        run(ring_of_boxes(fault), x, y, boxes, shared_bytes=4096)
        np.testing.assert_array_equal(y, x.swapaxes(0, 1))
        return
    with pytest.raises(Fault, match=BOX_FAULTS[fault]):
        run(ring_of_boxes(fault), x, y, boxes, shared_bytes=4096)


@pytest.mark.parametrize("place", [(-1, -1), (1, 1), (3, 1), (0, 0), (5, -1)])
def test_boxes_of_pixels(place):
    """16 places of a 3x3 filter of stride 2 on images of 5x4 with padding, from one on, at tap (2, 1)."""
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 24)).astype(np.float32)  # 8 channels beyond are zeros
    y = np.zeros((16, 32), np.float32)
    images = TensorMap(0, x.dtype, (24, 5, 4, 3), (32, 16), ((-1, -1), (-1, -2)), (2, 2))

    def kernel(x, y, images):
        t = thread()
        mbarrier_init_if(t == 0, shared() + 2048, 1)
        mbarrier_fence()
        map_acquire_if(t == 0, images)
        barrier()
        mbarrier_expect_if(t == 0, shared() + 2048, 2048)
        copy_pixels_if(t == 0, shared(), images, shared() + 2048, 0, place[0], place[1], 1, 2, 1)
        mbarrier_wait_if(t >= 0, shared() + 2048, 0)
        for half in range(2):
            row, chunk = (t >> 3) + half * 8, t & 7
            v = read_shared4(shared() + row * 128 + (chunk ^ (row & 7)) * 16)
            for e in range(4):
                write_if(t < 64, y, row * 32 + chunk * 4 + e, v[e])

    columns, rows = range(-1, 4, 2), range(-1, 2, 2)
    if place[0] not in columns or place[1] not in rows:
        with pytest.raises(Fault, match="none of the map's"):
            run(kernel, x, y, images, shared_bytes=4096)
        return
    run(kernel, x, y, images, shared_bytes=4096)
    places = [(n, h, w) for n in range(9) for h in rows for w in columns]
    first = places.index((1, place[1], place[0]))
    for found, (n, h, w) in zip(y, places[first:], strict=False):
        inside = n < 3 and 0 <= h + 1 < 4 and 0 <= w + 2 < 5
        np.testing.assert_array_equal(found[:24], x[n, h + 1, w + 2] if inside else 0)
        np.testing.assert_array_equal(found[24:], 0)


def test_ldmatrix_transposes():
    """Four 8x8 matrices, each element its number: lane l holds rows 2 (l % 4), + 1 of column l // 4."""
    numbers = np.arange(256).astype(np.float16)
    found = {}

    def kernel(x):
        lane = thread()
        copy_async(shared() + lane * 16, lane < 32, x, lane * 8, 16)
        copy_commit()
        copy_wait(0)
        barrier()
        found["words"] = ldmatrix_transposed(shared() + lane * 16)

    run(kernel, numbers, threads=32, shared_bytes=512)
    for matrix, word in enumerate(found["words"]):
        pairs = np.ascontiguousarray(word).view(np.float16).reshape(32, 2)
        lane = np.arange(32)
        expected = matrix * 64 + (2 * (lane % 4)[:, None] + [0, 1]) * 8 + (lane // 4)[:, None]
        np.testing.assert_array_equal(pairs, expected)


def test_tiles_of_a_thread():
    def kernel(y):
        sums, a, b = registers(6), registers(4), registers(6)
        for k in range(2):
            for i in range(2):
                put(a, k * 2 + i, where(thread() < 0, 0.0, 1.0) * (1 + i + k))
            for j in range(3):
                put(b, k * 3 + j, where(thread() < 0, 0.0, 1.0) * (j + k))
        fma_tile(sums, a, b, 2, 3, 2)
        for i in range(6):
            write_if(thread() < 1, y, i32(i), sums[i])

    y = np.zeros(6, np.float32)
    run(kernel, y, threads=32)
    a, b = np.array([[1, 2], [2, 3]]), np.array([[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(y, (a.T @ b).reshape(-1))
