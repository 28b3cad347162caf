"""Processes of `wsctl` that begin where their imports are done: forked from one that has imported what commands use.

What a command is given is its own: arguments, environment, folder, descriptors, signals, exit code. Only what it
imports is there already, which is most of what a start costs, and hundreds of tests start some. That `wsctl` starts by
itself and imports no more than it needs is shown by others: the recipes, completion, `tests/test_house.py`. The load
driver has a process of its own to be forked from, since Locust patches what it is imported beside.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import uuid
from contextlib import suppress
from os import close, fork, waitpid  # as they are before Locust patches them
from pathlib import Path
from select import select
from typing import Any

ROOT = Path(__file__).parents[1]
WSCTL = [sys.executable, "-P", "-m", "cli.main"]  # -P: as the script `wsctl`, which has its own directory on the path
# What commands import, some only once they run. Nothing of it starts a thread, or keeps what the environment says.
MODULES = (
    *(f"cli.{name}" for name in ("serve", "connect", "replay", "loadtest", "publish", "rooms", "sessions", "history")),
    *(f"cli.{name}" for name in ("connections", "kick", "revoke", "top", "token", "explain")),
    *("wsserver.server", "wsclient", "picows", "uvloop", "websockets.asyncio.client", "websockets.asyncio.server"),
)
DRIVER_MODULES = ("locust", "loadtest.driver.modes", "loadtest.generator.selfcheck")
READ_AT_THE_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_")
PR_SET_CHILD_SUBREAPER = 36
DRIVERS = "FORKED_DRIVERS"  # the variable that tells a load test where to ask for its driver, see forkeddriver.py
MESSAGE_BYTES = 1 << 18


def environment(**variables: str) -> dict[str, str]:
    """Return an environment without settings of `wsctl`, but for these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    return clean | {"COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"} | variables


def start(arguments: list[str], *, afresh: bool = False, **options: Any) -> subprocess.Popen[str]:
    """Start `wsctl` with the options of `subprocess.Popen`, `cwd` and `env` among them.

    `afresh` starts an interpreter of its own, for tests of memory, of imports or of the list of processes.
    """
    if afresh or not FORKS.can(options["env"]):
        return subprocess.Popen([*WSCTL, *arguments], text=True, **options)
    if arguments[:1] == ["loadtest"]:
        options["env"] = {**options["env"], DRIVERS: DRIVER_FORKS.address()}
    return Forked(["cli.main", *arguments], text=True, **options)


