"""The measured latency of whole networks, compared with the sum of the measured latencies of their parts.

    python recipes/latency_of_parts.py --table latency.json

Each network is cut into layers with the normalization and activation that follow them; each part is measured alone,
equal ones once, in LiteRT with one thread, and so is the whole. docs/latency.md has the table and explains the
difference. A second run with the same --table measures only the wholes again. Some minutes on two CPU cores,
most of them in the conversion of the parts.
"""

import argparse

from tfcompress import zoo
from tfcompress.costs import LatencyTable, device, latency_of_parts, measure_latency
from tfcompress.report.table import in_columns

NETWORKS = {
    "resnet20": lambda: zoo.resnet20(),
    "resnet20_v2": lambda: zoo.resnet20_v2(),
    "wide_resnet16_2": lambda: zoo.wide_resnet(16, 2),
    "mobilenet_v2": lambda: zoo.mobilenet_v2((96, 96, 3)),
}
SMOKE = {"tiny": lambda: zoo.wide_resnet(10, 1, (8, 8, 3))}


def row(name, model, table):
    """Returns a row of the table: the whole, the sum of its parts with the overhead once, and the difference."""
    parts = latency_of_parts(model, table)
    total = sum(part.ms for part in parts) + table.overhead_ms
    whole = measure_latency(model, batch=table.batch, threads=table.threads, seconds=10.0)
    settled = "" if whole.settled else "not settled"
    difference = f"{total / whole.median_ms - 1:+.1%}"
    return (
        name,
        str(table.batch),
        str(len(parts)),
        f"{whole.median_ms:.3f}",
        f"{whole.spread_ms:.3f}",
        f"{total:.3f}",
        difference,
        settled,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="numbers of samples in one invocation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", default="latency.json", help="file of the parts' latencies")
    parser.add_argument("--smoke", action="store_true", help="one tiny network, one batch size")
    args = parser.parse_args()

    networks = SMOKE if args.smoke else {name: NETWORKS[name] for name in args.networks}
    rows = [("network", "batch", "parts", "whole ms", "spread", "sum ms", "difference", "")]
    for batch in args.batches[:1] if args.smoke else args.batches:
        table = LatencyTable(args.table, batch=batch, threads=args.threads)
        for name, build in networks.items():
            rows.append(row(name, build(), table))
            print(" ".join(rows[-1]), flush=True)
    print(", ".join(f"{key}: {value}" for key, value in device().items()))
    print(f"threads: {args.threads}, overhead of an invocation: {1e3 * table.overhead_ms:.2f} us")
    print("\n".join(in_columns(rows, left=1)))


if __name__ == "__main__":
    main()
