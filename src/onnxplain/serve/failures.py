"""What a service refuses, each with its status; the message is for the caller and names no file."""

from __future__ import annotations

from typing import ClassVar


class Failure(Exception):
    """A request that is not answered; ``retry_after`` are seconds after which it may be asked again."""

    status: ClassVar[int] = 500
    #: The name of the status in gRPC.
    grpc: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message, self.retry_after = message, retry_after


class BadRequest(Failure):
    """What was sent makes no request, or the library refuses it."""

    status, grpc = 400, "INVALID_ARGUMENT"


class NoKey(Failure):
    """The key is missing or wrong."""

    status, grpc = 401, "UNAUTHENTICATED"


class NotFound(Failure):
    """There is no such model, job or route."""

    status, grpc = 404, "NOT_FOUND"


class TooSlow(Failure):
    """The body did not arrive in time."""

    status, grpc = 408, "DEADLINE_EXCEEDED"


class TooLarge(Failure):
    """The body is larger than the limit."""

    status, grpc = 413, "RESOURCE_EXHAUSTED"


class WrongType(Failure):
    """The body is of a type, or compressed in a way, that is not read."""

    status, grpc = 415, "INVALID_ARGUMENT"


class Busy(Failure):
    """The queue is full."""

    status, grpc = 429, "RESOURCE_EXHAUSTED"


class Unavailable(Failure):
    """The model is not loaded yet, or the service stops."""

    status, grpc = 503, "UNAVAILABLE"


class OutOfTime(Failure):
    """The answer was not there at the limit."""

    status, grpc = 504, "DEADLINE_EXCEEDED"
