"""The table of formats: a file has the first one whose columns it has."""

from __future__ import annotations

from collections.abc import Collection

from nlhf.votes.formats import conversations, pairs, preflib
from nlhf.votes.formats.base import Format
from nlhf.votes.formats.winners import by_flags, by_preference, by_winner

ITEMS = ("item_a", "item_b")
MODELS = ("model_a", "model_b")
SIDES = ("left", "right")
NUMBERED = ("model_x", "model_y")
CONVERSATIONS = ("conversation_a", "conversation_b", "full_conversation", "openai_moderation", "toxic_chat_tag")
FLAGS = ("winner_model_a", "winner_model_b", "winner_tie")
of_models, of_flags = by_winner(*MODELS), by_flags(*MODELS, FLAGS)

TIDY = Format("tidy votes", (*ITEMS, "wins_a", "wins_b"), note="counts; a column `ties` is optional")
TEXTS = Format(
    "votes on texts", ("prompt", "a", "b", "votes"), texts=pairs.counted, note="`votes` is [for a, for b, ties]"
)
RATINGS = Format(
    "ratings",
    ("item|name|model", "rating|elo|score"),
    lacks=("parent_id",),
    note="scores of a Bradley-Terry model, on Elo's scale or in natural units: no votes",
)
PREFLIB = Format(
    "PrefLib ballots",
    (*ITEMS, "wins_a", "wins_b"),
    votes=preflib.votes,
    unit="pairs of ballots",
    note="or an ending: soc, soi, toc, toi, cat, wmd; a ranking is a vote on every pair of alternatives that it ranks; "
    "braces and categories are ties; an edge `1,2,w` of wmd is w votes for 1; `ballot` is a column for clusters",
)
FORMATS = (
    TIDY,
    TEXTS,
    Format(
        "Arena, 140k votes",
        (*MODELS, "winner"),
        marks=("evaluation_session_id",),
        renamed={"voter": "evaluation_session_id", "time": "timestamp", "order": "evaluation_order"},
        question=("id",),
        hidden=CONVERSATIONS,
        votes=of_models,
        text_columns=CONVERSATIONS[:2],
        texts=conversations.of_rows(of_models, conversations.arena),
        note="`game.both_bad=drop` leaves out both_bad, which is otherwise a tie",
    ),
    Format(
        "Arena, 55k votes",
        (*MODELS, *FLAGS),
        renamed={"question": "prompt"},
        question=("id",),
        hidden=("prompt", "response_a", "response_b"),
        numbered=("question",),
        votes=of_flags,
        text_columns=("prompt", "response_a", "response_b"),
        texts=conversations.of_rows(of_flags, conversations.turns),
        note="one column per outcome",
    ),
    Format(
        "MT-bench judgments",
        (*MODELS, "winner"),
        marks=("judge", "turn"),
        lacks=("tstamp", "anony", "language"),
        renamed={"voter": "judge"},
        question=("question_id", "turn"),
        hidden=CONVERSATIONS,
        votes=of_models,
        text_columns=CONVERSATIONS[:2],
        texts=conversations.of_rows(of_models, conversations.mtbench),
        note="a text ends with the reply to the judged `turn`",
    ),
    Format(
        "Arena, 33k conversations",
        (*MODELS, "winner"),
        renamed={"voter": "judge", "time": "tstamp"},
        question=("question_id",),
        hidden=CONVERSATIONS,
        votes=of_models,
        text_columns=CONVERSATIONS[:2],
        texts=conversations.of_rows(of_models, conversations.arena),
        note='`game.both_bad=drop` leaves out "tie (bothbad)", which is otherwise a tie',
    ),
    Format(
        "AlpacaEval annotations",
        ("generator_1", "generator_2", "preference"),
        renamed={"question": "instruction"},
        question=("question", "dataset"),
        hidden=("instruction", "output_1", "output_2", "raw_completion", "price_per_example", "time_per_example"),
        numbered=("question",),
        votes=by_preference("generator_1", "generator_2"),
        text_columns=("instruction", "output_1", "output_2"),
        texts=pairs.annotated,
        note="preference - 1 is the share of the second; 1.5 and 0 are ties",
    ),
    Format("Evalica", (*SIDES, "winner"), votes=by_winner(*SIDES), note="winner is left, right or tie"),
    Format(
        "llmfao",
        (*NUMBERED, "winner"),
        votes=by_winner(*NUMBERED),
        note="winner is left, right, model_x, model_y or tie",
    ),
    Format(
        "winners",
        (*ITEMS, "winner"),
        votes=by_winner(*ITEMS),
        note="winner is a name, a or b, 1 or 2, left or right, or tie; name other columns with `game.columns`",
    ),
    Format(
        "HelpSteer preferences",
        ("context|prompt", "response1", "response2", "individual_preference|overall_preference"),
        texts=pairs.scored,
        note="every individual preference from -3 to 3 is a vote",
    ),
    Format(
        "chosen and rejected texts",
        ("chosen", "rejected"),
        texts=pairs.chosen_rejected,
        note="TRL, HH-RLHF, UltraFeedback, Argilla; without a prompt their common start is one; equal scores are ties",
    ),
    Format(
        "OASST messages",
        ("message_id", "parent_id", "rank", "role", "text"),
        texts=pairs.ranked,
        note="of two ranked replies to one message, that with the lower rank wins",
    ),
    RATINGS,
)


def commands(format_: Format) -> str:
    """The commands that read a format."""
    if format_ is RATINGS:
        return "game=ratings"
    items = ["game=votes", "nlhf votes show", "nlhf votes ask"] if format_.votes or format_ is TIDY else []
    texts = ["nlhf judge train", "nlhf judge grade"] if format_.texts else []
    return ", ".join([*items, *texts, "nlhf votes convert"])


def format_of(columns: Collection[str]) -> Format | None:
    """The format of a file with these columns, or None."""
    return next((candidate for candidate in FORMATS if candidate.fits(columns)), None)
