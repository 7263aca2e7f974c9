"""An identity provider in a process of its own: authorization code with PKCE, signed ID tokens, keys over https.

`python oidc_provider.py FOLDER` prints one line of JSON once it serves. What it does wrong is posted to `/wrong` as a
JSON object: claims to change (`claims`), `status`, `location`, `huge`, `no_token`; `rotate` is a new key.
"""

import base64
import hashlib
import json
import secrets
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "backfleet", "a secret: with % and +"


class State:
    """Codes that were given out, and the keys."""

    def __init__(self) -> None:
        self.issuer = ""
        self.codes: dict[str, dict[str, str]] = {}
        self.wrong: dict[str, object] = {}
        self.asked: list[str] = []
        self.rotate()

    def rotate(self) -> None:
        self.key, self.kid = rsa.generate_private_key(65537, 2048), secrets.token_hex(4)

    def keys(self) -> dict[str, object]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        encrypts = {**public, "use": "enc", "kid": "other", "alg": "RSA-OAEP"}
        return {
            "keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}, encrypts, {**public, "kid": self.kid, "use": "sig"}]
        }


STATE = State()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        STATE.asked.append(parts.path)
        if parts.path in ("/keys", "/asked"):
            self.answer(200, STATE.keys() if parts.path == "/keys" else STATE.asked)
            return
        code = secrets.token_urlsafe(16)
        STATE.codes[code] = query
        sent = urlencode({"code": code, "state": query["state"], "iss": STATE.issuer})
        self.answer(302, {}, {"Location": f"{query['redirect_uri']}?{sent}"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        STATE.asked.append(self.path)
        if self.path == "/wrong":
            STATE.wrong = json.loads(body)
            if STATE.wrong.get("rotate"):
                STATE.rotate()
            self.answer(200, {})
        elif STATE.wrong.get("huge"):
            self.answer(200, {"id_token": "x" * 1_000_000})
        elif "status" in STATE.wrong:
            self.answer(int(str(STATE.wrong["status"])), {}, {"Location": str(STATE.wrong.get("location", ""))})
        else:
            self.answer(*self.token(parse_qs(body)))

    def token(self, fields: dict[str, list[str]]) -> tuple[int, object]:
        """Exchange a code, once, for whoever it was made for."""
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        client, _, secret = base64.b64decode(pair).decode().partition(":")
        asked = STATE.codes.pop(fields["code"][0], None)
        digest = base64.urlsafe_b64encode(hashlib.sha256(fields["code_verifier"][0].encode()).digest())
        if asked is None or fields["redirect_uri"][0] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if asked["code_challenge"] != digest.rstrip(b"=").decode() or asked["code_challenge_method"] != "S256":
            return 400, {"error": "invalid_grant"}
        if (kind, unquote(client), unquote(secret)) != ("Basic", CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        if STATE.wrong.get("no_token"):
            return 200, {"access_token": "x"}
        at = int(time.time())
        claims = {
            "iss": STATE.issuer, "sub": "ann", "aud": CLIENT, "iat": at, "exp": at + 300, "nonce": asked["nonce"],
            "email": "ann@example.com", **dict(STATE.wrong.get("claims") or {}),
        }  # fmt: skip
        return 200, {"id_token": jwt.encode(claims, STATE.key, "RS256", headers={"kid": STATE.kid})}

    def answer(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "127.0.0.1.crt", folder / "127.0.0.1.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    STATE.issuer = f"https://127.0.0.1:{server.server_address[1]}"
    print(json.dumps({"issuer": STATE.issuer}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
