"""A stand-in for a VictoriaMetrics cluster, which Debian does not package.

Behind it stands one real VictoriaMetrics a tenant, and one that sees all tenants. It does what
was measured on a cluster of version 1.150:

- `/insert/{tenant}/prometheus/...` and `/select/{tenant}/prometheus/...` reach a tenant; `a` is
  `a:0`. `/health` is there, addresses of a single node are not.
- What is imported through `multitenant` goes to the tenant that the labels `vm_account_id` and
  `vm_project_id` name, without these labels; to `0:0` where they are missing.
- Reading through `multitenant` puts them back; an aggregation loses them like any other label.
- A series that was stored inside a tenant with a label `vm_account_id` of its own comes back
  through `multitenant` with that key twice, the tenant's last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import MAX_WBITS, decompress

import urllib3

from tests.integration.servers import Samples, VictoriaMetrics, import_lines, request
from tests.loopback import Asked, Handler, serve

TENANT_LABELS = ("vm_account_id", "vm_project_id")
_MULTITENANT = "multitenant"
_IMPORT = "api/v1/import"
_QUERY_RANGE = "api/v1/query_range"
_CONTENT_HEADERS = ("Content-Type", "Content-Encoding")
# Names of these labels inside the database of all tenants, where a series was stored with them.
_STORED = {name: f"stored_{name}" for name in TENANT_LABELS}
_ORIGINAL = {stored: name for name, stored in _STORED.items()}


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Attributes
    ----------
    url
        Base URL, of both its vminsert and its vmselect.
    tenants
        What stands behind each tenant, by `account:project`: to import into and to export from
        without going through the cluster.
    everything
        Sees all tenants.
    requests
        What the cluster was asked.
    """

    url: str
    tenants: Mapping[str, VictoriaMetrics]
    everything: VictoriaMetrics
    requests: Sequence[Asked]

    def import_series(
        self, tenant: str, series: Iterable[tuple[Mapping[str, str], Samples]]
    ) -> None:
        """Write label sets with their samples through `/insert/`, and make them searchable."""
        address = f"{self.url}/insert/{tenant}/prometheus/{_IMPORT}"
        status, body = request("POST", address, import_lines(series))
        assert status == 204, body
        self.force_flush()

    def force_flush(self) -> None:
        """Make everything written so far searchable."""
        for server in (*self.tenants.values(), self.everything):
            server.force_flush()


@contextmanager
def start_cluster(folder: Path, *tenants: str) -> Iterator[Cluster]:
    """Run a cluster that has the given tenants, and `0:0` in any case.

    Parameters
    ----------
    folder
        Temporary folder for data and logs.
    tenants
        `account` or `account:project`.
    """
    with ExitStack() as stack:

        def start(name: str) -> VictoriaMetrics:
            own = folder / f"tenant-{name.replace(':', '-')}"
            own.mkdir()
            return stack.enter_context(VictoriaMetrics(own))

        servers = {name: start(name) for name in dict.fromkeys(["0:0", *map(_full, tenants)])}
        everything = start(_MULTITENANT)
        http = stack.enter_context(urllib3.PoolManager(retries=False, maxsize=16))
        loopback = stack.enter_context(serve(_Gateway(servers, everything, http).respond))
        yield Cluster(loopback.url, servers, everything, loopback.requests)


