"""Entry point of the workers: `celery -A worker.app worker`.

`worker.parent.wiring` says what the parent process is made of, `worker.child.wiring` what a child is.
"""

from __future__ import annotations

from shared.settings import Settings
from shared.tickets import create_celery_app
from worker.parent.lifecycle import connect_signals

settings = Settings.from_environ()
app = create_celery_app(settings)
app.conf.include = ["worker.tasks"]
app.conf.worker_consumer = "worker.consumer:PatientConsumer"
connect_signals(app, settings)
