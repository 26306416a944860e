"""Tests of what an import prints."""

from __future__ import annotations

from dataclasses import replace

import results

from openrealm.cli.text import imported


def test_a_summary_tells_what_was_found_dropped_and_missing() -> None:
    text = imported(results.IMPORTED)
    assert "google/realm-orqa-nq-openqa: openqa (safetensors), 410 tensors" in text
    assert "48,717,668 parameters of heads that nothing uses were dropped" in text
    assert "chunks: 12 added, 12 in the corpus" in text
    assert "vectors: 12" in text
    assert "note: no source holds a masked-LM head" in text
    assert "run 'run-001' in 'my ws' with stage realm and qa" in text


def test_blocks_alone_make_no_run() -> None:
    alone = replace(results.IMPORTED, run=None, parts=(), stages=(), notes=())
    assert "no run was made" in imported(alone)
