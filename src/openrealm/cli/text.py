"""What recipes return, as text for a terminal; knows nothing of how it was computed."""

from __future__ import annotations

import datetime
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrealm.errors import shell_command
from openrealm.report.words import MEASURES, start_in_words
from openrealm.terminal import duration

if TYPE_CHECKING:
    from openrealm.answering.answer_spans import Answer, Evidence
    from openrealm.answering.answerer import Answers, ChunkHit, Fillings
    from openrealm.corpus.records import IngestReport
    from openrealm.corpus.store import Chunk
    from openrealm.metrics import Interval
    from openrealm.recipes.demonstration import DemoReport
    from openrealm.recipes.evaluation import EvaluationReport
    from openrealm.recipes.exports import ExportReport
    from openrealm.recipes.imports import ImportReport
    from openrealm.recipes.inspection import IndexReport, WorkspaceInfo
    from openrealm.recipes.pretraining import RunSummary
    from openrealm.recipes.reporting import ReportFiles
    from openrealm.runs.record import RunInfo
    from openrealm.workspace.session import AskResult, FillResult, SearchResult


MAX_WIDTH = 100


# Building blocks ----------------------------------------------------------------------------------


def bar(fraction: float, width: int) -> str:
    """A bar of ``width`` letters that is filled to a share between 0 and 1, in eighths."""
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    if not _can_print("█▏"):
        return ("#" * round(eighths / 8)).ljust(width, ".")
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(width)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, the first one flush left, the others flush right; the head comes first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _width() -> int:
    return min(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _wrapped(text: str, *, indent: int, lines: int) -> str:
    margin = " " * indent
    return textwrap.fill(
        " ".join(text.split()),
        width=_width(),
        initial_indent=margin,
        subsequent_indent=margin,
        max_lines=lines,
        placeholder=" ...",
    )


def _name(chunk: Chunk | None) -> str:
    if chunk is None:
        return "(null chunk)"
    if not chunk.title or chunk.title == chunk.document_id:
        return chunk.document_id
    return f"{chunk.title} ({chunk.document_id})"


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word if number == 1 else word + 's'}"


# Making -------------------------------------------------------------------------------------------


def ingested(report: IngestReport) -> str:
    """What an ingest did, and the problems by place and reason."""
    done = ", ".join(
        f"{number:,} {what}"
        for what, number in (
            ("added", report.added),
            ("replaced", report.replaced),
            ("removed", report.removed),
            ("unchanged", report.unchanged),
        )
        if number
    )
    lines = [f"documents: {done or 'none'}; the corpus now has {_count(report.chunks, 'chunk')}"]
    if report.num_problems:
        lines.append(f"skipped because of {_count(report.num_problems, 'problem')}:")
        lines += [f"  {problem}" for problem in report.problems]
        hidden = report.num_problems - len(report.problems)
        lines += [f"  ... and {hidden:,} more"] if hidden else []
    return "\n".join(lines)


def trained(summary: RunSummary) -> str:
    """What was measured after each stage."""
    head = f"run '{summary.run}' in '{summary.workspace}', {duration(summary.seconds)}"
    return f"{head}\n\n{stages(summary.stages)}" if summary.stages else head


def stages(reports: Sequence[dict[str, Any]], *, main_only: bool = False) -> str:
    """Measures line by line, stages side by side; only the measures in ``MEASURES`` if asked."""
    measured = list(
        dict.fromkeys(k for r in reports for k in r if k not in ("stage", "total_step"))
    )
    names = [name for name in MEASURES if name in measured]
    names += [] if main_only else [name for name in measured if name not in MEASURES]
    rows = [["after stage", *(str(report["stage"]) for report in reports)]]
    rows += [
        [MEASURES.get(name, name), *(_number(report.get(name, "")) for report in reports)]
        for name in names
    ]
    return table(rows)


def indexed(report: IndexReport) -> str:
    """Which snapshot there is."""
    checked = "; all checksums are right" if report.verified else ""
    made_by = "start, untrained" if report.run is None else f"run '{report.run}'"
    return (
        f"{made_by}: snapshot {report.generation} of step {report.step} holds "
        f"{_count(report.chunks, 'chunk')} x {report.dim} ({report.dtype}){checked}"
    )


def exported(report: ExportReport) -> str:
    """Which files were written, and where they were uploaded to."""
    lines = [
        f"run '{report.run}', weights after stage '{report.stage}', as {report.format} in "
        f"'{report.directory}':"
    ]
    rows = [["file", "bytes"], *([name, f"{size:,}"] for name, size in report.files.items())]
    lines.append(table(rows))
    if report.url is not None:
        lines.append(f"uploaded to {report.url}")
    return "\n".join(lines)


