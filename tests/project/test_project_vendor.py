"""What pages load comes from the package alone: files of others as they came, with version and licence."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

STATIC = Path(__file__).parents[2] / "src" / "flowtime" / "web" / "static"
VENDOR = STATIC / "vendor"
LICENCES = {"0BSD", "MIT"}
FETCHES = re.compile(
    r"""(?:href|src|action|url\(|from|import)\s*[=(]?\s*["'(]?(?:https?:)?//(?!www\.w3\.org)"""
)

CODE = re.compile(r"""<script(?![^>]*\s(?:src=|type="application/json"))|\son[a-z]+=|\sstyle=|javascript:""")
"""What the policy of the pages keeps from running: scripts, handlers and styles within a page."""


def test_every_vendored_file_is_what_the_manifest_says() -> None:
    listed = {entry["path"]: entry for entry in tomllib.loads((VENDOR / "vendor.toml").read_text())["file"]}
    files = {path.name for path in VENDOR.iterdir()} - {"vendor.toml"}
    assert set(listed) == files
    for name, entry in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == entry["sha256"], name
        assert set(entry) == {"path", "name", "version", "licence", "source", "sha256"}
        assert entry["licence"] in LICENCES


def test_no_page_names_another_host_or_holds_code() -> None:
    templates = STATIC.parent / "templates"
    for path in [*templates.rglob("*.html"), *STATIC.glob("*.*")]:
        text = path.read_text(encoding="utf-8")
        assert not FETCHES.search(text), path
        if path.suffix == ".html":
            assert not CODE.search(text), path
