"""Autotune tasks: what may be asked for, what comes of it, and that they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.loopback import Asked, Handler, serve
from tests.server.api_client import Client, serving
from vmanomaly.executor import Executor

TASKS = "/api/v1/autotune/tasks"
END = 1_700_092_800
N_POINTS = 400
BODY = {
    "query": "load",
    "tuned_class_name": "mad",
    "anomaly_percentage": 0.02,
    "start": END - N_POINTS * 60,
    "end": END,
    "step": "1m",
    "optimization_params": {"n_trials": 6, "n_splits": 1},
}
NOISE = np.random.default_rng(0).normal(50, 5, (3, 5000)).round(3)


def noise(handler: Handler, asked: Asked) -> None:
    """Three series; five in all, as far as `count` knows."""
    if asked.method == "GET":
        data: Any = {"resultType": "vector", "result": [{"metric": {}, "value": [END, "5"]}]}
    else:
        form = asked.form
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        times = [start + n * step for n in range(int((end - start) / step) + 1)]
        result = [
            {
                "metric": {"__name__": "load", "host": str(row)},
                "values": [[at, str(NOISE[row, n])] for n, at in enumerate(times)],
            }
            for row in range(3)
        ]
        data = {"resultType": "matrix", "result": result}
    handler.reply(body=json.dumps({"status": "success", "data": data}).encode())


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serve(noise) as server:
        keys = {"reader.datasource_url": server.url, "settings.executor": "threads"}
        with serving(keys) as client:
            yield client


def result_of(client: Client, body: Any) -> Any:
    started = client.ok("POST", TASKS, body)
    assert started["status"] == "running"
    task = client.ended(TASKS, started["task_id"])
    assert task["status"] == "done", task
    assert (task["progress"], task["error"]) == (100, None)
    return task["result_data"]


def test_a_configuration_comes_of_it(client: Client) -> None:
    frozen = {"detection_direction": "above_expected", "min_n_samples_seen": 5}
    result = result_of(client, {**BODY, "frozen_params": frozen, "limit": 3})
    data = result["data"]
    assert data["resultType"] == "autotune_suggestion"
    model = data["modelConfig"]
    assert client.ok("POST", "/api/v1/model/validate", model)["model_spec"] == model
    assert model["class"] == "mad_online"
    assert {key: model[key] for key in frozen} == frozen
    assert {key: model[key] for key in data["bestParams"]} == data["bestParams"]
    assert set(data["bestParams"]) == {"threshold", "decay"}
    assert 0 < data["bestScore"] < 1
    assert data["profile"]["series_count"] == 3
    assert (data["inputQueryCount"], data["tunedInputCount"]) == (1, 3)
    optimization = data["optimization"]
    assert (optimization["n_trials"], optimization["n_trials_done"]) == (6, 6)
    assert (optimization["timeout"], optimization["stopped_by"]) == (60, "n_trials")
    assert optimization["violation"] <= optimization["defaults"]["violation"]
    assert result["stats"]["seriesFetched"] == "3"
    assert result["stats"]["seriesEstimated"] == "5"


def test_the_same_seed_gives_the_same(client: Client) -> None:
    bodies = [
        {**BODY, "optimization_params": {**BODY["optimization_params"], "n_jobs": n_jobs}}  # type: ignore[dict-item]
        for n_jobs in (1, 2)
    ]
    first, second = (result_of(client, body)["data"] for body in bodies)
    for name in ("modelConfig", "bestParams", "bestScore"):
        assert first[name] == second[name]


def test_trials_run_on_the_executor_of_the_settings(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Executor] = []
    original = Executor.map

    def noted(executor: Executor, *args: Any, **keys: Any) -> list[Any]:
        used.append(executor)
        return original(executor, *args, **keys)

    monkeypatch.setattr(Executor, "map", noted)
    result_of(client, BODY)
    assert {executor.kind for executor in used} == {"threads"}


def test_several_queries_have_policies_of_their_own(client: Client) -> None:
    queries = {"a": "load", "b": {"expr": "load", "detection_direction": "below_expected"}}
    body = {key: value for key, value in BODY.items() if key != "query"}
    data = result_of(client, {**body, "queries": queries})["data"]
    assert (data["inputQueryCount"], data["tunedInputCount"]) == (2, 6)
    assert data["modelConfig"].get("detection_direction") is None


def test_groups_are_tuned_as_groups(client: Client) -> None:
    changes = {
        "tuned_class_name": "temporal_envelope_multivariate",
        "frozen_params": {"groupby": ["host"], "seasonalities": []},
        "optimization_params": {"n_trials": 1, "n_splits": 1},
    }
    model = result_of(client, {**BODY, **changes})["data"]["modelConfig"]
    assert (model["groupby"], model["seasonalities"]) == (["host"], [])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"query": " "}, "query: required"),
        ({"query": None}, "query: required"),
        ({"queries": {"a": "up"}}, "queries: set query or queries, not both"),
        ({"query": None, "queries": {}}, "queries: expected 1 to 50"),
        ({"query": None, "queries": {"a": {"expr": ""}}}, "queries.a.expr"),
        ({"query": None, "queries": {"a": {"expr": "u", "data_range": 1}}}, "queries.a.data_range"),
        ({"tuned_class_name": None}, "tuned_class_name: expected a built-in class"),
        ({"tuned_class_name": "auto"}, "tuned_class_name: expected a built-in class"),
        ({"tuned_class_name": "custom"}, "tuned_class_name: expected a built-in class"),
        ({"tuned_class_name": "my.Model"}, "tuned_class_name: expected a built-in class"),
        ({"anomaly_percentage": None}, "anomaly_percentage: required"),
        ({"anomaly_percentage": 0.5}, "anomaly_percentage: expected"),
        ({"anomaly_percentage": -0.1}, "anomaly_percentage: expected"),
        ({"frozen_params": {"class": "mad_online"}}, "frozen_params.class"),
        ({"frozen_params": {"class_name": "mad_online"}}, "frozen_params.class_name"),
        ({"frozen_params": {"treshold": 3}}, "frozen_params.treshold: unknown key; did you mean"),
        ({"optimization_params": {"trials": 3}}, "optimization_params.trials: unknown key"),
        ({"optimization_params": {"n_trials": 0}}, "optimization_params.n_trials"),
        ({"optimization_params": {"timeout": 0}}, "optimization_params.timeout"),
        ({"optimization_params": {"frozen_params": {}}}, "optimization_params.frozen_params"),
        ({"optimized_business_params": ["scale"]}, "optimized_business_params"),
        ({"timezone": "Mars"}, "timezone"),
        ({"start": END, "end": END - 60}, "end: is not after start"),
        ({"start": 0}, "shorten the interval or make step larger"),
        ({"step": "soon"}, "step"),
        ({"datasource_url": "file:///etc/passwd"}, ""),
    ],
)
def test_what_can_be_checked_is_refused_at_once(
    client: Client, change: dict[str, Any], error: str
) -> None:
    status = 403 if "datasource_url" in change else 422
    assert error in client.error(status, "POST", TASKS, {**BODY, **change})


def test_a_limit_of_zero_is_a_value(client: Client) -> None:
    data = result_of(client, {**BODY, "anomaly_percentage": 0})["data"]
    assert data["optimization"]["anomaly_percentage"] == 0


def test_every_problem_is_reported(client: Client) -> None:
    change = {"tuned_class_name": "auto", "anomaly_percentage": 2}
    error = client.error(422, "POST", TASKS, {**BODY, **change})
    assert "tuned_class_name" in error
    assert "anomaly_percentage" in error


def test_what_an_older_or_newer_client_sends_is_accepted(client: Client) -> None:
    more = {"beta": 0, "show_progress_bar": True, "gc_after_trial": False}
    optimization = {**BODY["optimization_params"], **more}  # type: ignore[dict-item]
    result_of(client, {**BODY, "optimization_params": optimization, "unheard_of": 1})


def test_it_can_be_canceled(client: Client) -> None:
    body = {**BODY, "optimization_params": {"n_trials": 100_000, "timeout": 600}}
    task_id = client.ok("POST", TASKS, body)["task_id"]
    assert client.ok("DELETE", f"{TASKS}/{task_id}") == {"ok": True, "canceled": True}
    task = client.ended(TASKS, task_id)
    assert (task["status"], task["result_data"]) == ("canceled", None)
    assert client.ok("DELETE", f"{TASKS}/{task_id}") == {"ok": True, "canceled": False}
    # The slot is free again, soon if not at once.
    result_of(client, BODY)


def test_a_timeout_ends_it_with_a_result(client: Client) -> None:
    body = {**BODY, "optimization_params": {"n_trials": 100_000, "timeout": 4}}
    data = result_of(client, body)["data"]
    assert data["optimization"]["stopped_by"] in ("timeout", "space")
    assert data["modelConfig"]["class"] == "mad_online"


def test_unknown_tasks(client: Client) -> None:
    client.error(404, "GET", f"{TASKS}/nope")
    client.error(404, "DELETE", f"{TASKS}/nope")
    client.error(405, "GET", TASKS)
    task_id = client.ok("POST", TASKS, BODY)["task_id"]
    client.error(404, "GET", f"/api/v1/anomaly_detection/tasks/{task_id}")
    client.ended(TASKS, task_id)


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        (
            lambda handler, _: handler.reply(422, b'{"status":"error","error":"cannot parse"}'),
            "cannot parse",
        ),
        (
            lambda handler, _: handler.reply(
                body=b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
            ),
            "no series",
        ),
    ],
    ids=["refused", "empty"],
)
def test_what_cannot_be_read_ends_the_task_with_the_reason(respond: Any, error: str) -> None:
    with serve(respond) as server, serving({"reader.datasource_url": server.url}) as client:
        task = client.ended(TASKS, client.ok("POST", TASKS, BODY)["task_id"])
        assert task["status"] == "error"
        assert error in task["error"]


def test_credentials_are_forgotten(client: Client) -> None:
    task_id = client.ok("POST", TASKS, BODY)["task_id"]
    client.ended(TASKS, task_id)
    task = client.tasks.get(task_id, "autotune")
    assert task is not None
    assert task._work is None
