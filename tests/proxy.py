"""The proxy that tests put before a server to spoil its traffic; `bench.chaos` uses the same one."""

from __future__ import annotations

from bench.faults import Fault, Mode
from bench.http_exchange import Exchange
from bench.proxy import Proxy

__all__ = ["Exchange", "Fault", "Mode", "Proxy"]
