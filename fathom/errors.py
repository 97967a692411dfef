"""What can go wrong with a request; a command imports these without an HTTP client."""

from __future__ import annotations


class ClientError(Exception):
    """The request could not be carried out."""


class ApiError(ClientError):
    """The API refused; `code` is stable, and the text is a sentence for a person."""

    def __init__(self, *, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ConnectionLost(ClientError):
    """The server could not be reached, or the connection broke, and patience ran out."""


class BodyLost(ConnectionLost):
    """The connection broke in the middle of an answer; asking again may well help."""
