"""Mistakes of a user, and data that is odd: a message or a defined behaviour for each."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.servers import (
    Nginx,
    Prometheus,
    Samples,
    VictoriaMetrics,
    Vmanomaly,
    free_port,
)
from vmanomaly.cli.dispatch import dispatch

STEP_S = 60
START_S = 1_750_000_020
N_FIT = 60
N_INFER = 40
MS = [1000 * (START_S + STEP_S * n) for n in range(1, N_FIT + N_INFER + 1)]
NOWHERE = "http://127.0.0.1:1"
MIN_N_SAMPLES_SEEN = 16

VALID: dict[str, Any] = {
    "reader": {
        "class": "vm",
        "datasource_url": NOWHERE,
        "sampling_period": f"{STEP_S}s",
        "queries": {"memory": {"expr": "memory"}},
    },
    "writer": {"class": "vm", "datasource_url": NOWHERE},
    "schedulers": {
        "once": {
            "class": "oneoff",
            "fit_start_s": START_S,
            "fit_end_s": START_S + N_FIT * STEP_S,
            "infer_start_s": START_S + N_FIT * STEP_S,
            "infer_end_s": START_S + (N_FIT + N_INFER) * STEP_S,
        }
    },
    "models": {
        "zscore": {"class": "zscore_online", "queries": ["memory"], "schedulers": ["once"]},
    },
}


def valid(reader_url: str = NOWHERE, writer_url: str = NOWHERE) -> dict[str, Any]:
    config = copy.deepcopy(VALID)
    config["reader"]["datasource_url"] = reader_url
    config["writer"]["datasource_url"] = writer_url
    config["server"] = {"addr": "127.0.0.1", "port": free_port()}
    return config


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a config: the value at a dotted path."""
    *parents, last = path.split(".")

    def change(config: dict[str, Any]) -> None:
        for key in parents:
            config = config.setdefault(key, {})
        config[last] = value

    return change


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    *parents, last = path.split(".")

    def change(config: dict[str, Any]) -> None:
        for key in parents:
            config = config[key]
        del config[last]

    return change


# What is wrong, and what the message must hold: the place, the value, what would be right.
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], list[str]]] = {
    "unknown section": (put("shedulers", {}), ["shedulers", "schedulers"]),
    "unknown key": (
        put("reader.samplin_period", "1m"),
        ["reader.samplin_period", "sampling_period"],
    ),
    "unknown key of a query": (
        put("reader.queries.memory.stepp", "1m"),
        ["reader.queries.memory.stepp", "step"],
    ),
    "unknown key of a model": (
        put("models.zscore.z_treshold", 3),
        ["models.zscore.z_treshold", "z_threshold"],
    ),
    "wrong type": (put("models.zscore.z_threshold", "high"), ["models.zscore.z_threshold", "high"]),
    "not a duration": (put("reader.sampling_period", "fast"), ["reader.sampling_period", "fast"]),
    "not a mapping": (put("reader.queries", ["memory"]), ["reader.queries"]),
    "a port out of range": (put("server.port", 99_999), ["server.port", "99999"]),
    "unknown model class": (
        put("models.zscore.class", "zscore_onlin"),
        ["models.zscore.class", "zscore_onlin", "zscore_online"],
    ),
    "unknown reader class": (put("reader.class", "influx"), ["reader.class", "influx", "vm"]),
    "model without class": (drop("models.zscore.class"), ["models.zscore.class"]),
    "query that does not exist": (
        put("models.zscore.queries", ["memry"]),
        ["models.zscore.queries", "memry", "memory"],
    ),
    "scheduler that does not exist": (
        put("models.zscore.schedulers", ["one"]),
        ["models.zscore.schedulers", "one", "once"],
    ),
    "missing section": (drop("writer"), ["writer"]),
    "missing key": (drop("writer.datasource_url"), ["writer.datasource_url"]),
    "missing expression": (
        put("reader.queries.memory", {"step": "1m"}),
        ["reader.queries.memory.expr"],
    ),
    "address that is none": (
        put("reader.datasource_url", "localhost"),
        ["reader.datasource_url", "localhost"],
    ),
    "address from an unset variable": (
        put("reader.datasource_url", "%{NOT_SET_ANYWHERE}"),
        ["reader.datasource_url", "%{NOT_SET_ANYWHERE}"],
    ),
    "output that the model has not": (
        put("models.zscore.provide_series", ["anomaly_score", "trend"]),
        ["models.zscore.provide_series", "trend"],
    ),
    "time that is none": (
        put("schedulers.once.fit_start_s", "yesterday"),
        ["schedulers.once.fit_start_s", "yesterday"],
    ),
    "fit that ends before it starts": (
        put("schedulers.once.fit_end_s", START_S - 60),
        ["schedulers.once", "fit_end"],
    ),
    "metric format without a name": (
        put("writer.metric_format", {"for": "$QUERY_KEY"}),
        ["writer.metric_format", "__name__"],
    ),
}


