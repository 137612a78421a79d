"""A certificate by which the parts of SeaweedFS authenticate each other, and which no
other user of the machine has.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.local.program import LOOPBACK
from infra.local.state import write_private

CA, CERTIFICATE, KEY = "ca.pem", "certificate.pem", "key.pem"
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
"""They are good for one life of a stack, on a machine whose clock may say anything."""


def draw(folder: Path) -> None:
    """Put an authority and one certificate into `folder`, for both ends of a
    connection.

    The authority's own key is written nowhere: it never signs another.
    """
    authority = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    root = _signed(
        "authority", authority.public_key(), authority, x509.BasicConstraints(True, 0)
    )
    both_ends = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(LOOPBACK))])
    leaf = _signed(
        "part",
        key.public_key(),
        authority,
        x509.BasicConstraints(False, None),
        both_ends,
        address,
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    for name, data in {
        CA: root.public_bytes(pem),
        CERTIFICATE: leaf.public_bytes(pem),
        KEY: private,
    }.items():
        write_private(folder / name, data.decode())


def context(folder: Path) -> ssl.SSLContext:
    """The TLS context of our own clients."""
    found = ssl.create_default_context(cafile=str(folder / CA))
    found.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return found


def _signed(
    name: str,
    key: ec.EllipticCurvePublicKey,
    authority: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(_named("authority"))
        .subject_name(_named(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(ALWAYS[0])
        .not_valid_after(ALWAYS[1])
    )
    for extension in extensions:
        builder = builder.add_extension(
            extension, critical=isinstance(extension, x509.BasicConstraints)
        )
    return builder.sign(authority, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
