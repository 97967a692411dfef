"""Run every bad upload through the pipeline in a process of its own: `python -m tests.corpus.run_pipeline`.

Prints one JSON line for each: its name, what became of it, and how much memory it took beyond what a
small harmless photo takes. A process that is killed says so by its signal.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings

from fathom.options import Options
from shared.errors import ImageError
from tests.corpus import FINE, bad_uploads
from tests.corpus.entry import CorpusFile
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import save, scene
from worker.pipeline.decode.decode import limit_decoder_threads
from worker.pipeline.photo import Limits
from worker.pipeline.pipeline import Pipeline

#: Pictures of up to 16 megapixels are let through.
LIMITS = Limits(max_pixels=16_000_000, min_side=16, max_bytes=8 * 2**20)
#: Seconds of computing, and bytes of address space beyond those at the start.
CPU_SECONDS, ADDRESS_BYTES = 30, 2**30


def main() -> None:
    limit_decoder_threads()
    pipeline = Pipeline(LuminanceEngine(), limits=LIMITS)
    uploads = bad_uploads()
    # What is imported and kept at the first picture is not the pictures' own.
    for file_format in ("JPEG", "PNG", "HEIF", "AVIF"):
        pipeline.render(save(scene(), file_format), Options())
    harmless = CorpusFile(name="harmless", data=save(scene(), "JPEG"), expected=FINE)
    _, usual = _run(pipeline, harmless)
    for upload in uploads:
        outcome, peak = _run(pipeline, upload)
        row = {"name": upload.name, "outcome": outcome, "extra_bytes": peak - usual}
        sys.stdout.write(json.dumps(row) + "\n")


def _run(pipeline: Pipeline, upload: CorpusFile) -> tuple[str, int]:
    """Return what became of an upload, and the most memory that its process had, in bytes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, _judge(pipeline, upload).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        outcome = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        outcome = signal.Signals(os.WTERMSIG(status)).name
    return outcome, usage.ru_maxrss * 1024


def _judge(pipeline: Pipeline, upload: CorpusFile) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    most = _address_bytes() + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    warnings.simplefilter("ignore")
    try:
        pipeline.render(upload.data, Options())
    except ImageError as exc:
        return exc.code
    except Exception as exc:
        return repr(exc)
    return FINE


def _address_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
