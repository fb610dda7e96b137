"""Who calls: tokens of the access file, tokens of an OIDC issuer, or the session of a browser."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from fastapi import Request

from flowtime.api import access_file
from flowtime.api.access_file import AccessFile, Role, Token
from flowtime.api.oidc import Identity, Provider
from flowtime.api.session import COOKIE, Sessions
from flowtime.errors import Denied, FlowtimeError, InvalidInput

JSON = dict[str, Any]

_TRIES = 100
"""Wrong tokens that an address may send before it has to wait."""
_AGAIN = 6.0
"""Seconds after which it may send one more."""
_ADDRESSES = 10_000
_CHECKS = 2
"""Tokens that are checked at once: each check takes a core for some 20 ms."""
_WAITING = 8
"""Checks that may wait; the threads of the server are there for other requests too."""
_TRUSTED = 300.0
"""Seconds for which a token that was checked is not checked again."""
_REMEMBERED = 1024

_State = tuple[int, ...] | None
"""What is another one after a change of the access file; None where it is gone."""

_log = logging.getLogger("flowtime.api")


@dataclass(frozen=True, slots=True)
class Caller:
    """A known user: a reader looks, a writer also makes and changes, an admin may see and do everything."""

    user: str
    teams: tuple[str, ...]
    role: Role


class Access:
    """Tells who calls. Threads may share it; a changed access file counts from the next request on."""

    def __init__(self, path: Path | None, sessions: Path) -> None:
        """`path` is the access file, None for an open server; `sessions` the folder of sessions.

        Raises InvalidInput (FT835).
        """
        self._path = path
        self._sessions = Sessions(sessions)
        self._lock = threading.Lock()
        self._mark: _State = None
        self._broken: tuple[_State] | None = None
        self._file = AccessFile({})
        self._provider: Provider | None = None
        self._tries = _Tries()
        self._checking = threading.BoundedSemaphore(_CHECKS)
        self._queue = threading.BoundedSemaphore(_CHECKS + _WAITING)
        self._checked: OrderedDict[str, tuple[str, float]] = OrderedDict()
        if path is not None:
            self._read(path)

    @property
    def is_open(self) -> bool:
        """Whether everybody who reaches the server may do everything."""
        return self._path is None

    def caller(self, request: Request) -> Caller | None:
        """The caller, None on an open server.

        Raises Denied (FT828) without anything that says who it is, Denied (FT832) after too many wrong
        tokens, InvalidInput (FT835) while the access file cannot be used.
        """
        if self._path is None:
            return None
        file, provider = self._now()
        header, cookie = request.headers.get("authorization"), request.cookies.get(COOKIE)
        if header is not None:
            scheme, _, text = header.partition(" ")
            if scheme.lower() != "bearer":
                raise Denied("FT828", f'"{scheme[:20]}" is not how callers name themselves', hint=_HOW)
            return self._bearer(file, provider, text.strip(), _address(request))
        who = None if cookie is None else self._sessions.get(cookie)
        caller = None if who is None else _of_session(file, provider, who)
        if caller is None:
            raise Denied("FT828", "the server does not know who calls", hint=_HOW)
        return caller

    def login(self, request: Request, text: str) -> str:
        """Begins a session for the bearer of a token of the access file; returns the cookie's value.

        Raises Denied (FT828, FT832), InvalidInput (FT835).
        """
        file, _ = self._now()
        token = self._token(file, text.strip(), _address(request))
        return self._sessions.begin(token.user, {"token": token.id, "mark": _mark(token)})

    def login_oidc(self, request: Request, code: str, verifier: str, nonce: str, back: str) -> str:
        """Begins a session for the user who came back from the issuer with `code`; see `Provider.arrive`.

        Codes that the issuer does not know count as wrong tokens do: who makes them up has to wait.
        """
        provider, address = self.provider(), _address(request)
        self._tries.hold(address)
        try:
            claims = provider.arrive(code, verifier, nonce, back)
        except Denied:
            self._tries.note(address)
            raise
        user = provider.identity(claims).user
        return self._sessions.begin(user, {"issuer": provider.issuer.issuer, "claims": claims})

    def logout(self, request: Request) -> None:
        """Ends the session of a browser."""
        self._sessions.end(request.cookies.get(COOKIE, ""))

    def provider(self) -> Provider:
        """The issuer where browsers log in; raises Denied (FT828) where there is none."""
        _, provider = self._now() if self._path is not None else (None, None)
        if provider is None or provider.issuer.client_id is None:
            raise Denied(
                "FT828", "there is no issuer to log in at", hint="[oidc] client_id names the server there"
            )
        return provider

    @property
    def logs_in(self) -> tuple[str, ...]:
        """How browsers may log in: `token`, `oidc`."""
        if self._path is None:
            return ()
        _, provider = self._now()
        return ("token", "oidc") if provider is not None and provider.issuer.client_id else ("token",)

    def _now(self) -> tuple[AccessFile, Provider | None]:
        """What the access file says at this moment."""
        assert self._path is not None
        with self._lock:
            state = _state(self._path)
            if state is None or state != self._mark:
                self._read_again(self._path, state)
            return self._file, self._provider

    def _read_again(self, path: Path, state: _State) -> None:
        if self._broken != (state,):
            try:
                return self._read(path)
            except InvalidInput as error:
                # Callers are not told what is in the file, and its reader is told once.
                _log.error("%s", error)
                self._broken = (state,)
        hint = "whoever runs the server finds the reason in its log"
        raise InvalidInput("FT835", "the access file of the server cannot be used", hint=hint)

    def _read(self, path: Path) -> None:
        mark = _state(path)
        self._mark = self._broken = None
        file = access_file.read(path)
        if file.issuer is None:
            self._provider = None
        elif self._provider is None or self._provider.issuer != file.issuer:
            self._provider = Provider(file.issuer)
        self._file, self._mark = file, mark

    def _bearer(self, file: AccessFile, provider: Provider | None, text: str, address: str) -> Caller:
        if provider is not None and text.count(".") == 2:
            # Its signature is checked in no time and cannot be guessed: nobody has to wait after wrong ones.
            return _caller(provider.identify(text))
        token = self._token(file, text, address)
        return Caller(token.user, token.teams, token.role)

    def _token(self, file: AccessFile, text: str, address: str) -> Token:
        """The token of the access file that the text is."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        parts = access_file.split(text)
        token = file.tokens.get(parts[0]) if parts else None
        if token is None or not self._is_remembered(digest, token):
            self._tries.hold(address)
            if parts is None or not self._check(token, parts[1]) or token is None:
                self._tries.note(address)
                raise Denied("FT828", "the token is not one that the server knows", hint=_HOW)
            self._remember(digest, token)
        if not token.is_valid:
            raise Denied(
                "FT828", f"the token {token.id} has expired", hint="whoever runs the server makes another one"
            )
        return token

    def _check(self, token: Token | None, secret: str) -> bool:
        if not self._queue.acquire(blocking=False):
            raise Denied("FT832", "the server checks too many tokens at once", hint="try again in a minute")
        try:
            with self._checking:
                return access_file.matches(token, secret)
        finally:
            self._queue.release()

    def _is_remembered(self, digest: str, token: Token) -> bool:
        with self._lock:
            mark, until = self._checked.get(digest, ("", 0.0))
        return time.monotonic() < until and secrets.compare_digest(mark, _mark(token))

    def _remember(self, digest: str, token: Token) -> None:
        with self._lock:
            self._checked[digest] = (_mark(token), time.monotonic() + _TRUSTED)
            self._checked.move_to_end(digest)
            while len(self._checked) > _REMEMBERED:
                self._checked.popitem(last=False)


