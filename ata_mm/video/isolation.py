# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Worker processes whose death costs one file.

A decoder can crash on a damaged file, or never return. Neither must end a run
over many files.
"""

import copyreg
import io
import mmap
import pickle
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count, cycle
from multiprocessing import connection, get_context, parent_process
from multiprocessing.pool import (  # type: ignore[attr-defined]
    ExceptionWithTraceback,
)
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import torch

from .reader import stopped_decoder, too_slow

Item = TypeVar('Item')
Value = TypeVar('Value')

_FORK = get_context('fork')  # inherits the function, and needs no imports

# Bytes that a process and its parent share. Takes memory where it was used,
# and none of /dev/shm, which may be small.
_SHARED = 2**26


class Outcome(NamedTuple):
    """Result of an item.

    Args:
        item (Any): The item.
        value (Any): The result; None if there is an error.
        error (Exception, optional): The error.
    """

    item: Any
    value: Any
    error: Exception | None

    def get(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class Workers(Generic[Item, Value]):
    """Processes that call a function on one item after another.

    If a process dies or exceeds the time limit, its item gets a
    :class:`VideoError`, and another process takes its place. Exceptions and
    warnings of the function reach the caller. A context manager; processes
    start with the first item.

    Args:
        function (Callable): Called in the processes. The current state of
            this process is inherited, items and results are pickled.
        number (int): Number of processes. Defaults to 1.
        time_limit (float, optional): Seconds for one item. Defaults to None,
            no limit.
        name (Callable): Returns the file of an item, for messages. Defaults
            to ``str``.
        ahead (int): Items that a process works on, one after the other, while
            the caller does something else. Their results wait in memory.
            Defaults to 1.

    Raises:
        ValueError: If ``number`` or ``ahead`` is below 1.

    Example:
        >>> with Workers(count_frames, time_limit=60) as count:
        ...     count('clip.mp4')
    """

    def __init__(
        self,
        function: Callable[[Item], Value],
        number: int = 1,
        time_limit: float | None = None,
        name: Callable[[Item], str] = str,
        ahead: int = 1,
    ) -> None:
        if number < 1 or ahead < 1:
            raise ValueError(
                'Expected number and ahead of at least 1 process and item, '
                f'got {number} and {ahead}.'
            )
        self._function = function
        self._time_limit = time_limit
        self._name = name
        self._idle: list[_Worker] = []
        self._number = number
        self._ahead = ahead

    def __enter__(self) -> 'Workers':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, item: Item) -> Value:
        """Call the function on an item.

        Raises:
            VideoError: If the process died or exceeded the time limit.
            Exception: What the function raises.
        """
        return next(self.imap([item])).get()

    def imap(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Call the function on all items, in parallel to the caller.

        Args:
            items (Iterable): The items.

        Yields:
            Outcome: In the order of the items.
        """
        queue = enumerate(items)
        busy: list[_Worker] = []
        done: dict[int, Outcome] = {}
        try:
            for following in count():
                self._fill(busy, queue, len(done))
                while following not in done:
                    if not busy:
                        return
                    self._collect(busy, done, wait=True)
                    self._fill(busy, queue, len(done))
                yield done.pop(following)
                self._collect(busy, done, wait=False)
        finally:
            for worker in busy:
                worker.kill()

    def close(self) -> None:
        """End all processes."""
        while self._idle:
            self._idle.pop().kill()

    def _fill(
        self,
        busy: list['_Worker'],
        queue: Iterator[tuple[int, Item]],
        waiting: int,
    ) -> None:
        """Give items to processes.

        Args:
            busy (list[_Worker]): The processes that work.
            queue (Iterator): The items that follow, with their numbers.
            waiting (int): Number of results that wait for an earlier one.
        """
        most = self._number * self._ahead
        while waiting <= most and sum(map(len, busy)) < most:
            following = next(queue, None)
            if following is None:
                return
            if len(busy) < self._number:
                busy.append(self._idle.pop() if self._idle else self._new())
                worker = busy[-1]
            else:
                worker = min(busy, key=len)
            worker.start(*following)

    def _new(self) -> '_Worker':
        return _Worker(self._function, self._time_limit, self._ahead)

    def _collect(
        self, busy: list['_Worker'], done: dict[int, Outcome], wait: bool
    ) -> None:
        """Take results of processes that answer, die or are too slow."""
        timeout = 0.0
        if wait:
            first = min(worker.deadline for worker in busy)
            timeout = max(0.0, first - time.monotonic())
        ready = connection.wait(
            [worker.link.pipe for worker in busy],
            None if timeout == float('inf') else timeout,
        )
        now = time.monotonic()
        for worker in list(busy):
            if worker.link.pipe not in ready and worker.deadline > now:
                continue
            number, outcome = worker.finish(self._name)
            done[number] = outcome
            if not worker.is_alive:
                busy.remove(worker)
                if len(worker):
                    busy.append(self._new())
                    busy[-1].take_over(worker)
            elif not len(worker):
                busy.remove(worker)
                self._idle.append(worker)


