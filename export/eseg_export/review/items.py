"""The checklist as data: what reviewers ask for, in the order in which they read; how to fix it; who says so."""

from __future__ import annotations

from dataclasses import dataclass

from eseg_export.finished import RDF, FinishedPackage
from eseg_export.review import contents, statements
from eseg_export.review.answers import Answer, Check, State, missing
from eseg_export.review.sources import (
    CONTRIBUTING,
    FORMAT,
    GUIDELINES,
    MODEL_CARD,
    SUBMISSION,
    VALIDATION_ASKED,
    Source,
)


@dataclass(frozen=True)
class Item:
    """One thing that reviewers ask for."""

    what: str
    asked: str  # in one phrase
    fix: str
    sources: tuple[Source, ...]
    check: Check
    fields: tuple[str, ...] = ()  # of rdf.yaml that the same fix fills
    is_needed: bool = False  # so much that every export names it while it is missing

    @property
    def title(self) -> str:
        """What is asked for, as one line."""
        return f"{self.what}: {self.asked}"

    def answer(self, package: FinishedPackage) -> Answer:
        """Return how it stands; a description of a form that the check cannot read is itself an answer."""
        try:
            return self.check(package)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            return missing(f"{RDF} is not of the form that the zoo knows ({type(error).__name__}: {error})")


_EXPORT_AGAIN = "export it again with eseg export; in a package of other software, mend it there"

ITEMS: tuple[Item, ...] = (
    Item(
        "authors", "who made the model",
        "authors in the card: [{name: Jane Doe, affiliation: ..., orcid: ..., github_user: jdoe}]",
        (GUIDELINES, FORMAT), statements.authors_are_named, fields=("authors",), is_needed=True,
    ),
    Item(
        "maintainers, or a github_user of an author", "who answers questions",
        "maintainers in the card: [{github_user: jdoe}], or github_user of an author",
        (GUIDELINES, FORMAT), statements.somebody_answers, fields=("maintainers",), is_needed=True,
    ),
    Item(
        "license", "an SPDX identifier such as CC-BY-4.0", "license in the card",
        (GUIDELINES, SUBMISSION), statements.license_is_stated, fields=("license",), is_needed=True,
    ),
    Item(
        "training_data", "what was imaged, how, and where it can be had",
        "training_data in the card, with an address or DOI and whom to credit; or dataset_id for a dataset of the zoo",
        (GUIDELINES, MODEL_CARD), statements.training_data_is_told, fields=("training_data",), is_needed=True,
    ),
    Item(
        "description", "what this model segments",
        "description in the card: what it is for, which images it takes (organism, microscope), what comes out",
        (GUIDELINES, SUBMISSION), statements.model_is_described, fields=("description",), is_needed=True,
    ),
    Item(
        "name", "organism or tissue, what is segmented, kind of image",
        "name in the card, such as 'Neuron segmentation in EM of the fly (2D)'",
        (GUIDELINES, CONTRIBUTING), statements.model_is_named, fields=("name",),
    ),
    Item(
        "affiliation and orcid", "of every author", "affiliation and orcid of each of the authors in the card",
        (SUBMISSION, MODEL_CARD), statements.authors_are_known,
    ),
    Item(
        "cite", "publications, each with DOI or address", "cite in the card: [{text: ..., doi: ...}]",
        (GUIDELINES, FORMAT), statements.work_is_cited, fields=("cite",),
    ),
    Item(
        "tags", "organism, structure and technique, for the search", "tags in the card, such as [drosophila, synapse]",
        (GUIDELINES, CONTRIBUTING, SUBMISSION), statements.tags_are_added, fields=("tags",),
    ),
    Item(
        "version", "of the model", "version in the card, such as 1.0.0",
        (FORMAT,), statements.version_is_stated, fields=("version",),
    ),
    Item(
        "git_repo", "where the model is developed", "git_repo in the card, as an address",
        (SUBMISSION, MODEL_CARD), statements.repository_is_stated, fields=("git_repo",),
    ),
    Item(
        "README", "the sections that reviewers read",
        "README.md beside a template of your own (--template) needs them; those of the built-in templates have them",
        (SUBMISSION, MODEL_CARD, GUIDELINES), contents.readme_is_complete, fields=("documentation",),
    ),
    Item(
        "validation", "figures, measured on data that the model was not trained on",
        "label images that training never saw, then: eseg evaluate model.pt --images new.tif --labels truth.tif"
        " --json figures.json, and eseg export ... --evaluation figures.json",
        (GUIDELINES, FORMAT, VALIDATION_ASKED), contents.quality_is_measured,
    ),
    Item(
        "intended use", "for which images and questions", "intended_use in the card",
        (SUBMISSION, GUIDELINES), statements.use_is_stated,
    ),
    Item(
        "limits", "where it fails, and what it was never tried on", "limits in the card",
        (GUIDELINES, MODEL_CARD), statements.limits_are_stated,
    ),
    Item(
        "pixel size", "in micrometres, of the images that it is for",
        "voxel_size in run.yaml before the training; for a trained model, say it in training_data in the card",
        (GUIDELINES, MODEL_CARD), contents.pixel_size_is_known,
    ),
    Item(
        "cover", "2:1 or 1:1, at most 500 kB, input beside output",
        "eseg export draws it from the model's sample, without a scale bar; a draft on the zoo's site takes another",
        (FORMAT, GUIDELINES, SUBMISSION), contents.cover_is_shaped, fields=("covers",),
    ),
    Item(
        "test and sample data", "for the zoo's test and for a first try", _EXPORT_AGAIN,
        (GUIDELINES, CONTRIBUTING), contents.data_can_be_tried, fields=("inputs", "outputs"),
    ),
    Item(
        "reproducible", "the zoo's test gives the test output within its tolerance",
        "bioimageio test model.zip; upload with eseg upload, as the browser drops a declared tolerance",
        (SUBMISSION, CONTRIBUTING), contents.rounding_is_tolerated,
    ),
    Item(
        "standard runtime", "weights that run without an environment of their own", _EXPORT_AGAIN,
        (SUBMISSION,), contents.runtime_is_standard, fields=("weights",),
    ),
    Item(
        "software", "runs in one of the zoo's programs at least",
        "eseg export says why for each program; what the card lacks stops some of them",
        (CONTRIBUTING,), contents.software_runs_it,
    ),
    Item(
        "files and size", "nothing but what rdf.yaml names", _EXPORT_AGAIN,
        (SUBMISSION,), contents.files_are_named, fields=("attachments",),
    ),
)  # fmt: skip


def fix_of(field: str) -> str:
    """Return how to mend a field of `rdf.yaml`."""
    return next((item.fix for item in ITEMS if field in item.fields), f"no key of the card sets it: {_EXPORT_AGAIN}")


def missing_for_publication(package: FinishedPackage) -> list[str]:
    """Return what reviewers need first and the package lacks, one phrase each."""
    return [item.title for item in ITEMS if item.is_needed and item.answer(package).state is State.MISSING]
