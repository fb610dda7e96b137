"""Settings: defaults < file < environment < flags, and for each where its value came from."""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_dir, user_config_dir

from flowtime.errors import InvalidInput, did_you_mean

VARIABLES: dict[str, str] = {
    "artifacts": "FLOWTIME_ARTIFACTS",
    "owner": "FLOWTIME_OWNER",
    "visibility": "FLOWTIME_VISIBILITY",
    "templates": "FLOWTIME_TEMPLATES",
    "cache": "FLOWTIME_CACHE",
    "server": "FLOWTIME_SERVER",
}
"""The environment variable of each setting; an empty one counts as not set."""
FILE_VARIABLE = "FLOWTIME_SETTINGS"
"""The environment variable that names another settings file."""

_VISIBILITIES = ("private", "team", "public")


@dataclass(frozen=True, slots=True)
class Settings:
    """What commands take where nothing else is said.

    `artifacts` is the registry root, a folder or URL; `cache` where the index lies; `server` the address
    under which links open; `templates` a folder of templates besides the built-in ones. `origins` says for
    each setting where its value came from.
    """

    artifacts: str
    owner: str
    visibility: str
    cache: Path
    server: str
    templates: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


def load(
    flags: Mapping[str, str | None] | None = None, *, environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings; flags that are None do not count.

    The file is `settings.toml` in the user's configuration folder, or the one that FLOWTIME_SETTINGS names.
    Raises InvalidInput (FT106) on a file that is not TOML, an unknown key or a value that is not allowed.
    """
    environment = os.environ if environment is None else environment
    values = {
        "artifacts": "artifacts",
        "owner": _login(),
        "visibility": "private",
        "cache": str(cache_folder(environment)),
        "server": "http://127.0.0.1:8765",
    }
    origins = dict.fromkeys((*values, "templates"), "default")
    named = environment.get(FILE_VARIABLE)
    path = Path(named) if named else Path(user_config_dir("flowtime", appauthor=False), "settings.toml")
    layers: list[tuple[str, Mapping[str, str | None]]] = [
        (str(path), _read(path, required=bool(named))),
        *((variable, {name: environment.get(variable)}) for name, variable in VARIABLES.items()),
        ("command line", dict(flags or {})),
    ]
    for origin, layer in layers:
        for name, value in layer.items():
            if value:
                values[name], origins[name] = value, origin
    visibility = values["visibility"]
    if visibility not in _VISIBILITIES:
        raise InvalidInput(
            "FT106",
            f'visibility is "{visibility}"',
            where=origins["visibility"],
            hint=f"allowed: {', '.join(_VISIBILITIES)}",
        )
    templates = values.get("templates")
    return Settings(
        artifacts=values["artifacts"],
        owner=values["owner"],
        visibility=values["visibility"],
        cache=Path(values["cache"]).expanduser(),
        server=values["server"].rstrip("/"),
        templates=Path(templates).expanduser() if templates else None,
        origins=origins,
    )


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where what can be made anew is kept: FLOWTIME_CACHE, else the user's cache folder."""
    named = (os.environ if environment is None else environment).get(VARIABLES["cache"])
    return Path(named).expanduser() if named else Path(user_cache_dir("flowtime", appauthor=False))


def _read(path: Path, *, required: bool) -> dict[str, str]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not required:
            return {}
        raise InvalidInput("FT106", "the settings file does not exist", where=str(path)) from error
    except (OSError, ValueError) as error:
        raise InvalidInput("FT106", f"the settings file cannot be read: {error}", where=str(path)) from error
    for name, value in document.items():
        if name not in VARIABLES:
            raise InvalidInput(
                "FT106",
                f'unknown setting "{name}"',
                where=str(path),
                hint=did_you_mean(name, VARIABLES) or f"allowed: {', '.join(VARIABLES)}",
            )
        if not isinstance(value, str):
            raise InvalidInput("FT106", f"{name} is {value!r}; it must be a text", where=str(path))
    return document


def _login() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"
