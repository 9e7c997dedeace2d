"""What a scan found: hits, failures and the verdict made of them, as pure values.

Every front door renders the same `Verdict` in its own dialect; the engine makes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filterd.mail.urls import Url

__all__ = ["Hit", "RuleFailure", "Verdict"]

_SPAM = frozenset({"reject", "rewrite subject", "add header", "quarantine", "discard"})
_NO_SPAM = frozenset({"no action", "greylist", "soft reject"})


@dataclass(slots=True)
class Hit:
    """One symbol on one message.

    `score` is what it adds to the total, after weight, repeated hits and group caps; `metric_score` is the configured score
    (0.0 for a symbol nobody configured); `weight` is the sum of the multipliers inserted.
    """

    name: str
    score: float
    metric_score: float = 0.0
    weight: float = 1.0
    options: tuple[str, ...] = ()
    description: str | None = None
    groups: tuple[str, ...] = ()
    shots: int = 1


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """A rule that did not do its work on one message, told so that its author can act.

    `where` is `file:line` in the rule's own file, `traceback` begins there ("" for an expected failure: a peer that did not
    answer is no bug of the rule). `elapsed` is in seconds since the rule began.
    """

    rule: str
    kind: str
    text: str
    where: str = ""
    phase: str = ""
    peer: str = ""
    elapsed: float = 0.0
    traceback: str = ""

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.rule}: {self.text}{place} after {self.elapsed:.2f} s"


@dataclass(slots=True)
class Verdict:
    """The answer to one scan request.

    `required_score` is the reject threshold, else the highest threshold there is, else None. `messages` maps a category to a
    text for the client (`smtp_message` is what the MTA should say). `milter` holds the reply object of the Rspamd protocol
    (section "milter" of its JSON). `subject` is the rewritten one, encoded. `milter_action` is what an MTA is to do for an
    action of one's own ("discard", "quarantine"), `body` the new body if a rule replaced it. `urls` and `emails` are None
    unless they were looked at or asked for. `timings` maps a rule's name to the seconds it took, waits included.
    `log_fields` are further values for the log, `log_text` its line where that is not the usual one, `log_level` its level.
    """

    action: str
    score: float
    required_score: float | None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    symbols: Mapping[str, Hit] = field(default_factory=dict)
    failures: tuple[RuleFailure, ...] = ()
    messages: Mapping[str, str] = field(default_factory=dict)
    milter: Mapping[str, object] = field(default_factory=dict)
    task_id: str = ""
    message_id: str | None = None
    subject: str | None = None
    passthrough_module: str | None = None
    milter_action: str | None = None
    body: bytes | None = None
    urls: Sequence[Url] | None = None
    emails: Sequence[str] | None = None
    is_skipped: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)
    log_fields: Mapping[str, object] = field(default_factory=dict)
    log_text: str | None = None
    log_level: str = "info"

    @property
    def is_unjudged(self) -> bool:
        """Did the time end before any rule had? Then score and action say nothing, and the message should come again."""
        return self.timed_out and self.timings.keys() <= {failure.rule for failure in self.failures}

    @property
    def spam_threshold(self) -> float | None:
        """The lowest score that makes a message spam, that of "add header" as a rule; None when no score does."""
        return min((score for action, score in self.thresholds.items() if action in _SPAM), default=None)

    @property
    def is_spam(self) -> bool:
        """Is it to be marked, moved or refused, for clients who know spam and nothing else?

        What is greylisted or softly rejected is not: it will come again. An action of one's own is judged by what an MTA is to
        do for it, else by the score.
        """
        if self.action in _SPAM or self.action in _NO_SPAM:
            return self.action in _SPAM
        threshold = self.spam_threshold
        return self.milter_action is not None or (threshold is not None and self.score >= threshold)
