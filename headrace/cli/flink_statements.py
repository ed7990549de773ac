"""The statements of a job of Flink as `headrace flink submit --print` shows them."""

from headrace.cli.declared import stream_named, window_rows_named
from headrace.cli.flink_jobs import is_table
from headrace.cli.output import Output


def print_statements(name: str, out: Output) -> None:
    """Print the statements of a job by its name, without secrets; nothing is started."""
    from headrace.cli.declared import keyed_stream, sample_set_of
    from headrace.config import Settings
    from headrace.flink import keyed_job, sample_job, view_job
    from headrace.flink.ingest_sql import ingest_sql
    from headrace.flink.live_samples import live_samples
    from headrace.flink.places import places_of
    from headrace.flink.writers import writers_of
    from headrace.tables.lake import OpenLake

    settings = Settings.load()
    samples = sample_set_of(name, settings) if is_table(name) else None
    keyed = keyed_stream(name, settings)
    if keyed is not None:
        sql = keyed_job.printed(settings, keyed)
    elif samples is not None:
        with OpenLake.open(settings) as lake:
            sql = sample_job.printed(settings, live_samples(lake, samples))
    elif is_table(name):
        sql = view_job.printed(*window_rows_named(name))
    else:
        settings, declared = stream_named(name)
        places = places_of(settings, stream=name).shown()
        sql = ingest_sql(
            declared,
            places,
            starts={},
            group=f"headrace-{name}",
            writers=writers_of(declared, settings).by_id,
        )
    out.facts({"sql": sql.text, "plan": sql.plan})
    out.show(sql.text.rstrip())