def start_script(script: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a script of the tests that needs a part of what commands import, in an environment without settings."""
    return Forked([str(script), *arguments], cwd=ROOT, env=environment(), **options)


def start_driver(**options: Any) -> subprocess.Popen[bytes]:
    """Start the load driver alone, which takes its plan from its standard input."""
    return ForkedDriver(["loadtest.driver"], cwd=ROOT, env=environment(), **options)


def run(arguments: list[str], stdin: str = "", *, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `wsctl` to its end, as `subprocess.run` does."""
    pipe = subprocess.PIPE
    with start(arguments, stdin=pipe, stdout=pipe, stderr=pipe, **options) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class ForkServer:
    """The process that forks; it starts at the first request and ends with this one."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._environment = environment()
        self._requests: socket.socket | None = None
        self._address = f"{modules[0]} {uuid.uuid4()}"
        self._lock = threading.Lock()

    def can(self, wanted: dict[str, str]) -> bool:
        """Whether a process with this environment may be forked: what Python itself reads is as it was at the start."""
        changed = {name for name, _ in wanted.items() ^ self._environment.items()}
        return sys.platform == "linux" and not any(name.startswith(READ_AT_THE_START) for name in changed)

    def fork(self, arguments: list[str], folder: Path, variables: dict[str, str], descriptors: list[int]) -> int:
        """Fork a process, with these as its standard streams; returns its pid. It becomes a child of this process."""
        prctl = ctypes.CDLL(None).prctl
        with self._lock:
            requests = self._requests or self._begin()
            prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                return ask(requests, arguments, folder, variables, descriptors)  # told when it has been handed over
            finally:
                prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def address(self) -> str:
        """Return where processes that are no child of this one can ask for one: it will be theirs in all but name."""
        with self._lock:
            if self._requests is None:
                self._begin()
        return self._address

    def _begin(self) -> socket.socket:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind("\0" + self._address)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno()), str(listener.fileno()), *self._modules],
            stdin=subprocess.PIPE,  # pipes, as its children have
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            pass_fds=[theirs.fileno(), listener.fileno()],
        )
        theirs.close()
        listener.close()
        atexit.register(self._end, self._requests, process)
        return self._requests

    @staticmethod
    def _end(requests: socket.socket, process: subprocess.Popen[bytes]) -> None:
        requests.close()
        process.communicate()


def ask(
    requests: socket.socket,
    arguments: list[str],
    folder: Path,
    variables: dict[str, str],
    descriptors: list[int],
    *,
    new_session: bool = False,
) -> int:
    """Ask for a process; returns its pid."""
    what = {"arguments": arguments, "folder": str(folder), "environment": variables, "new_session": new_session}
    socket.send_fds(requests, [json.dumps(what).encode()], descriptors)
    return int(requests.recv(MESSAGE_BYTES))


FORKS = ForkServer(*MODULES)
DRIVER_FORKS = ForkServer(*DRIVER_MODULES)


class Forked(subprocess.Popen[Any]):
    """As any process that was started, but for how."""

    forks = FORKS

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, *rest: Any
    ) -> None:
        _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_ = rest
        given = [number if fd == -1 else fd for number, fd in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = self.forks.fork(args, cwd, env, given)
            self._child_created = True
        finally:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


class ForkedDriver(Forked):
    """As any load driver."""

    forks = DRIVER_FORKS


def serve(requests: socket.socket, listener: socket.socket, modules: list[str]) -> None:
    """Fork for each request, until who asks is gone; returns in each forked process."""
    plain = socket.socket
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    while True:
        with suppress(ChildProcessError):
            while waitpid(-1, os.WNOHANG)[0]:
                pass
        if listener in select([requests, listener], [], [])[0]:
            link = plain(fileno=listener._accept()[0])
            if fork() == 0:
                requests.close()
                listener.close()
                return attend(link)
            link.close()
            continue
        message, descriptors = receive(requests)
        if not message:
            os._exit(0)
        ours, theirs = os.pipe()
        between = fork()
        if between == 0:
            pid = fork()
            if pid == 0:
                close(ours)
                close(theirs)
                requests.close()
                listener.close()
                return become(json.loads(message), descriptors)
            os.write(theirs, str(pid).encode())
            os._exit(0)  # so that the one who asked gets its child
        for descriptor in (*descriptors, theirs):
            close(descriptor)
        waitpid(between, 0)
        requests.send(os.read(ours, MESSAGE_BYTES))
        close(ours)


def receive(requests: socket.socket) -> tuple[bytes, list[int]]:
    """Take a request and the descriptors that came with it; it is empty when nobody is there any more."""
    message, ancillary, _, _ = requests.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    return message, array.array("i", ancillary[0][2]).tolist() if ancillary else []


def attend(link: socket.socket) -> None:
    """Be the parent of one process for somebody who cannot be: tell its pid, and its status when it has ended."""
    message, descriptors = receive(link)
    pid = fork()
    if pid == 0:
        link.close()
        return become(json.loads(message), descriptors)
    for descriptor in descriptors:
        close(descriptor)
    with suppress(ConnectionError):
        link.send(str(pid).encode())
        link.send(str(waitpid(pid, 0)[1]).encode())
    os._exit(0)


def become(what: dict[str, Any], descriptors: list[int]) -> None:
    """Be the process that was asked for, up to its first line."""
    if "gevent" in sys.modules:
        sys.modules["gevent"].reinit()  # as the `fork` does that it has put in place of Python's
    if what["new_session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        close(descriptor)
    os.chdir(what["folder"])
    os.environ.clear()
    os.environ.update(what["environment"])
    sys.argv = what["arguments"]
    if DRIVERS in os.environ:
        importlib.import_module("tests.forkeddriver").take_over(os.environ.pop(DRIVERS))


if __name__ == "__main__":
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:3]), sys.argv[3:])
    if sys.argv[0].endswith(".py"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
