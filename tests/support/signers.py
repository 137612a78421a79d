"""Signers of content credentials, with certificates made for the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.runtime.settings import CredentialSettings

PEM = serialization.Encoding.PEM
Key = ec.EllipticCurvePrivateKey


def _certificate(
    name: str, public: ec.EllipticCurvePublicKey, authority: Key, ends: datetime
) -> x509.Certificate:
    is_root = public == authority.public_key()
    subject = _name(name)
    usage = x509.KeyUsage(
        not is_root, False, False, False, False, is_root, is_root, False, False
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_name("Example Root"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=3))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            critical=False,
        )
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        made = made.add_extension(purpose, critical=False)
    return made.sign(authority, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Archive"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def signer(
    folder: Path,
    *,
    days: float = 365,
    key: str = "",
    public: ec.EllipticCurvePublicKey | None = None,
    tsa_url: str = "",
) -> CredentialSettings:
    """A root at `root.pem` in the folder, and the settings of a signer below it.

    `public`, `key`: of a key that lies elsewhere, and where.
    """
    authority = ec.generate_private_key(ec.SECP256R1())
    own = ec.generate_private_key(ec.SECP256R1())
    always = datetime.now(UTC) + timedelta(days=3650)
    ends = datetime.now(UTC) + timedelta(days=days)
    root = _certificate("Example Root", authority.public_key(), authority, always)
    leaf = _certificate("Example Signer", public or own.public_key(), authority, ends)
    (folder / "root.pem").write_bytes(root.public_bytes(PEM))
    (folder / "certs.pem").write_bytes(leaf.public_bytes(PEM))
    private = own.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return CredentialSettings(
        c2pa_certs=folder / "certs.pem",
        c2pa_key=key or str(folder / "key.pem"),
        c2pa_tsa_url=tsa_url,
    )
