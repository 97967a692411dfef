"""A pool of processes for photos; a process that dies loses no task."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeAlias

from shared.errors import WorkerCrashed
from worker.local.process import PhotoResult, PhotoTask, RunSpec, failed, initialize_process, process_photo

#: Tasks submitted for each process: the present one and the next. When a process dies, only these have
#: to be repeated.
_IN_FLIGHT = 2

_CRASHED = "The picture crashed the process that worked on it, twice, and was given up."

_Running: TypeAlias = "dict[Future[PhotoResult], PhotoTask]"


class ProcessPool:
    """Runs tasks on a number of processes."""

    def __init__(self, spec: RunSpec, *, processes: int) -> None:
        self._spec = spec
        self._processes = processes

    def run(self, tasks: Iterable[PhotoTask]) -> Iterator[PhotoResult]:
        """Yield a result for every task, in the order they end, even if processes die.

        Raises ModelError or SettingsError if there is no network. An interruption ends the processes at once.
        """
        waiting = deque(tasks)
        while waiting:
            suspects = yield from self._run_together(waiting)
            # One of the tasks in flight killed its process: repeat them one by one.
            for task in suspects:
                yield self._run_alone(task)

    def _run_together(self, waiting: deque[PhotoTask]) -> Generator[PhotoResult, None, list[PhotoTask]]:
        """Run all of `waiting`; if a process dies, stop early and return the tasks in flight."""
        suspects: list[PhotoTask] = []
        running: _Running = {}
        with self._pool(self._processes) as pool:
            while not suspects:
                self._hand_out(pool, waiting, running)
                if not running:
                    break
                ended = wait(running, return_when=FIRST_COMPLETED).done
                yield from _collect({future: running.pop(future) for future in ended}, suspects)
            # A broken pool has ended all its futures, some of them with a result.
            yield from _collect(running, suspects)
        return suspects

    def _hand_out(self, pool: ProcessPoolExecutor, waiting: deque[PhotoTask], running: _Running) -> None:
        while waiting and len(running) < self._processes * _IN_FLIGHT:
            try:
                running[pool.submit(process_photo, waiting[0])] = waiting[0]
            except BrokenProcessPool:
                # The futures in flight report it; if there are none, the next pool continues.
                return
            waiting.popleft()

    def _run_alone(self, task: PhotoTask) -> PhotoResult:
        with self._pool(1) as pool:
            try:
                return pool.submit(process_photo, task).result()
            except BrokenProcessPool:
                return failed(task, WorkerCrashed(_CRASHED))

    @contextmanager
    def _pool(self, processes: int) -> Iterator[ProcessPoolExecutor]:
        others = set(multiprocessing.active_children())
        with self._start(processes) as pool:
            try:
                yield pool
            except (KeyboardInterrupt, GeneratorExit):
                # Their photos may take minutes, and nobody waits for the results.
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise

    def _start(self, processes: int) -> ProcessPoolExecutor:
        # One thread for each process, as there is one process for each core. NumPy reads this once, when a
        # process imports it.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # Spawn, do not fork: the inference engines start threads, which a fork does not copy.
        return ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=initialize_process,
            initargs=(self._spec,),
        )


def _collect(ended: _Running, suspects: list[PhotoTask]) -> Iterator[PhotoResult]:
    """Yield the results of `ended`; add tasks whose process died to `suspects`."""
    for future, task in ended.items():
        try:
            yield future.result()
        except BrokenProcessPool:
            suspects.append(task)
