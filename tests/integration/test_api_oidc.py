"""Tokens of an OIDC issuer, and browsers that log in there: a real server, a real issuer on this machine."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.issuer import Issuer
from tests.servers import Servers, bearer, new_token, problem

OIDC = """
[oidc]
issuer = "{url}"
audience = ["flowtime", "other"]
roles = {{ admins = "admin", staff = "writer", guests = "reader" }}
client_id = "browser"
client_secret = "hush"
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("oidc")) as shared:
        yield shared


@pytest.fixture(scope="module")
def url(servers: Servers, issuer: Issuer) -> str:
    """A server that knows the issuer, and one token besides."""
    auth = servers.folder / "access.toml"
    auth.write_text(OIDC.format(url=issuer.url))
    new_token(auth, "somebody")
    return servers("--auth", auth, "--allow-host", "flow.example", "--proxy", "127.0.0.1")


def ask(url: str, token: str, method: str = "GET", path: str = "/v1/artifacts") -> httpx.Response:
    return httpx.request(method, url + path, headers=bearer(token))


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_token_of_the_issuer_is_known(url: str, issuer: Issuer, kid: str) -> None:
    assert ask(url, issuer.token(kid)).status_code == 200
    assert ask(url, issuer.token(kid, aud=["x", "other"])).status_code == 200
    assert ask(url, issuer.token(kid, nbf=None)).status_code == 200


def refused(issuer: Issuer) -> dict[str, str]:
    """Tokens that are not right, each in one way."""
    now = int(time.time())
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    other = rsa.generate_private_key(65537, 2048)
    public = issuer.keys["rsa"][1].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def hmac(key: bytes, kid: str) -> str:
        head = f"{part({'alg': 'HS256', 'kid': kid})}.{part(claims)}"
        signature = jwt.get_algorithm_by_name("HS256").sign(head.encode(), key)
        return f"{head}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    right = issuer.token()
    head, body, signature = right.split(".")
    return {
        "forged": jwt.encode(claims, other, "RS256", {"kid": "rsa"}),
        "changed": f"{head}.{part({**claims, 'sub': 'root'})}.{signature}",
        "expired": issuer.token(exp=now - 60),
        "not yet valid": issuer.token(nbf=now + 600),
        "of the future": issuer.token(iat=now + 600),
        "without an end": issuer.token(exp=None),
        "wrong audience": issuer.token(aud="elsewhere"),
        "for browsers": issuer.token(aud="browser"),
        "no audience": issuer.token(aud=None),
        "wrong issuer": issuer.token(iss="https://evil.example"),
        "no issuer": issuer.token(iss=None),
        "alg none": f"{part({'alg': 'none', 'kid': 'rsa'})}.{body}.",
        "alg None": f"{part({'alg': 'None', 'kid': 'rsa'})}.{body}.{signature}",
        "no alg": f"{part({'kid': 'rsa'})}.{body}.{signature}",
        "HMAC with the public key": hmac(pem, "rsa"),
        "HMAC with a shared key": hmac(b"secret-secret-secret-secret", "shared"),
        "another key's algorithm": jwt.encode(claims, other, "RS512", {"kid": "rsa"}),
        "unknown key": jwt.encode(claims, other, "RS256", {"kid": "own"}),
        "no key": jwt.encode(claims, other, "RS256"),
        "its own key": jwt.encode(
            claims, other, "RS256", {"kid": "own", "jwk": {"kty": "RSA"}, "jku": f"{issuer.url}/evil"}
        ),
        "no user": issuer.token(sub=None),
        "no text as user": jwt.encode(
            {**claims, "sub": "a\nb"}, issuer.keys["rsa"][1], "RS256", {"kid": "rsa"}
        ),
        "no token": "a.b.c",
        "empty": "..",
    }


def test_tokens_that_are_not_right_are_refused(url: str, issuer: Issuer) -> None:
    for what, token in refused(issuer).items():
        assert problem(ask(url, token)) == (401, "FT828"), what
    assert issuer.asked["/evil"] == 0
    assert ask(url, issuer.token()).status_code == 200


def test_unknown_keys_are_not_asked_for_again_and_again(url: str, issuer: Issuer) -> None:
    ask(url, issuer.token())
    before = issuer.asked["/keys"]
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    for number in range(5):
        ask(url, jwt.encode(claims, issuer.keys["rsa"][1], "RS256", {"kid": f"new{number}"}))
    assert issuer.asked["/keys"] <= before + 1


