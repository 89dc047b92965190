"""Speed at half and a quarter of the multiply-adds, latency budgets, and predicted against measured latency.

    python recipes/latency_budgets.py --networks resnet56 mobilenet_v2 resnet50

For each network a table of its operators is measured. Widths are those of `Uniform` (one ratio, the rest spent step by
step) for `round_to` 1, 4, 8, 16 and "auto", to half and a quarter of the multiply-adds, and to half of the latency.
30 random plans, none of which the prediction was fitted to, are predicted and measured. Measured are files of these
widths with random weights, one sample, one thread, in turn with the whole network, as shares of its latency; nothing is
trained. `--fastest 0.49 0.24` looks besides for the fastest widths with at least these shares of the multiply-adds, by
a random walk over the table, whatever they would do to the accuracy. docs/latency.md has the tables. One to five
minutes for each network on two busy CPU cores, most of them for ResNet50.
"""

import argparse

import keras
import numpy as np

from tfcompress import zoo
from tfcompress.channels import Control
from tfcompress.channels.paying import paying_widths
from tfcompress.costs import device
from tfcompress.network import Network
from tfcompress.operators import LatencyPrediction, OperatorTable
from tfcompress.report.table import in_columns

NETWORKS = {
    "resnet56": lambda: zoo.resnet56(),
    "mobilenet_v2": lambda: keras.applications.MobileNetV2(weights=None),
    "resnet50": lambda: keras.applications.ResNet50(weights=None),
}
SMOKE = {"tiny": lambda: zoo.wide_resnet(10, 1, (8, 8, 3))}
MULTIPLES = (1, 4, 8, 16, "auto")
COLUMN = "latency_ns"
GOAL, TRIES = 0.98, 5  # of a latency budget, what is aimed at; how often a plan is made again


def even(network, widths, metric, share):
    """Returns the widths of `Uniform` within a share of a metric."""
    limit = share * network.costs.total[metric]
    return widths.even(lambda kept: int(network.costs.count(metric, kept)) <= limit)


def within_latency(network, widths, prediction, share):
    """Returns widths that measure as near to a share of the latency as some tries come, and the measured share."""
    best, scale = None, GOAL
    for _ in range(TRIES):
        kept = even(network, widths, COLUMN, share * scale)
        reached = prediction.measured_ms(kept) / prediction.whole_ms
        if reached <= share and (best is None or reached > best[1]):
            best = kept, reached
        if best is not None and best[1] >= 0.96 * share:
            break
        scale *= min(1.2, max(0.5, GOAL * share / reached))
    return best or (kept, reached)


def speeds(network, prediction):
    """Returns rows: for each `round_to` shares of multiply-adds and how many times as fast, and half of the latency."""
    costs = network.costs
    paying = paying_widths(network.groups, prediction.lookups)
    for multiple in MULTIPLES:
        control = Control(round_to=multiple, paying=paying if multiple == "auto" else {})
        widths = control.widths(network.groups)
        row = [str(multiple)]
        for share in (0.5, 0.25):
            kept = even(network, widths, "macs", share)
            times = prediction.whole_ms / prediction.measured_ms(kept)
            row += [f"{costs.count('macs', kept) / costs.total.macs:.3f}", f"{times:.2f}"]
        kept, reached = within_latency(network, widths, prediction, 0.5)
        yield (*row, f"{reached:.3f}", f"{costs.count('macs', kept) / costs.total.macs:.3f}")


def errors(network, prediction, count=30):
    """Returns the relative errors of the latency that is predicted for random plans, as a share of the whole one's."""
    rng, sizes, off = np.random.default_rng(7), network.costs.sizes, []
    whole = float(prediction.predicted_ms(sizes))
    for _ in range(count):
        low, high = sorted(rng.uniform(0.1, 1, 2))
        kept = np.maximum(1, np.floor(sizes * rng.uniform(low, high, len(sizes)))).astype(np.int64)
        off.append(
            float(prediction.predicted_ms(kept)) / whole * prediction.whole_ms / prediction.measured_ms(kept) - 1
        )
    return np.abs(off)


def fastest(network, prediction, share, seed, steps=6000, tried=64):
    """Returns widths of low predicted latency with at least a share of the multiply-adds, after a random walk."""
    rng, sizes, costs = np.random.default_rng(seed), network.costs.sizes, network.costs
    kept, ms = sizes.copy(), float(prediction.predicted_ms(sizes))
    for _ in range(steps):
        plans = np.repeat(kept[None], tried, axis=0)
        for plan in plans:
            groups = rng.choice(len(sizes), rng.integers(1, 4), replace=False)
            moves = rng.choice([1, 2, 4, 8, 16], len(groups)) * rng.choice([-1, 1], len(groups), p=[0.6, 0.4])
            plan[groups] = np.clip(plan[groups] + moves, 1, sizes[groups])
        predicted = prediction.predicted_ms(plans)
        predicted[costs.count("macs", plans) < share * costs.total.macs] = np.inf
        best = int(np.argmin(predicted))
        if predicted[best] < ms:
            kept, ms = plans[best], float(predicted[best])
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--table", default="operators.json", help="file of the operators' latencies")
    parser.add_argument("--fastest", nargs="+", type=float, default=[], help="shares of the multiply-adds")
    parser.add_argument("--smoke", action="store_true", help="one tiny network")
    args = parser.parse_args()
    head = ("round_to", "MACs", "times as fast", "MACs", "times as fast", "latency of 0.5", "its MACs")
    for name, build in (SMOKE if args.smoke else {name: NETWORKS[name] for name in args.networks}).items():
        network = Network(build())
        prediction = LatencyPrediction(network, OperatorTable(args.table))
        network.costs.look_up(COLUMN, prediction.lookups)
        off = errors(network, prediction, 4 if args.smoke else 30)
        print(f"{name}: {prediction.whole_ms:.3f} ms; {prediction.correction}")
        print(
            f"{len(off)} random plans: median error {np.median(off):.1%}, {np.mean(off <= 0.05):.0%} within 5%, "
            f"{np.mean(off <= 0.1):.0%} within 10%, the worst {off.max():.1%}"
        )
        print("\n".join(in_columns([head, *speeds(network, prediction)], left=1)), flush=True)
        for share in args.fastest:
            for seed in (0, 1):
                kept = fastest(network, prediction, share, seed, *((20, 8) if args.smoke else ()))
                left = network.costs.count("macs", kept) / network.costs.total.macs
                times = prediction.whole_ms / prediction.measured_ms(kept)
                print(f"fastest with {share:.0%} of the MACs, seed {seed}: {left:.1%}, {times:.2f} times as fast")
    print(", ".join(f"{name} {value}" for name, value in device().items()))


if __name__ == "__main__":
    main()
