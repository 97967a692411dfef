"""The networks that jobs may name."""

from __future__ import annotations

from flask import Blueprint, Response

from api.routes.responses import json_response
from api.schema.operation import Answer, Operation
from api.schema.response_models import ModelOut, ModelsOut
from api.services.backend import backend
from api.services.models import KnownModel, known_models

blueprint = Blueprint("models", __name__)


@blueprint.get("/v1/models")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="Networks, the official ones first.", models=(ModelsOut,)),),
)
def index() -> Response:
    """List the networks, and which of them are `available`: those that living workers have weights for."""
    return json_response(ModelsOut(models=tuple(map(_shown, known_models(backend())))))


def _shown(model: KnownModel) -> ModelOut:
    network = model.network
    return ModelOut(
        name=model.name,
        title=network.title if network else model.name,
        tier=network.tier if network else None,
        description=network.suits if network else "",
        relative_cost=round(model.cost, 1),
        megabytes=network.megabytes if network else None,
        parameters=network.parameters if network else None,
        code_licence=network.code_licence if network else None,
        weights_licence=network.weights_licence if network else None,
        licence_note=network.licence_note if network else "",
        available=model.slots > 0,
        slots=model.slots,
        default=model.is_default,
    )
