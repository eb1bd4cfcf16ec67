"""`htsgate demo` and an https server of the same files, as clients meet them."""

import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.processes import environment, serving


@dataclass(frozen=True, slots=True)
class Site:
    """Two servers of the demo's files: `reads/demo` (BAM, CRAM) and `variants/demo` (VCF, BCF) are
    open, `reads/clinic/case-7` (BAM) and `variants/clinic/case-7` (VCF) controlled."""

    url: str
    """Base URL of `htsgate demo`, over http."""
    tls_url: str
    """Base URL of `htsgate serve` over https."""
    ca: Path
    """PEM certificate of the authority that vouches for `tls_url`."""
    token: str
    """Bearer token of somebody who may see chr2:40,001-60,000 of the controlled files."""
    token_file: Path
    """File with `token` on a line."""
    directory: Path
    """Folder with demo.bam, demo.cram, demo.vcf.gz, demo.bcf, demo.fa, and clinic/case-7.bam,
    clinic/case-7.vcf.gz, their indexes beside them."""


@contextmanager
def demo_site(directory: Path) -> Iterator[Site]:
    """Both servers, with what they write below `directory`, until the block ends."""
    data = directory / "data"
    ca, certificate, key = make_certificates(directory)
    with _demo(data, directory) as url:
        settings, token = data / "access" / "htsgate.toml", data / "access" / "token"
        with serving(
            *("--config", settings, "--port", "0"),
            HTSGATE_SERVER__TLS_CERTIFICATE=str(certificate),
            HTSGATE_SERVER__TLS_KEY=str(key),
            HTSGATE_DATABASE__URL=f"sqlite:///{directory / 'tls.db'}",
        ) as tls:
            yield Site(url, tls.url, ca, token.read_text().strip(), token, data)


@contextmanager
def _demo(data: Path, directory: Path) -> Iterator[str]:
    log = directory / "demo.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "server", "demo", "--port", "0", "--directory", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=directory,
            env=environment(),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("htsgate serves http"), (line, log.read_text())
            for text in process.stdout:  # all of what it prints, so that it need not wait for us
                if text.startswith("Ctrl-C"):
                    break
            yield line.split()[2]
        finally:
            process.terminate()
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()


def make_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """A certificate authority's certificate; a certificate of 127.0.0.1 and localhost that it
    signed; and the key of that. All are PEM files in `directory`."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = _named("htsgate tests"), _named("127.0.0.1")
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    served = (
        _certificate(name, authority_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    paths = tuple(directory / each for each in ("ca.pem", "certificate.pem", "key.pem"))
    for path, certificate in zip(paths, (authority, served), strict=False):
        path.write_bytes(certificate.sign(authority_key, SHA256()).public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    paths[2].write_bytes(private)
    return paths[0], paths[1], paths[2]


def client_environment(**more: str | os.PathLike[str]) -> dict[str, str]:
    """Our environment for a client: without what would lead htslib, libcurl, requests or Node
    elsewhere than to the server under test; and with `more`."""
    ours = ("HTS_", "HTSGATE_", "REF_", "CURL_", "SSL_", "REQUESTS_", "NODE_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.lower().endswith("_proxy")
    }
    return {**kept, "LC_ALL": "C.UTF-8", **{name: os.fspath(each) for name, each in more.items()}}


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer,
        subject,
        key,
        x509.random_serial_number(),
        now - timedelta(days=1),
        now + timedelta(days=7),
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