def demonstrated(report: DemoReport) -> str:
    """The demo's table, its answers, and where to look next."""
    compared = _before_and_after(report) if report.compared else ""
    parts = [compared or stages(report.stages, main_only=True)]
    parts += [_answers(answers) for answers in report.answers]
    parts.append(
        f"plot of the run: {report.plot}\n"
        f"took {duration(report.seconds)}; ask more: "
        + shell_command("openrealm", "ask", report.workspace, "What is the capital of Peru?")
    )
    return "\n\n".join(parts)


def _before_and_after(report: DemoReport) -> str:
    """What was measured with the start as it is, and after the training."""
    rows = [["", "the start as it is", "after training"]]
    rows += [
        [name, "" if before is None else f"{before:.3f}", f"{after:.3f}"]
        for name, (before, after) in report.compared.items()
    ]
    return table(rows)


# Reading ------------------------------------------------------------------------------------------


def evaluated(report: EvaluationReport) -> str:
    """One table per data set: measures line by line, systems side by side, 95% intervals."""
    start = start_in_words(report.start, *report.ancestors)
    weights = (
        f"run '{report.run}', weights after stage '{report.stage}', started from {start}"
        if report.run is not None
        else f"the start as it is, untrained: {start}"
    )
    parts = [f"{weights}\nmeans with 95% confidence intervals"]
    for data in dict.fromkeys(row.data for row in report.rows):
        chosen = [row for row in report.rows if row.data == data]
        names = list(dict.fromkeys(name for row in chosen for name in row.measures))
        rows = [[f"{data} ({chosen[0].num:,})", *(row.system for row in chosen)]]
        rows += [[name, *(_interval(row.measures.get(name)) for row in chosen)] for name in names]
        parts.append(table(rows))
    return "\n\n".join(parts)


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def searched(result: SearchResult) -> str:
    """Chunks with their scores, and what found them where no run did."""
    return _by_no_run(result) + _hits(result.hits)


def _by_no_run(result: SearchResult | FillResult | AskResult) -> str:
    """A line on what answered in the place of a run; nothing where one has."""
    return "" if result.run is not None else f"by the {result.source}\n\n"


def _hits(hits: Sequence[ChunkHit]) -> str:
    parts = []
    for hit in hits:
        place = f"characters {hit.chunk.start:,}-{hit.chunk.stop:,}"
        parts.append(f"{hit.rank:3d}. {hit.score:8.3f}  {_name(hit.chunk)}, {place}")
        parts.append(_wrapped(hit.chunk.text, indent=15, lines=3))
    return "\n".join(parts) or "nothing found"


def filled(result: FillResult) -> str:
    """Fillings with p(y|x); under them, for every chunk, p(z|x) and p(y|z,x)."""
    fillings = result.fillings
    lines = [fillings.masked, "", "p(y|x)"]
    lines += [f"{f.p_y:6.3f} {bar(f.p_y, 20)} {f.text}" for f in fillings.fillings]
    return _by_no_run(result) + "\n".join([*lines, "", _candidates(fillings)])


