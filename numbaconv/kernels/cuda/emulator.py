"""Kernels without a GPU: the same Python functions, instruction by instruction, on NumPy.

    report = launch(kernel, grid=(2, 3, 1), block=128, shared=4096, arguments=(x, y, 17))

Every value of a kernel that differs between threads is an array with one element a thread, and an instruction of
``intrinsics.py`` is a method of ``Machine``.  So all threads of a block, and of as many blocks as fit into a *wave*,
run in lock step.  Control flow must therefore be uniform over a block, as it is in kernels that use tensor cores and
barriers: what a thread does by itself is chosen by ``where`` and ``write_if``.  Blocks whose ways part are run one by
one.

What goes wrong on a GPU now and then goes wrong here always, as a ``Fault``:

- an index outside its array, a vector or a copy that is not aligned, an address outside the shared memory;
- shared memory read that no one has written, or that another warp wrote, or overwritten that another warp has read,
  without a barrier in between; a copy of ``copy_async`` read before ``copy_wait``, or by another thread before a
  barrier;
- a copy of a box read by a warp that has not waited for its phase, or asked for while a warp may still read what is in
  its place; an mbarrier that nobody will ever leave, or that more arrive at than it takes, or that was not fenced;
- ways of threads of one block that part.

Bank conflicts are no faults.  They are counted, as wavefronts beyond the one that every phase of an access needs.

The layouts of matrix fragments are modelled from the PTX manual (chapters mma.m16n8k8, mma.m16n8k16 and ldmatrix).
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..annotations import Ints
from ..device import TensorMap
from .arrivals import CHUNK, MAX_BARRIERS, ROW, SWIZZLED, Clocks, Mbarrier, box, pixels, swizzled
from .intrinsics import MMA_DEPTH, Instruction

WARP = 32

#: Threads that run in lock step, at most: enough for NumPy, few enough for the caches.
WAVE_THREADS = 1 << 15

#: Shared memory of a wave's blocks, at most.
WAVE_SHARED = 1 << 22

#: Where shared memory begins.  Not at 0, so that an address that forgot ``shared()`` is a fault.
SHARED_BASE = 1024

#: Bytes of all banks of shared memory together: what one wavefront moves.
_BANKS = 128

#: Shared memory is kept and watched in units of the smallest element.
_UNIT = 2
_CHUNK_UNITS = CHUNK // _UNIT


class Fault(Exception):
    """A kernel did what must not be done on a GPU."""


class Divergence(Fault):
    """Threads that run in lock step take different ways."""


class Lanes(np.ndarray):
    """A number for each thread."""

    def _same(self) -> Any:
        first = self.flat[0]
        if (np.asarray(self) != first).any():
            raise Divergence("threads take different ways")
        return first

    def __bool__(self) -> bool:
        return bool(self._same())

    def __index__(self) -> int:
        return int(self._same())

    # A kernel's numbers are values: x += 1 leaves other names of the former x alone.
    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self + other

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self - other

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self * other

    def _check_division(self) -> None:
        if self.dtype.kind == "i" and (np.asarray(self) < 0).any():
            raise Fault("a negative number is divided: division is unsigned")

    def __floordiv__(self, other: Any) -> Any:
        self._check_division()
        return super().__floordiv__(other)

    def __mod__(self, other: Any) -> Any:
        self._check_division()
        return super().__mod__(other)


class Pointer:
    """What a kernel gets for an array: it can only be read and written by instructions."""

    def __init__(self, array: np.ndarray) -> None:
        if not array.flags.c_contiguous:
            raise ValueError("a kernel's array must be contiguous")
        self.values = array.reshape(-1)

    def at(self, index: Any, live: np.ndarray, count: int = 1) -> np.ndarray:
        """Positions of ``count`` elements a thread, for the threads that are ``live``."""
        first = np.asarray(index)[live].astype(np.int64)
        if (first < 0).any() or (first + count > self.values.size).any():
            bad = first[(first < 0) | (first + count > self.values.size)][0]
            raise Fault(f"index {bad} (and {count - 1} more) is outside an array of {self.values.size}")
        if (first % count).any():
            raise Fault(f"index {first[first % count != 0][0]} of a vector of {count} is not aligned")
        return first[:, None] + np.arange(count)


class Map:
    """What a kernel gets for a tensor map: with its operand's numbers."""

    def __init__(self, which: TensorMap, array: np.ndarray) -> None:
        if array.size < math.prod(which.sizes):
            raise Fault(f"a tensor map of {which.sizes} is outside an array of {array.size}")
        self.which, self.values = which, array.reshape(-1)
        self.row_bytes = which.box[0] * array.itemsize


