# SPDX-License-Identifier: Apache-2.0
"""Where the daemon is, who calls, and what serves without it; from the environment.

MUSTER_URL                 default http://127.0.0.1:8080; a path after the port stays in front of every call
MUSTER_API_KEY             sent as a bearer token when it is not empty
MUSTER_ACTOR               who changes things, for the registry's history (at most 128 characters); default user@host
MUSTER_CA_FILE             certificates to trust instead of the system's, for https
MUSTER_FALLBACK_ENDPOINTS  USE_CASE=URL,USE_CASE=URL: plain POST /generate servers for when the daemon is away;
                           the daemon reads the same variable in the same form
MUSTER_FALLBACK_CONTENT    what is said when nothing can answer
"""
from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, field
from typing import Dict, Mapping, Optional
from urllib.parse import urlsplit

from .errors import InvalidError

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_FALLBACK_CONTENT = "I cannot answer right now. Please try again in a moment."
MAX_ACTOR = 128


@dataclass(frozen=True)
class Config:
    """Settings of a client; immutable.  The key is kept out of repr()."""

    url: str = DEFAULT_URL
    api_key: str = field(default="", repr=False)
    actor: str = ""
    ca_file: Optional[str] = None
    fallback_endpoints: Mapping[str, str] = field(default_factory=dict)  # by use case
    fallback_content: str = DEFAULT_FALLBACK_CONTENT

    @classmethod
    def from_environment(cls, environ: Optional[Mapping[str, str]] = None) -> "Config":
        """What the variables above say; raises InvalidError naming the one that cannot be read."""
        env = os.environ if environ is None else environ
        return cls(
            url=env.get("MUSTER_URL") or DEFAULT_URL,
            api_key=env.get("MUSTER_API_KEY", ""),
            actor=printable(env.get("MUSTER_ACTOR") or default_actor()),
            ca_file=env.get("MUSTER_CA_FILE") or None,
            fallback_endpoints=parse_endpoints(env.get("MUSTER_FALLBACK_ENDPOINTS", "")),
            fallback_content=env.get("MUSTER_FALLBACK_CONTENT") or DEFAULT_FALLBACK_CONTENT,
        )


def use_case_of(layer: str) -> str:
    """The use case a layer is short for: foundation is foundation_layer."""
    return layer if layer.endswith("_layer") else layer + "_layer"


def parse_endpoints(text: str) -> Dict[str, str]:
    """USE_CASE=URL,USE_CASE=URL as a dict."""
    endpoints = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, url = item.partition("=")
        if not name or urlsplit(url).scheme not in ("http", "https"):
            raise InvalidError("MUSTER_FALLBACK_ENDPOINTS: '%s' is not USE_CASE=http://HOST:PORT/PATH" % item)
        endpoints[name] = url
    return endpoints


def default_actor() -> str:
    """user@host, as the command line says it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name
        user = "unknown"
    return "%s@%s" % (user, socket.gethostname())


def printable(text: str) -> str:
    """What can stand in a header: visible ASCII, at most MAX_ACTOR characters."""
    return "".join(c if "!" <= c <= "~" or c == " " else "_" for c in text[:MAX_ACTOR])
