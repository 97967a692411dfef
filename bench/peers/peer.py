"""What a peer is: a way of turning a folder of photos into a folder of heatmaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Depth(Enum):
    """What a peer's heatmaps must look like: Fathom's, by its way of decoding, or nothing of Fathom's."""

    FAST = "fast"
    EXACT = "exact"
    #: The peer runs a network of its own.
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every peer is given."""

    #: The cores that it may use; its processes are pinned to them.
    cores: tuple[int, ...]
    #: Fathom's network as ONNX.
    model: Path
    #: A folder that does not exist yet, for what a server keeps.
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Started:
    """A peer that can take albums."""

    #: Return the command that turns the photos of one folder into heatmaps of the same names in another.
    command: Callable[[Path, Path], list[str]]
    environ: Mapping[str, str] = field(default_factory=dict)
    #: The process that serves the commands, if there is one; all its descendants count.
    server: int | None = None


@dataclass(frozen=True, kw_only=True)
class Peer(ABC):
    """A way of making heatmaps: a row of the comparison."""

    name: str
    #: A few words for the table.
    title: str
    #: The packages to import that Fathom itself does not need.
    packages: tuple[str, ...] = ()
    depth: Depth = Depth.FAST
    #: How many small photos a process works off before it has reached its full speed.
    warm_up: int = 0
    #: The name of Fathom's row to compare this one with; None for Fathom's own.
    rival: str | None = None

    @abstractmethod
    def start(self, setup: Setup) -> AbstractContextManager[Started]:
        """Start what must run before photos can be sent, on `setup.cores`, while the block runs."""
