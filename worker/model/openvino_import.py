"""Import OpenVINO without the part of it that reports home.

`import openvino` also imports its converter, `openvino.tools.ovc`, which sends an event to
Google Analytics at once (package openvino-telemetry), whoever imports it. Fathom sends
nothing and does not use the converter. A module that `sys.modules` maps to None cannot be
imported; OpenVINO expects that of both and goes on without them, which also spares each
worker child 8 MB and a tenth of a second.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_REPORTING = ("openvino_telemetry", "openvino.tools.ovc")


def import_openvino() -> Any:
    """Return the module openvino, its telemetry kept out of this process."""
    for name in _REPORTING:
        # mypy: a None in sys.modules is documented to stop an import; typeshed does not know it.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")
