"""What is found beside the endpoint: words that say what this is, where the endpoint is and how to connect."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from http import HTTPStatus
from typing import Final

from wsserver.engines.request import HandshakeRequest, HttpReply

ROOT: Final = "/"
HTML: Final = "text/html; charset=utf-8"

_ELSEWHERE: Final = "HOST:PORT"  # where a client does not say what it calls this server
_NAMES: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{1,5})?")
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;"
    "color:#222;background:#fff}"
    "pre{background:#f2f2f2;padding:.7rem 1rem;overflow-x:auto}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#262626}}"
)
# Nothing may be loaded from anywhere, and no script may run: all there is, is the style with this very hash.
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Vary", "Accept"),
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
<p>This port is for programs that speak WebSocket, not for browsers: there is nothing more to see.</p>
<p>From a terminal:</p>
<pre>{command}</pre>
<p>From a web page:</p>
<pre>new WebSocket("{url}?token=TOKEN")</pre>
</html>
"""
_TITLE: Final = "A WebSocket server"


class SignPost:
    """Answers what is asked for beside the endpoint, whose `path` everybody may know."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def answer(self, request: HandshakeRequest) -> HttpReply:
        """Return a page or words at `/`, else 404 with words, as for an upgrade at the wrong path."""
        if request.path != ROOT or request.wants_upgrade:
            words = f"no WebSocket at this path: it is at {self._path}\n"
            return HttpReply(HTTPStatus.NOT_FOUND, words.encode())
        url = self._url(request)
        command = f"wsctl connect {url}"
        if not any("text/html" in item.lower() for item in request.header_items("accept")):
            words = f"{_TITLE}. Connect by: {command}\n"
            return HttpReply(HTTPStatus.OK, words.encode(), _HEADERS)
        page = _PAGE.format(title=_TITLE, style=_STYLE, command=escape(command), url=escape(url))
        return HttpReply(HTTPStatus.OK, page.encode(), _HEADERS, HTML)

    def _url(self, request: HandshakeRequest) -> str:
        """Return where to connect, by the name that the client calls this server by, if it can be one."""
        host = request.host if _NAMES.fullmatch(request.host) else _ELSEWHERE
        return f"{'wss' if request.is_secure else 'ws'}://{host}{self._path}"
