"""A report as one HTML page: no script, nothing loaded from elsewhere, pictures inside it."""

from __future__ import annotations

from collections.abc import Callable

from openrealm.report import tables
from openrealm.report.contents import Contents, Picture, Probed, RunFacts
from openrealm.report.examples import LEGEND, examples
from openrealm.report.markup import figure, paragraphs, text
from openrealm.report.sentences import after, summary
from openrealm.report.style import STYLE

# A browser that heeds it loads nothing, whatever a text in the page might hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(contents: Contents) -> str:
    """The whole page."""
    title = f"Run {contents.run.name} of {contents.workspace}"
    links = "".join(f'<a href="#{name}">{text(head)}</a>' for name, head, _ in _SECTIONS)
    sections = "".join(
        f'<section id="{name}">\n<h2>{text(head)}</h2>\n{write(contents)}</section>\n'
        for name, head, write in _SECTIONS
    )
    names = ", ".join(run.name for run in contents.compared)
    beside = f"Compared with {names}. " if names else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{text(title)}</h1>
<p class="quiet">{text(beside)}Written by openrealm {text(contents.version)}, \
{text(contents.written)}.</p>
<div class="summary">
{paragraphs(summary(contents.run))}</div>
<nav aria-label="sections">{links}</nav>
</header>
<main>
{sections}</main>
</body>
</html>
"""


def _stages(contents: Contents) -> str:
    return "".join(_heading(run, contents) + tables.stages(run) for run in contents.runs)


def _curves(contents: Contents) -> str:
    own = _or(contents.curves, "The run has logged no training step.")
    if not contents.compared:
        return own
    return own + _or(contents.overlay, "None of the runs has logged a training step.")


def _staleness(contents: Contents) -> str:
    return _or(
        contents.staleness,
        "Not measured: no index was swapped and the probe was not asked during this training.",
    )


def _distribution(contents: Contents) -> str:
    if contents.probed is None:
        return _not_probed(contents)
    return paragraphs(_asked(contents, contents.probed)) + _or(contents.distribution, "")


def _examples(contents: Contents) -> str:
    found = contents.probed
    if found is None:
        return _not_probed(contents)
    parts = [paragraphs([LEGEND]), "<h3>Where retrieval was worth most</h3>\n"]
    parts.append(examples(found.best))
    if found.worst:
        parts += ["<h3>Where it was worth least</h3>\n", examples(found.worst)]
    return "".join(parts)


def _configuration(contents: Contents) -> str:
    parts = []
    if contents.compared:
        parts.append(tables.differences(contents.differences, [r.name for r in contents.runs]))
    for run in contents.runs:
        parts.append(
            f"<details><summary>settings.toml of run {text(run.name)}</summary>\n"
            f"<pre><code>{text(run.settings)}</code></pre></details>\n"
        )
    return "".join(parts)


def _provenance(contents: Contents) -> str:
    return "".join(_heading(run, contents) + tables.provenance(run) for run in contents.runs)


def _heading(run: RunFacts, contents: Contents) -> str:
    """The name of a run, where there are several."""
    return f"<h3>{text(run.name)}</h3>\n" if contents.compared else ""


def _or(picture: Picture | None, otherwise: str) -> str:
    return figure(picture) if picture is not None else paragraphs([otherwise])


def _not_probed(contents: Contents) -> str:
    return paragraphs([f"Not measured: {contents.not_probed}."])


def _asked(contents: Contents, probed: Probed) -> list[str]:
    helped = int((probed.utility > 0).sum())
    said = [
        f"{probed.num} held-out sentences, asked of the weights {after(probed.stage)} (step "
        f"{probed.step:,} of the stage): p(z|x) over the candidates read. Retrieval makes the "
        f"masked words of {helped} of them more probable, and of {probed.num - helped} not."
    ]
    if not contents.run.fits_corpus:
        said.append(
            "The corpus has changed since the training: the sentences are of the present texts, "
            "and some may have been trained on."
        )
    return [*said, probed.note] if probed.note else said


_SECTIONS: tuple[tuple[str, str, Callable[[Contents], str]], ...] = (
    ("stages", "After each stage", _stages),
    ("curves", "Curves", _curves),
    ("staleness", "Recall against staleness", _staleness),
    ("distribution", "How p(z|x) is distributed", _distribution),
    ("examples", "Best and worst examples", _examples),
    ("configuration", "Configuration", _configuration),
    ("provenance", "Provenance", _provenance),
)
