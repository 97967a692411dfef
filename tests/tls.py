"""Take TLS off in front of a server that speaks none, as the embedded Valkey does not.

`python -m tests.tls CERTIFICATE PORT BEHIND` listens on a port of 127.0.0.1, and passes all on to another.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trustme

from fathom.stack.servers import HOST, free_ports, tied_to_parent
from tests.waiting import eventually


@contextmanager
def tls_front(authority: trustme.CA, behind: int, folder: Path) -> Iterator[int]:
    """Run a front with a certificate for 127.0.0.1 in a process of its own; yield its port."""
    (port,) = free_ports(1)
    certificate = folder / f"front-{port}.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    command = [sys.executable, "-m", "tests.tls", str(certificate), str(port), str(behind)]
    process = subprocess.Popen(tied_to_parent(command))
    try:
        eventually(lambda: _listens(port))
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=60).close()
    except OSError:
        return False
    return True


async def serve(certificate: str, port: int, behind: int) -> None:
    """Serve until the process is killed."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(HOST, behind)
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(pass_on, HOST, port, ssl=context)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on in one direction until it ends, and end the other."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
