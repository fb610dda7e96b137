"""What artifacts may be called: the rules of names, descriptions and tags, which models bring along."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 200
MAX_DESCRIPTION = 4000
MAX_TAG = 100
MAX_TAGS = 100

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Me")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def normal(text: str) -> str:
    """The one spelling of a name, owner, team or tag: composed (NFC), without space around it.

    Two keyboards may write the same letter as one character or as a letter and an accent.
    """
    return unicodedata.normalize("NFC", text).strip()


def searchable(text: str) -> str:
    """The text as it is searched by words: a symbol, such as an emoji, is a word of its own, in letters."""
    if text.isascii():
        return text
    letters = (f" u{ord(letter):x} " if _is_symbol(letter) else letter for letter in normal(text))
    return "".join(letters)


def _is_symbol(letter: str) -> bool:
    # What Unicode did not have yet when this Python was made is most likely an emoji.
    return letter > "\x7f" and unicodedata.category(letter) in ("So", "Sm", "Sc", "Sk", "Cn")


def name_rule(text: object, limit: int = MAX_NAME) -> str | None:
    """What a name, owner or team takes, to be read after its key; None where `text` is one."""
    if (
        isinstance(text, str)
        and len(text) <= limit
        and text.strip() not in (".", "..")
        and any(unicodedata.category(letter) not in _UNSEEN for letter in text)
        and not _CONTROL.search(text)
    ):
        return None
    return f"takes 1 to {limit} characters, not all of them blank, without control characters, not . or .."


def description_rule(text: object) -> str | None:
    """What a description takes, to be read after its key; None where `text` is one."""
    if isinstance(text, str) and len(text) <= MAX_DESCRIPTION and not _SURROGATE.search(text):
        return None
    return f"takes a text of at most {MAX_DESCRIPTION:,} characters"


def tag_rule(text: object) -> str | None:
    """What a tag takes, to be read after its key; None where `text` is one."""
    if (
        name_rule(text, MAX_TAG) is None
        and isinstance(text, str)
        and "," not in text
        and text == text.strip()
    ):
        return None
    return f"takes 1 to {MAX_TAG} characters, without commas, control characters, or space around it"
