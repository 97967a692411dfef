"""Import OpenVINO without its telemetry.

`import openvino` also imports its converter, `openvino.tools.ovc`, which at once sends an event to Google
Analytics (package openvino-telemetry). Fathom sends nothing and does not use the converter. A module that
`sys.modules` maps to None cannot be imported; OpenVINO expects that both may be missing and continues
without them, which also saves each child 8 MB and a tenth of a second.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_REPORTING = ("openvino_telemetry", "openvino.tools.ovc")


def reason_of(error: BaseException | None) -> str:
    """Return why OpenVINO failed: the last line of its error, behind those that say where in its code."""
    lines = [line.strip(" -") for line in str(error or "").splitlines() if line.strip()]
    return lines[-1] if lines else "it gives no reason"


def import_openvino() -> Any:
    """Return the module openvino, without its telemetry."""
    for name in _REPORTING:
        # mypy: a None in sys.modules is documented to stop an import; typeshed does not know it.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")
