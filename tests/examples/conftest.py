"""Loads the examples, and starts them as their README says."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import Serving, serving_in, start_wsctl, wsctl  # noqa: F401 - fixtures

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def example() -> Callable[[str], ModuleType]:
    """Import an example by its name, from its folder."""

    def load(name: str) -> ModuleType:
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, EXAMPLES / name / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[name]

    return load


@pytest.fixture
def serve_example() -> Iterator[Callable[..., Serving]]:
    """Start `wsctl serve NAME:app` in the folder of an example."""
    with ExitStack() as stack:

        def start(name: str, **variables: str) -> Serving:
            return stack.enter_context(serving_in(EXAMPLES / name))(f"{name}:app", **variables)

        yield start


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
