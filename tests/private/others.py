"""Private parts of what reads, signs, counts and loads: msgspec, PyJWT, hdrhistogram, Locust, gevent, and voice."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm, OKPAlgorithm

from tests.private.rows import part, run_apart


@part(
    "msgspec: what its errors say",
    '"truncated" in text',
    mend="mend `_reason`, which puts the texts right for a reader",
)
def check_msgspec_texts() -> None:
    """An error ends with its place in backticks; half a surrogate pair in skipped data is told as `truncated`."""

    class Data(msgspec.Struct):
        a: int = 0

    with pytest.raises(msgspec.ValidationError, match=r" - at `\$\.a`$"):
        msgspec.json.decode(b'{"a": "x"}', type=Data)
    for text in (b'{"b": "\\ud800"}', b'{"a": 1'):
        with pytest.raises(msgspec.DecodeError, match="truncated"):
            msgspec.json.decode(text, type=Data)


@part(
    "PyJWT: `PyJWS` and its algorithms",
    "PyJWS(",
    mend="read what `decode_complete` calls, and keep the checks that it had",
)
def check_pyjwt() -> None:
    """`PyJWS` takes algorithms and options, asks `prepare_key` of one that was registered, and returns the payload."""

    class Ready(HMACAlgorithm):
        def prepare_key(self, key: object) -> object:
            asked.append(key)
            return key

    asked: list[object] = []
    key = b"k" * 32
    jws = PyJWS(["EdDSA"], {"verify_signature": True, "enforce_minimum_key_length": True})
    assert jws.options["enforce_minimum_key_length"]
    jws.register_algorithm("HS256", Ready(HMACAlgorithm.SHA256))
    token = jws.encode(b"{}", key, "HS256")
    assert jws.decode_complete(token, key, ["HS256"])["payload"] == b"{}"
    assert asked == [key, key]
    assert callable(OKPAlgorithm().prepare_key)


@part("hdrhistogram: it has no types", "from hdrh", mend="look for the new names in its README")
def check_hdrhistogram() -> None:
    """The methods that we call are there; an encoded histogram can be decoded, and added to another."""
    histogram = HdrHistogram(1, 60_000_000, 3)
    histogram.record_value(1000, 2)
    other = HdrHistogram(1, 60_000_000, 3)
    other.decode_and_add(str(histogram.encode(), "ascii"))
    same = HdrHistogram.decode(str(other.encode(), "ascii"))
    assert (same.get_total_count(), same.total_count) == (2, 2)
    assert (same.get_min_value(), same.get_max_value()) == (1000, 1000)
    assert round(same.get_mean_value()) == same.get_value_at_percentile(50.0) == 1000


@part(
    "Locust: how users are spawned",
    "_user_count_per_dispatch_iteration",
    "_wait_between_dispatch",
    "_sort_workers",
    "_worker_nodes",
    mend="find what sets the size of a batch and the pause after it, and what orders the workers",
)
def check_locust_dispatcher() -> None:
    """`_sort_workers` orders `_worker_nodes`; `new_dispatch` sets the size of a batch and the pause after it."""
    run_apart("""
from locust import User
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.runners import WorkerNode

class Dispatcher(UsersDispatcher):
    def _sort_workers(self):
        self._worker_nodes.sort(key=lambda worker: worker.id)

class One(User):
    def run(self): pass

nodes = [WorkerNode(id=name) for name in ("b_2", "a_9", "b_1")]
dispatcher = Dispatcher(nodes, [One])
assert [node.id for node in dispatcher._worker_nodes] == ["a_9", "b_1", "b_2"]
dispatcher.new_dispatch(30, 10.0, [One])
assert (dispatcher._user_count_per_dispatch_iteration, dispatcher._wait_between_dispatch) == (10, 1.0)
dispatcher._user_count_per_dispatch_iteration, dispatcher._wait_between_dispatch = 3, 0
assert sum(sum(users.values()) for users in next(dispatcher).values()) == 3
assert isinstance(Environment(user_classes=[One], dispatcher_class=Dispatcher).dispatcher_class, type)
""")


@part("Locust: its runners", "runner.server.port", "node_id", mend="look for them in `locust/runners.py`")
def check_locust_runners() -> None:
    """A master has `server.port` and `worker_count`, a worker `greenlet`, and a message `node_id` and `data`."""
    run_apart("""
import gevent
from locust.env import Environment

master, worker = Environment(user_classes=[]), Environment(user_classes=[])
leading = master.create_master_runner("127.0.0.1", 0)
got = gevent.event.AsyncResult()
leading.register_message("to-master", lambda environment, msg, **_: got.set((msg.node_id, msg.data)))
working = worker.create_worker_runner("127.0.0.1", leading.server.port)
back = gevent.event.AsyncResult()
working.register_message("to-worker", lambda environment, msg, **_: back.set(msg.data), concurrent=True)
working.send_message("to-master", b"1")
node, data = got.get(timeout=30)
assert (node, data) == (working.client_id, b"1")
with gevent.Timeout(30):
    while leading.worker_count != 1:
        gevent.sleep(0.01)