_HOW = "send a token as `Authorization: Bearer ...`, or log in at /login"


class _Tries:
    """Counts the wrong tokens of each address: 100 at once, then one more every 6 seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def hold(self, address: str) -> None:
        """Raises Denied (FT832) where the address has to wait."""
        if self._count(address) > _TRIES - 1:
            raise Denied("FT832", f"{address} sent too many wrong tokens", hint="try again in a minute")

    def note(self, address: str) -> None:
        """Counts one more."""
        count = self._count(address)
        with self._lock:
            self._wrong[address] = (count + 1, time.monotonic())
            self._wrong.move_to_end(address)
            while len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)

    def _count(self, address: str) -> float:
        with self._lock:
            count, noted = self._wrong.get(address, (0.0, 0.0))
        return max(0.0, count - (time.monotonic() - noted) / _AGAIN)


def _state(path: Path) -> _State:
    try:
        seen = path.stat()
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_mode)


def _mark(token: Token) -> str:
    """Another one where a token of the same id was made anew."""
    return hashlib.sha256(token.hash.encode()).hexdigest()


def _of_session(file: AccessFile, provider: Provider | None, who: JSON) -> Caller | None:
    """Who a session is of, by what the access file says now; None where that is nobody any more."""
    if "token" in who:
        token = file.tokens.get(who["token"])
        if token is None or not token.is_valid or _mark(token) != who["mark"]:
            return None
        return Caller(token.user, token.teams, token.role)
    if provider is None or provider.issuer.issuer != who["issuer"]:
        return None
    try:
        return _caller(provider.identity(who["claims"]))
    except FlowtimeError:
        return None


def _caller(identity: Identity) -> Caller:
    return Caller(identity.user, identity.teams, identity.role)


def _address(request: Request) -> str:
    """The address by which tries are counted; of IPv6 the network, of which each caller has one."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(getattr(address, "ipv4_mapped", None) or address)
