"""Which networks a worker serves."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

from shared.errors import FathomError, SettingsError
from shared.networks import NETWORKS, Network, find_network
from shared.settings import Settings
from worker.model.engine import SIMULATED
from worker.model.engines import prepare_engine
from worker.model.weights import official_path

logger = logging.getLogger(__name__)


def served_networks(settings: Settings) -> tuple[Network, ...]:
    """Return the networks that a worker with these settings serves, FATHOM_MODEL first if it is among them.

    Raises SettingsError for a name that is unknown, and for a network too large for a child's memory.
    """
    named = [find_network(name) for name in settings.models] or [*_found(settings)]
    for network in named:
        if not _fits(network, settings):
            raise SettingsError(
                f"A child needs {network.memory_mb} MB for {network.name}: raise FATHOM_CHILD_MEMORY_MB, "
                f"which is {settings.child_memory_mb}, or leave it out of FATHOM_MODELS."
            )
    return tuple(sorted(dict.fromkeys(named), key=lambda network: network.name != settings.model))


def settings_for(settings: Settings, network: Network) -> Settings:
    """Return the settings with which a worker runs one of its networks.

    FATHOM_WEIGHTS is meant for FATHOM_MODEL. The others run on their official weights, or all on random ones.
    """
    own = settings.weights if network.name == settings.model or settings.weights == "random" else "auto"
    return dataclasses.replace(settings, model=network.name, weights=own)


def prepare_served(settings: Settings) -> tuple[Network, ...]:
    """Prepare all networks for the children, which load them later; return those that can be served.

    Raises what `prepare_engine` raises for a network that the settings name. Another one is left out then.
    """
    prepared = []
    for network in served_networks(settings):
        try:
            prepare_engine(settings_for(settings, network))
        except FathomError as exc:
            if settings.models or network.name == settings.model:
                raise
            logger.warning("Not serving %s: %s", network.name, exc.message, extra={"action": "load_model"})
        else:
            prepared.append(network)
    return tuple(prepared)


def _found(settings: Settings) -> Iterator[Network]:
    """Yield FATHOM_MODEL, and the networks whose weights are there and that fit."""
    yield find_network(settings.model)
    if settings.engine == SIMULATED or settings.weights == "random":
        return
    for network in NETWORKS.values():
        is_fetched = official_path(settings.cache_dir, network).is_file()
        if network.name != settings.model and is_fetched and _fits(network, settings):
            yield network


def _fits(network: Network, settings: Settings) -> bool:
    is_bounded = settings.child_memory_mb > 0 and settings.engine != SIMULATED
    return not is_bounded or network.memory_mb <= settings.child_memory_mb
