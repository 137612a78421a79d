"""The signer of content credentials: certificates, and a key that never leaves this
process, or never comes to it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    PrivateKeyTypes,
    PublicKeyTypes,
)

from shared.errors import SettingsError
from shared.runtime.settings import CredentialSettings

KMS = "kms:"
CURVES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("es256", hashes.SHA256()),
    "secp384r1": ("es384", hashes.SHA384()),
    "secp521r1": ("es512", hashes.SHA512()),
}
"""Curve → C2PA's name of its signature, and its hash."""
KMS_NAMES = {
    "es256": "ECDSA_SHA_256",
    "es384": "ECDSA_SHA_384",
    "es512": "ECDSA_SHA_512",
    "ps256": "RSASSA_PSS_SHA_256",
}
LEAST_RSA_BITS = 2048
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Identity:
    """Who signs. `chain`: PEM, the signer's own certificate first. `sign` makes the
    signature of some bytes; `algorithm` is C2PA's name of it. `fingerprint`: the SHA-256
    of the signer's certificate. `ends`: when the certificate does.
    """

    name: str
    fingerprint: str
    chain: str
    algorithm: str
    ends: datetime
    sign: Callable[[bytes], bytes]
    tsa_url: str

    @property
    def warning(self) -> str | None:
        """What becomes of the signatures when the certificate ends."""
        if self.tsa_url:
            return None
        return (
            f"these signatures die with their certificate, on {self.ends:%Y-%m-%d}: from then on every reader calls"
            " them invalid. Time stamps keep them alive: name an authority by DARKROOM_C2PA_TSA_URL"
        )


def load(settings: CredentialSettings) -> Identity:
    """The signer that the settings name.

    Raises `SettingsError` for what is missing or cannot be read, a certificate that has
    ended or does not belong to the key, and a key of a kind that C2PA does not know.
    """
    if settings.c2pa_certs is None or not settings.c2pa_key:
        raise SettingsError(
            "content credentials need a certificate and its key: set DARKROOM_C2PA_CERTS and DARKROOM_C2PA_KEY"
        )
    pem = _read(settings.c2pa_certs, "DARKROOM_C2PA_CERTS")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SettingsError(
            f"DARKROOM_C2PA_CERTS: {settings.c2pa_certs} holds no certificate in PEM: {error}"
        ) from error
    leaf = certificates[0]
    _check_dates(leaf)
    algorithm, digest = _algorithm(leaf)
    if settings.c2pa_key.startswith(KMS):
        sign = _by_kms(settings.c2pa_key.removeprefix(KMS), algorithm, digest)
    else:
        key = _private_key(Path(settings.c2pa_key))
        if _public(key.public_key()) != _public(leaf.public_key()):
            raise SettingsError(
                "DARKROOM_C2PA_KEY is not the key of the first certificate in DARKROOM_C2PA_CERTS"
            )
        sign = _by_key(key, digest)
    return Identity(
        name=leaf.subject.rfc4514_string(),
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        # Of the file the certificates alone: it may hold the key, too.
        chain="".join(each.public_bytes(PEM).decode() for each in certificates),
        algorithm=algorithm,
        ends=leaf.not_valid_after_utc,
        sign=sign,
        tsa_url=settings.c2pa_tsa_url,
    )


def _read(file: Path, name: str) -> bytes:
    try:
        return file.expanduser().read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: {error}") from error


def _check_dates(leaf: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if leaf.not_valid_after_utc <= now:
        raise SettingsError(
            f"DARKROOM_C2PA_CERTS: the certificate ended on {leaf.not_valid_after_utc:%Y-%m-%d}; renew it: what"
            " it would sign is invalid"
        )
    if leaf.not_valid_before_utc > now:
        raise SettingsError(
            f"DARKROOM_C2PA_CERTS: the certificate begins on {leaf.not_valid_before_utc:%Y-%m-%d}; set the clock"
        )


def _algorithm(leaf: x509.Certificate) -> tuple[str, hashes.HashAlgorithm]:
    key: PublicKeyTypes | None = None
    with suppress(UnsupportedAlgorithm, ValueError):
        key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519", hashes.SHA512()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS:
        return "ps256", hashes.SHA256()
    raise SettingsError(
        "DARKROOM_C2PA_CERTS: C2PA knows keys on P-256, P-384 and P-521, Ed25519, and RSA from 2048 bits on; this is"
        " another one"
    )


def _private_key(file: Path) -> PrivateKeyTypes:
    pem = _read(file, "DARKROOM_C2PA_KEY")
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"DARKROOM_C2PA_KEY: {file} holds no private key in PEM without a password"
        ) from error


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _by_key(
    key: PrivateKeyTypes, digest: hashes.HashAlgorithm
) -> Callable[[bytes], bytes]:
    def sign(data: bytes) -> bytes:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(data, ec.ECDSA(digest))
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        assert isinstance(key, rsa.RSAPrivateKey)
        salt = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return key.sign(data, salt, digest)

    return sign


def _by_kms(
    key: str, algorithm: str, digest: hashes.HashAlgorithm
) -> Callable[[bytes], bytes]:
    """Signing by AWS KMS, with the credentials and the region of the machine."""
    if algorithm not in KMS_NAMES:
        raise SettingsError(
            "DARKROOM_C2PA_KEY: KMS signs with keys on P-256, P-384, P-521 and with RSA, not with this certificate's"
        )

    def sign(data: bytes) -> bytes:
        hashed = hashes.Hash(digest)
        hashed.update(data)
        try:
            client = boto3.client("kms")
            answer = client.sign(
                KeyId=key,
                Message=hashed.finalize(),
                MessageType="DIGEST",
                SigningAlgorithm=KMS_NAMES[algorithm],
            )
        except (BotoCoreError, ClientError) as error:
            raise SettingsError(
                f"DARKROOM_C2PA_KEY: KMS did not sign: {error}"
            ) from error
        return bytes(answer["Signature"])

    return sign
