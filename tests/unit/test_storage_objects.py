"""The store in a bucket: its address and settings, its errors, large and foreign objects, dead writers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.proxies import ADDRESSES, Forgetful, half

from flowtime.errors import InvalidInput, Unavailable
from flowtime.storage import Listing, Store, open_store

AZURE = "abfss://box@account.dfs.core.windows.net/a"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings that lead to a server which is not there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return monkeypatch


def refusal(use: Callable[[], object], error: type[InvalidInput | Unavailable] = InvalidInput) -> Any:
    with pytest.raises(error) as caught:
        use()
    return caught.value


# Addresses and settings


def test_addresses() -> None:
    store = open_store("s3://bucket/team/artifacts/")
    assert store.location("runs/a") == "s3://bucket/team/artifacts/runs/a"
    assert store.location("") == "s3://bucket/team/artifacts"
    assert open_store("s3://bucket").location("runs") == "s3://bucket/runs"
    assert open_store(AZURE).location("b") == f"{AZURE}/b"
    assert store.url == open_store("S3://bucket/team/artifacts").url


def test_the_same_name_at_another_service_is_another_store(s3: pytest.MonkeyPatch) -> None:
    one = open_store("s3://bucket/a").url
    s3.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    assert open_store("s3://bucket/a").url != one


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///a",
        "az://",
        "abfss://box/a",
        "abfss://box@account/a",
        "abfss://@account.dfs.core.windows.net",
    ],
)
def test_addresses_without_a_bucket_are_refused(url: str) -> None:
    error = refusal(lambda: open_store(url))
    assert error.code == "FT602"
    assert "abfss://container@account.dfs.core.windows.net/prefix" in error.hint


@pytest.mark.parametrize("url", ["s3://bucket/../a", "s3://bucket/a//b", "az://box/a\\b"])
def test_prefixes_that_no_key_can_have_are_refused(url: str) -> None:
    assert refusal(lambda: open_store(url)).code == "FT603"


def test_the_account_of_a_container_comes_from_the_address_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = refusal(lambda: open_store("az://box/a"))
    assert error.code == "FT608"
    assert "AZURE_STORAGE_ACCOUNT" in error.hint
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    assert open_store("az://box/a").url.partition("?")[2] == open_store(AZURE).url.partition("?")[2]


def files(home: Path, monkeypatch: pytest.MonkeyPatch, config: str = "", credentials: str = "") -> None:
    for variable, text in (("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", credentials)):
        (home / variable).write_text(text)
        monkeypatch.setenv(variable, str(home / variable))


def test_an_aws_profile_gives_keys_region_and_endpoint(
    server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_PROFILE", "team")
    files(
        tmp_path,
        monkeypatch,
        "[default]\nregion = nowhere\n"
        f"[profile team]\nregion = us-east-1\nendpoint_url = {server('moto').address}\n",
        "[team]\naws_access_key_id = tester\naws_secret_access_key = secret\n",
    )
    store = open_store(f"s3://flowtime/{tmp_path.name}")
    store.put("a", b"1")
    assert store.get("a") == b"1"


@pytest.mark.parametrize(
    ("config", "why"),
    [("", "has no keys"), ("[profile team]\nsso_session = corp\n", "signs in by other means")],
)
def test_an_aws_profile_without_keys_says_how_to_get_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, why: str
) -> None:
    files(tmp_path, monkeypatch, config)
    open_store("s3://bucket/a")
    monkeypatch.setenv("AWS_PROFILE", "team")
    error = refusal(lambda: open_store("s3://bucket/a"))
    assert error.code == "FT608"
    assert why in error.message
    assert "`aws configure export-credentials` prints its keys; set them as AWS_ACCESS_KEY_ID" in error.hint
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    open_store("s3://bucket/a")


def test_an_azure_connection_string_leads_there(
    server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    endpoint = f"{server('azurite').address}/{account}"
    text = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={endpoint};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    store = open_store(f"az://flowtime/{tmp_path.name}")
    store.put("a", b"1")
    assert open_store(f"abfss://flowtime@{account}.dfs.core.windows.net/{tmp_path.name}").get("a") == b"1"
    error = refusal(lambda: open_store(AZURE))
    assert (error.code, error.hint) == (
        "FT608",
        f"open a container of {account!r}, or set the key of the other",
    )


@pytest.mark.parametrize("text", ["AccountKey=eA==", "nonsense"])
def test_a_connection_string_without_an_account_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    error = refusal(lambda: open_store("az://box/a"))
    assert error.where == "AZURE_STORAGE_CONNECTION_STRING"
    assert error.hint.startswith("it begins like AccountName=...;AccountKey=")


def test_an_aws_settings_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files(tmp_path, monkeypatch, "region = nowhere\n")
    error = refusal(lambda: open_store("s3://bucket/a"))
    assert (error.code, error.where) == ("FT608", str(tmp_path / "AWS_CONFIG_FILE"))
    assert error.hint == "it has sections, as [default] and [profile NAME], of lines as region = eu-west-1"


@pytest.mark.parametrize(
    ("variable", "url", "read"),
    [
        ("AWS_TIMEOUT", "s3://bucket/a", "AWS_REGION"),
        ("AZURE_TIMEOUT", "abfss://box@account.dfs.core.windows.net/a", "AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_settings_that_the_cloud_has_not_name_those_that_are_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str, read: str
) -> None:
    monkeypatch.setenv(variable, "soon")
    error = refusal(lambda: open_store(url))
    assert (error.code, error.where) == ("FT608", url)
    assert read in error.hint


# Errors


@pytest.mark.parametrize(("name", "root"), [("moto", "s3://nobucket/a"), ("azurite", "az://nobucket/a")])
def test_a_bucket_that_does_not_exist(place: Callable[[str], str], name: str, root: str) -> None:
    place(name)
    store = open_store(root)
    for use in (lambda: store.get("a"), lambda: store.list(""), lambda: store.put("a", b"1")):
        error = refusal(use, Unavailable)
        assert (error.code, error.where) == ("FT607", root)


def test_a_service_that_does_not_answer(s3: pytest.MonkeyPatch) -> None:
    error = refusal(lambda: open_store("s3://bucket/a").get("b"), Unavailable)
    assert error.code == "FT606"
    assert "AWS_ALLOW_HTTP" in error.hint
    s3.setenv("AWS_ALLOW_HTTP", "true")
    error = refusal(lambda: open_store("s3://bucket/a").put_if_absent("b", b""), Unavailable)
    assert error.code == "FT606"
    assert "network" in error.hint


def test_a_machine_without_credentials_says_so(s3: pytest.MonkeyPatch) -> None:
    s3.delenv("AWS_ACCESS_KEY_ID")
    s3.delenv("AWS_SECRET_ACCESS_KEY")
    s3.setenv("AWS_METADATA_ENDPOINT", NOWHERE)
    s3.setenv("AWS_ALLOW_HTTP", "true")
    error = refusal(lambda: open_store("s3://bucket/a").get("b"), Unavailable)
    assert error.code == "FT605"
    assert "AWS_ACCESS_KEY_ID" in error.hint


def test_wrong_credentials_and_no_signature_in_the_message(
    place: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place("azurite")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2021-08-06&sp=r&sig=topsecret")
    error = refusal(lambda: open_store(root).get("b"), Unavailable)
    assert error.code == "FT605"
    assert "topsecret" not in str(error)


def test_a_forked_process_is_told_instead_of_hanging(tmp_path: Path) -> None:
    script = """
