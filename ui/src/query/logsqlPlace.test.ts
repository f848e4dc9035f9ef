import { expect, test } from "vitest";
import { isSamePlace, placeOf, quotedWith, written } from "./logsqlPlace";

const field = (from: number, within = "filter") => ({ kind: "field", from, within });
const value = (of: string, from: number, typed = "", quote = "") => ({ kind: "value", field: of, from, typed, quote });

test.each([
  ["", field(0)],
  ["lev", field(0)],
  ["level:error an", field(12)],
  ["(level:error or ho", field(16)],
  ["!le", field(1)],
  ["level:", value("level", 6)],
  ["level: err", value("level", 7, "err")],
  ["level:=err", value("level", 7, "err")],
  ["level:!=", value("level", 8)],
  ['level:="a \\"b', value("level", 7, 'a "b', '"')],
  ["level:`a\\", value("level", 6, "a\\", "`")],
  ['"trace:id":', value("trace:id", 11)],
  ["http.path:/a", value("http.path", 10, "/a")],
  ["host:web-1", value("host", 5, "web-1")],
  ["host:=web-", value("host", 6, "web-")],
  ["{host=web-1", value("host", 6, "web-1")],
  ["host:in(db-1, web-", value("host", 14, "web-")],
  ["host:web-1 le", field(11)],
  ["-le", field(1)],
  ["level:in(a, b", value("level", 12, "b")],
  ["level:in(", value("level", 9)],
  ["level:in(a ", null],
  ['level:"error" ', field(14)],
  ["level:~err", null],
  ["took:>1", null],
  ['"some phr', null],
  ["# lev", null],
  ["# a comment\nlev", field(12)],
  ["{", field(1, "stream")],
  ['{app="x",ho', field(9, "stream")],
  ["{app=", value("app", 5)],
  ['{app!="ng', value("app", 6, "ng", '"')],
  ["{app in(", value("app", 8)],
  ["{app not_in(a,", value("app", 14)],
  ["{app ", null],
  ['{app="x"} le', field(10)],
  ["* |", { kind: "pipe", from: 3 }],
  ["* | sta", { kind: "pipe", from: 4 }],
  ["* | stats by (lev", field(14, "pipe")],
  ["* | stats sum(", field(14, "pipe")],
  ["* | stats count() if (lev", field(22)],
  ["* | stats count() if (level:", value("level", 28)],
  ["* | filter lev", field(11)],
  ["user:in(* | fields us", field(19, "pipe")],
  ["user:in(* | fields user) le", field(25)],
])("%s", (before, expected) => {
  expect(placeOf(before)).toEqual(expected);
});

test.each([
  ["", "lev", true],
  ["lev", "level:", false],
  ["level:", "level:err", true],
  ["level:", "level:=", false],
  ["level:", "level:!", false],
  ["level:", 'level:"', false],
  ["level:", "levels:", false],
  ["host:", "host:web-1", true],
  ['path:="', 'path:="/a b', true],
  ['path:="/a b', 'path:="/a b"', false],
  ["path:='", 'path:="', false],
  ["level:in(", "level:in(a,", false],
  ["* | ", "* | sta", true],
  ["* | sta", "* | stats ", false],
  ["{", "{ap", true],
  ["le", "{e", false],
])("what follows %s and %s is the same: %s", (before, after, isSame) => {
  expect(isSamePlace(placeOf(before), placeOf(after))).toBe(isSame);
});

test("what LogsQL would read otherwise is quoted", () => {
  const words = new Set(["or"]);
  expect(["level", "k8s.pod", "trace:id", "or", "OR", "a b", 'a"b', "5", "-x", "größe"].map((text) => written(text, words))).toEqual([
    "level",
    "k8s.pod",
    '"trace:id"',
    '"or"',
    '"OR"',
    '"a b"',
    '"a\\"b"',
    '"5"',
    '"-x"',
    "größe",
  ]);
  expect(quotedWith("'", "it's\n")).toBe("'it\\'s\\n'");
  expect(quotedWith("`", "C:\\x")).toBe("`C:\\x`");
  expect(quotedWith("`", "a`b")).toBe('"a`b"');
});
