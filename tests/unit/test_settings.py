"""Settings: which source wins, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtime.errors import InvalidInput
from flowtime.settings import VARIABLES, load


def settings_file(folder: Path, text: str) -> dict[str, str]:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return {"FLOWTIME_SETTINGS": str(path)}


def test_defaults() -> None:
    settings = load(environment={})
    assert settings.artifacts == "artifacts"
    assert settings.visibility == "private"
    assert settings.owner
    assert settings.templates is None
    assert set(settings.origins.values()) == {"default"}
    assert set(settings.origins) == set(VARIABLES)


def test_each_source_overrules_the_one_before(tmp_path: Path) -> None:
    file = settings_file(tmp_path, 'artifacts = "from-file"\nowner = "file"\nvisibility = "team"\n')
    settings = load(
        {"artifacts": "from-flag", "owner": None},
        environment={
            **file,
            "FLOWTIME_ARTIFACTS": "from-env",
            "FLOWTIME_OWNER": "env",
            "FLOWTIME_TEMPLATES": "",
        },
    )
    assert (settings.artifacts, settings.origins["artifacts"]) == ("from-flag", "command line")
    assert (settings.owner, settings.origins["owner"]) == ("env", "FLOWTIME_OWNER")
    assert (settings.visibility, settings.origins["visibility"]) == ("team", file["FLOWTIME_SETTINGS"])
    assert settings.origins["templates"] == "default"


def test_file_in_the_configuration_folder_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("flowtime.settings.user_config_dir", lambda *_, **__: str(tmp_path))
    settings_file(tmp_path, 'owner = "someone"')
    assert load(environment={}).owner == "someone"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('artefacts = "x"', 'did you mean "artifacts"?'),
        ("owner = 3", "owner is 3"),
        ("owner = ", "cannot be read"),
        ('visibility = "secret"', "allowed: private, team, public"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(environment=settings_file(tmp_path, text))
    assert caught.value.code == "FT106"
    assert caught.value.where == str(tmp_path / "settings.toml")
    assert said in str(caught.value)


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        load(environment={"FLOWTIME_SETTINGS": str(tmp_path / "nothing.toml")})


def test_bad_variable_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        load(environment={"FLOWTIME_VISIBILITY": "all"})
    assert caught.value.where == "FLOWTIME_VISIBILITY"


def test_folders_in_the_home_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load(environment={"FLOWTIME_CACHE": "~/cache", "FLOWTIME_TEMPLATES": "~/templates"})
    assert settings.cache == tmp_path / "cache"
    assert settings.templates == tmp_path / "templates"
