"""The words of the glossary, explained where a page uses them."""

WORDS = {
    "stream": "events of one kind, declared in `lake/streams/NAME.yaml`",
    "contract": "what a stream declares of its records: fields, types, times, key",
    "dead letter": "a record that breaks its contract, kept with the reason, and replayed after a fix",
    "event time": "when something happened, by the producer's clock",
    "`known_at`": "the earliest moment at which serving could have used a row",
    "watermark": "the time up to which a stream is taken to be complete",
    "feature view": "a table of values by entity and time, computed by a dbt model",
    "revision": "a value that changed because input came late: a new row with the same event time and a "
    "later `known_at`",
    "sample": "one impression with its features as they were known then, and its labels",
    "mature": "a label whose window is over and whose stream is complete up to there; before, it is "
    "pending",
    "version": "samples that are pinned, hashed and described by a lockfile",
    "lease": "what keeps the snapshots that a reader uses from expiring, until it ends",
}


def meaning(word: str) -> str:
    """Explain a word of the glossary as a tooltip does.

    Raises:
        KeyError: If the glossary does not have it.

    """
    return f"{word.strip('`')}: {WORDS[word]}"
