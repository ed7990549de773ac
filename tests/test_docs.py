"""What the documents say about the house is what is there."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import TypeAdapter

from docs.site.commands import every_command
from docs.site.declared import PAGES
from docs.site.errors import every_code
from docs.site.keys import keys_of
from docs.site.reference import reference_pages
from headrace.definitions.base import Declaration
from headrace.definitions.feature_view import FeatureView
from headrace.errors import FindingCode
from headrace.lake_file import DEFAULTS, ProfileKeys, profile_values
from orchestration.lib.section import Section

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL_ROOMS = {
    "lake",
    "dbt_project",
    "new_lake",
    "orchestration",
    "ui",
    "demo",
    "benchmarks",
    "docs",
    "infra",
}


def test_the_contributing_guide_names_every_room_and_no_other() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_/]+)` \|", text, re.MULTILINE))
    rooms = {f"headrace/{f.parent.name}" for f in (ROOT / "headrace").glob("*/__init__.py")}
    assert listed == rooms | TOP_LEVEL_ROOMS
    assert all((ROOT / room).is_dir() for room in TOP_LEVEL_ROOMS)


def test_every_decision_is_listed_and_at_most_sixty_lines() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for record in folder.glob("0*.md"):
        assert f"({record.name})" in index
        assert len(record.read_text().splitlines()) <= 60


def test_every_relative_link_in_the_documents_leads_somewhere() -> None:
    made = {ROOT / "docs" / page for page in reference_pages()}
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            path = Path(os.path.normpath(page.parent / target))
            assert path.exists() or path in made, f"{page.name} links to {target}"


def test_tests_that_documents_name_are_there() -> None:
    tests = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    named = re.compile(r"\b(tests/[\w/]+\w(?:\.py)?)|\b(test_\w+\.py)|\b(test_\w+)")
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for cell in (cell for each in documents for cell in re.split(r"[|\n]", each.read_text())):
        files = list(tests)
        for whole, file, function in named.findall(cell):
            if function:
                assert any(f"def {function}(" in tests[path] for path in files), cell
                continue
            folders = {path.rpartition("/")[0] for path in files}  # of what was named before it
            wanted = {whole} if whole else {f"{folder}/{file}" for folder in folders}
            files = [path for path in tests if path in wanted or path.startswith(f"{whole}/")]
            assert files or (ROOT / whole).is_file(), cell


def test_every_kind_of_declaration_has_a_page_with_each_of_its_keys() -> None:
    listed = {declared for classes in PAGES.values() for declared in classes}
    # a view is what a table's property says; its keys are those of the declaration
    assert _kinds(Declaration) - {FeatureView} <= listed
    for page, classes in PAGES.items():
        text = reference_pages()[f"reference/{page}.md"]
        for key in (key for declared in classes for key in keys_of(declared)):
            assert f"### `{key.name}`" in text
            assert f"{key.name}: {key.example}" in text or f"{key.name} = {key.example}" in text


def _kinds(kind: type) -> set[type]:
    """Return the classes below one that the library has, not those of tests."""
    below = (each for each in kind.__subclasses__() if each.__module__.startswith("headrace."))
    return {found for each in below for found in (each, *_kinds(each))}


def test_the_example_of_every_key_is_one_that_its_class_takes() -> None:
    for declared in _kinds(Declaration) - {FeatureView}:
        written = {field.alias or name: field for name, field in declared.model_fields.items()}
        for key in keys_of(declared):
            field = written[key.name]
            kind = (
                Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            )
            assert TypeAdapter(kind).validate_python(yaml.safe_load(key.example)) is not None


def test_the_example_of_every_setting_is_one_that_a_profile_takes() -> None:
    text = "\n".join(f"{key.name} = {key.example}" for key in keys_of(ProfileKeys))
    content = tomllib.loads(f"[profiles.local]\n{text}")
    assert set(profile_values(Path("lake.toml"), content, "local")) == set(DEFAULTS)
    assert tomllib.loads("\n".join(f"{key.name} = {key.example}" for key in keys_of(Section)))


def test_every_command_and_every_code_of_an_error_is_in_the_reference() -> None:
    commands = reference_pages()["reference/commands.md"]
    assert [each for each in every_command() if f"\n{each}" not in commands] == []
    errors = reference_pages()["reference/errors.md"]
    assert [each for each in every_code() if f"\n## {each}\n" not in errors] == []


def test_every_finding_has_a_section_in_the_runbook_and_every_section_a_finding() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [str(each) for each in FindingCode]
    room = sorted((ROOT / "headrace" / "standing").glob("*.py"))
    rules = "\n".join(path.read_text() for path in room)
    assert {each.name for each in FindingCode} == set(re.findall(r"FindingCode\.([A-Z_]+)", rules))


def test_commands_that_pages_name_are_there() -> None:
    commands = {tuple(each.split()[1:]) for each in every_command()}
    nouns = {(words[0],) for words in commands if len(words) > 1}
    for page in (ROOT / "docs").rglob("*.md"):
        named = re.findall(r"`headrace ([a-z][a-z-]*)(?: ([a-z][a-z-]+))?", page.read_text())
        for noun, verb in named:
            words = (noun, verb) if verb and (noun,) in nouns else (noun,)
            assert words in commands | nouns, f"{page.name} names `headrace {' '.join(words)}`"
