"""What a finished package is for each consumer; a fault of the export is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eseg_export.compatibility.consumers import CONSUMERS, Consumer
from eseg_export.compatibility.findings import Finding, Outcome, Rule
from eseg_export.compatibility.rules import RULES
from eseg_export.finished import RDF, FinishedPackage
from eseg_zoo.errors import ExportError


@dataclass(frozen=True)
class Verdict:
    """What a package is for one consumer, and why."""

    consumer: Consumer
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of the findings."""
        return max((finding.outcome for finding in self.findings), default=Outcome.RUNS)

    @property
    def why(self) -> str:
        """The reasons for the outcome, worst first."""
        ordered = sorted(self.findings, key=lambda finding: -finding.outcome)
        return "; ".join(finding.why for finding in ordered)


def judge(package: FinishedPackage) -> tuple[Verdict, ...]:
    """Return the verdict of every consumer, in the order of `CONSUMERS`."""
    return tuple(
        Verdict(consumer, tuple(finding for rule in RULES for finding in _findings(rule, package, consumer)))
        for consumer in CONSUMERS
    )


def _findings(rule: Rule, package: FinishedPackage, consumer: Consumer) -> Sequence[Finding]:
    """Return what the rule finds; a description that lacks what every rule may expect is a fault of its own."""
    try:
        return list(rule(package, consumer))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        why = f"{RDF} is incomplete: {type(error).__name__} {error} ({rule.__name__})"
        return [Finding(Outcome.DOES_NOT, why, fault=True)]


def refuse_faults(verdicts: Sequence[Verdict]) -> None:
    """Raise `ExportError` when the package breaks a rule by a fault of the export, not by what the model is."""
    broken: dict[str, list[str]] = {}
    for verdict in verdicts:
        for finding in verdict.findings:
            if finding.fault:
                broken.setdefault(finding.why, []).append(verdict.consumer.name)
    if broken:
        reasons = "; ".join(f"{why} (stops {', '.join(stopped)})" for why, stopped in broken.items())
        raise ExportError(f"the finished package is faulty: {reasons}")
