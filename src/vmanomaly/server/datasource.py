"""The datasource of a request: which one it may use, and how to log in to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, SecretStr

from vmanomaly.config import Config
from vmanomaly.config.http import HttpSection
from vmanomaly.config.loading.ui_datasource import DATASOURCE_TYPES
from vmanomaly.config.loading.ui_datasource import URL as URL_VARIABLE
from vmanomaly.config.problems import Findings
from vmanomaly.config.reader import (
    HttpReaderSection,
    VlogsReaderSection,
    VmReaderSection,
)
from vmanomaly.config.registry import READERS
from vmanomaly.config.section import read_section
from vmanomaly.config.server import ServerSection
from vmanomaly.http import Guard
from vmanomaly.http.terms import InTerms
from vmanomaly.server.terms import keep_terms, terms_of_request
from vmanomaly.server.values import WrongValueError

AUTHORIZATION = "Authorization"
FORWARDED_AUTHORIZATION = "X-Datasource-Authorization"
"""Goes to the datasource as `Authorization` where that header is for this service itself."""

_LOGIN = ("user", "password", "password_file", "bearer_token", "bearer_token_file")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class DatasourceFields(BaseModel):
    """What the body of a request says about its datasource.

    Attributes
    ----------
    datasource_url
        Its address; by default that of the reader.
    datasource_type
        `vm` or `vlogs`; by default that of the reader, or `vm` for another address.
    tenant_id
        In a cluster.
    pass_auth_headers
        Whether the `Authorization` of the request goes on to it.
    """

    model_config = ConfigDict(extra="ignore")

    datasource_url: str | None = None
    datasource_type: str | None = None
    tenant_id: str | None = None
    pass_auth_headers: bool = False


def _datasource_fields(
    datasource_url: str | None = None,
    datasource_type: str | None = None,
    tenant_id: str | None = None,
    pass_auth_headers: bool = False,
) -> DatasourceFields:
    return DatasourceFields(
        datasource_url=datasource_url,
        datasource_type=datasource_type,
        tenant_id=tenant_id,
        pass_auth_headers=pass_auth_headers,
    )


DatasourceArguments: TypeAlias = Annotated[DatasourceFields, Depends(_datasource_fields)]
"""What the arguments of a GET say about its datasource."""


@dataclass(frozen=True, kw_only=True)
class DatasourceChoice:
    """What a request says about its datasource.

    Attributes
    ----------
    url
        Its address; None leaves it to the configuration.
    type
        `vm`, `vlogs` or `vmlogs`; None for that of the reader where the address is the reader's,
        too, and for `vm` elsewhere.
    tenant_id
        In a cluster.
    authorization
        The header that goes on to the datasource, where the request asks for that.
    """

    url: str | None = None
    type: str | None = None
    tenant_id: str | None = None
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Datasource:
    """Where a request may read, and how.

    Attributes
    ----------
    section
        For the reader and the HTTP client, without queries.
    guard
        Says which addresses may be connected to; None allows all.
    in_terms
        Rewrites messages in terms of what the client can change.
    """

    section: HttpReaderSection
    guard: Guard | None
    in_terms: InTerms = str


def forwarded_authorization(
    request: Request, pass_auth_headers: bool, config: Config
) -> str | None:
    """Return the header that a request wants to go on to its datasource.

    Parameters
    ----------
    request
        The request.
    pass_auth_headers
        What it says in this argument.
    config
        Where `server.auth` is set, `Authorization` is for this service and never goes on.
    """
    if not pass_auth_headers:
        return None
    return request.headers.get(_forwarded_header(config))


def datasource_of(fields: DatasourceFields, request: Request, config: Config) -> Datasource:
    """Return the datasource of a request, as `choose_datasource` does.

    What goes wrong with it is told in terms of the request.

    Parameters
    ----------
    fields
        What its arguments or its body say.
    request
        The request.
    config
        The configuration that runs.
    """
    choice = DatasourceChoice(
        url=fields.datasource_url,
        type=fields.datasource_type,
        tenant_id=fields.tenant_id,
        authorization=forwarded_authorization(request, fields.pass_auth_headers, config),
    )
    datasource = choose_datasource(choice, config)
    keep_terms(request, datasource.in_terms)
    return datasource


def choose_datasource(choice: DatasourceChoice, config: Config) -> Datasource:
    """Return the datasource of a request.

    Parameters
    ----------
    choice
        What the request says.
    config
        The configuration that runs.

    Raises
    ------
    HTTPException
        403 for a datasource that is not allowed.
    WrongValueError
        What the request says is wrong, or it says nothing and the configuration neither.
    """
    kind = _kind(choice, config)
    reader = config.reader if isinstance(config.reader, HttpReaderSection) else None
    fixed = config.ui_datasource
    if fixed is not None and choice.url not in (None, "", fixed.url):
        raise HTTPException(
            403,
            "all queries go to the datasource in VMANOMALY_UI_DATASOURCE_URL; "
            "leave out datasource_url",
        )
    url = fixed.url if fixed is not None else choice.url
    if not url:
        if reader is None:
            raise WrongValueError("datasource_url", "required: the configuration has no datasource")
        url = reader.datasource_url
    elif fixed is None:
        _check_allowed(url, _section_of(config).allowed_datasources)
    same_host = reader is not None and _origin(urlsplit(url)) == _origin(
        urlsplit(reader.datasource_url)
    )
    given: dict[str, object] = {"class": kind, "datasource_url": url}
    if choice.tenant_id:
        given["tenant_id"] = choice.tenant_id
    section = _read(kind, given)
    like_reader = same_host and _section_of(config).use_reader_connection_settings
    if reader is not None and like_reader:
        section = _with_connection_of(section, reader)
    if choice.authorization is not None:
        section = section.model_copy(
            update=dict.fromkeys(_LOGIN)
            | {"headers": _with_authorization(section.headers, choice.authorization)}
        )
    trusted = fixed is not None or same_host or bool(_section_of(config).allowed_datasources)
    in_terms = terms_of_request(
        _url_name(choice, config),
        _forwarded_header(config),
        is_logged_in=choice.authorization is not None,
        like_reader=like_reader,
    )
    return Datasource(section, None if trusted else Guard(_own_ports(config)), in_terms)


def type_of(reader: HttpReaderSection) -> str:
    """Return what requests call the type of a reader's datasource."""
    return "vlogs" if isinstance(reader, VlogsReaderSection) else "vm"


