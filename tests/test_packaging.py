"""The unit for systemd keeps the options that hold the service back."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "packaging" / "systemd" / "vmanomaly.service"

# Without any of these the rating of systemd-analyze is worse, or the service stops wrongly.
REQUIRED = {
    "DynamicUser": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "NoNewPrivileges": "yes",
    "UMask": "0077",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateMounts": "yes",
    "PrivateUsers": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "RemoveIPC": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service ~@privileged @resources",
    "StateDirectory": "vmanomaly",
    "CacheDirectory": "vmanomaly",
    "RestartPreventExitStatus": "2",
}


def options() -> dict[str, str]:
    """Return the options of the section `Service`; the values of one given twice are joined."""
    section, found = "", dict[str, str]()
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "Service" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name] = f"{found[name]} {value}" if name in found else value
    return found


def test_the_unit_holds_the_service_back() -> None:
    given = options()
    assert {name: given.get(name) for name in REQUIRED} == REQUIRED
    # Kernels are compiled as the service runs.
    assert "MemoryDenyWriteExecute" not in given


def test_what_is_written_has_a_place() -> None:
    given = options()
    places = dict(each.split("=") for each in given["Environment"].split())
    assert places == {
        "VMANOMALY_DATA_DUMPS_DIR": "/var/lib/vmanomaly",
        "VMANOMALY_MODEL_DUMPS_DIR": "/var/lib/vmanomaly",
        "NUMBA_CACHE_DIR": "/var/cache/vmanomaly",
    }


def test_the_rating_of_systemd() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = re.search(r"exposure level for vmanomaly\.service: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip(f"systemd-analyze is too old: {done.stderr[:200]}")
    assert float(found[1]) < 2
