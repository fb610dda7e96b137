"""Bundles: the same bytes again, and nothing in them that was not put there."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import BUNDLE, GOLD
from flowtime.formats.bundle import ENTRIES
from flowtime.formats.digest import digest
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.metadata import read_sealed, write_sidecar
from flowtime.formats.telemetry import import_file

DESCRIPTION = {"kind": "run", "id": "r1", "name": "Checkout, EU", "created_utc": "2025-01-01T10:00:00Z"}
FILES = {"catalog.json": b'{"id":"r1"}\n', "model.yaml": b"nodes: []\n", "preview.svg": b"<svg/>"}


def table() -> SeriesSet:
    values = np.array([[1 / 3, 5e-324, np.nan, 3.0], [2.0**81, -1.5, 0.0, 1.7976931348623157e308]])
    keys = (SeriesKey("Zeta, EU", "served"), SeriesKey("alpha", "errors"))
    return SeriesSet(Grid(4, 6, "hours", parse_instant("2025-01-01T00:00:00Z")), keys, ("1", None), values)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return export_file(table(), DESCRIPTION, BUNDLE, tmp_path / "x.zip", files=FILES).path


def refusal(path: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        import_file(path)
    return caught.value


def test_everything_comes_back(bundle: Path) -> None:
    found = import_file(bundle)
    assert found.series.equals(table())
    assert (found.format, found.recognised_by, found.files) == (BUNDLE, "bundle", FILES)
    assert found.description is not None
    assert {key: found.description[key] for key in DESCRIPTION} == DESCRIPTION


def test_entries_are_plain_files_in_a_fixed_order(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert archive.namelist() == list(ENTRIES)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {stat.S_IFREG | 0o644}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        gold = io.BytesIO()
        export_stream(table(), None, GOLD, gold)
        assert archive.read("series.csv") == gold.getvalue()
        assert b"flowtime import --data" in archive.read("README.txt")
        assert archive.comment.decode() == "sha256:" + hashlib.sha256(bundle.read_bytes()[:-71]).hexdigest()


def test_the_same_run_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_formats_bundle import *\n"
        "export_file(table(), DESCRIPTION, BUNDLE, Path(sys.argv[1]) / 'again.zip', files=FILES)"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(command, check=True, env={"TZ": "Asia/Tokyo", "PYTHONPATH": ":".join(sys.path)})
    stream = io.BytesIO()
    export_stream(table(), DESCRIPTION, BUNDLE, stream, files=FILES)
    assert bundle.read_bytes() == (tmp_path / "again.zip").read_bytes() == stream.getvalue()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.zip", "x.zip"]


def test_frictionless_accepts_bundles(bundle: Path) -> None:
    frictionless = pytest.importorskip("frictionless")
    report = frictionless.Package(str(bundle)).validate()
    assert report.valid, report.to_summary()
    assert [task.stats["rows"] for task in report.tasks if task.type == "table"] == [8, 8]


def test_a_run_without_a_model_has_a_bundle_too(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    export_file(table(), DESCRIPTION, BUNDLE, path, files={"catalog.json": b"{}"})
    assert import_file(path).files == {"catalog.json": b"{}"}


def test_no_changed_byte_passes(bundle: Path) -> None:
    data = bundle.read_bytes()
    draw = np.random.Generator(np.random.PCG64(3))
    for at in [*draw.integers(0, len(data), 300).tolist(), *range(len(data) - 200, len(data))]:
        changed = bytearray(data)
        changed[at] ^= int(draw.integers(1, 256))
        bundle.write_bytes(changed)
        assert refusal(bundle).code in {"FT402", "FT410", "FT416"}
    for other in (data[:-1], data[: len(data) // 2], data + b"\n", b"PK\x03\x04" + data):
        bundle.write_bytes(other)
        assert refusal(bundle).code in {"FT410", "FT416"}


def sealed(path: Path, archive: bytes) -> Path:
    """`archive` with the seal that its bytes ask for, as whoever forges it would have it."""
    if archive[-71:-64] == b"sha256:":
        archive = archive[:-71] + b"sha256:" + hashlib.sha256(archive[:-71]).hexdigest().encode()
    path.write_bytes(archive)
    return path


def rebuilt(
    path: Path,
    change: Callable[[dict[str, bytes]], None] = lambda entries: None,
    entry: Callable[[zipfile.ZipInfo], None] = lambda info: None,
    method: int = zipfile.ZIP_STORED,
) -> Path:
    """The bundle packed anew after `change` of its entries and `entry` of their headers, and sealed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            info.compress_type = method
            entry(info)
            archive.writestr(info, data)
        archive.comment = b"sha256:" + b"0" * 64
    return sealed(path, out.getvalue())


def test_what_is_packed_anew_without_a_change_is_read(bundle: Path) -> None:
    assert import_file(rebuilt(bundle)).series.equals(table())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil", "points out of its folder"),
        ("a/../../evil", "points out of its folder"),
        ("..\\evil", "points out of its folder"),
        ("/etc/evil", "has an absolute path"),
        ("C:evil", "has an absolute path"),
        ("\\\\host\\evil", "has an absolute path"),
        ("folder/", "is not a regular file"),
        ("more.txt", "is none that a bundle has"),
        ("README.txt/x", "is none that a bundle has"),
        ("series.CSV", "is none that a bundle has"),
    ],
)
def test_entries_that_no_bundle_has(bundle: Path, name: str, says: str) -> None:
    error = refusal(rebuilt(bundle, lambda entries: entries.update({name: b"x"})))
    assert error.code == "FT416"
    assert says in str(error)
    assert "export the run again" in str(error)


