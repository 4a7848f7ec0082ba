"""Where the zoo says publicly what it asks for, with the date of the text that was read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A public page."""

    title: str
    address: str
    date: str  # of the text: its last change, when it was posted, or its version

    def __str__(self) -> str:
        return f"{self.title} ({self.date}), {self.address}"


_SITE = "https://github.com/bioimage-io/bioimage.io/blob/main"

# The same list was first posted in https://github.com/bioimage-io/archive.bioimage.io/issues/460 on 2025-04-01.
GUIDELINES = Source(
    "what reviewers have beside them", f"{_SITE}/src/components/ReviewArtifacts.tsx, Review Guidelines", "2026-08-20"
)
CONTRIBUTING = Source("how to contribute models", f"{_SITE}/docs/guides/developers-guide.md", "2025-07-16")
MODEL_CARD = Source("template of a model card", f"{_SITE}/docs/model-card-template.md", "2025-07-16")
SUBMISSION = Source(
    "how models are submitted, scored and ranked", f"{_SITE}/public/skills/bioimageio-models/SKILL.md", "2026-07-26"
)
FORMAT = Source(
    "the format, bioimageio.spec",
    "https://github.com/bioimage-io/spec-bioimage-io/blob/main/src/bioimageio/spec/model/v0_5.py",
    "version 0.5.12",
)
VALIDATION_ASKED = Source(
    "what was asked of the models of CAREamics", "https://github.com/CAREamics/careamics/issues/276", "2024-11-15"
)
