"""Makes the starter's folder of an encoder's and a reader's: rounds, checks, and states checksums.

    python starter/pack.py --reader scratch/whole/reader
    python starter/pack.py --tower my-encoder --reader scratch/whole/reader --figures figures.json

Without ``--tower`` the encoder is minilm. The same folders always make the same files, so that a
new reader leaves the encoder's file as it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openrealm.errors import ConfigError
from openrealm.files import checksum, staged_directory, write_atomic
from openrealm.models.bert import BertConfig
from openrealm.models.config_files import read_bert_config
from openrealm.models.int8_files import save_int8
from openrealm.models.starter import CONFIG, READER, TOWER, VOCABULARY, WORD_EMBEDDINGS
from openrealm.models.starts import STARTER_FORMAT, STARTER_RECORD, minilm_directory
from openrealm.models.weight_files import WeightFiles

PACKAGE = Path(__file__).parent / "openrealm_starter" / "model"
LARGEST_BYTES = 40_000_000
# Of no use to whoever computes without them: numbers of positions, which are 0, 1, 2 ...
_BUFFERS = ("position_ids",)
_HEAD = ("qa_outputs.weight", "qa_outputs.bias")


def pack(
    tower: Path,
    reader: Path,
    out: Path,
    *,
    calibration: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Writes a starter's folder, in place of one that is there.

    Args:
        tower: Folder of a BERT that embeds, with its vocabulary.
        reader: Folder of a `BertForQuestionAnswering` of the same shape and word embeddings.
        out: The new folder.
        calibration: What turns scores of the reader into probabilities.
        figures: What was measured.

    Raises:
        ConfigError: The two do not fit each other, or the files are too large.
        CheckpointError: One of them cannot be read.
    """
    config, towers, readers = _shape(tower), _tensors(tower), _tensors(reader)
    _require_one_shape(config, _shape(reader))
    _require_one_vocabulary(towers, readers)
    ready = out.with_name(f".{out.name}.new")
    shutil.rmtree(ready, ignore_errors=True)
    with staged_directory(ready) as staging:
        save_int8(towers, staging / TOWER)
        rest = {n: t for n, t in readers.items() if n != f"bert.{WORD_EMBEDDINGS}"}
        save_int8(rest, staging / READER)
        write_atomic(staging / CONFIG, _json(_stated(config)))
        shutil.copyfile(tower / VOCABULARY, staging / VOCABULARY)
        names = (TOWER, READER, CONFIG, VOCABULARY)
        record = {
            "format": STARTER_FORMAT,
            "files": {name: checksum(staging / name) for name in names},
            "calibration": dict(calibration or {}),
            "figures": dict(figures or {}),
        }
        write_atomic(staging / STARTER_RECORD, _json(record))
        _require_small(staging)
    shutil.rmtree(out, ignore_errors=True)  # over a folder with files no other can be renamed
    ready.rename(out)


def _shape(folder: Path) -> BertConfig:
    return read_bert_config(folder / CONFIG, str(folder))


def _stated(config: BertConfig) -> dict[str, Any]:
    """The config.json of tower and reader, neither of which is being trained."""
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return asdict(config) | still | {"model_type": "bert"}


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors that are computed with."""
    files = WeightFiles(folder)
    wanted = sorted(name for name in files.names if not name.endswith(_BUFFERS))
    return {name: files.tensor(name).float() for name in wanted}


def _require_one_shape(tower: BertConfig, reader: BertConfig) -> None:
    first, second = _stated(tower), _stated(reader)
    for name, value in first.items():
        if second[name] != value and name != "initializer_range":
            raise ConfigError(f"the encoder has {name} = {value!r}, the reader {second[name]!r}")


def _require_one_vocabulary(tower: Mapping[str, Tensor], reader: Mapping[str, Tensor]) -> None:
    """Checks names, and that the word embeddings are the same but for rounding to half."""
    expected = {f"bert.{name}" for name in tower if not name.startswith("pooler.")} | {*_HEAD}
    if expected != reader.keys():
        apart = sorted(expected ^ reader.keys())
        raise ConfigError(f"only one of encoder and reader has the weights {apart[:3]}")
    theirs = reader[f"bert.{WORD_EMBEDDINGS}"]
    if not torch.equal(tower[WORD_EMBEDDINGS].half(), theirs.half()):
        raise ConfigError(
            "the reader has word embeddings of its own; train it with those of the encoder"
        )


def _require_small(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST_BYTES:
        raise ConfigError(f"the starter has {size:,} bytes; at most {LARGEST_BYTES:,} are shipped")


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _read(path: Path | None) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path else {}


def main() -> None:
    """Packs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tower", type=Path, help="folder of the encoder; minilm by default")
    add("--reader", type=Path, required=True, help="folder of the reader")
    add("--out", type=Path, default=PACKAGE)
    add("--calibration", type=Path, help="JSON file: what turns scores into probabilities")
    add("--figures", type=Path, help="JSON file: what was measured")
    args = parser.parse_args()
    pack(
        args.tower or minilm_directory(),
        args.reader,
        args.out,
        calibration=_read(args.calibration),
        figures=_read(args.figures),
    )
    for path in sorted(args.out.iterdir()):
        print(f"{path.stat().st_size:12,}  {path.name}")


if __name__ == "__main__":
    main()
