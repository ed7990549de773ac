"""The reference of what files declare: streams, feature views, window views, sample sets, `lake.toml`."""

import inspect
from collections.abc import Iterator, Mapping

from docs.site.keys import Key, anchor_of, keys_of
from headrace.definitions import stream_times
from headrace.definitions.csv_form import CsvForm
from headrace.definitions.feature_view import FeatureDeclaration
from headrace.definitions.json_form import JsonForm
from headrace.definitions.keyed_form import KeyedForm
from headrace.definitions.sample_set import (
    Exposures,
    FeatureUse,
    KeepNegatives,
    Label,
    Logged,
    SampleSet,
)
from headrace.definitions.sources import FileSource, KafkaSource, Topic
from headrace.definitions.stream import Stream
from headrace.definitions.stream_field import StreamField
from headrace.definitions.types import ALLOWED
from headrace.definitions.window_view import Aggregate, WindowView
from headrace.lake_file import ProfileKeys
from orchestration.lib.section import Section

# the classes of each page, the whole file first
PAGES: Mapping[str, tuple[type, ...]] = {
    "streams": (
        Stream,
        FileSource,
        KafkaSource,
        Topic,
        CsvForm,
        JsonForm,
        KeyedForm,
        StreamField,
        stream_times.FixedTime,
        stream_times.KnownAt,
        stream_times.Cadence,
        FeatureDeclaration,
    ),
    "feature-views": (FeatureDeclaration,),
    "window-views": (WindowView, Aggregate),
    "sample-sets": (SampleSet, Exposures, FeatureUse, Label, Logged, KeepNegatives),
    "lake-toml": (ProfileKeys, Section),
}
_TITLES = {
    "streams": ("Streams", "One file for each stream: `lake/streams/NAME.yaml`."),
    "feature-views": (
        "Feature views",
        (
            "A dbt model is a feature view if its `.yml` has these keys under `config: {meta: {headrace: …}}`; "
            "a stream, if its contract has them under `feature_view`."
        ),
    ),
    "window-views": ("Window views", "One file for each view: `lake/windows/NAME.yaml`."),
    "sample-sets": ("Sample sets", "One file for each sample set: `lake/samples/NAME.yaml`."),
    "lake-toml": (
        "lake.toml",
        (
            "Where a lake keeps its state, and how it runs. `profile` names the profile that is used where "
            "HEADRACE_PROFILE names none; it is `local` by default."
        ),
    ),
}
_SECTIONS: Mapping[type, str] = {
    FileSource: "source: files",
    KafkaSource: "source: a topic",
    Topic: "source: kafka",
    CsvForm: "csv",
    JsonForm: "json",
    KeyedForm: "keyed",
    StreamField: "fields: one field",
    stream_times.FixedTime: "event_time: a constant",
    stream_times.KnownAt: "known_at",
    stream_times.Cadence: "commit",
    FeatureDeclaration: "feature_view",
    Aggregate: "aggregates: one aggregate",
    Exposures: "exposures",
    FeatureUse: "features: one feature",
    Label: "labels: one label",
    Logged: "logged",
    KeepNegatives: "keep_negatives",
    ProfileKeys: "[profiles.NAME]",
    Section: "[orchestration]",
}
_KINDS = (
    "A duration is written as `30s`, `15m`, `24h`, `7d` or `1h30m`; a table as `namespace.name`; a name has "
    "lower-case letters, digits and `_`. `headrace check` finds what is wrong, with file and line."
)


def declared_pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page."""
    for name, classes in PAGES.items():
        title, about = _TITLES[name]
        text = [f"# {title}", about, _KINDS]
        for at, declared in enumerate(classes):
            text += _section(declared, whole=at == 0 and name != "lake-toml")
        yield name, "\n\n".join(text) + "\n"


def _section(declared: type, *, whole: bool) -> Iterator[str]:
    title = "The file" if whole else _SECTIONS[declared]
    yield f"## {title} {{ #{anchor_of(declared)} }}"
    yield inspect.cleandoc(declared.__doc__ or "")
    if declared is StreamField:
        yield f"Types are {', '.join(f'`{each}`' for each in ALLOWED)}."
    for key in keys_of(declared):
        yield from _shown(key, declared)


def _shown(key: Key, declared: type) -> Iterator[str]:
    is_toml = declared in (ProfileKeys, Section)
    yield f"### `{key.name}` {{ #{anchor_of(declared)}.{key.name} }}"
    default = key.default if key.default == "required" else f"default {key.default}"
    yield f"{key.kind} · {default}"
    yield key.meaning
    yield (
        f"```toml\n{key.name} = {key.example}\n```"
        if is_toml
        else (f"```yaml\n{key.name}: {key.example}\n```")
    )
