"""Drawings of the methods: one function a method, one SVG file each.

python docs/methods/drawings/draw.py

writes all of them beside this file. They are drawn by hand in numbers; no measurement is in them.
"""

from __future__ import annotations

import pathlib

from pen import LINE, ORANGE, TEAL, WIDTH, Drawing


def uniform() -> Drawing:
    """Channels of four layers by their score: the same share goes everywhere."""
    d = Drawing("uniform: in every layer the lower half of the channels, by score, is removed", 250)
    scores = (62, 55, 47, 40, 33, 27, 22, 18, 14, 11)
    for number, (name, count) in enumerate((("stem", 6), ("conv1", 10), ("conv2", 8), ("conv3", 10))):
        x = 40 + number * 172
        d.bars(x, 150, scores[:count], kept=count // 2)
        d.path((x - 6, 150), (x + count * 13 + 3, 150))
        d.words(x + count * 6.5, 175, name, bold=True)
        d.note(x + count * 6.5, 193, f"{count // 2} of {count} stay")
    d.words(WIDTH / 2, 38, "A bar is a channel, its height the score: the lowest half of every layer goes")
    d.note(
        WIDTH / 2, 228, "what the ratio leaves of the budget is spent channel by channel, then what is left is trained"
    )
    return d


def knapsack() -> Drawing:
    """Widths of three groups, what they are worth and what they cost together."""
    d = Drawing("knapsack: of all widths of all layers, those of the greatest value that the budget holds", 300)
    d.words(WIDTH / 2, 34, "Every group of channels gets a value for each width; costs belong to pairs of groups")
    for number, (name, heights, kept) in enumerate(
        (
            ("stream", (60, 58, 55, 53, 50, 48), 6),
            ("conv1", (58, 50, 34, 20, 12, 8), 2),
            ("conv2", (56, 44, 40, 22, 10), 3),
        )
    ):
        x = 40 + number * 150
        d.bars(x, 130, heights, kept=kept)
        d.path((x - 6, 130), (x + 80, 130))
        d.words(x + 37, 154, name, bold=True)
        d.note(x + 37, 172, f"{kept} of {len(heights)} stay")
    for left, right, text in ((77, 227, "stream x conv1"), (77, 377, "stream x conv2")):
        y = 206 if right == 227 else 244
        d.path((left, 180), (left, y), (right, y), (right, 180), colour=ORANGE)
        d.note((left + right) / 2, y + 16, text, "middle", ORANGE)
    d.arrow((440, 110), (488, 110))
    d.box(492, 70, 208, 80, "integer program", "greatest value, within", "all limits at once", fill="teal")
    d.arrow((596, 150), (596, 196))
    d.box(492, 200, 208, 50, "cut, and train", fill="grey")
    d.note(WIDTH / 2, 288, "the stream is one group in every layer that touches it")
    return d


def random() -> Drawing:
    """Plans drawn at random, each measured; the best one is kept."""
    d = Drawing("random: many random plans within the budget are measured, and the best is kept", 260)
    d.box(24, 70, 178, 64, "a rate for each block,", "drawn within the budget", fill="orange")
    d.arrow((202, 102), (242, 102))
    d.box(246, 70, 178, 64, "the pruned network", "on validation images")
    d.arrow((424, 102), (462, 102))
    d.arrow((335, 134), (335, 172), (113, 172), (113, 138), dashed=True)
    d.note(224, 190, "200 times, nothing is learned")
    d.path((478, 40), (478, 196), (700, 196))
    d.note(484, 34, "accuracy", "start")
    d.note(590, 218, "plans")
    heights = (92, 120, 70, 84, 131, 101, 60, 96, 76, 118, 88, 109, 66, 99, 80, 126, 73, 94)
    for number, height in enumerate(heights):
        d.dot(490 + 12 * number, 190 - height, 4, TEAL if height == 131 else LINE)
    d.dot(538, 59, 9, TEAL, ring=True)
    d.note(554, 50, "cut and trained", "start", TEAL)
    return d


def taylor() -> Drawing:
    """The loop of scoring, cutting and training, and the staircase that it gives."""
    d = Drawing("taylor: score all filters, cut the lowest, train a little, and again, until the budget holds", 270)
    d.box(24, 40, 230, 50, "score every filter", "|gradient x activation|", fill="teal")
    d.arrow((139, 90), (139, 112))
    d.box(24, 116, 230, 44, "cut the lowest few of all layers", fill="orange")
    d.arrow((139, 160), (139, 182))
    d.box(24, 186, 230, 44, "train for 30 batches")
    d.arrow((254, 208), (286, 208), (286, 65), (258, 65))
    d.note(292, 132, "again", "start")
    d.path((360, 36), (360, 226), (696, 226))
    d.note(366, 30, "parameters", "start")
    d.note(694, 246, "steps", "end")
    y, corners = 56.0, [(360.0, 56.0)]
    for number in range(7):
        corners += [(360 + 42 * (number + 1), y), (360 + 42 * (number + 1), y + 17)]
        y += 17
    d.path(*corners, colour=TEAL)
    d.path((360, 168), (690, 168), colour=ORANGE, dashed=True)
    d.note(366, 186, "the budget", "start", ORANGE)
    d.note(420, 54, "a step: a few filters less", "start")
    d.dot(654, 175, 5, TEAL)
    d.note(654, 198, "the end", "middle", TEAL)
    return d


def _episode(d: Drawing, agent: str, sees: str) -> None:
    """The row of blocks that an agent goes through, and the reward that it learns from."""
    d.box(24, 42, 214, 54, "agent", agent, fill="teal")
    widths = ((34, 26, 20, 15, 12), (40, 30, 22, 16, 11), (30, 25, 19, 13, 10), (36, 27, 21, 14, 9))
    for number, heights in enumerate(widths):
        x = 24 + 118 * number
        d.box(x, 140, 96, 74, fill="white")
        d.bars(x + 17, 200, heights, kept=(4, 2, 3, 2)[number] if number < 3 else 5)
        d.note(x + 48, 232, f"block {number + 1}")
        if number:
            d.arrow((x - 22, 177), (x - 3, 177))
    d.arrow((160, 140), (160, 100), colour=TEAL)
    d.note(152, 123, sees, "end", TEAL)
    d.arrow((220, 96), (220, 136), colour=ORANGE)
    d.note(230, 123, "a rate for this block", "start", ORANGE)
    d.arrow((474, 177), (512, 177))
    d.box(516, 146, 184, 62, "the pruned network", "on validation images")
    d.arrow((608, 146), (608, 22), (131, 22), (131, 38))
    d.note(600, 64, "its accuracy makes the reward", "end")


def rlal() -> Drawing:
    """An episode of the agent, and the two ways: search on trained weights, joint training of fresh ones."""
    d = Drawing("rlal: an agent sets the pruning rate of each block and is rewarded with the accuracy", 370)
    _episode(d, "(soft actor-critic)", "nine numbers")
    d.words(24, 274, "trained model", 14, "start", bold=True)
    for x, width, text, fill in (
        (150, 190, "150 episodes", "teal"),
        (344, 150, "50 local moves", "teal"),
        (498, 202, "training of what is left", "grey"),
    ):
        d.box(x, 254, width, 32, text, fill=fill)
    d.words(24, 326, "fresh model", 14, "start", bold=True)
    for x, width, text, fill in (
        (150, 92, "weights", "grey"),
        (246, 114, "buffer fills", "teal"),
        (364, 110, "agent learns", "teal"),
        (478, 112, "weights align", "orange"),
        (594, 106, "fine-tuning", "grey"),
    ):
        d.box(x, 306, width, 32, text, fill=fill)
    d.note(424, 358, "joint training: before each epoch of the weights the agent plays episodes")
    return d


def amc() -> Drawing:
    """An episode of the agent on weights that stay, and the noise of its rates."""
    d = Drawing("amc: an agent sets the pruning rate of each block of a trained network", 380)
    _episode(d, "(DDPG)", "eleven numbers")
    d.path((60, 268), (60, 344), (560, 344))
    d.note(66, 262, "noise added to the rates", "start")
    d.path((60, 284), (185, 284), (185, 344), dashed=True)
    curve = [(60.0, 284.0), *((185 + 7.5 * n, 341 - 57 * 0.94**n) for n in range(50))]
    d.path(*curve, colour=TEAL)
    d.note(122, 364, "exploring")
    d.note(370, 364, "learning after each episode")
    d.note(560, 364, "episodes", "start")
    d.note(696, 300, "the best plan is cut and trained", "end")
    return d


def _network(d: Drawing, x: float, y: float, blocks: int, fill: str, name: str, width: float = 30) -> float:
    """A network as a row of blocks; returns where it ends."""
    d.words(x, y - 10, name, 14, "start", bold=True)
    for number in range(blocks):
        d.box(x + number * (width + 6), y, width, 44, fill=fill)
    return x + blocks * (width + 6) - 6


def kd() -> Drawing:
    """Teacher and student see one image; the student learns from label and soft targets."""
    d = Drawing("kd: a shallower student learns from the label and from the teacher's soft targets", 290)
    d.box(24, 112, 86, 60, "image")
    d.arrow((110, 130), (140, 130), (140, 72), (164, 72))
    d.arrow((110, 154), (140, 154), (140, 222), (164, 222))
    end = _network(d, 168, 50, 6, "grey", "teacher: the model as it was given, not changed")
    d.arrow((end, 72), (460, 72))
    end = _network(d, 168, 200, 3, "teal", "student: what is left of its blocks")
    d.arrow((end, 222), (460, 222))
    d.bars(472, 96, (10, 44, 20, 14), width=14)
    d.bars(472, 246, (12, 40, 22, 9), width=14)
    d.note(504, 114, "soft targets, softened by tau")
    d.note(504, 264, "the student's answer")
    d.arrow((556, 80), (610, 80), (610, 122), colour=TEAL)
    d.arrow((556, 222), (610, 222), (610, 176))
    d.box(524, 126, 172, 46, "loss", "half targets, half labels", fill="orange")
    d.box(430, 136, 66, 28, "label", fill="white")
    d.arrow((496, 149), (520, 149))
    return d


def hint() -> Drawing:
    """Two stages: up to the hint in the middle, then the whole student."""
    d = Drawing("hint: the student first learns one layer in the middle, then the answers", 320)
    d.words(24, 34, "1. Up to the hint", 15, "start", bold=True)
    _network(d, 140, 68, 6, "grey", "teacher", 30)
    _network(d, 140, 148, 2, "teal", "student", 30)
    d.box(212, 148, 30, 44, fill="white", dashed=True)
    d.arrow((245, 58), (245, 122), (430, 122), colour=ORANGE)
    d.arrow((206, 170), (209, 170), (209, 206), (470, 206), (470, 136), colour=TEAL)
    d.box(434, 90, 250, 42, "the same output here?", "the student reads its own input", fill="orange")
    d.note(330, 178, "the rest waits", "start")
    d.arrow((326, 173), (248, 173), dashed=True)
    d.words(24, 244, "2. All of it", 15, "start", bold=True)
    _network(d, 140, 256, 3, "teal", "", 30)
    d.arrow((242, 278), (300, 278))
    d.box(304, 256, 250, 44, "labels and soft targets", "as in kd", fill="orange")
    return d


def lit() -> Drawing:
    """Sections of the student are fed by the teacher's sections and compared with them."""
    d = Drawing("lit: each section of the student reads what the teacher's section before it gives", 330)
    xs, width = (102, 242, 382), 104
    d.words(24, 40, "teacher", 14, "start", bold=True)
    d.words(20, 174, "student", 14, "start", bold=True)
    d.box(24, 56, 50, 52, "stem")
    d.box(24, 186, 50, 52, "stem")
    for number, x in enumerate(xs):
        d.box(x, 50, width, 64, fill="white")
        for block in range(3):
            d.box(x + 9 + 31 * block, 60, 25, 44)
        d.box(x, 180, width, 64, fill="white")
        d.box(x + 39, 190, 25, 44, fill="teal")
        d.note(x + width / 2, 42, f"section {number + 1}")
        before = 74 if number == 0 else xs[number - 1] + width
        d.arrow((before, 82), (x - 3, 82))
        middle = (before + x) / 2
        d.arrow((middle, 82), (middle, 212), (x - 3, 212), colour=TEAL)
        d.arrow((x + width - 14, 180), (x + width - 14, 118), colour=ORANGE)
        d.note(x + width - 20, 152, "equal?", "end", ORANGE)
    d.box(522, 56, 60, 52, "head")
    d.arrow((486, 82), (519, 82))
    d.box(522, 186, 60, 52, "head")
    d.path((486, 212), (519, 212), dashed=True)
    d.note(596, 208, "copied; frozen", "start")
    d.note(596, 226, "in phase 1", "start")
    d.box(24, 276, 330, 36, "1. sections, each fed by the teacher", fill="orange")
    d.arrow((354, 294), (382, 294))
    d.box(386, 276, 310, 36, "2. the whole student, on soft targets")
    return d


def born_again() -> Drawing:
    """Students of one architecture, each taught by the one before."""
    d = Drawing("born_again: the same architecture from fresh weights, taught by the network before it", 230)
    for number, (name, note) in enumerate(
        (("the model", "as it was given"), ("generation 1", "fresh weights"), ("generation 2", "fresh weights"))
    ):
        x = 24 + 248 * number
        for block in range(4):
            d.box(x + 42 * block, 66, 36, 52, fill="grey" if number == 0 else "teal", dashed=number == 2)
        d.words(x + 81, 50, name, bold=True)
        d.note(x + 81, 140, note)
        if number:
            d.arrow((x - 84, 92), (x - 4, 92), colour=ORANGE, dashed=number == 2)
            d.note(x - 44, 84, "teaches", "middle", ORANGE)
    d.note(WIDTH / 2, 178, "nothing gets smaller: what is gained is accuracy")
    d.note(WIDTH / 2, 200, "one generation by default, more with generations=")
    return d


def scratch() -> Drawing:
    """The shallower student with fresh weights, and labels alone."""
    d = Drawing("scratch: the shallower student, from fresh weights, on labels alone", 230)
    d.words(24, 40, "the model", 14, "start", bold=True)
    for block, stays in enumerate((True, False, False, True, False, True)):
        fill = "grey" if stays else "white"
        d.box(24 + 36 * block, 56, 30, 52, fill=fill, dashed=not stays)
    d.note(129, 132, "blocks go until the budget holds")
    d.arrow((240, 82), (290, 82))
    d.words(296, 40, "student", 14, "start", bold=True)
    for block in range(3):
        d.box(296 + 46 * block, 56, 40, 52, "?", fill="teal")
    d.note(362, 132, "all weights drawn anew")
    d.arrow((500, 82), (452, 82), colour=ORANGE)
    d.box(504, 56, 150, 52, "labels", "and nothing else", fill="orange")
    d.box(220, 168, 280, 36, "no teacher", fill="white", dashed=True)
    return d


def darc() -> Drawing:
    """A layer as a mixture whose weights sort out the alternatives, block of epochs by block of epochs."""
    d = Drawing("darc: a layer becomes a mixture of itself and cheaper layers; training picks one", 330)
    names = ("3x3 convolution", "3x3 grouped + 1x1", "3x3 grouped", "1x1")
    for number, name in enumerate(names):
        y = 62 + 48 * number
        d.box(24, y, 164, 36, name, fill="grey" if number == 0 else "teal")
    d.note(106, 48, "layer and replacements")
    for column, (label, alphas) in enumerate(
        (
            ("at the start", (0.25, 0.25, 0.25, 0.25)),
            ("after block 1", (0.3, 0.45, 0.15, 0.1)),
            ("after block 2", (0.2, 0.7, 0.1, 0)),
            ("after block 3", (0, 1, 0, 0)),
        )
    ):
        x = 216 + 122 * column
        d.note(x + 50, 48, label)
        for number, alpha in enumerate(alphas):
            y = 62 + 48 * number
            d.box(x, y + 8, 100, 20, fill="white", dashed=alpha == 0)
            if alpha:
                d.box(x, y + 8, 100 * alpha, 20, fill="orange")
            else:
                d.note(x + 50, y + 23, "gone")
    d.note(460, 272, "alpha: how much of each is in the mixture; together 1, never negative", "middle", ORANGE)
    d.arrow((216, 290), (696, 290))
    d.note(456, 312, "the price of cost in the loss doubles after each block")
    d.note(106, 272, "all learn to imitate")
    d.note(106, 290, "the layer first")
    return d


def replaced() -> Drawing:
    """The table that the exact choice is made by."""
    d = Drawing("replaced: the loss that each replacement costs is measured alone, and the exact choice made", 300)
    d.words(24, 40, "How much the loss grows with this one replacement (an example)", 14, "start", bold=True)
    for column, name in enumerate(("stays", "grouped + 1x1", "1x1")):
        d.note(220 + 130 * column, 72, name)
    rows = (
        ("conv1", ("0", "+0.31", "+0.90"), 0),
        ("conv2", ("0", "+0.02", "+0.12"), 1),
        ("conv3", ("0", "+0.01", "+0.03"), 2),
        ("conv4", ("0", "+0.04", "+0.45"), 1),
    )
    for number, (name, values, chosen) in enumerate(rows):
        y = 84 + 42 * number
        d.words(140, y + 22, name, 14, "end", bold=True)
        for column, value in enumerate(values):
            d.box(160 + 130 * column, y, 120, 34, value, fill="teal" if column == chosen else "white")
    d.arrow((548, 168), (570, 168))
    d.box(574, 124, 132, 88, "least sum", "of increases", "within the budget", fill="orange")
    d.note(WIDTH / 2, 280, "the chosen replacements have imitated their layers; then the whole network is trained")
    return d


def n2n() -> Drawing:
    """Two policies, the student that they decide on, and its reward."""
    d = Drawing("n2n: one policy removes layers, another shrinks the rest; students earn a reward", 340)
    d.words(24, 36, "teacher", 14, "start", bold=True)
    for number in range(7):
        d.box(24 + 62 * number, 48, 54, 40, fill="grey")
    d.arrow((238, 92), (238, 112))
    d.box(24, 116, 430, 30, "1. removal policy: which layers go", fill="teal")
    for number, stays in enumerate((True, False, True, True, False, True, True)):
        fill = "grey" if stays else "white"
        d.box(24 + 62 * number, 158, 54, 34, *(() if stays else ("gone",)), fill=fill, dashed=not stays)
    d.arrow((238, 196), (238, 212))
    d.box(24, 216, 430, 30, "2. shrinkage policy: how small the others become", fill="teal")
    for number, height in ((0, 24), (2, 14), (3, 30), (5, 18), (6, 34)):
        d.box(24 + 62 * number, 258 + (34 - height) / 2, 54, height, fill="orange")
    d.note(238, 318, "the student, with fresh weights")
    d.arrow((454, 275), (500, 275))
    d.box(504, 246, 192, 58, "short training", "on the teacher's logits")
    d.arrow((600, 246), (600, 218))
    d.box(504, 150, 192, 64, "reward", "small and accurate", fill="orange")
    d.arrow((550, 150), (550, 131), (458, 131), colour=ORANGE)
    d.arrow((528, 214), (528, 231), (458, 231), colour=ORANGE)
    d.note(560, 136, "both policies learn", "start", ORANGE)
    d.note(504, 60, "50 students a stage,", "start")
    d.note(504, 78, "500 with the paper's", "start")
    d.note(504, 96, "settings", "start")
    return d


def magnitude() -> Drawing:
    """The kernel of a layer as more and more of its smallest weights become zero."""
    d = Drawing("magnitude: the smallest weights become zero, more and more of them, while the others are trained", 300)
    sizes = (9, 2, 6, 1, 4, 8, 3, 7, 5, 2, 9, 4, 1, 6, 3, 8)
    for column, (label, least, share) in enumerate(
        (("trained", 0, "no"), ("after 2 epochs", 4, "38%"), ("after 4", 6, "56%"), ("after 10", 8, "75%"))
    ):
        x = 24 + 172 * column
        d.words(x + 72, 40, label, 14, bold=True)
        for number, size in enumerate(sizes):
            stays = size >= least
            left, top = x + 37 * (number % 4), 56 + 34 * (number // 4)
            d.box(
                left, top, 32, 28, *((str(size),) if stays else ()), fill="teal" if stays else "white", dashed=not stays
            )
        d.note(x + 72, 212, f"{share} zeros")
        if column:
            d.arrow((x - 22, 122), (x - 6, 122))
    d.box(24, 240, 320, 36, "then the zeros stay, the others are trained", fill="orange")
    d.arrow((350, 258), (394, 258))
    d.box(400, 240, 284, 36, "the TFLite file leaves the zeros out")
    return d


def cluster() -> Drawing:
    """Weights of a kernel that share the values of their groups."""
    d = Drawing("cluster: weights are grouped, and each group has one value, which is trained", 270)
    weights = (0.9, -0.4, 0.8, 0.1, 0.2, 0.7, -0.5, 0.0, -0.3, 0.1, 1.0, -0.6)
    fills = {0.85: "teal", 0.1: "white", -0.45: "orange"}
    for column, title in ((0, "trained weights"), (1, "three values")):
        x = 24 + 260 * column
        d.words(x + 98, 40, title, 14, bold=True)
        for number, weight in enumerate(weights):
            value = min(fills, key=lambda value: abs(value - weight))
            text = f"{weight if column == 0 else value:g}"
            d.box(x + 50 * (number % 4), 56 + 40 * (number // 4), 44, 34, text, fill=fills[value])
    d.arrow((228, 110), (276, 110))
    d.words(620, 40, "what is stored", 14, bold=True)
    for number, (value, fill) in enumerate(fills.items()):
        d.box(560, 56 + 40 * number, 120, 34, f"{number}: {value:g}", fill=fill)
    d.arrow((488, 110), (548, 110))
    d.note(350, 204, "a value learns for all weights of its group")
    d.note(350, 226, "weights may change their group while values move")
    d.note(620, 204, "and for each weight its number,")
    d.note(620, 226, "in few bits, once it is gzipped")
    return d


def qat() -> Drawing:
    """A layer whose weights and output are rounded in the forward pass."""
    d = Drawing("qat: the forward pass rounds to 256 steps, the gradient passes straight through", 290)
    d.box(24, 60, 120, 52, "input")
    d.box(204, 60, 140, 52, "layer", fill="teal")
    d.box(404, 60, 130, 52, "rounded", "256 steps", fill="orange")
    d.box(594, 60, 102, 52, "next layer", fill="teal")
    d.box(204, 160, 140, 40, "rounded weights", fill="orange")
    d.box(24, 160, 120, 40, "weights, float")
    d.arrow((144, 86), (200, 86))
    d.arrow((344, 86), (400, 86))
    d.arrow((534, 86), (590, 86))
    d.arrow((144, 180), (200, 180))
    d.arrow((274, 160), (274, 116))
    d.note(469, 40, "the range follows the activations")
    d.arrow((640, 112), (640, 240), (84, 240), (84, 206), colour=ORANGE, dashed=True)
    d.note(362, 262, "the gradient passes as if nothing had been rounded", "middle", ORANGE)
    return d


DRAWINGS = (
    *(uniform, knapsack, random, taylor, rlal, amc, kd, hint, lit, born_again, scratch, darc, replaced, n2n),
    *(magnitude, cluster, qat),
)
"""A function for each method, of the method's name."""


def main() -> None:
    """Writes all files."""
    for drawing in DRAWINGS:
        pathlib.Path(__file__).with_name(f"{drawing.__name__}.svg").write_text(drawing().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
