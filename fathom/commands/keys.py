"""`fathom keys create|list|rotate|revoke`: the API keys of a service, kept in its object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fathom.commands.arguments import json_option, print_json
from fathom.commands.exit import one_sentence
from fathom.commands.service_store import data_option, open_objects

if TYPE_CHECKING:
    from shared.api_keys import ApiKey, KeyStore


@click.group()
@data_option
@click.pass_context
def keys(ctx: click.Context, data: Path | None) -> None:
    """Make, list, rotate and revoke API keys.

    Once there is a key, the API requires one from everybody. The keys are in the service's object store,
    which FATHOM_S3_* name; or --data names a running `fathom up`.
    """
    ctx.obj = data


@keys.command()
@click.option("--name", required=True, help="Whose it is, or what for.")
@click.option(
    "--scopes",
    default="submit,read",
    show_default=True,
    help="read: look at jobs; submit: make and control them; admin: those of all keys, and the metrics.",
)
@click.option("--rate", metavar="N/UNIT", help="Requests, such as 600/minute.  [default: FATHOM_RATE_LIMIT]")
@click.option("--max-images", type=int, metavar="N", help="Unfinished images at a time.")
@click.option("--max-bytes", type=int, metavar="N", help="Bytes of the photos of all its jobs.")
@json_option
@click.pass_obj
def create(
    data: Path | None,
    name: str,
    scopes: str,
    rate: str | None,
    max_images: int | None,
    max_bytes: int | None,
    as_json: bool,
) -> None:
    """Make a key and print it. It is shown only once: the service keeps nothing but a hash."""
    with _key_store(data) as store:
        from shared.api_keys import make_key

        names = [scope.strip() for scope in scopes.split(",") if scope.strip()]
        key, text = make_key(name, names, rate=rate, max_images=max_images, max_bytes=max_bytes)
        store.save(key)
    if as_json:
        print_json(key.to_json() | {"key": text})
        return
    _show_once(
        text,
        f"key {key.id} may {', '.join(sorted(key.scopes))}. Send it as `Authorization: Bearer ...`, "
        "or set FATHOM_API_KEY.",
    )


@keys.command("list")
@json_option
@click.pass_obj
def list_keys(data: Path | None, as_json: bool) -> None:
    """List all keys, without their secrets; revoked ones too."""
    with _key_store(data) as store:
        found = store.list()
    if as_json:
        print_json({"keys": [key.to_json() for key in found]})
        return
    for key in found:
        click.echo(_line(key))


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--keep",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="How long the old secret keeps working; 0 if somebody else may know it.",
)
@json_option
@click.pass_obj
def rotate(data: Path | None, key_id: str, keep: float, as_json: bool) -> None:
    """Give a key a new secret and print it, only once. Its jobs, scopes and limits stay."""
    with _key_store(data) as store:
        key, text = store.rotate(key_id, keep=keep * 3600)
    if as_json:
        print_json(key.to_json() | {"key": text})
        return
    _show_once(text, f"key {key.id} has a new secret. The old one works for {keep:g} more hours.")


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
@click.pass_obj
def revoke(data: Path | None, key_id: str, as_json: bool) -> None:
    """Revoke a key: within five seconds the API refuses it. Its jobs stay."""
    with _key_store(data) as store:
        key = store.revoke(key_id)
    if as_json:
        print_json(key.to_json())
    else:
        click.echo(_line(key))


@contextmanager
def _key_store(data: Path | None) -> Iterator[KeyStore]:
    """Open the key store of the chosen service; errors become one sentence."""
    with one_sentence():
        from shared.api_keys import KeyStore

        with open_objects(data) as objects:
            yield KeyStore(objects)


def _show_once(text: str, about: str) -> None:
    click.echo(text)
    click.echo(f"fathom: {about} It is shown only once.", err=True)


def _line(key: ApiKey) -> str:
    bounds = {"rate": key.rate, "images": key.max_images, "bytes": key.max_bytes}
    parts = [f"{name} {value}" for name, value in bounds.items() if value is not None]
    if key.revoked_at is not None:
        parts.append(f"revoked {_day(key.revoked_at)}")
    return "  ".join([key.id, _day(key.created_at), ",".join(sorted(key.scopes)), key.name, *parts])


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
