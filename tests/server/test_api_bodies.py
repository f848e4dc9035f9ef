"""Bodies that are made to hurt: each is refused, soon, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from tests.config_helpers import MINIMAL, changed
from tests.fakes import eventually
from tests.server.api_client import Client, serving
from vmanomaly.server.bodies import BodyChecks
from vmanomaly.server.middleware import BodyLimit
from vmanomaly.server.routes import configs
from vmanomaly.service import plan

MODEL = "/api/v1/model/validate"
CONFIG = "/api/v1/config/validate"
DETECTION = "/api/v1/anomaly_detection/tasks"
AUTOTUNE = "/api/v1/autotune/tasks"
YAML = "application/yaml"
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving() as client:
        yield client


def test_others_are_answered_while_a_body_is_checked(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[int] = []
    end = threading.Event()

    def waits(sections: dict[str, Any]) -> dict[str, Any]:
        running.append(sections["number"])
        assert end.wait(60)
        return {"is_valid": True, "validated": {}, "warnings": []}

    monkeypatch.setattr(configs, "_checked", waits)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(client.ok, "POST", CONFIG, {"number": n}) for n in range(3)]
        try:
            assert eventually(lambda: len(running) == 2)
            assert client.ok("GET", "/health")["status"] == "ok"
            assert client.ok("POST", MODEL, {"class": "std"})["valid"]
            assert len(running) == 2
        finally:
            end.set()
        assert all(each.result()["is_valid"] for each in asked)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it in a thread of its own: in this one, Playwright may leave an event loop running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_a_body_whose_client_has_left_is_not_checked() -> None:
    checked: list[int] = []

    async def ask(number: int, *later: Message) -> int:
        body = json.dumps({"number": number}).encode()
        request = asked_for(body, *later)
        return (await checks.answer(request, "numbers", 10, check)).status_code

    def check(content: dict[str, Any]) -> dict[str, Any]:
        checked.append(content["number"])
        return content

    checks = BodyChecks()
    assert run(ask(0, {"type": "http.request", "body": b""})) == 200
    with pytest.raises(ClientDisconnect):
        run(ask(1, {"type": "http.disconnect"}))
    assert checked == [0]


def asked_for(body: bytes, *later: Message) -> Request:
    """Return a request with a JSON body, and what the server says of it later."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}, *later])

    async def receive() -> Message:
        return next(messages)

    kind = [(b"content-type", b"application/json")]
    return Request({"type": "http", "method": "POST", "headers": kind}, receive)


