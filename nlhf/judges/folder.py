"""The folder of a trained judge: what `nlhf judge train` writes and `LearnedJudge` reads.

judge.json         the options, what was chosen, the grades, and the SHA-256 of the votes
head.safetensors   the head
encoder/           the encoder, if it was trained too
predictions.csv    held-out logits of every pair
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json
from nlhf.judges.similar_prompts import normalised
from nlhf.models.bundled import bundled_embedder
from nlhf.models.content import InputModel, model_digest

if TYPE_CHECKING:
    import numpy as np

    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes
    from nlhf.judges.train import FittedJudge

CARD, HEAD, ENCODER, PREDICTIONS = "judge.json", "head.safetensors", "encoder", "predictions.csv"


def is_learned(folder: str) -> bool:
    """True if this is the folder of a trained judge."""
    return (Path(folder).expanduser() / CARD).is_file()


def prompts_trained_on(folder: str, votes: TextVotes) -> int:
    """The number of prompts of these votes that the judge of a folder was trained on; 0 for any other folder."""
    card: Any = read_json(Path(folder).expanduser() / CARD) if folder else None
    trained = set((card or {}).get("prompts", ()))
    return len(trained & {prompt_digest(votes.answers[first][0]) for first, _ in votes.pairs.tolist()})


def prompt_digest(prompt: str) -> str:
    """What stands for a prompt in judge.json, whatever its case, punctuation and white space."""
    return hashlib.sha256(normalised(prompt).encode()).hexdigest()[:16]


def digest(folder: str) -> str:
    """SHA-256 of the parts of a judge that its answers depend on, without the record of its training.

    Raises: ConfigError for a folder that is damaged, or has no judge.
    """
    path = card_path(folder)
    card: Any = read_json(path)
    try:
        options = card["options"]
        deciding = [options[key] for key in ("judge", "max_tokens", "surface", "hidden", "dimensions")]
        encoder = model_digest(encoder_of(path.parent, options))
        text = json.dumps([deciding, card["voters"], card["temperatures"], encoder])
        return hashlib.sha256(text.encode() + path.with_name(HEAD).read_bytes()).hexdigest()
    except (KeyError, TypeError, OSError) as error:
        raise ConfigError(f"game.judge.model={folder} cannot be read ({error}): train it again.") from error


def encoder_of(folder: Path, options: dict[str, Any]) -> str:
    """The encoder of a judge: the one in its folder if that was trained, or the one that the options name."""
    if options["fine_tune"]:
        return str(folder / ENCODER)
    return str(bundled_embedder()) if options["encoder"] == "bundled" else str(options["encoder"])


def save(folder: Path, judge: FittedJudge, card: dict[str, Any]) -> None:
    """Write a judge. judge.json comes last, as it makes the folder that of a judge."""
    from safetensors.torch import save as as_bytes

    from nlhf.io.files import replacing
    from nlhf.io.json_files import write_json

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / HEAD, "wb") as stream:
        stream.write(as_bytes({name: value.contiguous() for name, value in judge.head.state_dict().items()}))
    if card["options"]["fine_tune"]:
        judge.encoder.save(folder / ENCODER)
    names = ("voters", "temperatures", "penalty", "epochs")
    write_json(folder / CARD, {**card, **{name: getattr(judge, name) for name in names}})


def load(folder: str, batch: int, device: str = "cpu") -> tuple[FittedJudge, Training]:
    """The judge of a folder, in float64, and the options of its training. Its encoder is on `device`.

    Raises: ConfigError.
    """
    from safetensors.torch import load_file

    from nlhf.judges.encoder import Encoder
    from nlhf.judges.heads import untrained_head
    from nlhf.judges.options import Training
    from nlhf.judges.train import FittedJudge

    path = card_path(folder)
    try:
        card: Any = read_json(path)
        options = Training(**card["options"])
        model = InputModel(encoder_of(path.parent, card["options"]), "game.judge.model")
        encoder = Encoder(model, options.max_tokens, batch, device)
        weights = load_file(path.with_name(HEAD))
        head = untrained_head(options, len(weights["mean"]), len(card["voters"]))
        head.load_state_dict(weights)
        if not all(0 < temperature < float("inf") for temperature in card["temperatures"]):
            raise ValueError("a temperature is not a positive number")
        names = ("voters", "temperatures", "penalty", "epochs")
        return FittedJudge(head.double().eval(), encoder, **{name: card[name] for name in names}), options
    except ConfigError:
        raise
    except Exception as error:  # damaged files raise many types, of safetensors and tokenizers too
        raise ConfigError(f"game.judge.model={folder} cannot be read ({error}): train it again.") from error


def write_predictions(folder: Path, votes: TextVotes, logits: dict[str, np.ndarray]) -> None:
    """Write a row for each pair: its source, texts and votes, and the held-out logits of every judge."""
    from nlhf.records import Table

    columns = {name: f"logit_{name}" for name in logits}
    table = Table(folder / PREDICTIONS, ["source", "prompt", "a", "b", "votes_a", "votes_b", "ties", *columns.values()])
    for row, (a, b) in enumerate(votes.pairs.tolist()):
        votes_a, votes_b, ties = votes.votes[row].tolist()
        table.add(
            source=votes.sources[row],
            prompt=votes.answers[a][0],
            a=votes.answers[a][1],
            b=votes.answers[b][1],
            votes_a=votes_a,
            votes_b=votes_b,
            ties=ties,
            **{column: float(logits[name][row]) for name, column in columns.items()},
        )
    table.flush()


def card_path(folder: str) -> Path:
    """The path of judge.json.

    Raises: ConfigError for a folder without it.
    """
    path = Path(folder).expanduser() / CARD
    if not path.is_file():
        raise ConfigError(f"game.judge.model={folder} has no {CARD}: give a folder that nlhf judge train has written.")
    return path
