"""The chores of a worker, and the fetching of images from sources, put together from settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from shared.archive.zip_reader import ArchiveLimits
from shared.chores.port import ChoreKind
from shared.net.url_policy import AllowedHosts
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.tracing import OFF, Tracer
from shared.settings import Settings
from worker.chores.expand import ExpandArchives
from worker.chores.gathering import Gathering
from worker.chores.listing import ListSources
from worker.chores.runner import ChoreHandler, ChoreRunner
from worker.chores.tracing import trace_chores
from worker.chores.webhooks import ANSWER, DeliverMessage, Messenger, NotifyWebhook
from worker.outbound_http import Outbound
from worker.stores import Stores

T = TypeVar("T")

#: Seconds between looks for chores.
LOOK = 0.5
#: Runners of one worker that gather images, and that tell webhooks: a long listing, or a receiver that is
#: slow to answer, shall not keep all others waiting.
_GATHERERS, _MESSENGERS = 2, 3


def chore_runners(
    settings: Settings,
    stores: Stores,
    wake_workers: Callable[[], object],
    stopping: Callable[[], bool],
    *,
    tracer: Tracer = OFF,
) -> list[ChoreRunner]:
    """Return what does the chores in a worker's parent process, each to have a thread of its own."""
    # What fails once is tried again below, so that a chore need not be taken up again for it.
    patient = dataclasses.replace(stores, objects=S3ObjectStore.from_settings(settings))
    gatherers = trace_chores(_gatherers(settings, patient, wake_workers), stores.jobs, tracer)
    messengers = trace_chores(_messengers(settings, patient), stores.jobs, tracer)
    handlers = [gatherers] * _GATHERERS + [messengers] * _MESSENGERS
    return [ChoreRunner(stores.chores, each, stopping=stopping) for each in handlers]


def _gatherers(
    settings: Settings, stores: Stores, wake_workers: Callable[[], object]
) -> dict[ChoreKind, ChoreHandler]:
    objects = stores.objects
    gathering = Gathering(jobs=stores.jobs, objects=objects, wake_workers=wake_workers)
    return {
        ChoreKind.EXPAND: ExpandArchives(gathering, objects, ArchiveLimits.from_settings(settings)),
        ChoreKind.LIST: ListSources(
            gathering, objects, buckets=settings.source_buckets, max_images=settings.max_job_images
        ),
    }


def _messengers(settings: Settings, stores: Stores) -> dict[ChoreKind, ChoreHandler]:
    outbound = Outbound(allowed=AllowedHosts.of(settings.source_hosts), seconds=ANSWER)
    messenger = Messenger(outbound=outbound, secrets=settings.webhook_secrets)
    return {
        ChoreKind.NOTIFY: NotifyWebhook(stores.jobs, stores.objects, stores.chores, messenger),
        ChoreKind.DELIVER: DeliverMessage(stores.jobs, stores.objects, stores.chores, messenger),
    }
