"""The description of the model on this machine, for `fathom model info`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import WeightsUnavailable
from shared.model_registry import content_path, find_model, list_file_models
from shared.networks import NETWORKS, Network, Preprocessing, Rule
from shared.settings import Settings
from worker.model.engine import SIMULATED
from worker.model.graph import graph_path
from worker.model.weights import Weights, find_weights, official_path


def describe(settings: Settings) -> dict[str, Any]:
    """Return the model's name and size, weights, engine, precision, and whether its graph is cached.

    The precision is the one that inference would use here. Loads and exports nothing. Raises
    WeightsUnavailable, WeightsInvalid or SettingsError.
    """
    if settings.engine == SIMULATED:
        return {"model": SIMULATED, "engine": SIMULATED, "simulated": settings.simulate}
    weights = find_weights(settings)
    graph = graph_path(weights, settings.cache_dir)
    return {
        "model": weights.network.title,
        "weights": weights.name,
        "path": str(weights.path) if weights.path else None,
        "sha256": weights.sha256,
        "engine": settings.engine,
        "precision": _precision(settings, weights),
        "parameters": weights.network.parameters,
        **licences(weights.network),
        "graph": str(graph),
        "graph_cached": graph.exists(),
    }


def licences(network: Network) -> dict[str, Any]:
    """Return under which licences a network's code and official weights are, and what else to know."""
    facts = {"code_licence": network.code_licence, "official_weights_licence": network.weights_licence}
    return {**facts, "licence_note": network.licence_note} if network.licence_note else facts


def describe_network(network: Network) -> dict[str, Any]:
    """Return what is known of a network without its weights."""
    official = {"encoder": network.encoder, "gflop": network.gflop, "url": network.url}
    return {
        "name": network.name,
        "model": network.title,
        "suits": network.suits,
        "parameters": network.parameters,
        "relative_cost": round(network.cost, 1),
        "input": _input(network.preprocessing),
        **licences(network),
        "file": network.file,
        "megabytes": network.megabytes,
        "sha256": network.sha256 or None,
        **({"near": str(network.near)} if network.is_file else official),
    }


def _input(p: Preprocessing) -> str:
    if p.rule is Rule.FIXED:
        return f"{p.rule} {p.side}x{p.width}"
    return f"{p.rule} {p.side}, multiples of {p.multiple}, at most {p.longest}"


def describe_fully(settings: Settings) -> dict[str, Any]:
    """Return all that is known of the network of the settings, even without its weights.

    Raises WeightsInvalid or SettingsError.
    """
    facts = describe_network(find_model(settings.model, settings.cache_dir))
    try:
        return {**facts, **describe(settings)}
    except WeightsUnavailable as exc:
        return {**facts, "weights": None, "missing": exc.message}


def list_networks(cache_dir: Path) -> list[dict[str, Any]]:
    """Return the description of every network, and whether its weights are in the cache.

    The official ones come first, then the models that were added from files.
    """
    official = [
        {**describe_network(network), "fetched": official_path(cache_dir, network).is_file()}
        for network in NETWORKS.values()
    ]
    added = [
        {**describe_network(network), "fetched": content_path(cache_dir, network).is_file()}
        for network in list_file_models(cache_dir)
    ]
    return official + added


def _precision(settings: Settings, weights: Weights) -> str:
    if settings.engine == "torch":
        return settings.precision.replace("auto", "f32")
    from worker.model.openvino_engine import choose_precision, cpu_capabilities

    return choose_precision(settings.precision, weights, cpu_capabilities())
