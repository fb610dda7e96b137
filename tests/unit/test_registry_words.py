"""What is searched by words: ids and parts of them, symbols, parameters, and a hint at what was misspelt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.worlds import publish

from flowtime.registry import Query, Reader, Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry in a folder."""
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        yield registry


def ids(registry: Registry, text: str) -> list[str]:
    """The ids that a text finds."""
    return sorted(item["id"] for item in registry.find(Query(text=text)).artifacts)


def test_ids_and_their_parts_are_found(registry: Registry) -> None:
    id = publish(registry, name="night shift")
    publish(registry, name="other")
    end = id.rpartition("_")[2]
    for text in (id, end, end[:4], id.partition("_")[2], id.upper()):
        assert ids(registry, text) == [id], text


@pytest.mark.parametrize("name", ["🚀", "launch🚀", "🚀launch", "go 🚀 now", "👩‍💻🚀"])
def test_a_symbol_is_found_wherever_it_stands(registry: Registry, name: str) -> None:
    id = publish(registry, name=name)
    publish(registry, name="🛠 launch")
    assert ids(registry, "🚀") == [id]
    if "launch" in name:
        assert ids(registry, "🚀 launch") == [id] and len(ids(registry, "launch")) == 2


def test_models_are_found_by_their_parameters(registry: Registry) -> None:
    made = {
        workers: publish(
            registry,
            "model",
            name="shop",
            model_hash=f"sha256:{workers}",
            provenance={"template": "checkout", "parameters": {"payment_workers": workers, "curve": [1, 2]}},
        )
        for workers in (3, 6, 60)
    }
    assert ids(registry, "payment_workers") == sorted(made.values())
    assert ids(registry, "payment_workers=6") == [made[6]]
    assert ids(registry, "shop payment_workers=3") == [made[3]]
    assert ids(registry, "payment_workers=7") == []


def test_the_nearest_word_is_named(registry: Registry) -> None:
    publish(registry, name="checkout-baseline", tags=["weekly", "night shift"], owner="ada")
    for query, word in (
        (Query(text="chekout"), "checkout"),
        (Query(text="checkout basline"), "baseline"),
        (Query(tags=(("weakly",),)), "weekly"),
        (Query(tags=(("night shft",),)), "night shift"),
        (Query(owner="adda"), "ada"),
    ):
        found = registry.find(query)
        assert (found.total, found.hint) == (0, f'did you mean "{word}"?')
    assert registry.find(Query(text="checkout")).hint is None
    assert registry.find(Query(text="zzzzzz")).hint is None
    assert "hint" not in registry.find(Query(text="zzzzzz")).to_json()


def test_a_hint_tells_nothing_of_what_may_not_be_read(registry: Registry) -> None:
    publish(registry, name="checkout", tags=["weekly"], owner="ada")
    seen = registry.seen_by(Reader("eve"))
    for query in (Query(text="chekout"), Query(tags=(("weakly",),)), Query(owner="adaa")):
        assert seen.find(query).hint is None
