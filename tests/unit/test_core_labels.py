"""What artifacts may be called."""

from __future__ import annotations

import pytest

from flowtime.core.labels import MAX_DESCRIPTION, MAX_NAME, MAX_TAG, description_rule, name_rule, tag_rule


@pytest.mark.parametrize("text", ["Monday", " spaced ", "Ünï, 世界", "x" * MAX_NAME])
def test_names(text: str) -> None:
    assert name_rule(text) is None


@pytest.mark.parametrize("text", ["", "  ", "x" * (MAX_NAME + 1), "a\nb", "\x7f", "\ud800", None, 7])
def test_no_names(text: object) -> None:
    assert "1 to 200 characters" in str(name_rule(text))


def test_descriptions_may_have_lines_and_be_empty() -> None:
    assert [description_rule(text) for text in ("", "a\nb\tc", "x" * MAX_DESCRIPTION)] == [None] * 3
    for text in ("x" * (MAX_DESCRIPTION + 1), "\udfff", None):
        assert "at most 4,000 characters" in str(description_rule(text))


def test_tags_stand_between_commas() -> None:
    assert [tag_rule(text) for text in ("peak", "two words", "x" * MAX_TAG)] == [None] * 3
    for text in ("a,b", " peak", "peak ", "", "x" * (MAX_TAG + 1), "a\tb", None):
        assert "1 to 100 characters, without commas" in str(tag_rule(text))
