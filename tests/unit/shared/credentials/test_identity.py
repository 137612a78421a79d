"""Whose signature it is: certificates, keys, and what is wrong with them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto import mock_aws

from shared.credentials import identity
from shared.errors import SettingsError
from shared.runtime.settings import CredentialSettings, Settings
from tests.support.signers import signer


def test_a_signature_dies_with_its_certificate_unless_it_has_a_time_stamp(
    tmp_path: Path,
) -> None:
    found = identity.load(signer(tmp_path))
    assert found.algorithm == "es256"
    assert found.warning
    assert f"{found.ends:%Y-%m-%d}" in found.warning
    stamped = identity.load(signer(tmp_path, tsa_url="https://tsa.example"))
    assert stamped.warning is None


def test_a_certificate_that_has_ended_signs_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the certificate ended on"):
        identity.load(signer(tmp_path, days=-1))


@pytest.mark.parametrize("name", ["certs.pem", "key.pem"])
def test_a_file_that_is_missing_or_no_pem_is_named(tmp_path: Path, name: str) -> None:
    settings = signer(tmp_path)
    (tmp_path / name).write_text("nothing")
    with pytest.raises(SettingsError, match=name):
        identity.load(settings)
    (tmp_path / name).unlink()
    with pytest.raises(SettingsError, match=name):
        identity.load(settings)


def test_the_key_must_be_the_certificates_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = signer(tmp_path / "other")
    settings = signer(tmp_path, key=other.c2pa_key)
    with pytest.raises(SettingsError, match="is not the key of"):
        identity.load(settings)


def test_without_settings_both_are_named() -> None:
    with pytest.raises(
        SettingsError, match=r"DARKROOM_C2PA_CERTS and DARKROOM_C2PA_KEY"
    ):
        identity.load(CredentialSettings())


def test_a_key_in_kms_signs_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        kms = boto3.client("kms")
        made = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
        key = made["KeyMetadata"]["KeyId"]
        public = serialization.load_der_public_key(
            kms.get_public_key(KeyId=key)["PublicKey"]
        )
        assert isinstance(public, ec.EllipticCurvePublicKey)
        found = identity.load(signer(tmp_path, public=public, key=f"kms:{key}"))
        signature = found.sign(b"a claim")
        # This stand-in for KMS hashes what it gets, also where that is a digest.
        digest = hashlib.sha256(b"a claim").digest()
        public.verify(signature, digest, ec.ECDSA(hashes.SHA256()))
        with pytest.raises(SettingsError, match="KMS did not sign"):
            identity.load(signer(tmp_path, public=public, key="kms:none")).sign(b"")


def test_a_key_that_is_set_itself_is_in_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Path(signer(tmp_path).c2pa_key).read_text()
    monkeypatch.setenv("DARKROOM_C2PA_KEY", key)
    with pytest.raises(SettingsError, match="name the file") as refused:
        Settings.load()
    assert key.splitlines()[1] not in str(refused.value)


def test_of_a_file_with_the_key_in_it_only_certificates_go_on(tmp_path: Path) -> None:
    """A comment in another encoding is no hindrance either."""
    settings = signer(tmp_path)
    chain = identity.load(settings).chain
    file = tmp_path / "certs.pem"
    key = Path(settings.c2pa_key).read_bytes()
    file.write_bytes(b"# M\xfcller\n" + key + file.read_bytes())
    assert identity.load(settings).chain == chain
    assert "PRIVATE" not in chain


def test_a_certificate_of_an_unknown_kind_is_told_as_that(tmp_path: Path) -> None:
    settings = signer(tmp_path)
    file = tmp_path / "certs.pem"
    leaf = x509.load_pem_x509_certificate(file.read_bytes())
    der = leaf.public_bytes(serialization.Encoding.DER)
    kind = bytes.fromhex("2a8648ce3d0201")  # of a key on a curve
    unknown = base64.encodebytes(der.replace(kind, kind[:-1] + b"\x77")).decode()
    file.write_text(
        f"-----BEGIN CERTIFICATE-----\n{unknown}-----END CERTIFICATE-----\n"
    )
    with pytest.raises(SettingsError, match="C2PA knows keys on"):
        identity.load(settings)
