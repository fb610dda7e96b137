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
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Generic, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import jwt

from flowtime.api.access_file import Issuer, Role, is_safe
from flowtime.errors import Denied, Unavailable

JSON = dict[str, Any]
T = TypeVar("T")

_ALGORITHMS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""What is accepted, with the type of key that each takes."""
_LEEWAY = 30
"""Seconds by which the clocks of issuer and server may differ."""
_FRESH = 600.0
"""Seconds for which a key set is used without asking again."""
_STALE = 3600.0
"""Seconds for which it is used where the issuer does not answer."""
_PAUSE = 60.0
"""Seconds between two questions of the same kind to an issuer that did not answer, or not with what was
needed: strangers can make the server ask, and shall not make it ask often.
"""
_LASTS = 24 * 3600.0
"""Seconds for which is believed what an issuer says of its addresses."""
_TIMEOUT = 5.0
"""Seconds for a whole answer."""
_LARGEST = 1 << 20
_REFUSED = (400, 401, 403)
"""How an issuer says that it does not know a code, or the one who brings it."""
_DOTS = 2
"""In a JWT."""
_WAITING = 8
"""Threads that may wait for the issuer; the others are needed for callers whom it does not concern."""


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


class _Told(Generic[T]):
    """Something that an issuer tells: asked once for all who need it, and no lock is held meanwhile."""

    def __init__(self, ask: Callable[[], T], fresh: float, stale: float) -> None:
        """`ask` raises Unavailable (FT837). What it returns is used for `fresh` seconds without asking again,
        and for `stale` ones where the issuer does not answer.
        """
        self._ask, self._fresh, self._stale = ask, fresh, stale
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._value: T | None = None
        self._fetched = self._failed = self._looked = -float("inf")
        self._answer: Future[T] | None = None
        """The last one, which may be under way."""

    def get(self, holds: Callable[[T], bool] = lambda _: True) -> T:
        """What the issuer tells; asked again, at most once a minute, where it is old or `holds` not what is
        needed. Raises Unavailable (FT837).
        """
        with self._lock:
            now = time.monotonic()
            value, age = self._value, now - self._fetched
            lacks = value is not None and not holds(value)
            if value is not None and age < self._fresh and not lacks:
                return value
            answer = self._answer
            waits = now - self._failed < _PAUSE or (age < self._fresh and now - self._looked < _PAUSE)
            mine = answer is None or (answer.done() and not waits)
            if mine:
                answer = self._answer = Future()
                if age < self._fresh:
                    self._looked = now
        assert answer is not None
        if mine:
            self._fetch(answer)
        if value is not None and age < self._stale and not (mine or (lacks and not answer.done())):
            return value
        try:
            return self._wait(answer)
        except Unavailable:
            if value is not None and age < self._stale:
                return value
            raise

    def _wait(self, answer: Future[T]) -> T:
        if not self._waiting.acquire(blocking=answer.done()):
            raise Unavailable("FT837", "too many wait for the issuer", hint="try again soon")
        try:
            return answer.result(2 * _TIMEOUT)
        except TimeoutError as error:
            raise Unavailable("FT837", "the issuer does not answer", hint="try again soon") from error
        except Unavailable as error:
            # One of their own for each who asks: a traceback grows with every raise.
            raise Unavailable("FT837", error.message, hint=error.hint) from error
        finally:
            self._waiting.release()

    def _fetch(self, answer: Future[T]) -> None:
        try:
            value = self._ask()
        except BaseException as error:
            self._failed = time.monotonic()
            answer.set_exception(error)
            if not isinstance(error, Unavailable):
                raise
        else:
            with self._lock:
                self._value, self._fetched = value, time.monotonic()
            answer.set_result(value)


class Provider:
    """One issuer: its keys and its addresses, fetched when they are needed. Threads may share it."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self._keys = _Told(self._jwks, _FRESH, _STALE)
        self._addresses = _Told(self._discover, _LASTS, 2 * _LASTS)
        self._exchanging = threading.BoundedSemaphore(_WAITING)
        self._fault: tuple[float, Unavailable] | None = None

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

        Raises Denied (FT828) where the issuer does not know the code, or its token does not hold, Unavailable
        (FT837) where it does not answer as an issuer does; then it is not asked again for a minute.
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
        token = self._exchange(urlencode(form).encode())
        claims = self._claims(token, (str(issuer.client_id),))
        if not secrets.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise Denied("FT828", "the issuer's token belongs to another login")
        wanted = (issuer.user_claim, issuer.teams_claim, issuer.role_claim, "email_verified")
        return {name: claims[name] for name in wanted if name in claims}

    def _exchange(self, form: bytes) -> str:
        """The ID token for a code."""
        fault = self._fault
        if fault is not None and time.monotonic() - fault[0] < _PAUSE:
            raise Unavailable("FT837", fault[1].message, hint=fault[1].hint)
        if not self._exchanging.acquire(blocking=False):
            raise Unavailable("FT837", "too many logins wait for the issuer", hint="try again soon")
        try:
            address = self._discovered("token_endpoint")
            try:
                token = _fetch(address, form).get("id_token")
            except HTTPError as error:
                if error.code in _REFUSED:
                    message = f"the issuer refused the login with status {error.code}"
                    raise Denied("FT828", message) from error
                raise _answered(address, error) from error
            if not isinstance(token, str) or token.count(".") != _DOTS:
                raise Unavailable("FT837", f"{address} sent no ID token", hint="try again soon")
        except Unavailable as error:
            self._fault = (time.monotonic(), error)
            raise
        finally:
            self._exchanging.release()
        return token

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
        return self._keys.get(lambda keys: kid in keys).get(kid)

    def _jwks(self) -> Mapping[str | None, jwt.PyJWK]:
        address = self.issuer.jwks_url or self._discovered("jwks_uri")
        keys = _keys(_ask(address))
        if not keys:
            raise Unavailable("FT837", f"{address} sent no key for signatures", hint="try again soon")
        return keys

    def _discovered(self, name: str) -> str:
        """An address that the issuer gives."""
        address = self._addresses.get().get(name)
        if not isinstance(address, str) or not is_safe(address):
            raise Unavailable(
                "FT837",
                f"{self.issuer.issuer} names no {name} that is an https address",
                hint="mend [oidc] issuer",
            )
        return address

    def _discover(self) -> JSON:
        """What the issuer says of itself (OpenID Connect Discovery section 4)."""
        said = _ask(f"{self.issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != self.issuer.issuer:
            raise Unavailable(
                "FT837",
                f"{self.issuer.issuer} calls itself {str(said.get('issuer'))[:100]!r}",
                hint="mend [oidc] issuer",
            )
        return said


def _ask(address: str) -> JSON:
    try:
        return _fetch(address)
    except HTTPError as error:
        raise _answered(address, error) from error


def _answered(address: str, error: HTTPError) -> Unavailable:
    return Unavailable("FT837", f"{address} answered with {error.code}", hint="try again soon")


class _Stays(HTTPRedirectHandler):
    """Goes nowhere else: the addresses are those of the access file, and what the issuer names there."""

    def redirect_request(self, *_: Any) -> None:
        """No request."""


class _Http(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_HttpInTime, request)


class _Https(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_HttpsInTime, request)


class _HttpInTime(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _end_in_time(self.sock)


class _HttpsInTime(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _end_in_time(self.sock)


def _end_in_time(connection: socket.socket) -> None:
    """Ends a connection on which the answer comes drop by drop: every drop would begin the time-out anew."""

    def end() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_TIMEOUT, end)
    timer.daemon = True
    timer.start()


_OPENER = build_opener(_Stays, _Http, _Https)


def _fetch(address: str, form: bytes | None = None) -> JSON:
    """A JSON object from the issuer; raises HTTPError, Unavailable (FT837)."""
    # The address is one of the access file, or one that the issuer named there gives.
    request = Request(address, form, {"Accept": "application/json"})  # noqa: S310
    try:
        with _OPENER.open(request, timeout=_TIMEOUT) as answer:
            data = answer.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise Unavailable(
                "FT837", f"{address} answers with over {_LARGEST:,} bytes", hint="try again soon"
            )
        value = json.loads(data)
    except HTTPError as error:
        error.close()
        raise
    except (OSError, HTTPException) as error:
        raise Unavailable("FT837", f"{address} does not answer: {error}", hint="try again soon") from error
    except (ValueError, RecursionError) as error:
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
            usable = _ALGORITHMS.get(key.algorithm_name) == each.get("kty")
            id = key.key_id
        except Exception:  # noqa: BLE001, S112 (whatever the libraries make of a damaged key, it is left out)
            continue
        if usable and (id is None or isinstance(id, str)):
            keys[id] = key
    return keys


def _texts(value: object) -> list[str]:
    """The texts of a claim: a list, one text, or texts with spaces between, as in `scope`."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