def test_large_bodies_share_a_limit_and_small_ones_have_room() -> None:
    """Of 4 MiB each, without the 64 KiB that do not count, 16 are 63 MiB."""

    async def bodies() -> None:
        answered = asyncio.Event()

        async def reads(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["more_body"]:
                pass
            await answered.wait()

        limit = BodyLimit(reads)

        def pass_on(n_bytes: int) -> Coroutine[Any, Any, None]:
            half = {"type": "http.request", "body": bytes(n_bytes // 2), "more_body": True}
            messages = iter([half, half | {"more_body": False}])

            async def receive() -> Message:
                return next(messages)

            async def send(message: Message) -> None:
                raise AssertionError(message)

            return limit({"type": "http", "headers": []}, receive, send)

        in_progress = [asyncio.create_task(pass_on(4 << 20)) for _ in range(16)]
        in_progress.append(asyncio.create_task(pass_on(64 << 10)))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="too many large bodies") as refused:
            await pass_on(4 << 20)
        assert refused.value.status_code == 503
        answered.set()
        await asyncio.gather(*in_progress)
        await asyncio.gather(*(pass_on(4 << 20) for _ in range(16)))

    run(bodies())


def spec(n: int) -> dict[str, Any]:
    """Return a spec with n values."""
    return {"class": "std", "args": {f"key{i}": i for i in range(n - 2)}}


def test_a_model_has_ten_thousand_values_at_most(client: Client) -> None:
    client.error(422, "POST", MODEL, {"class": "std", "provide_series": ["yhat"] * 9_999})
    assert client.ok("POST", MODEL, {"class": "std", "provide_series": ["yhat"] * 9_998})["valid"]
    too_many = "more than 10000 values"
    assert client.error(422, "POST", MODEL, spec(10_001)) == f"body: {too_many}"
    text = json.dumps(spec(10_001)).encode()
    assert too_many in client.error(400, "POST", MODEL, text, kind=YAML)
    task = {"query": "up", "model_spec": spec(10_001)}
    assert client.error(422, "POST", DETECTION, task) == f"model_spec: {too_many}"
    search = {"query": "up", "tuned_class_name": "std", "anomaly_percentage": 0.01}
    for name in ("frozen_params", "optimization_params"):
        found = client.error(422, "POST", AUTOTUNE, search | {name: spec(10_001)})
        assert found == f"{name}: {too_many}"


def test_a_configuration_has_more_values_but_a_limit_too(client: Client) -> None:
    queries = {f"q{number}": "up" for number in range(100_001)}
    config = {"reader": {"class": "vm", "queries": queries}}
    assert client.error(422, "POST", CONFIG, config) == "body: more than 100000 values"
    assert "more than 100000 values" in client.error(
        400, "POST", CONFIG, json.dumps(config).encode(), kind=YAML
    )


def test_not_every_model_is_checked_with_every_query(client: Client) -> None:
    many = {f"a{number}": {"class": "std"} for number in range(1_500)}
    config = {"reader": {"queries": many}, "models": many, "schedulers": many}
    assert "use `vmanomaly --dryRun`" in client.error(422, "POST", CONFIG, config)


def test_nothing_is_nested_deeper_than_a_configuration(client: Client) -> None:
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    expected = "nested more than 50 levels deep"
    assert expected in client.error(422, "POST", MODEL, {"class": "std", "args": deep})
    task = {"query": "up", "model_spec": {"class": "std", "args": deep}}
    assert expected in client.error(422, "POST", DETECTION, task)


@pytest.mark.parametrize("path", [MODEL, CONFIG, DETECTION, AUTOTUNE, "/api/v1/query"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "\\ud800"}',
        b'{"query": "\xff"}',
        b'{"anomaly_threshold": NaN}',
        b'{"anomaly_threshold": -Infinity}',
        b'{"anomaly_threshold": ' + b"9" * 4000 + b"}",
        b'{"a":' * 100_000,
        b"{",
    ],
    ids=["surrogate", "not UTF-8", "NaN", "infinity", "a number of 4000 digits", "deep", "half"],
)
def test_what_is_no_json_is_refused_everywhere(client: Client, path: str, body: bytes) -> None:
    assert client.error(400, "POST", path, body) == "the body is not valid JSON"


def test_a_message_does_not_repeat_a_key_of_a_million_characters(client: Client) -> None:
    answer = client.raw("POST", MODEL, {"class": "std", "x" * 1_000_000: 1, "treshold": 1})
    assert answer.status == 422
    assert len(answer.data) < 5_000
    assert b"x" * 100 + b"..." in answer.data


def test_of_a_list_the_first_hundred_wrong_items_are_told(client: Client) -> None:
    wrong = {"countries": [f"Atlantis{number}" for number in range(5_000)]}
    answer = client.raw("POST", MODEL, {"class": "temporal_envelope", "holidays": wrong})
    assert answer.status == 422
    places = [each["loc"] for each in json.loads(answer.data)["detail"]]
    assert places == [["holidays", "countries", str(number)] for number in range(100)]


@pytest.mark.parametrize("number", ["99999999999999999999", "0x" + "9" * 400, "9" * 5000])
def test_numbers_that_no_computer_counts_to_are_no_numbers(client: Client, number: str) -> None:
    body = f"class: zscore_online\nmin_n_samples_seen: {number}\n".encode()
    assert "expected a whole number" in client.error(422, "POST", MODEL, body, kind=YAML)


@pytest.mark.parametrize("version", ["9" * 5000 + ".1.1", "\u0661.\u0662.\u0663", "1.2"])
def test_what_is_no_version_is_refused(client: Client, version: str) -> None:
    found = client.error(422, "GET", f"/api/v1/compatibility?version_to={quote(version)}")
    assert "expected a version such as 1.2.3" in found


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"class": "prophet", "args": {"growht": "flat"}}, "did you mean growth?"),
        ({"class": "isolation_forest", "args": {"n_estimator": 9}}, "did you mean n_estimators?"),
        ({"class": "isolation_forest", "args": {"contamination": 0.1}}, "contamination"),
        ({"class": "holtwinters", "args": {"sesonal": "add"}}, "did you mean seasonal?"),
        ({"class": "prophet", "provide_series": ["trnd"]}, "did you mean trend?"),
    ],
)
def test_what_only_the_library_knows_is_checked_at_once(
    client: Client, spec: dict[str, Any], found: str
) -> None:
    place = "provide_series: " if "args" not in spec else f"args.{next(iter(spec['args']))}: "
    message = client.error(422, "POST", MODEL, spec)
    assert found in message
    assert message.startswith(place)
    task = {"query": "up", "model_spec": spec}
    assert client.error(422, "POST", DETECTION, task) == f"model_spec.{message}"
    config = changed({"models.mine": {**spec, "queries": "all", "schedulers": "all"}}, MINIMAL)
    assert client.error(422, "POST", CONFIG, config) == f"models.mine.{message}"
    target = "/api/vmanomaly/config.yaml?query=up&step=1m&model_spec=" + quote(json.dumps(spec))
    assert client.error(422, "GET", target) == f"models.default.{message}"
    search = {"query": "up", "tuned_class_name": spec.pop("class"), "anomaly_percentage": 0.01}
    refused = client.error(422, "POST", AUTOTUNE, {**search, "frozen_params": spec})
    assert refused == f"frozen_params.{message}"


