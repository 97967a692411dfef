"""A file by which a container's liveness probe sees that a process still turns."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


class AliveFile:
    """A file that `touch` makes as old as the process's last sign of life."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False

    def touch(self) -> None:
        """Make the file, or make it new. Its folder must exist; a file that cannot be made is logged once."""
        try:
            self._path.touch()
        except OSError as exc:
            if not self._failed:
                logger.error("FATHOM_ALIVE_FILE cannot be written: %s", exc, extra={"action": "touch_alive"})
            self._failed = True
        else:
            self._failed = False
