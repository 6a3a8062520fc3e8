"""Processes that work on one job each: one that hangs, crashes or eats memory costs its own job and no other.

Each has a pipe of its own. Pools that share a pipe (`concurrent.futures`, pebble) lose all jobs under way when a
process dies while it holds the pipe.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from trainable.errors import UserError

J = TypeVar("J")
R = TypeVar("R")

Allow = Callable[[float], None]

TICK = 1.0  # seconds; a stop of the whole machine counts as twice this at most
CRASHES, KILLS = 2, 4  # deaths of processes that one job may cause: of its own, and by a hand from outside
FROM_OUTSIDE: Final = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT})
SAID_BYTES = 4096  # kept of what a process wrote on its standard error before it died


class JobLost(Exception):  # noqa: N818 - no error of the caller
    """A job that its process did not live to finish.

    Attributes:
        log: what the process wrote on its standard error.
    """

    def __init__(self, reason: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.log = log


class WorkerProcesses(Generic[J, R]):
    """Runs a task on jobs, in processes that are started as they are needed.

    Args:
        task: run in a process as `task(job, allow)`; `allow(seconds)` says how long it may take from then on. It must
            be importable, and so must its results and errors be.
        count: processes at a time.
        memory: bytes that a job may take.
    """

    def __init__(self, task: Callable[[J, Allow], R], count: int, memory: int) -> None:
        self._task, self._memory = task, memory
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._running: set[_Process] = set()
        self._closed = False

    def __enter__(self) -> "WorkerProcesses[J, R]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, job: J, seconds: float) -> Future[R]:
        """Puts a job in the queue.

        Args:
            job: what to work on.
            seconds: how long it may take, until the task itself allows another time.

        Returns:
            Its result; an error of the task; or `JobLost`.
        """
        return self._threads.submit(self._run, job, seconds)

    def close(self) -> None:
        """Ends all processes at once, whatever they are doing."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._running:
            process.join()

    def _run(self, job: J, seconds: float) -> R:
        """Runs in a thread, which has a process of its own."""
        deaths = 0
        while True:
            process = getattr(self._own, "process", None) or self._start()
            try:
                process.wait_until_ready()
                return process.run(job, seconds)  # type: ignore[no-any-return]
            except _Died as death:
                self._forget(process)
                deaths += 1
                if not process.ready and death.code not in FROM_OUTSIDE:
                    said = death.said[-1] if death.said else _name(death.code)
                    raise UserError(f"a process that decodes could not be started: {said}") from death
                if self._closed or deaths >= (KILLS if death.code in FROM_OUTSIDE else CRASHES):
                    raise JobLost(f"brings its process down ({_name(death.code)})", death.said) from death
            except JobLost:
                self._forget(process)
                raise

    def _start(self) -> "_Process":
        process = _Process(self._task, self._memory)
        with self._lock:
            self._running.add(process)
            if self._closed:
                process.kill()
        self._own.process = process
        return process

    def _forget(self, process: "_Process") -> None:
        with self._lock:
            self._running.discard(process)
        self._own.process = None


class _Died(Exception):  # noqa: N818
    def __init__(self, code: int | None, said: tuple[str, ...]) -> None:
        super().__init__(code)
        self.code, self.said = code, said


@dataclass(frozen=True)
class _Allowance:
    """What a process sends where it needs another time than it was given."""

    seconds: float


class _Process:
    """One process; jobs go in and results come out by a pipe of its own."""

    def __init__(self, task: Callable[..., Any], memory: int) -> None:
        # Spawned, not forked: the parent has threads. A process imports what the task needs, but no torch.
        context = multiprocessing.get_context("spawn")
        self._jobs, theirs = context.Pipe()
        self._said, errors = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(theirs, errors, task, memory), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()
        errors.close()
        self.ready = False

    def wait_until_ready(self) -> None:
        """Waits until it has imported what it needs."""
        try:
            self.ready = self.ready or self._jobs.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def run(self, job: Any, seconds: float) -> Any:
        """Gives it a job and waits for what comes of it."""
        self._send(job)
        while True:
            match self._receive(seconds):
                case _Allowance(allowed):
                    seconds = allowed
                case BaseException() as error:
                    raise error
                case result:
                    return result

    def _send(self, job: Any) -> None:
        try:
            self._jobs.send(job)
        except OSError as error:
            raise self._death() from error

    def _receive(self, seconds: float) -> Any:
        left = seconds
        try:
            while not self._jobs.poll(min(TICK, left)):
                left -= TICK
                if left <= 0:
                    self.kill()
                    raise JobLost(f"takes longer than {seconds:.3g} s", self._death().said)
            return self._jobs.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def kill(self) -> None:
        """Ends it; the thread that waits for it is told by the end of the pipe."""
        self._process.kill()

    def join(self) -> None:
        """Waits for its end; a process that the system cannot end is left to itself."""
        self._process.join(timeout=TICK)

    def _death(self) -> _Died:
        """Returns how it died."""
        self.join()
        said = b""
        with contextlib.suppress(EOFError, OSError):
            os.set_blocking(self._said.fileno(), False)
            said = os.read(self._said.fileno(), 2**16)[-SAID_BYTES:]
        self._jobs.close()
        self._said.close()
        lines = (" ".join(line.split()) for line in said.decode(errors="replace").splitlines())
        return _Died(self._process.exitcode, tuple(filter(None, lines)))


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back for a process that starts, until it ignores it: it would end with a traceback before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name(code: int | None) -> str:
    """Puts an exit code in words."""
    return f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name


def _serve(jobs: Connection, errors: Connection, task: Callable[[Any, Allow], Any], memory: int) -> None:
    """Runs in a process: works on jobs until the parent closes the pipe, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.set_blocking(errors.fileno(), False)  # what does not fit is lost, instead of stopping the process
    os.dup2(errors.fileno(), 2)
    threading.Thread(target=_follow_parent, daemon=True).start()
    jobs.send(True)
    while True:
        try:
            job = jobs.recv()
        except EOFError:
            return
        _limit_memory(memory)
        result: Any
        try:
            result = task(job, lambda seconds: jobs.send(_Allowance(seconds)))
        except Exception as error:  # raised again in the parent
            result = error
        jobs.send(result)


def _follow_parent() -> None:
    """Leaves when the parent has died without a word, also from within a job."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _limit_memory(memory: int) -> None:
    """Lets this process take so many bytes more than it has: what asks for more is refused."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    has = int(status["VmData"].split()[0]) * 1024
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = has + memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