class Registers:
    """Numbers a thread, by position."""

    def __init__(self, count: int, threads: int, dtype: Any) -> None:
        self.values = np.zeros((count, threads), dtype)

    def __getitem__(self, position: Any) -> Lanes:
        return self.values[int(position)].copy().view(Lanes)


def widened(stored: np.ndarray) -> np.ndarray:
    """What memory holds as float32; uint16 is bf16."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32) if stored.dtype == np.float16 else stored


def narrowed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float32 as memory of ``dtype`` holds it, rounded to nearest even; uint16 is bf16."""
    if dtype == np.uint16:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
        return np.where(np.isnan(values), np.uint32(0x7FFF), rounded).astype(np.uint16)
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(dtype)


@dataclass
class Report:
    """What a launch did; ``wavefronts`` and ``phases`` of shared memory by instruction."""

    wavefronts: dict[str, int] = field(default_factory=dict)
    phases: dict[str, int] = field(default_factory=dict)

    @property
    def conflicts(self) -> int:
        """Wavefronts that bank conflicts cost."""
        return sum(self.wavefronts.values()) - sum(self.phases.values())

    def count(self, name: str, addresses: np.ndarray, size: int) -> None:
        """Count an access of ``size`` bytes a thread; a phase is what one wavefront could serve at best."""
        slots = _BANKS // size  # accesses of distinct banks that fit in a wavefront
        places = np.sort(addresses.reshape(-1, min(slots, WARP)) // size, axis=1)
        distinct = np.ones(places.shape, bool)
        distinct[:, 1:] = places[:, 1:] != places[:, :-1]  # threads that read the same word share it
        phase, _ = np.nonzero(distinct)
        counts = np.bincount(phase * slots + places[distinct] % slots, minlength=len(places) * slots)
        self.phases[name] = self.phases.get(name, 0) + len(places)
        waves = int(counts.reshape(len(places), slots).max(1).sum())
        self.wavefronts[name] = self.wavefronts.get(name, 0) + waves


class _SharedMemory:
    """Shared memory of a wave's blocks, and who touched it since the last barrier."""

    def __init__(self, size: int, blocks: int, threads: int) -> None:
        self.size = size
        units = blocks * -(-size // _UNIT)
        everyone = np.arange(blocks * threads)
        self.base = (everyone // threads * -(-size // _UNIT)).astype(np.int64)  # of each thread's block
        self.warp = (everyone // WARP).astype(np.int32)
        self.thread = everyone.astype(np.int32)
        self.values = np.zeros(units, np.uint16)
        self.epoch = 0
        self.written = np.full(units, -1, np.int32)  # epoch
        self.writer = np.zeros(units, np.int32)  # warp, or -1 - thread of an asynchronous copy
        self.was_read = np.full(units, -1, np.int32)
        self.reader = np.zeros(units, np.int32)
        self.in_flight = np.zeros(units, bool)
        # of copies of boxes: the clock that counts them and its time (no clock: another write); when warps last read
        self.clocks = Clocks(threads // WARP)
        self.box_clock, self.box_time = np.full(units, -1, np.int16), np.zeros(units, np.int32)
        self.read_at: np.ndarray | None = None  # (chunks, warps), from the first box on

    def units(self, address: np.ndarray, size: int, threads: slice = slice(None)) -> np.ndarray:
        """Positions of ``size`` bytes a thread, of these threads."""
        first = address.astype(np.int64) - SHARED_BASE
        if (first < 0).any() or (first + size > self.size).any():
            raise Fault(f"an address is outside the {self.size} bytes of shared memory")
        if (first % size).any():
            raise Fault(f"an address of shared memory is not a multiple of {size}")
        return (first // _UNIT + self.base[threads])[:, None] + np.arange(size // _UNIT)

    def check_overwrite(self, units: np.ndarray, live: Any = slice(None)) -> None:
        warp = self.warp[live][:, None]
        if ((self.was_read[units] == self.epoch) & (self.reader[units] != warp)).any():
            raise Fault("shared memory is overwritten that another warp reads: no barrier in between")
        if ((self.written[units] == self.epoch) & (self.writer[units] >= 0) & (self.writer[units] != warp)).any():
            raise Fault("two warps write the same shared memory: no barrier in between")
        if self.in_flight[units].any():
            raise Fault("shared memory is overwritten that an asynchronous copy is on its way to")

    def write(self, address: np.ndarray, data: np.ndarray) -> None:
        """``data`` is (threads, units)."""
        units = self.units(address, data.shape[1] * _UNIT)
        self.check_overwrite(units)
        self.values[units] = data
        self.written[units], self.writer[units] = self.epoch, self.warp[:, None]
        self.box_clock[units] = -1

    def arrive(self, units: np.ndarray, data: np.ndarray) -> None:
        """An asynchronous copy is over: its own thread sees it now, all others after a barrier."""
        self.in_flight[units] = False
        self.values[units] = data
        self.written[units], self.writer[units] = self.epoch, -1 - self.thread[:, None]
        self.box_clock[units] = -1

    def check_box(self, units: np.ndarray, warp: int) -> None:
        """A warp asks for a copy to these units of all blocks."""
        if self.read_at is None:
            self.read_at = np.zeros((-(-len(self.values) // _CHUNK_UNITS), self.clocks.warps), np.int32)
        known = self.clocks.known[warp]
        if self.in_flight[units].any():
            raise Fault("a box is copied to shared memory that a copy is on its way to")
        if (self.read_at[np.unique(units // _CHUNK_UNITS)] > known[: self.clocks.warps]).any():
            raise Fault("a box is copied over what a warp may still read: nobody waited for it")
        # of this epoch, and not by a box
        now = (self.written[units] == self.epoch) & (self.box_clock[units] < 0)
        read_now = (self.was_read[units] == self.epoch) & (self.box_clock[units] < 0)
        if now.any() or read_now.any():
            raise Fault("a box is copied over what threads write or read: no barrier in between")

    def arrive_box(self, units: np.ndarray, data: np.ndarray, clock: int, time: int) -> None:
        self.in_flight[units] = False
        self.values[units] = data
        self.written[units] = 0  # by nobody of this epoch
        self.box_clock[units], self.box_time[units] = clock, time

    def _read_boxes(self, units: np.ndarray) -> None:
        """Check that warps know of the boxes that they read, and note when they did."""
        warp = self.warp % self.clocks.warps
        clock = self.box_clock[units]
        if ((clock >= 0) & (self.box_time[units] > self.clocks.known[warp[:, None], clock])).any():
            raise Fault("a box is read by a warp that has not waited for its phase")
        assert self.read_at is not None
        self.read_at[units[:, ::_CHUNK_UNITS] // _CHUNK_UNITS, warp[:, None]] = self.clocks.now()[warp][:, None]

    def read(self, address: np.ndarray, size: int, collective: bool = False) -> np.ndarray:
        """Units (threads, size / 2); ``collective``: a warp's lanes read for each other (ldmatrix)."""
        units = self.units(address, size)
        if self.in_flight[units].any():
            raise Fault("shared memory is read before copy_wait: an asynchronous copy is on its way to it")
        if (self.written[units] < 0).any():
            raise Fault("shared memory is read that nobody has written")
        now, writer = self.written[units] == self.epoch, self.writer[units]
        own = -1 - self.thread[:, None]
        foreign = np.where(writer < 0, (writer != own) | collective, writer != self.warp[:, None])
        if (now & foreign).any():
            raise Fault("shared memory is read that another thread wrote: no barrier in between")
        if self.read_at is not None:
            self._read_boxes(units)
        self.was_read[units], self.reader[units] = self.epoch, self.warp[:, None]
        return self.values[units]


class Machine:
    """Runs a wave: some blocks of a grid in lock step.  Methods are the instructions of ``intrinsics.py``."""

    def __init__(
        self, grid: tuple[int, int, int], block: int, blocks: np.ndarray, shared: int, report: Report
    ) -> None:
        if block % WARP:
            raise ValueError(f"a block has whole warps of {WARP} threads, not {block} threads")
        self.total = block * len(blocks)
        self.grid, self.block = grid, block
        self.report = report
        self.memory = _SharedMemory(shared, len(blocks), block)
        index = np.repeat(blocks, block)
        self._place = tuple(
            self._lanes(v.astype(np.int32))
            for v in (index % grid[0], index // grid[0] % grid[1], index // (grid[0] * grid[1]))
        )
        self._group: list[tuple[np.ndarray, np.ndarray]] = []  # copies since the last commit
        self._groups: list[list[tuple[np.ndarray, np.ndarray]]] = []
        self._unfenced = False  # copies have arrived since the last proxy_fence
        self._mbarriers: dict[int, Mbarrier] = {}
        self._unfenced_mbarriers = False
        self._acquired: set[int] = set()  # tensor maps

    @staticmethod
    def _lanes(values: Any) -> Lanes:
        return np.asarray(values).view(Lanes)

    def _each(self, value: Any) -> np.ndarray:
        """A value for each thread, as a plain array."""
        return np.broadcast_to(np.asarray(value), (self.total,))

    def _numbers(self, value: Any) -> np.ndarray:
        """A number for each thread, where the instruction takes no integers."""
        numbers = self._each(value)
        if numbers.dtype.kind != "f":
            raise Fault("an integer is given to an instruction that takes float32")
        return numbers.astype(np.float32)

    # -------------------------------------------------------------------------------- numbers

    def i32(self, x: Any) -> Any:
        return self._lanes(x.astype(np.int32)) if isinstance(x, np.ndarray) else np.int32(x)

    def f32(self, x: Any) -> Any:
        return self._lanes(x.astype(np.float32)) if isinstance(x, np.ndarray) else np.float32(x)

    def i64(self, x: Any) -> Any:
        return self._lanes(self._each(x).astype(np.int64))

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        values = np.where(condition, a, b)
        return self._lanes(values.astype(np.float32 if values.dtype.kind == "f" else np.int32))

    def minimum(self, a: Any, b: Any) -> Any:
        return self.where(np.asarray(a) < np.asarray(b), a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return self.where(np.asarray(a) > np.asarray(b), a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self._lanes((np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32))

    def high_product(self, a: Any, b: Any) -> Any:
        wide = [np.asarray(v).astype(np.uint32).astype(np.uint64) for v in (a, b)]
        return self._lanes(((wide[0] * wide[1]) >> np.uint64(32)).astype(np.int32))

    # -------------------------------------------------------------------------------- threads

    def thread(self) -> Lanes:
        return self._lanes(np.arange(self.total, dtype=np.int32) % self.block)

    def block_x(self) -> Lanes:
        return self._place[0]

    def block_y(self) -> Lanes:
        return self._place[1]

    def block_z(self) -> Lanes:
        return self._place[2]

    def barrier(self) -> None:
        self.memory.epoch += 1
        self.memory.clocks.meet()

    def shuffle_xor(self, x: Any, mask: Any) -> Lanes:
        return self._lanes(self._numbers(x).reshape(-1, WARP)[:, np.arange(WARP) ^ int(mask)].reshape(-1))

    # -------------------------------------------------------------------------------- registers

    def registers(self, count: int) -> Registers:
        return Registers(count, self.total, np.float32)

    def words(self, count: int) -> Registers:
        return Registers(count, self.total, np.uint32)

    def integers(self, count: int) -> Registers:
        return Registers(count, self.total, np.int32)

    def put(self, array: Registers, position: Any, value: Any) -> None:
        values = value if isinstance(value, tuple) else (value,)
        for offset, v in enumerate(values):
            array.values[int(position) + offset] = v

    def take(self, array: Registers, position: Any) -> Lanes:
        return array[position]

    # -------------------------------------------------------------------------------- memory

    def read(self, pointer: Pointer, index: Any) -> Lanes:
        return self.read_if(True, pointer, index)

    def read_wide(self, pointer: Pointer, index: Any) -> Lanes:
        live = self._each(True)
        return self._lanes(pointer.values[pointer.at(self._each(index), live)][:, 0])

    def read_if(self, condition: Any, pointer: Pointer, index: Any) -> Lanes:
        return self.read_vector_if(condition, pointer, index, 1, numbers=False)[0]

    def read_vector(self, pointer: Pointer, index: Any, count: int) -> tuple[Lanes, ...]:
        return self.read_vector_if(True, pointer, index, count)

    def read_vector_if(
        self, condition: Any, pointer: Pointer, index: Any, count: int, numbers: bool = True
    ) -> tuple[Lanes, ...]:
        live = self._each(condition)
        stored = widened(pointer.values[pointer.at(self._each(index), live, count)])
        found = np.zeros((count, self.total), np.float32 if stored.dtype.kind == "f" else np.int32)
        found[:, live] = stored.T
        return tuple(self._lanes(row) for row in found)

    def write_if(self, condition: Any, pointer: Pointer, index: Any, value: Any) -> None:
        values = value if isinstance(value, tuple) else (value,)
        live = self._each(condition)
        places = pointer.at(self._each(index), live, len(values))
        data = np.stack([self._each(v)[live] for v in values], axis=1)
        dtype = pointer.values.dtype
        pointer.values[places] = narrowed(data, dtype) if data.dtype.kind == "f" else data.astype(dtype)

    def write_vector_if(self, condition: Any, pointer: Pointer, index: Any, array: Registers, count: int) -> None:
        self.write_if(condition, pointer, index, tuple(array[i] for i in range(count)))

    # -------------------------------------------------------------------------------- shared memory

    def shared(self) -> Any:
        return np.int32(SHARED_BASE)

    def _load(self, name: str, address: Any, size: int) -> np.ndarray:
        place = self._each(address)
        self.report.count(name, place, size)
        return np.ascontiguousarray(self.memory.read(place, size))

    def read_shared(self, address: Any) -> Lanes:
        return self._lanes(self._load("read_shared", address, 4).view(np.float32)[:, 0])

    def read_shared_word(self, address: Any) -> Lanes:
        return self._lanes(self._load("read_shared_word", address, 4).view(np.uint32)[:, 0])

    def read_shared4(self, address: Any) -> tuple[Lanes, ...]:
        return tuple(self._lanes(v) for v in self._load("read_shared4", address, 16).view(np.float32).T.copy())

    def _store(self, name: str, address: Any, *values: Any) -> None:
        place = self._each(address)
        self.report.count(name, place, 4 * len(values))
        data = np.stack([self._numbers(v) for v in values], axis=1)
        self.memory.write(place, data.view(np.uint16))

    def write_shared(self, address: Any, x: Any) -> None:
        self._store("write_shared", address, x)

    def write_shared2(self, address: Any, x: Any, y: Any) -> None:
        self._store("write_shared2", address, x, y)

    def write_shared4(self, address: Any, *values: Any) -> None:
        self._store("write_shared4", address, *values)

    def _fetch(self, condition: Any, pointer: Pointer, index: Any, size: int) -> np.ndarray:
        """``size`` bytes a thread as units, zeros where the condition does not hold."""
        live = self._each(condition)
        count = size // pointer.values.itemsize
        data = np.zeros((self.total, size), np.uint8)
        stored = np.ascontiguousarray(pointer.values[pointer.at(self._each(index), live, count)])
        data[live] = stored.view(np.uint8).reshape(-1, size)
        return data.view(np.uint16)

    def copy_element(self, address: Any, condition: Any, pointer: Pointer, index: Any) -> None:
        self.memory.write(self._each(address), self._fetch(condition, pointer, index, pointer.values.itemsize))

    def copy_async(self, address: Any, condition: Any, pointer: Pointer, index: Any, size: int) -> None:
        place = self._each(address)
        self.report.count("copy_async", place, size)
        units = self.memory.units(place, size)
        self.memory.check_overwrite(units)
        self.memory.in_flight[units] = True
        self._group.append((units, self._fetch(condition, pointer, index, size)))

    def copy_commit(self) -> None:
        self._groups.append(self._group)
        self._group = []

    def copy_wait(self, count: int) -> None:
        while len(self._groups) > count:
            self._unfenced = True
            for units, data in self._groups.pop(0):
                self.memory.arrive(units, data)

    # -------------------------------------------------------------------------------- copies of boxes

    def _live(self, condition: Any) -> np.ndarray:
        """The threads of a block for which a condition holds, the same in all blocks."""
        live = self._each(condition).reshape(-1, self.block)
        if (live != live[0]).any():
            raise Divergence("blocks take different ways")
        return np.flatnonzero(live[0])

    def _mbarrier(self, address: Any) -> Mbarrier:
        found = self._mbarriers.get(int(address))
        if found is None:
            raise Fault("there is no mbarrier at this address")
        if found.made_at == self.memory.epoch:
            raise Fault("an mbarrier is used that another thread has made: no barrier in between")
        if self._unfenced_mbarriers:
            raise Fault("an mbarrier is used that was made without mbarrier_fence behind it")
        return found

    def mbarrier_init_if(self, condition: Any, address: Any, count: Any) -> None:
        live, place, clocks = self._live(condition), int(address), self.memory.clocks
        if len(live) != 1:
            raise Fault(f"an mbarrier is made by {len(live)} threads")
        units = self.memory.units(self._each(address), 8)
        if place in self._mbarriers or len(self._mbarriers) == MAX_BARRIERS:
            raise Fault("there is an mbarrier at this address already, or there are too many")
        self.memory.in_flight[units] = True  # nobody reads or writes it but by its own instructions
        clock = clocks.warps + len(self._mbarriers)
        self._mbarriers[place] = Mbarrier(int(count), clock, self.memory.epoch, clocks.known.shape[1])
        self._unfenced_mbarriers = True

    def mbarrier_fence(self) -> None:
        self._unfenced_mbarriers = False

    def mbarrier_arrive_if(self, condition: Any, address: Any) -> None:
        self.mbarrier_expect_if(condition, address, 0)

    def mbarrier_expect_if(self, condition: Any, address: Any, size: Any) -> None:
        live = self._live(condition)
        if not len(live):
            return
        barrier = self._mbarrier(address)
        if len(live) > barrier.missing:
            raise Fault("more threads arrive at an mbarrier than a phase takes")
        barrier.missing -= len(live)
        barrier.bytes += int(size) * len(live)
        barrier.told = np.maximum(barrier.told, self.memory.clocks.tell(np.unique(live // WARP)))
        barrier.end_phase()

    def mbarrier_wait_if(self, condition: Any, address: Any, parity: Any) -> None:
        live = self._live(condition)
        if not len(live):
            return
        barrier, wanted = self._mbarrier(address), int(parity)
        if barrier.phase % 2 == wanted:  # the phase goes on: its copies arrive
            for number, (units, data, size) in enumerate(barrier.on_their_way):
                time = barrier.copied - len(barrier.on_their_way) + number + 1
                self.memory.arrive_box(units, data, barrier.copies_clock, time)
                barrier.bytes -= size
            barrier.on_their_way.clear()
            barrier.told[barrier.copies_clock] = barrier.copied
            barrier.end_phase()
        if barrier.phase % 2 == wanted:
            missing = f"{barrier.missing} arrivals and {barrier.bytes} bytes are missing"
            raise Fault(f"an mbarrier is waited for that nobody will ever leave: {missing}")
        self.memory.clocks.learn(np.unique(live // WARP), barrier.known)

    def map_acquire_if(self, condition: Any, which: Map) -> None:
        if len(self._live(condition)):
            self._acquired.add(id(which))

    def copy_box_if(self, condition: Any, address: Any, which: Map, mbarrier: Any, *corner: Any) -> None:
        self._copy_rows(condition, address, which, mbarrier, corner, lambda at: box(which.which, which.values, at))

    def copy_pixels_if(self, condition: Any, address: Any, which: Map, mbarrier: Any, *first: Any) -> None:
        def rows(at: list[np.ndarray]) -> np.ndarray:
            found = pixels(which.which, which.values, at[:4], at[4:])
            if found is None:
                raise Fault("a copy of pixels begins at a place that is none of the map's")
            return found

        self._copy_rows(condition, address, which, mbarrier, first, rows)

    def _copy_rows(
        self, condition: Any, address: Any, which: Map, mbarrier: Any, at: Sequence[Any], rows: Callable[..., Any]
    ) -> None:
        live = self._live(condition)
        if not len(live):
            return
        if len(live) > 1:
            raise Fault(f"{len(live)} threads ask for the copy of a box")
        if id(which) not in self._acquired:
            raise Fault("a tensor map is used without map_acquire_if")
        if which.row_bytes != ROW or int(address) % SWIZZLED:
            raise Fault(f"a box has no rows of {ROW} bytes, or its address is no multiple of {SWIZZLED}")
        threads = slice(live[0], None, self.block)
        data = swizzled(rows([self._each(v)[threads].astype(np.int64) for v in at]))
        barrier, size = self._mbarrier(mbarrier), data.shape[1] * _UNIT
        first = self.memory.units(self._each(address)[threads], _UNIT, threads)
        self.memory.units(self._each(address)[threads] + (size - _UNIT), _UNIT, threads)
        units = first + np.arange(data.shape[1])
        self.memory.check_box(units, live[0] // WARP)
        self.memory.in_flight[units] = True
        barrier.copied += 1
        barrier.on_their_way.append((units, data, size))

    # -------------------------------------------------------------------------------- matrix products

    def _matrices(self, name: str, address: Any) -> np.ndarray:
        """Four matrices of a warp: (warps, 4, 8 rows, 8 elements)."""
        place = self._each(address)
        self.report.count(name, place, 16)
        return self.memory.read(place, 16, collective=True).reshape(-1, 4, 8, 8)

    def _fragments(self, matrices: np.ndarray) -> tuple[Lanes, ...]:
        pairs = np.ascontiguousarray(matrices).view(np.uint32)  # warps, 4, row, pair: lane = 4 row + pair
        return tuple(self._lanes(pairs[:, i].reshape(-1)) for i in range(4))

    def ldmatrix(self, address: Any) -> tuple[Lanes, ...]:
        return self._fragments(self._matrices("ldmatrix", address))

    def ldmatrix_transposed(self, address: Any) -> tuple[Lanes, ...]:
        return self._fragments(self._matrices("ldmatrix_transposed", address).swapaxes(2, 3))

    def mma_tile(self, sums: Registers, a: Registers, b: Registers, rows: int, columns: int, kind: str) -> None:
        warps, depth = self.total // WARP, MMA_DEPTH[kind]

        def operand(words: np.ndarray, tall: int) -> np.ndarray:
            """Words (tiles, tall * 2 halves, lanes) as matrices (warps, tiles * tall * 8, depth)."""
            # lane = 4 row + t holds elements of columns t ...; words count rows first, then halves of the depth
            numbers = _operands(words, kind).reshape(-1, 2, tall, warps, 8, 4 * depth // 8)
            return numbers.transpose(3, 0, 2, 4, 1, 5).reshape(warps, -1, depth)

        left = operand(a.values[: 4 * rows], 2)
        right = operand(b.values[: 2 * columns], 1)
        product = np.matmul(left, right.swapaxes(1, 2))  # warps, 16 rows, 8 columns
        lanes = product.reshape(warps, rows, 2, 8, columns, 4, 2).transpose(1, 4, 2, 6, 0, 3, 5)
        sums.values[: 4 * rows * columns] += lanes.reshape(4 * rows * columns, self.total)

    def proxy_fence(self) -> None:
        self._unfenced = False

    def wgmma_tile(self, sums: Registers, left: Any, right: Any, columns: int, kind: str) -> None:
        if self._unfenced:
            raise Fault("wgmma reads what copies have brought: no proxy_fence after copy_wait")
        lane, warp = self.memory.thread % WARP, self.memory.warp % 4

        def rows_of_chunks(base: Any, first: Any, count: int) -> np.ndarray:
            """128 bytes of each of so many rows from ``first`` on, as 2-byte units: (warps, rows, units)."""
            place = self._each(base)
            if (place % 1024).any():
                raise Fault("a matrix of wgmma is not aligned to 1024 bytes")
            read = []
            for i in range(0, count, WARP // 8):  # a warp's lanes read 4 rows of 8 chunks
                row, chunk = first + i + lane // 8, lane % 8
                read.append(self.memory.read(place + row * 128 + (chunk ^ (row & 7)) * 16, 16, collective=True))
            return np.stack(read).reshape(len(read), -1, 4, 64).swapaxes(0, 1).reshape(-1, count, 64)

        def numbers(units: np.ndarray) -> np.ndarray:
            words = np.ascontiguousarray(units).view(np.uint32)
            return _operands(words, kind, rounded=False).reshape(*units.shape[:2], -1)

        a = numbers(rows_of_chunks(left, 16 * warp, 16))
        b = numbers(rows_of_chunks(right, 0 * warp, columns))
        product = np.matmul(a, b.swapaxes(1, 2)).reshape(-1, 2, 8, columns // 8, 4, 2)
        sums.values[: columns // 2] += product.transpose(3, 1, 5, 0, 2, 4).reshape(columns // 2, self.total)

    def fma_tile(self, sums: Registers, a: Registers, b: Registers, rows: int, columns: int, depth: int) -> None:
        tile = sums.values[: rows * columns].reshape(rows, columns, self.total)
        left = a.values[: depth * rows].reshape(depth, rows, self.total)
        right = b.values[: depth * columns].reshape(depth, columns, self.total)
        for k in range(depth):
            tile += left[k, :, None] * right[k, None]


def _operands(words: np.ndarray, kind: str, rounded: bool = True) -> np.ndarray:
    """Words (n, lanes) as the numbers that the tensor cores read: (n, lanes, numbers a word)."""
    if kind == "tf32":
        finite = (words & np.uint32(0x7F800000)) != np.uint32(0x7F800000)
        return ((words + np.uint32(1 << 12) * (finite & rounded)) & np.uint32(0xFFFFE000)).view(np.float32)[..., None]
    halves = np.ascontiguousarray(words).view(np.uint16 if kind == "bf16" else np.float16)
    return widened(halves).reshape(*words.shape, 2)


# ------------------------------------------------------------------------------------------------ launching


def _as_passed(kernel: Callable[..., None], words: Sequence[Any]) -> list[Any]:
    """A launch's arguments as the kernel takes them: pointers, maps, 32-bit numbers, and tuples of these (``Ints``)."""
    kinds = [parameter.annotation for parameter in inspect.signature(kernel).parameters.values()]
    takes = sum(kind.count if isinstance(kind, Ints) else 1 for kind in kinds)
    if takes != len(words):
        raise TypeError(f"{kernel.__qualname__} takes {takes} arguments, not {len(words)}")
    rest = iter(words)

    def passed(kind: Any) -> Any:
        if isinstance(kind, Ints):
            return tuple(np.int32(next(rest)) for _ in range(kind.count))
        word = next(rest)
        if isinstance(word, np.ndarray):
            return Pointer(word)
        if isinstance(word, TensorMap):
            return Map(word, words[word.operand])
        is_integer = isinstance(word, (int, np.integer))
        if kind is (float if is_integer else int):  # on a GPU the bits of one would be read as the other
            raise TypeError(f"{kernel.__qualname__}: {word!r} is passed for {kind.__name__}")
        return np.int32(word) if is_integer else np.float32(word)

    return [passed(kind) for kind in kinds]


def launch(
    kernel: Callable[..., None],
    grid: tuple[int, int, int],
    block: int,
    shared: int,
    arguments: Sequence[Any],
) -> Report:
    """Run a kernel's Python function for every block of ``grid``, ``block`` threads each.

    Arrays are passed as pointers, with bounds; tensor maps with their operands; integers and floats as 32-bit numbers.
    ``shared`` counts bytes.
    """
    report = Report()
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    values = _as_passed(kernel, arguments)
    blocks = np.arange(math.prod(grid))
    wave = max(1, min(WAVE_THREADS // block, WAVE_SHARED // max(shared, 1)))

    def run(some: np.ndarray) -> None:
        Instruction.machine = Machine(grid, block, some, shared, report)
        try:
            kernel(*values)
        finally:
            Instruction.machine = None

    for first in range(0, len(blocks), wave):
        some = blocks[first : first + wave]
        if len(some) == 1:
            run(some)
            continue
        before, report_before = [a.copy() for a in arrays], (dict(report.wavefronts), dict(report.phases))
        try:
            run(some)
        except Divergence:  # of blocks, perhaps: one by one, from where the wave began
            for array, old in zip(arrays, before, strict=True):
                array[...] = old
            report.wavefronts, report.phases = report_before
            for i in range(len(some)):
                run(some[i : i + 1])
    return report
