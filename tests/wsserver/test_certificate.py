"""What is wrong with the files of a certificate is said with the file and the mend."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from wscore.errors import ConfigError


async def refused(start_server, cert, key) -> str:
    with pytest.raises(ConfigError) as error:
        await start_server(tls_cert=cert, tls_key=key)
    return str(error.value)


async def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(start_server, make_certificate, tmp_path):
    made = make_certificate("127.0.0.1")
    file = tmp_path / "locked.key"
    encryption = BestAvailableEncryption(b"open sesame")
    file.write_bytes(made.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    problem = await refused(start_server, made.cert, file)
    assert problem.startswith(f"--tls-key: {file} is encrypted")
    assert f"openssl pkey -in {file}" in problem


async def test_a_key_of_another_certificate_is_told(start_server, make_certificate):
    one, other = make_certificate("127.0.0.1"), make_certificate("127.0.0.1")
    problem = await refused(start_server, one.cert, other.key)
    assert problem.startswith(f"--tls-key: {other.key} is not the key of the certificate in {one.cert}")


async def test_each_file_that_holds_something_else_is_named(start_server, make_certificate, tmp_path):
    made = make_certificate("127.0.0.1")
    assert "--tls-cert: " in (swapped := await refused(start_server, made.key, made.cert))
    assert f"{made.key} holds no certificate" in swapped
    assert await refused(start_server, made.cert, made.cert) == (
        f"--tls-key: {made.cert} holds no private key; give a PEM file"
    )
    (damaged := tmp_path / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    assert "cannot be loaded with its key: " in await refused(start_server, damaged, made.key)


async def test_a_missing_file_is_the_one_that_is_named(start_server, make_certificate, tmp_path):
    made = make_certificate("127.0.0.1")
    missing = tmp_path / "missing.pem"
    assert await refused(start_server, missing, made.key) == f"--tls-cert: {missing}: No such file or directory"
    assert await refused(start_server, made.cert, missing) == f"--tls-key: {missing}: No such file or directory"