def test_links_are_refused(bundle: Path) -> None:
    def link(info: zipfile.ZipInfo) -> None:
        if info.filename == "model.yaml":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16

    assert '"model.yaml" is a link' in str(refusal(rebuilt(bundle, entry=link)))


def test_compressed_entries_are_refused_before_they_are_unpacked(bundle: Path) -> None:
    bomb = rebuilt(bundle, lambda entries: entries.update({"README.txt": b"0" * 10_000_000}), method=8)
    assert bomb.stat().st_size < 100_000
    assert "is compressed" in str(refusal(bomb))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice(bundle: Path) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(zipfile.ZipInfo("series.csv"), b"other")
    assert '"series.csv" is there twice' in str(refusal(sealed(bundle, bundle.read_bytes())))


def patched(path: Path, name: str, offset: int, value: bytes) -> Path:
    """The bundle with bytes changed in the central directory's record of an entry, and sealed."""
    data = bytearray(path.read_bytes())
    record = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    data[record + offset : record + offset + len(value)] = value
    return sealed(path, bytes(data))


def test_encrypted_entries_are_refused(bundle: Path) -> None:
    assert '"model.yaml" is encrypted' in str(refusal(patched(bundle, "model.yaml", 8, b"\x01\0")))


def test_sizes_must_be_those_stored(bundle: Path) -> None:
    huge = (2**31).to_bytes(4, "little")
    assert "claims 2,147,483,648 bytes" in str(refusal(patched(bundle, "model.yaml", 24, huge)))
    assert "larger than" in str(refusal(patched(bundle, "model.yaml", 20, huge + huge)))


def test_entries_may_not_overlap(bundle: Path) -> None:
    size = (bundle.stat().st_size - 100).to_bytes(4, "little")
    assert "they overlap" in str(refusal(patched(bundle, "series.csv", 20, size + size)))


def test_missing_entries_are_named(bundle: Path) -> None:
    error = refusal(
        rebuilt(bundle, lambda entries: (entries.pop("series.csv"), entries.pop("README.txt"))[0])
    )
    assert "it lacks README.txt, series.csv" in str(error)


def test_hashes_are_checked_though_the_seal_fits(bundle: Path) -> None:
    def edit(entries: dict[str, bytes]) -> None:
        entries["model.yaml"] = b"nodes: {}\n"

    assert 'the hash of "model.yaml" is not' in str(refusal(rebuilt(bundle, edit)))


def forged(entries: dict[str, bytes], **changed: bytes) -> None:
    """Changes entries, and the descriptor so that it fits them, with a seal of its own."""
    document = json.loads(entries["datapackage.json"])
    document["flowtime"].pop("seal")
    for resource in document["resources"]:
        name = resource["path"]
        if name in changed:
            entries[name] = changed[name]
            resource["hash"] = "sha256:" + hashlib.sha256(changed[name]).hexdigest()
            resource["bytes"] = len(changed[name])
    entries["datapackage.json"] = write_sidecar(document)


def test_both_tables_must_say_the_same(bundle: Path) -> None:
    def edit(entries: dict[str, bytes]) -> None:
        forged(entries, **{"series.csv": entries["series.csv"].replace(b"-1.5", b"-2.5")})

    assert "series.csv and series.parquet hold different series" in str(refusal(rebuilt(bundle, edit)))


def test_the_descriptor_must_list_every_entry(bundle: Path) -> None:
    def edit(entries: dict[str, bytes]) -> None:
        document = json.loads(entries["datapackage.json"])
        document["flowtime"].pop("seal")
        document["resources"] = [r for r in document["resources"] if r["path"] != "model.yaml"]
        entries["datapackage.json"] = write_sidecar(document)

    assert '"model.yaml" is in the zip alone' in str(refusal(rebuilt(bundle, edit)))


def test_a_descriptor_in_a_bundle_is_sealed(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        text = archive.read("datapackage.json")
    description, resources = read_sealed(text, "x")
    assert description["digest"] == digest(table())
    assert [resource["path"] for resource in resources[:2]] == ["series.csv", "series.parquet"]

    def edit(entries: dict[str, bytes]) -> None:
        entries["datapackage.json"] = text.replace(b"Checkout, EU", b"Checkout, US")

    assert "its seal is broken" in str(refusal(rebuilt(bundle, edit)))


def test_other_zips_say_what_they_are(tmp_path: Path) -> None:
    for name, says in (
        ("[Content_Types].xml", "a spreadsheet or a document"),
        ("a.csv", "none that a bundle"),
    ):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(name, "x")
        assert says in str(refusal(tmp_path / "x.zip"))
    (tmp_path / "x.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    assert "it lacks" in str(refusal(tmp_path / "x.zip"))
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04....")
    assert "cannot be read" in str(refusal(tmp_path / "x.zip"))


def test_metadata_of_a_bundle_cannot_be_ignored(bundle: Path) -> None:
    with pytest.raises(InvalidInput, match=r"unzip it, and import series\.csv"):
        import_file(bundle, ignore_metadata=True)
