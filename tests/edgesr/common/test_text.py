"""Text out of files cannot steer a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesr.common.text import printable, shorten


@pytest.mark.parametrize("text", ["photo.png", "ünï – 写真", "a b"])
def test_plain_text_stays(text: str) -> None:
    assert printable(text) == text


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert printable("a\x1b[31m\nb\u202e\ud800") == r"a\x1b[31m\nb\u202e\ud800"


@given(st.text(st.characters()))
def test_the_result_is_one_line_of_shown_characters(text: str) -> None:
    assert printable(text).isprintable()


def test_a_long_text_is_cut_where_a_message_ends() -> None:
    assert shorten("a" * 80) == "a" * 80
    assert shorten("a" * 81) == "a" * 80 + "..."
    assert shorten("abcdef", 3) == "abc..."
