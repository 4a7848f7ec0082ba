"""Checks of what people state: names, people, rights, texts, tags. Each is a small function of a finished package.

A package of ours holds its card, so that what somebody stated is told from what a template says; of a package of other
software everything was stated by somebody.
"""

from __future__ import annotations

import re
from typing import Any

from bioimageio.spec._internal.constants import TAG_CATEGORIES

from eseg_export.finished import FinishedPackage
from eseg_export.review.answers import Answer, look, missing, ok

_ADDRESS = re.compile(r"https?://\S|\b10\.\d{4,9}/\S")  # a link or a DOI


def model_is_named(package: FinishedPackage) -> Answer:
    """Say whether somebody named the model; whether the name tells enough, a person has to say."""
    name = package.rdf.get("name")
    if not name or not is_stated(package, "name"):
        return missing(f"it has the name that the template gives: {name}" if name else "it has none")
    return look(f"{name}: does it say what, of which organism or tissue, and in which kind of image?")


def model_is_described(package: FinishedPackage) -> Answer:
    """Say whether somebody described the model."""
    if not package.rdf.get("description"):
        return missing("there is none")
    if not is_stated(package, "description"):
        return missing("it is the template's, which knows the classes alone")
    return ok("stated")


def authors_are_named(package: FinishedPackage) -> Answer:
    """Say whether there are authors."""
    names = [str(author["name"]) for author in people(package, "authors")]
    return ok(", ".join(names)) if names else missing("nobody is named")


def authors_are_known(package: FinishedPackage) -> Answer:
    """Say of which authors affiliation or ORCID is lacking."""
    authors = people(package, "authors")
    lacking = {
        str(author["name"]): [key for key in ("affiliation", "orcid") if not author.get(key)] for author in authors
    }
    told = [f"{name} has no {' and no '.join(keys)}" for name, keys in lacking.items() if keys]
    if not authors:
        return missing("there are no authors")
    return missing("; ".join(told)) if told else ok("stated")


def somebody_answers(package: FinishedPackage) -> Answer:
    """Say whether there is a maintainer, or an author with a GitHub name."""
    maintainers = [str(person.get("name") or person["github_user"]) for person in people(package, "maintainers")]
    users = [str(author["github_user"]) for author in people(package, "authors") if author.get("github_user")]
    named = maintainers or users
    return ok(", ".join(named)) if named else missing("no maintainer, and no author with a github_user")


def license_is_stated(package: FinishedPackage) -> Answer:
    """Say under which licence the model is; whether it is an SPDX identifier, the validator says."""
    license_ = package.rdf.get("license")
    if not license_:
        return missing("there is none")
    if isinstance(license_, dict):
        return look("it is a text of its own; reviewers and search expect an SPDX identifier")
    return ok(str(license_))


def work_is_cited(package: FinishedPackage) -> Answer:
    """Say whether every citation leads somewhere, and whether there is one beside that of the method."""
    entries = package.rdf.get("cite") or []
    if not entries:
        return missing("nothing is cited")
    leading_nowhere = [str(entry.get("text"))[:40] for entry in entries if not (entry.get("doi") or entry.get("url"))]
    if leading_nowhere:
        return missing(f"without doi and url: {'; '.join(leading_nowhere)}")
    if not is_stated(package, "cite"):
        return look("the method is cited alone: is there a publication of the images, or of this model?")
    return ok(f"{len(entries)} with a DOI or an address")


def training_data_is_told(package: FinishedPackage) -> Answer:
    """Say whether the images of the training are described, and whether the text says where they are."""
    if package.rdf.get("training_data"):
        return ok("a dataset of the zoo")
    text = str(card(package).get("training_data") or "") if is_ours(package) else section(package, "training data")
    if not text.strip():
        return missing("not stated")
    if not _ADDRESS.search(text):
        return look("there is no address or DOI in it: where can the images be had, and may they be shared?")
    return ok("stated, with an address")


def use_is_stated(package: FinishedPackage) -> Answer:
    """Say whether somebody said what the model is for."""
    return _own_words(package, "intended_use", "intended use")


def limits_are_stated(package: FinishedPackage) -> Answer:
    """Say whether somebody said where the model fails."""
    return _own_words(package, "limits", "limit")


def _own_words(package: FinishedPackage, key: str, heading: str) -> Answer:
    if is_ours(package) and card(package).get(key):
        return ok("stated")
    if not section(package, heading).strip():
        return missing("there is no such section in the README")
    if is_ours(package):
        return look("the README has the template's words, which fit every model")
    return ok("in the README")


def tags_are_added(package: FinishedPackage) -> Answer:
    """Say whether there is a tag of each of the zoo's categories, and tags beside those of the template."""
    tags = package.rdf.get("tags") or []
    without = [category for category, known in TAG_CATEGORIES["model"].items() if not set(known) & set(tags)]
    if without:
        return missing(f"none of those that the zoo has for {', '.join(without)}")
    added = card(package).get("tags") if is_ours(package) else tags
    if not added:
        return missing("only the template's")
    return ok(", ".join(map(str, added)))


def version_is_stated(package: FinishedPackage) -> Answer:
    """Say which version it is."""
    version = package.rdf.get("version")
    return ok(str(version)) if version else missing("there is none")


def repository_is_stated(package: FinishedPackage) -> Answer:
    """Say where the model is developed."""
    address = package.rdf.get("git_repo")
    return ok(str(address)) if address else missing("not stated")


def people(package: FinishedPackage, field: str) -> list[dict[str, Any]]:
    """Return authors or maintainers."""
    return [person for person in package.rdf.get(field) or [] if person]


def is_ours(package: FinishedPackage) -> bool:
    """Say whether this project exported the package."""
    return bool(package.classes)


def card(package: FinishedPackage) -> dict[str, Any]:
    """Return the card that a package of ours was exported with; empty for one without a card."""
    stated: dict[str, Any] = package.rdf["config"]["eseg"].get("card") or {}
    return stated


def is_stated(package: FinishedPackage, key: str) -> bool:
    """Say whether a person stated a field, and not a template."""
    return bool(card(package).get(key) if is_ours(package) else package.rdf.get(key))


def readme(package: FinishedPackage) -> str:
    """Return the README without its code, where a # is no heading; empty where there is none."""
    named = package.rdf.get("documentation")
    name = named.get("source") if isinstance(named, dict) else named
    text = package.files.get(str(name), b"").decode(errors="replace")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def section(package: FinishedPackage, *words: str) -> str:
    """Return the text below the first heading with one of the words in it, up to the next heading of its rank."""
    rank, lines = 0, []
    for line in readme(package).splitlines():
        heading = re.match(r"(#+)\s+(.*)", line)
        if heading and rank and len(heading[1]) <= rank:
            break
        if rank:
            lines.append(line)
        elif heading and any(word in heading[2].lower() for word in words):
            rank = len(heading[1])
    return "\n".join(lines)
