# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, by what the caller can know and do about it.

MusterError
    InvalidError        an argument is wrong: nothing was sent
    UnreachableError    no connection: nothing was sent, so trying again is always safe
    TimedOutError       no answer in time: whether it was done is not known
    BrokenError         the connection failed, or what came is no HTTP: whether it was done is not known
    TooBigError         past a limit of this side
    RefusedError        an answer came, and it is an error (any status but 2xx)
        UnauthorizedError   401: see MUSTER_API_KEY
        NotFoundError       404
            UnsupportedError    this daemon has no such call
        ConflictError       409: it is there already, or a name means several models
        UnavailableError    429, 502, 503, 504: later, perhaps; retry_after_s says when, if it is known
"""
from __future__ import annotations

from typing import Any, Mapping, Optional

__all__ = [
    "MusterError", "InvalidError", "UnreachableError", "TimedOutError", "BrokenError", "TooBigError", "RefusedError",
    "UnauthorizedError", "NotFoundError", "UnsupportedError", "ConflictError", "UnavailableError",
]


class MusterError(Exception):
    """The base of all: one sentence that names the thing and says what to do."""


class InvalidError(MusterError, ValueError):
    """An argument is wrong; nothing was sent."""


class UnreachableError(MusterError):
    """No connection could be made; nothing was sent."""


class TimedOutError(MusterError):
    """No answer in time; it may have been done all the same."""


class BrokenError(MusterError):
    """The connection broke off, or what came is not HTTP; it may have been done all the same."""


class TooBigError(MusterError):
    """Larger than a limit of this side."""


class RefusedError(MusterError):
    """The daemon answered, and it is an error.

    status: of HTTP.  code: the daemon's word for it ("model_exists"), or None.  param: the member it is about, or None.
    request_id: what to search its log for, or None.  retry_after_s: seconds, or None.
    """

    def __init__(self, message: str, status: int, code: Optional[str] = None, param: Optional[str] = None,
                 request_id: Optional[str] = None, retry_after_s: Optional[float] = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.request_id, self.retry_after_s = request_id, retry_after_s


class UnauthorizedError(RefusedError):
    """No key, or a wrong one: see MUSTER_API_KEY."""


class NotFoundError(RefusedError):
    """Nothing has that name; the message tells the nearest."""


class UnsupportedError(NotFoundError):
    """This daemon is older than the call."""


class ConflictError(RefusedError):
    """It is there already, or a name means several models; the message lists them."""


class UnavailableError(RefusedError):
    """The daemon, its database or every model is busy or away."""


BY_STATUS = {401: UnauthorizedError, 404: NotFoundError, 409: ConflictError, 429: UnavailableError,
             502: UnavailableError, 503: UnavailableError, 504: UnavailableError}


def refused(status: int, headers: Mapping[str, str], body: Mapping[str, Any], url: str) -> RefusedError:
    """The error that an answer means.  body: its JSON object, empty when it was none."""
    said = body.get("error")
    said = said if isinstance(said, dict) else {"message": said if isinstance(said, str) else None}
    message = said.get("message") or "%s answered with status %d" % (url, status)
    kind = UnsupportedError if said.get("code") == "no_such_path" else BY_STATUS.get(status, RefusedError)
    if kind is UnsupportedError:
        message = "the daemon at %s has no such call yet: update it (%s)" % (url, message)
    try:
        retry_after_s: Optional[float] = max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        retry_after_s = None
    return kind(message, status, said.get("code"), said.get("param"), headers.get("x-request-id"), retry_after_s)
