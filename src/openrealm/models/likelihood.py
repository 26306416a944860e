"""The probabilities of REALM as pure functions of scores and logits; knows nothing of networks.

Paper sections and equations are those of Guu et al. (2020). Candidate 0 is the null chunk.
Masked axes carry a boolean mask; where it is False, a value counts for nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def relevance_scores(
    query_emb: Float[Tensor, "batch dim"], chunk_emb: Float[Tensor, "batch k dim"]
) -> Float[Tensor, "batch k"]:
    """f(x,z) = Embed_input(x) . Embed_doc(z)  (section 3.2)."""
    return torch.einsum("bd,bkd->bk", query_emb, chunk_emb)


def with_words(
    scores: Float[Tensor, "batch k"],
    words: Float[Tensor, "batch k"],
    log_weight: Float[Tensor, ""],
) -> Float[Tensor, "batch k"]:
    """f(x,z) + w BM25(x,z), where words in common count too  (not in the paper).

    Args:
        scores: f(x,z).
        words: BM25 of each query with its candidates.
        log_weight: log w, which makes w positive whatever is learned.
    """
    return scores + log_weight.exp() * words


def log_p_z_given_x(
    scores: Float[Tensor, "batch k"], candidate_mask: Bool[Tensor, "batch k"]
) -> Float[Tensor, "batch k"]:
    """log p(z|x) = log softmax of f(x,z) over the candidates  (section 3.2, over the top k).

    Slots that hold no candidate get the lowest finite number, which vanishes in any sum.
    """
    lowest = torch.finfo(scores.dtype).min
    return torch.log_softmax(scores.masked_fill(~candidate_mask, lowest), dim=-1)


def in_batch_negatives_score(
    all_scores: Float[Tensor, "batch rows"], negatives: Bool[Tensor, "batch rows"]
) -> Float[Tensor, " batch"]:
    """log sum exp f(x,z) over chunks that are not read: one slot for all of them.

    Equation 1 sums over the whole corpus. Beside the scores of the candidates, in the softmax of
    p(z|x), this is the mass of chunks beyond them; the lowest finite number where there are none.
    """
    lowest = torch.finfo(all_scores.dtype).min
    return torch.logsumexp(all_scores.masked_fill(~negatives, lowest), dim=1).clamp(min=lowest)


def log_p_y_given_negatives(
    log_p_y_given_z: Float[Tensor, "batch k masks"], candidate_mask: Bool[Tensor, "batch k"]
) -> Float[Tensor, "batch masks"]:
    """log p(y_j|z,x) of a chunk z that was not read: taken for that of the worst that was.

    A guess and no prediction: no gradient goes through it. Each masked token by itself.
    """
    highest = torch.finfo(log_p_y_given_z.dtype).max
    read = log_p_y_given_z.detach().masked_fill(~candidate_mask[:, :, None], highest)
    return read.min(dim=1).values.clamp(max=0.0)


def log_p_y_given_zx(
    logits: Float[Tensor, "rows vocab"], targets: Int[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """log p(y_j|z,x) of single masked tokens  (section 3.2, knowledge-augmented encoder)."""
    log_probs = torch.log_softmax(logits, dim=-1)
    return log_probs.gather(-1, targets[:, None]).squeeze(-1)


def marginal_per_token(
    log_p_z: Float[Tensor, "batch k"], log_p_y_given_z: Float[Tensor, "batch k masks"]
) -> Float[Tensor, "batch masks"]:
    """log p(y_j|x) = log sum_z p(z|x) p(y_j|z,x), each masked token by itself.

    Equation 1 applied to one token at a time, as realm/model.py computes it.
    """
    return torch.logsumexp(log_p_z[:, :, None] + log_p_y_given_z, dim=1)


def marginal_per_span(
    log_p_z: Float[Tensor, "batch k"],
    log_p_y_given_z: Float[Tensor, "batch k masks"],
    mask_mask: Bool[Tensor, "batch masks"],
) -> Float[Tensor, " batch"]:
    """log p(y|x) = log sum_z p(z|x) prod_j p(y_j|z,x), the span as a whole  (equation 1)."""
    joint = log_p_y_given_z.masked_fill(~mask_mask[:, None, :], 0.0).sum(dim=-1)
    return torch.logsumexp(log_p_z + joint, dim=1)


def per_token_loss(
    log_p_y: Float[Tensor, "batch masks"], mask_mask: Bool[Tensor, "batch masks"]
) -> Float[Tensor, ""]:
    """Mean of -log p(y_j|x) over the masked tokens of the batch; 0 where there are none.

    Normalised as in realm/model.py: long spans weigh more than short ones.
    """
    total = log_p_y.masked_fill(~mask_mask, 0.0).sum()
    return -total / mask_mask.sum().clamp(min=1)


def per_span_loss(
    log_p_y: Float[Tensor, " batch"], mask_mask: Bool[Tensor, "batch masks"]
) -> Float[Tensor, ""]:
    """Sum of -log p(y|x) over the batch, divided by its number of masked tokens.

    The same unit (nats per masked token) as `per_token_loss`, so that learning rates carry over.
    """
    return -log_p_y.sum() / mask_mask.sum().clamp(min=1)


def posterior(
    log_p_z: Float[Tensor, "batch k"], log_p_y_given_z: Float[Tensor, "batch k"]
) -> Float[Tensor, "batch k"]:
    """p(z|y,x): how much each candidate is to thank for the prediction  (Bayes' rule)."""
    return torch.softmax(log_p_z + log_p_y_given_z, dim=1)


def score_gradient(
    log_p_z: Float[Tensor, "batch k"], log_p_y_given_z: Float[Tensor, "batch k"]
) -> Float[Tensor, "batch k"]:
    """d log p(y|x) / d f(x,z) = p(z|y,x) - p(z|x) = [p(y|z,x) / p(y|x) - 1] p(z|x)  (section 3.3).

    Not used in training, where autograd finds the same; it is the paper's r(z), which tests
    compare that with.
    """
    return posterior(log_p_z, log_p_y_given_z) - log_p_z.exp()


def retrieval_utility(
    log_p_y: Float[Tensor, "batch masks"], log_p_y_given_z: Float[Tensor, "batch k masks"]
) -> Float[Tensor, "batch masks"]:
    """log p(y_j|x) - log p(y_j|null,x): what retrieval is worth, in nats  (appendix D).

    The form of realm/model.py, with the marginal in the place of one chunk's likelihood.
    """
    return log_p_y - log_p_y_given_z[:, 0, :]


def entropy(log_p_z: Float[Tensor, "batch k"]) -> Float[Tensor, " batch"]:
    """Entropy of p(z|x) in nats; log k means that the retriever has no opinion."""
    p_z = log_p_z.exp()
    return -(p_z * log_p_z.clamp(min=-1e4)).sum(dim=1)


def in_batch_cross_entropy(
    query_emb: Float[Tensor, "batch dim"],
    chunk_emb: Float[Tensor, "chunks dim"],
    targets: Int[Tensor, " batch"],
    allowed: Bool[Tensor, "batch chunks"] | None = None,
) -> Float[Tensor, ""]:
    """Inverse cloze: -log softmax over the batch's chunks at each query's own chunk.

    Args:
        query_emb: Sentences.
        chunk_emb: Chunks of the batch.
        targets: Number of each query's own chunk.
        allowed: False where a chunk must not count as a negative (the same chunk twice).

    Source: orqa/models/ict_model.py, query-to-chunk direction only.
    """
    scores = query_emb @ chunk_emb.T
    if allowed is not None:
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    return torch.nn.functional.cross_entropy(scores, targets)


def log_marginal_of_correct(
    scores: Float[Tensor, "batch items"],
    valid: Bool[Tensor, "batch items"],
    correct: Bool[Tensor, "batch items"],
) -> Float[Tensor, " batch"]:
    """log of the share of softmax mass on correct items; 0 for rows without a correct one.

    Both of ORQA's losses are its negative: over chunks (correct = holds an answer), and over all
    spans of the chunks read (correct = is an answer). Source: orqa/models/orqa_model.py.
    """
    lowest = torch.finfo(scores.dtype).min
    correct = correct & valid
    answerable = correct.any(dim=1)
    total = torch.logsumexp(scores.masked_fill(~valid, lowest), dim=1)
    # A row without a correct item would be -inf - inf in the gradient: score it on all items.
    counted = torch.where(answerable[:, None], correct, valid)
    share = torch.logsumexp(scores.masked_fill(~counted, lowest), dim=1) - total
    return torch.where(answerable, share, torch.zeros_like(share))


def log_p_span_jointly(
    scores: Float[Tensor, "batch items"], valid: Bool[Tensor, "batch items"]
) -> Float[Tensor, "batch items"]:
    """log p(s,z|x): one softmax over all spans s of all chunks z read (orqa/models/orqa_model.py).

    A span's score has its chunk's relevance in it. Invalid items get a number so low that it
    vanishes in any sum.
    """
    return torch.log_softmax(scores.masked_fill(~valid, torch.finfo(scores.dtype).min), dim=1)


def log_p_of_any(
    log_p: Float[Tensor, "batch items"], correct: Bool[Tensor, "batch items"]
) -> Float[Tensor, " batch"]:
    """log of the summed probability of the correct items; 0 for rows without one."""
    answerable = correct.any(dim=1)
    counted = torch.where(answerable[:, None], correct, torch.ones_like(correct))
    total = torch.logsumexp(log_p.masked_fill(~counted, torch.finfo(log_p.dtype).min), dim=1)
    return torch.where(answerable, total, torch.zeros_like(total))
