"""Tests of results as text."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import pytest
import results

from openrealm.cli import text


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def _print_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))


@pytest.mark.parametrize(
    ("share", "wanted"),
    [(0.0, "    "), (0.5, "██  "), (1.0, "████"), (0.53125, "██▏ "), (-1.0, "    "), (2.0, "████")],
)
def test_a_bar_is_filled_to_its_share(share: float, wanted: str) -> None:
    assert text.bar(share, 4) == wanted


def test_a_bar_is_of_plain_letters_where_blocks_cannot_be_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _print_ascii_only(monkeypatch)
    assert text.bar(0.5, 4) == "##.."


def test_an_ingest_names_each_problem_and_counts_those_not_shown() -> None:
    shown = text.ingested(results.INGESTED)
    assert "3 added, 1 unchanged; the corpus now has 12 chunks" in shown
    assert "3 problems" in shown
    assert "bad file.jsonl:4: is not JSON" in shown
    assert "and 2 more" in shown


def test_stages_stand_side_by_side_and_gaps_stay_empty() -> None:
    lines = text.trained(results.TRAINED).splitlines()
    assert "run 'run-001' in 'my ws', 1 min 15 s" in lines[0]
    assert lines[2].split() == ["after", "stage", "ict", "realm"]
    rows = {line[:34].strip(): line[36:] for line in lines[4:]}
    assert list(rows) == ["retrieval utility (nats per token)", "probe/recall@1", "held_out/mrr"]
    assert rows["probe/recall@1"].split() == ["0.250", "0.750"]
    assert rows["retrieval utility (nats per token)"].split() == ["1.500"]
    assert len(lines[4]) == len(lines[5])  # the only value stands under the second stage


def test_a_run_without_measurements_is_told_without_a_table() -> None:
    assert "\n" not in text.trained(dataclasses.replace(results.TRAINED, stages=()))


def test_a_checked_index_says_so() -> None:
    assert "12 chunks x 128" in text.indexed(results.INDEXED)
    assert "all checksums are right" in text.indexed(results.INDEXED)
    unchecked = dataclasses.replace(results.INDEXED, verified=False)
    assert "checksums" not in text.indexed(unchecked)


def test_an_export_lists_its_files_and_where_it_was_uploaded_to() -> None:
    shown = text.exported(results.EXPORTED)
    assert "after stage 'realm', as openrealm in 'my ws/exports/run-001-openrealm'" in shown
    assert "weights.safetensors  1,234,567" in shown
    assert shown.endswith("uploaded to https://hub.example/me/rivers")


def test_an_evaluation_has_systems_side_by_side_with_intervals() -> None:
    shown = text.evaluated(results.EVALUATED)
    rows = {line.split("  ")[0]: line for line in shown.splitlines()}
    assert "dev.jsonl (1,500)" in rows
    assert "0.500 [0.400, 0.600]  0.250 [0.125, 0.375]" in rows["recall@5"]
    assert rows["exact_match"].endswith("0.300 [0.200, 0.400]")


def test_an_evaluation_says_that_minilm_has_seen_labels() -> None:
    assert "labelled pairs" in text.evaluated(results.EVALUATED)
    scratch = dataclasses.replace(results.EVALUATED, start="scratch")
    assert "labelled" not in text.evaluated(scratch)


def test_an_evaluation_says_what_the_starter_was_trained_on() -> None:
    said = text.evaluated(dataclasses.replace(results.EVALUATED, start="starter"))
    assert "starter, whose encoder was trained on labelled pairs and whose reader on" in said


def test_labels_are_said_also_of_an_exported_model_that_began_with_them() -> None:
    report = dataclasses.replace(results.EVALUATED, start="my-model", ancestors=("minilm",))
    said = "started from my-model, which began as minilm, an encoder that was trained on labelled"
    assert said in text.evaluated(report)


def test_search_results_have_score_document_and_place() -> None:
    shown = text.searched(results.SEARCHED)
    assert "12.500  Lima (lima), characters 100-150" in shown
    assert "Lima is the capital of Perú." in shown
    assert "11.250  cusco, characters 0-27" in shown  # without a title


def test_finding_nothing_is_said() -> None:
    assert text.searched(dataclasses.replace(results.SEARCHED, hits=())) == "nothing found"


def test_fillings_show_the_marginal_and_under_it_its_parts_for_every_chunk() -> None:
    lines = text.filled(results.FILLED).splitlines()
    assert any(line.split() == ["0.740", "██████████████▊", "peru"] for line in lines)
    null = next(line for line in lines if line.startswith(" 0.200"))
    lima = next(line for line in lines if line.startswith(" 0.800"))
    assert [word for word in null.split() if word[0] == "0"] == ["0.200", "0.100", "0.150"]
    assert [word for word in lima.split() if word[0] == "0"] == ["0.800", "0.900", "0.050"]
    assert "(null chunk)" in lines[lines.index(null) + 1]
    assert "Lima (lima): Lima is the capital" in lines[lines.index(lima) + 1]


@pytest.mark.parametrize("columns", [50, 80])
def test_fillings_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    many = dataclasses.replace(
        results.FILLED.fillings, fillings=results.FILLED.fillings.fillings * 5
    )
    shown = text.filled(dataclasses.replace(results.FILLED, fillings=many))
    assert max(map(len, shown.splitlines())) <= columns


def test_an_answer_has_its_evidence_marked_in_its_sentence() -> None:
    shown = text.asked(results.ASKED, Path("ws"))
    assert "1. 0.750 ███████▌   Perú" in shown
    assert "Lima (lima), characters 123-127 (and 1 more place)" in shown
    assert "Lima is the capital of «Perú». It lies" in shown
    assert "0.125 █▎         (no answer)" in shown


def test_where_nothing_answers_that_is_said_first() -> None:
    assert "Nothing here" not in text.asked(results.ASKED, Path("ws"))
    nothing = dataclasses.replace(results.ANSWERS, no_answer=0.83)
    shown = text.asked(dataclasses.replace(results.ASKED, answers=nothing), Path("ws"))
    said = shown.index("Nothing here answers this (p = 0.83). The likeliest spans all the same:")
    assert said < shown.index("Perú")


def test_evidence_is_marked_in_ascii_where_quotes_cannot_be_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _print_ascii_only(monkeypatch)
    assert ">>Perú<<" in text.asked(results.ASKED, Path("ws"))


def test_a_workspace_is_described_with_its_runs_and_whether_it_is_whole() -> None:
    shown = text.described(results.WHOLE)
    assert "4 documents, 12 chunks of at most 64 tokens" in shown
    assert "run run-001: ict (done), realm step 20" in shown
    assert "created: 1970-01-01" in shown or "created: 1969-12-31" in shown
    assert "corpus: cdcdcdcdcdcd\n" in shown
    assert "snapshots: 1, 4" in shown
    assert "the corpus has changed" in shown
    assert "0.750" in shown
    assert shown.endswith("everything is whole")


def test_damage_is_named() -> None:
    shown = text.described(results.DAMAGED)
    assert "DAMAGED" in shown
    assert "segment-000001/text.arrow is damaged" in shown
    assert "whole" not in shown


def test_the_demo_ends_with_table_answers_plot_and_the_next_command() -> None:
    shown = text.demonstrated(results.DEMONSTRATED)
    assert "after stage" in shown
    assert "retrieval utility" in shown
    assert "held_out/mrr" not in shown
    assert "Perú" in shown
    assert "demo/runs/run-001/plots/run.png" in shown
    assert "openrealm ask demo" in shown


def test_the_demo_that_answers_at_once_compares_before_and_after() -> None:
    compared = {"recall@1 of held-out queries": (0.25, 0.5)}
    shown = text.demonstrated(dataclasses.replace(results.DEMONSTRATED, compared=compared))
    assert "after stage" not in shown
    line = next(line for line in shown.splitlines() if line.startswith("recall@1"))
    assert line.split()[-2:] == ["0.250", "0.500"]


def test_a_report_is_told_in_its_first_sentences_with_its_files() -> None:
    shown = text.reported(results.REPORTED).splitlines()
    assert shown[0] == "The run began with random weights (scratch)."
    assert "no held-out sentence was asked: the run has no weights of warm-up" in shown[2]
    assert shown[-2:] == [
        "page: my ws/runs/run-002/report/report.html",
        "picture: my ws/runs/run-002/report/curves.png",
    ]
