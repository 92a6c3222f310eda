"""Every key of a configuration explains itself: the reference page and the schema are made of these descriptions."""

import re

import pytest

from qhybrid.config import RunConfig, Section
from qhybrid.studies.plan import StudyConfig


def sections(base=Section):
    for child in base.__subclasses__():
        yield child
        yield from sections(child)


# Other tests' own sections are not the package's.
SECTIONS = sorted(
    {section for section in sections() if section.__module__.startswith(("qhybrid.", "hardware."))},
    key=lambda section: section.__name__,
)


def test_the_sections_of_a_run_and_of_a_study_are_among_them():
    assert {RunConfig, StudyConfig} <= set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_field_has_a_description(section):
    missing = [name for name, field in section.model_fields.items() if not field.description]
    assert not missing, f"{section.__module__}.{section.__name__}: give `description=` to {missing}"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_descriptions_are_sentences(section):
    for name, field in section.model_fields.items():
        text = field.description or ""
        assert re.match(r"[A-Z`].*\.$", text), f"{section.__name__}.{name}: {text!r}"
        assert "  " not in text, f"{section.__name__}.{name} has two spaces"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_a_field_that_may_be_null_says_what_null_means(section):
    for name, field in section.model_fields.items():
        if type(None) in getattr(field.annotation, "__args__", ()):
            assert "null" in field.description, f"{section.__name__}.{name} may be null: what does that mean?"
