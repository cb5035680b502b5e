"""Why a training was stopped before its budget was spent."""

from __future__ import annotations

from enum import StrEnum


class StopReason(StrEnum):
    """The reason, as `state.json` has it."""

    HANGUP = "SIGHUP"  # the terminal was closed
    INTERRUPT = "Ctrl-C"
    CLOSED_PIPE = "a closed pipe"  # nobody reads the output any more
    TERMINATE = "SIGTERM"
    OTHER_RANK = "another rank was stopped"

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as in a shell; 0 where another rank was the one to be stopped."""
        return {"SIGHUP": 129, "Ctrl-C": 130, "a closed pipe": 141, "SIGTERM": 143}.get(self.value, 0)
