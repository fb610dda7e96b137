"""The access file: a TOML document of tokens, as hashes, and of an OIDC issuer.

[[token]]
id = "k3v9q2ma"
user = "ada"
teams = ["ops"]
role = "writer"
hash = "$argon2id$v=19$m=19456,t=2,p=1$..."
created = 2026-11-22T09:00:00Z
expires = 2027-02-20T09:00:00Z

[oidc]
issuer = "https://login.example.org"
audience = "flowtime"
roles = { "flowtime-admins" = "admin", "staff" = "writer" }
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import argon2

from flowtime.api.presence import try_lock
from flowtime.errors import Diagnostic, InvalidInput, NotFound, Unavailable, did_you_mean
from flowtime.wording import action, option

Role = Literal["reader", "writer", "admin"]
ROLES: tuple[Role, ...] = ("reader", "writer", "admin")

_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The least that OWASP's cheat sheet on password storage allows: secrets of tokens are random, not chosen."""
_NOBODY = _HASHER.hash(secrets.token_urlsafe(32))
"""What an unknown id is checked against, so that it takes as long as a known one."""
_TOKEN = re.compile(r"ft_([a-z0-9]{8,32})_([\w-]{32,128})", re.ASCII)
_ID = re.compile(r"[a-z0-9]{8,32}")
_NAME = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,198}[^\x00-\x20\x7f])?")
_BLOCK = re.compile(
    r"^[ \t]*\[\[[ \t]*token[ \t]*\]\][^\n]*(?:\n(?![ \t]*[\[#])[^\n]*\S[^\n]*)*\n?", re.MULTILINE
)
"""A `[[token]]` table up to an empty line, a comment or the next table."""
_TABLES = (
    f"it has tables [[token]], as {action('token', 'FILE')} writes them, and may have one [oidc], with "
    "issuer, audience and roles or default_role"
)
_PATIENCE = 5.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a user, without its secret. `hash` is argon2id of the secret."""

    id: str
    user: str
    teams: tuple[str, ...]
    role: Role
    hash: str
    created: datetime
    expires: datetime | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it has not expired."""
        return self.expires is None or datetime.now(UTC) < self.expires

    def to_json(self) -> dict[str, Any]:
        """What may be told of it: all but the hash."""
        return {
            "id": self.id,
            "user": self.user,
            "teams": list(self.teams),
            "role": self.role,
            "created_utc": _utc(self.created),
            "expires_utc": None if self.expires is None else _utc(self.expires),
        }


@dataclass(frozen=True, slots=True)
class Issuer:
    """An OpenID Connect issuer and what its claims mean here.

    `roles` leads from a value of the role claim to a role; who has none of these values gets
    `default_role`, or is not let in where that is None. Browsers log in where there is a `client_id`.
    """

    issuer: str
    audience: tuple[str, ...]
    jwks_url: str | None = None
    user_claim: str = "sub"
    teams_claim: str = "groups"
    role_claim: str = "groups"
    roles: Mapping[str, Role] = field(default_factory=dict)
    default_role: Role | None = None
    client_id: str | None = None
    client_secret: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile")


@dataclass(frozen=True, slots=True)
class AccessFile:
    """Who may do what: tokens by their id, and perhaps an issuer."""

    tokens: Mapping[str, Token]
    issuer: Issuer | None = None


