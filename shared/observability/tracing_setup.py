"""Turn traces on, if OpenTelemetry's own variables name a collector.

If they name none, nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache

from shared.observability.tracing import ENDPOINTS, OFF, Tracer

logger = logging.getLogger(__name__)

#: The group of pyproject.toml with the packages that traces need.
EXTRA = "tracing"

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"

_ACTION = {"action": "start_tracing"}


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the environment names a collector and does not switch traces off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(environ.get(name, "").strip() for name in ENDPOINTS)


def find_obstacle(environ: Mapping[str, str]) -> str | None:
    """Return a sentence that says why traces cannot be sent; None if they can.

    This imports the packages that traces need.
    """
    protocol = next(filter(None, (environ.get(name, "").strip() for name in _PROTOCOLS)), _SPOKEN)
    if protocol != _SPOKEN:
        return f"Traces are sent by {_SPOKEN} alone, and OTEL_EXPORTER_OTLP_PROTOCOL asks for {protocol}."
    try:
        import shared.observability.otlp  # noqa: F401 (to see whether it can be)
    except ImportError:
        return (
            "Traces are wanted, and OpenTelemetry is not installed: "
            f"run `pip install -e '.[{EXTRA}]'` in Fathom's folder."
        )
    return None


def prepare_tracing(environ: Mapping[str, str] = os.environ) -> bool:
    """Import the packages that traces need, if traces are wanted; return whether they can be sent.

    Call this before a fork, so that the children need not import them. If something is in the way, the log
    says so once.
    """
    if not is_wanted(environ):
        return False
    obstacle = find_obstacle(environ)
    if obstacle is not None:
        _warn_once(obstacle)
    return obstacle is None


def make_tracer(service: str, environ: Mapping[str, str] = os.environ) -> Tracer:
    """Return a tracer for this process, or OFF. The process must not fork afterwards.

    `service` names it in traces, unless the environment gives another name.
    """
    if not prepare_tracing(environ):
        return OFF
    from shared.observability.otlp import connect_tracer

    try:
        return connect_tracer(service)
    except Exception as exc:
        # The service starts even if OpenTelemetry's settings are wrong.
        logger.warning("Traces are off: %s", exc, extra=_ACTION)
        return OFF


@cache
def _warn_once(obstacle: str) -> None:
    logger.warning("No traces are sent. %s", obstacle, extra=_ACTION)
