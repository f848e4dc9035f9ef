"""The section `server`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, SecretStr, ValidationInfo, field_validator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.http import needs_certificate, needs_user
from vmanomaly.config.section import Section
from vmanomaly.config.values.fields import (
    ExistingFile,
    Flag,
    FreeMapping,
    Port,
    Secret,
    Text,
    as_text,
    as_url,
    texts,
    whole,
)
from vmanomaly.config.values.scalar import EnvironmentText


def _path_prefix(value: object) -> str:
    text = as_text(value)
    trimmed = text.strip("/ ")
    prefix = f"/{trimmed}" if trimmed else ""
    return (
        EnvironmentText(prefix, text.placeholder) if isinstance(text, EnvironmentText) else prefix
    )


def _ui_state(value: object) -> str:
    text = as_text(value)
    if text and not text.startswith("#/?"):
        raise ValueError("expected the state of the UI, starting with #/?")
    return text


def _datasource_prefix(value: object) -> str:
    url = as_url(value)
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("expected scheme, host, port and path of a URL only")
    return url.rstrip("/")


def _origin(value: object) -> str:
    text = as_url(value).rstrip("/")
    parts = urlsplit(text)
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        raise ValueError("expected an origin such as https://grafana.example.com, without a path")
    return text.lower()


class AuthSection(Section):
    """Who may send requests.

    Attributes
    ----------
    user, password
        Basic auth.
    bearer_token, bearer_token_file
        Bearer auth.
    """

    user: Text | None = None
    password: Secret | None = None
    bearer_token: Secret | None = None
    bearer_token_file: ExistingFile | None = None

    @field_validator("password")
    @classmethod
    def _check_password(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return needs_user(value, info)

    @field_validator("bearer_token", "bearer_token_file")
    @classmethod
    def _check_token(cls, value: SecretStr | Path, info: ValidationInfo) -> SecretStr | Path:
        for other in ("user", "bearer_token"):
            if info.data.get(other) is not None:
                raise ValueError(f"conflicts with {other}; use one authentication method")
        return value

    def secret(self) -> str:
        """Return the password or the token; a token's file is read again each time."""
        if self.bearer_token_file is not None:
            return self.bearer_token_file.read_text(encoding="utf-8").strip()
        given = self.password or self.bearer_token
        return given.get_secret_value() if given else ""


class ServerSection(Section):
    """The HTTP server.

    Attributes
    ----------
    addr, port
        Where to listen.
    path_prefix
        Prefix of every path, with a leading slash and without a trailing one; may be empty.
    ui_default_state
        State that the UI opens with when the address of the visit has none.
    ui_frame_ancestors
        Origins of other web pages that may show the UI in a frame, such as
        https://grafana.example.com.
    max_concurrent_tasks
        Detection tasks at the same time.
    uvicorn_config
        Passed to uvicorn.
    use_reader_connection_settings
        Whether the UI reaches datasources with the reader's credentials.
    tls_cert_file, tls_key_file
        The server's certificate.
    auth
        Who may send requests; None: everybody.
    allowed_datasources
        What the URLs of datasources that requests name must start with; empty for any that is not
        link-local and not this service.
    cors_allowed_origins
        Origins of other web pages that may use the API, such as https://grafana.example.com.
    """

    default_effect = RESTARTS

    addr: Text = "0.0.0.0"
    port: Port = 8490
    path_prefix: Annotated[str, PlainValidator(_path_prefix)] = ""
    ui_default_state: Annotated[str, PlainValidator(_ui_state)] = ""
    ui_frame_ancestors: Annotated[tuple[str, ...], texts(_origin)] = ()
    max_concurrent_tasks: Annotated[int, whole(1)] = 2
    uvicorn_config: FreeMapping = Field(default_factory=lambda: {"log_level": "warning"})
    use_reader_connection_settings: Flag = False
    tls_cert_file: ExistingFile | None = None
    tls_key_file: ExistingFile | None = None
    auth: AuthSection | None = None
    allowed_datasources: Annotated[tuple[str, ...], texts(_datasource_prefix)] = ()
    cors_allowed_origins: Annotated[tuple[str, ...], texts(_origin)] = ()

    @field_validator("tls_key_file")
    @classmethod
    def _check_key(cls, value: Path, info: ValidationInfo) -> Path:
        return needs_certificate(value, info)

    @field_validator("auth")
    @classmethod
    def _check_auth(cls, value: AuthSection) -> AuthSection:
        if not (value.password or value.bearer_token or value.bearer_token_file):
            raise ValueError("set user and password, bearer_token or bearer_token_file")
        return value
