"""`/v1/session`: who asks, and the cookie with which a browser fetches what it fetches without headers."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from api import access, access_cookie, contract
from api.contract import Answer, Operation
from api.errors import InvalidRequest
from api.replies import json_reply, read_query
from api.requests import EmptyQuery
from api.schemas import SessionOut
from shared.keys import Scope

blueprint = Blueprint("session", __name__)

#: The cookie goes along with requests to the API alone.
_PATH = "/v1"


@blueprint.get("/v1/session")
@Operation(
    tag="Access",
    answers=(Answer(status=200, description="The caller.", models=(SessionOut,)),),
    problems=(InvalidRequest,),
    query=EmptyQuery,
)
@access.needs(Scope.READ)
def show() -> Response:
    """Say who asks."""
    read_query(EmptyQuery)
    return json_reply(_session_out())


@blueprint.post("/v1/session")
@Operation(
    tag="Access",
    answers=(
        Answer(
            status=200,
            description="The caller; with a key, also a cookie.",
            models=(SessionOut,),
            headers=(contract.SET_COOKIE,),
        ),
    ),
    problems=(InvalidRequest,),
    query=EmptyQuery,
)
@access.needs(Scope.READ)
def begin() -> Response:
    """Begin a session for the key that is sent along; without keys in force there is nothing to begin."""
    read_query(EmptyQuery)
    response = json_reply(_session_out())
    key = access.caller().key
    if key is not None:
        response.set_cookie(
            access_cookie.NAME,
            access_cookie.sign(key, int(time.time()) + access_cookie.LIFETIME),
            max_age=access_cookie.LIFETIME,
            path=_PATH,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
    return response


@blueprint.delete("/v1/session")
@Operation(
    tag="Access",
    answers=(Answer(status=204, description="There is no session.", headers=(contract.SET_COOKIE,)),),
    problems=(InvalidRequest,),
    query=EmptyQuery,
    needs_stores=False,
)
@access.public
def end() -> Response:
    """Take the cookie back; whoever has none loses nothing."""
    read_query(EmptyQuery)
    response = Response(status=204)
    response.delete_cookie(
        access_cookie.NAME, path=_PATH, secure=request.is_secure, httponly=True, samesite="Strict"
    )
    return response


def _session_out() -> SessionOut:
    caller = access.caller()
    return SessionOut(
        anonymous=caller.key is None,
        key_id=caller.key and caller.key.id,
        name=caller.key and caller.key.name,
        scopes=tuple(sorted(caller.scopes)),
    )
