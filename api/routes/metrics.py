"""`/metrics`, the state of the whole system in the text format of Prometheus, and `/v1/load` for autoscalers.

Every number covers all processes, whichever of them answers: jobs and images come from the job store,
durations from the statistics that all processes add to. So it is enough to scrape one target.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Iterator, Mapping

from flask import Blueprint, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from api.auth import authorize
from api.auth.authenticate import gate_of, presented_key
from api.auth.authorize import public
from api.middleware.errors import InvalidRequest
from api.routes.health import check_parts
from api.routes.responses import json_response, read_query
from api.schema.operation import Answer, Operation
from api.schema.request_models import EmptyQuery
from api.schema.response_models import LoadOut, ModelLoadOut, PartOut
from api.services.backend import Backend, backend
from shared.api_keys import Scope
from shared.errors import MissingScope, Unauthenticated
from shared.jobs.job import JobState, ServedModel, Totals, Workload
from shared.metrics.model import BOUNDS, Family, Histogram, Summary
from shared.networks import MIDAS_SMALL, NETWORKS

blueprint = Blueprint("metrics", __name__)

#: All other methods share one label.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_NO_ROUTE = "none"


@blueprint.get("/metrics")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="In the text format of Prometheus.", media=("text/plain",)),),
    problems=(InvalidRequest, Unauthenticated, MissingScope),
    query=EmptyQuery,
)
@public
def show() -> Response:
    """Send all metrics to a caller with the scope `admin` or the metrics token."""
    read_query(EmptyQuery)
    _admit()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(collect(backend())))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@blueprint.get("/v1/load")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="What is left to do.", models=(LoadOut,)),),
    problems=(InvalidRequest, Unauthenticated, MissingScope),
    query=EmptyQuery,
)
@public
def load() -> Response:
    """Send what is left to do, for autoscalers, to a caller with the scope `admin` or the metrics token."""
    read_query(EmptyQuery)
    _admit()
    jobs = backend().jobs
    by_model = _loads(jobs.workload(), jobs.served_models())
    return json_response(
        LoadOut(
            images=sum(each.images for each in by_model.values()),
            work=round(sum(each.work for each in by_model.values()), 6),
            slots=jobs.slots(),
            by_model=by_model,
        )
    )


def observe_request(response: Response) -> Response:
    """Count a request, and the time until its answer begins.

    The labels have few values: routes instead of addresses, known methods, statuses.
    """
    route = _NO_ROUTE if request.url_rule is None else request.url_rule.rule
    method = request.method if request.method in _METHODS else "other"
    seconds = time.monotonic() - g.began
    backend().metrics_buffer.observe(
        Family.REQUEST, route, method, str(response.status_code), seconds=seconds
    )
    return response


def collect(backend: Backend) -> list[Metric]:
    """Return all metrics. If the job store is away, return only which parts answer."""
    parts = check_parts(backend)
    metrics: list[Metric] = [_parts(parts)]
    if not parts["job_store"].ok:
        return metrics
    totals = backend.jobs.totals()
    summary = backend.statistics.read(totals.workers)
    served = backend.jobs.served_models()
    metrics += _work(totals, sum(map(backend.tickets.depth, {MIDAS_SMALL.name, *served})))
    metrics += _load(_loads(backend.jobs.workload(), served))
    metrics += _workers(totals, summary)
    metrics += _durations(summary)
    return metrics


class _Collected(Collector):
    """Metrics collected before."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _admit() -> None:
    """Raise Unauthenticated, InvalidKey or MissingScope unless the caller may read the metrics."""
    token, presented = backend().settings.metrics_token, presented_key()
    if token is not None and presented is not None and _are_equal(token, presented):
        return
    g.caller = gate_of(current_app).find_caller()
    authorize.require(Scope.ADMIN)


def _are_equal(token: str, presented: str) -> bool:
    return hmac.compare_digest(token.encode(), presented.encode())


def _parts(parts: dict[str, PartOut]) -> Metric:
    metric = GaugeMetricFamily("fathom_part_up", "Whether a part behind the API answers.", labels=["part"])
    for name, part in parts.items():
        metric.add_metric([name], float(part.ok))
    return metric


def _work(totals: Totals, tickets: int) -> Iterator[Metric]:
    yield _gauge("fathom_tickets", "Tickets that wait for a worker.", tickets)
    yield _gauge("fathom_unfinished_images", "Images accepted and not ended yet.", totals.unfinished_images)
    yield _gauge("fathom_leases", "Leases in the hands of workers.", totals.leases)
    jobs = GaugeMetricFamily("fathom_jobs", "Jobs there are, by state.", labels=["state"])
    for state in JobState:
        jobs.add_metric([state], totals.jobs.get(state, 0))
    yield jobs
    images = CounterMetricFamily(
        "fathom_images",
        "Images ended, by outcome: succeeded, or the code of the failure.",
        labels=["outcome"],
    )
    for outcome, count in {"succeeded": 0, **totals.outcomes}.items():
        images.add_metric([outcome], count)
    yield images


def _loads(workload: Mapping[str, Workload], served: Mapping[str, ServedModel]) -> dict[str, ModelLoadOut]:
    """Return the load of every network, also without work: an autoscaler must find a 0 there."""
    names = dict.fromkeys([*NETWORKS, *served, *workload])
    loads = {name: workload.get(name, Workload()) for name in names}
    slots = {name: served[name].slots if name in served else 0 for name in names}
    return {
        name: ModelLoadOut(images=each.images, work=each.work, slots=slots[name])
        for name, each in loads.items()
    }


def _load(loads: Mapping[str, ModelLoadOut]) -> Iterator[Metric]:
    images = GaugeMetricFamily(
        "fathom_runnable_images", "Images left of jobs that run, by network.", labels=["model"]
    )
    work = GaugeMetricFamily(
        "fathom_runnable_work",
        "What those images cost together; 1 is an image of a plain heatmap.",
        labels=["model"],
    )
    for model, each in loads.items():
        images.add_metric([model], each.images)
        work.add_metric([model], each.work)
    yield images
    yield work


def _workers(totals: Totals, summary: Summary) -> Iterator[Metric]:
    yield _gauge("fathom_workers", "Workers alive.", len(totals.workers))
    slots = GaugeMetricFamily("fathom_worker_slots", "Children of a worker.", labels=["worker"])
    images = CounterMetricFamily("fathom_worker_images", "Images ended by a worker.", labels=["worker"])
    for worker, count in sorted(totals.workers.items()):
        slots.add_metric([worker], count)
        images.add_metric([worker], summary.images.get(worker, 0))
    yield slots
    yield images


def _durations(summary: Summary) -> Iterator[Metric]:
    stages = HistogramMetricFamily(
        "fathom_stage_seconds", "How long a step of an image took, in a worker.", labels=["stage"]
    )
    requests = HistogramMetricFamily(
        "fathom_http_request_seconds",
        "How long a request took until its answer began.",
        labels=["route", "method", "status"],
    )
    families = {Family.STAGE: stages, Family.REQUEST: requests}
    for series, histogram in sorted(summary.histograms.items(), key=lambda item: item[0].labels):
        families[series.family].add_metric(series.labels, _buckets(histogram), histogram.seconds)
    yield from families.values()


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, histogram.cumulative(), strict=True))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
