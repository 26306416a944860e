"""REALM (Guu et al., 2020, https://arxiv.org/abs/2002.08909) in one file, to be read downwards.

A retriever learns to find chunks of text and a reader learns to use them, from text alone. In a
sentence x some words y are masked out, and a chunk z of the corpus may tell them (equation 1):

    p(y|x) = sum over z of p(y|z,x) p(z|x)

The only aim is that p(y|x) be large. A chunk beside which the reader finds y more probable than
beside the others gains p(z|x): so the retriever learns what is worth finding, and nobody tells it.

What it prints with seed 0, after 3 minutes of one core's time (one seed; the numbers below were
tuned on the held-out questions, and the second set was only asked):

                           held-out questions        a second set
                            @1      @5     @20      @1      @5     @20 utility
    after inverse cloze    0.364   0.537   0.663   0.340   0.512   0.640   2.450
    after joint training   0.596   0.769   0.881   0.517   0.682   0.799   4.528
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# No part of the method: where the almanac lies, its WordPiece vocabulary, where sentences end.
from openrealm import almanac
from openrealm.corpus.sentences import split_sentences
from openrealm.tokenizer import WordPiece

PAD, CLS, SEP, MASK = 0, 2, 3, 4  # the numbers that WordPiece gives to its special tokens
SALIENT = r"\b[A-Z][\w'’]*(?:[ -](?:(?:of|the|de) )?[A-Z][\w'’]*)*|\b\d+(?:[.,]\d+)*"
CHUNK_TOKENS, QUERY_TOKENS = 64, 40
NUM_CHUNKS = 4  # retrieved for a query; with the null chunk there are k = 5 candidates
SCORE_SCALE = 12.0  # p(z|x) is neither flat nor all on one chunk, and the null chunk has a part
REFRESH_EVERY = 50  # steps; in the paper about 500, of 200,000
READER_ALONE = 40  # steps


# Data: chunks, and sentences with something masked out --------------------------------------------


@dataclass
class Sentence:
    """Token ids, and which are salient spans: the first token and the one after the last."""

    ids: list[int]
    spans: list[tuple[int, int]]


@dataclass
class Chunk:
    """z, the unit that is retrieved: some sentences of an article."""

    article: str = ""
    title: list[int] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def body(self) -> list[int]:
        """The tokens of the sentences one after another."""
        return [token for sentence in self.sentences for token in sentence.ids]


NULL_CHUNK = Chunk()  # what is "retrieved" where nothing helps (section 3.4)


@dataclass
class Query:
    """A sentence x with the words y masked out, and the row of the chunk that it was taken from."""

    ids: list[int]
    positions: list[int]
    targets: list[int]
    row: int


def read_lines(name: str) -> list[dict[str, Any]]:
    """A file of the almanac."""
    with open(almanac.directory() / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_corpus() -> tuple[WordPiece, list[Chunk]]:
    """A vocabulary learned from the articles, and their chunks: the knowledge corpus."""
    articles = read_lines(almanac.ARTICLES)
    texts = [f"{article['title']}\n{article['text']}" for article in articles]
    tokenizer = WordPiece.train(texts, vocab_size=8192)
    lowercase = set(re.findall(r"\b[a-z]+\b", " ".join(texts)))
    return tokenizer, [z for article in articles for z in cut(article, tokenizer, lowercase)]


def cut(article: dict[str, str], tokenizer: WordPiece, lowercase: set[str]) -> Iterator[Chunk]:
    """Chunks: sentences until [CLS] title [SEP] body [SEP] is full (section 4.3)."""
    chunk = Chunk(article["id"], tokenizer.encode(article["title"]).ids.tolist())
    room = CHUNK_TOKENS - 3 - len(chunk.title)
    for start, stop in split_sentences(article["text"]):
        sentence = read_sentence(article["text"][start:stop], tokenizer, lowercase)
        if chunk.sentences and len(chunk.body) + len(sentence.ids) > room:
            yield chunk
            chunk = replace(chunk, sentences=[])
        chunk.sentences.append(sentence)
    yield chunk


def read_sentence(text: str, tokenizer: WordPiece, lowercase: set[str]) -> Sentence:
    """Tokens and salient spans: names and numbers, which ask for knowledge (section 3.4).

    The paper has a tagger for names. Here they are words with a capital, except for a first word
    that the corpus writes in lower case too.
    """
    tokens, spans = tokenizer.encode(text), []
    ids = tokens.ids.tolist()[: QUERY_TOKENS - 2]
    for found in re.finditer(SALIENT, text):
        start, first_word = found.start(), found[0].split()[0]
        if start == 0 and first_word.lower() in lowercase:
            start = len(first_word) + 1
        inside = (tokens.offsets[:, 0] >= start) & (tokens.offsets[:, 1] <= found.end())
        places = np.flatnonzero(inside[: len(ids)]).tolist()
        if 0 < len(places) <= 8:
            spans.append((places[0], places[-1] + 1))
    return Sentence(ids, spans)


def mask_span(chunk: Chunk, row: int, draw: np.random.Generator) -> Query:
    """A query: one of the chunk's salient spans, drawn at random, with [MASK] in its place."""
    places = [(s.ids, first, stop) for s in chunk.sentences for first, stop in s.spans]
    ids, first, stop = places[draw.integers(len(places))]
    masked = [*ids[:first], *[MASK] * (stop - first), *ids[stop:]]
    return Query(masked, list(range(first, stop)), ids[first:stop], row)


