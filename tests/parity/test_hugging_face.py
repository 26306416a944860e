"""Our modules against what the Hugging Face REALM classes computed from the same weights.

``data`` holds tiny random models of transformers 4.30.2 (the last versions that had REALM), their
inputs and outputs, in float32 with dropout 0. The map of names is written out here, as a second
opinion to any importer of such checkpoints.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from openrealm.models import likelihood
from openrealm.models.embedder import Embedder
from openrealm.models.inputs import Inputs
from openrealm.models.pretrained import build_model
from openrealm.models.reader import CandidateSpans, Reader, body_mask
from openrealm.models.realm import MaskedBatch, Realm
from openrealm.settings import BertShape, EmbedderConfig, ModelConfig, SpanHeadConfig

DATA = Path(__file__).parent / "data"
RTOL = 1e-5
# Where large terms cancel, float32 sums in another order differ by this part of the largest value.
ATOL = 1e-6

EMBEDDER_NAMES = {
    "realm.": "bert.",
    "cls.dense.": "dense.",
    "cls.LayerNorm.": "layer_norm.",
}
READER_NAMES = {
    "realm.": "masked_lm.bert.",
    "cls.": "masked_lm.cls.",
    "qa_outputs.layer_normalization.": "span_head.layer_norm.",
    "qa_outputs.": "span_head.",
}


@dataclass(frozen=True)
class Case:
    """One reference model with its inputs and outputs."""

    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    arrays: dict[str, npt.NDArray[Any]]

    @classmethod
    def load(cls, name: str) -> Case:
        with np.load(DATA / f"{name}.io.npz", allow_pickle=False) as arrays:
            return cls(
                config=json.loads((DATA / f"{name}.config.json").read_text(encoding="utf-8")),
                weights=load_file(DATA / f"{name}.weights.safetensors"),
                arrays=dict(arrays),
            )

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])

    def inputs(self, prefix: str = "in.") -> Inputs:
        """The padded rows ``(rows, seq)``, leading axes flattened."""
        parts = [
            self.tensor(f"{prefix}{name}").flatten(0, -2)
            for name in ("input_ids", "token_type_ids", "attention_mask")
        ]
        return Inputs(token_ids=parts[0], segment_ids=parts[1], attention_mask=parts[2].bool())

    def close(self, found: torch.Tensor, name: str) -> None:
        wanted = self.tensor(name)
        close(found.reshape(wanted.shape), wanted)

    def build(self, *, shared: bool = True) -> tuple[Embedder, Reader]:
        config = self.config
        shape = BertShape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            max_positions=config["max_position_embeddings"],
            activation=config["hidden_act"],
            layer_norm_eps=config["layer_norm_eps"],
            dropout=0.0,
        )
        model = build_model(
            ModelConfig(
                query_tokens=10,
                bert=shape,
                embedder=EmbedderConfig(
                    dim=config["retriever_proj_size"],
                    layer_norm_eps=config["layer_norm_eps"],
                    shared=shared,
                ),
                span_head=SpanHeadConfig(
                    hidden=config["span_hidden_size"],
                    max_width=config["max_span_width"],
                    layer_norm_eps=config["reader_layer_norm_eps"],
                ),
            ),
            vocab_size=config["vocab_size"],
            pad_id=config["pad_token_id"],
            seed=0,
        )
        model.eval()
        return model.embedder, model.reader


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    atol = ATOL * max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found.detach(), wanted, rtol=RTOL, atol=atol)


def fill(
    module: nn.Module, weights: dict[str, torch.Tensor], names: dict[str, str], prefix: str = ""
) -> None:
    """Puts reference weights into a module of ours; every one of ours must be given."""
    own = module.state_dict()
    given = set()
    for name, value in weights.items():
        if not name.startswith(prefix) or "position_ids" in name:
            continue
        rest = name.removeprefix(prefix)
        start = next((old for old in names if rest.startswith(old)), None)
        if start is None:
            continue
        ours = names[start] + rest.removeprefix(start)
        if ours in own:
            own[ours].copy_(value)
            given.add(own[ours].data_ptr())
    assert [name for name, value in own.items() if value.data_ptr() not in given] == []


def test_the_embedder_computes_the_reference_vectors() -> None:
    case = Case.load("embedder")
    embedder, _ = case.build()
    fill(embedder.chunk_tower, case.weights, EMBEDDER_NAMES)
    inputs = case.inputs()
    case.close(embedder.embed_chunks(inputs), "out.projected_score")
    case.close(embedder.embed_queries(inputs), "out.projected_score")
    bert, packed = embedder.chunk_tower.bert, inputs.packed()
    assert bert.pooler is not None
    case.close(bert.pooler(bert(packed, packed.starts)), "out.pooler_output")
    real = inputs.attention_mask
    layers = [bert.embeddings(packed)]
    for layer in bert.encoder.layer:
        layers.append(layer(layers[-1], packed))
    for found, wanted in zip(layers, case.tensor("out.hidden_states"), strict=True):
        close(packed.padded(found)[real], wanted[real])
    close(packed.padded(bert(packed))[real], case.tensor("out.last_hidden_state")[real])


@pytest.mark.parametrize("name", ["scorer", "scorer_unshared"])
def test_relevance_scores_are_those_of_the_reference(name: str) -> None:
    case = Case.load(name)
    embedder, _ = case.build(shared=name == "scorer")
    fill(embedder.chunk_tower, case.weights, EMBEDDER_NAMES, "embedder.")
    if name == "scorer_unshared":
        fill(embedder.query_tower, case.weights, EMBEDDER_NAMES, "query_embedder.")
    query_emb = embedder.embed_queries(case.inputs())
    chunk_emb = embedder.embed_chunks(case.inputs("in.candidate_"))
    case.close(query_emb, "out.query_score")
    case.close(chunk_emb, "out.candidate_score")
    scores = likelihood.relevance_scores(query_emb, chunk_emb.view(len(query_emb), 3, -1))
    case.close(scores, "out.relevance_score")


class TestEncoder:
    """The knowledge-augmented encoder: masked-LM logits and the marginal likelihoods."""

    @pytest.fixture()
    def case(self) -> Case:
        return Case.load("encoder")

    @pytest.fixture()
    def reader(self, case: Case) -> Reader:
        _, reader = case.build()
        with torch.no_grad():
            fill_without_span_head(reader, case)
        return reader

    def read(self, case: Case, reader: Reader) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(y_j|z,x) ``(batch, k, masks)`` and which masks are real."""
        batch, k = case.arrays["in.relevance_score"].shape
        chosen = case.tensor("in.mlm_mask").bool()
        width = int(chosen.sum(dim=1).max())
        positions = torch.zeros(batch, width, dtype=torch.long)
        real = torch.zeros(batch, width, dtype=torch.bool)
        for row in range(batch):
            places = chosen[row].nonzero().flatten()
            positions[row, : len(places)] = places
            real[row, : len(places)] = True
        targets = case.tensor("in.labels").gather(1, positions).masked_fill(~real, 0)
        everywhere = torch.ones(batch * k, width, dtype=torch.bool)
        log_p = reader.masked_log_p(
            case.inputs(),
            positions.repeat_interleave(k, 0),
            everywhere,
            targets.repeat_interleave(k, 0),
        )
        return log_p.view(batch, k, width).masked_fill(~real[:, None], 0.0), real

    def test_logits_at_chosen_places_are_those_of_all_places(
        self, case: Case, reader: Reader
    ) -> None:
        inputs, wanted = case.inputs(), case.tensor("out.logits")
        real = inputs.attention_mask
        places = torch.arange(real.shape[1]).expand(6, -1)
        close(reader.masked_logits(inputs, places, real), wanted.flatten(0, -3)[real])

    def test_the_marginal_of_each_token(self, case: Case, reader: Reader) -> None:
        log_p_y_given_z, real = self.read(case, reader)
        log_p_z = torch.log_softmax(case.tensor("in.relevance_score"), dim=1)
        log_p_y = likelihood.marginal_per_token(log_p_z, log_p_y_given_z)
        loss = likelihood.per_token_loss(log_p_y, real)
        case.close(loss, "ref.loss_per_token_marginal")
        case.close(loss, "out.loss_with_mlm_mask")
        assert loss.item() == pytest.approx(7.27889, rel=1e-5)

    def test_the_marginal_of_the_span(self, case: Case, reader: Reader) -> None:
        log_p_y_given_z, real = self.read(case, reader)
        log_p_z = torch.log_softmax(case.tensor("in.relevance_score"), dim=1)
        log_p_y = likelihood.marginal_per_span(log_p_z, log_p_y_given_z, real)
        case.close(-log_p_y.mean(), "ref.loss_joint_product_mean_over_examples")
        case.close(likelihood.per_span_loss(log_p_y, real), "ref.loss_joint_product_over_masks")

    def test_retrieval_utility(self, case: Case, reader: Reader) -> None:
        log_p_y_given_z, real = self.read(case, reader)
        log_p_z = torch.log_softmax(case.tensor("in.relevance_score"), dim=1)
        log_p_y = likelihood.marginal_per_token(log_p_z, log_p_y_given_z)
        utility = likelihood.retrieval_utility(log_p_y, log_p_y_given_z)
        case.close(utility[real].mean(), "ref.retrieval_utility_null_first")


