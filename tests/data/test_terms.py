"""Terms are specific phrases that occur in at least two texts."""

from __future__ import annotations

from openrealm.data.terms import TermFinder, TermsBuilder

COMMON = "the results of the tests are given for several cases of the flow"


def weights(*texts: str, filler: int = 40) -> dict[str, float]:
    builder = TermsBuilder()
    for text in [*texts, *[COMMON] * filler]:
        builder.add(text)
    return builder.build()


def test_a_phrase_of_two_texts_is_a_term_and_one_of_a_single_or_of_all_is_not() -> None:
    found = weights(
        "the slip flow near flutter, flutter", "of slip flow, flutter of flutter", "vortex"
    )
    assert {"slip flow", "flutter"} <= set(found)
    assert not {"vortex", "results", "flow", "tests"} & set(found)


def test_edges_are_no_function_words_and_nothing_stands_between_the_words() -> None:
    text = "rate of growth, aspect ratio. wing"
    found = weights(text, text)
    assert "rate of growth" in found
    assert not {"rate of", "of growth", "growth aspect", "ratio wing"} & set(found)


def test_chance_company_is_no_term() -> None:
    texts = ["stable wing", "stable wing"] + ["stable x"] * 30 + ["wing y"] * 30
    assert "stable wing" not in weights(*texts, filler=1000)


def test_words_that_come_once_wherever_they_come_are_weaker_than_those_that_recur() -> None:
    found = weights("flutter flutter immediate", "flutter of flutter immediate")
    assert "immediate" not in found
    assert "flutter" in found


def test_inflected_single_words_are_no_terms() -> None:
    text = "rapidly rapidly measured measured running running stalled wing"
    assert not {"rapidly", "measured", "running"} & set(weights(text, text))


def test_the_most_specific_terms_of_a_sentence_are_taken_without_overlap() -> None:
    text = "Slip flow at the wing tip and flutter, slip flow"
    known = {"slip flow": 4.0, "slip": 3.0, "wing": 2.5, "flutter": 2.6, "tip": 1.0}
    found = [text[a:b] for a, b in TermFinder(known).find(text, limit=3)]
    assert found == ["Slip flow", "wing", "flutter"]
    assert [text[a:b] for a, b in TermFinder(known).find(text, limit=1)] == ["Slip flow"]
    assert TermFinder(known).find("nothing known", limit=3) == []


def test_counting_stops_after_its_sample_and_forgets_rare_phrases(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("openrealm.data.terms._SAMPLE_CHARACTERS", 100)
    assert weights(*["filler " * 20, "flutter flutter", "flutter flutter"]) == {}
    monkeypatch.setattr("openrealm.data.terms._SAMPLE_CHARACTERS", 10_000)
    monkeypatch.setattr("openrealm.data.terms._MAX_PHRASES", 3)
    found = weights("flutter flutter", "flutter flutter vortex", "alpha beta gamma", filler=0)
    assert set(found) == {"flutter flutter", "flutter"}
