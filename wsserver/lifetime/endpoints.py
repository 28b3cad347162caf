"""Where a handshake leads: to the envelope protocol's controller, or to the raw echo."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from wsserver.engines.base import Gateway
from wsserver.engines.request import HandshakeRequest, HttpReply
from wsserver.handshake.forwarded import Proxies
from wsserver.handshake.upgrade import Upgrade
from wsserver.lifetime.exposure import ExposureWatch

_ALLOW: Final = (("Allow", "GET, HEAD, OPTIONS"),)


class Endpoints:
    """Finds out who made each request, asks the upgrade about it, and picks the gateway (engines' `UpgradeHandler`)."""

    __slots__ = ("_controller", "_echo", "_echo_paths", "_exposure", "_proxies", "_upgrade")

    def __init__(
        self,
        proxies: Proxies,
        upgrade: Upgrade,
        controller: Gateway[Any],
        echo: Gateway[Any],
        echo_paths: frozenset[str],
        exposure: ExposureWatch,
    ) -> None:
        self._proxies = proxies
        self._upgrade = upgrade
        self._exposure = exposure
        self._controller = controller
        self._echo = echo
        self._echo_paths = echo_paths

    def handshake(self, request: HandshakeRequest, peer_ip: str | None) -> HttpReply | Gateway[Any]:
        """Answer a request with plain HTTP, or name the gateway that takes the connection.

        OPTIONS is how HAProxy asks whether a server lives, at any path, unless it is told to ask otherwise.
        """
        self._proxies.resolve(request, peer_ip)
        self._exposure.check(request)
        if request.method == "OPTIONS" and not self._upgrade.draining:
            return HttpReply(HTTPStatus.NO_CONTENT, headers=_ALLOW)
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            return HttpReply(HTTPStatus.METHOD_NOT_ALLOWED, b"GET, HEAD and OPTIONS only\n", _ALLOW)
        if request.has_body:
            return HttpReply(HTTPStatus.BAD_REQUEST, b"a request with a body is not for this server\n")
        return self._upgrade.answer(request) or (self._echo if request.path in self._echo_paths else self._controller)
