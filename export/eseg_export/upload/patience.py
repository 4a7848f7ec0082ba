"""How long is waited, and how often tried again: exponential back-off with jitter, or as long as the server asks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Patience:
    """Times in seconds. The clock, the sleep and the random numbers can be given, so that tests wait for nothing."""

    tries: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_asked: float = 600.0
    """What a server may ask for; beyond it the command ends and says when to come back."""
    connecting: float = 20.0
    answering: float = 60.0
    """Without a byte in either direction."""
    whole_answer: float = 300.0
    """For an answer that trickles in."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    draws: random.Random = field(default_factory=random.Random)

    def wait(self, failures: int) -> float:
        """Return how long to wait after so many failures: twice as long each time, of which half is random."""
        longest: float = min(self.longest_wait, self.first_wait * 2 ** (failures - 1))
        return longest * self.draws.uniform(0.5, 1)

    def asked(self, retry_after: str | None) -> float | None:
        """Return the seconds in a Retry-After header, which states them or a date; None for anything else."""
        if retry_after is None:
            return None
        if retry_after.isascii() and retry_after.isdigit():
            return float(retry_after[:9])
        try:
            date = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - self.now()).total_seconds())
