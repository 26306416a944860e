"""What the sections of a configuration must agree on."""

from __future__ import annotations

from openrealm.errors import ConfigError
from openrealm.settings.run import Settings
from openrealm.settings.stages import STAGES


def checked(settings: Settings) -> Settings:
    """The settings, after checks that involve several sections.

    Raises:
        ConfigError: An unknown stage, settings that exclude each other or do nothing beside each
            other, or inputs longer than the model's positions.
    """
    _check_stages(settings)
    _check_candidates(settings)
    _check_words(settings)
    _check_refresh(settings)
    _check_towers(settings)
    _check_fixed_chunks(settings)
    _check_lengths(settings)
    return settings


def _check_stages(settings: Settings) -> None:
    """Checks that there are such stages, each once, and that they train something."""
    for stage in settings.stages:
        if stage not in STAGES:
            raise ConfigError(f"stages holds '{stage}', which is not one of: {', '.join(STAGES)}")
    twice = sorted(stage for stage in set(settings.stages) if settings.stages.count(stage) > 1)
    if twice:
        raise ConfigError(f"stages lists {' and '.join(twice)} more than once; list each once")
    realm = settings.realm
    has_joint = "realm" in settings.stages and realm.steps
    if has_joint and not (realm.lr or realm.lr_retriever or realm.lr_lexical):
        raise ConfigError(
            "realm.lr, realm.lr_retriever and realm.lr_lexical are all 0, so that nothing is "
            "trained; raise one, or set realm.steps=0"
        )


def _check_candidates(settings: Settings) -> None:
    """Checks who proposes candidates, and who takes part without being read."""
    realm, k = settings.realm, settings.retrieval.k
    if realm.lexical >= k - 1:
        raise ConfigError(
            f"realm.lexical = {realm.lexical} leaves none of the {k - 1} chunks to the index; "
            "lower it or raise retrieval.k"
        )
    if realm.in_batch_negatives and realm.batch_size == 1:
        raise ConfigError(
            "realm.in_batch_negatives takes chunks of the batch's other queries, but "
            "realm.batch_size = 1; raise it, or set realm.in_batch_negatives=false"
        )


def _check_words(settings: Settings) -> None:
    """Checks that a weight of words in common is there where one is to be learned."""
    realm, weight = settings.realm, settings.model.lexical_weight
    if realm.lr_lexical and not weight:
        raise ConfigError(
            f"realm.lr_lexical = {realm.lr_lexical} trains model.lexical_weight, which is 0; set "
            "it to what the weight is to begin with, 0.3 say"
        )


def _check_refresh(settings: Settings) -> None:
    """Checks that the mode of refreshing has what it needs, and something to do."""
    refresh, towers = settings.refresh, settings.realm.towers
    if refresh.mode in ("background", "fleet") and towers != "both":
        reason = "a refresh is one matrix product" if towers == "projection" else "no chunk moves"
        raise ConfigError(
            f"refresh.mode = {refresh.mode} does nothing with realm.towers = {towers}, where "
            f"{reason}; set refresh.mode=inline, or realm.towers=both"
        )
    if refresh.mode == "fleet" and refresh.worker_device not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"refresh.worker_device = {refresh.worker_device}, but with refresh.mode = fleet Ray "
            "chooses the GPU; set auto, cpu or cuda"
        )
    if refresh.write_back and (towers == "query" or not settings.realm.lr_retriever):
        still = "realm.towers = query" if towers == "query" else "realm.lr_retriever = 0"
        raise ConfigError(
            f"refresh.write_back = true does nothing with {still}, where no chunk moves; set "
            "refresh.write_back=false"
        )
    if (refresh.mode == "replay") != bool(refresh.replay):
        raise ConfigError(
            "refresh.mode = replay and refresh.replay = RUN go together: the one repeats what "
            "the other names"
        )


def _check_towers(settings: Settings) -> None:
    """Checks that what is to move in the joint stage is there, and alone."""
    towers, embedder = settings.realm.towers, settings.model.embedder
    if towers == "query" and embedder.shared:
        raise ConfigError(
            "realm.towers = query trains a query tower alone, but model.embedder.shared is true; "
            "set model.embedder.shared=false, or realm.towers=both"
        )
    if towers == "projection" and embedder.projection == "none":
        raise ConfigError(
            "realm.towers = projection trains what stands above BERT, but "
            "model.embedder.projection is none; set model.embedder.projection=adapter, or "
            "realm.towers=both"
        )
    if towers == "projection" and embedder.dropout:
        raise ConfigError(
            f"model.embedder.dropout = {embedder.dropout} does nothing with realm.towers = "
            "projection, where vectors are made without; set it to 0, or realm.towers=both"
        )


def _check_fixed_chunks(settings: Settings) -> None:
    """Checks that chunk vectors which nothing moves in the joint stage are not random."""
    towers, projection = settings.realm.towers, settings.model.embedder.projection
    random_projection = towers == "query" and projection == "linear"
    has_cloze = "ict" in settings.stages and settings.ict.steps
    if towers == "both" or has_cloze or not (settings.start == "scratch" or random_projection):
        return
    raise ConfigError(
        f"realm.towers = {towers} keeps what the start makes of chunks, and "
        f"start = {settings.start} with model.embedder.projection = {projection} makes random "
        "vectors; add the stage ict, or set realm.towers=both"
    )


def _check_lengths(settings: Settings) -> None:
    """Checks that the longest inputs have positions in the BERTs that read them."""
    model, chunk_tokens = settings.model, settings.corpus.chunking.chunk_tokens
    longest, positions = model.query_tokens + chunk_tokens - 1, model.bert.max_positions
    if longest > positions:
        raise ConfigError(
            f"a query of {model.query_tokens} and a chunk of {chunk_tokens} tokens make {longest} "
            f"tokens, more than model.bert.max_positions = {positions}; raise it, or lower "
            "model.query_tokens or corpus.chunking.chunk_tokens"
        )
