"""The optimiser, what happens beside the steps, and when the corpus is embedded again."""

from __future__ import annotations

from dataclasses import dataclass

from openrealm.settings.config import option

_PATIENCE = 10  # refreshes that may be missed beside the training


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """When, where and how the corpus is embedded again."""

    mode: str = option(
        "inline",
        "Who embeds the corpus: the training processes between two steps (inline), workers beside "
        "them on this machine (background), a Ray cluster (fleet: that of RAY_ADDRESS in the "
        "environment, else one is started here); or swaps happen when those of an earlier run did "
        "(replay).",
        choices=("inline", "background", "fleet", "replay"),
    )
    every: int = option(500, "Joint steps between two refreshes.", minimum=1, source="section 4.5")
    dtype: str = option("float32", "Numbers of a snapshot on disk.", choices=("float32", "float16"))
    workers: int = option(
        1,
        "Background, and a fleet that is started here: worker processes, of one thread each.",
        minimum=1,
    )
    worker_device: str = option(
        "auto",
        "Background: where workers compute. auto: on the GPU with the next number after the "
        "trainers' if there is one, else on theirs, else on the processor, at low priority. "
        "Fleet: cuda, cpu, or auto for a GPU each where the cluster has any.",
    )
    write_back: bool = option(
        False,
        "The vectors that a joint step makes of its candidates anyway go into the live index too, "
        "in the place of older ones, until a refresh makes all anew: an index that ages more "
        "slowly and costs no embedding. They have the dropout of the step, where there is any.",
    )
    replay: str = option("", "Replay: the run whose swaps are repeated, as a folder or its name.")
    storage: str = option(
        "",
        "Fleet: URL of a storage that this machine and the nodes reach, such as s3://bucket/folder "
        "(any that fsspec knows), for nodes that do not have the workspace's folder. Empty: they "
        "have it, under the same name.",
    )

    @property
    def patience(self) -> int:
        """Steps that a live index may be old before training waits for a newer one."""
        return _PATIENCE * self.every


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """What all stages share."""

    bias_correction: bool = option(
        False, "Adam's bias correction, which BERT's code leaves out.", source="bert"
    )
    warmup_min: int = option(
        0,
        "The learning rate rises over the first tenth of a stage's steps, but so many at least.",
        minimum=0,
        source="100 in realm/model.py",
    )


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """When things happen beside the steps."""

    log_every: int = option(10, "Steps between two lines of metrics.", minimum=1)
    probe_every: int = option(100, "Steps between two questions to the probe.", minimum=1)
    checkpoint_every: int = option(200, "Steps between two checkpoints.", minimum=1)
    tensorboard: bool = option(False, "Write TensorBoard files as well (extra `track`).")
    num_probe: int = option(
        200, "Chunks held out for the probe, at most a tenth of those with spans.", minimum=1
    )