def _candidates(fillings: Fillings) -> str:
    """A line of bars for each chunk, and the beginning of its text under it."""
    shown = fillings.fillings[: max((_width() - 18) // 16, 1)]
    lines = ["p(z|x)            p(y|z,x) of each filling y"]
    lines.append(" " * 18 + "  ".join(_cut(filling.text, 14).ljust(14) for filling in shown))
    for number, candidate in enumerate(fillings.candidates):
        cells = [f"{candidate.p_z:6.3f} {bar(candidate.p_z, 9)} "]
        for filling in shown:
            p = filling.p_y_given_z[number]
            cells.append(f"{p:.3f} {bar(p, 8)}")
        lines.append("  ".join(cells).rstrip())
        text = f": {candidate.chunk.text}" if candidate.chunk else ""
        lines.append(_wrapped(_name(candidate.chunk) + text, indent=7, lines=1))
    return "\n".join(line.rstrip() for line in lines)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def asked(result: AskResult, workspace: Path) -> str:
    """Answers with evidence, or search results where the run cannot answer yet."""
    if result.answers is not None:
        return _answers(result.answers)
    if result.run is None:
        command = shell_command("openrealm", "pretrain", workspace)
        return (
            f"nothing has been trained yet, so these are search results, not answers; begin with: "
            f"{command}\n\n{_by_no_run(result)}{_hits(result.hits)}"
        )
    command = shell_command("openrealm", "finetune", workspace, "--qa", "FILE")
    return (
        f"run '{result.run}' has no QA reader yet, so these are search results, not answers; "
        f"teach it with: {command}\n\n{_hits(result.hits)}"
    )


def _answers(answers: Answers) -> str:
    lines = [answers.question]
    if not answers.is_answered:
        p = f"p = {answers.no_answer:.2f}"
        lines.append(f"     Nothing here answers this ({p}). The likeliest spans all the same:")
    for rank, answer in enumerate(answers.answers, start=1):
        lines.append(
            f"{rank:3d}. {answer.probability:.3f} {bar(answer.probability, 10)} {answer.text}"
        )
        lines += _evidence(answer)
    lines.append(f"     {answers.no_answer:.3f} {bar(answers.no_answer, 10)} (no answer)")
    return "\n".join(lines)


def _evidence(answer: Answer) -> list[str]:
    best = answer.evidence[0]
    place = f"{_name(best.chunk)}, characters {best.start:,}-{best.stop:,}"
    more = len(answer.evidence) - 1
    also = f" (and {_count(more, 'more place')})" if more else ""
    return [f"{'':22}{place}{also}", _wrapped(_excerpt(best), indent=22, lines=3)]


def _excerpt(evidence: Evidence, around: int = 90) -> str:
    text, shift = evidence.chunk.text, evidence.chunk.start
    start, stop = evidence.start - shift, evidence.stop - shift
    before, after = text[max(start - around, 0) : start], text[stop : stop + around]
    opening, closing = ("«", "»") if _can_print("«»") else (">>", "<<")
    dots = "..." if start > around else ""
    return f"{dots}{before}{opening}{text[start:stop]}{closing}{after}"


def reported(written: ReportFiles) -> str:
    """What a report says in short, and where it lies."""
    lines = [textwrap.fill(sentence, width=_width()) for sentence in written.summary]
    if written.not_probed:
        lines += ["", f"no held-out sentence was asked: {written.not_probed}"]
    lines += ["", f"page: {written.page}", *(f"picture: {path}" for path in written.pictures)]
    return "\n".join(lines)


def described(info: WorkspaceInfo) -> str:
    """Corpus, runs and whatever is damaged."""
    lines = [
        f"workspace {info.workspace}",
        f"corpus    {_count(info.documents, 'document')}, {_count(info.chunks, 'chunk')} of at "
        f"most {info.chunk_tokens} tokens, vocabulary of {info.vocab_size:,}, "
        f"fingerprint {info.corpus_fingerprint[:12]}",
    ]
    for run in info.runs:
        lines += ["", *_run(run)]
    lines += ["", "everything is whole" if not info.problems else "DAMAGED:"]
    return "\n".join([*lines, *(f"  {problem}" for problem in info.problems)])


def _run(run: RunInfo) -> list[str]:
    record = run.record
    states = [
        f"{c['stage']} {'(done)' if c['finished'] else 'step ' + str(c['step'])}"
        for c in reversed(run.checkpoints)
    ]
    lines = [f"run {run.name}: " + (", ".join(states) or "no checkpoint yet")]
    lines += [
        f"  {key}: {_made(key, value)}"
        for key, value in record.items()
        if isinstance(value, str | int | float)
    ]
    lines.append(f"  snapshots: {', '.join(map(str, run.generations)) or 'none'}")
    if run.in_training:
        lines.append("  a process is training in this run")
    lines += [
        f"  at step {note['total_step']}: {note['setting']} lowered from {note['from']:g} to "
        f"{note['to']:g}"
        for note in record.get("lowered_rates", ())
    ]
    for event in run.refreshes:
        reason = f" ({event['reason']})" if event.get("reason") else ""
        lines.append(f"  at step {event['total_step']}: {event['text']}{reason}")
    if not run.fits_corpus:
        lines.append("  the corpus has changed since this run was trained")
    if record.get("stage_reports"):
        lines += textwrap.indent(stages(record["stage_reports"]), "  ").splitlines()
    return lines


def _made(key: str, value: str | int | float) -> str:
    """A field of a run's record: times as dates, fingerprints by their first letters."""
    if key == "created":
        return datetime.datetime.fromtimestamp(float(value)).isoformat(" ", "seconds")
    text = str(value)
    is_fingerprint = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:12] if is_fingerprint else text


def imported(report: ImportReport) -> str:
    """What an import brought, and what it did not."""
    lines = []
    for part in report.parts:
        lines.append(
            f"{part.source}: {part.kind} ({part.format}), {part.tensors:,} tensors, "
            f"{part.parameters:,} parameters for stage {part.stage}"
        )
        if part.dropped:
            lines.append(f"  {part.dropped:,} parameters of heads that nothing uses were dropped")
    lines.append(f"chunks: {report.blocks:,} added, {report.chunks:,} in the corpus")
    lines.append(f"vectors: {report.vectors:,}")
    lines += [f"note: {note}" for note in report.notes]
    if report.run is None:
        lines.append(f"no run was made in '{report.workspace}', {duration(report.seconds)}")
    else:
        stages = " and ".join(report.stages)
        lines.append(
            f"run '{report.run}' in '{report.workspace}' with stage {stages}, "
            f"{duration(report.seconds)}"
        )
    return "\n".join(lines)
