"""The app factory: settings and ports in, a Flask app out; nothing is connected here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from api import health, jobs, page, results, submissions
from api.backend import Backend, attach
from api.context import register_context
from api.errors import register_error_handlers
from api.manifests import Manifests
from shared.ports import JobStore, ObjectStore, TicketQueue
from shared.settings import Settings

#: Threads that write photos to the object store, for all requests of a process.
_SENDERS = 8
_PROBES = 4


def create_app(settings: Settings, *, jobs: JobStore, objects: ObjectStore, tickets: TicketQueue) -> Flask:
    """Return the API over the given ports."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    backend = Backend(
        settings=settings,
        jobs=jobs,
        objects=objects,
        tickets=tickets,
        manifests=Manifests(objects),
        senders=ThreadPoolExecutor(_SENDERS, thread_name_prefix="send"),
        probes=ThreadPoolExecutor(_PROBES, thread_name_prefix="probe"),
    )
    attach(app, backend)
    register_context(app)
    register_error_handlers(app)
    _register_blueprints(app)
    return app


def _register_blueprints(app: Flask) -> None:
    for area in (submissions, jobs, results, health, page):
        app.register_blueprint(area.blueprint)
