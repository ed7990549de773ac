"""One file per claim, each measured beside a peer or a limit in the same run.

Here: `harness` (how to measure), `run` (the command), a module per claim with `run(*, quick)`, and
`results/`, one JSON line per figure. Peers whose dependencies conflict with ours get an environment
of their own under `peers/`. Not here: tests; a benchmark may be slow and may disagree with a claim.
"""
