#!/usr/bin/python3
"""Writes jwt_vectors.h: keys and tokens for test_jwt.c, made by python3-cryptography, so that our verifier is held
against somebody else's signer. The private halves are thrown away. Run: jwt_vectors.py > jwt_vectors.h"""
import base64
import datetime
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, padding, rsa, utils, x25519

CLAIMS = {"sub": "alice", "iat": 1699999000, "nbf": 1699999000, "exp": 1700003600, "iss": "issuer", "aud": ["a", "b"]}
SECRET = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(alg, sign):
    head = b64(json.dumps({"alg": alg, "typ": "JWT"}, separators=(",", ":")).encode())
    signed = head + "." + b64(json.dumps(CLAIMS, separators=(",", ":")).encode())
    return signed + "." + b64(sign(signed.encode()))


def hs(digest):
    def sign(data):
        mac = hmac.HMAC(SECRET, digest)
        mac.update(data)
        return mac.finalize()
    return sign


def pss(digest, salt=None):
    return padding.PSS(padding.MGF1(digest), digest.digest_size if salt is None else salt)


def es(key, digest):
    def sign(data):
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        n = (key.curve.key_size + 7) // 8
        return r.to_bytes(n, "big") + s.to_bytes(n, "big")
    return sign


def short_r(key, digest):
    """A signature whose r begins with a zero byte: DER drops it, the raw form keeps it."""
    while True:
        text = token("ES256", es(key, digest))
        raw = text.rsplit(".", 1)[1]
        if base64.urlsafe_b64decode(raw + "==")[0] == 0:
            return text


def pem(key, form=serialization.PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    day = datetime.datetime(2020, 1, 1)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(day).not_valid_after(day.replace(year=2100)).sign(key, hashes.SHA256()))
    return cert.public_bytes(serialization.Encoding.PEM).decode()


def define(name, text):
    lines = text.splitlines(keepends=True) if "\n" in text else [text[i:i + 80] for i in range(0, len(text), 80)]
    print(f"#define {name} \\")
    print(" \\\n".join('    "' + line.replace("\n", "\\n") + '"' for line in lines))


def main():
    big, other, small = (rsa.generate_private_key(65537, n) for n in (2048, 2048, 1024))
    p256, p384, p521 = (ec.generate_private_key(c) for c in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))
    k256 = ec.generate_private_key(ec.SECP256K1())
    e25519, e448 = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
    print("/* Made by jwt_vectors.py; do not edit. */")
    define("SECRET", SECRET.decode())
    for name, key in (("RSA", big), ("OTHER_RSA", other), ("SMALL_RSA", small), ("P256", p256), ("P384", p384),
                      ("P521", p521), ("K256", k256), ("ED25519", e25519), ("ED448", e448),
                      ("X25519", x25519.X25519PrivateKey.generate())):
        define(name + "_PEM", pem(key))
    define("RSA_PKCS1_PEM", pem(big, serialization.PublicFormat.PKCS1))
    define("P256_CERTIFICATE", certificate(p256))
    for bits, digest in HASHES.items():
        define("HS" + bits, token("HS" + bits, hs(digest)))
        define("RS" + bits, token("RS" + bits, lambda d, h=digest: big.sign(d, padding.PKCS1v15(), h)))
        define("PS" + bits, token("PS" + bits, lambda d, h=digest: big.sign(d, pss(h), h)))
    h256 = hashes.SHA256()
    define("ES256", token("ES256", es(p256, h256)))
    define("ES384", token("ES384", es(p384, hashes.SHA384())))
    define("ES512", token("ES512", es(p521, hashes.SHA512())))
    define("ES256_SHORT_R", short_r(p256, h256))
    define("ES256_DER", token("ES256", lambda d: p256.sign(d, ec.ECDSA(h256))))
    define("ES256_BY_P384", token("ES256", es(p384, h256)))
    define("RS256_BY_OTHER", token("RS256", lambda d: other.sign(d, padding.PKCS1v15(), h256)))
    define("RS256_SAYS_PS", token("PS256", lambda d: big.sign(d, padding.PKCS1v15(), h256)))
    define("PS256_ODD_SALT", token("PS256", lambda d: big.sign(d, pss(h256, 20), h256)))
    define("EDDSA_25519", token("EdDSA", e25519.sign))
    define("EDDSA_448", token("EdDSA", e448.sign))


main()
