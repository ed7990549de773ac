"""Code people copy from a page."""

from collections.abc import Iterable

from ui.facts import VersionFacts


def load_snippet(version: VersionFacts) -> str:
    """Write the Python that loads a version into PyTorch batches."""
    roles = {
        "dense": version.dense,
        "sparse": version.sparse,
        "sequence": version.sequence,
        "label": version.label_names,
    }
    spec = "".join(f"    {role}={_list(names)},\n" for role, names in roles.items() if names)
    return (
        "import headrace as hr\n\n"
        "lake = hr.Lake.open()\n"
        f'data = lake.dataset("{version.name}", version={version.version})\n'
        f"spec = hr.FeatureSpec(\n{spec})\n"
        "with hr.SampleLoader(data, spec=spec, batch_size=4096) as loader:\n"
        "    for batch in loader:\n"
        "        ..."
    )


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