@pytest.mark.parametrize(
    ("groups", "looks", "makes", "rules"),
    [
        (["guests"], 200, 403, 403),
        (["guests", "staff"], 200, 422, 403),
        ("staff other", 200, 422, 403),
        (["admins"], 200, 422, 200),
        (["strangers"], 403, 403, 403),
        (None, 403, 403, 403),
    ],
)
def test_claims_give_roles(
    url: str, issuer: Issuer, groups: object, looks: int, makes: int, rules: int
) -> None:
    token = issuer.token(groups=groups)
    assert ask(url, token).status_code == looks
    assert ask(url, token, "POST", "/v1/models").status_code == makes
    assert ask(url, token, "POST", "/v1/artifacts/index").status_code == rules


def test_a_new_key_of_the_issuer_is_fetched_once(serve: Servers) -> None:
    with Issuer() as issuer:
        auth = serve.folder / "access.toml"
        auth.write_text(OIDC.format(url=issuer.url))
        url = serve("--auth", auth)
        assert ask(url, issuer.token("rsa")).status_code == 200
        issuer.keys["next"] = ("RS256", rsa.generate_private_key(65537, 2048))
        assert [ask(url, issuer.token("next")).status_code for _ in range(3)] == [200] * 3
        assert issuer.asked["/keys"] == 2
    # The issuer is gone; its keys are remembered.
    assert ask(url, issuer.token("rsa")).status_code == 200


def test_an_issuer_that_does_not_answer_lets_nobody_in(serve: Servers) -> None:
    with Issuer() as issuer:
        token = issuer.token()
    auth = serve.folder / "access.toml"
    auth.write_text(OIDC.format(url=issuer.url))
    ada = new_token(auth, "ada")
    url = serve("--auth", auth)
    for _ in range(2):
        assert problem(ask(url, token)) == (503, "FT837")
    assert httpx.get(f"{url}/v1/artifacts", headers=ada).status_code == 200


def leave(browser: httpx.Client, next: str = "/artifacts") -> str:
    """The address to which the server sends a browser that is to log in."""
    left = browser.get("/login/oidc", params={"next": next})
    assert left.status_code == 303
    return left.headers["location"]


def test_browsers_log_in_at_the_issuer(url: str, issuer: Issuer) -> None:
    with httpx.Client(base_url=url) as browser:
        there = leave(browser)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(there).query).items()}
        assert asked["redirect_uri"] == f"{url}/login/callback"
        assert (asked["client_id"], asked["response_type"]) == ("browser", "code")
        assert asked["code_challenge_method"] == "S256"
        back = httpx.get(there).headers["location"]
        entered = browser.get(back)
        assert (entered.status_code, entered.headers["location"]) == (303, "/artifacts")
        made = browser.post(
            "/v1/templates/checkout/models", json={}, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert made.json()["owner"] == "ada"
        # What came back is of no use a second time, here or in another browser.
        assert problem(browser.get(back)) == (401, "FT828")
        with httpx.Client(base_url=url) as other:
            assert problem(other.get(back)) == (401, "FT828")
            leave(other)
            assert problem(other.get(back)) == (401, "FT828")
            assert problem(other.get("/v1/artifacts")) == (401, "FT828")
        assert browser.get("/v1/artifacts").status_code == 200
        browser.post("/logout", headers={"Origin": url})
        assert problem(browser.get("/v1/artifacts")) == (401, "FT828")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"nonce": "another"}, (401, "FT828")),
        ({"aud": "flowtime"}, (401, "FT828")),
        ({"exp": 1}, (401, "FT828")),
        ({"groups": []}, (403, "FT829")),
    ],
    ids=str,
)
def test_a_login_with_a_wrong_token_fails(
    url: str,
    issuer: Issuer,
    claims: dict[str, Any],
    expected: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = issuer.token
    monkeypatch.setattr(issuer, "token", lambda **said: right(**{**said, **claims}))
    with httpx.Client(base_url=url) as browser:
        back = httpx.get(leave(browser)).headers["location"]
        assert problem(browser.get(back)) == expected
        assert "flowtime_session" not in browser.cookies


def test_behind_a_proxy_with_tls_cookies_are_secure(url: str, issuer: Issuer) -> None:
    said = {"Host": "flow.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    left = httpx.get(f"{url}/login/oidc", headers=said)
    asked = parse_qs(urlsplit(left.headers["location"]).query)
    assert asked["redirect_uri"] == ["https://flow.example/login/callback"]
    assert "; Secure" in left.headers["set-cookie"]
