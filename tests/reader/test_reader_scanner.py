"""The compiled scanner compared with the plain way: `json` and `float`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.reader.scanning import Answer, scan
from vmanomaly.errors import DatasourceError
from vmanomaly.reader.labels import LabelCache
from vmanomaly.reader.scanner import Scanner, warm_up
from vmanomaly.series import Labels

STEP = 60_000
GRID = STEP * np.arange(28_333_334, 28_333_342, dtype=np.int64)
SECONDS = [int(t) // 1000 for t in GRID]


def answer_of(result: list[Any], compact: bool = True, **around: Any) -> bytes:
    separators = (",", ":") if compact else None
    return json.dumps(
        {
            "status": "success",
            **around,
            "data": {"resultType": "matrix", "result": result},
        },
        separators=separators,
        ensure_ascii=False,
    ).encode()


def series(values: list[Any], **labels: str) -> dict[str, Any]:
    return {"metric": labels, "values": values}


def plainly(result: list[Any]) -> tuple[list[Labels], np.ndarray[Any, Any]]:
    rows: dict[Labels, np.ndarray[Any, Any]] = {}
    for one in result:
        row = rows.setdefault(Labels(one["metric"]), np.full(len(GRID), np.nan))
        for seconds, value in one["values"]:
            found = np.flatnonzero(round(seconds * 1000) == GRID)
            if len(found):
                row[found[0]] = float(value)
    return list(rows), np.array(list(rows.values())).reshape(len(rows), len(GRID))


def check(answer: Answer, result: list[Any]) -> None:
    labels, values = plainly(result)
    assert list(answer.batch.labels) == labels
    assert answer.batch.values.tobytes() == values.tobytes()
    assert answer.batch.values.flags.c_contiguous
    np.testing.assert_array_equal(answer.batch.timestamps, GRID)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    warm_up()


NUMBERS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.floats(width=32, allow_nan=False).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"\A[+-]?[0-9]{0,30}\.?[0-9]{1,40}([eE][+-]?[0-9]{1,3})?\Z"),
    st.sampled_from(["+Inf", "-Inf", "Inf", "1e-05", "0", "-0", "1_0", " 1 ", "infinity", "٣"]),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
SAMPLES = st.lists(
    st.sampled_from([*SECONDS, SECONDS[0] + 0.5, SECONDS[0] - 60, SECONDS[-1] + 60]),
    unique=True,
).flatmap(lambda times: st.tuples(*(st.tuples(st.just(t), NUMBERS).map(list) for t in times)))
SERIES = st.builds(
    lambda labels, samples: {"metric": labels, "values": list(samples)},
    st.dictionaries(NAMES, NAMES, max_size=4),
    SAMPLES,
)


@given(st.lists(SERIES, max_size=6), st.booleans(), st.lists(st.integers(0, 200), max_size=8))
@pytest.mark.slow
def test_scans_what_json_reads(
    result: list[dict[str, Any]], compact: bool, sizes: list[int]
) -> None:
    body = answer_of(result, compact)
    check(scan(body, GRID, STEP), result)
    check(scan(body, GRID, STEP, None, *sizes), result)


@pytest.mark.slow
@examples(100)
@given(
    st.lists(SERIES, min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 10_000), st.one_of(st.none(), st.binary(max_size=3))),
        min_size=1,
        max_size=4,
    ),
)
@example([series([[SECONDS[0], "1"]])], [(10_000, b"\0")])
def test_any_damage_ends_in_a_batch_or_an_error(
    result: list[dict[str, Any]], damage: list[tuple[int, bytes | None]]
) -> None:
    body = bytearray(answer_of(result))
    for at, replacement in damage:
        position = at % len(body)
        if replacement is None:
            del body[position:]
            body = body or bytearray(b"{")
        else:
            body[position : position + 1] = replacement
            body = body or bytearray(b"{")
    try:
        answer = scan(bytes(body), GRID, STEP)
    except DatasourceError:
        return
    assert json.loads(body.decode("utf-8", "replace"))["status"] == "success"
    assert answer.batch.values.shape == (len(answer.batch.labels), len(GRID))


def test_every_prefix_is_cut_off() -> None:
    body = answer_of([series([[SECONDS[0], "1.5"], [SECONDS[3], "NaN"]], job='a"}b\\')] * 2)
    for length in range(len(body)):
        with pytest.raises(DatasourceError):
            scan(body[:length], GRID, STEP)


def test_cut_off_answer_names_the_byte() -> None:
    body = answer_of([series([[SECONDS[0], "1.5"]], job="a")] * 3)
    length = body.rindex(b'"values"')
    with pytest.raises(DatasourceError, match=f"ends at byte {length}") as caught:
        scan(body[:length], GRID, STEP)
    assert caught.value.code == "io_error"


@pytest.mark.parametrize("compact", [True, False])
def test_invalid_byte_is_named(compact: bool) -> None:
    body = answer_of([series([[SECONDS[0], "1.5"]], job=name) for name in "abcdé"], compact)
    for position in (body.index(b'"c"'), body.rindex(b'"values"')):
        broken = body[:position] + b"x" + body[position + 1 :]
        with pytest.raises(DatasourceError, match=f"at byte {position}"):
            scan(broken, GRID, STEP)


@pytest.mark.parametrize("compact", [True, False])
def test_half_an_answer_is_cut_off_wherever_it_ends(compact: bool) -> None:
    body = answer_of([series([[SECONDS[0], "-1.5e-05"]], job=name) for name in "ab\n"], compact)
    for length in range(1, len(body.rstrip())):
        with pytest.raises(DatasourceError, match=f"cut off: it ends at byte {length}"):
            scan(body[:length], GRID, STEP)


def test_trailing_comma_is_invalid() -> None:
    body = answer_of([series([[SECONDS[0], "1.5"]])]).replace(b"]}]", b"]},]")
    with pytest.raises(DatasourceError, match="not valid JSON at byte"):
        scan(body, GRID, STEP)


def test_what_follows_the_array_is_checked() -> None:
    body = answer_of([series([[SECONDS[0], "1.5"]])])
    for tail in (b"x", b"}", b"{}"):
        with pytest.raises(DatasourceError, match="not valid JSON at byte"):
            scan(body + tail, GRID, STEP)
    twice = body[:-1] + b',"result":[]}'
    assert scan(twice, GRID, STEP).n_samples == 1
    twice = body[:-2] + b',"result":[]}}'
    with pytest.raises(DatasourceError, match="`result` occurs twice"):
        scan(twice, GRID, STEP)


def test_unusual_shapes_are_read_the_same() -> None:
    t = SECONDS[2]
    for text in (
        f'{{"values":[[{t},"2.5"]],"metric":{{"a":"b"}}}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t},2.5]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t}.0,"2.5"]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t / 1e3!r}e3,"2.5"]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t},"\\u0032.5"]]}}',
        f'{{"\\u006detric":{{"\\u0061":"b"}},"values":[[{t},"2.5"]]}}',
        f'{{"metric":{{"a":"x","a":"b"}},"values":[[{t},"2.5"]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t},"7"]],"values":[[{t},"2.5"]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t},"7"],[{t},"2.5"]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[{t},"2.5"]],"histograms":[[{t},{{}}]]}}',
        f'{{"metric":{{"a":"b"}},"values":[[-5,"1"],[{t},"2.5"],[1e300,"1"]]}}',
    ):
        body = answer_of(["here"]).replace(b'"here"', text.encode())
        batch = scan(body, GRID, STEP).batch
        assert batch.labels == (Labels({"a": "b"}),), text
        assert np.flatnonzero(~np.isnan(batch.values[0])).tolist() == [2], text
        assert batch.values[0, 2] == 2.5, text


@pytest.mark.parametrize(
    "one",
    [
        '{"metric":[],"values":[]}',
        '{"values":[]}',
        '{"metric":{}}',
        '{"metric":{},"values":{}}',
        '{"metric":{},"values":[1]}',
        '{"metric":{},"values":[["1","2"]]}',
        '{"metric":{},"values":[[1,"x"]]}',
        '{"metric":{},"values":[[1,""]]}',
        '{"metric":{},"values":[[1,null]]}',
        '{"metric":{},"values":[[1,true]]}',
        '{"metric":{},"values":[[1,"2","3"]]}',
        "1",
        "[]",
    ],
)
def test_malformed_series(one: str) -> None:
    body = answer_of(["here"]).replace(b'"here"', one.encode())
    with pytest.raises(DatasourceError, match="answer"):
        scan(body, GRID, STEP)


def test_series_without_floats() -> None:
    body = answer_of([{"metric": {"a": "b"}, "histograms": [[SECONDS[0], {"count": "1"}]]}])
    answer = scan(body, GRID, STEP)
    assert answer.n_samples == 0
    assert np.isnan(answer.batch.values).all()
    assert answer.batch.values.shape == (1, len(GRID))


def test_empty_result() -> None:
    answer = scan(answer_of([]), GRID, STEP)
    assert answer.batch.labels == ()
    assert answer.batch.values.shape == (0, len(GRID))
    assert answer.n_samples == 0


def test_samples_off_the_grid_are_counted() -> None:
    samples = [[t, "1"] for t in (SECONDS[0] - 60, SECONDS[0], SECONDS[0] + 1, SECONDS[-1] + 60)]
    answer = scan(answer_of([series(samples)]), GRID, STEP)
    assert (answer.n_samples, answer.n_off_grid) == (1, 3)
    assert scan(answer_of([series(samples)], compact=False), GRID, STEP).n_off_grid == 3


def test_fractional_seconds() -> None:
    grid = np.arange(1_700_000_000_250, 1_700_000_002_000, 250, dtype=np.int64)
    samples = [[t / 1000, str(i)] for i, t in enumerate(grid.tolist())]
    answer = scan(answer_of([series(samples)]), grid, 250)
    assert answer.batch.values.tolist() == [list(range(len(grid)))]


def test_same_label_set_becomes_one_series() -> None:
    one = series([[SECONDS[0], "1"], [SECONDS[1], "1"]], a="b")
    two = series([[SECONDS[1], "2"], [SECONDS[2], "2"]], a="b")
    answer = scan(answer_of([one, series([], c="d"), two]), GRID, STEP)
    assert answer.batch.labels == (Labels({"a": "b"}), Labels({"c": "d"}))
    assert answer.batch.values[0, :3].tolist() == [1, 2, 2]
    assert answer.n_merged == 1


def test_partial_answers_say_so() -> None:
    result = [series([[SECONDS[0], "1"]])]
    assert scan(answer_of(result, isPartial=True), GRID, STEP).is_partial
    assert not scan(answer_of(result, isPartial=False), GRID, STEP).is_partial
    late = answer_of(result)[:-1] + b',"isPartial":true}'
    assert scan(late, GRID, STEP).is_partial
    other_order = json.dumps({"isPartial": True, **json.loads(answer_of(result))}).encode()
    assert scan(other_order, GRID, STEP).is_partial


def test_the_servers_words_are_passed_on() -> None:
    body = b'{"status":"error","errorType":"422","error":"cannot parse \\"up(\\""}'
    with pytest.raises(DatasourceError, match=r'422: cannot parse "up\("'):
        scan(body, GRID, STEP)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html>", "not valid JSON at byte 0"),
        (b"[]", "`status`"),
        (b'{"status":"success"}', "`data`"),
        (b'{"status":"success","data":{"resultType":"vector","result":[]}}', "vector"),
        (b'{"status":"success","data":{"resultType":"matrix"}}', "data.result"),
        (b'{"status":"success","data":{"resultType":"matrix","result":1}}', "data.result"),
        (
            b'{"status":"success","data":{"resultType":"matrix","result":[1]}}',
            "this cannot follow in",
        ),
    ],
)
def test_other_answers(body: bytes, message: str) -> None:
    with pytest.raises(DatasourceError, match=message) as caught:
        scan(body, GRID, STEP)
    assert caught.value.code == "io_error"


def test_known_series_give_the_same_objects() -> None:
    cache = LabelCache()
    many = [series([[SECONDS[0], "1"]], instance=str(i)) for i in range(300)]
    first = scan(answer_of(many), GRID, STEP, cache).batch.labels
    assert scan(answer_of(many), GRID, STEP, cache).batch.labels is first
    some = scan(answer_of(many[10:20]), GRID, STEP, cache).batch.labels
    assert all(a is b for a, b in zip(some, first[10:20], strict=True))
    for _ in range(100):
        scan(answer_of(many[:5]), GRID, STEP, cache)
    assert scan(answer_of(many[:6]), GRID, STEP, cache).batch.labels[5] is first[5]
    for n in range(40):
        scan(answer_of(many[: n % 2 + 5]), GRID, STEP, cache)
    again = scan(answer_of(many), GRID, STEP, cache).batch.labels
    assert again == first
    assert again[0] is first[0]
    assert again[299] is not first[299], "what was not met for long is forgotten"


def test_extra_labels_win() -> None:
    cache = LabelCache({"vm_account_id": "7"})
    body = answer_of([series([[SECONDS[0], "1"]], vm_account_id="3", a="b")])
    assert scan(body, GRID, STEP, cache).batch.labels == (Labels({"a": "b", "vm_account_id": "7"}),)


def test_many_series_in_small_pieces() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(5_000, len(GRID)))
    result = [
        series([[t, repr(v)] for t, v in zip(SECONDS, row.tolist(), strict=True)], i=str(i))
        for i, row in enumerate(values)
    ]
    body = answer_of(result)
    blocks: list[tuple[int, int]] = []
    scanner = Scanner(GRID, STEP, LabelCache(), lambda _, block: blocks.append(block.shape))
    for start in range(0, len(body), 50_000):
        scanner.feed(body[start : start + 50_000])
    answer = scanner.finish()
    assert answer.n_samples == values.size
    assert sum(rows for rows, _ in blocks) == answer.n_series == len(values)
    assert len(blocks) > 1
    assert len(scanner._buffer) == 2 << 20, "memory does not grow with the answer"
    np.testing.assert_array_equal(scan(body, GRID, STEP).batch.values, values)


@given(st.lists(st.lists(st.integers(0, 12), unique=True), min_size=2, max_size=5))
def test_series_that_come_and_go_keep_their_names(answers: list[list[int]]) -> None:
    """Label sets of every length modulo 8, many of them prefixes of each other."""
    cache = LabelCache()
    for numbers in answers:
        result = [series([[SECONDS[0], str(n)]], **{"x" * (n + 1): "é" * n}) for n in numbers]
        check(scan(answer_of(result), GRID, STEP, cache), result)


def test_label_sets_of_one_length_are_told_apart() -> None:
    cache = LabelCache()
    for length in range(1, 20):
        for position in range(length):
            names = ["a" * length, "a" * position + "b" + "a" * (length - position - 1)]
            for name in names:
                result = [series([[SECONDS[0], "1"]], job=name)]
                check(scan(answer_of(result), GRID, STEP, cache), result)


ODD = [
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\uDC00",
    b"\\ud83d\\ude00",
    b"a",
    b"\\\\ud800",
]
ODD_TEXTS = st.lists(st.sampled_from(ODD), max_size=5).map(b"".join)


@given(
    st.lists(st.tuples(ODD_TEXTS, ODD_TEXTS), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.integers(0, 100), max_size=5),
)
def test_labels_that_are_no_unicode_cost_no_neighbour(
    labels: list[tuple[bytes, bytes]], compact: bool, sizes: list[int]
) -> None:
    comma, start = (b",", b"") if compact else (b", ", b" ")
    whole = b"%s".join(
        [
            b'{"status":"success","data":{"resultType":"matrix","result":[',
            b"]}}",
        ]
    ) % comma.join(
        b'%s{"metric":{"n":"%d","%s":"%s"},"values":[[%d,"%d"]]}'
        % (start, number, b"x" + name, value, SECONDS[0], number)
        for number, (name, value) in enumerate(labels)
    )
    plain = json.loads(whole.decode("utf-8", "replace"))["data"]["result"]
    for one in plain:
        one["metric"] = {replaced(name): replaced(value) for name, value in one["metric"].items()}
    check(scan(whole, GRID, STEP, None, *sizes), plain)
    # The parser, for an answer with its keys in another order.
    turned = whole.replace(b'{"status":"success",', b"{")[:-1] + b',"status":"success"}'
    check(scan(turned, GRID, STEP), plain)


def replaced(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


@pytest.mark.parametrize(
    "data",
    [
        b'{"resultType":"matrix","result":null}',
        b'{"resultType":"","result":null}',
        b'{"resultType":"","result":[]}',
        b'{"resultType":""}',
    ],
)
def test_null_and_empty_type_are_no_data(data: bytes) -> None:
    answer = scan(b'{"status":"success","data":%s}' % data, GRID, STEP)
    assert answer.batch.labels == ()
    assert not answer.is_partial


@pytest.mark.parametrize("data", [b'{"resultType":"matrix"}', b'{"resultType":"","result":[1]}'])
def test_what_is_no_result_is_refused(data: bytes) -> None:
    with pytest.raises(DatasourceError):
        scan(b'{"status":"success","data":%s}' % data, GRID, STEP)


@pytest.mark.parametrize(
    ("warning", "is_partial"),
    [
        ("partial response: store 3 is gone", True),
        ("receive series from Addr: 10.0.0.3: rpc error: code = Unavailable", True),
        ("PromQL warning: encountered a mix of histograms and floats", False),
    ],
)
def test_warnings_may_say_that_data_is_missing(warning: str, is_partial: bool) -> None:
    one = series([[SECONDS[0], "1"]], a="b")
    body = answer_of([one])[:-1] + b',"warnings":["%s"]}' % warning.encode()
    answer = scan(body, GRID, STEP)
    check(answer, [one])
    assert answer.is_partial is is_partial


@pytest.mark.parametrize("compact", [True, False])
def test_a_label_that_is_no_string_costs_no_neighbour(compact: bool) -> None:
    odd = {"metric": {"a": 1, "b": True, "c": None, "d": {"e": [1]}}, "values": [[SECONDS[0], "1"]]}
    good = series([[SECONDS[0], "2"]], a="good")
    answer = scan(answer_of([good, odd, good | {"metric": {"a": "other"}}], compact), GRID, STEP)
    assert answer.batch.labels == (
        Labels({"a": "good"}),
        Labels({"a": "1", "b": "true", "d": '{"e":[1]}'}),
        Labels({"a": "other"}),
    )
    assert answer.batch.values[:, 0].tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("head", "warnings"),
    [
        ('"warnings":["a \\"b\\" [c], {1}"],"status":"success"', ('a "b" [c], {1}',)),
        ('"status": "success", "infos" :[ "a" , "b" ], "isPartial":false,\n"errorType":""', ()),
        ('"status":"success","warnings":[],"warnings":null', ()),
    ],
)
def test_nothing_simple_before_the_series_keeps_them_in_memory(
    head: str, warnings: tuple[str, ...]
) -> None:
    one = series([[second, "1"] for second in SECONDS], a="b")
    many = [one | {"metric": {"a": f"{i:0>100}"}} for i in range(20_000)]
    data = answer_of(many)[1:].replace(b'"status":"success",', b"", 1)
    body = b"{%s,%s" % (head.encode(), data)
    placed: list[Labels] = []
    cache = LabelCache()
    scanner = Scanner(GRID, STEP, cache, lambda labels, values: placed.extend(labels))
    for start in range(0, len(body) - 100, 1 << 20):
        scanner.feed(body[start : min(start + (1 << 20), len(body) - 100)])
    assert len(placed) > len(many) // 2
    scanner.feed(body[-100:])
    answer = scanner.finish()
    assert len(placed) == answer.n_series == len(many)
    assert answer.warnings == warnings
