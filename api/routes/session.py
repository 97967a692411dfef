"""`/v1/session`: who the caller is, and the cookie for what a browser fetches without headers."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from api.auth import authorize, cookie
from api.middleware.errors import InvalidRequest
from api.routes.responses import json_response, read_query
from api.schema import operation
from api.schema.operation import Answer, Operation
from api.schema.request_models import EmptyQuery
from api.schema.response_models import SessionOut
from shared.api_keys import Scope

blueprint = Blueprint("session", __name__)

#: Browsers send the cookie with requests to the API only.
_PATH = "/v1"


@blueprint.get("/v1/session")
@Operation(
    tag="Access",
    answers=(Answer(status=200, description="The caller.", models=(SessionOut,)),),
    problems=(InvalidRequest,),
    query=EmptyQuery,
)
@authorize.needs(Scope.READ)
def show() -> Response:
    """Say who the caller is."""
    read_query(EmptyQuery)
    return json_response(_session_out())


@blueprint.post("/v1/session")
@Operation(
    tag="Access",
    answers=(
        Answer(
            status=200,
            description="The caller; with a key, also a cookie.",
            models=(SessionOut,),
            headers=(operation.SET_COOKIE,),
        ),
    ),
    problems=(InvalidRequest,),
    query=EmptyQuery,
)
@authorize.needs(Scope.READ)
def begin() -> Response:
    """Begin a session for the key that was sent. While no keys are in force there is no session."""
    read_query(EmptyQuery)
    response = json_response(_session_out())
    key = authorize.caller().key
    if key is not None:
        response.set_cookie(
            cookie.NAME,
            cookie.sign(key, int(time.time()) + cookie.LIFETIME),
            max_age=cookie.LIFETIME,
            path=_PATH,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
    return response


@blueprint.delete("/v1/session")
@Operation(
    tag="Access",
    answers=(Answer(status=204, description="There is no session.", headers=(operation.SET_COOKIE,)),),
    problems=(InvalidRequest,),
    query=EmptyQuery,
    needs_stores=False,
)
@authorize.public
def end() -> Response:
    """Remove the cookie, if there is one."""
    read_query(EmptyQuery)
    response = Response(status=204)
    response.delete_cookie(
        cookie.NAME, path=_PATH, secure=request.is_secure, httponly=True, samesite="Strict"
    )
    return response


def _session_out() -> SessionOut:
    caller = authorize.caller()
    return SessionOut(
        anonymous=caller.key is None,
        key_id=caller.key and caller.key.id,
        name=caller.key and caller.key.name,
        scopes=tuple(sorted(caller.scopes)),
    )