def section_like(connection: HttpSection) -> VmReaderSection:
    """Return a section that reads where another one connects to, as that does."""
    given = {"class": "vm", "datasource_url": connection.datasource_url}
    section = _with_connection_of(_read("vm", given), connection)
    assert isinstance(section, VmReaderSection)  # noqa: S101 - by its class
    return section.model_copy(update={"tenant_id": connection.tenant_id})


def _forwarded_header(config: Config) -> str:
    return AUTHORIZATION if _section_of(config).auth is None else FORWARDED_AUTHORIZATION


def _url_name(choice: DatasourceChoice, config: Config) -> str:
    if config.ui_datasource is not None:
        return URL_VARIABLE
    return "datasource_url" if choice.url else "reader.datasource_url"


def _kind(choice: DatasourceChoice, config: Config) -> str:
    reader, fixed = config.reader, config.ui_datasource
    if choice.type:
        given = choice.type
    elif fixed is not None:
        given = fixed.type
    else:
        given = "vm" if choice.url or not isinstance(reader, HttpReaderSection) else type_of(reader)
    kind = DATASOURCE_TYPES.get(given)
    if kind is None:
        raise WrongValueError("datasource_type", "expected vm or vlogs")
    return kind


def _read(kind: str, given: Mapping[str, object]) -> HttpReaderSection:
    findings = Findings()
    section = read_section(READERS[kind].section, given, (), findings, {"queries": {}})
    if findings.problems:
        raise WrongValueError(None, "; ".join(findings.problems))
    assert isinstance(section, HttpReaderSection)  # noqa: S101 - of a type that requests may name
    return section


def _check_allowed(url: str, allowed: tuple[str, ...]) -> None:
    if not url.startswith(("http://", "https://")):
        raise HTTPException(403, "datasource_url: only http:// and https:// are allowed")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise WrongValueError(
            "datasource_url", "expected a URL such as http://host:8428"
        ) from error
    if "@" in parts.netloc:
        raise HTTPException(403, "datasource_url: a login in the URL is not allowed")
    if allowed and not any(_is_below(parts, urlsplit(prefix)) for prefix in allowed):
        raise HTTPException(
            403,
            "datasource_url is not one of `server.allowed_datasources`; add it there to allow it",
        )


def _is_below(parts: SplitResult, prefix: SplitResult) -> bool:
    path = parts.path.rstrip("/") + "/"
    root = prefix.path.rstrip("/") + "/"
    has_dots = any(segment in (".", "..") for segment in path.replace("%2e", ".").split("/"))
    return _origin(parts) == _origin(prefix) and path.startswith(root) and not has_dots


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _with_connection_of(section: HttpReaderSection, reader: HttpSection) -> HttpReaderSection:
    """Return a section that connects as the reader does, with its login."""
    names = (*HttpSection.model_fields.keys() - {"datasource_url", "tenant_id"},)
    login = {name: getattr(reader, name) for name in names}
    in_url = urlsplit(reader.datasource_url).netloc.rpartition("@")[0]
    if in_url:
        parts = urlsplit(section.datasource_url)
        login["datasource_url"] = parts._replace(
            netloc=f"{in_url}@{parts.netloc.rpartition('@')[2]}"
        ).geturl()
    return section.model_copy(update=login)


def _with_authorization(headers: Mapping[str, SecretStr], value: str) -> dict[str, SecretStr]:
    others = {name: each for name, each in headers.items() if name.lower() != "authorization"}
    return {**others, AUTHORIZATION: SecretStr(value)}


def _section_of(config: Config) -> ServerSection:
    # Without the section there is no listener that requests could come from.
    return config.server or ServerSection()


def _own_ports(config: Config) -> set[int]:
    pull = config.monitoring.pull
    return {_section_of(config).port, *(() if pull is None else (pull.port,))}
