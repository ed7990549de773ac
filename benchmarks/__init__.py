"""One file per performance claim, each measured together with a peer or a limit in the same run.

Contents: `harness` (measurement), `run` (the command), a module per claim with `run(*, quick)`, and
`results/`, one JSON line per figure. Peers whose dependencies conflict with ours get an environment
of their own under `peers/`. Benchmarks are not tests: they may be slow, and may contradict a claim.
"""
