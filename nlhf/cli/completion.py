"""Completion of `nlhf` in a shell: `eval "$(nlhf --completion bash)"`; Hydra completes the overrides of `nlhf run`."""

from __future__ import annotations

from collections.abc import Iterable

BASH = """\
_nlhf() {
    local word="${COMP_WORDS[COMP_CWORD]}" choices=""
    if [ "$COMP_CWORD" = 1 ]; then
        choices="COMMANDS"
        compopt +o nospace 2>/dev/null
    elif [ "${COMP_WORDS[1]}" = run ]; then
        choices=$(COMP_LINE="nlhf ${COMP_LINE#*run }" nlhf run -sc query=bash 2>/dev/null)
    elif [ "$COMP_CWORD" = 2 ]; then
        case "${COMP_WORDS[1]}" in
            judge) choices="train grade" ;;
            votes) choices="show" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _nlhf nlhf"""


def bash(commands: Iterable[str]) -> str:
    """The script that bash evaluates to complete the subcommands and their arguments."""
    return BASH.replace("COMMANDS", " ".join(commands))
