"""LIT, Figure 3: VDCNN on reviews, students from scratch, with KD, with LIT, and with LIT in a sequence of students.

    python recipes/lit_figure3_vdcnn.py --data yelp_polarity_reviews
    python recipes/lit_figure3_vdcnn.py --data folder/of/amazon_review_polarity

The teacher is a VDCNN-29 trained from scratch; students have 9, 17 and 29 layers. "LIT in sequence" compresses to a
VDCNN-17 first, and from that one to a VDCNN-17 and a VDCNN-9. The paper's data are Amazon reviews, polarity and full:
give the folder of Zhang et al.'s train.csv and test.csv. A name is one of tensorflow-datasets, such as imdb_reviews,
yelp_polarity_reviews or amazon_us_reviews/Books_v1_00.

The paper has no table of this figure. In words: LIT outperforms KD everywhere, a VDCNN-9 trained with LIT is as
accurate as its teacher, the VDCNN-29 (3.2 times smaller), and KD makes a VDCNN-29 worse on polarity.

Not run at full length here: one training on 3.6 million reviews takes weeks on two CPU cores. `--images 5000` takes the
first so many reviews.
"""

import pathlib
import tempfile

import networks
import runner

import tfcompress
from tfcompress.methods.distillation import KD, LIT, Scratch

# For the smoke run.
SENTENCES = ("dull and far too long", "a fine story, well told", "i want my money back", "we laughed and cried")


def load(args):
    """Loads reviews by name, or from the CSV files of a folder."""
    if args.smoke:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "train.csv"
            lines = [f'"{1 + i % 2}","number {i}","{SENTENCES[i % 4]}"' for i in range(60)]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return tfcompress.data.load_text_files(str(file), str(file), length=64)
    folder = pathlib.Path(args.data)
    if folder.is_dir():
        files = (str(folder / "train.csv"), str(folder / "test.csv"))
        return tfcompress.data.load_text_files(*files, samples=args.images)
    return tfcompress.data.load(args.data, images=args.images)


def students(args, depth):
    """Returns the students of one depth; in a sequence a VDCNN-17 comes first."""
    made = {"scratch": (Scratch, {}), "KD": (KD, {}), "LIT": (LIT, {})}
    if depth <= 17:
        made["LIT in sequence"] = (LIT, {"blocks": (networks.blocks(17, args), networks.blocks(depth, args))})
    return made


RECIPE = {
    "flags": runner.LIT_FLAGS
    | {
        "network": {"default": "vdcnn", "choices": ("vdcnn",)},
        "teacher_depth": {"default": 29, "choices": tuple(networks.VDCNN_BLOCKS)},
        "depths": {"default": [29, 17, 9], "choices": tuple(networks.VDCNN_BLOCKS), "help": "depths of the students"},
        "data": "yelp_polarity_reviews",
        "out": "savedmodels/lit_figure3",
    },
    "smoke": runner.LIT_SMOKE,
    "load": load,
    "model": runner.teacher,
    "runs": runner.students(students, teacher_is_scratch=True),
    "number": "depth",
    "plot": True,
}


if __name__ == "__main__":
    runner.main(__doc__, RECIPE)
