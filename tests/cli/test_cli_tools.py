"""Subcommands that ask a database: it answers with anything, and they are interrupted."""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vmanomaly as va
from tests.loopback import Asked, Handler, serve
from vmanomaly.cli.dispatch import dispatch
from vmanomaly.cli.options import connection_of, in_terms_of_options
from vmanomaly.cli.query import sparkline
from vmanomaly.errors import DatasourceError
from vmanomaly.http.remedies import Remedies

OF_LABELS = b'{"status":"success","data":["node_memory_MemAvailable_bytes","up"]}'
OF_SAMPLES = b'{"status":"success","data":{"resultType":"vector","result":[%s]}}'
ENOUGH = b'{"metric":{"for":"cpu"},"value":[1,"50"]}'


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that was printed."""
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("vmanomaly: ")
    return line.removeprefix("vmanomaly: ")


@pytest.mark.parametrize("command", ["init", "report"])
@pytest.mark.parametrize("n_before", [0, 1])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "something other than complete JSON. Was the answer cut off"),
        (OF_LABELS[:-9], "something other than complete JSON. Was the answer cut off"),
        (OF_SAMPLES[:-9], "something other than complete JSON. Was the answer cut off"),
        (b"[]", "no answer of the Prometheus API. Is the URL right?"),
        (b"{}", "no answer of the Prometheus API. Is the URL right?"),
        (b'{"status":"success"}', "no answer of the Prometheus API. Is the URL right?"),
        (b'{"status":"error","error":"no\\nstorage"}', "answered with an error: no storage"),
        (b'{"status":"success","isPartial":true,"data":[]}', "data is missing (isPartial)"),
        (b'{"status":"success","data":5}', "answered with something other than"),
        (b'{"status":"success","data":[{}]}', "answered with something other than"),
        (b'{"status":"success","data":{"a":1}}', "answered with something other than"),
        (OF_SAMPLES % b"{}", "answered with something other than"),
        (OF_SAMPLES % b'{"metric":5,"value":[1,"50"]}', "answered with something other than"),
        (OF_SAMPLES % b'{"metric":{},"values":5}', "answered with something other than"),
        (OF_SAMPLES % b'{"metric":{},"values":[5]}', "answered with something other than"),
    ],
)
def test_an_answer_that_is_none_is_one_line_and_leaves_no_file(
    command: str,
    n_before: int,
    body: bytes,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The damaged answer is that to the first or to the second request."""
    monkeypatch.chdir(tmp_path)
    good = OF_LABELS if command == "init" else OF_SAMPLES % ENOUGH
    answers = [good] * n_before

    def respond(handler: Handler, asked: Asked) -> None:
        handler.reply(body=answers.pop() if answers else body)

    with serve(respond) as server:
        assert dispatch([command, server.url]) == 1
    assert message in told(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_query_says_that_data_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    answer = (
        b'{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":'
        b'[{"metric":{"__name__":"up"},"values":[[1,"1"]]}]}}'
    )
    with serve(lambda handler, asked: handler.reply(body=answer)) as server:
        assert dispatch(["query", server.url, "up"]) == 0
    assert "the server says that data is missing (isPartial)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query", "http://x", " "], "argument EXPR: expected an expression"),
        (["query", "http://x", "up", "--limit", "-3"], "argument --limit: expected a whole number"),
        (["query", "x:8428", "up"], "URL: expected a URL"),
        (["query", "http://x", "up", "--tenant", "a"], "--tenant: expected a tenant"),
        (["query", "http://x", "up", "--ca", "nowhere"], "--ca: expected true, false or the path"),
        (["tune", "http://x", ""], "expected one expression after the URL"),
        (["init", "http://x", "--writer-url", "y"], "--writer-url: expected a URL"),
    ],
)
def test_a_wrong_argument_is_named_as_it_was_given(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(arguments) == 2
    assert message in capsys.readouterr().err


def test_remedies_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    def deny(handler: Handler, asked: Asked) -> None:
        handler.reply(401)

    with serve(deny) as server:
        assert dispatch(["init", server.url]) == 1
        line = told(capsys)
    assert "set `--user` and `VMANOMALY_PASSWORD`, or `VMANOMALY_BEARER_TOKEN`" in line


def test_no_remedy_names_a_key_that_has_an_option() -> None:
    """Whatever is said about a connection is said in terms of the options that there are."""
    options = Namespace(url="http://x", user=None, tenant=None, ca=None, timeout=None)
    remedies = Remedies(connection_of(options), "reader")
    said = [
        str(remedies.timeout(["http://x"])),
        remedies.wrong_url(),
        *(remedies._tls(reason) for reason in ("CERTIFICATE_VERIFY_FAILED", "not valid for", "")),
        remedies._login(),
        remedies._wrong_tenant(),
        remedies._foreign_host(["http://x", "http://y"]),
    ]
    shown = [in_terms_of_options(text) for text in said]
    assert all("`reader." in text for text in said)
    assert [text for text in shown if "`reader." in text and "tls_cert_file" not in text] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["query", "report", "init"])
def test_what_is_interrupted_has_failed(
    command: str,
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def interrupt(handler: Handler, asked: Asked) -> None:
        os.kill(os.getpid(), number)
        handler.hang()

    with serve(interrupt) as server:
        assert dispatch([command, server.url, *(["up"] if command == "query" else [])]) == 1
    assert told(capsys) == "interrupted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", [5e-324, 1e-300, 1.0, 2.5e307])
def test_a_sparkline_is_the_same_in_any_unit(unit: float) -> None:
    assert sparkline(unit * np.array([0.0, 7.0, np.nan, 3.0])) == "▁█ ▄"
    assert sparkline(unit * np.array([-7.0, 7.0, 1.0])) == "▁█▅"


def test_a_mistake_in_the_settings_is_found_before_files_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ["--model", "isolation_forest", "--set", "args={n_estimator: 5}"]
    assert dispatch(["detect", "nosuch.csv", *model]) == 2
    assert "args.n_estimator: " in told(capsys)


def test_python_names_the_arguments_that_it_took() -> None:
    with pytest.raises(DatasourceError, match=r"Is `url` right\?"):
        va.read("http://127.0.0.1:1", "up", 0, 60)
