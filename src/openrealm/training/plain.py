"""The objectives without retrieval: plain masked LM for the reader, inverse cloze for the embedder;
knows nothing of an index.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from openrealm.data.pretraining import ClozePairs, MaskedTexts
from openrealm.models import likelihood
from openrealm.retrieval.batches import cloze_inputs, masked_text_inputs
from openrealm.retrieval.live_index import LiveIndex
from openrealm.settings import IctConfig, MlmConfig
from openrealm.training.alarms import Alarm, NoAlarm
from openrealm.training.stage import IndexUse, Ingredients, Mean, StepResult

_MASK_RATE = 0.15  # of the words (BERT)
_REMOVAL = 0.9  # probability that a sentence is taken out of its chunk (ict_dataset.py)


class MlmStage:
    """-log p(y_j|x) of random masked words, no retrieval: BERT's objective."""

    name = "mlm"
    index_use = IndexUse.NONE

    def __init__(self, parts: Ingredients, config: MlmConfig) -> None:
        self._parts, self._config = parts, config
        self.steps, self.batch_size = config.steps, config.batch_size
        self._texts = MaskedTexts(
            parts.texts,
            seed=parts.seed,
            mask_rate=_MASK_RATE,
            max_tokens=parts.encoder.templates.joint_tokens - 2,
        )

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """The reader alone."""
        return [(self._parts.model.reader.masked_lm, self._config.lr)]

    def alarm(self) -> Alarm:
        """There is no index to lose anything from."""
        return NoAlarm()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Cross-entropy at the masked positions."""
        parts = self._parts
        texts = parts.local(self._texts.batch(step, self.batch_size))
        inputs, positions, targets, real = masked_text_inputs(texts, parts.encoder.templates)
        with parts.encoder.precision():
            logits = parts.model.reader.masked_logits(
                inputs.to(parts.device),
                positions.to(parts.device),
                real.to(parts.device),
            )
        wanted = targets[real].to(parts.device)
        right = (logits.argmax(dim=-1) == wanted).float()
        return StepResult(
            loss=-likelihood.log_p_y_given_zx(logits.float(), wanted).mean(),
            weight=len(wanted),
            metrics={"mlm/accuracy": Mean.of(right)},
            num_tokens=int(inputs.lengths.sum()),
            num_examples=len(inputs),
        )


class IctStage:
    """Inverse cloze: a sentence retrieves the chunk that it was taken from, among the batch's."""

    name = "ict"
    index_use = IndexUse.NONE

    def __init__(self, parts: Ingredients, config: IctConfig) -> None:
        self._parts, self._config = parts, config
        self.steps, self.batch_size = config.steps, config.batch_size
        # The knowledge corpus is what the embedder has to know.
        self._pairs = ClozePairs(parts.corpus, seed=parts.seed, removal=_REMOVAL)

    def trained(self) -> Sequence[tuple[nn.Module, float]]:
        """Both towers."""
        return [(self._parts.model.embedder, self._config.lr)]

    def alarm(self) -> Alarm:
        """There is no index to lose anything from."""
        return NoAlarm()

    def step(self, step: int, live: LiveIndex | None) -> StepResult:
        """Softmax cross-entropy over the chunks of the batch, those of all processes."""
        parts = self._parts
        everyones = self._pairs.batch(step, self.batch_size)
        pairs, local = parts.local(everyones), parts.processes.local_slice(len(everyones))
        queries, chunks = cloze_inputs(pairs, parts.corpus, parts.encoder.templates)
        rows = torch.tensor([pair.row for pair in everyones])
        own = torch.arange(local.start, local.stop)
        # A small corpus may show a chunk twice in a batch: its copy is no negative.
        allowed = (rows[own][:, None] != rows) | (own[:, None] == torch.arange(len(rows)))
        with parts.encoder.precision():
            query_emb = parts.model.embedder.embed_queries(queries.to(parts.device))
            chunk_emb = parts.model.embedder.embed_chunks(chunks.to(parts.device))
        query_emb = query_emb.float()
        chunk_emb = parts.processes.all_gather_with_gradient(chunk_emb.float())
        loss = likelihood.in_batch_cross_entropy(
            query_emb, chunk_emb, own.to(parts.device), allowed.to(parts.device)
        )
        right = ((query_emb @ chunk_emb.T).argmax(dim=1).cpu() == own).float()
        return StepResult(
            loss=loss,
            weight=len(pairs),
            metrics={"ict/accuracy": Mean.of(right)},
            num_tokens=int(queries.lengths.sum() + chunks.lengths.sum()),
            num_examples=len(pairs),
        )
