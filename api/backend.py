"""What the handlers work with: the settings and the ports, put together once by the app factory."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from api.manifests import Manifests
from shared.ports import JobStore, ObjectStore, TicketQueue
from shared.settings import Settings

_NAME = "fathom"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The parts behind the front end; every use case takes what it needs of them."""

    settings: Settings
    jobs: JobStore
    objects: ObjectStore
    tickets: TicketQueue
    manifests: Manifests
    #: Threads that write to the object store while requests are still being received.
    senders: Executor
    #: Threads that ask the parts how they are.
    probes: Executor


def attach(app: Flask, backend: Backend) -> None:
    """Give an app its backend."""
    app.extensions[_NAME] = backend


def backend() -> Backend:
    """Return the backend of the app that handles the present request."""
    return cast(Backend, current_app.extensions[_NAME])
