"""Where a client may connect to on behalf of somebody who is not trusted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

from vmanomaly.errors import ForbiddenAddressError


class Guard:
    """Refuses the addresses behind which there are services for this machine only.

    These are link-local addresses, where clouds keep the credentials of a machine, and the
    listeners of this process. It looks at addresses as they are connected to, so that no answer
    of a name server can lead around it.

    Parameters
    ----------
    own_ports
        The ports that this process listens on.

    Examples
    --------
    >>> Guard([8490]).check("169.254.169.254", 80)
    Traceback (most recent call last):
    ...
    vmanomaly.errors.ForbiddenAddressError: 169.254.169.254 is link-local, where there may be \
secrets of the machine; name it in `server.allowed_datasources` to allow it
    """

    def __init__(self, own_ports: Collection[int]) -> None:
        self._own_ports = frozenset(own_ports)

    def check(self, host: str, port: int) -> None:
        """Let an address pass, or not.

        Parameters
        ----------
        host
            An IP address.
        port
            The port.

        Raises
        ------
        ForbiddenAddressError
            It may not be connected to.
        """
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_link_local or address.is_multicast:
            kind = "link-local" if address.is_link_local else "a multicast address"
            raise ForbiddenAddressError(
                f"{host} is {kind}, where there may be secrets of the machine; "
                "name it in `server.allowed_datasources` to allow it"
            )
        if port in self._own_ports and _is_own(address):
            raise ForbiddenAddressError(f"{host}:{port} is this service itself, no datasource")


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address is one of this machine: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((str(address), 0))
        except OSError:
            return False
    return True
