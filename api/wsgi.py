"""Entry point of the web server: `gunicorn -c python:api.server.gunicorn_conf api.wsgi:app`.

Every server process imports this module after the fork, because connections and threads do not survive one.
"""

from __future__ import annotations

from api.app import build_app
from shared.settings import Settings

app = build_app(Settings.from_environ())
