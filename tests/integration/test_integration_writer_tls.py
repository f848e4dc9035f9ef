"""Writing through TLS and logins: what works, what is renewed while running, what users read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration import disturbed
from tests.integration.cluster import start_cluster
from tests.integration.disturbed import Run, Trial
from tests.integration.servers import (
    Front,
    VictoriaMetrics,
    Vmanomaly,
    Vmauth,
    replace_file,
    wait_until,
)
from tests.integration.tls import (
    PASSWORD,
    USER,
    Certificates,
    TlsFront,
    wants_client_certificate,
    wants_password,
)

UNHARMED = Run(exit_status=0)
# Certificates tell the time in whole seconds.
SHORT_LIFE = timedelta(seconds=2)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, "vmanomaly")
    yield
    assert "Traceback" not in caplog.text
    assert PASSWORD not in caplog.text


class TestWhatWorks:
    @pytest.mark.parametrize("how", ["bundle", "system", "unverified"])
    def test_a_server_certificate(
        self,
        trial: Trial,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        how: str,
    ) -> None:
        if how == "system":
            monkeypatch.setenv("SSL_CERT_FILE", str(certificates.bundle))
        verify_tls = {"bundle": str(certificates.bundle), "system": True, "unverified": False}[how]
        server = certificates.issue("server.pem")
        with TlsFront(trial.folder, trial.target.url, server) as front:
            run = trial.run({}, datasource_url=front.tls_url, verify_tls=verify_tls)
        assert run == UNHARMED
        trial.arrived(run)

    def test_a_client_certificate_login_and_path_prefix(
        self, trial: Trial, certificates: Certificates
    ) -> None:
        password_file = trial.folder / "password"
        password_file.write_text(f"{PASSWORD}\n")
        client = certificates.issue("client.pem", host="vmanomaly.example")
        directives = (
            wants_client_certificate(certificates.bundle)
            + wants_password(trial.folder)
            + f"location /behind/ {{ proxy_pass {trial.target.url}/; }}"
        )
        server = certificates.issue("server.pem")
        with TlsFront(trial.folder, trial.target.url, server, directives) as front:
            run = trial.run(
                {},
                datasource_url=f"{front.tls_url}/behind",
                verify_tls=str(certificates.bundle),
                tls_cert_file=str(client),
                tls_key_file=str(client),
                user=USER,
                password_file=str(password_file),
            )
        assert run == UNHARMED
        trial.arrived(run)

    @pytest.mark.parametrize(
        ("user", "login"),
        [
            ({"username": USER, "password": PASSWORD}, {"user": USER, "password": PASSWORD}),
            ({"bearer_token": PASSWORD}, {"bearer_token": PASSWORD}),
        ],
        ids=["password", "token"],
    )
    def test_a_tenant_behind_vmauth(
        self, trial: Trial, user: dict[str, str], login: dict[str, str]
    ) -> None:
        with start_cluster(trial.folder, "7:8") as cluster:
            route = {"src_paths": ["/insert/7:8/.*", "/health"], "url_prefix": cluster.url}
            with Vmauth(trial.folder, [{**user, "url_map": [route]}]) as vmauth:
                run = trial.run({}, datasource_url=vmauth.url, tenant_id="7:8", **login)
            trial = replace(trial, target=cluster.tenants["7:8"])
            assert run == UNHARMED
            trial.arrived(run)


class TestWhatIsRenewedWhileRunning:
    def test_a_server_certificate_expires(
        self, trial: Trial, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = certificates.issue("server.pem", life=SHORT_LIFE)
        expires = datetime.now(UTC) + SHORT_LIFE

        def renew() -> None:
            certificates.issue("server.pem")
            front.restart()

        with TlsFront(trial.folder, trial.target.url, server) as front:
            when = {"m03": lambda: wait_for(expires), "m08": renew}
            run = trial.run(when, datasource_url=front.tls_url, verify_tls=str(certificates.bundle))

        assert run == UNHARMED
        assert trial.arrived(run).n_duplicates == 0
        assert "certificate has expired" in caplog.text
        assert "The server's certificate has to be renewed" in caplog.text
        assert "`writer.verify_tls: false` accepts any certificate" in caplog.text

    def test_a_client_certificate_expires(
        self, trial: Trial, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = certificates.issue("server.pem")
        client = certificates.issue("client.pem", host="vmanomaly.example", life=SHORT_LIFE)
        expires = datetime.now(UTC) + SHORT_LIFE
        directives = wants_client_certificate(certificates.bundle)
        with TlsFront(trial.folder, trial.target.url, server, directives) as front:
            when = {
                "m03": lambda: wait_for(expires),
                "m08": lambda: certificates.issue("client.pem", host="vmanomaly.example"),
            }
            run = trial.run(
                when,
                datasource_url=front.tls_url,
                verify_tls=str(certificates.bundle),
                tls_cert_file=str(client),
            )

        assert run == UNHARMED
        assert trial.arrived(run).n_duplicates == 0
        assert "Is the certificate in `writer.tls_cert_file` still valid" in caplog.text

    def test_a_password_changes(self, trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
        password_file = trial.folder / "password"
        password_file.write_text(PASSWORD)
        new = f"{PASSWORD}-2"
        with Front(
            trial.folder, trial.target.url, "return 503;", wants_password(trial.folder)
        ) as front:
            when = {
                "m03": lambda: wants_password(trial.folder, new),
                "m08": lambda: replace_file(password_file, new),
            }
            run = trial.run(
                when, datasource_url=front.url, user=USER, password_file=str(password_file)
            )

        assert run == UNHARMED
        assert trial.arrived(run).n_duplicates == 0
        assert "Check `writer.user` and `writer.password_file`" in caplog.text


def wait_for(moment: datetime) -> None:
    wait_until(lambda: datetime.now(UTC) > moment, f"{moment} has come")


class TestWhatUsersRead:
    """The line of the log that names what is wrong, of a service that was started as by a user."""

    @staticmethod
    def complaint(folder: Path, source: VictoriaMetrics, status: int | None, **writer: Any) -> str:
        service = Vmanomaly(folder, disturbed.config(source.url, writer))
        with service:
            if status is None:
                # It would keep trying for a while.
                service.wait_until(lambda: "Cannot write" in service.output, "the complaint")
                service.kill()
            else:
                assert service.wait() == status, service.output
        assert "Traceback" not in service.output
        assert PASSWORD not in service.output
        return next(line for line in service.output.splitlines() if "Cannot write" in line)

    def test_a_wrong_authority(
        self, source: VictoriaMetrics, certificates: Certificates, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        with TlsFront(tmp_path, source.url, certificates.issue("server.pem")) as front:
            line = self.complaint(
                tmp_path,
                source,
                None,
                datasource_url=front.tls_url,
                verify_tls=str(Certificates(other).bundle),
            )
        assert f"Cannot write 80 points for m00: {front.tls_url}/api/v1/import: " in line
        assert "certificate verify failed" in line
        assert "set `writer.verify_tls` to the path of the CA bundle that signed it" in line

    def test_a_wrong_password(self, source: VictoriaMetrics, tmp_path: Path) -> None:
        with Front(tmp_path, source.url, "return 503;", wants_password(tmp_path, "right")) as front:
            line = self.complaint(
                tmp_path, source, None, datasource_url=front.url, user=USER, password=PASSWORD
            )
        assert f"Cannot write 80 points for m00: {front.url}/api/v1/import answered 401 " in line
        assert "Check `writer.user` and `writer.password`" in line

    def test_a_tenant_where_there_are_none(
        self, source: VictoriaMetrics, vm: VictoriaMetrics, tmp_path: Path
    ) -> None:
        line = self.complaint(tmp_path, source, 1, datasource_url=vm.url, tenant_id="1:2")
        address = f"{vm.url}/insert/1:2/prometheus/api/v1/import"
        assert f"Cannot write 80 points for m00: {address} answered 400 Bad Request: " in line
        assert "Is `writer.tenant_id` right, and `writer.datasource_url`?" in line
