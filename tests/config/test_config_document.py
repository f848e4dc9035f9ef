from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmanomaly.config.loading.document import MAX_DEPTH, parse_document
from vmanomaly.config.values.scalar import EnvironmentText, plain, resolve
from vmanomaly.errors import ConfigError

ALIAS = (
    "an alias (*) without an anchor (&) before it, or in its own value; "
    "put text that starts with * in quotes"
)


def parse(text: str, **environ: str) -> dict[str, object]:
    return parse_document(text, "config.yaml", environ).sections  # type: ignore[return-value]


def error(text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, **environ)
    (message,) = caught.value.problems
    return message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8490", 8490),
        ("-3", -3),
        ("1_000", 1000),
        ("0x10", 16),
        ("0.5", 0.5),
        ("0.", 0.0),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("5E3", 5000.0),
        (".inf", float("inf")),
        ("-.Inf", float("-inf")),
        ("true", True),
        ("True", True),
        ("no", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("1:0", "1:0"),
        ("20:00", "20:00"),
        ("2022-04-01T00:00:00Z", "2022-04-01T00:00:00Z"),
        ("30s", "30s"),
        ("inf", "inf"),
        ("1.2.3", "1.2.3"),
        ("$VAR", "$VAR"),
        ("9" * 100, "9" * 100),
    ],
)
def test_type_of_plain_scalar(text: str, value: object) -> None:
    result = resolve(text)
    assert result == value
    assert isinstance(result, type(value))


@pytest.mark.parametrize("text", ["0123", "1.10", "1e3", "1_000", "0x1F", "+5"])
def test_numbers_remember_their_text(text: str) -> None:
    assert resolve(text).text == text  # type: ignore[union-attr]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(), items, max_size=4),
        max_leaves=12,
    )
)
def test_same_as_pyyaml(value: object) -> None:
    # Quoted text and numbers in YAML 1.1 spelling mean the same everywhere.
    text = yaml.safe_dump({"value": value}, default_style=None)
    theirs = yaml.safe_load(text)["value"]
    if isinstance(value, int) and abs(value) >= 10**60:
        return
    if not _differs(value):
        assert plain(parse(text)["value"]) == theirs  # type: ignore[arg-type]


def _differs(value: object) -> bool:
    """Tell whether our plain scalars are on purpose not those of YAML 1.1, or keys are not text."""
    match value:
        case str():
            ours = resolve(value)
            reserved = any("\ue000" <= char <= "\ue001" or char == "%" for char in value)
            return reserved or not isinstance(ours, str) or value in ("<<", "=")
        case list():
            return any(_differs(item) for item in value)
        case dict():
            return any(_differs(key) or _differs(item) for key, item in value.items())
    return False


class TestEnvironment:
    def test_unquoted(self) -> None:
        assert parse("url: %{DS_URL}", DS_URL="http://x:1") == {"url": "http://x:1"}

    def test_inside_text_and_several(self) -> None:
        text = "url: http://%{HOST}:%{PORT}/x"
        assert parse(text, HOST="db", PORT="8428") == {"url": "http://db:8428/x"}

    @pytest.mark.parametrize(
        ("value", "result"), [("8490", 8490), ("true", True), ("1e-3", 0.001), ("", None)]
    )
    def test_plain_scalar_gets_its_type(self, value: str, result: object) -> None:
        assert parse("a: %{X}", X=value) == {"a": result}

    def test_quoted_scalar_stays_text(self) -> None:
        assert parse("a: '%{X}'\nb: \"%{X}\"", X="1") == {"a": "1", "b": "1"}

    def test_block_scalar_flow_and_key(self) -> None:
        text = "a: |\n  %{X} + 1\nb: [%{X}, {c: %{X}}]\n%{X}: d"
        expected = {"a": "v + 1\n", "b": ["v", {"c": "v"}], "v": "d"}
        assert parse(text, X="v") == expected

    @given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
    def test_content_is_never_structure(self, content: str) -> None:
        result = parse("a: '%{X}'\nb: {c: %{X}}\nd: 1", X=content)
        assert result["a"] == content
        assert result["b"] == {"c": resolve(content)} or content == ".nan"
        assert result["d"] == 1

    @pytest.mark.parametrize("content", ["{evil: 1}", "[1]", "*x", "&x y", "!!int 1", "a: b\nc: d"])
    def test_injection(self, content: str) -> None:
        assert parse("x: &x 1\na: %{X}", X=content) == {"x": 1, "a": content}

    def test_placeholder_is_remembered(self) -> None:
        value = parse("a: x%{X}", X="secret")["a"]
        assert isinstance(value, EnvironmentText)
        assert value.placeholder == "x%{X}"

    def test_values_are_not_looked_into(self) -> None:
        assert parse("a: %{X}", X="%{Y}", Y="z") == {"a": "%{Y}"}

    def test_unset_stays_and_is_told(self) -> None:
        document = parse_document("a: {b: [1, '%{X} %{Y}']}", "config.yaml", {"Y": "y"})
        assert document.sections == {"a": {"b": [1, "%{X} y"]}}
        assert document.unset == [(("a", "b", 1), "X")]

    def test_comments_are_not_told(self) -> None:
        document = parse_document("# %{X}\na: 1 # or %{Y}", "config.yaml", {})
        assert document.unset == []


