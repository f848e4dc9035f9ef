"""The keys of everything that talks HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    ExistingFile,
    Headers,
    PositiveDuration,
    ProxyUrl,
    Secret,
    Tenant,
    Text,
    TlsVerification,
    Url,
    UrlPath,
)

ValueT = TypeVar("ValueT")


class HttpSection(Section):
    """Where a server is, and how to authenticate to it.

    Attributes
    ----------
    datasource_url
        Base URL; a path prefix is kept.
    tenant_id
        `account`, `account:project` or `multitenant`: the server is a VictoriaMetrics cluster.
    health_path
        Absolute or relative to `datasource_url`.
    user, password, password_file
        Basic auth.
    bearer_token, bearer_token_file
        Bearer auth.
    timeout
        For one request.
    verify_tls
        Whether to verify certificates, or the CA bundle to verify them with.
    tls_cert_file, tls_key_file
        The client's certificate; the key may be in the certificate's file.
    headers
        Sent with every request.
    proxy_url
        The HTTP proxy that all requests pass through; None for none.
    """

    datasource_url: Annotated[Url, RESTARTS]
    tenant_id: Annotated[Tenant | None, RESTARTS] = None
    health_path: Annotated[UrlPath, RESTARTS] = "health"
    user: Annotated[Text | None, RESTARTS] = None
    password: Annotated[Secret | None, RESTARTS] = None
    password_file: Annotated[ExistingFile | None, RESTARTS] = None
    bearer_token: Annotated[Secret | None, RESTARTS] = None
    bearer_token_file: Annotated[ExistingFile | None, RESTARTS] = None
    timeout: Annotated[PositiveDuration, RESTARTS] = Duration(30_000)
    verify_tls: Annotated[TlsVerification, RESTARTS] = True
    tls_cert_file: Annotated[ExistingFile | None, RESTARTS] = None
    tls_key_file: Annotated[ExistingFile | None, RESTARTS] = None
    headers: Annotated[Headers, RESTARTS] = Field(default_factory=dict)
    proxy_url: Annotated[ProxyUrl | None, RESTARTS] = None

    @field_validator("user")
    @classmethod
    def _check_user(cls, value: str, info: ValidationInfo) -> str:
        return _only_login(value, info)

    @field_validator("password", "password_file")
    @classmethod
    def _check_password(cls, value: SecretStr | Path, info: ValidationInfo) -> SecretStr | Path:
        return _only_login(needs_user(value, info), info, "password")

    @field_validator("bearer_token", "bearer_token_file")
    @classmethod
    def _check_token(cls, value: SecretStr | Path, info: ValidationInfo) -> SecretStr | Path:
        return _only_login(value, info, "user", "bearer_token")

    @field_validator("tls_key_file")
    @classmethod
    def _check_key(cls, value: Path, info: ValidationInfo) -> Path:
        return needs_certificate(value, info)

    @field_validator("headers")
    @classmethod
    def _check_headers(
        cls, value: dict[str, SecretStr], info: ValidationInfo
    ) -> dict[str, SecretStr]:
        if any(name.lower() == "authorization" for name in value):
            _only_login(value, info, "user", "bearer_token", "bearer_token_file")
        return value


def needs_user(password: ValueT, info: ValidationInfo) -> ValueT:
    """Return a password that is set together with a user.

    Raises
    ------
    ValueError
        If it is set alone.
    """
    if info.data.get("user", "") is None:
        raise ValueError("a password without user; set user too")
    return password


def needs_certificate(key: ValueT, info: ValidationInfo) -> ValueT:
    """Return the file of a key that is set together with its certificate.

    Raises
    ------
    ValueError
        If it is set alone.
    """
    if info.data.get("tls_cert_file", "") is None:
        raise ValueError("a key without its certificate; set tls_cert_file too")
    return key


def _only_login(value: ValueT, info: ValidationInfo, *others: str) -> ValueT:
    """Raise if one of the keys `others`, or the URL, already holds credentials."""
    if urlsplit(info.data.get("datasource_url") or "").username is not None:
        raise ValueError("conflicts with the credentials in the URL; use one authentication method")
    for other in others:
        if info.data.get(other) is not None:
            raise ValueError(f"conflicts with {other}; use one authentication method")
    return value
