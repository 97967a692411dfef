"""Which networks jobs may name: those that living workers serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from api.services.backend import Backend
from fathom.options import Options
from shared.errors import ModelUnavailable
from shared.jobs.job import ServedModel
from shared.model_registry import list_shared
from shared.networks import NETWORKS, Network


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A network, and who serves it."""

    name: str
    #: None for a file that is not shared.
    network: Network | None
    #: How many times as long a prediction takes as one of `midas_small`.
    cost: float
    #: Children of living workers that serve it.
    slots: int
    #: Whether jobs that name none get it.
    is_default: bool


def known_models(backend: Backend) -> tuple[KnownModel, ...]:
    """Return the official networks, those that are shared, and whatever else living workers serve."""
    served = backend.jobs.served_models()
    networks = NETWORKS | {network.name: network for network in list_shared(backend.objects)}
    names = dict.fromkeys([*networks, *served])
    return tuple(_known(name, networks.get(name), served, backend.settings.model) for name in names)


def _known(name: str, network: Network | None, served: Mapping[str, ServedModel], default: str) -> KnownModel:
    living = served.get(name)
    cost = living.cost if living else network.cost if network else 1.0
    slots = living.slots if living else 0
    return KnownModel(name=name, network=network, cost=cost, slots=slots, is_default=name == default)


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """The options of a job with the network that it gets, and what that costs."""

    options: Options
    cost: float


def choose_model(backend: Backend, options: Options) -> ChosenModel:
    """Return options that name a network, FATHOM_MODEL if they named none.

    While no worker is alive, FATHOM_MODEL is taken on trust. Raises ModelUnavailable for another, and for one
    that none of the living workers serves.
    """
    served = backend.jobs.served_models()
    name = options.model or backend.settings.model
    if name not in served and (served or name != backend.settings.model):
        raise ModelUnavailable(_refusal(name, served))
    chosen = _known(name, NETWORKS.get(name), served, backend.settings.model)
    return ChosenModel(options=replace(options, model=name), cost=chosen.cost)


def _refusal(name: str, served: Mapping[str, ServedModel]) -> str:
    available = f"Available now: {', '.join(sorted(served))}." if served else "No worker is alive."
    fetch = f" Its weights are fetched by `fathom model fetch {name}`." if name in NETWORKS else ""
    return f"No worker serves the model {name!r}. {available}{fetch}"