def split(token: str) -> tuple[str, str] | None:
    """The id and the secret of a token; None where it is not one of `flowtime token new`."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None


def matches(token: Token | None, secret: str) -> bool:
    """Whether the secret is that of the token; takes the same time (some 20 ms) where there is none."""
    try:
        _HASHER.verify(_NOBODY if token is None else token.hash, secret)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return token is not None


def read(path: Path) -> AccessFile:
    """The access file; raises InvalidInput (FT835) with everything that is wrong in it."""
    try:
        if os.name == "posix" and path.stat().st_mode & 0o002:
            raise InvalidInput(
                "FT835", "everybody may write to the access file", where=str(path), hint=f"chmod o-w {path}"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        hint = f"{action('token', str(path))} makes one"
        raise InvalidInput(
            "FT835", f"the access file cannot be read: {why}", where=str(path), hint=hint
        ) from error
    return _parse(text, path)


def add(
    path: Path, user: str, *, teams: tuple[str, ...], role: Role, lifetime: timedelta | None
) -> tuple[Token, str]:
    """Adds a token for the user, and returns it with the text that the user sends.

    The file, made where there is none, is replaced whole and readable by its owner alone. Raises
    InvalidInput (FT835) on a bad name or file, Unavailable (FT415) where it cannot be written.
    """
    secret = secrets.token_urlsafe(32)
    now = datetime.now(UTC).replace(microsecond=0)
    token = Token(
        id="".join(secrets.choice(_LETTERS) for _ in range(12)),
        user=user,
        teams=teams,
        role=role,
        hash=_HASHER.hash(secret),
        created=now,
        expires=None if lifetime is None else now + lifetime,
    )

    def added(text: str) -> str:
        if text:
            _parse(text, path)
        return f"{text.rstrip()}\n\n{_written(token)}".lstrip()

    _change(path, added, needed=False)
    return token, f"ft_{token.id}_{secret}"


def revoke(path: Path, id: str) -> Token:
    """Removes a token and returns it; raises NotFound (FT836) where the file has no such id."""
    gone = []

    def without(text: str) -> str:
        before = _parse(text, path).tokens
        if id not in before:
            hint = did_you_mean(id, before) or f"{action('tokens', str(path))} shows the ids"
            raise NotFound("FT836", f'the access file has no token "{id}"', where=str(path), hint=hint)
        gone.append(before[id])
        kept = _BLOCK.sub(lambda block: "" if _is_of(block[0], id) else block[0], text)
        try:
            after = dict(_parse(kept, path).tokens)
        except InvalidInput:
            after = {}
        if {**after, id: before[id]} != before or id in after:
            raise InvalidInput(
                "FT835",
                f"the table of token {id} is not written as {action('token', str(path))} writes it",
                where=str(path),
                hint="remove its lines by hand",
            )
        return kept.strip() + "\n"

    _change(path, without, needed=True)
    return gone[0]


def _is_of(block: str, id: str) -> bool:
    try:
        return bool(tomllib.loads(block)["token"][0].get("id") == id)
    except tomllib.TOMLDecodeError:
        return False


def _change(path: Path, change: Callable[[str], str], *, needed: bool) -> None:
    """Replaces the text of the file, durably. The file beside it in which the new text is made is also the
    lock, which a process that dies lets go of.
    """
    path = path.resolve()
    beside = path.with_name(f".{path.name}.new")
    ends = time.monotonic() + _PATIENCE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while (made := _locked(beside)) is None:
            if time.monotonic() > ends:
                raise Unavailable(
                    "FT415", f"another command is changing {path}", hint="try again when it is done"
                )
            time.sleep(0.05)
        try:
            with os.fdopen(made, "w", encoding="utf-8", newline="\n") as file:
                file.truncate()
                there = path.read_text(encoding="utf-8") if needed or path.exists() else ""
                file.write(_checked(change(there), path))
                file.flush()
                os.fsync(file.fileno())
                if sys.platform == "win32":
                    file.close()  # Windows does not rename what is open
                beside.replace(path)
            _sync(path.parent)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        why = f"the access file cannot be changed: {error.strerror}"
        raise Unavailable(
            "FT415", why, where=str(path), hint=f"name another one with {option('auth')}"
        ) from error


def _locked(path: Path) -> int | None:
    """The file, made and locked for this process; None while another has it."""
    made = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        # Whoever had it may have put it in its place meanwhile: then the lock is on that.
        if try_lock(made) and path.exists() and os.path.samestat(os.fstat(made), path.stat()):
            return made
    except BaseException:
        os.close(made)
        raise
    os.close(made)
    return None


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return  # NTFS journals its names
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checked(text: str, path: Path) -> str:
    if text.strip():
        _parse(text, path)
    return text


def _written(token: Token) -> str:
    lines = [
        "[[token]]",
        f"id = {json.dumps(token.id)}",
        f"user = {json.dumps(token.user, ensure_ascii=False)}",
        f"teams = {json.dumps(token.teams, ensure_ascii=False)}",
        f"role = {json.dumps(token.role)}",
        f"hash = {json.dumps(token.hash)}",
        f"created = {_utc(token.created)}",
    ]
    if token.expires is not None:
        lines.append(f"expires = {_utc(token.expires)}")
    return "\n".join(lines) + "\n"


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# Checking


class _Table:
    """One table of the file: takes its values with their checks, and notes what is wrong."""

    def __init__(self, values: Any, name: str, errors: list[Diagnostic]) -> None:
        self._values = dict(values) if isinstance(values, dict) else {}
        self._name = name
        self._errors = errors
        if not isinstance(values, dict):
            self.wrong("is not a table")

    def wrong(self, what: str, hint: str | None = None) -> None:
        """Notes a problem."""
        self._errors.append(Diagnostic("FT835", f"{self._name} {what}", hint=hint))

    def text(self, key: str, default: str | None = None, *, needed: bool = False, like: Any = _NAME) -> Any:
        """A text, `default` where there is none."""
        value = self._values.pop(key, default)
        if value is None and needed:
            self.wrong(f"lacks {key}")
        elif value is not None and not (isinstance(value, str) and like.fullmatch(value)):
            self.wrong(f"has {key} = {value!r}", "allowed is a text of up to 200 characters")
            return ""
        return value

    def texts(self, key: str, default: tuple[str, ...] = (), *, needed: bool = False) -> tuple[str, ...]:
        """A list of texts; one text is a list of it."""
        value = self._values.pop(key, list(default))
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(
            isinstance(each, str) and _NAME.fullmatch(each) for each in value
        ):
            self.wrong(f"has {key} = {value!r}", 'allowed is a list of texts, such as ["ops"]')
            return ()
        if needed and not value:
            self.wrong(f"lacks {key}")
        return tuple(value)

    def role(self, key: str, *, needed: bool = False) -> Any:
        """A role."""
        value = self._values.pop(key, None)
        if value is None and needed:
            self.wrong(f"lacks {key}", f"allowed: {', '.join(ROLES)}")
        elif value is not None and value not in ROLES:
            self.wrong(f"has {key} = {value!r}", f"allowed: {', '.join(ROLES)}")
        return value

    def moment(self, key: str, *, needed: bool = False) -> Any:
        """A time with its offset."""
        value = self._values.pop(key, None)
        if value is None and needed:
            self.wrong(f"lacks {key}")
        elif value is not None and not (isinstance(value, datetime) and value.tzinfo is not None):
            self.wrong(f"has {key} = {value!r}", "allowed is a time with its offset, as 2026-11-22T09:00:00Z")
        return value

    def address(self, key: str, *, needed: bool = False) -> Any:
        """An https address; http is for this machine alone."""
        value = self.text(key, needed=needed)
        if isinstance(value, str) and not is_safe(value):
            self.wrong(f"has {key} = {value!r}", "allowed are https addresses, and http ones of this machine")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """A table inside this one."""
        value = self._values.pop(key, {})
        if not isinstance(value, dict):
            self.wrong(f"has {key} = {value!r}", "allowed is a table")
            return {}
        return value

    def end(self, known: tuple[str, ...]) -> None:
        """Notes the keys that nobody took."""
        for key in self._values:
            self.wrong(
                f"has an unknown key {key!r}", did_you_mean(key, known) or f"allowed: {', '.join(known)}"
            )


def _parse(text: str, path: Path) -> AccessFile:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(
            "FT835",
            f"the access file is not TOML: {error}",
            where=str(path),
            hint=_TABLES,
        ) from error
    errors: list[Diagnostic] = []
    whole = _Table(document, "the file", errors)
    tokens: dict[str, Token] = {}
    blocks = document.pop("token", [])
    if not isinstance(blocks, list):
        whole.wrong("has token as no list of tables", "each token begins with [[token]]")
        blocks = []
    for number, block in enumerate(blocks, start=1):
        token = _token(_Table(block, f"token {number}", errors))
        if token.id in tokens:
            whole.wrong(f"has two tokens with the id {token.id}")
        tokens[token.id] = token
    issuer = _issuer(_Table(document.pop("oidc"), "[oidc]", errors)) if "oidc" in document else None
    for key in document:
        whole.wrong(f"has an unknown table {key!r}", "allowed: [[token]], [oidc]")
    if errors:
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise InvalidInput(
            "FT835",
            f"{errors[0].message}{more}",
            where=str(path),
            hint=errors[0].hint or _TABLES,
            errors=errors,
        )
    return AccessFile(tokens, issuer)


def _token(table: _Table) -> Token:
    token = Token(
        id=table.text("id", needed=True, like=_ID),
        user=table.text("user", needed=True),
        teams=table.texts("teams"),
        role=table.role("role", needed=True),
        hash=table.text("hash", needed=True),
        created=table.moment("created", needed=True),
        expires=table.moment("expires"),
    )
    if token.hash and not _is_hash(token.hash):
        table.wrong("has a hash that is not one of argon2id", f"{action('token', 'FILE')} writes it")
    table.end(("id", "user", "teams", "role", "hash", "created", "expires"))
    return token


def _issuer(table: _Table) -> Issuer:
    audience = table.texts("audience", needed=True)
    roles = table.table("roles")
    for value, role in roles.items():
        if role not in ROLES:
            table.wrong(f"has roles.{value} = {role!r}", f"allowed: {', '.join(ROLES)}")
    issuer = Issuer(
        issuer=table.address("issuer", needed=True),
        audience=audience,
        jwks_url=table.address("jwks_url"),
        user_claim=table.text("user_claim", "sub"),
        teams_claim=table.text("teams_claim", "groups"),
        role_claim=table.text("role_claim", "groups"),
        roles=roles,
        default_role=table.role("default_role"),
        client_id=table.text("client_id"),
        client_secret=table.text("client_secret"),
        scopes=table.texts("scopes", ("openid", "profile")),
    )
    if not roles and issuer.default_role is None:
        table.wrong("lets nobody in", "map values of the role claim in roles, or give a default_role")
    table.end(tuple(Issuer.__slots__))
    return issuer


def _is_hash(text: str) -> bool:
    try:
        return argon2.extract_parameters(text).type is argon2.Type.ID
    except argon2.exceptions.InvalidHashError:
        return False


def is_safe(address: str) -> bool:
    """Whether what is asked of the address stays between it and this machine: https, or http of this one."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        local = host == "localhost" or (parts.scheme == "http" and ip_address(host).is_loopback)
    except ValueError:
        return False
    return host != "" and parts.scheme in ({"http", "https"} if local else {"https"})
