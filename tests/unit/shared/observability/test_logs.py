from __future__ import annotations

import json
import logging
import sys

from shared.observability.logs import JsonFormatter, TextFormatter, log_context


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("fathom").makeRecord("fathom", logging.INFO, "f", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_a_json_line_carries_the_context_and_the_fields():
    with log_context(job="j1"), log_context(image=7):
        line = json.loads(JsonFormatter().format(record("Stored %s.", "it", action="store")))

    assert line["message"] == "Stored it."
    assert (line["job"], line["image"], line["action"]) == ("j1", 7, "store")
    assert line["level"] == "info"


def test_the_context_ends_with_its_block():
    with log_context(job="j1"):
        pass

    assert "job" not in json.loads(JsonFormatter().format(record("later")))


def test_a_traceback_stays_on_its_line():
    try:
        raise ValueError("broken")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    text = JsonFormatter().format(made)

    assert "\n" not in text
    assert "ValueError: broken" in json.loads(text)["traceback"]


def test_a_readable_line_ends_with_the_fields():
    with log_context(job="j1"):
        text = TextFormatter().format(record("Started.", action="start_job"))

    assert text.endswith("Started.  (job=j1 action=start_job)")