class TestStructure:
    def test_keys_are_text(self) -> None:
        assert parse("on: 1\n1: 2\n2024-01-01: 3\n~: 4") == {
            "on": 1,
            "1": 2,
            "2024-01-01": 3,
            "~": 4,
        }

    def test_anchors_and_merge_keys(self) -> None:
        text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 9}, *a]}\nd: *a"
        assert parse(text) == {
            "a": {"x": 1, "y": 2},
            "b": {"x": 1, "y": 3},
            "c": {"x": 9, "y": 2},
            "d": {"x": 1, "y": 2},
        }

    def test_explicit_core_tags(self) -> None:
        assert parse("a: !!str 1\nb: !!int '1'\nc: !!map {}\nd: ! x") == {
            "a": "1",
            "b": 1,
            "c": {},
            "d": "x",
        }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml: the file is empty; expected a YAML config"),
        ("# only a comment", "config.yaml: the file is empty; expected a YAML config"),
        ("~", "config.yaml: the file is empty; expected a YAML config"),
        (
            "- a",
            (
                "config.yaml:1:1: expected a mapping of sections (reader, writer, models, ...), "
                "got a list"
            ),
        ),
        (
            "just text",
            (
                "config.yaml:1:1: expected a mapping of sections (reader, writer, models, ...), "
                "got a single value"
            ),
        ),
        (
            "a: 1\n---\nb: 1",
            "config.yaml:2:1: a second YAML document starts here, expected one per file",
        ),
        ("a: *x", f"config.yaml:1:4: {ALIAS}"),
        ("a: &x [*x]", f"config.yaml:1:8: {ALIAS}"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "config.yaml:1:4: a tag (!) is not allowed; put text that starts with ! in quotes",
        ),
        (
            "a: !x y",
            "config.yaml:1:4: a tag (!) is not allowed; put text that starts with ! in quotes",
        ),
        ("? [a]\n: 1", "config.yaml:1:3: a key must be a name, not a list, mapping or alias"),
        ("<<: 1", "config.yaml:1:1: << takes a mapping or a list of mappings"),
        ("a: b\nc: \x01", "config.yaml:2: not YAML: the character U+0001 is not allowed"),
    ],
)
def test_refused(text: str, message: str) -> None:
    assert error(text) == message


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("a: [1,\nb: 2", ":3:1", "that starts in line 1"),
        ("a:\n\tb: 1", ":2:1", "indent with spaces, not with tabs"),
        ("a: @home", ":1:4", "put the value in quotes"),
        ("a: b: c", ":1:5", "does a text with a colon need quotes?"),
        ("a: 'b", ":1:", "unexpected end of stream"),
    ],
)
def test_not_yaml(text: str, place: str, hint: str) -> None:
    message = error(text)
    assert message.startswith(f"config.yaml{place}")
    assert "not YAML" in message
    assert hint in message


def test_of_a_key_that_stands_there_twice_the_last_holds() -> None:
    document = parse_document("a: 1\nb:\n  c: 1\n  c: 2\na: 3", "config.yaml", {})
    assert document.sections == {"a": 3, "b": {"c": 2}}
    assert document.repeated == [(("b", "c"), 4), (("a",), 5)]


def test_deep_nesting_is_refused() -> None:
    assert "nested more than 50 levels deep" in error("a: " + "[" * 100_000)
    assert parse("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))


def test_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    assert "more than 1000000 values, aliases counted as copies" in error("\n".join(lines))
