"""OpenID Connect: tokens checked against the keys of their issuer, and the login of browsers there.

Bearer tokens are JWTs (RFC 7519) signed with RS256, ES256 or EdDSA, by the algorithm that the issuer's key
set (RFC 7517) gives for the key, never by what the token says. Browsers take the authorization code flow
with PKCE (RFC 7636, OpenID Connect Core section 3.1).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import jwt

from flowtime.api.access_file import Issuer, Role
from flowtime.errors import Denied, Unavailable

JSON = dict[str, Any]

_ALGORITHMS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""What is accepted, with the type of key that each takes."""
_LEEWAY = 30
"""Seconds by which the clocks of issuer and server may differ."""
_FRESH = 600.0
"""Seconds for which a key set is used without asking again."""
_STALE = 3600.0
"""Seconds for which it is used where the issuer does not answer."""
_PAUSE = 30.0
"""Seconds between two looks for a key that is not known."""
_TIMEOUT = 5.0
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token says its bearer is."""

    user: str
    teams: tuple[str, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Departure:
    """A browser on its way to the issuer: where it goes, and what has to come back with it."""

    address: str
    state: str
    nonce: str
    verifier: str


class Provider:
    """One issuer: its keys and its addresses, fetched when they are needed. Threads may share it."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self._lock = threading.Lock()
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetched = self._asked = self._looked = -float("inf")
        self._found: JSON | None = None

    def identify(self, token: str) -> Identity:
        """Who bears the token; raises Denied (FT828) where it does not hold, Denied (FT829) where nothing
        gives its bearer a role, Unavailable (FT837) where the issuer does not answer.
        """
        return self.identity(self._claims(token, self.issuer.audience))

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """Who the claims of a checked token speak of; raises Denied (FT828, FT829)."""
        issuer = self.issuer
        user = claims.get(issuer.user_claim)
        if not isinstance(user, str) or not user.strip() or not user.isprintable():
            raise Denied("FT828", f'the token does not say who its bearer is in "{issuer.user_claim}"')
        if issuer.user_claim == "email" and claims.get("email_verified") is False:
            raise Denied("FT828", f'the issuer has not verified the address "{user}"')
        said = _texts(claims.get(issuer.role_claim))
        given: set[str] = {issuer.roles[value] for value in said if value in issuer.roles}
        for role in ("admin", "writer", "reader"):
            if role in given or (not given and role == issuer.default_role):
                return Identity(user, tuple(_texts(claims.get(issuer.teams_claim))), role)
        raise Denied("FT829", f"{user} has no role here", hint="ask the one who runs the server for one")

    def depart(self, back: str) -> Departure:
        """The way of a browser to the issuer's login, from where it returns to the address `back`."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self.issuer.client_id,
            "redirect_uri": back,
            "scope": " ".join(self.issuer.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        place = str(self._discovered("authorization_endpoint"))
        return Departure(f"{place}{'&' if '?' in place else '?'}{urlencode(query)}", state, nonce, verifier)

    def arrive(self, code: str, verifier: str, nonce: str, back: str) -> JSON:
        """The claims of the user who came back with `code`: those that say who it is and what they may do.

        Raises Denied (FT828) where the issuer does not know the code, or its token does not hold.
        """
        issuer = self.issuer
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "client_id": issuer.client_id,
            "code_verifier": verifier,
        }
        if issuer.client_secret is not None:
            form["client_secret"] = issuer.client_secret
        try:
            answer = _fetch(str(self._discovered("token_endpoint")), urlencode(form).encode())
        except HTTPError as error:
            error.close()
            raise Denied("FT828", f"the issuer refused the login with status {error.code}") from error
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Denied("FT828", "the issuer sent no ID token")
        claims = self._claims(token, (str(issuer.client_id),))
        if not secrets.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise Denied("FT828", "the issuer's token belongs to another login")
        wanted = (issuer.user_claim, issuer.teams_claim, issuer.role_claim, "email_verified")
        return {name: claims[name] for name in wanted if name in claims}

    def _claims(self, token: str, audience: tuple[str, ...]) -> JSON:
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid"))
            if key is None or header.get("alg") != key.algorithm_name:
                raise Denied("FT828", "the token is not signed with a key of its issuer")
            claims: JSON = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=audience,
                issuer=self.issuer.issuer,
                leeway=_LEEWAY,
                # nbf is held where it is there: few issuers send it.
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise Denied("FT828", f"the token does not hold: {error}", hint="get a new one") from error
        return claims

    def _key(self, kid: str | None) -> jwt.PyJWK | None:
        with self._lock:
            now = time.monotonic()
            age = now - self._fetched
            old = age > _FRESH and now - self._asked > _PAUSE
            unknown = kid not in self._keys and now - self._looked > _PAUSE
            if old or unknown:
                self._asked = now
                if not old:
                    self._looked = now
                try:
                    self._keys = _keys(self._jwks())
                    self._fetched = now
                except Unavailable:
                    if age > _STALE:
                        raise
            elif age > _STALE:
                raise Unavailable(
                    "FT837", f"{self.issuer.issuer} did not send its keys", hint="try again soon"
                )
            return self._keys.get(kid)

    def _jwks(self) -> JSON:
        return self._ask(self.issuer.jwks_url or str(self._discovered("jwks_uri")))

    def _discovered(self, name: str) -> Any:
        """What the issuer says of itself (OpenID Connect Discovery section 4)."""
        if self._found is None:
            said = self._ask(f"{self.issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
            if said.get("issuer") != self.issuer.issuer:
                raise Unavailable(
                    "FT837",
                    f"{self.issuer.issuer} calls itself {said.get('issuer')!r}",
                    hint="mend [oidc] issuer",
                )
            self._found = said
        if name not in self._found:
            raise Unavailable("FT837", f"{self.issuer.issuer} names no {name}", hint="mend [oidc] issuer")
        return self._found[name]

    def _ask(self, address: str) -> JSON:
        try:
            return _fetch(address)
        except HTTPError as error:
            error.close()
            raise Unavailable(
                "FT837", f"{address} answered with {error.code}", hint="try again soon"
            ) from error


def _fetch(address: str, form: bytes | None = None) -> JSON:
    """A JSON object from the issuer; raises HTTPError, Unavailable (FT837)."""
    # The address is one of the access file, or one that the issuer named there gives.
    request = Request(address, form, {"Accept": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            value = json.loads(answer.read(_LARGEST))
    except HTTPError:
        raise
    except OSError as error:
        raise Unavailable("FT837", f"{address} does not answer: {error}", hint="try again soon") from error
    except ValueError as error:
        raise Unavailable(
            "FT837", f"{address} does not answer with JSON: {error}", hint="try again soon"
        ) from error
    if not isinstance(value, dict):
        raise Unavailable("FT837", f"{address} does not answer with a JSON object", hint="try again soon")
    return value


def _keys(document: Mapping[str, Any]) -> dict[str | None, jwt.PyJWK]:
    """The public keys for signatures, by their id; keys of other kinds are left out."""
    keys: dict[str | None, jwt.PyJWK] = {}
    found = document.get("keys")
    for each in found if isinstance(found, list) else []:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(each)
        except jwt.PyJWTError:
            continue
        if _ALGORITHMS.get(key.algorithm_name) == each.get("kty"):
            keys[key.key_id] = key
    return keys


def _texts(value: object) -> list[str]:
    """The texts of a claim: a list, one text, or texts with spaces between, as in `scope`."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
