"""A review as lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from eseg_export.review.answers import State
from eseg_export.review.checklist import Review
from eseg_export.review.validator import LEVELS, Validation

_INDENT = " " * 9  # as wide as the longest state, and a space


def lines_of(review: Review) -> Iterator[str]:
    """Yield the lines of a review: the validator's levels, the checklist, its sources."""
    yield from _validator_lines(review.validation)
    counted = Counter(answer.state for _, answer in review.answers)
    yield ""
    yield f"What the zoo's reviewers ask for: {', '.join(f'{counted[state]} {state}' for state in State)}"
    numbers: dict[object, int] = {}
    for item, answer in review.answers:
        cited = "".join(f"[{numbers.setdefault(source, len(numbers) + 1)}]" for source in item.sources)
        yield f"{answer.state:<8} {item.title} {cited}"
        yield f"{_INDENT}{answer.found}"
        if answer.state is not State.OK:
            yield f"{_INDENT}fix: {item.fix}"
    yield ""
    yield from (f"[{number}] {source}" for source, number in numbers.items())


def _validator_lines(validation: Validation) -> Iterator[str]:
    failed = [level for level in LEVELS if level not in validation.passed]
    verdicts = [f"passes {', '.join(validation.passed)}"] if validation.passed else []
    verdicts += [f"does not pass {', '.join(failed)}"] if failed else []
    yield f"The zoo's validator, bioimageio.spec {validation.version}, without network: {'; '.join(verdicts)}"
    yield f"Completeness of the description, by which the zoo ranks too: {100 * validation.completeness:.0f} %"
    for remark in validation.remarks:
        yield f"{remark.level:<8} {remark.field or 'rdf.yaml'}: {remark.says}"
        yield f"{_INDENT}fix: {remark.fix}"
