"""The declarations of a simulated lake: the contracts its files keep and one sample set."""

from collections.abc import Mapping

_LAKE = """\
# A simulated lakehouse; HEADRACE_LAKE=/path/to/this/file makes headrace work on it.
profile = "local"

[profiles.local]
state_dir = ".headrace"
data_dir = "data"

[orchestration]
first_day = 2026-01-05
"""

_IMPRESSIONS = """\
# Every slot shown on a page, as it reached the log: some late, some twice, a few broken.
stream: impressions
table: raw.impressions
source: {files: "impressions/*.jsonl"}
format: json
key: impression_id
event_time: shown_at
known_at: {column: received_at}
allowed_lateness: 24h
partition_by: [day(event_time)]
cluster_by: [campaign, item_id]
fields:
  impression_id:  {type: string, required: true}
  shown_at:       {type: timestamptz, required: true}
  received_at:    {type: timestamptz, required: true, doc: "when the collector had it"}
  policy:         {type: string, required: true, doc: "what chose the items: greedy or explore"}
  campaign:       {type: string, required: true}
  item_id:        {type: long, required: true, doc: "unique within its campaign"}
  position:       {type: int, required: true, doc: "slot on the page, 1 = top"}
  propensity:     {type: double, doc: "probability of the item under explore"}
  user_segment:   {type: string, required: true}
  session_id:     {type: string}
  user_id:        {type: long}
  affinity_items: {type: list<long>, doc: "items the user likes; empty for some"}
"""

_CLICKS = """\
# Clicks on impressions, seconds to hours after them.
stream: clicks
table: raw.clicks
source: {files: "clicks/*.csv"}
format: csv
key: click_id
event_time: clicked_at
known_at: {column: received_at}
allowed_lateness: 24h
partition_by: [day(event_time)]
fields:
  click_id:      {type: string, required: true}
  impression_id: {type: string, required: true}
  clicked_at:    {type: timestamptz, required: true}
  received_at:   {type: timestamptz, required: true}
  policy:        {type: string, required: true}
  campaign:      {type: string, required: true}
  item_id:       {type: long, required: true}
  position:      {type: int, required: true}
  user_segment:  {type: string, required: true}
"""

_WATCHES = """\
# Long watches that followed a click; the event is the end of the watch.
stream: watches
table: raw.watches
source: {files: "watches/*.jsonl"}
format: json
key: watch_id
event_time: watched_at
known_at: {column: received_at}
allowed_lateness: 24h
partition_by: [day(event_time)]
fields:
  watch_id:      {type: string, required: true}
  impression_id: {type: string, required: true}
  watched_at:    {type: timestamptz, required: true}
  received_at:   {type: timestamptz, required: true}
  seconds:       {type: int, required: true}
"""

_USER_STATE = """\
# What a streaming job says about a person's last seven days; a feature view as it arrives.
stream: user_state
table: raw.user_state
source: {files: "user_state/*.jsonl"}
format: json
event_time: as_of
known_at: {column: received_at}
allowed_lateness: 24h
partition_by: [day(event_time)]
feature_view: {entity: [user_id], ttl: 7d, delay: 0s}
fields:
  user_id:          {type: long, required: true}
  as_of:            {type: timestamptz, required: true}
  received_at:      {type: timestamptz, required: true}
  sessions_7d:      {type: long}
  watch_seconds_7d: {type: long}
"""

_ITEMS = """\
# The catalogue, and every later change of a price.
stream: items
table: raw.items
source: {files: "items/*.parquet"}
format: parquet
event_time: listed_at
known_at: {after_event: 0s}
partition_by: [day(event_time)]
fields:
  campaign:    {type: string, required: true}
  item_id:     {type: long, required: true, doc: "unique within its campaign"}
  listed_at:   {type: timestamptz, required: true}
  price_score: {type: double, required: true}
  brand:       {type: string}
  category:    {type: string}
  style:       {type: string}
"""

_WATCH = """\
# Will this impression be clicked, and will it be watched for long?
samples: watch
table: samples.watch
exposures:
  table: staging.impressions
  id: impression_id
  at: event_time
  entities: [user_id, campaign, item_id, user_segment]
  columns: [policy, position, propensity, session_id, affinity_items]
features:
  - {view: raw.user_state, columns: [sessions_7d, watch_seconds_7d]}
  - {view: features.item_ctr, columns: [impressions_1d, clicks_1d, ctr_1d, ctr_7d], prefix: item_}
  - {view: features.segment_activity, columns: [impressions_1d, clicks_1d], prefix: segment_}
labels:
  - {name: click, stream: staging.clicks, window: 30m, value: exists}
  - {name: long_watch, stream: raw.watches, window: 4h, value: exists}
partition_by: day
"""


def declarations() -> Mapping[str, str]:
    """Return the text of each file below `lake/`.

    Label windows and the feature's TTL are those the truth is computed with; see `plan`.
    """
    return {
        "lake.toml": _LAKE,
        "streams/impressions.yaml": _IMPRESSIONS,
        "streams/clicks.yaml": _CLICKS,
        "streams/watches.yaml": _WATCHES,
        "streams/user_state.yaml": _USER_STATE,
        "streams/items.yaml": _ITEMS,
        "samples/watch.yaml": _WATCH,
    }
