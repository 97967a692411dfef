"""Which networks a worker serves."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

from shared.errors import FathomError, SettingsError
from shared.model_registry import fetch_shared, find_model, list_file_models, list_shared
from shared.networks import NETWORKS, Network, is_file_model
from shared.objectstore.port import ObjectStore
from shared.settings import Settings
from worker.model.engine import SIMULATED
from worker.model.engines import prepare_engine
from worker.model.weights import official_path

logger = logging.getLogger(__name__)


def served_networks(settings: Settings) -> tuple[Network, ...]:
    """Return the networks that a worker with these settings serves, FATHOM_MODEL first if it is among them.

    Raises SettingsError for a name that is unknown, and for a network too large for a child's memory.
    """
    named = [find_model(name, settings.cache_dir) for name in settings.models] or [*_found(settings)]
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


def fetch_shared_models(settings: Settings, objects: ObjectStore) -> None:
    """Take the models that the settings name from the object store, or all shared ones if they name none.

    What cannot be taken is logged, and missed later if nothing of its name is on this machine.
    """
    if settings.engine == SIMULATED:
        return
    try:
        named = [name for name in (settings.model, *settings.models) if is_file_model(name)]
        shared = {network.name for network in list_shared(objects)}
        for name in shared.intersection(named) if settings.models else shared:
            fetch_shared(objects, settings.cache_dir, name)
    except FathomError as exc:
        logger.warning("Shared models were not fetched: %s", exc.message, extra={"action": "fetch_models"})


def prepare_served(settings: Settings) -> tuple[Network, ...]:
    """Prepare all networks for the children, which load them later; return those that can be served.

    Raises what `prepare_engine` raises for a network that the settings name. Another one is left out then.
    """
    prepared = []
    for network in served_networks(settings):
        own = settings_for(settings, network)
        is_named = bool(settings.models) or network.name == settings.model
        try:
            prepare_engine(own, may_export=is_named)
        except FathomError as exc:
            if is_named:
                raise
            logger.warning("Not serving %s: %s", network.name, exc.message, extra={"action": "load_model"})
        else:
            prepared.append(network)
    return tuple(prepared)


def _found(settings: Settings) -> Iterator[Network]:
    """Yield FATHOM_MODEL, and whatever else is on this machine and fits."""
    yield find_model(settings.model, settings.cache_dir)
    if settings.engine == SIMULATED or settings.weights == "random":
        return
    official = [each for each in NETWORKS.values() if official_path(settings.cache_dir, each).is_file()]
    for network in (*official, *list_file_models(settings.cache_dir)):
        if network.name != settings.model and _fits(network, settings):
            yield network


def _fits(network: Network, settings: Settings) -> bool:
    is_bounded = settings.child_memory_mb > 0 and settings.engine != SIMULATED
    return not is_bounded or network.memory_mb <= settings.child_memory_mb
