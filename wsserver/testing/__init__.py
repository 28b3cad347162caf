"""Tests of an app: a server in the test's own event loop, clients by user, and a clock to move (see docs/apps.md).

Nothing here needs pytest; `wsserver.testing.fixtures` has the fixtures for it.
"""

from wscore.message import Message
from wsserver.testing.client import AppClient
from wsserver.testing.clock import MovableClock
from wsserver.testing.serving import AppServer, serving

__all__ = ["AppClient", "AppServer", "Message", "MovableClock", "serving"]