def fill_without_span_head(reader: Reader, case: Case) -> None:
    """The encoder class has no span head: ours keeps its random one."""
    spare = {
        f"qa_outputs.{name}".replace("layer_norm.", "layer_normalization."): value.clone()
        for name, value in reader.span_head.state_dict().items()
    }
    fill(reader, case.weights | spare, READER_NAMES)


class TestReader:
    """The span reader: scores, the order of spans, both losses, gradients."""

    @pytest.fixture()
    def case(self) -> Case:
        return Case.load("reader")

    @pytest.fixture()
    def reader(self, case: Case) -> Reader:
        _, reader = case.build()
        with torch.no_grad():
            fill(reader, case.weights, READER_NAMES)
        return reader

    def spans(self, case: Case) -> CandidateSpans:
        seq = case.arrays["in.input_ids"].shape[-1]
        return CandidateSpans.of(seq=seq, max_width=case.config["max_span_width"])

    def correct(self, case: Case, prefix: str) -> torch.Tensor:
        """``(1, slots * spans)`` right spans of the chunks read, a null slot before them."""
        spans = self.spans(case)
        starts = case.arrays[f"{prefix}start_positions"]
        ends = case.arrays[f"{prefix}end_positions"]
        right = torch.zeros(4, len(spans.starts), dtype=torch.bool)
        for chunk in range(3):
            for start, end in zip(starts[chunk], ends[chunk], strict=True):
                right[chunk + 1] |= (spans.starts == start) & (spans.ends == end)
        return right.view(1, -1)

    def losses(
        self, case: Case, reader: Reader, prefix: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Both losses of the question, and its table of span scores."""
        relevance = case.tensor("in.relevance_score")[None]
        holding = case.tensor(f"{prefix}has_answers")[None]
        everything = torch.ones_like(holding)
        retriever = -likelihood.log_marginal_of_correct(relevance, everything, holding)
        read = case.inputs()
        # An empty null slot first: the reference has none.
        joint = read.rows(torch.tensor([0, 0, 1, 2]))
        scores, valid = reader.span_table(
            joint,
            torch.cat([torch.zeros(1, 1), relevance[:, :3]], dim=1),
            torch.tensor([[False, True, True, True]]),
            self.spans(case),
        )
        reader_loss = -likelihood.log_marginal_of_correct(scores, valid, self.correct(case, prefix))
        return retriever[0], reader_loss[0], scores.masked_fill(~valid, -torch.inf)

    def test_the_body_is_where_the_reference_looks_for_spans(self, case: Case) -> None:
        assert torch.equal(body_mask(case.inputs()), case.tensor("in.block_mask")[:3])

    def test_spans_are_ordered_by_width_and_then_start(self, case: Case) -> None:
        spans = self.spans(case)
        assert torch.equal(spans.starts, case.tensor("out.candidate_starts"))
        assert torch.equal(spans.ends, case.tensor("out.candidate_ends"))

    def test_states_and_span_scores(self, case: Case, reader: Reader) -> None:
        inputs, spans = case.inputs(), self.spans(case)
        packed, real = inputs.packed(), inputs.attention_mask
        states = reader.masked_lm.bert(packed)
        close(packed.padded(states)[real], case.tensor("out.last_hidden_state")[real])
        # A null chunk in front, whose slot is not filled.
        filled = torch.arange(1 + len(inputs))[None] > 0
        with_null = inputs.rows(torch.tensor([0, *range(len(inputs))]))
        scores, valid = reader.span_table(with_null, torch.zeros(filled.shape), filled, spans)
        scores, valid = (x.view(filled.shape[1], -1)[1:] for x in (scores, valid))
        body = body_mask(inputs)
        assert torch.equal(valid, body[:, spans.starts] & body[:, spans.ends])
        close(scores[valid], case.tensor("out.span_logits_before_retriever_score")[valid])

    def test_losses_and_their_gradients(self, case: Case, reader: Reader) -> None:
        retriever, reading, _ = self.losses(case, reader, "in.")
        case.close(retriever, "out.retriever_loss")
        case.close(reading, "out.reader_loss")
        case.close(retriever + reading, "out.loss")
        (retriever + reading).backward()  # type: ignore[no-untyped-call]
        grads = {name: p.grad for name, p in reader.named_parameters()}
        checked = 0
        for name in case.arrays:
            if not name.startswith("grad."):
                continue
            rest = name.removeprefix("grad.")
            start = next(old for old in READER_NAMES if rest.startswith(old))
            found = grads[READER_NAMES[start] + rest.removeprefix(start)]
            assert found is not None
            torch.testing.assert_close(found, case.tensor(name), rtol=RTOL, atol=ATOL)
            checked += 1
        assert checked == 43

    def test_the_best_span(self, case: Case, reader: Reader) -> None:
        _, _, scores = self.losses(case, reader, "in.")
        slot, span = divmod(int(scores.argmax()), len(self.spans(case).starts))
        assert slot - 1 == int(case.arrays["out.block_idx"])
        assert span == int(case.arrays["out.candidate"])

    def test_a_question_without_answers_has_no_loss(self, case: Case, reader: Reader) -> None:
        case.arrays["in.none.has_answers"] = np.zeros(6, dtype=bool)
        case.arrays["in.none.start_positions"] = np.full((6, 2), -1)
        case.arrays["in.none.end_positions"] = np.full((6, 2), -1)
        retriever, reading, _ = self.losses(case, reader, "in.none.")
        case.close(retriever, "out.no_answer.retriever_loss")
        case.close(reading, "out.no_answer.reader_loss")

    def test_an_answer_beyond_the_chunks_read_trains_the_retriever_only(
        self, case: Case, reader: Reader
    ) -> None:
        retriever, reading, _ = self.losses(case, reader, "in.late.")
        case.close(retriever, "out.late.retriever_loss")
        case.close(reading, "out.late.reader_loss")


def test_the_whole_forward_pass_joins_the_parts_in_the_order_of_the_paper() -> None:
    """Realm's own forward pass equals the reference parts put together by hand."""
    scorer = Case.load("scorer")
    embedder, reader = scorer.build()
    fill(embedder.chunk_tower, scorer.weights, EMBEDDER_NAMES, "embedder.")
    query, chunks = scorer.inputs(), scorer.inputs("in.candidate_")
    joints = torch.tensor([[b, z] for b in range(2) for z in range(3)])
    batch = MaskedBatch(
        query=query,
        chunks=chunks,
        chunk_slots=torch.arange(6).view(2, 3),
        candidate_mask=torch.ones(2, 3, dtype=torch.bool),
        joint=chunks,
        joint_slots=joints,
        mask_positions=torch.tensor([[1, 2], [1, 1]]),
        mask_mask=torch.tensor([[True, True], [True, False]]),
        targets=torch.tensor([[7, 8], [9, 0]]),
    )
    output = Realm(embedder, reader).eval()(batch)
    log_p_z = torch.log_softmax(scorer.tensor("out.relevance_score"), dim=1)
    torch.testing.assert_close(output.log_p_z, log_p_z, rtol=RTOL, atol=ATOL)
    scorer.close(output.query_emb, "out.query_score")
    scorer.close(output.chunk_emb, "out.candidate_score")