class _Gateway:
    """vminsert and vmselect in one."""

    def __init__(
        self,
        tenants: Mapping[str, VictoriaMetrics],
        everything: VictoriaMetrics,
        http: urllib3.PoolManager,
    ) -> None:
        self._tenants = tenants
        self._everything = everything
        self._http = http

    def respond(self, handler: Handler, asked: Asked) -> None:
        path, _, arguments = asked.path.partition("?")
        root, _, rest = path.lstrip("/").partition("/")
        tenant, _, rest = rest.partition("/")
        api = rest.removeprefix("prometheus/")
        if path == "/health":
            handler.reply(200, b"OK", mime="text/plain")
        elif root not in {"insert", "select"} or api == rest:
            words = f'unsupported path requested: "{path}"'
            handler.reply(400, words.encode(), mime="text/plain")
        elif (root, tenant, api) == ("insert", _MULTITENANT, _IMPORT):
            self._import_lines(handler, asked, _tenant_of_labels)
        elif (root, tenant, api) == ("select", _MULTITENANT, _QUERY_RANGE):
            self._query_all(handler, asked, arguments)
        elif _full(tenant) not in self._tenants:
            words = f"the stand-in has no {api} for the tenant {tenant}"
            handler.reply(400, words.encode(), mime="text/plain")
        elif (root, api) == ("insert", _IMPORT):
            self._import_lines(handler, asked, lambda labels: _full(tenant))
        else:
            query = f"?{arguments}" if arguments else ""
            target = f"{self._tenants[_full(tenant)].url}/{api}{query}"
            self._pass_on(handler, asked, target)

    def _import_lines(
        self, handler: Handler, asked: Asked, route: Callable[[dict[str, str]], str]
    ) -> None:
        """Import JSON lines into the tenants that `route` says, and into everything."""
        body = asked.body
        if asked.headers.get("Content-Encoding") == "gzip":
            body = decompress(body, 16 + MAX_WBITS)
        lines: dict[VictoriaMetrics, list[str]] = {}
        for entry in map(json.loads, body.splitlines()):
            tenant = route(entry["metric"])
            if tenant not in self._tenants:
                handler.reply(400, f"the stand-in has no tenant {tenant}".encode())
                return
            lines.setdefault(self._tenants[tenant], []).append(json.dumps(entry))
            stored = {_STORED.get(name, name): value for name, value in entry["metric"].items()}
            owner = dict(zip(TENANT_LABELS, tenant.split(":"), strict=True))
            tagged = json.dumps({**entry, "metric": {**stored, **owner}})
            lines.setdefault(self._everything, []).append(tagged)
        for server, own in lines.items():
            address = f"{server.url}/{_IMPORT}"
            answer = self._http.request("POST", address, body="\n".join(own).encode())
            assert answer.status == 204, answer.data
        handler.reply(204)

    def _query_all(self, handler: Handler, asked: Asked, arguments: str) -> None:
        address = f"{self._everything.url}/{_QUERY_RANGE}?{arguments}"
        answer = self._http.request(
            "POST", address, body=asked.body, headers=_content_headers(asked)
        )
        body = json.loads(answer.data)
        if answer.status == 200:
            # Text, since no mapping holds a key twice.
            series = ",".join(map(_series_text, body["data"]["result"]))
            text = f'{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}'
            handler.reply(200, text.encode())
        else:
            handler.reply(answer.status, answer.data)

    def _pass_on(self, handler: Handler, asked: Asked, address: str) -> None:
        answer = self._http.request(
            asked.method, address, body=asked.body, headers=_content_headers(asked)
        )
        mime = answer.headers.get("Content-Type", "text/plain")
        handler.reply(answer.status, answer.data, mime=mime)


def _full(tenant: str) -> str:
    return tenant if ":" in tenant else f"{tenant}:0"


def _tenant_of_labels(labels: dict[str, str]) -> str:
    """Take the tenant out of the labels."""
    return ":".join(labels.pop(name, "0") for name in TENANT_LABELS)


def _series_text(series: dict[str, Any]) -> str:
    labels = series["metric"]
    tenant = [(name, labels.pop(name)) for name in TENANT_LABELS if name in labels]
    pairs = [(_ORIGINAL.get(name, name), value) for name, value in labels.items()] + tenant
    metric = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    return f'{{"metric":{{{metric}}},"values":{json.dumps(series["values"])}}}'


def _content_headers(asked: Asked) -> dict[str, str]:
    return {name: asked.headers[name] for name in _CONTENT_HEADERS if name in asked.headers}
