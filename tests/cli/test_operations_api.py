"""The HTTP API of the operations port: publish, look, steer; of one process and of a cluster."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from openapi_spec_validator import validate
from websockets.exceptions import ConnectionClosed

from tests.apipage import BEGIN, PAGE, generated
from tests.cli.conftest import HANG_S
from tests.cli.operators import asked, operated, refused
from wscore.wallclock import now_ms

KEY = "0123456789abcdef-operator"
READ_KEY = "0123456789abcdef-reader"


@pytest.fixture
def ops(start_wsctl):
    """Start a server with an operations port; returns its process, a client of the port, and what makes members."""
    with operated(start_wsctl) as start:
        yield start


def test_publishes_reach_a_session_a_room_and_a_user_with_their_place(ops):
    _, client, member = ops()
    ann, bob = member("s", "lobby"), member("t")
    for target in ({"session": "s"}, {"room": "lobby"}, {"user": ann.user}):
        body = {"type": "news", "data": {"to": target}, "userId": "backend", **target}
        place = asked(client.post("publish", json=body))
        got = ann.receive("news")
        assert (got["data"], got["userId"]) == ({"to": target}, "backend")
        assert (place.get("seq"), place.keys()) == ((1, {"epoch", "seq"}) if "user" not in target else (None, set()))
    results = asked(client.post("broadcast", json={"type": "all", "sessions": ["s", "t"], "rooms": ["empty"]}))[
        "results"
    ]
    assert [(row.get("session"), row.get("room"), row["seq"]) for row in results] == [
        ("s", None, 2),
        ("t", None, 1),
        (None, "empty", 1),
    ]
    assert {"seq": ann.receive("all")["seq"], "other": bob.receive("all")["seq"]} == {"seq": 2, "other": 1}
    assert asked(client.post("send", json={"connection": bob.id, "type": "own", "data": [1]}))["sent"] == 1
    assert bob.receive("own")["data"] == [1]
    assert asked(client.post("send", json={"connection": "nobody", "type": "own"}))["sent"] == 0


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("publish", {"type": "x"}, "$"),
        ("publish", {"type": "x", "room": "a", "session": "b"}, "$"),
        ("publish", {"type": "ping", "room": "a"}, "$.type"),
        ("publish", {"type": "", "room": "a"}, "$.type"),
        ("publish", {"type": "x", "room": "a b"}, "$.room"),
        ("publish", {"type": "x", "room": "a\n"}, "$.room"),
        ("publish", {"type": "x", "room": "a", "rom": "b"}, "$"),
        ("publish", {"room": "a"}, "$"),
        ("publish", [], "$"),
        ("broadcast", {"type": "x"}, "$"),
        ("broadcast", {"type": "x", "rooms": ["a"] * 1001}, "$.rooms"),
        ("broadcast", {"type": "x", "rooms": ["a", 1]}, "$.rooms[1]"),
        ("disconnect", {}, "$"),
        ("disconnect", {"user": "a", "code": 1005}, None),
        ("disconnect", {"user": "a", "reason": "x" * 124}, "$.reason"),
        ("batch", {"acts": []}, "$.acts"),
        ("batch", {"acts": [{"type": "x"}]}, "$.acts[0]"),
        ("batch", {"acts": [{"act": "publish"}]}, "$.acts[0]"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(shared_ops, path, body, place):
    assert refused(shared_ops.post(path, json=body)) == (400, "INVALID_REQUEST", place)


def test_the_rule_of_names_is_told_in_words(shared_ops):
    said = shared_ops.post("publish", json={"type": "x", "room": "a b"}).json()["error"]["message"]
    assert said == "Expected 1 to 128 of `A-Z a-z 0-9 _ . : -`."


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("connections?limit=0", "$.limit"),
        ("connections?limit=1001", "$.limit"),
        ("connections?limit=x", "$.limit"),
        ("connections?nope=1", "$"),
        ("connections?limit=1&limit=2", None),
        ("connections?address=x", "$.address"),
        ("connections?cursor=x", "$.cursor"),
        ("rooms?cursor=%C3%A4", "$.cursor"),
        ("presence", "$"),
        ("presence?room=a%20b", "$.room"),
        ("history", "$"),
        ("history?room=a&session=b", "$"),
    ],
)
def test_a_query_that_is_wrong_is_told_with_its_place(shared_ops, query, place):
    assert refused(shared_ops.get(query)) == (400, "INVALID_REQUEST", place)


@pytest.fixture
def shared_ops(ops):
    return ops()[1]


def test_a_body_that_is_no_json_is_refused(shared_ops):
    body = b'{"type":"x","room":"a"}'
    json_type = {"Content-Type": "application/json"}
    for headers in (
        *({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}),
        *({"Content-Type": "application/json; charset=latin-1"}, {**json_type, "Content-Encoding": "gzip"}),
    ):
        assert refused(shared_ops.post("publish", content=body, headers=headers))[:2] == (400, "INVALID_REQUEST")
    in_words = {"Content-Type": 'Application/JSON; Charset="UTF-8"', "Content-Encoding": "identity"}
    assert shared_ops.post("publish", content=body, headers=in_words).status_code == 200
    for content in (
        b"",
        b"{",
        b'{"type":"\xff"}',
        b'{"type":"x","room":"a","data":NaN}',
        b'{"type":"x","room":"a","data":"\\ud800"}',
    ):
        answer = shared_ops.post("publish", content=content, headers=json_type)
        assert refused(answer)[:2] == (400, "INVALID_REQUEST"), content
    assert refused(shared_ops.post("publish", content=b" " * (1 << 20) + body, headers=json_type))[:2] == (
        413,
        "TOO_LARGE",
    )
    chunks = (b" " * 65536 for _ in range(17))  # of no declared length
    assert refused(shared_ops.post("publish", content=chunks, headers=json_type))[:2] == (413, "TOO_LARGE")
    assert refused(shared_ops.get("publish"))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert refused(shared_ops.get("nothing"))[:2] == (404, "NOT_FOUND")


def test_a_request_that_is_sent_again_is_done_once(ops):
    _, client, member = ops()
    ann = member("s", "lobby")
    body = {"type": "paid", "data": 17, "room": "lobby"}
    key = {"Idempotency-Key": "order-17"}
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, "publish", json=body, headers=key) for _ in range(8)]
        assert {json.dumps(asked(answer.result())) for answer in answers} == {json.dumps(asked(answers[0].result()))}
    assert refused(client.post("publish", json=body | {"data": 18}, headers=key))[:2] == (409, "CONFLICT")
    asked(client.post("broadcast", json={"type": "other", "rooms": ["lobby"]}, headers=key))  # of another route
    assert [ann.receive(kind)["seq"] for kind in ("paid", "other")] == [1, 2]
    for wrong in ("", "x" * 65, "a b"):
        answer = client.post("publish", json=body, headers={"Idempotency-Key": wrong})
        assert refused(answer)[:2] == (400, "INVALID_REQUEST"), wrong
    wrong_first = client.post("publish", json={"type": "ping", "room": "lobby"}, headers={"Idempotency-Key": "w"})
    again = client.post("publish", json={"type": "ping", "room": "lobby"}, headers={"Idempotency-Key": "w"})
    assert (wrong_first.status_code, wrong_first.content) == (again.status_code, again.content)


def test_a_batch_is_done_in_order_and_what_is_wrong_with_one_act_is_no_matter_to_others(ops):
    _, client, member = ops()
    ann = member("s", "lobby")
    acts = [{"act": "publish", "type": "n", "data": number, "room": "lobby"} for number in range(50)]
    acts[20]["type"] = "pong"
    acts += [
        {"act": "broadcast", "type": "n", "data": 50, "rooms": ["lobby"], "users": ["nobody"]},
        {"act": "send", "connection": ann.id, "type": "n", "data": 51},
        {"act": "disconnect", "connection": ann.id, "code": 4000, "reason": "done"},
        {"act": "disconnect"},
    ]
    results = asked(client.post("batch", json={"acts": acts}))["results"]
    assert [row["publish"]["seq"] for row in results[:50] if "publish" in row] == list(range(1, 50))
    assert results[20]["error"]["place"] == "$.type"
    assert [row["seq"] for row in results[50]["broadcast"]["results"] if "room" in row] == [50]
    assert results[51]["send"]["sent"] == results[52]["disconnect"]["disconnected"] == 1
    assert results[53]["error"]["code"] == "INVALID_REQUEST"
    assert [ann.receive("n")["data"] for _ in range(51)] == [*range(20), *range(21, 52)]
    many = [{"act": "broadcast", "type": "n", "rooms": ["a"] * 501}] * 2
    assert refused(client.post("batch", json={"acts": many})) == (400, "INVALID_REQUEST", "$.acts")


def test_connections_are_listed_by_page_and_filtered(ops):
    _, client, member = ops()
    people = [member(f"s{number % 3}", "lobby" if number % 2 else None) for number in range(7)]
    ids = [person.id for person in people]
    page = asked(client.get("connections"))
    assert (sorted(row["id"] for row in page["connections"]), page["total"], page["missing"]) == (sorted(ids), 7, [])
    row = next(row for row in page["connections"] if row["id"] == ids[1])
    node = row.pop("node")
    assert re.fullmatch(r".+:\d+", node)
    assert abs(row.pop("openedAt") - now_ms()) < 60_000
    assert row == {
        **{"id": ids[1], "user": people[1].user, "isGuest": True, "session": "s1", "rooms": ["lobby"]},
        **{"roomCount": 1, "address": "127.0.0.1", "bufferedBytes": 0},
    }
    found, cursor = [], ""
    while cursor is not None:
        page = asked(client.get("connections", params={"limit": 3, **({"cursor": cursor} if cursor else {})}))
        found += [row["id"] for row in page["connections"]]
        cursor = page.get("next")
    assert found == [row["id"] for row in asked(client.get("connections"))["connections"]]

    def filtered(**params):
        return {row["id"] for row in asked(client.get("connections", params=params))["connections"]}

    assert filtered(user=people[2].user) == {ids[2]}
    assert filtered(room="lobby") == set(ids[1::2])
    assert filtered(session="s0", room="lobby") == {ids[3]}
    assert filtered(address="127.0.0.0/8") == filtered(address="127.0.0.1") == filtered(maxAge=600_000) == set(ids)
    assert filtered(address="10.0.0.0/8") == filtered(minAge=600_000) == filtered(minBuffered=1) == set()
    assert [(row["name"], row["connections"]) for row in asked(client.get("sessions"))["sessions"]] == [
        ("s0", 3),
        ("s1", 2),
        ("s2", 2),
    ]
    assert asked(client.get("rooms"))["rooms"] == [{"name": "lobby", "connections": 3}]
    assert asked(client.get("rooms", params={"prefix": "x"}))["rooms"] == []
    largest = asked(client.get("sessions", params={"order": "size", "limit": 1}))
    assert largest == {"sessions": [{"name": "s0", "connections": 3}], "missing": []}
    presence = asked(client.get("presence", params={"room": "lobby", "limit": 2}))
    rest = asked(client.get("presence", params={"room": "lobby", "limit": 2, "cursor": presence["next"]}))
    assert presence["users"] + rest["users"] == sorted(person.user for person in people[1::2])
    assert (presence["connections"], "next" in rest) == (3, False)


def test_a_slow_reader_is_found_by_the_bytes_that_wait(ops):
    _, client, member = ops()
    slow = member("s", "lobby")
    for _ in range(100):
        asked(client.post("publish", json={"type": "big", "data": "x" * 60_000, "session": "s"}))
        page = asked(client.get("connections", params={"minBuffered": 1000}))
        if page["connections"]:
            break
    assert [row["id"] for row in page["connections"]] == [slow.id]


def test_who_is_disconnected_gets_the_code_and_is_counted(ops):
    _, client, member = ops()
    people = [member(f"s{number}", "lobby" if number < 2 else None) for number in range(5)]

    def disconnected(**body):
        return asked(client.post("disconnect", json=body))["disconnected"]

    assert disconnected(room="lobby", code=4321, reason="go") == 2
    assert disconnected(user=people[2].user) == disconnected(session="s3") == disconnected(connection=people[4].id) == 1
    for number, person in enumerate(people):
        with pytest.raises(ConnectionClosed, match="4321.*go" if number < 2 else "4004"):
            person.receive("nothing")
    assert disconnected(room="lobby") == 0


def test_history_is_read_and_removed_and_members_are_told(ops):
    _, client, member = ops()
    ann = member("s", "lobby")
    for number in range(5):
        asked(client.post("publish", json={"type": "n", "data": number, "room": "lobby"}))

    def kept(**params):
        return [row["data"] for row in asked(client.get("history", params={"room": "lobby", **params}))["messages"]]

    assert (kept(), kept(limit=2), kept(limit=2, before=4)) == ([0, 1, 2, 3, 4], [3, 4], [1, 2])
    assert asked(client.delete("history", params={"room": "lobby"})) == {"removed": True}
    assert kept() == []
    assert ann.receive("recovery")["data"]["room"] == "lobby"
    assert asked(client.post("publish", json={"type": "n", "room": "lobby"}))["seq"] == 1


def test_a_revoked_user_is_out_and_stays_out(ops, wsctl):
    _, client, member = ops()
    ann = member("s")
    before = now_ms()
    answer = asked(client.post("tokens/revoke", json={"userId": ann.user}))
    assert answer["expiresAtMs"] > before + 29 * 24 * 3600 * 1000
    with pytest.raises(ConnectionClosed, match="4001"):
        ann.receive("nothing")
    for body, place in (
        ({}, "$"),
        ({"jti": "a", "userId": "b"}, "$"),
        ({"issuedBeforeMs": 17}, "$"),
        ({"jti": 1}, "$.jti"),
    ):
        assert refused(client.post("tokens/revoke", json=body)) == (400, "INVALID_REQUEST", place)
    future = {"issuedBeforeMs": now_ms() + 3_600_000}
    assert refused(client.post("tokens/revoke", json=future))[:2] == (400, "INVALID_REQUEST")


def test_a_read_only_key_changes_nothing_and_each_act_is_one_line_of_the_log(ops):
    keys = {"WSCTL_OPS_KEY": KEY, "WSCTL_OPS_READ_KEY": READ_KEY}
    process, client, member = ops(headers={"Authorization": f"Bearer {READ_KEY}"}, **keys)
    ann = member("s", "lobby")
    body = {"type": "n", "room": "lobby", "data": "a secret of a message"}
    for path in ("publish", "broadcast", "send", "disconnect", "tokens/revoke", "batch"):
        assert refused(client.post(path, json=body))[:2] == (403, "FORBIDDEN")
    assert refused(client.delete("history", params={"room": "lobby"}))[:2] == (403, "FORBIDDEN")
    assert asked(client.get("history", params={"room": "lobby"})) == {"messages": []}
    may = {"Authorization": f"Bearer {KEY}"}
    asked(client.post("publish", json=body, headers=may))
    asked(client.post("disconnect", json={"connection": ann.id}, headers=may))
    asked(client.delete("history", params={"room": "lobby"}, headers=may))
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG_S) == 0
    log = process.stderr.read()
    assert log.count("key=ops-read ") == log.count("result=FORBIDDEN") == 7
    acts = re.findall(r"ops\.act key=ops peer=127\.0\.0\.1 act=(\S+) target=(\S+) result=done", log)
    assert acts == [("publish", "room:lobby"), ("disconnect", f"connection:{ann.id}"), ("history.remove", "room:lobby")]
    assert not [text for text in (KEY, READ_KEY, "a secret of a message") if text in log]


def test_the_openapi_document_is_valid_and_the_page_of_the_docs_is_what_it_says(shared_ops):
    document = asked(shared_ops.get("openapi.json"))
    validate(document)
    assert document["openapi"].startswith("3.1")
    text = PAGE.read_text("utf-8")
    assert text[text.index(BEGIN) :] == generated(), "python -m tests.apipage writes it"
    for path, operations in document["paths"].items():  # each route is there
        for method in operations:
            assert shared_ops.request(
                method, f"http://{shared_ops.base_url.host}:{shared_ops.base_url.port}{path}"
            ).status_code in (200, 400)


def test_the_page_of_the_api_is_shown_by_a_browser_and_loads_nothing(shared_ops, tmp_path):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    url = str(shared_ops.base_url).rstrip("/")
    html = httpx.get(url, trust_env=False)
    assert not re.findall(r"(?:src|href)=\"(?!#|/api/v1/openapi\.json)", html.text)
    assert "<script" not in html.text
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--dump-dom",
        url,
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S * 2, check=True).stdout
    assert "POST /api/v1/publish" in shown
    assert "Idempotency-Key" in shown