class _Worker:
    """A process, and the items that it works on one after the other.

    Args:
        function (Callable): Called on the items.
        limit (float | None): Seconds for one item.
        most (int): Number of items that it can be given at a time.
    """

    def __init__(
        self, function: Callable, limit: float | None, most: int
    ) -> None:
        slots = [
            np.frombuffer(mmap.mmap(-1, _SHARED), np.uint8)
            for _ in range(most)
        ]
        self._begun = np.frombuffer(mmap.mmap(-1, 8), float)
        outer, inner = _FORK.Pipe()
        self.link = _Link(outer, slots)
        self.process = _FORK.Process(
            target=_work,
            args=(function, _Link(inner, slots), self._begun),
            daemon=True,
        )
        self.process.start()
        inner.close()
        self._items: deque[tuple[int, Any]] = deque()
        self._limit = limit
        self._asked = 0.0  # the first of the items, at the earliest
        self.is_alive = True

    def __len__(self) -> int:
        """Return the number of items without a result."""
        return len(self._items)

    @property
    def deadline(self) -> float:
        """When the time for the item that it works on is over."""
        if self._limit is None:
            return float('inf')
        return max(self._asked, self._begun.item()) + self._limit

    def start(self, number: int, item: object) -> None:
        """Give it a numbered item, after those that it has."""
        if not self._items:
            self._asked = time.monotonic()
        self._items.append((number, item))
        with suppress(OSError):  # it has ended: the result says so
            self.link.send(item)

    def take_over(self, dead: '_Worker') -> None:
        """Give it the items of another process."""
        for number, item in dead._items:
            self.start(number, item)

    def finish(self, name: Callable) -> tuple[int, Outcome]:
        """Return the result of its first item, or why there is none."""
        number, item = self._items.popleft()
        self._asked = time.monotonic()
        error: Exception
        try:
            if self.link.pipe.poll():
                value, error, notes = self.link.receive()
                for note in notes:
                    warnings.warn(note, stacklevel=2)
                return number, Outcome(item, value, error)
            assert self._limit is not None
            error = too_slow(name(item), self._limit)
            self.kill()
        except (EOFError, OSError):
            self.process.join(5)  # has closed its pipe, and is ending
            self.kill()
            code = self.process.exitcode or 0
            error = stopped_decoder(name(item), code)
        return number, Outcome(item, None, error)

    def kill(self) -> None:
        self.is_alive = False
        self.process.kill()
        self.process.join()
        self.link.pipe.close()


def _work(function: Callable, link: '_Link', begun: np.ndarray) -> None:
    """Answer items until the parent ends.

    Args:
        function (Callable): Called on the items.
        link (_Link): The end of this process.
        begun (np.ndarray): Gets the time at which an item is begun, (1,).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(1)  # threads of the parent are not inherited
    cv2.setNumThreads(0)
    parent = parent_process()
    assert parent is not None
    while link.pipe in connection.wait([link.pipe, parent.sentinel]):
        try:
            item = link.receive()
        except (EOFError, OSError):
            return
        begun[0] = time.monotonic()
        try:
            link.send(_attempt(function, item))
        except BrokenPipeError:  # the parent has ended
            return


def _attempt(
    function: Callable[[Item], Value], item: Item
) -> tuple[Value | None, Exception | None, list[str]]:
    """Return the value of a function or its error, and its warnings."""
    value, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', UserWarning)
        try:
            value = function(item)
        except Exception as raised:
            error = ExceptionWithTraceback(
                _picklable(raised), raised.__traceback__
            )
    notes = [str(w.message) for w in caught if w.category is UserWarning]
    return value, error, notes


def _picklable(error: Exception) -> Exception:
    """Return an error that another process can read, the same if it can."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its constructor has other arguments, or holds a lock
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error


def _reduce_tensor(x: torch.Tensor) -> tuple[Callable, tuple]:
    """Pickle a tensor as an array with its dimensions as memory has them.

    Views of a clip are frames of (H, W, 3) with permuted dimensions. Numpy
    would copy them element by element.
    """
    strides = x.stride()
    order = sorted(range(x.dim()), key=lambda i: -strides[i])
    return _rebuild_tensor, (x.permute(order).numpy(), order)


def _rebuild_tensor(array: np.ndarray, order: list[int]) -> torch.Tensor:
    return torch.from_numpy(array).permute(np.argsort(order).tolist())


class _Pickler(pickle.Pickler):
    """Pickler of tensors as arrays, whose memory passes apart from it."""

    dispatch_table = copyreg.dispatch_table.copy()
    dispatch_table[torch.Tensor] = _reduce_tensor


class _Link:
    """End of a connection that passes arrays in shared memory.

    One end sends as many items as there are slots; the other answers them one
    by one, in order. An item and its answer are in the same slot.

    Args:
        pipe (Connection): Passes everything else.
        slots (list[np.ndarray]): Bytes that both processes share. Arrays for
            which a slot has no room pass through the pipe.
    """

    def __init__(
        self, pipe: connection.Connection, slots: list[np.ndarray]
    ) -> None:
        self.pipe = pipe
        self._outgoing, self._incoming = cycle(slots), cycle(slots)

    def send(self, value: object) -> None:
        """Send a value."""
        text, sizes = io.BytesIO(), []
        free = next(self._outgoing)

        def share(array: pickle.PickleBuffer) -> bool:
            """Copy an array, or return True for it to be pickled."""
            nonlocal free
            size = array.raw().nbytes
            if size > len(free):
                return True
            free[:size] = array.raw()
            free = free[size:]
            sizes.append(size)
            return False

        _Pickler(text, 5, buffer_callback=share).dump(value)
        self.pipe.send((text.getvalue(), sizes))

    def receive(self) -> Any:
        """Receive a value.

        Raises:
            EOFError, OSError: If the other process has ended.
        """
        text, sizes = self.pipe.recv()
        memory = next(self._incoming)
        ends = np.cumsum(sizes, dtype=int)
        arrays = [
            memory[end - size : end].copy() for size, end in zip(sizes, ends)
        ]
        return pickle.loads(text, buffers=arrays)