def refused(folder: Path, config: dict[str, Any] | str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the command, called in this process, says of a configuration that it refuses."""
    file = folder / "vmanomaly.yaml"
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    assert dispatch([str(file)]) == 2
    output = "".join(capsys.readouterr())
    assert "Traceback" not in output
    return output


def fails_cleanly(vmanomaly: Vmanomaly, status: int = 2) -> str:
    found, output = vmanomaly.run()
    assert found == status, output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize("mistake", BROKEN)
def test_broken_config(tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, words = BROKEN[mistake]
    config = valid()
    change(config)

    output = refused(tmp_path, config, capsys)

    lines = [line for line in output.splitlines() if all(word in line for word in words)]
    assert lines, output


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    config = valid()
    for mistake in (
        "unknown key",
        "wrong type",
        "missing expression",
        "scheduler that does not exist",
    ):
        BROKEN[mistake][0](config)

    output = fails_cleanly(Vmanomaly(tmp_path, config))

    for place in (
        "reader.samplin_period",
        "models.zscore.z_threshold",
        "reader.queries.memory.expr",
        "models.zscore.schedulers",
    ):
        assert place in output


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("reader: {class: vm\nwriter: [", "vmanomaly.yaml"),
        ("\x00\x01\x02", "vmanomaly.yaml"),
        ("just a sentence", "vmanomaly.yaml"),
        ("- a\n- list\n", "vmanomaly.yaml"),
        ("", "empty"),
        ("reader: !!python/object/apply:os.system ['true']", "a tag (!) is not allowed"),
    ],
    ids=["unclosed", "binary", "scalar", "list", "empty", "tagged"],
)
def test_not_a_config(
    tmp_path: Path, text: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert word in refused(tmp_path, text, capsys)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.yaml")
    assert missing in fails_cleanly(Vmanomaly(tmp_path, valid(), missing))


def test_an_option_that_does_not_exist(tmp_path: Path) -> None:
    assert "--dryRunn" in fails_cleanly(Vmanomaly(tmp_path, valid(), "--dryRunn"))


def test_a_secret_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = valid()
    config["reader"] |= {"user": "sre", "password": "tuna-fish", "bearer_token": "salmon-roe"}

    output = refused(tmp_path, config, capsys)

    assert "reader" in output
    assert "tuna-fish" not in output
    assert "salmon-roe" not in output


def test_dry_run_starts_nothing(tmp_path: Path) -> None:
    status, output = Vmanomaly(tmp_path, valid(), "--dryRun").run()
    assert status == 0, output
    assert "Traceback" not in output


def test_an_unset_variable_is_named_with_its_place(vm: VictoriaMetrics, tmp_path: Path) -> None:
    config = valid(vm.url, vm.url)
    config["reader"]["queries"]["memory"]["expr"] = 'memory{host="%{NOT_SET_ANYWHERE}"}'

    status, output = Vmanomaly(tmp_path, config).run()

    assert status == 0, output
    warnings = [line for line in output.splitlines() if "WARNING" in line]
    assert any(
        "NOT_SET_ANYWHERE" in line and "reader.queries.memory.expr" in line for line in warnings
    )


def test_a_variable_that_is_set(vm: VictoriaMetrics, tmp_path: Path) -> None:
    vm.import_series([({"__name__": "memory"}, wave(0, N_FIT + N_INFER))])
    vm.force_flush()
    config = valid("%{VM_URL}", "%{VM_URL}")

    status, output = Vmanomaly(tmp_path, config, environ={"VM_URL": vm.url}).run()

    assert status == 0, output
    assert len(vm.export('{for="memory"}')) == 4


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    """A VictoriaMetrics that nothing is written to."""
    with VictoriaMetrics(tmp_path_factory.mktemp("empty")) as server:
        yield server


class TestDatasources:
    def test_nobody_listens(self, empty: VictoriaMetrics, tmp_path: Path) -> None:
        output = fails_cleanly(Vmanomaly(tmp_path, valid(NOWHERE, empty.url)), status=1)
        assert f"Error querying {NOWHERE}" in output
        assert "memory" in output
        assert "refused" in output

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("return 404 'no such page';", ["404", "no such page"]),
            ("return 403 'ask the sheriff';", ["403", "ask the sheriff"]),
            ("return 422 'cannot parse expr';", ["422", "cannot parse expr"]),
            ("return 503 'gone fishing';", ["503", "gone fishing"]),
            (
                "default_type text/html; return 200 '<html><body>Sign in</body></html>';",
                ["JSON", "HTML"],
            ),
            ('default_type application/json; return 200 \'{"status":"succ\';', ["cut off"]),
        ],
        ids=["404", "403", "422", "503", "html", "cut"],
    )
    def test_the_reader_meets_something_else(
        self, empty: VictoriaMetrics, tmp_path: Path, answer: str, words: list[str]
    ) -> None:
        with Nginx(tmp_path, f"location / {{ {answer} }}") as nginx:
            output = fails_cleanly(Vmanomaly(tmp_path, valid(nginx.url, empty.url)), status=1)
        lines = [line for line in output.splitlines() if f"Error querying {nginx.url}" in line]
        assert any(all(word in line for word in words) for line in lines), output

    def test_the_expression_is_wrong(self, empty: VictoriaMetrics, tmp_path: Path) -> None:
        config = valid(empty.url, empty.url)
        config["reader"]["queries"]["memory"]["expr"] = "sum(memory"
        output = fails_cleanly(Vmanomaly(tmp_path, config), status=1)
        assert f"Error querying {empty.url}" in output
        assert "422" in output

    def test_one_bad_query_does_not_hurt_the_other(
        self, vm: VictoriaMetrics, tmp_path: Path
    ) -> None:
        vm.import_series([({"__name__": "memory"}, wave(0, N_FIT + N_INFER))])
        vm.force_flush()
        config = valid(vm.url, vm.url)
        config["reader"]["queries"]["broken"] = {"expr": "sum(memory"}
        config["models"]["zscore"]["queries"] = ["memory", "broken"]

        fails_cleanly(Vmanomaly(tmp_path, config), status=1)

        assert len(vm.export('{for="memory"}')) == 4
        assert not vm.export('{for="broken"}')

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("return 404 'no such page';", ["404", "no such page"]),
            ("return 400 'cannot parse';", ["400", "cannot parse"]),
        ],
        ids=["404", "400"],
    )
    def test_the_writer_is_refused(
        self, vm: VictoriaMetrics, tmp_path: Path, answer: str, words: list[str]
    ) -> None:
        vm.import_series([({"__name__": "memory"}, wave(0, N_FIT + N_INFER))])
        vm.force_flush()
        with Nginx(tmp_path, f"location / {{ {answer} }}") as nginx:
            _, output = Vmanomaly(tmp_path, valid(vm.url, nginx.url)).run()
        assert "Traceback" not in output
        lines = [line for line in output.splitlines() if "Cannot write" in line]
        assert any(all(word in line for word in [*words, "memory"]) for line in lines), output

    def test_nobody_takes_the_scores(self, vm: VictoriaMetrics, tmp_path: Path) -> None:
        vm.import_series([({"__name__": "memory"}, wave(0, N_FIT + N_INFER))])
        vm.force_flush()
        _, output = Vmanomaly(tmp_path, valid(vm.url, NOWHERE)).run()
        assert "Traceback" not in output
        assert "Connection error while writing" in output
        assert f"Cannot write {4 * N_INFER} points for memory" in output

    def test_there_is_no_data(self, vm: VictoriaMetrics, tmp_path: Path) -> None:
        status, output = Vmanomaly(tmp_path, valid(vm.url, vm.url)).run()
        assert status == 0, output
        assert "Traceback" not in output
        assert "No data for query_key memory" in output
        assert not vm.export('{for!=""}')


def test_the_port_is_taken(empty: VictoriaMetrics, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = valid(empty.url, empty.url)
        config["server"]["port"] = port
        output = fails_cleanly(Vmanomaly(tmp_path, config), status=1)
    assert f"127.0.0.1:{port}" in output
    assert "server.port" in output


def wave(first: int, last: int) -> Samples:
    """Return a sample for each number from `first` up to before `last`, around 10."""
    return [(MS[n], 10 + (n * 37 % 19) / 19) for n in range(first, last)]


def scores(vm: VictoriaMetrics) -> dict[str, dict[int, float]]:
    """Return what was written as `anomaly_score`, by host and timestamp."""
    found = {labels["host"]: points for labels, points in vm.export("anomaly_score").items()}
    for host, points in found.items():
        assert len(dict(points)) == len(points), f"{host} has a score twice"
    return {host: dict(points) for host, points in found.items()}


STEP_AT = MS[N_FIT + 10]
LATE = N_FIT + 10
SPIKE_AT = MS[LATE + MIN_N_SAMPLES_SEEN + 4]
STEADY: tuple[dict[str, str], Samples] = (
    {"__name__": "memory", "host": "steady"},
    wave(0, N_FIT + N_INFER),
)


def memory(host: str, samples: Samples) -> tuple[dict[str, str], Samples]:
    return {"__name__": "memory", "host": host}, samples


def run(folder: Path, config: dict[str, Any]) -> str:
    status, output = Vmanomaly(folder, config).run()
    assert status == 0, output
    assert "Traceback" not in output
    return output


@pytest.fixture(scope="module", params=["zscore_online", "mad_online"])
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[int, float]]:
    """The scores of odd series in one query, a steady one among them."""
    folder = tmp_path_factory.mktemp(request.param)
    late = [(t, 99.0 if t == SPIKE_AT else value) for t, value in wave(LATE, N_FIT + N_INFER)]
    with VictoriaMetrics(folder) as vm:
        vm.import_series(
            [
                STEADY,
                memory("constant", [(t, 11.0 if t == STEP_AT else 10.0) for t in MS]),
                memory("late", late),
                memory("vanishes", wave(0, N_FIT + 10)),
                memory("only fitted", wave(0, N_FIT // 2)),
            ]
        )
        vm.force_flush()
        config = valid(vm.url, vm.url)
        config["models"]["zscore"]["class"] = request.param
        run(folder, config)
        return scores(vm)


class TestOddSeries:
    """Whatever one series is like, the others get every score."""

    def test_the_steady_one(self, found: dict[str, dict[int, float]]) -> None:
        assert sorted(found["steady"]) == MS[N_FIT:]

    def test_constant(self, found: dict[str, dict[int, float]]) -> None:
        constant = found["constant"]
        assert [score for t, score in constant.items() if t < STEP_AT] == [0.0] * 10
        assert 1 < constant[STEP_AT] < float("inf")
        assert sorted(constant) == MS[N_FIT:]

    def test_appears_half_way(self, found: dict[str, dict[int, float]]) -> None:
        late = found["late"]
        assert sorted(late) == MS[LATE:]
        assert {late[t] for t in MS[LATE : LATE + MIN_N_SAMPLES_SEEN]} == {0.0}
        assert [t for t, score in late.items() if score > 1] == [SPIKE_AT]

    def test_vanishes_half_way(self, found: dict[str, dict[int, float]]) -> None:
        end = N_FIT + 10
        # The database repeats a last sample for up to five minutes.
        assert set(MS[N_FIT:end]) <= set(found["vanishes"]) <= set(MS[N_FIT : end + 5])

    def test_is_there_only_during_the_fit(self, found: dict[str, dict[int, float]]) -> None:
        assert set(found) == {"steady", "constant", "late", "vanishes"}

    def test_not_finite(self, vm: VictoriaMetrics, tmp_path: Path) -> None:
        inf = float("inf")
        odd = {MS[N_FIT + 3]: inf, MS[N_FIT + 5]: -inf, MS[9]: inf}
        series = [
            STEADY,
            memory("nan", [(t, float("nan")) for t in MS]),
            memory("infinite", [(t, odd.get(t, value)) for t, value in STEADY[1]]),
        ]
        with Prometheus(tmp_path, series) as prometheus:
            run(tmp_path, valid(prometheus.url, vm.url))
            found = scores(vm)

        assert set(found) == {"steady", "infinite"}
        assert sorted(found["steady"]) == MS[N_FIT:]
        assert sorted(found["infinite"]) == [t for t in MS[N_FIT:] if t not in odd]
        assert all(score <= 1 for score in found["infinite"].values())

    def test_two_series_that_differ_in_their_name_only(
        self, vm: VictoriaMetrics, tmp_path: Path
    ) -> None:
        twin = ({"__name__": "memory_twin", "host": "steady"}, wave(0, N_FIT + N_INFER))
        vm.import_series([STEADY, twin])
        vm.force_flush()
        config = valid(vm.url, vm.url)
        config["reader"]["queries"]["memory"]["expr"] = '{__name__=~"memory.*"}'
        # Without their names both would be written as one series: the user is told.
        assert "WARNING" in run(tmp_path, config)