import os
from flowtime.errors import Unavailable
from flowtime.storage import open_store
store = open_store("memory://a")
store.put("a", b"1")
child = os.fork()
if child == 0:
    try:
        store.get("a")
    except Unavailable as error:
        os._exit(7 if "spawn" in error.hint else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=30, text=True, check=True
    )
    assert done.stdout == "7\n"


# Foreign objects


def raw(server: Any, key: str, data: bytes = b"x") -> None:
    """Makes an object of any name, as other tools can."""
    urllib.request.urlopen(
        urllib.request.Request(f"{server.address}/flowtime/{key}", data=data, method="PUT"), timeout=10
    ).close()


def test_a_folder_made_by_the_console_is_an_empty_one(
    place: Callable[[str], str], server: Callable[[str], Any]
) -> None:
    root = place("moto")
    path = root.removeprefix("s3://flowtime/")
    raw(server("moto"), f"{path}/", b"")
    raw(server("moto"), f"{path}/runs/", b"")
    store = open_store(root)
    assert store.list("") == Listing(("runs",), ())
    assert store.list("runs") == Listing()


def test_an_object_whose_name_cannot_be_read_is_named(
    place: Callable[[str], str], server: Callable[[str], Any]
) -> None:
    root = place("moto")
    raw(server("moto"), f"{root.removeprefix('s3://flowtime/')}/runs//stranger")
    error = refusal(lambda: open_store(root).list("runs"), Unavailable)
    assert "runs//" in error.message
    assert "prefix of its own" in error.hint
    assert open_store(root).list("") == Listing(("runs",), ())


# Large objects, and what is read again


