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
from multiprocessing import connection, get_context, parent_process
from multiprocessing.pool import (  # type: ignore[attr-defined]
    ExceptionWithTraceback,
)
from types import TracebackType
from typing import (
    Any,
    Callable,
    Dict,
    Generic,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

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
    """What became of an item.

    Args:
        item (Any): The item.
        value (Any): The result; None if there is an error.
        error (Exception, optional): The error.
    """

    item: Any
    value: Any
    error: Optional[Exception]

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

    Example:
        >>> with Workers(count_frames, time_limit=60) as count:
        ...     count('clip.mp4')
    """

    def __init__(
        self,
        function: Callable[[Item], Value],
        number: int = 1,
        time_limit: Optional[float] = None,
        name: Callable[[Item], str] = str,
    ) -> None:
        self._function = function
        self._time_limit = time_limit
        self._name = name
        self._idle: List[_Worker] = []
        self._number = number

    def __enter__(self) -> 'Workers':
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
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
        busy: Dict[int, _Worker] = {}
        done: Dict[int, Outcome] = {}
        following = 0
        try:
            while True:
                while len(busy) < self._number:
                    following_item = next(queue, None)
                    if following_item is None:
                        break
                    index, item = following_item
                    busy[index] = self._start(item)
                while following in done:
                    yield done.pop(following)
                    following += 1
                if not busy:
                    return
                for index in self._wait(busy):
                    worker = busy.pop(index)
                    done[index] = worker.finish(self._name)
                    if worker.is_alive:
                        self._idle.append(worker)
        finally:
            for worker in busy.values():
                worker.kill()

    def close(self) -> None:
        """End all processes."""
        while self._idle:
            self._idle.pop().kill()

    def _start(self, item: Item) -> '_Worker':
        """Give an item to an idle process or a new one."""
        worker = self._idle.pop() if self._idle else _Worker(self._function)
        worker.start(item, self._time_limit)
        return worker

    def _wait(self, busy: Dict[int, '_Worker']) -> List[int]:
        """Wait until processes answer, die or exceed the time limit."""
        first = min(worker.deadline for worker in busy.values())
        timeout = max(0.0, first - time.monotonic())
        ready = connection.wait(
            [worker.link.pipe for worker in busy.values()],
            None if timeout == float('inf') else timeout,
        )
        now = time.monotonic()
        return [
            index
            for index, worker in busy.items()
            if worker.link.pipe in ready or worker.deadline <= now
        ]


class _Worker:
    """A process and the item that it works on."""

    def __init__(self, function: Callable) -> None:
        memory = np.frombuffer(mmap.mmap(-1, _SHARED), np.uint8)
        outer, inner = _FORK.Pipe()
        self.link = _Link(outer, memory)
        self.process = _FORK.Process(
            target=_work, args=(function, _Link(inner, memory)), daemon=True
        )
        self.process.start()
        inner.close()
        self.item: Any = None
        self.deadline = float('inf')
        self.limit: Optional[float] = None
        self.is_alive = True

    def start(self, item: object, limit: Optional[float]) -> None:
        self.item, self.limit = item, limit
        if limit is not None:
            self.deadline = time.monotonic() + limit
        self.link.send(item)

    def finish(self, name: Callable) -> Outcome:
        """Return the answer to the item, or the reason why there is none."""
        error: Exception
        try:
            if self.link.pipe.poll():
                value, error, notes = self.link.receive()
                for note in notes:
                    warnings.warn(note, stacklevel=2)
                return Outcome(self.item, value, error)
            assert self.limit is not None
            error = too_slow(name(self.item), self.limit)
            self.kill()
        except (EOFError, OSError):
            self.process.join(5)  # has closed its pipe, and is ending
            self.kill()
            code = self.process.exitcode or 0
            error = stopped_decoder(name(self.item), code)
        return Outcome(self.item, None, error)

    def kill(self) -> None:
        self.is_alive = False
        self.process.kill()
        self.process.join()
        self.link.pipe.close()


def _work(function: Callable, link: '_Link') -> None:
    """Answer items until the parent ends."""
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
        try:
            link.send(attempt(function, item))
        except BrokenPipeError:  # the parent has ended
            return


def attempt(
    function: Callable[[Item], Value], item: Item
) -> Tuple[Optional[Value], Optional[Exception], List[str]]:
    """Call a function, for a caller in another process.

    Args:
        function (Callable): The function.
        item (Any): Its argument.

    Returns:
        tuple: The value, or None; the error, or None, which is pickled with
        the text of its traceback; and the messages of its warnings.
    """
    value, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', UserWarning)
        try:
            value = function(item)
        except Exception as raised:
            error = ExceptionWithTraceback(raised, raised.__traceback__)
    notes = [str(w.message) for w in caught if w.category is UserWarning]
    return value, error, notes


class _Pickler(pickle.Pickler):
    """Pickler of tensors as arrays, whose memory passes apart from it."""

    dispatch_table = copyreg.dispatch_table.copy()
    dispatch_table[torch.Tensor] = lambda x: (torch.from_numpy, (x.numpy(),))


class _Link:
    """End of a connection that passes arrays in shared memory.

    Each end waits for an answer before it sends again.

    Args:
        pipe (Connection): Passes everything else.
        memory (np.ndarray): Bytes that both processes share. Arrays for which
            it has no room pass through the pipe.
    """

    def __init__(
        self, pipe: connection.Connection, memory: np.ndarray
    ) -> None:
        self.pipe = pipe
        self._memory = memory

    def send(self, value: object) -> None:
        """Send a value."""
        text, sizes = io.BytesIO(), []
        free = self._memory

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
        ends = np.cumsum(sizes, dtype=int)
        arrays = [
            self._memory[end - size : end].copy()
            for size, end in zip(sizes, ends)
        ]
        return pickle.loads(text, buffers=arrays)
