"""How often 95 % intervals hold the true error rate, over synthetic corpora.

    python -m tests.benchmarks.bench_intervals [--corpora 500] [--replicates 1000]

Utterances of 4 to 29 words differ in difficulty (beta distributed around the true rate); with
speakers, those of one speaker share theirs, and the interval draws utterances or whole speakers.
With 500 corpora the share itself is uncertain by 1 percentage point (one standard deviation).
"""

from __future__ import annotations

import argparse

from tests.test_significance import coverage

CORPORA = [
    (30, 0.1, 0),
    (100, 0.03, 0),
    (100, 0.1, 0),
    (300, 0.1, 0),
    (300, 0.3, 0),
    (1000, 0.1, 0),
    (1000, 0.1, 50),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    size = {"corpora": options.corpora, "replicates": options.replicates}
    print(f"{'utterances':>10} {'speakers':>8} {'true WER':>8} {'drawn':>10} {'covered':>8}")
    for utterances, mean, clusters in CORPORA:
        for by_cluster in (False, True) if clusters else (False,):
            found = coverage(
                utterances=utterances, mean=mean, clusters=clusters, by_cluster=by_cluster, **size
            )
            drawn = "speakers" if by_cluster else "utterances"
            speakers = clusters or "-"
            print(
                f"{utterances:>10} {speakers:>8} {mean:>8.0%} {drawn:>10} {found:>8.1%}", flush=True
            )


if __name__ == "__main__":
    main()
