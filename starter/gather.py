"""Readings out of questions and articles, in files for `trial.py --readings`.

python starter/gather.py distant --squad A.json --wiki W.jsonl.zst --qa Q.jsonl --out D.npz
python starter/gather.py cloze --squad A.json --wiki W.jsonl.zst --out C.npz
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import distant
import numpy as np
from readings import Reading, load_readings, save_readings
from stages import SquadSplit, package_folder
from wiki import Article, read_articles

from openrealm.corpus.records import Document
from openrealm.corpus.store import ChunkStore
from openrealm.corpus.updating import update_store
from openrealm.data.pretraining import SpanTable
from openrealm.data.qa import Question, read_questions
from openrealm.data.recurring_spans import RecurringSpans
from openrealm.data.salient import RuleTagger
from openrealm.data.splits import is_development
from openrealm.progress import Silent
from openrealm.settings import ChunkingConfig
from openrealm.tokenizer import WordPiece

_WEIGHED = 3000  # articles whose words are counted
_MAX_BODY = 250  # tokens: an answer beyond the reader's window would teach that it is not there
_DISTANT_OVERLAP, _UNANSWERED = 0.5, 0.2
_CHUNKING, _CHARACTERS = ChunkingConfig(chunk_tokens=160), 600  # of a chunk, about
_logger = logging.getLogger(__name__)


def distant_readings(
    paths: Sequence[Path], articles: Sequence[Article], tokenizer: WordPiece, *, seed: int
) -> list[Reading]:
    """Questions of files beside passages of the articles that very likely answer them."""
    weights = distant.word_weights(articles[:_WEIGHED])
    readings: list[Reading] = []
    for path in paths:
        questions = trainable(read_questions(path))
        matches = distant.chosen(
            list(distant.matches(questions, articles, weights)),
            least_overlap=_DISTANT_OVERLAP,
            unanswered=_UNANSWERED,
            seed=seed,
        )
        made = [(distant.reading_of(match, tokenizer), match.answered) for match in matches]
        good = [one for one, answered in made if _fits(one) and (len(one.spans) > 0) == answered]
        _logger.info("%s: %d questions, %d readings", path.name, len(questions), len(good))
        readings += good
    return readings


def trainable(questions: Sequence[Question]) -> list[Question]:
    """Without the tenth of CuratedTREC that is kept for judging, as it has no file for that."""
    return [q for q in questions if not (q.is_regex and is_development(q.text))]


def cloze_readings(
    articles: Sequence[Article], tokenizer: WordPiece, *, seed: int, count: int = 72_000
) -> list[Reading]:
    """Clauses that lack a span beside chunks that have it, as the stage `reading` makes them."""
    order = np.random.default_rng(seed).permutation(len(articles)).tolist()
    with TemporaryDirectory() as folder:
        place, chunks = Path(folder), 0
        found: list[Document] = []
        for number in order:
            title, text = articles[number].title, articles[number].text
            found.append(Document(id=str(number), title=title, text=text, source="wiki"))
            chunks += 1 + len(text) // _CHARACTERS
            if chunks > count:  # each gives two readings or so
                break
        update_store(place, add=found, tokenizer=tokenizer, chunking=_CHUNKING)
        store = ChunkStore.open(place)
        table = SpanTable.build(store, RuleTagger(terms="never"), max_masks=10, progress=Silent())
        spans = RecurringSpans(store, table, seed=seed, progress=Silent())
        return [
            # Spans of the package stop one token further on.
            Reading(
                one.query_ids,
                np.array(store.body_ids(one.row)),
                (one.spans - [0, 1]).astype(np.int32),
            )
            for one in spans.batch(0, min(count, len(spans)))
        ]


def _fits(reading: Reading) -> bool:
    return len(reading.body) <= _MAX_BODY


def saved(path: Path, gathered: Callable[[], list[Reading]]) -> list[Reading]:
    """What a file holds; where there is none, it is gathered and written first."""
    if not path.exists():
        readings = gathered()
        save_readings(readings, path)
        answered = sum(len(reading.spans) > 0 for reading in readings)
        tokens = sum(map(len, readings)) / max(1, len(readings))
        _logger.info(
            "%s: %d readings, %d answered, %.0f tokens", path, len(readings), answered, tokens
        )
    return load_readings(path)


def main() -> None:
    """Gathers readings of one kind."""
    args = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    tokenizer = WordPiece.load(package_folder())
    kept = SquadSplit.read(args.squad).kept_titles
    articles = [article for article in read_articles(args.wiki) if article.title not in kept]

    def gathered() -> list[Reading]:
        if args.kind == "distant":
            return distant_readings(args.qa, articles, tokenizer, seed=args.seed)
        return cloze_readings(articles, tokenizer, seed=args.seed, count=args.count)

    saved(args.out, gathered)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("kind", choices=("distant", "cloze"))
    add("--wiki", type=Path, nargs="+", required=True)
    add("--squad", type=Path, nargs="+", required=True, help="whose kept articles are left out")
    add("--qa", type=Path, nargs="*", default=[])
    add("--out", type=Path, required=True)
    add("--count", type=int, default=72_000, help="readings of cloze")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
