"""Fixtures for pytest with pytest-asyncio; `pytest_plugins = ["wsserver.testing.fixtures"]` brings them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

from wsserver.sdk.app import App
from wsserver.testing.serving import AppServer, serving

ServeApp = Callable[..., Awaitable[AppServer]]


@pytest_asyncio.fixture
async def serve_app() -> AsyncIterator[ServeApp]:
    """Start servers: `await serve_app(app, **settings)`, see `serving`; all end with the test."""
    async with AsyncExitStack() as stack:

        async def serve(app: App, **settings: Any) -> AppServer:
            return await stack.enter_async_context(serving(app, **settings))

        yield serve


@pytest_asyncio.fixture
async def app_server(app: App) -> AsyncIterator[AppServer]:
    """Run the app that the test's own fixture `app` returns."""
    async with serving(app) as server:
        yield server
