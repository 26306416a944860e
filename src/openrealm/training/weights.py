"""Weights that the trainer publishes for whoever embeds the corpus with them; knows no index.

::

    weights/000003/
      weights.safetensors   the chunk tower
      order.json            generation, step, fingerprint and checksum

An *order* asks for one snapshot: its generation, and the training step of its weights. Folders are
staged and renamed; one with its final name is whole.
"""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from openrealm.errors import CheckpointError
from openrealm.files import checksum, staged_directory, write_atomic
from openrealm.models.embedder import Embedder, Tower
from openrealm.models.pretrained import fingerprint, load_weights, save_weights
from openrealm.retrieval.embedding import Order

FORMAT = 1
WEIGHTS_FILE, ORDER_FILE = "weights.safetensors", "order.json"


def order_folder(directory: Path, order: Order) -> Path:
    """Where the files of an order are, in the folder of all of them."""
    return directory / f"{order.generation:06d}"


def tower_copy(embedder: Embedder) -> Tower:
    """The chunk tower as it is now, in main memory, whatever training does to it afterwards."""
    return copy.deepcopy(embedder.chunk_tower).cpu()


def publish_weights(directory: Path, order: Order, tower: Tower) -> None:
    """Writes the weights of an order; nothing is visible before all of it is on disk."""
    final = order_folder(directory, order)
    shutil.rmtree(final, ignore_errors=True)
    with staged_directory(final) as staging:
        save_weights(tower, staging / WEIGHTS_FILE)
        text = {
            "format": FORMAT,
            **asdict(order),
            "embedder": fingerprint(tower),
            "checksum": checksum(staging / WEIGHTS_FILE),
        }
        write_atomic(staging / ORDER_FILE, json.dumps(text, indent=1).encode())


def orders(directory: Path) -> list[Order]:
    """The orders whose weights are there, the oldest first."""
    found = []
    for path in sorted(directory.glob("[0-9]*")):
        try:
            text = json.loads((path / ORDER_FILE).read_text(encoding="utf-8"))
            if text["format"] == FORMAT:
                found.append(Order(generation=text["generation"], step=text["step"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # taken back at this moment
    return found


def load_ordered(directory: Path, order: Order, embedder: Embedder) -> None:
    """Puts the weights of an order into an embedder of the same shape.

    Raises:
        CheckpointError: They have been taken back, are damaged, or do not fit.
    """
    path = order_folder(directory, order)
    try:
        text = json.loads((path / ORDER_FILE).read_text(encoding="utf-8"))
        if checksum(path / WEIGHTS_FILE) != text["checksum"]:
            raise CheckpointError(f"{path / WEIGHTS_FILE} is damaged")
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} holds no weights to embed with ({error})") from error
    load_weights(embedder.chunk_tower, path / WEIGHTS_FILE)


def ordered_embedder(directory: Path, order: Order) -> str:
    """Fingerprint of the chunk tower that an order is for.

    Raises:
        CheckpointError: It has been taken back, or another order has its number.
    """
    path = order_folder(directory, order)
    try:
        text = json.loads((path / ORDER_FILE).read_text(encoding="utf-8"))
        if text["step"] != order.step:
            raise CheckpointError(
                f"{path} holds the weights of step {text['step']}, not {order.step}"
            )
        return str(text["embedder"])
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} holds no weights to embed with ({error})") from error


def is_ordered(directory: Path, order: Order) -> bool:
    """Whether an order still stands."""
    return (order_folder(directory, order) / ORDER_FILE).is_file()


def take_back(directory: Path, order: Order) -> None:
    """Removes an order: whoever is at it gives it up."""
    shutil.rmtree(order_folder(directory, order), ignore_errors=True)


def prune_weights(directory: Path, *, keep: set[int]) -> None:
    """Takes back all orders but those of the generations to keep."""
    for path in directory.glob("[0-9]*"):
        if int(path.name) not in keep:
            shutil.rmtree(path, ignore_errors=True)
