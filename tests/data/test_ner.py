"""Trained taggers plug in by name; here tiny stand-ins take their place."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from openrealm.data.ner import ModelTagger, spacy_tagger, transformers_tagger
from openrealm.data.spans import Span
from openrealm.errors import ConfigError, MissingDependencyError

WORDS = ["rome", "berlin", "in", "1950", "the", "old", "town", "##s", "of"]


def test_rules_add_dates_and_numbers_where_the_model_found_nothing() -> None:
    def find(texts: Sequence[str]) -> Iterator[list[Span]]:
        for text in texts:
            yield [Span(0, 9, "entity")] if text else []

    tagger = ModelTagger("hf:x", find, library="pytest")
    assert tagger.tag(["May 1 1950 in 1951", ""]) == [
        [Span(0, 9, "entity"), Span(14, 18, "date")],
        [],
    ]


def test_spans_of_a_model_that_are_too_long_are_left_out() -> None:
    def find(texts: Sequence[str]) -> Iterator[list[Span]]:
        yield from ([Span(0, len(text), "entity")] for text in texts)

    ten, eleven = "a b c d e f g h i j", "a b c d e f g h i j k"
    assert ModelTagger("hf:x", find, library="pytest").tag([ten, eleven]) == [
        [Span(0, 19, "entity")],
        [],
    ]


def test_the_fingerprint_depends_on_the_model() -> None:
    def find(texts: Sequence[str]) -> Iterator[list[Span]]:
        yield from ([] for _ in texts)

    taggers = [
        ModelTagger("hf:x", find, library="pytest"),
        ModelTagger("hf:y", find, library="pytest"),
    ]
    assert len({tagger.fingerprint for tagger in taggers}) == 2


class FakeLanguage:
    def pipe(self, texts: Sequence[str]) -> Iterator[SimpleNamespace]:
        for text in texts:
            start = text.find("Rome")
            entity = SimpleNamespace(start_char=start, end_char=start + 4, label_="GPE")
            money = SimpleNamespace(start_char=0, end_char=2, label_="MONEY")
            yield SimpleNamespace(ents=[money, entity] if start >= 0 else [])


def fake_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> FakeLanguage:
        if name != "en_small":
            raise OSError(f"[E050] Can't find model '{name}'.")
        return FakeLanguage()

    module = ModuleType("spacy")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", module)


def test_entities_of_a_spacy_pipeline_become_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_spacy(monkeypatch)
    tagger = spacy_tagger("en_small")
    assert tagger.name == "spacy:en_small"
    assert tagger.tag(["$5 in Rome", "none"]) == [[Span(0, 2, "number"), Span(6, 10, "entity")], []]


def test_a_missing_spacy_pipeline_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_spacy(monkeypatch)
    with pytest.raises(MissingDependencyError, match="spacy download en_large"):
        spacy_tagger("en_large")


def test_missing_spacy_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingDependencyError, match=r"openrealm\[ner\]"):
        spacy_tagger("en_small")


def test_a_real_spacy_pipeline_tags() -> None:
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
    language = spacy.blank("en")
    language.add_pipe("entity_ruler").add_patterns([{"label": "DATE", "pattern": "yesterday"}])
    (document,) = language.pipe(["Gone yesterday."])
    assert [(e.start_char, e.end_char) for e in document.ents] == [(5, 14)]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token classifier that was set by hand to call "rome" and "berlin" places."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizer

    path = tmp_path_factory.mktemp("classifier")
    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    BertTokenizer(vocab=vocab, do_lower_case=True).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=0,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        id2label={0: "O", 1: "B-LOC"},
        label2id={"O": 0, "B-LOC": 1},
    )
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1.0)
        model.bert.embeddings.word_embeddings.weight[:, 0] = -1.0
        for word in ("rome", "berlin"):
            model.bert.embeddings.word_embeddings.weight[vocab[word], 0] = 1.0
        model.classifier.weight[1, 0] = 5.0
    model.save_pretrained(path)
    return path


def test_a_token_classifier_tags_short_long_and_empty_texts(classifier: Path) -> None:
    tagger = transformers_tagger(str(classifier))
    long = "the old town of " * 20 + "Rome"  # far beyond the model's 16 positions
    spans = tagger.tag(["The old Rome in 1950", "", long, "  "])
    assert spans == [
        [Span(8, 12, "entity"), Span(16, 20, "date")],
        [],
        [Span(len(long) - 4, len(long), "entity")],
        [],
    ]
    assert tagger.tag(["", ""]) == [[], []]


def test_a_missing_transformers_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"hf:some/model' .* 'openrealm\[ner\]'"):
        transformers_tagger("some/model")


def test_a_model_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded as a token classifier"):
        transformers_tagger(str(tmp_path / "none"))


def test_a_model_without_a_trained_classifier_is_refused(classifier: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertModel

    BertModel(BertConfig.from_pretrained(classifier)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(classifier).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no trained token classifier"):
        transformers_tagger(str(tmp_path))
