"""What a notebook shows of a result and of a suggestion, parsed as a browser would."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import lrfinder
from lrfinder.suggestion import METHODS
from tests.plotting.helpers import exploding, falling, rising


class Page(HTMLParser):
    """Collects the cells of every row and the sources of the images; checks the nesting."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.images, self.text, self._open = [], [], "", []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
            return
        if tag == "br":
            return
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self._open and self._open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


def test_a_result_shows_a_picture():
    (image,) = Page(falling()._repr_html_()).images
    kind, data = image.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")


def test_a_result_shows_what_every_rule_says():
    sweep = falling()
    rows = {name: rest for name, *rest in Page(sweep._repr_html_()).rows}
    assert [name for names in rows for name in names.split(", ")] == ["rule", *METHODS]
    suggestion = sweep.suggest("steepest")
    assert rows["steepest"] == [f"{suggestion.lr:.2e}", suggestion.why]


def test_a_result_says_why_it_stopped():
    sweep = exploding()
    assert sweep.stop_reason.sentence in Page(sweep._repr_html_()).text


def test_a_result_says_how_sure_its_suggestion_is_and_what_there_is_to_know():
    sweep = exploding()
    text = Page(sweep._repr_html_()).text
    assert f"Confidence: {sweep.suggest().confidence.value}." in text
    assert falling().diagnose()  # the curve never rises again
    assert all(
        str(finding) in Page(falling()._repr_html_()).text for finding in falling().diagnose()
    )


def test_a_curve_without_a_suggestion_shows_its_picture_and_the_reason():
    sweep = rising()
    with pytest.raises(lrfinder.NoSuggestionError) as refusal:
        sweep.suggest()
    page = Page(sweep._repr_html_())
    assert len(page.images) == 1
    assert str(refusal.value) in page.text


def test_a_suggestion_shows_its_numbers_and_reason():
    suggestion = lrfinder.Suggestion(0.01, "mine", "a < b & c", 0.001, 0.1, (0.01, 0.005))
    finding = lrfinder.Finding(lrfinder.Diagnosis.NOISY, "Use larger batches.", doubtful=True)
    doubted = replace(
        suggestion,
        interval=(0.005, 0.02),
        confidence=lrfinder.Confidence.MEDIUM,
        findings=(finding,),
    )
    assert Page(doubted._repr_html_()).rows[-3:] == [
        ["groups", "1.00e-02, 5.00e-03"],
        ["confidence", "medium"],
        ["note", str(finding)],
    ]
    assert ["interval", "5.00e-03 to 2.00e-02"] in Page(doubted._repr_html_()).rows
    assert Page(suggestion._repr_html_()).rows == [
        ["learning rate", "1.00e-02"],
        ["rule", "mine"],
        ["why", "a < b & c"],
        ["bounds", "1.00e-03 to 1.00e-01"],
        ["groups", "1.00e-02, 5.00e-03"],
    ]


def test_a_terminal_shows_one_line():
    assert repr(falling()) == "RangeTestResult(100 steps, lr 1.00e-06 to 1.00e+00, completed)"
