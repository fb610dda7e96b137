"""A small OpenID Connect issuer on this machine: discovery, a key set, and logins that always succeed."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

JSON = dict[str, Any]


class Issuer:
    """Signs tokens and answers over HTTP, inside a with block."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, Any]] = {
            "rsa": ("RS256", rsa.generate_private_key(65537, 2048)),
            "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        }
        self.claims: JSON = {"sub": "ada", "groups": ["staff"]}
        self.asked: Counter[str] = Counter()
        self._logins: dict[str, JSON] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._get(self)

            def do_POST(self) -> None:
                issuer._post(self)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, kid: str = "rsa", **claims: Any) -> str:
        """A token for the audience `flowtime`; claims that are None are left out."""
        now = int(time.time())
        said = {"iss": self.url, "aud": "flowtime", "iat": now, "nbf": now, "exp": now + 300, **self.claims}
        said |= claims
        algorithm, key = self.keys[kid]
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, key, algorithm, {"kid": kid})

    def key_set(self) -> JSON:
        """The public keys, and one that is not for signatures."""
        found = []
        for kid, (algorithm, key) in self.keys.items():
            public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
            found.append({**public, "kid": kid, "use": "sig", "alg": algorithm})
        found.append(
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "alg": "HS256"}
        )
        return {"keys": found}

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        self.asked[parts.path] += 1
        if parts.path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            places = {name: f"{self.url}/{path}" for name, path in names.items()}
            _answer(request, {"issuer": self.url, **places})
        elif parts.path == "/keys":
            _answer(request, self.key_set())
        else:
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            code = f"code{len(self._logins)}"
            self._logins[code] = asked
            request.send_response(302)
            back = urlencode({"code": code, "state": asked["state"]})
            request.send_header("Location", f"{asked['redirect_uri']}?{back}")
            request.end_headers()

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        text = request.rfile.read(int(request.headers["Content-Length"])).decode()
        sent = {name: values[0] for name, values in parse_qs(text).items()}
        asked = self._logins.pop(sent["code"], {})
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        known = asked.get("code_challenge") == challenge and asked.get("redirect_uri") == sent["redirect_uri"]
        if not known or asked["code_challenge_method"] != "S256" or sent.get("client_secret") != "hush":
            _answer(request, {"error": "invalid_grant"}, 400)
            return
        token = self.token(aud=asked["client_id"], nonce=asked["nonce"])
        _answer(request, {"id_token": token, "access_token": "x", "token_type": "Bearer"})


def _answer(request: BaseHTTPRequestHandler, value: JSON, status: int = 200) -> None:
    body = json.dumps(value).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
