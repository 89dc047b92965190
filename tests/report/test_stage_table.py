"""The table and the picture of a flow's stages, of figures put together by hand."""

import dataclasses
import pathlib
import tempfile

import shown_results
import tensorflow as tf

from tfcompress.finished_stage import FinishedStage
from tfcompress.measured import Measured
from tfcompress.methods import LIT, Uniform
from tfcompress.report.call import call_of
from tfcompress.report.stage_table import draw_stages, stage_rows


def measured(macs, params, test, file_bytes=None):
    on_device = {} if file_bytes is None else {"file_bytes": file_bytes, "latency_ms": macs / 1000}
    return Measured(macs, params, 4 * params, test, "test", test - 0.01, on_device=on_device)


def flow(sides, seconds):
    """The result of two stages, whose models cost and score what `sides` say, the original's first."""
    stages = tuple(
        FinishedStage(
            *(method.name, method.settings(), {"macs": 500}, before, after, {"search": {}, "recover": {}}, (), 1, time)
        )
        for method, before, after, time in zip(
            (LIT(epochs=2), Uniform(epochs=2)), sides, sides[1:], seconds, strict=False
        )
    )
    fields = {"before": sides[0], "after": sides[-1], "stages": stages, "method": "lit+uniform"}
    return dataclasses.replace(shown_results.with_fields(), **fields)


PLAIN = flow([measured(1000, 300, 0.9), measured(500, 150, 0.92), measured(250, 100, 0.89)], (75.0, None))


class StageTableTest(tf.test.TestCase):
    def test_what_each_stage_left_gained_and_cost(self):
        self.assertEqual(
            stage_rows(PLAIN),
            [
                ("stage", "MACs", "", "parameters", "", "bytes", "", "accuracy (test)", "change", "time"),
                ("original", "1,000", "", "300", "", "1,200", "", "0.9000", "", ""),
                ("1 lit", "500", "50.0%", "150", "50.0%", "600", "50.0%", "0.9200", "+0.0200", "1 min 15 s"),
                ("2 uniform", "250", "25.0%", "100", "33.3%", "400", "33.3%", "0.8900", "-0.0300", "-"),
            ],
        )

    def test_file_and_latency_where_all_have_them(self):
        sides = [measured(1000, 300, 0.9, 2000), measured(500, 150, 0.92, 1000), measured(250, 100, 0.89, 800)]
        rows = stage_rows(flow(sides, (1.0, 2.0)))
        self.assertEqual(rows[0][5:9], ("TFLite bytes", "", "latency, ms", ""))
        self.assertEqual(rows[2][5:9], ("1,000", "50.0%", "0.5", "50.0%"))
        sides[1] = measured(500, 150, 0.92)
        self.assertEqual(stage_rows(flow(sides, (1.0, 2.0)))[0][5:7], ("bytes", ""))

    def test_without_a_metric(self):
        sides = [
            dataclasses.replace(side, accuracy=None, validation_accuracy=None) for side in (PLAIN.before, PLAIN.after)
        ]
        rows = stage_rows(flow(sides, (1.0,)))
        self.assertEqual([row[-2:] for row in rows], [("", "time"), ("", ""), ("33.3%", "1.0 s")])

    def test_the_picture(self):
        upper, lower = draw_stages(PLAIN).axes
        self.assertAllClose(upper.lines[0].get_ydata(), [0.9, 0.92, 0.89])
        shares = {line.get_label(): line.get_ydata() for line in lower.lines}
        self.assertAllClose(shares["MACs"], [1, 0.5, 0.25])
        self.assertAllClose(shares["parameters"], [1, 0.5, 1 / 3])
        self.assertEqual([tick.get_text() for tick in lower.get_xticklabels()], ["original", "lit", "uniform"])

    def test_saved_and_loaded(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "saved"
        PLAIN.save(folder)
        loaded = type(PLAIN).load(folder)
        self.assertEqual(loaded.stages, PLAIN.stages)
        self.assertEqual([stage.seconds for stage in loaded.stages], [75.0, None])

    def test_the_call_that_repeats_it(self):
        said = call_of(dataclasses.replace(PLAIN, settings={"split": [0.8, None]}))
        self.assertIn(
            "    [\n        tfcompress.methods.LIT(epochs=2),\n        tfcompress.methods.Uniform(epochs=2),\n    ],",
            said,
        )
        self.assertIn("\n    split=(0.8, None),\n", said)
        compile(said, "call", "exec")
