"""A report as one HTML page with its style: no script, nothing loaded, pictures inside it."""

from __future__ import annotations

from collections.abc import Callable

from openrealm.report import sections
from openrealm.report.contents import Contents, Picture, Probed, RunFacts
from openrealm.report.sections import LEGEND, after, examples, figure, paragraphs, summary, text

_STYLE = """
:root {
  --ink: #1b1f24; --quiet: #57606a; --paper: #ffffff; --card: #f6f7f9; --line: #d8dde3;
  --blue: #0067a5; --faint: #c3dcee; --grey: #8b949e; --faint-grey: #dfe3e8; --mark: #ffe08a;
  --good: #00734f; --bad: #a84300;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --quiet: #9aa4ae; --paper: #121518; --card: #1b2026; --line: #343b43;
    --blue: #58b0e8; --faint: #1e3c52; --grey: #7b858f; --faint-grey: #333a42; --mark: #6b5400;
    --good: #3fc79a; --bad: #f0935a;
  }
  /* Drawn on white: light becomes dark, and the hues stay. */
  figure img { filter: invert(0.93) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 0.3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; padding-top: 0.6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.5rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--blue); }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; font-size: 0.92rem; }
.quiet, figcaption, caption { color: var(--quiet); font-size: 0.9rem; }
.summary { background: var(--card); border-left: 4px solid var(--blue); border-radius: 4px;
  padding: 0.6rem 1rem; margin: 1rem 0; }
.summary p { margin: 0.35rem 0; max-width: none; }
.wide { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.92rem; }
caption { text-align: left; caption-side: bottom; padding-top: 0.4rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { font-weight: 600; }
tbody th, thead th:first-child { text-align: left; }
tbody th { font-weight: 400; }
td small { display: block; color: var(--quiet); white-space: nowrap; }
.words td { text-align: left; overflow-wrap: anywhere; }
.words th { white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; min-width: 44rem; height: auto; }
figcaption { max-width: 46rem; padding-top: 0.3rem; }
article { background: var(--card); border-radius: 6px; padding: 0.8rem 1rem; margin: 0.9rem 0; }
article p { max-width: none; }
blockquote { margin: 0 0 0.5rem; font-size: 1.05rem; overflow-wrap: anywhere; }
mark { background: var(--mark); color: inherit; border-radius: 3px; padding: 0 0.15em; }
.good { color: var(--good); } .bad { color: var(--bad); }
.mosaic { display: flex; height: 3.2rem; gap: 2px; margin: 0.6rem 0; }
.mosaic > div { position: relative; background: var(--faint); min-width: 1px; overflow: hidden; }
.mosaic > div > div { position: absolute; inset: auto 0 0; background: var(--blue); }
.mosaic > .null { background: var(--faint-grey); }
.mosaic > .null > div { background: var(--grey); }
.candidates { width: 100%; table-layout: fixed; }
.candidates th:first-child { width: auto; overflow-wrap: anywhere; }
.candidates th:not(:first-child) { width: 5.6rem; }
.candidates tbody th span { display: block; color: var(--quiet); }
.bar { display: block; height: 0.35rem; margin-top: 0.25rem; background: var(--faint);
  border-radius: 2px; overflow: hidden; }
.bar > span { display: block; height: 100%; background: var(--blue); }
details { margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--blue); }
pre { overflow-x: auto; background: var(--card); border-radius: 6px; padding: 0.8rem 1rem;
  font-size: 0.82rem; line-height: 1.45; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, monospace; font-size: 0.92em; }
@media (max-width: 36rem) {
  th, td { padding: 0.3rem 0.4rem; }
  article { padding: 0.7rem; }
  .candidates thead { display: none; }
  .candidates, .candidates tbody, .candidates caption { display: block; }
  .candidates tr { display: grid; grid-template-columns: repeat(3, 1fr); column-gap: 0.8rem;
    padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
  .candidates th { grid-column: 1 / -1; }
  .candidates th, .candidates td { display: block; border: 0; padding: 0.1rem 0; text-align: left; }
  .candidates td::before { content: attr(data-label) " "; color: var(--quiet); }
  .words th { white-space: normal; }
}
@media print { nav { display: none; } article, figure { break-inside: avoid; } }
"""


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
<style>{_STYLE}</style>
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
    return "".join(_heading(run, contents) + sections.stages(run) for run in contents.runs)


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
    probed = contents.probed
    if probed is None:
        return _not_probed(contents)
    parts = [paragraphs([LEGEND]), "<h3>Where retrieval was worth most</h3>\n"]
    parts.append(examples(probed.best))
    if probed.worst:
        parts += ["<h3>Where it was worth least</h3>\n", examples(probed.worst)]
    return "".join(parts)


def _configuration(contents: Contents) -> str:
    parts = []
    if contents.compared:
        parts.append(sections.differences(contents.differences, [r.name for r in contents.runs]))
    for run in contents.runs:
        parts.append(
            f"<details><summary>settings.toml of run {text(run.name)}</summary>\n"
            f"<pre><code>{text(run.settings)}</code></pre></details>\n"
        )
    return "".join(parts)


def _provenance(contents: Contents) -> str:
    return "".join(_heading(run, contents) + sections.provenance(run) for run in contents.runs)


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