def test_the_place_of_an_argument_is_that_where_it_stands(client: Client) -> None:
    args = {"args": {"n_estimator": 9}}
    model: dict[str, Any] = {
        "class": "auto",
        "tuned_class_name": "isolation_forest",
        "optimization_params": {"anomaly_percentage": 0.01, "frozen_params": args},
    }
    place = "optimization_params.frozen_params.args.n_estimator: "
    assert client.error(422, "POST", MODEL, model).startswith(place)
    del model["optimization_params"]["frozen_params"]
    assert client.error(422, "POST", MODEL, {**model, "frozen_params": args}).startswith(
        "frozen_params.args.n_estimator: "
    )
    message = client.error(422, "POST", MODEL, {**model, **args})
    assert message.startswith("args.n_estimator: ")


def test_the_args_of_so_many_models_are_checked_as_can_be_in_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_MOST_CHECKED", 1)
    forest = {"class": "isolation_forest", "queries": "all", "schedulers": "all"}
    config = changed({"models.a": forest, "models.b": {**forest, "args": {"odd": 1}}}, MINIMAL)
    assert client.ok("POST", CONFIG, config)["warnings"] == [
        "models: only of 1 of them the args are checked here; use `vmanomaly --dryRun`"
    ]
    monkeypatch.setattr(plan, "_MOST_CHECKED", 2)
    assert client.error(422, "POST", CONFIG, config).startswith("models.b.args.odd: ")


def test_a_task_is_refused_that_its_library_could_not_do(client: Client) -> None:
    task = {"query": "up", "model_spec": {"class": "holtwinters", "seasonality": None}}
    assert client.error(422, "POST", DETECTION, task).startswith("model_spec.seasonality: ")