leading.send_message("to-worker", b"2", client_id=node)
assert back.get(timeout=30) == b"2"
assert len(working.greenlet) > 0
leading.quit()
with gevent.Timeout(30):
    while len(working.greenlet):
        gevent.sleep(0.01)
""")


@part(
    "gevent: the hub's own watchers",
    "get_hub().loop",
    mend="watch epoll's descriptor in another way, see `HubSelector`",
)
def check_gevent_hub() -> None:
    """The hub waits for a watcher that `loop.io` or `loop.timer` made; `get_original` gives what Locust patched."""
    run_apart("""
import locust, os, gevent
from gevent.monkey import get_original

epoll = get_original("select", "epoll")()
reading, writing = os.pipe()
epoll.register(reading, 1)
hub = gevent.get_hub()
os.write(writing, b"1")
with gevent.Timeout(30):
    hub.wait(hub.loop.io(epoll.fileno(), 1))
    hub.wait(hub.loop.timer(0))
assert epoll.poll(0) == [(reading, 1)]
assert get_original("select", "select")((epoll,), (), (), 0)[0] == [epoll]
""")


@part(
    "faster-whisper: below `transcribe`",
    "get_prompt",
    mend="read what `generate_segments` does now; the release is pinned",
)
def check_faster_whisper() -> None:
    """A model has `feature_extractor`, `encode`, `get_prompt`, `model`, `hf_tokenizer`; a `Tokenizer` is made of it."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or spec.origin is None:
        pytest.skip("faster-whisper is not installed")
    folder = Path(spec.origin).parent  # read, not imported, which takes a second
    model = class_in(folder / "transcribe.py", "WhisperModel")
    assert {"encode", "get_prompt"} <= methods(model).keys()
    assert {"feature_extractor", "model", "hf_tokenizer"} <= {
        node.attr for node in ast.walk(model) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert methods(model)["get_prompt"][:3] == ["self", "tokenizer", "previous_tokens"]
    assert "without_timestamps" in methods(model)["get_prompt"]
    assert "padding" in methods(class_in(folder / "feature_extractor.py", "FeatureExtractor"))["__call__"]
    making = methods(class_in(folder / "tokenizer.py", "Tokenizer"))["__init__"]
    assert making == ["self", "tokenizer", "multilingual", "task", "language"]


def class_in(path: Path, name: str) -> ast.ClassDef:
    tree = ast.parse(path.read_text("utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return found


def methods(of: ast.ClassDef) -> dict[str, list[str]]:
    """Return the names of the arguments of each method."""
    return {node.name: [arg.arg for arg in node.args.args] for node in of.body if isinstance(node, ast.FunctionDef)}


@part("PocketSphinx: what it writes", "_SYNTAX_ERROR", mend="find where it tells the line now; the release is pinned")
def check_pocketsphinx() -> None:
    """A syntax error goes to standard error with its line; `writefile` writes a grammar's TRANSITIONs, by word."""
    if importlib.util.find_spec("pocketsphinx") is None:
        pytest.skip("pocketsphinx is not installed")
    told = run_apart("""
import pathlib, tempfile
from pocketsphinx import Decoder, Jsgf, set_loglevel

head = "#JSGF V1.0;\\ngrammar commands;\\n"
with tempfile.TemporaryDirectory() as folder:
    good, bad, fsg = (pathlib.Path(folder, name) for name in ("good", "bad", "fsg"))
    good.write_text(head + "public <move> = go forward;\\n")
    bad.write_text(head + "public <move> = go (forward;\\n")
    Decoder(lm=None, loglevel="FATAL").read_jsgf(str(good)).writefile(str(fsg))
    lines = [line.split(" ") for line in fsg.read_text().splitlines()]
    words = {line[4] for line in lines if line[0] == "TRANSITION"}
    assert {"go", "forward"} <= words, lines
    set_loglevel("ERROR")
    try:
        Jsgf(str(bad))
    except ValueError:
        pass
""")
    assert re.search(r": syntax error, .* at line 3", told), told


@part("xllamacpp: its settings", "CommonParams", mend="look for the new names in llama.cpp; the release is pinned")
def check_xllamacpp() -> None:
    """`CommonParams` has the fields that we set, and a `Server` the `listening_address`."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    run_apart("""
import xllamacpp

params = xllamacpp.CommonParams()
for name in "hostnames port api_keys ui offline n_ctx n_parallel kv_unified n_predict".split():
    assert hasattr(params, name), name
assert hasattr(params.model, "path")
assert hasattr(params.cpuparams, "n_threads") and hasattr(params.cpuparams_batch, "n_threads")
assert hasattr(xllamacpp.Server, "listening_address")
""")
