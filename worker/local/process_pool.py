"""Children that work off orders side by side; one that dies takes no order with it."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeAlias

from shared.errors import WorkerCrashed
from worker.local.process import Brief, Order, Report, failed, process_order, start_child

#: Orders handed out for each child: one in work and one to go on with. When a child dies, no
#: more than these have to be tried again.
_IN_FLIGHT = 2

_CRASHED = "The picture crashed the process that worked on it, twice, and was given up."

_Running: TypeAlias = "dict[Future[Report], Order]"


class Crew:
    """Runs orders on a number of processes."""

    def __init__(self, brief: Brief, *, processes: int) -> None:
        self._brief = brief
        self._processes = processes

    def run(self, orders: Iterable[Order]) -> Iterator[Report]:
        """Yield a report for every order, in the order they end, whatever becomes of the children.

        Raises ModelError or SettingsError if a child has no network.
        """
        waiting = deque(orders)
        while waiting:
            suspects = yield from self._run_together(waiting)
            # Which photo killed the child is not known: those in flight are tried one by one.
            for order in suspects:
                yield self._run_alone(order)

    def _run_together(self, waiting: deque[Order]) -> Generator[Report, None, list[Order]]:
        """Work `waiting` off; end early, returning the orders in flight, if a child dies."""
        suspects: list[Order] = []
        running: _Running = {}
        with self._pool(self._processes) as pool:
            while not suspects:
                self._hand_out(pool, waiting, running)
                if not running:
                    break
                ended = wait(running, return_when=FIRST_COMPLETED).done
                yield from _collect({future: running.pop(future) for future in ended}, suspects)
            # A pool that broke has ended all its futures, some of them well.
            yield from _collect(running, suspects)
        return suspects

    def _hand_out(self, pool: ProcessPoolExecutor, waiting: deque[Order], running: _Running) -> None:
        while waiting and len(running) < self._processes * _IN_FLIGHT:
            try:
                running[pool.submit(process_order, waiting[0])] = waiting[0]
            except BrokenProcessPool:
                # What is in flight tells; with nothing in flight, the next pool goes on.
                return
            waiting.popleft()

    def _run_alone(self, order: Order) -> Report:
        with self._pool(1) as pool:
            try:
                return pool.submit(process_order, order).result()
            except BrokenProcessPool:
                return failed(order, WorkerCrashed(_CRASHED))

    def _pool(self, processes: int) -> ProcessPoolExecutor:
        # One thread a process, as there is one process a core. NumPy's matrix products read this
        # once, when a child imports them.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # Spawned, not forked: the inference engines start threads, which a fork does not copy.
        return ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_child,
            initargs=(self._brief,),
        )


def _collect(ended: _Running, suspects: list[Order]) -> Iterator[Report]:
    """Yield the reports of `ended`; orders whose child died are added to `suspects`."""
    for future, order in ended.items():
        try:
            yield future.result()
        except BrokenProcessPool:
            suspects.append(order)
