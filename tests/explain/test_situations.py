"""Each situation says what it is fixed to say, to the last word."""

import pytest

import facula
from facula.config import settings

from .situations import said, situations

ALL = situations()


@pytest.mark.parametrize("situation", ALL, ids=[s.name for s in ALL])
def test_the_whole_text(situation):
    facula.operators.loss._READY.clear()  # a warning of its first call may have been given
    assert situation.text and said(situation.program, facula) == situation.text


def test_notes_can_be_turned_off(monkeypatch):
    monkeypatch.setattr(settings, "notes", False)
    for situation in ALL:
        text = said(situation.program, facula)
        assert situation.text.startswith(text) and "\n  " not in text