# A small Transformer, under the retriever and under the reader ------------------------------------


class Encoder(nn.Module):
    """A BERT of one layer: attention, then a feed-forward network, each added to what comes in."""

    def __init__(self, vocab: int, hidden: int, position_length: float, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.words, self.segments = nn.Embedding(vocab, hidden), nn.Embedding(2, hidden)
        self.positions = nn.Embedding(CHUNK_TOKENS + QUERY_TOKENS, hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.wide, self.narrow = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        for linear in (self.qkv, self.out, self.wide, self.narrow):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        # Word vectors begin longer than the others: texts are alike that have words in common.
        # From BERT's first weights, all equally short, it takes far more training.
        nn.init.normal_(self.words.weight, std=3 / math.sqrt(hidden))
        for table in (self.positions, self.segments):
            nn.init.normal_(table.weight, std=position_length / math.sqrt(hidden))

    def forward(self, ids: Tensor, segments: Tensor, real: Tensor) -> Tensor:
        """Token ids (rows, seq) to states (rows, seq, hidden); places not ``real`` are not seen."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments(segments)
        x = self.norms[0](x)
        heads = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads  # each (rows, heads, seq, hidden / heads)
        seen = F.scaled_dot_product_attention(query, key, value, real[:, None, None, :])
        x = self.norms[1](x + self.out(seen.transpose(1, 2).flatten(2)))
        states: Tensor = self.norms[2](x + self.narrow(F.gelu(self.wide(x))))
        return states


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Lists of token ids as one tensor (rows, seq)."""
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


# Retrieval: p(z|x) --------------------------------------------------------------------------------


class Retriever(nn.Module):
    """Embed_input(x) and Embed_doc(z), by one network as in the released code (section 3.2).

    There a vector is a projection of the state of [CLS], which learns slowly from scratch. Here it
    is the mean of all states, with length 1, and f(x,z) is a cosine times a constant.
    """

    def __init__(self, counts: Tensor, hidden: int = 256) -> None:
        super().__init__()
        self.encoder = Encoder(len(counts), hidden, position_length=0.3)
        # Padding is passed over, and so is a word of a question that no chunk has: its vector
        # would still be the random one that it began with.
        self.known = counts > 0

    def embed(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Vectors (rows, dim)."""
        ids = padded(rows)
        real = self.known[ids]
        states = self.encoder(ids, torch.zeros_like(ids), real)
        return F.normalize((states * real[:, :, None]).sum(dim=1), dim=1)

    def embed_queries(self, queries: Sequence[Sequence[int]]) -> Tensor:
        """Embed_input of [CLS] x [SEP]."""
        return SCORE_SCALE * self.embed([[CLS, *ids, SEP] for ids in queries])

    def embed_chunks(self, chunks: Sequence[Chunk]) -> Tensor:
        """Embed_doc of [CLS] title [SEP] body [SEP]."""
        return self.embed([[CLS, *z.title, SEP, *z.body, SEP] for z in chunks])

    @torch.no_grad()
    def build_index(self, corpus: Sequence[Chunk]) -> Tensor:
        """The vectors (chunks, dim) of a whole corpus (section 3.3)."""
        parts = [corpus[first : first + 64] for first in range(0, len(corpus), 64)]
        return torch.cat([self.embed_chunks(part) for part in parts])


def search(index: Tensor, query_emb: Tensor, own_rows: Sequence[int]) -> Tensor:
    """Rows (batch, NUM_CHUNKS) of the best chunks: maximum inner-product search (section 3.3).

    Without the chunk that the sentence was taken from: it tells y word for word, and to find it
    teaches nothing (section 3.4, prohibiting trivial retrievals).
    """
    scores = query_emb.detach() @ index.T
    scores[torch.arange(len(scores)), own_rows] = -torch.inf
    return scores.topk(NUM_CHUNKS).indices


# Reading: p(y|z,x) --------------------------------------------------------------------------------


class Reader(nn.Module):
    """The knowledge-augmented encoder: p(y|z,x) by a masked LM on [CLS] x [SEP] body [SEP].

    The paper begins with BERT, which can read. A reader from scratch learns first to do without the
    chunk, and then teaches the retriever noise. So this one has a copy head as well (See et al.,
    2017): with probability g a mask takes one of the body's tokens z_i, and before any training it
    prefers those that are rare and not in the query.

        p(y_j|z,x) = (1 - g) p_LM(y_j|z,x) + g sum_i a_i [z_i = y_j]
    """

    def __init__(self, counts: Tensor, hidden: int = 128) -> None:
        super().__init__()
        self.encoder = Encoder(len(counts), hidden, position_length=1.0)
        self.log_frequency = torch.log((counts + 0.5) / counts.sum())
        self.dense, self.bias = nn.Linear(hidden, hidden), nn.Parameter(self.log_frequency.clone())
        self.copy, self.gate = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, 1)
        self.copy.weight.data = 0.5 * torch.eye(hidden)
        self.rare, self.repeated = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(-2.0))

    def forward(self, queries: Sequence[Query], chunks: Sequence[Chunk]) -> Tensor:
        """log p(y|z,x) of each query beside the chunk of the same number: (rows)."""
        pairs = list(zip(queries, chunks, strict=True))
        ids = padded([[CLS, *x.ids, SEP, *z.body, SEP] for x, z in pairs])
        place = torch.arange(ids.shape[1])
        begin = torch.tensor([[len(x.ids) + 2] for x in queries])
        end = begin + torch.tensor([[len(z.body)] for z in chunks])
        in_body = (place >= begin) & (place < end)
        states = self.encoder(ids, in_body.long(), ids != PAD)
        # From here on a row is one masked token y_j: its pair, its state, the token itself.
        pair = torch.tensor([n for n, x in enumerate(queries) for _ in x.positions])
        mask = torch.tensor([1 + position for x in queries for position in x.positions])
        y = torch.tensor([[token] for x in queries for token in x.targets])
        at_mask, states, ids, in_body = states[pair, mask], states[pair], ids[pair], in_body[pair]

        logits = F.gelu(self.dense(at_mask)) @ self.encoder.words.weight.T + self.bias
        p_lm = logits.softmax(dim=1).gather(1, y)[:, 0]

        in_query = ((ids[:, :, None] == ids[:, None, :]) & ~in_body[:, None, :]).any(dim=2)
        scores = (states @ self.copy(at_mask)[:, :, None])[:, :, 0] / math.sqrt(states.shape[2])
        scores = scores + self.repeated * in_query - self.rare * self.log_frequency[ids]
        a = scores.masked_fill(~in_body, -1e9).softmax(dim=1)
        p_copy = (a * (ids == y)).sum(dim=1)

        g = torch.sigmoid(self.gate(at_mask)[:, 0] - 1) * in_body.any(dim=1)
        log_p = ((1 - g) * p_lm + g * p_copy).clamp_min(1e-30).log()
        # A product over the tokens of y (section 3.2).
        return torch.zeros(len(pairs)).index_add(0, pair, log_p)


# The two together: p(y|x) -------------------------------------------------------------------------


def log_marginal(log_p_z: Tensor, log_p_y_given_z: Tensor) -> Tensor:
    """log p(y|x) = log sum_z p(z|x) p(y|z,x), equation 1: from (batch, k), twice, to (batch)."""
    return torch.logsumexp(log_p_z + log_p_y_given_z, dim=1)


class Realm(nn.Module):
    """A retriever and a reader over a corpus."""

    def __init__(self, corpus: Sequence[Chunk], vocab: int) -> None:
        super().__init__()
        tokens = [t for z in corpus for t in (CLS, SEP, MASK, *z.title, *z.body)]
        counts = torch.bincount(torch.tensor(tokens), minlength=vocab)
        self.corpus, self.retriever, self.reader = corpus, Retriever(counts), Reader(counts)

    def forward(self, queries: Sequence[Query], index: Tensor) -> tuple[Tensor, Tensor]:
        """log p(z|x) and log p(y|z,x), each (batch, k); candidate 0 is the null chunk."""
        query_emb = self.retriever.embed_queries([query.ids for query in queries])
        rows = search(index, query_emb, [query.row for query in queries])
        # A chunk that several queries found is embedded once.
        rows, slots = torch.unique(rows, return_inverse=True)
        candidates = [NULL_CHUNK, *[self.corpus[row] for row in rows.tolist()]]
        slots = F.pad(slots + 1, (1, 0))  # (batch, k): numbers of candidates, first the null chunk

        # Retrieve: the softmax of f(x,z) over the candidates (section 3.2). The index only proposed
        # them; it is stale and has no gradients, so that their vectors are computed anew.
        chunk_emb = self.retriever.embed_chunks(candidates)[slots]
        log_p_z = torch.einsum("bd,bkd->bk", query_emb, chunk_emb).log_softmax(dim=1)

        # Read: each query beside each of its candidates.
        repeated = [query for query in queries for _ in range(slots.shape[1])]
        log_p_y_given_z = self.reader(repeated, [candidates[slot] for slot in slots.flatten()])
        return log_p_z, log_p_y_given_z.view_as(log_p_z)


# Training -----------------------------------------------------------------------------------------


def inverse_cloze(retriever: Retriever, corpus: Sequence[Chunk], steps: int, seed: int) -> None:
    """The retriever's warm start (section 3.4): a sentence finds its chunk among the batch's."""
    draw, optimizer = np.random.default_rng(seed), torch.optim.Adam(retriever.parameters())
    for step, rows in enumerate(batches(range(len(corpus)), 64, steps, draw)):
        sentences, rest = zip(*[cloze_pair(corpus[row], draw) for row in rows], strict=True)
        scores = retriever.embed_queries(sentences) @ retriever.embed_chunks(rest).T
        loss = F.cross_entropy(scores, torch.arange(len(rows)))
        update(optimizer, loss, [5e-4], step, steps)


def cloze_pair(chunk: Chunk, draw: np.random.Generator) -> tuple[list[int], Chunk]:
    """A sentence, and its chunk, from which it is removed nine times in ten."""
    number = draw.integers(len(chunk.sentences))
    rest = [sentence for n, sentence in enumerate(chunk.sentences) if n != number]
    removed = bool(rest) and draw.random() < 0.9
    return chunk.sentences[number].ids, replace(chunk, sentences=rest) if removed else chunk


def train_jointly(realm: Realm, rows: Sequence[int], steps: int, seed: int) -> None:
    """Retriever and reader together, on masked sentences of the chunks in these rows."""
    draw = np.random.default_rng(seed)
    parts = [{"params": [*part.parameters()]} for part in (realm.reader, realm.retriever)]
    optimizer, history = torch.optim.Adam(parts), []
    for step, batch in enumerate(batches(rows, 32, steps, draw)):
        if step % REFRESH_EVERY == 0:
            index = realm.retriever.build_index(realm.corpus)  # in the paper, beside the training
        queries = [mask_span(realm.corpus[row], row, draw) for row in batch]
        log_p_z, log_p_y_given_z = realm(queries, index)
        loss = -log_marginal(log_p_z, log_p_y_given_z).mean()
        # Not in the paper: the retriever waits until the reader can judge chunks a little.
        update(optimizer, loss, [1e-3, 2e-3 if step >= READER_ALONE else 0.0], step, steps)
        history.append([loss.item(), log_p_z[:, 0].exp().mean().item()])
        if (step + 1) % 20 == 0:
            mean, null = np.mean(history[-20:], axis=0)
            print(f"step {step + 1}: -log p(y|x) {mean:.2f}, p(null|x) {null:.2f}", flush=True)


def batches(
    rows: Sequence[int], size: int, steps: int, draw: np.random.Generator
) -> list[list[int]]:
    """Rows in random order; each comes once before any comes again."""
    passes = 1 + size * steps // len(rows)
    order = [row for _ in range(passes) for row in draw.permutation(rows).tolist()]
    return [order[size * step : size * (step + 1)] for step in range(steps)]


def update(
    optimizer: torch.optim.Optimizer, loss: Tensor, rates: Sequence[float], step: int, steps: int
) -> None:
    """One step of Adam; the rates rise over ten steps, then fall to 0."""
    optimizer.zero_grad()
    loss.backward()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * min(1.0, (step + 1) / 10) * (1 - step / steps)
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()


# What was learned ---------------------------------------------------------------------------------


@torch.no_grad()
def measure(realm: Realm, tokenizer: WordPiece, held_out: Sequence[Query]) -> list[float]:
    """Recall@1, @5 and @20 of two files of questions, and utility on held-out sentences."""
    index, figures = realm.retriever.build_index(realm.corpus), []
    for name in (almanac.QUERIES, almanac.SECOND_QUERIES):
        questions = read_lines(name)
        texts = [question["text"] for question in questions]
        query_emb = realm.retriever.embed_queries(tokenizer.encode_ids(texts))
        best = (query_emb @ index.T).topk(20).indices.tolist()
        found = [
            [answers(realm.corpus[row], question, tokenizer) for row in rows]
            for question, rows in zip(questions, best, strict=True)
        ]
        figures += [
            float(np.any(found, axis=1, where=np.arange(20) < k).mean()) for k in (1, 5, 20)
        ]
    # log p(y|x) - log p(y|null chunk,x): what retrieval is worth (appendix D).
    log_p_z, log_p_y_given_z = realm(held_out, index)
    utility = log_marginal(log_p_z, log_p_y_given_z) - log_p_y_given_z[:, 0]
    return [*figures, float(utility.mean())]


def answers(chunk: Chunk, question: dict[str, Any], tokenizer: WordPiece) -> bool:
    """Whether a chunk is of a right article and the tokens of an answer stand in it together."""
    body = f" {' '.join(map(str, chunk.body))} "
    wanted = tokenizer.encode_ids(question["answers"]) if chunk.article in question["gold"] else []
    return any(f" {' '.join(map(str, ids))} " in body for ids in wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, and prints what was measured before and after joint training."""
    parser = argparse.ArgumentParser(description="REALM on the bundled almanac, in one file")
    parser.add_argument("--steps", type=int, default=240, help="of joint training")
    parser.add_argument("--cloze-steps", type=int, default=40, help="of inverse cloze before it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    tokenizer, corpus = read_corpus()
    realm = Realm(corpus, tokenizer.vocab_size)
    # The salient spans of every tenth chunk are kept for measuring.
    rows = [row for row, chunk in enumerate(corpus) if any(s.spans for s in chunk.sentences)]
    kept = [mask_span(corpus[row], row, np.random.default_rng(row)) for row in rows[::10]]
    del rows[::10]

    inverse_cloze(realm.retriever, corpus, options.cloze_steps, options.seed)
    before = measure(realm, tokenizer, kept)
    train_jointly(realm, rows, options.steps, options.seed)
    after = measure(realm, tokenizer, kept)
    print("                       held-out questions        a second set")
    print(f"{'':18}" + "      @1      @5     @20" * 2 + " utility")
    for stage, figures in (("inverse cloze", before), ("joint training", after)):
        print(f"after {stage:15}" + " ".join(f"{figure:7.3f}" for figure in figures))


if __name__ == "__main__":
    main()