@pytest.mark.parametrize("name", ["seaweedfs", "moto", "azurite"])
def test_large_objects_move_whole(place: Callable[[str], str], name: str) -> None:
    store = open_store(place(name))
    data = os.urandom(1 << 20) * 9
    with store.stage() as folder:
        (folder / "data").write_bytes(data)
        (folder / "empty").write_bytes(b"")
        (folder / "catalog").write_bytes(b"{}")
        assert store.publish(folder, "runs/a", "catalog")
    assert store.move("runs/a", ".trash/runs/a/1", "catalog")
    assert store.move(".trash/runs/a/1", "runs/a", "catalog")
    with store.open("runs/a/data") as stream:
        assert stream.read() == data
    assert store.get("runs/a/empty") == b""
    assert store.get_range("runs/a/data", len(data) - 3, 10) == data[-3:]
    assert store.get_range("runs/a/data", len(data) + 3, 10) == b""


@pytest.mark.parametrize("name", ["seaweedfs", "azurite"])
def test_an_answer_that_is_cut_off_is_asked_for_again(
    name: str, place: Callable[[str], str], server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer to each request ends in the middle, as where a connection breaks."""
    seen: set[bytes] = set()

    def once(request: bytes) -> bool:
        line = request.partition(b"\r\n")[0]
        new = line not in seen
        seen.add(line)
        return new

    root = place(name)
    data = os.urandom(300_000)
    with Forgetful(server(name).address, once, half) as proxy:
        monkeypatch.setenv(ADDRESSES[name], proxy.address)
        store = open_store(root)
        store.put("runs/a/data", data)
        assert store.size("runs/a/data") == 300_000
        for read in ("get", "range", "file", "open", "many"):
            seen.clear()
            cut = proxy.lost
            match read:
                case "get":
                    assert store.get("runs/a/data") == data
                case "range":
                    assert store.get_range("runs/a/data", 1000, 200_000) == data[1000:201_000]
                case "file":
                    with store.file("runs/a/data") as path:
                        assert path.read_bytes() == data
                case "open":
                    with open_store(root).open("runs/a/data") as stream:
                        assert stream.read() == data
                case _:
                    assert list(store.get_many(["runs/a/data"] * 3)) == [data] * 3
            assert proxy.lost > cut
        seen.clear()
        assert store.list("runs") == Listing(("a",), ())
        assert store.list("runs/a") == Listing((), ("data",))
        assert publish(store, "runs/b")
        store.append("log", "one")
        assert store.move("runs/b", ".trash/b", "catalog")
        store.append("log", "two")
        assert open_store(root).tail("log", 5)[0] == ("one", "two")
        store.remove("runs/a", "data")
        assert [store.size(f"runs/{name}") for name in ("a/data", "b/catalog", "b/data")] == [None] * 3


# Dead writers


class Died(BaseException):
    """Stands for the end of a process: nothing is tidied up."""


def dies_at(store: Any, method: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its call `number` on, counted from 1, the method ends the writer."""
    calls = iter(range(1, number))
    real = getattr(store, method)

    def call(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise Died
        return real(*arguments)

    monkeypatch.setattr(store, method, call)


def publish(store: Store, prefix: str, text: str = "1") -> bool:
    with store.stage() as folder:
        (folder / "data").write_text(text)
        (folder / "catalog").write_text(text)
        return store.publish(folder, prefix, "catalog")


def swept(store: Store) -> int:
    count = 0
    while found := store.sweep(0, ".trash/staging"):
        store.append("log", f"swept {', '.join(found)}")
        count += len(found)
    return count


@pytest.mark.parametrize("name", ["memory", "seaweedfs", "moto", "azurite"])
def test_an_abandoned_publication_is_swept_to_the_trash_and_nothing_else(
    place: Callable[[str], str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place(name)
    store = open_store(root)
    store.put("runs/stranger/data", b"not ours")
    with monkeypatch.context() as patched:
        dies_at(store, "_create", 3, patched)  # the claim, the data, not the catalog
        with pytest.raises(Died):
            publish(store, "runs/a")
    assert store.size("runs/a/data") is not None
    assert store.sweep(3600, ".trash/staging") == ()
    store.put("runs/a/stranger", b"not ours")
    assert not publish(open_store(root), "runs/a", "2")
    assert swept(store) == 1
    assert store.list("runs/a").files == ("stranger",)
    assert store.get("runs/stranger/data") == b"not ours"
    [left] = store.list(".trash/staging").folders
    assert store.get(f".trash/staging/{left}/data") == b"1"
    assert publish(store, "runs/a", "3")


def test_a_claim_goes_when_a_log_has_told(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path}")
    assert publish(store, "runs/a")
    assert store.sweep(0, "trash") == ("runs/a",)  # as of a writer that died before it could tell
    store.append("log", "runs/a")
    assert store.sweep(0, "trash") == ()
    assert publish(store, "runs/b")
    store.append("log", "runs/b")
    assert store.move("runs/b", "trash/b", "catalog")
    assert store.sweep(0, "trash") == ("runs/b",)
    store.append("log", "runs/b")
    assert store.sweep(0, "trash") == ()
    assert (store.get("runs/a/catalog"), store.get("trash/b/catalog")) == (b"1", b"1")


@pytest.mark.parametrize("step", range(1, 5))
@pytest.mark.parametrize("method", ["_copy", "drop"])
@pytest.mark.parametrize("source", ["models/a", ".trash/models/a/1"])
def test_a_move_that_was_interrupted_can_be_done_again_or_is_swept(
    source: str, method: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, aside = "models/a", ".trash/models/a/1"
    target = aside if source == seen else seen
    for again in (True, False):
        store = open_store(f"memory://move-{source}-{method}-{step}-{again}")
        for version in ("v1", "v2", "v10"):
            assert publish(store, f"{source}/{version}", version)
        store.append("log", "published")
        with monkeypatch.context() as patched:
            dies_at(store, method, step, patched)
            with pytest.raises(Died):
                store.move(source, target, "catalog")
        in_view = store.size(f"{seen}/v1/catalog") is not None
        both = in_view and store.size(f"{aside}/v1/catalog") is not None
        assert both == ((method, step) == ("drop", 1))
        if again:
            assert store.move(*((seen, aside) if in_view else (aside, seen)), "catalog")
            in_view = not in_view
        swept(store)
        assert store.list(aside if in_view else seen) == Listing()
        for version in ("v1", "v2", "v10"):
            for name in ("data", "catalog"):
                assert store.get(f"{seen if in_view else aside}/{version}/{name}") == version.encode()


@pytest.mark.parametrize("source", ["models/a", ".trash/models/a/1"])
def test_what_is_changed_after_an_interrupted_move_outlives_the_sweep(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"memory://changed-{source}")
    for version in ("v1", "v2"):
        assert publish(store, f"{source}/{version}", version)
    with monkeypatch.context() as patched:
        dies_at(store, "drop", 1, patched)  # all is copied, nothing deleted
        with pytest.raises(Died):
            store.move(source, {"models/a": ".trash/models/a/1"}.get(source, "models/a"), "catalog")
    assert store.update("models/a/v2/catalog", lambda data: data + b", tagged") == b"v2, tagged"
    assert publish(store, "models/a/v3", "v3")
    swept(store)
    assert [store.get(f"models/a/{version}/catalog") for version in ("v1", "v2", "v3")] == [
        b"v1",
        b"v2, tagged",
        b"v3",
    ]


def test_a_sweep_keeps_out_of_the_way_of_one_who_moves_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = (open_store("memory://moved-again") for _ in range(2))
    assert publish(store, "runs/a")
    store.append("log", "published")
    with monkeypatch.context() as patched:
        dies_at(store, "_copy", 2, patched)
        with pytest.raises(Died):
            store.move("runs/a", ".trash/runs/a/1", "catalog")
    time.sleep(1.1)
    assert other.move("runs/a", ".trash/runs/a/1", "catalog")  # and has told no log yet
    assert store.sweep(1, ".trash/staging") == ()
    other.append("log", "moved")
    assert store.sweep(1, ".trash/staging") == ("runs/a",)
    assert store.get(".trash/runs/a/1/catalog") == b"1"


def test_a_move_does_not_overwrite(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path}")
    for prefix, text in (("runs/a", "1"), ("trash/a/1", "2")):
        assert publish(store, prefix, text)
    store.put("trash/a/2/data", b"half of another copy")
    assert not store.move("runs/a", "trash/a/1", "catalog")
    assert not store.move("runs/a", "trash/a/2", "catalog")
    assert store.get("trash/a/1/data") == b"2"
    assert store.get("runs/a/catalog") == b"1"
    assert store.move("runs/a", "trash/a/3", "catalog")


def test_a_rival_that_loses_has_written_nothing(place: Callable[[str], str]) -> None:
    root = place("seaweedfs")
    won: list[int] = []

    def compete(number: int) -> None:
        store = open_store(root)
        with store.stage() as folder:
            for name in ("catalog", "same", f"only-{number}"):
                (folder / name).write_text("x" if name == "same" else str(number))
            if store.publish(folder, "models/a/v2", "catalog"):
                won.append(number)

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = won
    assert open_store(root).list("models/a/v2").files == ("catalog", f"only-{winner}", "same")


def test_the_log_is_found_from_anywhere(place: Callable[[str], str]) -> None:
    root = place("moto")
    store = open_store(root)
    for number in range(20):
        store.append("log", str(number))
    lines, end = open_store(root).tail("log", 1)
    assert lines == ("19",)
    store.put("log/end", b"3")  # as a slow writer would leave it
    late = open_store(root)
    assert late.tail("log", 1) == (("19",), end)
    assert late.tail("log", 3) == (("17", "18", "19"), end)
    late.append("log", "20")
    assert store.records("log", end) == (("20",), late.tail("log", 1)[1])
