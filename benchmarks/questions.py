"""Questions that fine-tuning learns from in a processor second: ORQA's protocol, reading alone.

    openrealm ingest paragraphs.jsonl --to ws
    python benchmarks/questions.py squad.json ws --batch 32

Both begin with the same first weights (``minilm``, which reads and retrieves), read with a BERT of
the same width over the same corpus, and are given the same questions without their contexts, so
that both learn from what they find. Whole steps, optimiser included, in turn, on one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch

from openrealm.data.qa import Question, read_questions
from openrealm.models.pretrained import start_model, tower_span_reader
from openrealm.progress import Silent
from openrealm.runs.folders import WorkspaceFolder, open_corpus
from openrealm.runs.loaded import load_untrained
from openrealm.runs.parts import make_loader
from openrealm.settings import preset_settings
from openrealm.training.fine_tuning import QaStage
from openrealm.training.reading import ReadingStage
from openrealm.training.stage import Ingredients


def main() -> None:
    """Prints questions per processor second of both protocols."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8, help="questions of a step of reading")
    parser.add_argument("--bf16", action="store_true", help="for both")
    args = parser.parse_args()
    torch.set_num_threads(1)
    questions = [replace(q, context=None) for q in read_questions(args.questions) if q.answers]
    sides = {name: _side(name, args, questions) for name in ("orqa", "reading")}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(args.rounds + 1):
        for name, step in sides.items():
            rate = step(number)
            if number:
                rates[name].append(rate)
    for name, found in rates.items():
        middle = statistics.median(found)
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"{name:8} {middle:6.2f} questions a processor second ({spread})")
    ratio = statistics.median(rates["reading"]) / statistics.median(rates["orqa"])
    print(f"reading / orqa: {ratio:.1f}")


def _side(
    name: str, args: argparse.Namespace, questions: Sequence[Question]
) -> Callable[[int], float]:
    """One protocol over a workspace: a function of the step that gives questions per second."""
    folder = WorkspaceFolder(args.workspace)
    corpus = open_corpus(folder)
    loaded = load_untrained(folder, corpus)
    model, config = loaded.model, replace(preset_settings("adapt").qa, batch_size=8)
    load = make_loader(folder, loaded.settings, corpus, model, progress=Silent())
    live = load(loaded.snapshot(Silent()))
    model.embedder.unshare()
    encoder = replace(loaded.encoder, autocast=torch.bfloat16 if args.bf16 else None)
    parts = Ingredients(model=model, encoder=encoder, corpus=corpus, texts=corpus, seed=0)
    stage: QaStage | ReadingStage
    if name == "orqa":
        wide = replace(loaded.settings.model, own_reader=False, copy_head=False, token_prior=False)
        tokenizer = corpus.tokenizer
        model.reader = start_model(
            loaded.settings.start,
            wide,
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            mask_id=tokenizer.mask_id,
            seed=0,
        ).model.reader
        stage = QaStage(parts, config, questions)
    else:
        model.span_reader = tower_span_reader(model.embedder, seed=0)
        stage = ReadingStage(parts, replace(config, batch_size=args.batch), questions)
    model.train()
    groups = [{"params": list(module.parameters()), "lr": lr} for module, lr in stage.trained()]
    optimizer = torch.optim.AdamW(groups, fused=True)

    def step(number: int) -> float:
        began = time.process_time()
        result = stage.step(number, live)
        result.loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return result.num_examples / (time.process_time() - began)

    return step


if __name__ == "__main__":
    main()
